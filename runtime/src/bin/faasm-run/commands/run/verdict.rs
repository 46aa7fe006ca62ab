//! What is said at the end of a job.

use std::{fmt::Write as _, time::Duration};

use faasm_runtime::{JobReport, Outcome, RankExit};
use indicatif::{HumanBytes, HumanCount};

/// Why the job ended, if it did not end well.
pub(super) fn describe(report: &JobReport) -> String {
    let mut text = match &report.outcome {
        Outcome::Success => describe_survived(report),
        Outcome::RankFailed { rank } => describe_failure(report, *rank),
        Outcome::Deadlock { states } => super::states(
            "deadlock: the ranks wait for each other, and no message is under way",
            states,
        ),
        Outcome::TimedOut { states } => super::states(
            "the time given with --timeout is over; the ranks were doing this",
            states,
        ),
        Outcome::NodeLost { node, host, ranks, reason } => {
            describe_lost(report, (*node, host), ranks, reason)
        }
        Outcome::Killed { code } => match code - 128 {
            signal_hook::consts::SIGINT => "faasm-run: ended by SIGINT\n".to_owned(),
            signal_hook::consts::SIGTERM => "faasm-run: ended by SIGTERM\n".to_owned(),
            // Who closed our output does not want to hear of it, and what failed was named already.
            _ => String::new(),
        },
        other => format!("faasm-run: the job ended: {other:?}\n"),
    };
    if report.left_running > 0 {
        writeln!(
            text,
            "faasm-run: {} still computed and were left",
            ranks(report.left_running as usize)
        )
        .expect("writing to a String cannot fail");
    }
    text
}

/// The ranks that failed in a job that went on without them.
fn describe_survived(report: &JobReport) -> String {
    let mut text = String::new();
    for (rank, exit) in report.ranks.iter().enumerate().filter(|(_, exit)| exit.is_failure()) {
        let reason = exit.reason().unwrap_or_else(|| "failed".to_owned());
        let host = report.hosts.get(rank).map(|host| format!(" ({host})")).unwrap_or_default();
        writeln!(
            text,
            "faasm-run: rank {rank}{host}: {reason}\nfaasm-run: the others went on without it"
        )
        .expect("writing to a String cannot fail");
    }
    text
}

fn describe_failure(report: &JobReport, rank: u32) -> String {
    let reason = report.ranks[rank as usize].reason().unwrap_or_else(|| "failed".to_owned());
    let host = report.hosts.get(rank as usize).map(|host| format!(" ({host})")).unwrap_or_default();
    let mut text = format!("faasm-run: rank {rank}{host}: {reason}\n");
    let killed = report.ranks.iter().filter(|exit| matches!(exit, RankExit::Killed)).count();
    let failed = report.ranks.iter().filter(|exit| exit.is_failure()).count();
    let mut line = Vec::new();
    if killed > 0 {
        line.push(format!("{} ended with it", ranks(killed)));
    }
    if failed > 1 {
        line.push(format!("{} failed as well", ranks(failed - 1)));
    }
    if !line.is_empty() {
        writeln!(text, "faasm-run: {}", line.join(", ")).expect("writing to a String cannot fail");
    }
    text
}

/// A node is gone, and some of the job with it.
fn describe_lost(
    report: &JobReport,
    (node, host): (u32, &str),
    lost: &[u32],
    reason: &str,
) -> String {
    let killed = report.ranks.iter().filter(|exit| matches!(exit, RankExit::Killed)).count();
    let others = killed.saturating_sub(lost.len());
    let with_it = match others {
        0 => String::new(),
        others => format!("; {} on other nodes ended with it", ranks(others)),
    };
    let plural = if lost.len() == 1 { "" } else { "s" };
    format!(
        "faasm-run: node {node} ({host}) is lost: {reason}. Rank{plural} {} ran there{with_it}\n",
        list(lost),
    )
}

/// `0-3, 7`.
fn list(ranks: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for rank in ranks {
        match runs.last_mut().filter(|(_, last)| last + 1 == *rank) {
            Some((_, last)) => *last = *rank,
            None => runs.push((*rank, *rank)),
        }
    }
    let run = |(first, last): (u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(", ")
}

/// The summary that `--report` asks for.
pub(super) fn summary(report: &JobReport, workers: u32, startup: Duration) -> String {
    format!(
        "faasm-run: {} on {} node{} ({workers} workers): wall {}, start-up {}, {} messages, {}\n",
        ranks(report.ranks.len()),
        report.nodes,
        if report.nodes == 1 { "" } else { "s" },
        duration(report.wall),
        duration(startup),
        HumanCount(report.messages),
        HumanBytes(report.bytes),
    )
}

fn ranks(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} rank{plural}", HumanCount(count as u64))
}

/// Three digits are enough to compare two runs.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = if seconds >= 1.0 { (seconds, "s") } else { (seconds * 1e3, "ms") };
    let digits = 2_usize.saturating_sub(value.max(1.0).log10() as usize);
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome, ranks: Vec<RankExit>) -> JobReport {
        let wall = Duration::from_micros(1_234_567);
        JobReport {
            outcome,
            ranks,
            wall,
            messages: 12_345,
            bytes: 2048,
            left_running: 0,
            nodes: 1,
            hosts: Vec::new(),
        }
    }

    #[test]
    fn times_have_three_digits() {
        for (micros, expected) in [
            (42, "0.04 ms"),
            (1_234, "1.23 ms"),
            (98_765, "98.8 ms"),
            (123_456, "123 ms"),
            (61_234_567, "61.2 s"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), expected);
        }
    }

    #[test]
    fn the_summary_is_one_line() {
        let report = report(Outcome::Success, vec![RankExit::Completed { code: 0 }; 2]);
        assert_eq!(describe(&report), "");
        assert_eq!(
            summary(&report, 2, Duration::from_millis(5)),
            "faasm-run: 2 ranks on 1 node (2 workers): wall 1.23 s, start-up 5.00 ms, \
             12,345 messages, 2.00 KiB\n"
        );
    }

    #[test]
    fn a_failure_names_the_rank_and_what_became_of_the_others() {
        let ranks = vec![
            RankExit::Killed,
            RankExit::Completed { code: 3 },
            RankExit::Completed { code: 4 },
        ];
        let text = describe(&report(Outcome::RankFailed { rank: 1 }, ranks));
        assert_eq!(
            text,
            "faasm-run: rank 1: exited with code 3\n\
             faasm-run: 1 rank ended with it, 1 rank failed as well\n"
        );
    }

    #[test]
    fn a_lost_node_is_named_with_its_ranks() {
        let outcome = Outcome::NodeLost {
            node: 2,
            host: "b".into(),
            ranks: vec![1, 2, 3, 5],
            reason: "nothing was heard of it for 5.0 s".into(),
        };
        let text = describe(&report(outcome, vec![RankExit::Killed; 6]));
        assert_eq!(
            text,
            "faasm-run: node 2 (b) is lost: nothing was heard of it for 5.0 s. Ranks 1-3, 5 ran there; \
             2 ranks on other nodes ended with it\n"
        );
    }

    #[test]
    fn a_closed_output_is_no_news() {
        assert_eq!(describe(&report(Outcome::Killed { code: 141 }, vec![RankExit::Killed])), "");
        let killed = describe(&report(Outcome::Killed { code: 130 }, vec![RankExit::Killed]));
        assert_eq!(killed, "faasm-run: ended by SIGINT\n");
    }
}
