//! How a running job is doing: its nodes, its ranks, and the moves so far.
//!
//! Times and traffic are sums since the job began, or since somebody first asked where that is said; two answers give a
//! rate.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::relocation::MoveReport;
use super::survey::{RankSurvey, Survey};

/// How a job is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// How long it has run, in microseconds.
    pub elapsed_us: u64,
    /// Its nodes, by their numbers in the job.
    pub nodes: Vec<NodeLoad>,
    /// Its ranks, in their order.
    pub ranks: Vec<RankLoad>,
    /// Ranks that share memory (`MPI_Win_allocate_shared`) and have to be on one node, group by group.
    #[serde(default)]
    pub bonds: Vec<Vec<u32>>,
    /// Ranks that went from node to node.
    pub moves: PastMoves,
}

/// How a node of a job is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// Its host.
    pub host: String,
    /// Its process on that host.
    pub process: u32,
    /// Its worker threads.
    pub workers: u32,
    /// Ranks that it offers to take; one a worker if it does not say.
    pub slots: Option<u32>,
    /// Whether it has answered.
    pub answers: bool,
    /// Whether ranks may come: not where the part of the job has ended.
    pub is_open: bool,
    /// It goes away after this time, in milliseconds.
    pub leaves_in_ms: Option<u64>,
    /// Processor time of its process, in microseconds.
    pub processor_us: u64,
    /// Memory of its process that is present.
    pub resident_bytes: u64,
    /// Messages and bytes to each of the job's nodes over the links, those of the runtime included.
    pub sent: Vec<(u64, u64)>,
}

/// How a rank is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankLoad {
    /// The rank.
    pub rank: u32,
    /// Number of its node in the job.
    pub node: u32,
    /// What it does.
    pub activity: Activity,
    /// The particulars, in words.
    pub what: String,
    /// Its processor time since somebody first asked, estimated, in microseconds.
    pub busy_us: u64,
    /// For how long it computed or could have, if a worker had been free, since somebody first asked; a rank with
    /// threads counts as often as it has threads that do.
    pub ready_us: u64,
    /// Size of its memory.
    pub memory_bytes: u64,
    /// Point-to-point messages that it has sent.
    pub messages: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// To whom it has sent how many bytes, where this is counted.
    pub partners: Vec<(u32, u64)>,
}

/// What a rank does, in a word.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Its instance is being made.
    Starting,
    /// It computes, or could.
    Running,
    /// It waits in an MPI call.
    Waiting,
    /// It waits for something outside the job.
    Outside,
    /// It has ended.
    Ended,
    /// Its node does not answer.
    #[default]
    Unknown,
}

/// Moves of ranks so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PastMoves {
    /// Orders that were carried out.
    pub orders: u64,
    /// Ranks that they moved.
    pub ranks: u64,
    /// The last ones, the latest at the end.
    pub recent: VecDeque<PastMove>,
}

/// Ranks that went elsewhere with one order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PastMove {
    /// Which, each with the host that it went to; the first ones.
    pub ranks: Vec<(u32, String)>,
    /// How many they were.
    pub count: u64,
    /// How long no rank of the job could go on, in microseconds.
    pub stopped_us: u64,
    /// Who wanted it, in words.
    pub why: String,
}

impl PastMoves {
    /// Adds what an order has moved, if anything.
    pub(crate) fn add(&mut self, report: &MoveReport, why: &str) {
        if report.moved.is_empty() {
            return;
        }
        let count = report.moved.len() as u64;
        self.orders += 1;
        self.ranks += count;
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        let ranks = report.moved.iter().take(RANKS_TOLD_MAX).cloned().collect();
        let stopped_us = report.stopped.as_micros() as u64;
        self.recent.push_back(PastMove { ranks, count, stopped_us, why: why.to_owned() });
    }
}

impl JobStatus {
    /// How a job of one process is doing.
    pub(crate) fn of_one(node: NodeLoad, survey: Survey) -> Self {
        let mut status = Self { elapsed_us: survey.elapsed_us, ..Self::default() };
        status.ranks = survey.ranks.into_iter().map(|rank| RankLoad::of(rank, 0)).collect();
        status.nodes.push(node);
        status
    }
}

impl RankLoad {
    /// What node `node` has told of a rank. It may be wrong, and says at most so much.
    pub(crate) fn of(told: RankSurvey, node: u32) -> Self {
        let is_shown = |letter: &char| !letter.is_control();
        let mut partners = told.partners;
        partners.truncate(PARTNERS_MAX);
        Self {
            rank: told.rank,
            node,
            activity: told.activity.into(),
            what: told.what.chars().filter(is_shown).take(TEXT_CHARS_MAX).collect(),
            busy_us: told.busy_us,
            ready_us: told.ready_us,
            memory_bytes: told.memory_bytes,
            messages: told.messages,
            bytes: told.bytes,
            partners,
        }
    }
}

/// Moves that are remembered.
const RECENT_MAX: usize = 16;
/// Ranks of a move that are remembered by their numbers.
const RANKS_TOLD_MAX: usize = 16;
/// Ranks for each of which it is counted how much a rank sends it; further ones are not told apart.
pub(crate) const PARTNERS_MAX: usize = 256;
/// Longest description of what a rank does.
const TEXT_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moves_are_counted_and_the_last_ones_remembered() {
        let mut moves = PastMoves::default();
        moves.add(&MoveReport::default(), "nothing happened");
        assert_eq!(moves, PastMoves::default());
        for rank in 0..40 {
            let moved = vec![(rank, "a".to_owned()), (rank + 1, "b".to_owned())];
            let (stopped, stopping) = (Duration::from_millis(3), Duration::ZERO);
            let report = MoveReport { moved, stopped, stopping, ..MoveReport::default() };
            moves.add(&report, "asked for");
        }
        assert_eq!((moves.orders, moves.ranks, moves.recent.len()), (40, 80, RECENT_MAX));
        let last = moves.recent.back().expect("there are some");
        assert_eq!((last.ranks[0].0, last.count, last.stopped_us), (39, 2, 3000));
    }

    #[test]
    fn what_a_node_tells_cannot_harm_a_terminal() {
        let what = format!("a\u{1b}[2Jb\n{}", "x".repeat(1000));
        let partners = vec![(1, 1); 1000];
        let load = RankLoad::of(RankSurvey { what, partners, ..RankSurvey::default() }, 1);
        assert!(load.what.starts_with("a[2Jbx") && load.what.chars().count() == TEXT_CHARS_MAX);
        assert_eq!(load.partners.len(), PARTNERS_MAX);
    }
}
