//! The subcommands `migrate` and `drain`, which move ranks of running jobs.

use std::time::Duration;

use faasm_runtime::MovePolicy;

use super::{Draft, Problem, Request, UsageError, checkpoint};

/// Ranks of a running job that are to go to another node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MigrateArgs {
    /// Process number of the `faasm-run` that runs the job.
    pub(crate) process: i32,
    /// The ranks; none for all that are on the node `from`.
    pub(crate) ranks: Vec<u32>,
    /// The node that all ranks are to leave.
    pub(crate) from: Option<String>,
    /// The node that they are to go to; wherever there is room, without one.
    pub(crate) to: Option<String>,
}

/// Ranks that one order may name.
const RANKS_MAX: usize = 4096;

/// Looks that follow each other sooner tell nothing.
const EVERY_MIN: Duration = Duration::from_millis(100);

/// To what end ranks are moved without having been asked for.
pub(super) fn policy(draft: &mut Draft, values: &[&str]) -> Result<(), Problem> {
    let policy = match values[0] {
        "none" => MovePolicy::None,
        "pack" => MovePolicy::Pack,
        "compact" => MovePolicy::Compact,
        "balance" => MovePolicy::Balance,
        "shuffle" => MovePolicy::Shuffle,
        other => {
            return Err(Problem::new(
                format!("\"{other}\" is no policy."),
                "There are `pack` (few nodes), `compact` (who talks comes together), `balance` (even load), `shuffle` (at \
                 random, to test a program) and `none`.",
            ));
        }
    };
    draft.job.policy.policy = policy;
    draft.job.migratable |= policy != MovePolicy::None;
    Ok(())
}

/// How often that is thought about.
pub(super) fn every(draft: &mut Draft, values: &[&str]) -> Result<(), Problem> {
    let every = checkpoint::duration(values[0]).filter(|every| *every >= EVERY_MIN);
    draft.job.policy.every = every.ok_or_else(|| {
        Problem::new(
            format!("\"{}\" is not a time between two looks at where ranks should be.", values[0]),
            "Give a number with s, m, h or ms behind it, from 100ms on, as in `--migrate-every 5s`.",
        )
    })?;
    Ok(())
}

/// Parses what follows `faasm-run migrate`.
pub(super) fn migrate(words: &[String]) -> Result<Request, UsageError> {
    let [process, ranks, node] = words else {
        return Err(Problem::new(
            "It takes the process number of a running faasm-run, ranks, and a node.",
            "For example `faasm-run migrate 1234 0,3 1` brings ranks 0 and 3 to node 1 of the job; a node is named by \
             its number in the job, from 0 on, or its host.",
        )
        .at("migrate"));
    };
    let ranks = ranks_of(ranks)?;
    let args =
        MigrateArgs { process: process_of(process)?, ranks, from: None, to: Some(node.clone()) };
    Ok(Request::Migrate(args))
}

/// Parses what follows `faasm-run drain`.
pub(super) fn drain(words: &[String]) -> Result<Request, UsageError> {
    let [process, node] = words else {
        return Err(Problem::new(
            "It takes the process number of a running faasm-run, and a node.",
            "For example `faasm-run drain 1234 1` brings all ranks from node 1 to the job's other nodes. For the nodes of a \
             cluster that runs on its own there is `faasm-run cluster drain NODE`.",
        )
        .at("drain"));
    };
    let args = MigrateArgs {
        process: process_of(process)?,
        ranks: Vec::new(),
        from: Some(node.clone()),
        to: None,
    };
    Ok(Request::Migrate(args))
}

pub(super) fn process_of(word: &str) -> Result<i32, UsageError> {
    let process = word.parse().ok().filter(|process: &i32| *process > 1);
    process.ok_or_else(|| {
        Problem::new(
            format!("\"{word}\" is not the number of a process."),
            "`pgrep -a faasm-run` lists the jobs that run.",
        )
        .at(word)
    })
}

fn ranks_of(word: &str) -> Result<Vec<u32>, UsageError> {
    let ranks: Option<Vec<u32>> = word.split(',').map(|rank| rank.parse().ok()).collect();
    ranks.filter(|ranks| ranks.len() <= RANKS_MAX).ok_or_else(|| {
        Problem::new(
            format!("\"{word}\" is no list of at most {RANKS_MAX} ranks."),
            "Give them with commas between, as in `faasm-run migrate 1234 0,3 1`.",
        )
        .at(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn ranks_and_nodes_are_named() {
        let Ok(Request::Migrate(args)) = migrate(&words("12 0,3 n1")) else { panic!("it parses") };
        assert_eq!((args.process, args.ranks, args.to.as_deref()), (12, vec![0, 3], Some("n1")));
        let Ok(Request::Migrate(args)) = drain(&words("12 1")) else { panic!("it parses") };
        assert_eq!((args.from.as_deref(), args.to), (Some("1"), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for line in ["", "12", "12 0", "x 0 1", "0 0 1", "12 0,x 1", "12 -1 1", "12 0, 1"] {
            assert!(migrate(&words(line)).is_err(), "{line}");
        }
        assert!(drain(&words("12")).is_err());
    }
}
