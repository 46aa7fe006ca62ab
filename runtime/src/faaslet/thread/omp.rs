//! What OpenMP needs of a thread.

use faasm_omp_engine::Construct;
use faasm_omp_engine::team::Load;
use faasm_omp_shim::{OmpPort, OmpView};
use faasm_vm::{GuestAddr, GuestMemory};

use super::park::{WaitsFor, watch};
use super::run::{Thread, ThreadFault};
use super::wait::{Expected, WordError};
use crate::faaslet::FaasletState;

impl OmpPort for Thread {
    fn load(&self) -> Load {
        let scheduler = self.group.scheduler();
        Load { workers: scheduler.regular(), taken: scheduler.taken_from(self.group.owner) }
    }

    async fn wait(
        &mut self,
        memory: &GuestMemory,
        construct: Construct,
        addr: GuestAddr,
        expected: u32,
    ) -> wasmtime::Result<bool> {
        let (group, shared) = (self.group.clone(), self.shared.clone());
        let expected = Expected::Word32(expected);
        let entered = group.waits.enter(memory, addr.get(), expected, &shared);
        let word = |error: WordError| ThreadFault::Word { what: error.to_string() };
        let Some(entry) = entered.map_err(word)? else { return Ok(false) };
        if !watch(group.scheduler(), &mut self.spin, &|| entry.is_woken()) {
            let what = WaitsFor::Construct(construct.name());
            shared.park_until(what, || entry.is_woken()).await;
        }
        Ok(true)
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
}
