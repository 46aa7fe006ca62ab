//! The options, one row each. The rows are in the order of the help text.

use super::{
    flag::{Action, Flag, Section},
    values,
};

/// The option with this name, given without its dashes.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.names.contains(&name))
}

const fn set(
    section: Section,
    names: &'static [&'static str],
    values: &'static [&'static str],
    apply: fn(&mut super::Draft, &[&str]) -> Result<(), super::Problem>,
    help: &'static str,
) -> Flag {
    Flag { names, values, section, help, action: Action::Set(apply) }
}

const fn note(
    names: &'static [&'static str],
    values: &'static [&'static str],
    reason: &'static str,
) -> Flag {
    Flag { names, values, section: Section::Mpirun, help: reason, action: Action::Note(reason) }
}

const fn refuse(
    names: &'static [&'static str],
    values: &'static [&'static str],
    cause: &'static str,
    remedy: &'static str,
) -> Flag {
    let action = Action::Refuse { cause, remedy };
    Flag { names, values, section: Section::Mpirun, help: cause, action }
}

const ONE_MACHINE: &str = "Jobs on several machines are not available yet.";
const ALL_HERE: &str = "Leave the option out to run all ranks on this machine.";
const UNLIMITED: &str = "any number of ranks fits on any number of cores";
const PLACED: &str = "the runtime places ranks on its worker threads itself";
const NO_MCA: &str = "there are no MCA parameters here";
const NO_DAEMONS: &str = "no processes are launched";

/// All options.
pub(super) static FLAGS: &[Flag] = &[
    set(
        Section::Ranks,
        &["n", "np", "c"],
        &["N"],
        values::ranks,
        "Number of ranks of the program that follows. Default: one a core.",
    ),
    set(
        Section::Ranks,
        &["npernode", "ppn", "N"],
        &["N"],
        values::ranks_per_node,
        "Number of ranks on each node; counts when `-n` is absent.",
    ),
    set(
        Section::Ranks,
        &["host", "hosts", "H"],
        &["HOSTS"],
        values::host,
        "Machines to run on. Only this one is possible yet.",
    ),
    set(
        Section::Environment,
        &["x"],
        &["VAR[=VALUE]"],
        values::export,
        "Set a variable, or pass ours on, for the program that follows. Ranks start with our whole \
         environment.",
    ),
    set(
        Section::Environment,
        &["env"],
        &["VAR", "VALUE"],
        values::env,
        "Set a variable for the program that follows.",
    ),
    set(
        Section::Environment,
        &["genv"],
        &["VAR", "VALUE"],
        values::genv,
        "Set a variable for all programs.",
    ),
    set(
        Section::Environment,
        &["genvlist"],
        &["VAR,VAR,..."],
        values::genvlist,
        "Pass on only these variables of ours.",
    ),
    set(
        Section::Environment,
        &["genvall"],
        &[],
        values::genvall,
        "Pass on our whole environment (the default).",
    ),
    set(
        Section::Environment,
        &["genvnone"],
        &[],
        values::genvnone,
        "Pass on nothing of our environment.",
    ),
    set(
        Section::Environment,
        &["wdir", "wd"],
        &["DIR"],
        values::wdir,
        "Working directory of the program that follows. Default: ours.",
    ),
    set(
        Section::Environment,
        &["dir"],
        &["HOST::GUEST[:ro]"],
        values::dir,
        "Give the ranks a further directory, under the path GUEST; `:ro` makes it read-only.",
    ),
    set(
        Section::Streams,
        &["stdin"],
        &["RANK|all|none"],
        values::stdin,
        "Who reads standard input. Default: 0.",
    ),
    set(
        Section::Streams,
        &["tag-output", "l", "prepend-rank"],
        &[],
        values::tag_output,
        "Begin each line with its rank and stream, as in `[1,3]<stdout>: text`.",
    ),
    set(
        Section::Streams,
        &["merge-stderr", "merge-stderr-to-stdout"],
        &[],
        values::merge_stderr,
        "Write the ranks' standard error to our standard output.",
    ),
    set(
        Section::Streams,
        &["output-filename"],
        &["DIR[:nocopy]"],
        values::output_filename,
        "Keep each rank's output in DIR/rank.N/stdout and stderr; `:nocopy` keeps it only there.",
    ),
    set(
        Section::Streams,
        &["output"],
        &["tag,merge,dir=DIR"],
        values::output,
        "The three options above in Open MPI 5's spelling.",
    ),
    set(
        Section::Job,
        &["timeout"],
        &["SECONDS"],
        values::timeout,
        "End the job after this time with exit status 110, showing what each rank did.",
    ),
    set(
        Section::Job,
        &["report"],
        &[],
        values::report,
        "End with a summary: ranks, nodes, wall time, start-up, messages, bytes.",
    ),
    set(
        Section::Job,
        &["workers"],
        &["N"],
        values::workers,
        "Number of worker threads. Default: one a core.",
    ),
    set(
        Section::Job,
        &["v", "verbose"],
        &[],
        values::verbose,
        "Log what the runtime does; twice for more.",
    ),
    set(Section::Job, &["q", "quiet"], &[], values::quiet, "Leave out notes about options."),
    Flag {
        names: &["help", "h"],
        values: &[],
        section: Section::Job,
        help: "Print this text.",
        action: Action::Help,
    },
    Flag {
        names: &["version", "V"],
        values: &[],
        section: Section::Job,
        help: "Print the version.",
        action: Action::Version,
    },
    set(
        Section::Mpirun,
        &["map-by"],
        &["POLICY"],
        values::map_by,
        "only `ppr:N:node`, which counts ranks, has an effect",
    ),
    note(&["oversubscribe", "o"], &[], UNLIMITED),
    note(&["nooversubscribe"], &[], UNLIMITED),
    note(&["use-hwthread-cpus", "use-hwthreads-as-cpus"], &[], UNLIMITED),
    note(&["bind-to", "binding"], &["POLICY"], PLACED),
    note(&["rank-by"], &["POLICY"], PLACED),
    note(&["cpus-per-proc", "cpus-per-rank"], &["N"], PLACED),
    note(&["bind-to-core", "bynode", "bycore", "byslot"], &[], PLACED),
    note(&["report-bindings", "display-map", "display-allocation"], &[], PLACED),
    note(&["display"], &["WHAT"], PLACED),
    note(&["mca", "gmca", "omca", "prtemca", "pmixmca"], &["KEY", "VALUE"], NO_MCA),
    note(&["allow-run-as-root"], &[], "running as root is nothing special: ranks are sandboxed"),
    note(&["prefix"], &["DIR"], NO_DAEMONS),
    note(&["launcher", "rmk", "iface"], &["NAME"], NO_DAEMONS),
    note(&["disable-hostname-propagation"], &[], NO_DAEMONS),
    note(&["report-state-on-timeout"], &[], "this is always done"),
    refuse(&["hostfile", "machinefile", "default-hostfile", "f"], &["FILE"], ONE_MACHINE, ALL_HERE),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_helped() {
        let mut seen = HashSet::new();
        for flag in FLAGS {
            assert!(!flag.help.is_empty(), "{:?} has no help", flag.names);
            for name in flag.names {
                assert!(!name.starts_with('-'), "{name} is listed with its dashes");
                assert!(seen.insert(name), "{name} is listed twice");
            }
        }
    }
}
