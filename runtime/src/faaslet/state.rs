//! What a rank's store carries.

use std::sync::Arc;
use std::task::Poll;

use faasm_mpi_shim::file_port::Files;
use faasm_mpi_shim::gate::{Cut, Door};
use faasm_mpi_shim::port::Pending;
use faasm_mpi_shim::{MpiCtx, MpiView};
use faasm_vm::GuestMemory;
use wasmtime::Caller;

use super::port::RankPort;
use super::stack::{self, StackState};
use super::thread::Thread;
use crate::host::wasi::{WasiCtx, WasiView};

/// The host state of one rank.
#[derive(Debug)]
pub(crate) struct FaasletState {
    pub(crate) mpi: MpiCtx<RankPort>,
    pub(crate) wasi: WasiCtx,
    /// An empty memory until the instance exists.
    pub(crate) memory: GuestMemory,
    /// The thread, in a rank that may have several.
    pub(crate) thread: Option<Thread>,
    /// The call stack, in a rank whose program is migratable.
    pub(crate) stack: Option<StackState>,
    /// The way to the job's gate, in such a rank.
    pub(crate) door: Option<Arc<Door>>,
}

impl MpiView for FaasletState {
    type Port = RankPort;

    #[inline]
    fn mpi(&mut self) -> &mut MpiCtx<RankPort> {
        &mut self.mpi
    }

    fn files(&self) -> &dyn Files {
        &self.wasi
    }

    #[inline]
    fn is_threaded(&self) -> bool {
        self.thread.is_some()
    }

    fn is_main_thread(&self) -> bool {
        self.thread.as_ref().is_none_or(|thread| thread.shared.id() == 0)
    }

    fn poll_enter(&mut self) -> Poll<()> {
        let Some(thread) = &mut self.thread else { return Poll::Ready(()) };
        thread.poll_enter(&mut self.mpi)
    }

    #[inline]
    fn leave(&mut self) {
        if let Some(thread) = &mut self.thread {
            thread.leave(&mut self.mpi);
        }
    }

    fn abandon(&mut self) {
        if let Some(thread) = &mut self.thread {
            thread.abandon(&mut self.mpi);
        }
    }

    fn prepare_to_sleep(&mut self) -> bool {
        self.thread.as_mut().is_some_and(|thread| thread.prepare_to_sleep(&self.mpi))
    }

    fn poll_sleep(&mut self, pending: &Pending) -> Poll<()> {
        let Some(thread) = &mut self.thread else { return Poll::Ready(()) };
        thread.poll_sleep(&mut self.mpi, pending)
    }

    #[inline]
    fn leaves(caller: &mut Caller<'_, Self>) -> bool {
        caller.data().stack.is_some() && stack::leaves(caller)
    }

    #[inline]
    fn door(&self) -> Option<&Arc<Door>> {
        self.door.as_ref()
    }

    #[inline]
    fn is_hasty(&self) -> bool {
        let may_leave = |door: &Arc<Door>| {
            door.cut() != Cut::Open
                || self.stack.as_ref().is_some_and(|stack| stack.every().is_some())
        };
        self.thread.is_none() && !self.door.as_ref().is_some_and(may_leave)
    }

    fn leave_now(caller: &mut Caller<'_, Self>) -> bool {
        stack::leave_now(caller)
    }

    fn refuses(&mut self, why: String) {
        self.mpi.port.refuse_to_leave(why);
    }
}

impl WasiView for FaasletState {
    fn wasi(&mut self) -> (&mut WasiCtx, &GuestMemory) {
        (&mut self.wasi, &self.memory)
    }
}
