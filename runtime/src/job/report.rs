//! What a job tells about itself: the state of its ranks, and its result.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use faasm_mpi_shim::abi;
use faasm_mpi_shim::port::Pending;

use crate::faaslet::RankExit;

/// What one rank is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RankState {
    /// The rank.
    pub rank: u32,
    /// What it does.
    pub status: RankStatus,
    /// Where it runs, if the job is spread over several nodes.
    pub host: Option<Arc<str>>,
}

/// What a rank can be doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RankStatus {
    /// Its instance is being made.
    Starting,
    /// It computes, or could.
    Running,
    /// It waits in an MPI call for other ranks.
    Waiting(Option<Pending>),
    /// It waits for something outside the job: input, a timer.
    Outside(Option<String>),
    /// It has ended.
    Ended,
}

impl RankStatus {
    /// What it does, without the particulars.
    pub(crate) const fn in_words(&self) -> &'static str {
        match self {
            Self::Starting => "is starting",
            Self::Running => "is running",
            Self::Waiting(Some(pending)) => pending.function,
            Self::Waiting(None) => "waits in an MPI call",
            Self::Outside(_) => "waits for something outside the job",
            Self::Ended => "has ended",
        }
    }
}

impl fmt::Display for RankState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {}", self.rank)?;
        if let Some(host) = &self.host {
            write!(f, " ({host})")?;
        }
        write!(f, ": {}", self.status)
    }
}

impl fmt::Display for RankStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Waiting(Some(pending)) => write_pending(f, pending),
            Self::Waiting(None) => f.write_str("waits in an MPI call"),
            Self::Outside(Some(on)) => write!(f, "waits for {on}"),
            Self::Outside(None) => f.write_str("waits for something outside the job"),
            Self::Ended => f.write_str("has ended"),
        }
    }
}

fn write_pending(f: &mut fmt::Formatter<'_>, pending: &Pending) -> fmt::Result {
    write!(f, "waits in {}", pending.function)?;
    let mut separator = " (";
    let mut part = |f: &mut fmt::Formatter<'_>, text: String| {
        let written = write!(f, "{separator}{text}");
        separator = ", ";
        written
    };
    match pending.peer {
        None => {}
        Some(abi::MPI_ANY_SOURCE) => part(f, "peer MPI_ANY_SOURCE".to_owned())?,
        Some(peer) => part(f, format!("peer {peer}"))?,
    }
    match pending.tag {
        None => {}
        Some(abi::MPI_ANY_TAG) => part(f, "tag MPI_ANY_TAG".to_owned())?,
        Some(tag) => part(f, format!("tag {tag}"))?,
    }
    let comm = match pending.context {
        faasm_mpi_shim::world::CONTEXT_SELF => "MPI_COMM_SELF".to_owned(),
        faasm_mpi_shim::world::CONTEXT_WORLD => "MPI_COMM_WORLD".to_owned(),
        context => format!("communicator with context {context}"),
    };
    part(f, comm)?;
    f.write_str(")")
}

/// Why a job ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// All ranks ended with code 0.
    Success,
    /// A rank failed, and the others were ended with it.
    RankFailed {
        /// The rank that failed first.
        rank: u32,
    },
    /// All ranks waited for each other.
    Deadlock {
        /// What each rank waited for.
        states: Vec<RankState>,
    },
    /// Its time limit passed.
    TimedOut {
        /// What each rank was doing.
        states: Vec<RankState>,
    },
    /// A node was lost, and with it the ranks that ran there.
    NodeLost {
        /// Its number in the cluster.
        node: u32,
        /// Its host.
        host: Arc<str>,
        /// The ranks that were running there.
        ranks: Vec<u32>,
        /// How it was lost, in words.
        reason: String,
    },
    /// It was ended from outside.
    Killed {
        /// The exit code that was asked for.
        code: i32,
    },
}

/// The result of a job.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// Why it ended.
    pub outcome: Outcome,
    /// How each rank ended.
    pub ranks: Vec<RankExit>,
    /// From the start of the job to the end of its last rank.
    pub wall: Duration,
    /// Point-to-point messages sent by ranks that ended by themselves.
    pub messages: u64,
    /// Bytes in those messages.
    pub bytes: u64,
    /// Ranks whose code was still running when the job was given up; they end at their next host call.
    pub left_running: u32,
    /// Number of nodes.
    pub nodes: u32,
    /// For each rank the host of its node; empty for a job of one process.
    pub hosts: Vec<Arc<str>>,
}

impl JobReport {
    /// Exit code as mpirun gives it: the code of the lowest rank whose code is not zero; 110 for a
    /// timeout; 205 for a lost node; 1 for a deadlock; the code asked for where the job was ended
    /// from outside.
    pub fn exit_code(&self) -> i32 {
        match &self.outcome {
            Outcome::Success => 0,
            Outcome::TimedOut { .. } => 110,
            Outcome::Deadlock { .. } => 1,
            Outcome::NodeLost { .. } => NODE_LOST,
            Outcome::Killed { code } => *code,
            Outcome::RankFailed { .. } => {
                let codes = self.ranks.iter().map(RankExit::code);
                codes.into_iter().find(|code| *code != 0).unwrap_or(1)
            }
        }
    }
}

/// What Open MPI's mpirun exits with when it loses the daemon of a node.
const NODE_LOST: i32 = 205;
