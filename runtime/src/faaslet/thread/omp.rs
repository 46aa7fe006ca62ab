//! What OpenMP needs of a thread.

use faasm_omp_engine::Construct;
use faasm_omp_engine::team::Load;
use faasm_omp_shim::{OmpPort, OmpView};
use faasm_vm::{GuestAddr, GuestMemory};
use wasmtime::Caller;

use super::park::WaitsFor;
use super::run::Thread;
use super::wait::Expected;
use super::word;
use crate::faaslet::FaasletState;

impl OmpPort for Thread {
    fn load(&self) -> Load {
        let scheduler = self.group.scheduler();
        Load { workers: scheduler.regular(), taken: scheduler.taken_from(self.group.owner) }
    }
}

impl OmpView for FaasletState {
    type Port = Thread;

    fn omp(&mut self) -> wasmtime::Result<(&mut Thread, &GuestMemory)> {
        match self.thread.as_mut() {
            Some(thread) => Ok((thread, &self.memory)),
            None => Err(wasmtime::Error::msg(
                "the program uses OpenMP but its memory is not shared; compile and link all of it with \
                 faasm-cc -fopenmp",
            )),
        }
    }

    async fn wait(
        mut caller: Caller<'_, Self>,
        construct: Construct,
        addr: GuestAddr,
        expected: u32,
    ) -> wasmtime::Result<bool> {
        caller.data_mut().omp()?;
        let word = (addr.get(), Expected::Word32(expected));
        let what = WaitsFor::Construct(construct.name());
        Ok(word::wait_in(caller, word, None, what).await? == word::WOKEN)
    }
}
