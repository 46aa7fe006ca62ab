//! The options, one row each. The rows are in the order of the help text.

use super::{
    checkpoint,
    flag::{Action, Flag, Section},
    migrate, nodes, omp,
    subcommand::help_flag,
    values,
};

const fn set(
    section: Section,
    names: &'static [&'static str],
    values: &'static [&'static str],
    apply: fn(&mut super::Draft, &[&str]) -> Result<(), super::Problem>,
    help: &'static str,
) -> Flag {
    Flag { names, values, section, help, action: Action::Set(apply) }
}

const fn set_optional(
    section: Section,
    names: &'static [&'static str],
    values: &'static [&'static str],
    apply: fn(&mut super::Draft, Option<&str>) -> Result<(), super::Problem>,
    help: &'static str,
) -> Flag {
    Flag { names, values, section, help, action: Action::SetOptional(apply) }
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

const UNLIMITED: &str = "any number of ranks fits on any number of cores";
const PLACED: &str = "the runtime places ranks on its worker threads itself";
const FOUND: &str = "allocations and network addresses are found without it";

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
        Section::Nodes,
        &["hostfile", "machinefile", "default-hostfile", "f"],
        &["FILE"],
        nodes::hostfile,
        "Machines to run on, one a line: `host slots=4 max_slots=8`, `user@host`, or `host:4`.",
    ),
    set(
        Section::Nodes,
        &["host", "hosts", "H"],
        &["HOST[:N],..."],
        nodes::host,
        "Machines to run on, each with the number of ranks it may take.",
    ),
    set(
        Section::Nodes,
        &["local-nodes"],
        &["K"],
        nodes::local_nodes,
        "Run on K node processes of this machine.",
    ),
    set_optional(
        Section::Nodes,
        &["cluster"],
        &["ADDRESS"],
        nodes::cluster,
        "Run on the nodes of the cluster that `faasm-run cluster init` began at this HOST:PORT, with a \
         token of `cluster token --client` in --token-file or FAASM_TOKEN; without an address on that of \
         this machine.",
    ),
    set(
        Section::Nodes,
        &["map-by"],
        &["POLICY"],
        nodes::map_by,
        "Which rank goes where: `slot` fills node after node (the default), `node` goes round the \
         nodes, `ppr:N:node` puts N on each, `locality:8x8` keeps neighbours of a grid together \
         (`:periodic` if it closes), `locality:@FILE` those of a list of edges. `:oversubscribe` \
         may follow.",
    ),
    set(
        Section::Nodes,
        &["rank-by"],
        &["POLICY"],
        nodes::rank_by,
        "How ranks are numbered: `slot` node after node, `node` round the nodes.",
    ),
    set(Section::Nodes, &["bynode"], &[], nodes::by_node, "Short for `--map-by node`."),
    set(Section::Nodes, &["byslot"], &[], nodes::by_slot, "Short for `--map-by slot`."),
    set(
        Section::Nodes,
        &["oversubscribe", "o"],
        &[],
        nodes::oversubscribe,
        "Allow more ranks on a machine than it has slots.",
    ),
    set(
        Section::Nodes,
        &["nooversubscribe"],
        &[],
        nodes::no_oversubscribe,
        "Allow no more ranks on a machine than it has slots, or cores if none are given.",
    ),
    set(
        Section::Nodes,
        &["display"],
        &["WHAT"],
        nodes::display,
        "Show `map`, `allocation` or `bindings` before the job starts.",
    ),
    set(Section::Nodes, &["display-map"], &[], nodes::display_map, "Short for `--display map`."),
    set(
        Section::Nodes,
        &["display-allocation"],
        &[],
        nodes::display_allocation,
        "Short for `--display allocation`.",
    ),
    set(
        Section::Nodes,
        &["report-bindings"],
        &[],
        nodes::report_bindings,
        "Short for `--display bindings`.",
    ),
    set(
        Section::Nodes,
        &["launcher"],
        &["local|ssh|slurm"],
        nodes::launcher,
        "How node processes are started. Default: slurm in one of its allocations, else ssh.",
    ),
    set(
        Section::Nodes,
        &["launcher-exec"],
        &["PROGRAM"],
        nodes::launcher_exec,
        "The program to start them with, instead of ssh or srun.",
    ),
    set(
        Section::Nodes,
        &["launcher-args"],
        &["ARGUMENTS"],
        nodes::launcher_args,
        "Further arguments for it, as in `--launcher-args \"-p 2222\"`.",
    ),
    set(
        Section::Nodes,
        &["prefix"],
        &["DIR"],
        nodes::prefix,
        "Where this program is on the other machines: DIR/bin/faasm-run. Default: where it is here.",
    ),
    set(
        Section::Nodes,
        &["await-nodes"],
        &["K"],
        nodes::await_nodes,
        "Wait for K nodes that join by themselves, with `--token-file`, beside those started.",
    ),
    set(
        Section::Nodes,
        &["listen"],
        &["ADDRESS:PORT"],
        nodes::listen,
        "Where nodes find this process. Default: all addresses of the machine, any port.",
    ),
    set(
        Section::Nodes,
        &["token-file"],
        &["FILE"],
        nodes::token_file,
        "A file, readable by nobody else, with the token that nodes join with. Default: one is \
         made up for the job.",
    ),
    set(
        Section::Nodes,
        &["node-timeout"],
        &["SECONDS"],
        nodes::node_timeout,
        "A node from which nothing is heard for this time is lost. Default: 5.",
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
        Section::Environment,
        &["omp-threads"],
        &["N"],
        values::omp_threads,
        "Number of OpenMP threads of each rank: sets OMP_NUM_THREADS. Other OMP_ variables of our \
         environment are passed on.",
    ),
    set(
        Section::Nodes,
        &["omp-nodes"],
        &["N"],
        omp::omp_nodes,
        "Let the OpenMP threads of one program run on N nodes: those that other options name, or N processes of this \
         machine. Threads that share only through constructs of OpenMP see the same as on one node.",
    ),
    set(
        Section::Environment,
        &["omp-elastic"],
        &[],
        values::omp_elastic,
        "Let each parallel region have the workers that are free when it begins, but no more threads than \
         it would have otherwise: sets FAASM_OMP_ELASTIC.",
    ),
    set(
        Section::Job,
        &["with-ft"],
        &["ulfm|none"],
        values::with_ft,
        "Go on when a rank fails: for the others that is an error, which they can handle with the MPIX_ \
         functions of mpi-ext.h. The exit status is 0 if those that are left end with 0.",
    ),
    set(
        Section::Job,
        &["enable-recovery"],
        &[],
        values::enable_recovery,
        "Short for `--with-ft ulfm`.",
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
        &["migratable"],
        &[],
        values::migratable,
        "Run the variant of the program whose call stack can be taken at MPI calls that may wait.",
    ),
    set(
        Section::Job,
        &["rebuild-stack"],
        &["N"],
        values::rebuild_stack,
        "Take each rank's call stack down and build it up again at every N-th such call: shows \
         that the program can be moved. Includes `--migratable`.",
    ),
    set(
        Section::Job,
        &["checkpoint-dir"],
        &["DIR"],
        checkpoint::dir,
        "Where checkpoints are kept; `faasm-run restart DIR` goes on from the latest. Includes \
         `--migratable`.",
    ),
    set(
        Section::Job,
        &["checkpoint-every"],
        &["TIME"],
        checkpoint::every,
        "Make one after each such time, as in 60s, 5m or 1h. `faasm-run checkpoint PROCESS` asks for one.",
    ),
    set(
        Section::Job,
        &["checkpoint-keep"],
        &["N"],
        checkpoint::keep,
        "Keep the last N. Default: 2.",
    ),
    set(
        Section::Job,
        &["on-failure"],
        &["restart[:N]|end"],
        checkpoint::on_failure,
        "What happens when a node is lost: the job goes on from its last checkpoint, or from its beginning, on \
         the nodes that are left, at most N times (default 3) without a newer checkpoint; or it ends (the default).",
    ),
    set(
        Section::Job,
        &["migrate-policy"],
        &["pack|compact|balance|shuffle|none"],
        migrate::policy,
        "Move ranks between the job's nodes while it runs: `pack` uses as few nodes as have room, `compact` brings \
         ranks together that send much to each other, `balance` spreads computing evenly; `shuffle` tests a \
         program: it moves ranks at random all the time, and each stays at some MPI call until it has been moved, for \
         up to 10 s. `faasm-run top` shows what was moved. Includes `--migratable`.",
    ),
    set(
        Section::Job,
        &["migrate-every"],
        &["TIME"],
        migrate::every,
        "Time between two thoughts about that, as in 5s (the default) or 1m.",
    ),
    set(
        Section::Job,
        &["checkpoint-on-term"],
        &[],
        checkpoint::on_term,
        "Make a last one when SIGTERM comes, as batch systems send it, and end then.",
    ),
    set(
        Section::Job,
        &["v", "verbose"],
        &[],
        values::verbose,
        "Log what the runtime does; twice for more.",
    ),
    set(Section::Job, &["q", "quiet"], &[], values::quiet, "Leave out notes about options."),
    help_flag(),
    Flag {
        names: &["version", "V"],
        values: &[],
        section: Section::Job,
        help: "Print the version.",
        action: Action::Version,
    },
    note(&["use-hwthread-cpus", "use-hwthreads-as-cpus"], &[], UNLIMITED),
    note(&["bind-to", "binding"], &["POLICY"], PLACED),
    note(&["cpus-per-proc", "cpus-per-rank"], &["N"], PLACED),
    note(&["bind-to-core", "bycore"], &[], PLACED),
    set(
        Section::Mpirun,
        &["mca", "gmca", "omca", "prtemca", "pmixmca"],
        &["KEY", "VALUE"],
        values::mca,
        "`mpi_ft_enable 1` is `--with-ft ulfm`; other parameters change nothing here.",
    ),
    note(&["allow-run-as-root"], &[], "running as root is nothing special: ranks are sandboxed"),
    note(&["rmk", "iface"], &["NAME"], FOUND),
    note(&["disable-hostname-propagation"], &[], "ranks see the name of their node's machine"),
    note(&["report-state-on-timeout"], &[], "this is always done"),
    refuse(
        &["rankfile", "rf"],
        &["FILE"],
        "Ranks cannot be placed one by one here.",
        "Say where they go with `--host`, `--map-by` and `--rank-by`.",
    ),
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
