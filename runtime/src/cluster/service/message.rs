//! What a user's process and a coordinator that runs on its own tell each other.
//!
//! ```text
//! user's process                         coordinator
//!   Hello ------------------------------>            first of all
//!       <---------------------------------- Hello | Refused
//!   Status | Token | Drain | Leave ----->
//!       <---------------------- Status | Token | Done | Refused
//!   Submit, then Program.. ------------->
//!       <------------------------------- Started | Refused
//!       <-------- Output, Close, Host, Exited, InputWanted, States, Doing
//!   Input, End, States, Doing ---------->
//!   Checkpoint | Move ------------------>            carried out one after the other
//!       <--------------------------------- Cut | Moved
//!       <--------------------------------- Report          and no more
//! ```

use std::sync::Arc;
use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

use super::orders::{CutTold, Drained, Kept, Moves, Order};
use crate::cluster::coordinator::{ClusterStatus, NodeStatus};
use crate::cluster::message::{App, Dir, Exit, Keep, State, Stdin};
use crate::faaslet::RankExit;
use crate::job::{JobReport, Outcome, RankState};

/// From the user's process.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum Ask {
    /// Which program this is; only the same one is served.
    Hello { build: String },
    /// What there is.
    Status,
    /// A token that is valid for so long, for a node that joins or for a user on another machine.
    Token { valid_ms: u64, for_user: bool },
    /// Take no further jobs to a node, move the ranks that are there, and let it go then.
    Drain { node: String },
    /// Let a node go at once.
    Leave { node: String },
    /// Run a job.
    Submit(Box<Submit>),
    /// Bytes of the job's programs, one after the other, each hash once.
    Program(Vec<u8>),
    /// Input that was asked for; nothing at its end.
    Input(Vec<u8>),
    /// End the job.
    End { code: i32 },
    /// What the ranks do.
    States,
    /// How the job is doing.
    Doing,
    /// Make a checkpoint of the job.
    Checkpoint { end: Option<i32> },
    /// Place ranks of the job elsewhere.
    Move(Order),
}

/// A job.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Submit {
    pub(super) apps: Vec<App>,
    pub(super) env: Vec<(String, String)>,
    pub(super) dirs: Vec<Dir>,
    pub(super) stdin: Stdin,
    pub(super) terminal: bool,
    pub(super) timeout_ms: Option<u64>,
    pub(super) is_tolerant: bool,
    pub(super) keep: Keep,
    /// How its checkpoints are made, if it is to have any.
    pub(super) checkpoints: Option<Kept>,
    /// The nodes of the ranks: node and number of ranks.
    pub(super) blocks: Vec<(u32, u32)>,
}

/// From the coordinator.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum Tell {
    /// The programs are the same.
    Hello,
    /// What there is.
    Status(Status),
    /// A token, a secret.
    Token(String),
    /// It was done.
    Done,
    /// It cannot be done.
    Refused(String),
    /// The ranks run.
    Started,
    /// A rank wrote something.
    Output { rank: u32, is_stderr: bool, bytes: Vec<u8> },
    /// A rank writes no more.
    Close { rank: u32 },
    /// A rank runs on another host from now on.
    Host { rank: u32, host: String },
    /// A rank has ended.
    Exited { rank: u32, exit: Exit },
    /// A rank waits for input.
    InputWanted,
    /// What the ranks do, with their hosts.
    States(Vec<(State, Option<String>)>),
    /// How the job is doing, in JSON; or why that is not known.
    Doing(Result<String, String>),
    /// What came of the order to make a checkpoint.
    Cut(CutTold),
    /// What came of the order to place ranks elsewhere.
    Moved(Result<Moves, String>),
    /// A node is drained: what became of the jobs there.
    Drained(Vec<Drained>),
    /// The job has ended.
    Report(Box<Report>),
}

/// A [`ClusterStatus`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Status {
    pub(super) nodes: Vec<Node>,
    pub(super) jobs: Vec<u32>,
    pub(super) refused: u64,
    pub(super) address: Option<String>,
}

/// A [`NodeStatus`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) node: u32,
    pub(super) host: String,
    pub(super) workers: u32,
    pub(super) slots: Option<u32>,
    pub(super) process: u32,
    pub(super) addresses: Vec<String>,
    pub(super) draining: bool,
    pub(super) jobs: Vec<u32>,
}

/// A [`JobReport`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Report {
    pub(super) outcome: End,
    pub(super) ranks: Vec<Exit>,
    pub(super) wall_ns: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) left_running: u32,
    pub(super) nodes: u32,
    pub(super) hosts: Vec<String>,
}

/// An [`Outcome`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum End {
    Success,
    RankFailed { rank: u32 },
    Deadlock { states: Vec<(State, Option<String>)> },
    TimedOut { states: Vec<(State, Option<String>)> },
    NodeLost { node: u32, host: String, ranks: Vec<u32>, reason: String },
    Killed { code: i32 },
}

/// States with their hosts.
pub(super) fn with_hosts(states: &[RankState]) -> Vec<(State, Option<String>)> {
    let host = |state: &RankState| state.host.as_ref().map(ToString::to_string);
    states.iter().map(|state| (State::from(state.clone()), host(state))).collect()
}

/// The states that these are.
pub(super) fn from_hosts(states: Vec<(State, Option<String>)>) -> Vec<RankState> {
    let state = |(state, host): (State, Option<String>)| RankState {
        host: host.map(Arc::from),
        ..RankState::from(state)
    };
    states.into_iter().map(state).collect()
}

impl From<&ClusterStatus> for Status {
    fn from(status: &ClusterStatus) -> Self {
        let node = |node: &NodeStatus| Node {
            node: node.node.0,
            host: node.host.to_string(),
            workers: node.workers,
            slots: node.slots,
            process: node.process,
            addresses: node.addresses.clone(),
            draining: node.draining,
            jobs: node.jobs.clone(),
        };
        Self {
            nodes: status.nodes.iter().map(node).collect(),
            jobs: status.jobs.clone(),
            refused: status.refused,
            address: status.address.map(|address| address.to_string()),
        }
    }
}

impl From<Status> for ClusterStatus {
    fn from(status: Status) -> Self {
        let node = |node: Node| NodeStatus {
            node: faasm_transport::NodeId(node.node),
            host: node.host.into(),
            workers: node.workers,
            slots: node.slots,
            process: node.process,
            addresses: node.addresses,
            draining: node.draining,
            jobs: node.jobs,
        };
        Self {
            nodes: status.nodes.into_iter().map(node).collect(),
            jobs: status.jobs,
            refused: status.refused,
            address: status.address.and_then(|address| address.parse().ok()),
        }
    }
}

impl From<&JobReport> for Report {
    fn from(report: &JobReport) -> Self {
        Self {
            outcome: End::from(&report.outcome),
            ranks: report.ranks.iter().cloned().map(Exit::from).collect(),
            wall_ns: u64::try_from(report.wall.as_nanos()).unwrap_or(u64::MAX),
            messages: report.messages,
            bytes: report.bytes,
            left_running: report.left_running,
            nodes: report.nodes,
            hosts: report.hosts.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<Report> for JobReport {
    fn from(report: Report) -> Self {
        Self {
            outcome: report.outcome.into(),
            ranks: report.ranks.into_iter().map(RankExit::from).collect(),
            wall: Duration::from_nanos(report.wall_ns),
            messages: report.messages,
            bytes: report.bytes,
            left_running: report.left_running,
            nodes: report.nodes,
            hosts: report.hosts.into_iter().map(Arc::from).collect(),
        }
    }
}

impl From<&Outcome> for End {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::RankFailed { rank } => Self::RankFailed { rank: *rank },
            Outcome::Deadlock { states } => Self::Deadlock { states: with_hosts(states) },
            Outcome::TimedOut { states } => Self::TimedOut { states: with_hosts(states) },
            Outcome::NodeLost { node, host, ranks, reason } => Self::NodeLost {
                node: *node,
                host: host.to_string(),
                ranks: ranks.clone(),
                reason: reason.clone(),
            },
            Outcome::Killed { code } => Self::Killed { code: *code },
        }
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end {
            End::Success => Self::Success,
            End::RankFailed { rank } => Self::RankFailed { rank },
            End::Deadlock { states } => Self::Deadlock { states: from_hosts(states) },
            End::TimedOut { states } => Self::TimedOut { states: from_hosts(states) },
            End::NodeLost { node, host, ranks, reason } => {
                Self::NodeLost { node, host: host.into(), ranks, reason }
            }
            End::Killed { code } => Self::Killed { code },
        }
    }
}
