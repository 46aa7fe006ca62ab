//! What the shim asks of the runtime: messages between ranks, waiting, and the job's end.
//!
//! The runtime implements [`MpiPort`] once per rank. Everything is addressed by world rank.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::fault::{Proposal, Topic};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestMemory;

use crate::spawn_port::{SpawnAnswer, SpawnRequest};
use crate::world::{PartHeader, World};

/// Longest payload carried inside a message's first cache line.
pub const SMALL_BYTES_MAX: usize = 32;

/// Longest payload that a message to another node carries; longer ones are asked for by the receiver.
pub const FAR_EAGER_BYTES_MAX: u64 = 64 * 1024;

/// What a message is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// Carries its payload; the sender is done with it.
    Eager = 0,
    /// Carries its payload; the receiver answers with `Matched` when it matches (synchronous mode).
    EagerSync = 1,
    /// Refers to the sender's memory; the receiver copies and answers with `Matched`.
    Reference = 2,
    /// To a sender: its message `request` was matched and copied.
    Matched = 3,
    /// To a receiver: drop the sender's message `request` if it is still unexpected.
    Cancel = 4,
    /// To a sender: its message `request` was dropped.
    Cancelled = 5,
    /// To a sender: its message `request` had been matched before the cancellation came.
    NotCancelled = 6,
    /// From the rank's own node: data that was asked for as `request` has come. The payload is the next
    /// piece, or nothing where all of it is in its place.
    Pulled = 7,
    /// From the rank's own node: the answer to the question `request`.
    Answer = 8,
    /// To a sender on another node: `request` bytes of what it sent unasked were matched.
    Credit = 12,
    /// From the node of `sender`: that process has failed; with a tag of 1 its whole node has.
    Failed = 9,
    /// From `sender`: the communicator with this context is revoked.
    Revoked = 10,
    /// From the rank's own node: what the communicator's members agreed on as number `request`.
    Decided = 11,
}

impl Kind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Eager,
            1 => Self::EagerSync,
            2 => Self::Reference,
            3 => Self::Matched,
            4 => Self::Cancel,
            5 => Self::Cancelled,
            6 => Self::NotCancelled,
            7 => Self::Pulled,
            8 => Self::Answer,
            12 => Self::Credit,
            9 => Self::Failed,
            10 => Self::Revoked,
            11 => Self::Decided,
            _ => return None,
        })
    }

    /// Whether messages of this kind travel between ranks, and not only from a node to its ranks.
    pub const fn is_from_rank(self) -> bool {
        !matches!(self, Self::Pulled | Self::Answer | Self::Decided)
    }

    /// Whether the message is one of the program's.
    #[inline]
    pub const fn is_data(self) -> bool {
        matches!(self, Self::Eager | Self::EagerSync | Self::Reference)
    }
}

/// Everything about a message but its payload.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// Context of the communicator.
    pub context: u32,
    /// Sender's rank in that communicator.
    pub source: i32,
    /// Tag.
    pub tag: i32,
    /// Sender's world rank.
    pub sender: u32,
    /// The sender's name for the message, echoed by answers.
    pub request: u32,
}

/// Payload of an arrived message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Payload {
    /// Up to [`SMALL_BYTES_MAX`] bytes: the length and the bytes.
    Small(u8, [u8; SMALL_BYTES_MAX]),
    /// More bytes, owned by the message.
    Owned(Box<[u8]>),
    /// `len` contiguous bytes at `addr` in the sender's memory.
    Reference {
        /// First byte.
        addr: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Elements in the sender's memory whose bytes do not lie in one run.
    Scattered(Box<Scattered>),
    /// Bytes that share a receive buffer.
    Shared(Bytes),
    /// `len` bytes that the sender's node gives under this name.
    Remote {
        /// The name.
        token: u64,
        /// Number of bytes.
        len: u64,
    },
}

impl Payload {
    /// A payload that holds a copy of `bytes`.
    pub fn copied(bytes: &[u8]) -> Self {
        let mut small = [0; SMALL_BYTES_MAX];
        match small.get_mut(..bytes.len()) {
            Some(start) => {
                start.copy_from_slice(bytes);
                Self::Small(bytes.len() as u8, small)
            }
            None => Self::Owned(bytes.into()),
        }
    }

    /// Number of bytes of the message.
    pub fn len(&self) -> u64 {
        match self {
            Self::Small(len, _) => u64::from(*len),
            Self::Owned(bytes) => bytes.len() as u64,
            Self::Reference { len, .. } | Self::Remote { len, .. } => *len,
            Self::Scattered(elements) => elements.len,
            Self::Shared(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes, as far as they came with the message.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(len, bytes) => &bytes[..usize::from(*len)],
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Reference { .. } | Self::Scattered(_) | Self::Remote { .. } => &[],
        }
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Elements of a datatype in the memory of a sender, which waits until they are copied.
#[derive(Clone, Debug)]
pub struct Scattered {
    /// Address of the buffer.
    pub addr: u64,
    /// Number of elements.
    pub count: i64,
    /// Their type.
    pub datatype: Datatype,
    /// Bytes of data.
    pub len: u64,
}

impl PartialEq for Scattered {
    fn eq(&self, other: &Self) -> bool {
        (self.addr, self.count, self.len) == (other.addr, other.count, other.len)
            && self.datatype.is_same(&other.datatype)
    }
}

impl Eq for Scattered {}

/// A message as it arrives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Everything but the payload.
    pub header: Header,
    /// The payload.
    pub payload: Payload,
}

/// What a rank waits for, for reports of deadlocks and of a job's state.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Pending {
    /// MPI function.
    pub function: &'static str,
    /// Rank of the peer in the communicator, or an ABI sentinel such as `MPI_ANY_SOURCE`; `None`
    /// for calls without one peer.
    pub peer: Option<i32>,
    /// Tag, where the call has one.
    pub tag: Option<i32>,
    /// Context of the communicator.
    pub context: u32,
}

/// Asks for bytes of a message whose payload is [`Payload::Remote`].
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PullRequest {
    /// The receiver's name for the transfer, echoed by [`Kind::Pulled`].
    pub name: u32,
    /// The sender's world rank.
    pub sender: u32,
    /// Its node's name for the data.
    pub token: u64,
    /// First byte wanted. The requests of a transfer follow each other without gaps.
    pub offset: u64,
    /// Number of bytes wanted.
    pub len: u64,
    /// No request follows: the sender's buffer is free when these bytes have been read.
    pub is_last: bool,
    /// Where in this rank's memory byte 0 goes; without it each piece comes as a message.
    pub into: Option<u64>,
}

/// One rank's way to the others and to its scheduler.
///
/// Messages from one rank to another arrive in the order they were sent.
pub trait MpiPort: Send + Sync + 'static {
    /// This rank in `MPI_COMM_WORLD`.
    fn rank(&self) -> u32;

    /// What the ranks of the job share.
    fn world(&self) -> &Arc<World>;

    /// Linear memory of a rank of this job; `None` before it has started.
    fn memory(&self, rank: u32) -> Option<&GuestMemory>;

    /// Sends a message that carries `payload`.
    fn send(&mut self, dest: u32, header: Header, payload: &[u8]);

    /// Sends a message that hands `payload` over, or refers to memory of this rank.
    ///
    /// To another node more than [`FAR_EAGER_BYTES_MAX`] bytes stay here until they are asked for.
    fn send_payload(&mut self, dest: u32, header: Header, payload: Payload);

    /// Asks for data of a message from another node. [`Kind::Pulled`] messages tell of it, unless
    /// nothing is wanted.
    fn pull(&mut self, request: &PullRequest);

    /// Gives up a message from another node, whose node need not keep its data any longer.
    fn release(&mut self, sender: u32, token: u64);

    /// Asks a node to gather this rank for a communicator ([`World::gather_context`]). A message of
    /// kind [`Kind::Answer`] brings the context, under the name that this gives.
    fn ask_to_gather(&mut self, node: u32, key: (u32, i32, &[u32]), member: u32) -> u32;

    /// Asks a node about ports and names, in the words of [`crate::registry`]. A message of kind
    /// [`Kind::Answer`] brings what it says, under the name that this gives.
    fn ask(&mut self, node: u32, question: &[u8]) -> u32;

    /// Asks the node of the rank `peer` about the object with this context
    /// ([`World::object`]). A message of kind [`Kind::Answer`] brings what it says, under the name that
    /// this gives. Questions to one node arrive in their order.
    fn ask_object(&mut self, peer: u32, context: u32, question: &[u8]) -> u32;

    /// Takes part in deciding `topic` with the other `members`, who are on several nodes if it `is_spread`. A
    /// message of kind [`Kind::Decided`] brings the decision once all of them have proposed or failed.
    fn propose(&mut self, topic: Topic, members: &[u32], is_spread: bool, proposal: Proposal);

    /// Spawns processes on the nodes of the job. The rank is woken when the answer is there; it is suspended
    /// then as if it waited for something outside the job.
    fn spawn(&mut self, request: SpawnRequest) -> Arc<SpawnAnswer>;

    /// A message of the program leaves for `dest`; `total` messages and bytes have left so far with it. For whoever
    /// watches the job.
    #[inline]
    fn count_sent(&mut self, _dest: u32, _bytes: u64, _total: (u64, u64)) {}

    /// Takes the next arrived message.
    fn receive(&mut self) -> Option<Message>;

    /// Watches for news without leaving the fiber while this worker has nothing else to run.
    ///
    /// `is_done` is asked again and again. Returns whether there may be news: a message, or `is_done`.
    fn watch(&mut self, is_done: &dyn Fn() -> bool) -> bool;

    /// Suspends the fiber until a message arrives or another rank calls [`MpiPort::wake`].
    ///
    /// Ready at once when there is a message already or `is_done` holds.
    fn poll_suspend(
        &mut self,
        context: &mut Context<'_>,
        is_done: &dyn Fn() -> bool,
        pending: &Pending,
    ) -> Poll<()>;

    /// The rank gives up a wait for which [`MpiPort::poll_suspend`] has suspended it.
    fn stop_waiting(&mut self) {}

    /// Wakes `rank` if it is suspended. What it shall see was published before.
    fn wake(&self, rank: u32);

    /// Wakes those members of `group` that are suspended.
    fn wake_group(&self, group: &Group);

    /// Sends a part of a collective to `node`, which finds it under `part` with this node as its
    /// sender. Longer parts travel in pieces; parts may overtake each other.
    fn send_part(&mut self, node: u32, part: PartHeader, data: Bytes);

    /// Takes the part of a collective that another node sent, if it has come.
    fn take_part(&mut self, part: PartHeader) -> Option<Bytes>;

    /// Calls `run` for each part in `0..parts`, on several threads where that helps.
    fn in_parallel(&self, parts: usize, run: &(dyn Fn(usize) + Sync));

    /// Whether so much that nobody has asked for lies with `dest`, a rank of this node, that no more may be
    /// sent unasked.
    fn is_full(&self, _dest: u32) -> bool {
        false
    }

    /// Says to the ranks of this node whether this one has room for messages that it has not asked for.
    fn set_full(&self, _is_full: bool) {}

    /// Whether so much is queued for `dest` that a blocking send should let it run.
    fn is_congested(&self, dest: u32) -> bool;

    /// Lets other fibers of this worker run after a few fruitless polling calls in a row.
    ///
    /// Returns `true` when the caller should yield now.
    fn is_yield_due(&mut self) -> bool;

    /// Whether no other rank waits for its turn where the caller runs.
    fn is_alone(&self) -> bool {
        false
    }

    /// Tells the runtime that this rank has passed `MPI_Init` (`true`) or `MPI_Finalize` (`false`).
    fn set_initialized(&mut self, initialized: bool);

    /// Seconds on a clock that all ranks of the job share (`MPI_Wtime`).
    fn wtime(&self) -> f64;

    /// Name of the node (`MPI_Get_processor_name`).
    fn processor_name(&self) -> &str;
}
