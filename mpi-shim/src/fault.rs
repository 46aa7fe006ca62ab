//! What a rank keeps about failed processes and about the agreements that it takes part in.

use faasm_mpi_engine::fault::{Known, Topic};
use faasm_mpi_engine::group::Group;

use crate::world::World;

/// One rank's part in going on without processes that have failed.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether the job goes on when one of its processes fails.
    pub(crate) is_tolerant: bool,
    /// What the rank has heard of.
    pub(crate) known: Known,
    /// Agreements that are not decided, with their requests.
    pub(crate) debates: Vec<(Topic, i32)>,
}

impl Faults {
    /// What a rank knows when it begins.
    pub(crate) fn new(world: &World) -> Self {
        let mut known = Known::default();
        for rank in world.failures() {
            known.learn_failure(rank, false);
        }
        Self { is_tolerant: world.is_tolerant(), known, debates: Vec::new() }
    }

    /// A number that changes whenever the rank hears of something.
    pub(crate) fn news(&self) -> usize {
        self.known.news()
    }

    /// Whether something has happened that could fail an operation.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.is_tolerant && !self.known.is_quiet()
    }
}

/// What a process wants to agree on with the other members of a communicator.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// What is to be decided.
    pub topic: Topic,
    /// What becomes of the decision.
    pub result: Agreed,
    /// The members.
    pub members: Group,
    /// How many of them are the low group of an intercommunicator.
    pub low: Option<u32>,
    /// Whose flag counts for this process: 0 what is said to the low group, 1 to the high one.
    pub group: usize,
    /// What a new communicator has from the one that is shrunk.
    pub inherited: Inherited,
}

/// What a communicator of those that are left has from the one that is shrunk.
#[derive(Copy, Clone, Debug)]
pub struct Inherited {
    /// Its error handler.
    pub errhandler: i32,
    /// Its session.
    pub session: i32,
    /// Whether its members may come to share memory.
    pub shares: bool,
}

/// What becomes of a decision.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Agreed {
    /// The flag is written to this address.
    Flag(u64),
    /// A communicator of those that are left is made, and its handle is written to this address.
    Communicator(u64),
    /// Nothing: its members only wait for each other.
    Nothing,
}
