//! What a rank's store carries.

use faasm_mpi_shim::file_port::Files;
use faasm_mpi_shim::{MpiCtx, MpiView};
use faasm_vm::GuestMemory;

use super::port::RankPort;
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
}

impl WasiView for FaasletState {
    fn wasi(&mut self) -> (&mut WasiCtx, &GuestMemory) {
        (&mut self.wasi, &self.memory)
    }
}
