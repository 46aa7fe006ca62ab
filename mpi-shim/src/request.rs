//! Requests: what a non-blocking call started and how far it is (MPI-5.0 section 3.7 and 3.9).

mod partitioned;

use std::sync::Arc;

use faasm_mpi_engine::collective::Contribution;
use faasm_mpi_engine::datatype::{Datatype, Predefined};
use faasm_mpi_engine::error::{ErrorClass, MpiError};
use faasm_mpi_engine::group::Group;

use crate::abi::{self, Status};
use crate::appointment::Appointment;
use crate::communicator::Seat;
use crate::fault::Agreement;

pub(crate) use partitioned::{PARTITIONS_MAX, Partitioned, Stream};

/// Send modes of section 3.4.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum SendMode {
    /// `MPI_Send`: may or may not wait for the receiver.
    Standard,
    /// `MPI_Bsend`: never waits.
    Buffered,
    /// `MPI_Ssend`: completes when the receiver has matched it.
    Synchronous,
    /// `MPI_Rsend`: the receive is posted already.
    Ready,
}

/// A typed buffer in guest memory.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Address of the first element.
    pub addr: u64,
    /// Number of elements.
    pub count: i64,
    /// Their type.
    pub datatype: Datatype,
}

/// What a request does when it is started.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Sends `buffer`.
    Send {
        /// Which mode.
        mode: SendMode,
        /// Destination rank in the communicator, or `MPI_PROC_NULL`.
        dest: i32,
    },
    /// Receives into `buffer`.
    Receive {
        /// Source rank in the communicator, `MPI_ANY_SOURCE` or `MPI_PROC_NULL`.
        source: i32,
    },
    /// Takes part in a collective.
    Collective(Box<Collective>),
    /// Goes on outside MPI, until the program says that it is over.
    Generalized(Generalized),
    /// Sends or receives in parts.
    Partitioned(Box<Partitioned>),
    /// Agrees on something with the other members of a communicator.
    Agreement(Box<Agreement>),
}

/// A generalized request: functions of the program, by their index in its table. Section 13.2.
#[derive(Copy, Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Generalized {
    /// Fills in the status.
    pub query: u32,
    /// Ends the request.
    pub free: u32,
    /// Asks to cancel the operation.
    pub cancel: u32,
    /// What they are called with.
    pub extra_state: i32,
    /// The program has been asked for the last time.
    pub is_over: bool,
}

/// An operator of the program: its function in the guest's table, and the handle of the datatype.
#[derive(Copy, Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct UserOperator {
    /// Index of the C function.
    pub function: u32,
    /// Datatype that it is called with.
    pub datatype: i32,
    /// Whether it takes the length as an `MPI_Count`.
    pub large: bool,
}

/// A collective that is started without waiting for it.
#[derive(Clone, Debug)]
pub struct Collective {
    /// The function that was called, for reports.
    pub function: &'static str,
    /// What this member brings.
    pub contribution: Contribution,
    /// The program's operator, if it has one.
    pub user: Option<UserOperator>,
    /// Where the members meet; the communicator may be freed meanwhile.
    pub site: Arc<Seat>,
    /// This member's seat there.
    pub seat: u32,
    /// Its rank in the communicator.
    pub rank: u32,
    /// The members.
    pub group: Group,
    /// Where a persistent one was initialised among the collectives of the communicator, and how often it has
    /// been started since.
    pub persistent: Option<Persistent>,
    /// `MPI_Request_get_status` has told the program that the operation is over.
    pub is_seen: bool,
}

/// What matches the starts of a persistent collective at all members: they initialise such requests in the same
/// order, and may start them in any.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Persistent {
    /// Number among the collectives of the communicator that nobody waits for.
    pub number: u64,
    /// Starts so far.
    pub starts: u64,
}

impl Persistent {
    /// The starts so far, as far as they are told apart.
    pub(crate) const fn starts_told_apart(&self) -> u64 {
        self.starts % STARTS
    }

    /// Counts a start; gives the number under which it is matched, which no other operation has.
    ///
    /// Starts are counted in the bits above [`NUMBER_BITS`], and begin anew after four millions: no member can
    /// be as far ahead of another one, for a start has to end before the next one.
    pub fn start(&mut self) -> u64 {
        self.starts += 1;
        self.number | (self.starts % STARTS) << NUMBER_BITS
    }
}

/// Bits of a collective's number: a million operations a second for twelve days.
const NUMBER_BITS: u32 = 40;
/// Starts of a persistent collective that are told apart; one bit is left for the caller.
const STARTS: u64 = 1 << (63 - NUMBER_BITS);

/// A started collective that is not complete yet.
#[derive(Clone, Debug)]
pub(crate) struct Underway {
    /// Handle of its request.
    pub(crate) handle: i32,
    /// The operation.
    pub(crate) appointment: Arc<Appointment>,
    /// This member's seat.
    pub(crate) seat: u32,
    /// Its number at the site.
    pub(crate) number: u64,
}

/// A collective between nodes to which all members of this node had come before a restart; it sets out as soon as
/// their memories are there.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) collective: Collective,
    /// Context of its communicator.
    pub(crate) context: u32,
    /// Its number there.
    pub(crate) number: u64,
    pub(crate) appointment: Arc<Appointment>,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub struct Completion {
    /// What `MPI_Wait` reports.
    pub status: Status,
    /// Why it failed, if it did.
    pub error: Option<MpiError>,
}

impl Completion {
    /// A send that went well.
    pub const SENT: Self = Self { status: Status::EMPTY, error: None };
}

/// How far a request is.
#[derive(Clone, Debug)]
pub enum State {
    /// Persistent and not started.
    Inactive,
    /// Under way.
    Active,
    /// Ended; the next completion call takes the result.
    Complete(Completion),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it does.
    pub operation: Operation,
    /// With which data.
    pub buffer: Buffer,
    /// Tag, or `MPI_ANY_TAG`.
    pub tag: i32,
    /// Handle of the communicator.
    pub comm: i32,
    /// Context of the communicator.
    pub context: u32,
    /// World rank of the peer; own rank for `MPI_ANY_SOURCE` and `MPI_PROC_NULL`.
    pub peer: u32,
    /// How far it is.
    pub state: State,
    /// Made by an `_init` call: completion makes it inactive instead of freeing it.
    pub persistent: bool,
    /// `MPI_Request_free` came first: it vanishes on completion.
    pub freed: bool,
    /// `MPI_Cancel` was called.
    pub cancelling: bool,
    /// A further request that has to complete as well (`MPI_Isendrecv`).
    pub also: Option<i32>,
}

impl Request {
    /// The request of an agreement that has begun.
    pub(crate) fn agreement(agreement: Agreement, comm: i32) -> Self {
        Self {
            context: agreement.topic.context,
            operation: Operation::Agreement(Box::new(agreement)),
            buffer: Buffer { addr: 0, count: 0, datatype: Predefined::Byte.into() },
            tag: 0,
            comm,
            peer: 0,
            state: State::Active,
            persistent: false,
            freed: false,
            cancelling: false,
            also: None,
        }
    }

    /// Whether its data is copied when it is sent, so that the sender need not wait. Messages of up to
    /// `eager_bytes_max` bytes are, if any are.
    pub fn is_eager(&self, eager_bytes_max: Option<u64>) -> bool {
        let is_copied = self.buffer.bytes().is_ok_and(|bytes| Some(bytes) <= eager_bytes_max);
        match self.operation {
            Operation::Send { mode: SendMode::Buffered, .. } => true,
            Operation::Send { dest, .. } => is_copied || dest == abi::MPI_PROC_NULL,
            Operation::Receive { .. }
            | Operation::Collective(_)
            | Operation::Generalized(_)
            | Operation::Partitioned(_)
            | Operation::Agreement(_) => false,
        }
    }

    /// Whether it has ended or was never started.
    pub const fn is_done(&self) -> bool {
        !matches!(self.state, State::Active)
    }
}

/// The error of a program that keeps too many requests.
pub(crate) fn too_many() -> MpiError {
    MpiError::new(ErrorClass::NoMem, "a million requests or messages are alive already")
}
