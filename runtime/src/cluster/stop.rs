//! What the coordinator and the nodes tell each other to stop a job on all its nodes at one instant.
//!
//! ```text
//! coordinator                                 node
//!      |-- Ahead -------------------------------> |   before ranks move: send their memory while they run
//!      | <---------------------- Done | Failed ---|
//!      |-- Hold --------------------------------> |   the ranks that compute stop at their next calls, the others go on;
//!      | <-------------------------------- Held --|   again until these have
//!      |-- Look --------------------------------> |   begin nothing that may wait; again and again; Hold where ranks
//!      | <------------------------------ Stands --|   compute; whether all wait, what was sent and begun
//!      |-- Leave -------------------------------> |   once nothing is under way anywhere
//!      | <---------------------- Left | Refused --|   every rank is a value
//!      |-- Pause -------------------------------> |   where some cannot leave: go on for a moment, then Look again
//!      |-- Act ---------------------------------> |   as often as wanted
//!      | <---------------------- Done | Refused --|
//!      |-- GoOn --------------------------------> |
//! ```
//! Each order has a name, which its answer bears. Orders are for a [`ToNode::Stop`](super::message::ToNode::Stop), answers for a
//! [`ToCoordinator::Stop`](super::message::ToCoordinator::Stop).

use faasm_mpi_shim::world::{Begun, Clock, Series};
use rkyv::{Archive, Deserialize, Serialize};

use super::message::{Block, JOB_RANKS_MAX, Standstill, Totals};
use super::offer::Newborn;
use crate::checkpoint::{Tombstone, Unfinished};
use crate::job::Whom;

/// What a node is to do.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum StopOrder {
    /// Close the gate, if it is open, and say how things are.
    Look {
        /// How far ranks have to come before they stop, if that has changed.
        targets: Option<Vec<Target>>,
    },
    /// Open the gate for all but the ranks that are held, and tell whether these wait.
    Hold(Hold),
    /// Begin a move while the ranks still run: make room for those that come, and send what those that leave have written.
    Ahead(MoveTask),
    /// Have all ranks leave where they wait.
    Leave,
    /// Do something with the ranks that have left.
    Act(Task),
    /// Let the ranks go on for a moment, until it is tried again. What was done before of a move still holds.
    Pause,
    /// Let the ranks go on.
    GoOn {
        /// Whether everything had been brought to one state before.
        is_level: bool,
    },
}

/// A [`Whom`] that travels.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Hold {
    More,
    Late,
    Same,
}

/// What came of an order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum StopAnswer {
    /// How things are.
    Stands(Stands),
    /// The ranks that are held go on by themselves, or do not.
    Held {
        /// All of them wait.
        all_wait: bool,
    },
    /// All ranks have left.
    Left,
    /// What was to be done is done.
    Done(Done),
    /// Some ranks cannot leave: it may be tried again.
    Refused {
        /// Which and why.
        why: Vec<(u32, String)>,
    },
    /// It cannot be done.
    Failed {
        /// Why not.
        why: String,
    },
}

/// How things are on a node whose gate is closed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct Stands {
    /// What has happened so far, if all ranks wait.
    pub(crate) standstill: Option<Standstill>,
    /// What was begun together with other nodes, if all ranks wait.
    pub(crate) together: Vec<Together>,
}

/// A [`Begun`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Together {
    pub(crate) context: u32,
    pub(crate) nodes: Vec<u32>,
    pub(crate) counts: Vec<(Sequence, u64)>,
}

/// A [`Clock`] that travels.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) context: u32,
    pub(crate) sequence: Sequence,
    pub(crate) count: u64,
}

/// A [`Series`] that travels.
#[derive(
    Archive, Serialize, Deserialize, Copy, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd,
)]
pub(crate) enum Sequence {
    Meetings,
    Started,
    Persistent(u64),
}

/// What is to be done with ranks that have left.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// Write their files of a checkpoint.
    Write(WriteTask),
    /// Have some of them come and go, and get ready for going over to that.
    Move(MoveTask),
    /// Go over to what was got ready.
    Renew,
    /// Forget what was got ready.
    Stay,
    /// Say what is left here: the node leaves the job, and none of its ranks live.
    Depart,
}

/// What a [`Task`] gave.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Done {
    /// The files are on the disk.
    Written(Written),
    /// All ranks that are to be on this node are there, beside what was before.
    Moved(Moved),
    /// Nothing but what was asked for.
    Nothing,
    /// What is left.
    Departed(Departed),
}

/// What is left of a job on a node that leaves it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct Departed {
    pub(crate) totals: Totals,
    pub(crate) legacy: Legacy,
}

/// What checkpoints need to know of a node all of whose ranks have ended.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct Legacy {
    /// What the ranks of the node shared; nothing if it cannot be kept, or need not be.
    pub(crate) world: Vec<u8>,
    /// Those of them that ended in order.
    pub(crate) ended: Vec<Stone>,
}

/// A [`Tombstone`] that travels.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, PartialEq)]
pub(crate) struct Stone {
    pub(crate) rank: u32,
    pub(crate) code: i32,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl From<Tombstone> for Stone {
    fn from(Tombstone { rank, code, messages, bytes }: Tombstone) -> Self {
        Self { rank, code, messages, bytes }
    }
}

impl From<Stone> for Tombstone {
    fn from(Stone { rank, code, messages, bytes }: Stone) -> Self {
        Self { rank, code, messages, bytes }
    }
}

/// Ranks that are placed anew.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct MoveTask {
    /// Tells this move from earlier ones of the job.
    pub(crate) number: u32,
    /// Which of the job's nodes has which ranks then, from rank 0 on.
    pub(crate) blocks: Vec<Block>,
    /// Those of them that were spawned and go elsewhere.
    pub(crate) births: Vec<Newborn>,
}

/// What getting ready took.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Default, PartialEq)]
pub(crate) struct Moved {
    /// Until the job's next life was there.
    pub(crate) made_us: u64,
    /// Until all that leaves this node was on its way.
    pub(crate) sent_us: u64,
    /// Until all that is to be here was.
    pub(crate) ready_us: u64,
    /// Bytes of memory that left this node.
    pub(crate) bytes: u64,
}

impl MoveTask {
    /// The nodes of all ranks, of which there are no more than [`JOB_RANKS_MAX`].
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> {
        let one = |block: &Block| std::iter::repeat_n(block.node, block.ranks as usize);
        self.blocks.iter().flat_map(one).take(JOB_RANKS_MAX as usize)
    }
}

/// A cut that is being written.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct WriteTask {
    /// The directory of all cuts.
    pub(crate) dir: String,
    pub(crate) cut: u32,
    pub(crate) base: Option<u32>,
    pub(crate) nonce: [u8; 32],
}

/// A node's part of a cut.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Written {
    /// What the ranks of the node share.
    pub(crate) world: Vec<u8>,
    /// How long the job has run.
    pub(crate) elapsed_ns: u64,
    /// Its ranks, as a list of [`WrittenRank`](crate::checkpoint::WrittenRank) in postcard's encoding.
    pub(crate) ranks: Vec<u8>,
}

impl WriteTask {
    /// `None` if the directory's name cannot be sent.
    pub(crate) fn new(unfinished: &Unfinished) -> Option<Self> {
        let Unfinished { dir, cut, base, nonce } = unfinished;
        let dir = dir.to_str()?.to_owned();
        Some(Self { dir, cut: *cut, base: *base, nonce: *nonce })
    }

    pub(crate) fn unfinished(self) -> Unfinished {
        let Self { dir, cut, base, nonce } = self;
        Unfinished { dir: dir.into(), cut, base, nonce }
    }
}

impl From<Series> for Sequence {
    fn from(series: Series) -> Self {
        match series {
            Series::Meetings => Self::Meetings,
            Series::Started => Self::Started,
            Series::Persistent(number) => Self::Persistent(number),
        }
    }
}

impl From<Sequence> for Series {
    fn from(sequence: Sequence) -> Self {
        match sequence {
            Sequence::Meetings => Self::Meetings,
            Sequence::Started => Self::Started,
            Sequence::Persistent(number) => Self::Persistent(number),
        }
    }
}

impl From<Begun> for Together {
    fn from(Begun { context, nodes, counts }: Begun) -> Self {
        let counts = counts.into_iter().map(|(series, count)| (series.into(), count)).collect();
        Self { context, nodes, counts }
    }
}

impl From<Target> for Clock {
    fn from(Target { context, sequence, count }: Target) -> Self {
        Self { context, series: sequence.into(), count }
    }
}

impl From<Hold> for Whom {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::More => Self::More,
            Hold::Late => Self::Late,
            Hold::Same => Self::Same,
        }
    }
}
