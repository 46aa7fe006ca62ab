//! What the coordinator and the nodes tell each other about jobs.
//!
//! ```text
//! coordinator                                   node
//!      | <------------------------------- Hello --|   who it is, once
//!      |-- Prepare -----------------------------> |
//!      | <-------------------------------- Want --|   module bytes it lacks, in chunks
//!      | <----------------------- Ready|Unready --|
//!      |-- Start -------------------------------> |   once all are ready
//!      | <--------- output, RankExited, States --|
//!      |-- input, Credit, Query ----------------> |
//!      | <--------------------------- PartEnded --|   all its ranks have ended
//!      |-- Release -----------------------------> |   all nodes' ranks have ended
//! ```
//! A node whose ranks are the first of a program that initialises itself asks for its Proto-Faaslet (see `coordinator::protos`).
//! A node that has been there for long sends `Renew`, which is answered with `Certificate`.
//! `End` may come at any time after `Prepare`, and again. Bytes of output, input and modules are
//! not in these messages: they follow an envelope as they are (see `codec`).
//!
//! Whoever receives a message checks it before use: [`Prepare::check`], and the core ignores what
//! does not fit a job's state.

use faasm_mpi_engine::fault::{Decided, Decision, Proposal, Topic};
use faasm_mpi_shim::port::Pending;
use rkyv::{Archive, Deserialize, Serialize};

use super::offer::{Newborn, ProtoMade, ProtoName, ProtoTurn};
use super::spawn::{SpawnNews, SpawnOrder};
use super::stop::{Legacy, StopAnswer, StopOrder};
use crate::faaslet::RankExit;
use crate::job::{Quiet, RankState, RankStatus, StdinPolicy, Survey};

/// Programs of one job.
pub(crate) const APPS_MAX: usize = 4096;
/// Nodes that one job may be spread over.
pub(crate) const JOB_NODES_MAX: usize = faasm_transport::config::NODES_MAX;
/// Ranks of one job over all its nodes. Each node keeps a few hundred bytes for each.
pub(crate) const JOB_RANKS_MAX: u32 = 1 << 20;
/// Longest module that travels.
pub(crate) const MODULE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a module in one message.
pub(crate) const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Longest Proto-Faaslet that travels, in bytes as they are sent.
pub(crate) const PROTO_BYTES_MAX: u64 = 64 << 20;

/// From the coordinator to a node.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum ToNode {
    /// Get everything ready for a part of a job.
    Prepare(Box<Prepare>),
    /// Every node is ready: the ranks may run.
    Start {
        /// The job.
        job: u32,
    },
    /// End the job's ranks, ready or not.
    End {
        /// The job.
        job: u32,
    },
    /// No rank of the job is left anywhere: forget it.
    Release {
        /// The job.
        job: u32,
    },
    /// This much output has reached its destination; as much more may be sent.
    Credit {
        /// The job.
        job: u32,
        /// Bytes.
        bytes: u64,
    },
    /// Say what your ranks are doing.
    Query {
        /// The job.
        job: u32,
        /// Name of the question, echoed by the answer.
        query: u32,
    },
    /// Say how your ranks are doing.
    Survey {
        /// The job.
        job: u32,
        /// Name of the question, echoed by the answer.
        query: u32,
        /// Whether it is to be counted who sends how much to whom.
        partners: bool,
    },
    /// Say whether all your ranks wait for messages.
    Confirm {
        /// The job.
        job: u32,
        /// Name of the question, echoed by the answer.
        round: u32,
    },
    /// The new certificate that was asked for.
    Certificate {
        /// In DER.
        certificate: Vec<u8>,
        /// How long it is valid from now on.
        valid_ms: u64,
    },
    /// These ranks have failed with their node, and the job goes on.
    Failed {
        /// The job.
        job: u32,
        /// The ranks.
        ranks: Vec<u32>,
    },
    /// A node has left the job; none of its ranks that were there lives.
    Departed {
        /// The job.
        job: u32,
        /// The node.
        node: u32,
    },
    /// What members of a communicator on several nodes agreed on.
    Decided {
        /// The job.
        job: u32,
        /// The decision.
        verdict: Verdict,
    },
    /// What is to be done to stop a job on all its nodes at one instant.
    Stop {
        /// The job.
        job: u32,
        /// Name of the order, echoed by the answer.
        name: u32,
        /// What to do.
        order: StopOrder,
    },
    /// What is to be done about processes that are spawned.
    Spawn {
        /// The job.
        job: u32,
        /// What.
        order: SpawnOrder,
    },
    /// How to come by the Proto-Faaslet that was asked for.
    Proto {
        /// Which.
        name: ProtoName,
        /// What to do.
        turn: ProtoTurn,
    },
    /// Leave the cluster once the jobs that run here have ended; take no further ones.
    Drain,
    /// End all jobs and leave the cluster.
    Leave,
}

/// From a node to the coordinator.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum ToCoordinator {
    /// Who this node is.
    Hello(NodeInfo),
    /// A chunk of a module is missing here.
    Want {
        /// Hash of the whole module.
        module: [u8; 32],
        /// First byte that is wanted.
        offset: u64,
    },
    /// The ranks of a program begin with a Proto-Faaslet.
    ProtoWanted {
        /// Which.
        name: ProtoName,
    },
    /// It was this node's turn to make it.
    ProtoMade {
        /// Which.
        name: ProtoName,
        /// What has come of it.
        made: ProtoMade,
    },
    /// Processes were spawned here, or came back after a restart. Programs that the job did not begin with follow in chunks.
    Born {
        /// The job.
        job: u32,
        /// They.
        born: Vec<Newborn>,
    },
    /// Processes are to be spawned, or what a node has to say to that.
    Spawn {
        /// The job.
        job: u32,
        /// What it says.
        news: SpawnNews,
    },
    /// The part of the job can start.
    Ready {
        /// The job.
        job: u32,
    },
    /// The part of the job cannot start.
    Unready {
        /// The job.
        job: u32,
        /// Why not, in a paragraph.
        reason: String,
    },
    /// A rank has ended.
    RankExited {
        /// The job.
        job: u32,
        /// The rank.
        rank: u32,
        /// How.
        exit: Exit,
    },
    /// All ranks of the part have ended, or are left behind.
    PartEnded {
        /// The job.
        job: u32,
        /// What the part did in all.
        totals: Totals,
        /// What is left of it.
        legacy: Legacy,
    },
    /// What the ranks of the part are doing.
    States {
        /// The job.
        job: u32,
        /// Name of the question.
        query: u32,
        /// Their states.
        states: Vec<State>,
    },
    /// How the ranks of the part are doing.
    Survey {
        /// The job.
        job: u32,
        /// Name of the question.
        query: u32,
        /// What is known of them.
        survey: Box<Survey>,
    },
    /// A rank waits for input: one chunk is wanted.
    StdinWanted {
        /// The job.
        job: u32,
    },
    /// Another node cannot be reached from here.
    PeerLost {
        /// The other node.
        node: u32,
        /// Why it was given up.
        reason: String,
    },
    /// Whether all ranks of the part wait for messages: told when it has become so, and when asked.
    Quiet {
        /// The job.
        job: u32,
        /// Name of the question; 0 if nobody asked.
        round: u32,
        /// What has happened so far, if they all wait.
        quiet: Option<Standstill>,
    },
    /// The node's certificate runs out: it wants one for a new key.
    Renew {
        /// The key, an uncompressed point of P-256.
        public_key: Vec<u8>,
    },
    /// A rank takes part in an agreement of ranks on several nodes.
    Propose {
        /// The job.
        job: u32,
        /// What it brings.
        motion: Motion,
    },
    /// What came of an order to stop a job.
    Stop {
        /// The job.
        job: u32,
        /// Name of the order.
        name: u32,
        /// What came of it.
        answer: StopAnswer,
    },
    /// The node goes away after this time: its ranks should go elsewhere.
    Notice {
        /// The time.
        grace_ms: u64,
    },
    /// The node leaves the cluster; nothing of a job is left here.
    Leaving,
}

/// A node, as it presents itself.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct NodeInfo {
    /// Name of its machine.
    pub(crate) host: String,
    /// Its worker threads.
    pub(crate) workers: u32,
    /// Ranks that it offers to take, if it says.
    pub(crate) slots: Option<u32>,
    /// Its process.
    pub(crate) process: u32,
    /// Where it listens; without an address where it listens on all.
    pub(crate) addresses: Vec<String>,
}

/// A job, as every node that has a part in it is told.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Prepare {
    /// Name of the job, never used before in this cluster.
    pub(crate) job: u32,
    /// The nodes that have a part in it.
    pub(crate) nodes: Vec<Peer>,
    /// Which of `nodes` has which ranks, from rank 0 on.
    pub(crate) blocks: Vec<Block>,
    /// Its programs, in rank order.
    pub(crate) apps: Vec<App>,
    /// Environment variables of every rank.
    pub(crate) env: Vec<(String, String)>,
    /// Directories beyond the working directory.
    pub(crate) dirs: Vec<Dir>,
    /// Who reads the input.
    pub(crate) stdin: Stdin,
    /// Whether the input is a terminal.
    pub(crate) terminal: bool,
    /// Whether it goes on when a rank fails.
    pub(crate) is_tolerant: bool,
    /// Whether its programs may spawn processes, on any of its nodes.
    pub(crate) spawns: bool,
    /// What lets it be stopped and gone on with.
    pub(crate) keep: Keep,
}

/// What lets a job be stopped as a value, and go on from one.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct Keep {
    /// Whether its programs are in the variant whose stacks can be taken.
    pub(crate) movable: Movable,
    /// Whether each rank is to stay somewhere until it is moved.
    pub(crate) is_shuffled: bool,
    /// Where it goes on from.
    pub(crate) origin: Option<Origin>,
}

/// Whether programs are in the variant whose stacks can be taken.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) enum Movable {
    /// They are not.
    #[default]
    No,
    /// Those that have such a variant are.
    IfPossible,
    /// They are, or the job does not start.
    Yes,
}

/// A cut that a job goes on from.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Origin {
    /// The directory of checkpoints, which every node sees.
    pub(crate) dir: String,
    /// Number of the cut.
    pub(crate) cut: u32,
}

/// One node of a job.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Peer {
    /// Its number.
    pub(crate) node: u32,
    /// Its host.
    pub(crate) host: String,
    /// Where it can be reached.
    pub(crate) addresses: Vec<String>,
}

/// Ranks that follow each other on one node.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, PartialEq)]
pub(crate) struct Block {
    /// Index among the job's nodes.
    pub(crate) node: u32,
    /// Number of ranks.
    pub(crate) ranks: u32,
}

/// One program of a job.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct App {
    /// What it is called.
    pub(crate) name: String,
    /// Hash of its bytes.
    pub(crate) module: [u8; 32],
    /// How many they are.
    pub(crate) bytes: u64,
    /// Number of its ranks.
    pub(crate) ranks: u32,
    /// Its arguments after its name.
    pub(crate) args: Vec<String>,
    /// Further environment variables.
    pub(crate) env: Vec<(String, String)>,
    /// Its working directory.
    pub(crate) wdir: String,
}

/// A directory that the ranks may use.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Dir {
    /// Its path on the host.
    pub(crate) host: String,
    /// Its path for the guest.
    pub(crate) guest: String,
    /// Whether it may not be written.
    pub(crate) read_only: bool,
}

/// Who reads the input.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Stdin {
    #[default]
    None,
    Rank(u32),
    All,
}

/// A [`Proposal`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Motion {
    /// Context of the communicator, and number of the agreement there.
    pub(crate) topic: (u32, u32),
    /// The communicator's members.
    pub(crate) members: Vec<u32>,
    /// Who proposes.
    pub(crate) rank: u32,
    pub(crate) flags: [u32; 2],
    pub(crate) context: u32,
    pub(crate) failed: Vec<u32>,
    pub(crate) acked: u32,
}

/// A [`Decision`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Context of the communicator, and number of the agreement there.
    pub(crate) topic: (u32, u32),
    /// Those who are told.
    pub(crate) members: Vec<u32>,
    pub(crate) flags: [u32; 2],
    pub(crate) context: u32,
    pub(crate) is_news: bool,
    pub(crate) failed: Vec<u32>,
}

/// What a part of a job did in all.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    /// Messages of ranks that ended by themselves.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Ranks whose code is still running.
    pub(crate) left_running: u32,
}

/// A [`Quiet`] that travels.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, PartialEq)]
pub(crate) struct Standstill {
    /// Messages that left for other nodes.
    pub(crate) sent: u64,
    /// Messages that came from other nodes.
    pub(crate) received: u64,
    /// A number that changes whenever a rank does anything.
    pub(crate) changes: u64,
    /// Ranks that wait.
    pub(crate) waiting: u32,
}

/// A [`RankExit`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Exit {
    Completed { code: i32 },
    WithoutFinalize { code: i32 },
    Aborted { code: i32, reason: String },
    MpiFailed { class: i32, reason: String },
    Raised { reason: String },
    Trapped { code: i32, reason: String },
    Failed { reason: String },
    Killed,
}

/// What a rank is doing.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) rank: u32,
    pub(crate) status: Status,
}

/// A [`RankStatus`](crate::job::RankStatus) that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Status {
    Starting,
    Running,
    Waiting(Option<Wait>),
    Outside(Option<String>),
    Ended,
}

/// What a rank waits for in an MPI call.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Wait {
    pub(crate) function: String,
    pub(crate) peer: Option<i32>,
    pub(crate) tag: Option<i32>,
    pub(crate) context: u32,
}

impl Prepare {
    /// Checks what no part of the runtime would check by itself.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let apps: u64 = self.apps.iter().map(|app| u64::from(app.ranks)).sum();
        let placed: u64 = self.blocks.iter().map(|block| u64::from(block.ranks)).sum();
        if self.job == 0 || self.apps.is_empty() || self.apps.len() > APPS_MAX {
            return Err("it has no number or no programs");
        }
        if self.nodes.is_empty() || self.nodes.len() > JOB_NODES_MAX {
            return Err("it has no or too many nodes");
        }
        // A checkpoint may have processes that were spawned.
        let is_placed = if self.keep.origin.is_some() { apps <= placed } else { apps == placed };
        if apps == 0 || placed > u64::from(JOB_RANKS_MAX) || !is_placed {
            return Err("its ranks are not placed");
        }
        if self.blocks.iter().any(|block| block.node as usize >= self.nodes.len()) {
            return Err("a rank is placed on a node that has no part in it");
        }
        if self.apps.iter().any(|app| app.bytes > MODULE_BYTES_MAX) {
            return Err("a program is too long");
        }
        if self.keep.origin.is_some() && self.keep.movable != Movable::Yes {
            return Err("its stacks cannot be put back");
        }
        Ok(())
    }
}

impl Motion {
    pub(crate) fn new(topic: Topic, members: &[u32], rank: u32, proposal: Proposal) -> Self {
        let Proposal { flags, context, failed, acked } = proposal;
        let topic = (topic.context, topic.number);
        Self { topic, members: members.to_vec(), rank, flags, context, failed, acked }
    }

    /// The topic, the members, who proposes, and what.
    pub(crate) fn into_parts(self) -> (Topic, Vec<u32>, u32, Proposal) {
        let (context, number) = self.topic;
        let topic = Topic { context, number };
        let Self { members, rank, flags, context, failed, acked, .. } = self;
        (topic, members, rank, Proposal { flags, context, failed, acked })
    }
}

impl From<Decided> for Verdict {
    fn from(Decided { topic, decision, members }: Decided) -> Self {
        let Decision { flags, context, is_news, failed } = decision;
        let topic = (topic.context, topic.number);
        Self { topic, members, flags, context, is_news, failed }
    }
}

impl From<Verdict> for Decided {
    fn from(verdict: Verdict) -> Self {
        let (context, number) = verdict.topic;
        let topic = Topic { context, number };
        let Verdict { members, flags, context, is_news, failed, .. } = verdict;
        Self { topic, members, decision: Decision { flags, context, is_news, failed } }
    }
}

impl From<&StdinPolicy> for Stdin {
    fn from(policy: &StdinPolicy) -> Self {
        match policy {
            StdinPolicy::None => Self::None,
            StdinPolicy::Rank(rank) => Self::Rank(*rank),
            StdinPolicy::All => Self::All,
        }
    }
}

impl From<Stdin> for StdinPolicy {
    fn from(stdin: Stdin) -> Self {
        match stdin {
            Stdin::None => Self::None,
            Stdin::Rank(rank) => Self::Rank(rank),
            Stdin::All => Self::All,
        }
    }
}

impl From<RankExit> for Exit {
    fn from(exit: RankExit) -> Self {
        match exit {
            RankExit::Completed { code } => Self::Completed { code },
            RankExit::WithoutFinalize { code } => Self::WithoutFinalize { code },
            RankExit::Aborted { code, reason } => Self::Aborted { code, reason },
            RankExit::MpiFailed { class, reason } => Self::MpiFailed { class, reason },
            RankExit::Raised { reason } => Self::Raised { reason },
            RankExit::Trapped { code, reason } => Self::Trapped { code, reason },
            RankExit::Failed { reason } => Self::Failed { reason },
            RankExit::Killed => Self::Killed,
        }
    }
}

impl From<Exit> for RankExit {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Completed { code } => Self::Completed { code },
            Exit::WithoutFinalize { code } => Self::WithoutFinalize { code },
            Exit::Aborted { code, reason } => Self::Aborted { code, reason },
            Exit::MpiFailed { class, reason } => Self::MpiFailed { class, reason },
            Exit::Raised { reason } => Self::Raised { reason },
            Exit::Trapped { code, reason } => Self::Trapped { code, reason },
            Exit::Failed { reason } => Self::Failed { reason },
            Exit::Killed => Self::Killed,
        }
    }
}

impl From<State> for RankState {
    fn from(state: State) -> Self {
        let status = match state.status {
            Status::Starting => RankStatus::Starting,
            Status::Running => RankStatus::Running,
            Status::Waiting(wait) => RankStatus::Waiting(wait.and_then(Wait::pending)),
            Status::Outside(on) => RankStatus::Outside(on),
            Status::Ended => RankStatus::Ended,
        };
        Self { rank: state.rank, status, host: None }
    }
}

impl From<RankState> for State {
    fn from(state: RankState) -> Self {
        let status = match state.status {
            RankStatus::Starting => Status::Starting,
            RankStatus::Running => Status::Running,
            RankStatus::Waiting(pending) => Status::Waiting(pending.map(Wait::from)),
            RankStatus::Outside(on) => Status::Outside(on),
            RankStatus::Ended => Status::Ended,
        };
        Self { rank: state.rank, status }
    }
}

impl From<Pending> for Wait {
    fn from(pending: Pending) -> Self {
        let Pending { function, peer, tag, context } = pending;
        Self { function: function.to_owned(), peer, tag, context }
    }
}

impl Wait {
    /// The wait, if it is in a function that this build knows.
    fn pending(self) -> Option<Pending> {
        let known = faasm_mpi_shim::functions().find(|function| function.name == self.function)?;
        let Self { peer, tag, context, .. } = self;
        Some(Pending { function: known.name, peer, tag, context })
    }
}

impl From<Quiet> for Standstill {
    fn from(Quiet { sent, received, changes, waiting }: Quiet) -> Self {
        Self { sent, received, changes, waiting }
    }
}

impl From<Standstill> for Quiet {
    fn from(Standstill { sent, received, changes, waiting }: Standstill) -> Self {
        Self { sent, received, changes, waiting }
    }
}
