//! How the shim has processes spawned: what the runtime is told, and how it answers.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use faasm_mpi_engine::dynamic::HostShare;
use faasm_mpi_engine::error::Result;
use faasm_mpi_engine::group::Group;

/// The directories of a process, as the runtime knows them.
#[derive(Clone, Debug)]
pub struct Surroundings(pub Arc<dyn Any + Send + Sync>);

/// A program to spawn, and its processes.
#[derive(Clone, Debug)]
pub struct SpawnProgram {
    /// What it is called.
    pub command: String,
    /// The WebAssembly file; `None` for a program of the job with that name.
    pub bytes: Option<Vec<u8>>,
    /// Its arguments after its name.
    pub args: Vec<String>,
    /// Number of processes.
    pub processes: u32,
    /// The directories it can use.
    pub surroundings: Surroundings,
    /// The hosts that its processes may be on, if not all.
    pub hosts: Option<Vec<HostShare>>,
}

/// Processes to spawn on the nodes of the job, as one family.
#[derive(Clone, Debug)]
pub struct SpawnRequest {
    /// Its programs, in rank order.
    pub programs: Vec<SpawnProgram>,
    /// The processes that spawn it.
    pub parents: Group,
}

/// The processes that came of a [`SpawnRequest`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Newborns {
    /// Context of the intercommunicator with those that spawned them.
    pub context: u32,
    /// They, in rank order.
    pub group: Group,
}

/// The answer to a [`SpawnRequest`], once it is there.
#[derive(Debug, Default)]
pub struct SpawnAnswer {
    is_there: AtomicBool,
    answer: Mutex<Option<Result<Newborns>>>,
}

impl SpawnAnswer {
    /// Gives the answer; only the first one counts. Who waits is to be woken.
    pub fn give(&self, answer: Result<Newborns>) {
        let mut slot = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_there.swap(true, Ordering::SeqCst) {
            *slot = Some(answer);
        }
    }

    /// Whether it is there; sequentially consistent with a waiter's announcement that it suspends.
    pub fn is_there(&self) -> bool {
        self.is_there.load(Ordering::SeqCst)
    }

    /// Takes it.
    pub fn take(&self) -> Option<Result<Newborns>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
