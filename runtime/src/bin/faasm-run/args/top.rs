//! The subcommand `top`, which shows how a running job is doing.

use std::time::Duration;

use super::{
    Applied, Problem, Request, UsageError, apply,
    flag::{Action, Flag, Section},
    help, is_option,
    subcommand::help_flag,
    values,
};

/// What is shown of which job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopArgs {
    /// Process number of the `faasm-run` that runs the job; the only one if absent.
    pub(crate) process: Option<u32>,
    /// Whether it is shown once, as text.
    pub(crate) once: bool,
    /// Whether that is JSON.
    pub(crate) json: bool,
    /// Time between two looks.
    pub(crate) interval: Option<Duration>,
}

/// Parses what follows `faasm-run top`.
pub(super) fn top(words: Vec<String>) -> Result<Request, UsageError> {
    let mut args = TopArgs { process: None, once: false, json: false, interval: None };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if is_option(&word) {
            if let Applied::Help = apply(FLAGS, &mut args, word, &mut words)? {
                return Ok(Request::Help(help::of_top(FLAGS)));
            }
        } else if args.process.is_none() {
            args.process = Some(super::migrate::process_of(&word)?.unsigned_abs());
        } else {
            return Err(Problem::new(
                "One job is shown at a time.",
                "Give the process number of one faasm-run. A program of the name `top` is run as `./top`.",
            )
            .at(word));
        }
    }
    Ok(Request::Top(args))
}

/// The options of `faasm-run top`.
static FLAGS: &[Flag<TopArgs>] = &[
    Flag {
        names: &["once"],
        values: &[],
        section: Section::Job,
        help: "Print a table once and end.",
        action: Action::Set(|args, _| {
            args.once = true;
            Ok(())
        }),
    },
    Flag {
        names: &["json"],
        values: &[],
        section: Section::Job,
        help: "Print JSON instead; includes `--once`.",
        action: Action::Set(|args, _| {
            (args.once, args.json) = (true, true);
            Ok(())
        }),
    },
    Flag {
        names: &["interval"],
        values: &["SECONDS"],
        section: Section::Job,
        help: "Time between two looks. Default: 1, and 0.5 with `--once`.",
        action: Action::Set(|args, values| {
            args.interval = Some(values::seconds(values[0], "--interval 2")?.max(INTERVAL_MIN));
            Ok(())
        }),
    },
    help_flag(),
];

/// Looks that follow each other sooner tell nothing.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, UsageError> {
        top(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn a_job_is_named_or_not() {
        let Ok(Request::Top(args)) = parse("12 --once --interval 2") else { panic!("it parses") };
        assert_eq!((args.process, args.once, args.json), (Some(12), true, false));
        assert_eq!(args.interval, Some(Duration::from_secs(2)));
        let Ok(Request::Top(args)) = parse("--json --interval 0.001") else { panic!("it parses") };
        assert_eq!((args.process, args.once, args.json), (None, true, true));
        assert_eq!(args.interval, Some(INTERVAL_MIN));
        let Ok(Request::Help(text)) = parse("-h") else { panic!("there is help") };
        assert!(text.contains("--once") && text.lines().all(|line| line.len() <= 100));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for line in ["x", "0", "1 2", "12 13", "--frob", "12 --interval x"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
