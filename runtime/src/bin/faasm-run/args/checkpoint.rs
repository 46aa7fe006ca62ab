//! The options about checkpoints, and the subcommands `checkpoint` and `restart`.

use std::time::Duration;

use super::{Applied, Draft, Invocation, Problem, Request, UsageError, apply, is_option, table};

type Outcome = Result<(), Problem>;

/// How checkpoints of a job are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CheckpointArgs {
    /// The directory; no checkpoints are made without one.
    pub(crate) dir: Option<String>,
    /// One is made after each such time.
    pub(crate) every: Option<Duration>,
    /// One is made when the job is to end (SIGTERM).
    pub(crate) on_term: bool,
    /// So many are kept.
    pub(crate) keep: Option<usize>,
}

/// From where a job goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RestartArgs {
    /// The directory with the checkpoints.
    pub(crate) dir: String,
    /// Which of them; the latest one if absent.
    pub(crate) cut: Option<u32>,
    /// Options that are added to those of the job's own command line.
    pub(crate) options: Vec<String>,
}

pub(super) fn dir(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.migratable = true;
    draft.job.checkpoints.dir = Some(values[0].to_owned());
    Ok(())
}

pub(super) fn every(draft: &mut Draft, values: &[&str]) -> Outcome {
    let every = duration(values[0]).ok_or_else(|| {
        Problem::new(
            format!("\"{}\" is not a time between checkpoints.", values[0]),
            "Give a number with s, m, h or ms behind it, as in `--checkpoint-every 60s`.",
        )
    })?;
    draft.job.checkpoints.every = Some(every);
    Ok(())
}

pub(super) fn on_term(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.checkpoints.on_term = true;
    Ok(())
}

pub(super) fn keep(draft: &mut Draft, values: &[&str]) -> Outcome {
    let keep = values[0].parse().ok().filter(|keep| *keep > 0);
    let keep = keep.ok_or_else(|| {
        Problem::new(
            format!("\"{}\" is not a number of checkpoints.", values[0]),
            "Give a whole number from 1 on; the default is 2.",
        )
    })?;
    draft.job.checkpoints.keep = Some(keep);
    Ok(())
}

/// What is done when a node is lost.
pub(super) fn on_failure(draft: &mut Draft, values: &[&str]) -> Outcome {
    let wrong = || {
        Problem::new(
            format!("\"{}\" is nothing that can be done when a node is lost.", values[0]),
            "Write `--on-failure restart`, `--on-failure restart:5` for at most 5 times without a newer \
             checkpoint, or `--on-failure end`.",
        )
    };
    draft.job.on_failure = match values[0].split_once(':') {
        None if values[0] == "end" => None,
        None if values[0] == "restart" => Some(RESTARTS),
        Some(("restart", times)) => Some(times.parse().map_err(|_| wrong())?),
        _ => return Err(wrong()),
    };
    Ok(())
}

/// So often a job goes on from one checkpoint unless somebody says otherwise.
const RESTARTS: u32 = 3;

/// A time with its unit; seconds without one.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// Options of checkpoints without a directory for them.
pub(super) fn check(job: &Invocation) -> Result<(), UsageError> {
    if job.on_failure.is_some() && job.tolerates_failures {
        return Err(Problem::new(
            "A program that handles failures of ranks itself (--with-ft ulfm) gets errors when a node is \
             lost, and one that is restarted does not notice.",
            "Leave one of the two options out.",
        )
        .at("--on-failure"));
    }
    let CheckpointArgs { dir, every, on_term, keep } = &job.checkpoints;
    if dir.is_some() || !(every.is_some() || *on_term || keep.is_some()) {
        return Ok(());
    }
    Err(Problem::new("Checkpoints need a directory.", "Name one with `--checkpoint-dir DIR`.")
        .at("--checkpoint-..."))
}

/// Parses what follows `faasm-run checkpoint`.
pub(super) fn of_job(words: &[String]) -> Result<Request, UsageError> {
    let process = match words {
        [process] => process.parse().ok().filter(|process: &i32| *process > 1),
        _ => None,
    };
    process.map(Request::Checkpoint).ok_or_else(|| {
        Problem::new(
            "It takes the process number of a running faasm-run.",
            "`pgrep -a faasm-run` lists them; then `faasm-run checkpoint 1234`.",
        )
        .at("checkpoint")
    })
}

/// Parses what follows `faasm-run restart`.
pub(super) fn restart(words: Vec<String>) -> Result<Request, UsageError> {
    let mut args = RestartArgs { dir: String::new(), cut: None, options: Vec::new() };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if args.dir.is_empty() && !is_option(&word) {
            args.dir = word;
        } else if word == "--cut" {
            let cut = words.next().and_then(|cut| cut.parse().ok());
            args.cut = Some(cut.ok_or_else(|| {
                Problem::new(
                    "It takes the number of a checkpoint.",
                    "Give, for example, `--cut 7`.",
                )
                .at("--cut")
            })?);
        } else {
            args.options.push(word);
        }
    }
    if args.dir.is_empty() {
        return Err(Problem::new(
            "It takes the directory of the checkpoints.",
            "Give it, as in `faasm-run restart DIR`.",
        )
        .at("restart"));
    }
    Ok(Request::Restart(args))
}

/// Adds options to those that a job was begun with.
pub(crate) fn amend(job: Invocation, options: Vec<String>) -> Result<Invocation, UsageError> {
    let mut draft = Draft { job, ..Draft::default() };
    if names_places(&options)? {
        // The nodes of the first start may be gone.
        draft.job.nodes = super::NodeOptions::default();
    }
    let mut words = options.into_iter();
    while let Some(word) = words.next() {
        if !is_option(&word) {
            return Err(Problem::new(
                "A job that goes on has its programs and arguments.",
                "Leave the word out.",
            )
            .at(word));
        }
        if let Applied::Note(note) = apply(table::FLAGS, &mut draft, word, &mut words)? {
            draft.note(note);
        }
    }
    if draft.app != super::App::default() {
        return Err(Problem::new(
            "Options about one program cannot be changed when a job goes on.",
            "Leave out -n, -x, --wdir and the like.",
        )
        .at("restart"));
    }
    draft.job.nodes.check()?;
    check(&draft.job)?;
    Ok(draft.job)
}

/// Whether these options say where ranks are to run.
fn names_places(options: &[String]) -> Result<bool, UsageError> {
    let (mut draft, words) = (Draft::default(), options.to_vec());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if is_option(&word) {
            apply(table::FLAGS, &mut draft, word, &mut words)?;
        }
    }
    let nodes = &draft.job.nodes;
    Ok(nodes.names_nodes() || nodes.cluster.is_some() || nodes.launcher.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_goes_on_may_have_other_nodes() {
        let job = |line: &str| {
            let parsed = super::super::parse(line.split_whitespace().map(Into::into));
            let Ok(Request::Run(job)) = parsed else { panic!("{line}") };
            *job
        };
        let line = "--local-nodes 4 --report p";
        let amended = |options: &[&str]| {
            let options = options.iter().map(|option| (*option).to_owned()).collect();
            amend(job(line), options).expect("options")
        };
        assert_eq!(amended(&["--timeout", "5"]).nodes.local_nodes, Some(4));
        assert_eq!(amended(&["--local-nodes", "2"]).nodes.local_nodes, Some(2));
        let elsewhere = amended(&["--host", "a,b"]);
        assert_eq!((elsewhere.nodes.local_nodes, elsewhere.nodes.hosts.len()), (None, 1));
        assert_eq!(amended(&["--launcher", "local"]).nodes.local_nodes, None);
        assert!(amend(job(line), vec!["--on-failure".into(), "weep".into()]).is_err());
    }

    #[test]
    fn times_have_units() {
        for (text, expected_ms) in
            [("60s", 60_000), ("2m", 120_000), ("50ms", 50), ("1.5", 1500), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(expected_ms)), "{text}");
        }
        for text in ["", "s", "-1s", "0", "5x", "1e999"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
