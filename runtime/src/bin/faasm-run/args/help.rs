//! The help text, made from the table of options.

use std::fmt::Write as _;

use super::{
    flag::{Action, Flag, Section},
    table::FLAGS,
};

const OPENING: &str = "\
Run an MPI program that was compiled to WebAssembly; its ranks are sandboxed Faaslets of one
process, or of one process on each of several machines.

Usage: faasm-run [OPTIONS] PROGRAM [ARGUMENTS]
       faasm-run [OPTIONS] A [ARGUMENTS] : [OPTIONS] B [ARGUMENTS]
       faasm-run node --join HOST:PORT [OPTIONS]
       faasm-run cluster init|token|status|drain|leave [OPTIONS]
       faasm-run checkpoint PROCESS
       faasm-run migrate PROCESS RANK,... NODE
       faasm-run drain PROCESS NODE
       faasm-run top [PROCESS] [OPTIONS]
       faasm-run restart DIR [--cut N] [OPTIONS]

PROGRAM is what faasm-cc or faasm-c++ made, or a C or C++ source file, which is compiled first.
Long options may have one dash or two, and their value after a blank or after `=`.
";

const CLOSING: &str = "
Examples:
  faasm-run -n 64 ring.wasm                 64 ranks of one program
  faasm-run -n 4 heat.c 1000                compile heat.c, run it with the argument 1000
  faasm-run -n 1 lead.wasm : -n 7 work.wasm eight ranks of two programs
  faasm-run -n 4 -x OMP_NUM_THREADS=2 --dir /data::/in:ro app.wasm
  faasm-run -n 8 --tag-output --timeout 60 --report app.wasm
  faasm-run -n 64 --hostfile hosts app.wasm on the machines of a file, started with ssh
  faasm-run -n 64 --local-nodes 4 app.wasm  on four node processes of this machine

Exit status: that of the lowest rank with a non-zero one; 1 for a wrong command line; 110 after
--timeout; 128 + n after signal n. SIGUSR1 prints what every rank is doing,
SIGUSR2 (or `faasm-run checkpoint`) asks for a checkpoint.
";

const NODE_OPENING: &str = "\
Run ranks of the jobs that a coordinator sends. The coordinator is a `faasm-run` that was given
hosts, or a `faasm-run cluster init`; its token proves that this node may join.

Usage: faasm-run node --join HOST:PORT [OPTIONS]
";

const CLUSTER_OPENING: &str = "\
Begin a cluster that serves several jobs, or look at one and change it.

Usage: faasm-run cluster init        become the coordinator and wait for nodes and jobs
       faasm-run cluster token       print a token with which one node can join, or, with --client,
                                     one for you on another machine
       faasm-run cluster status      print nodes and jobs
       faasm-run cluster drain NODE  give a node no further ranks
       faasm-run cluster leave NODE  have a node leave when its ranks have ended
";

const TOP_OPENING: &str = "\
Show the nodes and ranks of a running job: what they do, use and send, and what was moved.
PROCESS is the process number of its faasm-run; without one it is the only job of yours, or you
choose. In the terminal the arrows choose a rank, space marks it, `m` moves it, `s` sorts, tab shows
the nodes, `q` leaves.

Usage: faasm-run top [PROCESS] [OPTIONS]
";

/// The whole help text.
pub(super) fn text() -> String {
    let mut text = OPENING.to_owned();
    for (section, title) in [
        (Section::Ranks, "Ranks"),
        (Section::Nodes, "Machines"),
        (Section::Environment, "Environment and files"),
        (Section::Streams, "Input and output"),
        (Section::Job, "The job"),
    ] {
        write!(text, "\n{title}:\n").expect("writing to a String cannot fail");
        for flag in FLAGS.iter().filter(|flag| flag.section == section) {
            push_flag(&mut text, flag);
        }
    }
    text.push_str("\nOptions of mpirun that are accepted with a note:\n");
    let noted = |flag: &&Flag| {
        flag.section == Section::Mpirun && !matches!(flag.action, Action::Refuse { .. })
    };
    for flag in FLAGS.iter().filter(noted) {
        push_flag(&mut text, flag);
    }
    text.push_str(
        "\nOptions of mpirun that are errors, because ignoring them would run something else:\n",
    );
    for flag in FLAGS.iter().filter(|flag| matches!(flag.action, Action::Refuse { .. })) {
        push_flag(&mut text, flag);
    }
    text.push_str(CLOSING);
    text
}

/// The help text of `faasm-run node`.
pub(super) fn of_node<T>(flags: &[Flag<T>]) -> String {
    of_subcommand(NODE_OPENING, flags)
}

/// The help text of `faasm-run cluster`.
pub(super) fn of_cluster<T>(flags: &[Flag<T>]) -> String {
    of_subcommand(CLUSTER_OPENING, flags)
}

/// The help text of `faasm-run top`.
pub(super) fn of_top<T>(flags: &[Flag<T>]) -> String {
    of_subcommand(TOP_OPENING, flags)
}

fn of_subcommand<T>(opening: &str, flags: &[Flag<T>]) -> String {
    let mut text = format!("{opening}\nOptions:\n");
    for flag in flags {
        push_flag(&mut text, flag);
    }
    text
}

fn push_flag<T>(text: &mut String, flag: &Flag<T>) {
    let usage = flag.usage();
    let gap = if usage.len() < HELP_COLUMN - 3 {
        " ".repeat(HELP_COLUMN - 2 - usage.len())
    } else {
        format!("\n{}", " ".repeat(HELP_COLUMN))
    };
    let lines = wrap(flag.help, LINE_WIDTH - HELP_COLUMN);
    let help = lines.join(&format!("\n{}", " ".repeat(HELP_COLUMN)));
    writeln!(text, "  {usage}{gap}{help}").expect("writing to a String cannot fail");
}

/// Breaks a sentence at blanks into lines of at most `width` characters.
fn wrap(sentence: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

const HELP_COLUMN: usize = 30;
const LINE_WIDTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::flag::dashed;

    #[test]
    fn names_every_option_and_fits_the_screen() {
        let text = text();
        for flag in FLAGS {
            for name in flag.names {
                assert!(text.contains(&dashed(name)), "{name} is missing");
            }
        }
        for line in text.lines() {
            assert!(line.len() <= 100, "too long: {line}");
        }
    }
}
