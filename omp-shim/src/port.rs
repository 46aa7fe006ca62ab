//! What the shim needs of its surroundings.

use faasm_omp_engine::Construct;
use faasm_omp_engine::team::Load;
use faasm_vm::{GuestAddr, GuestMemory};

/// One thread of a rank, as whoever runs it offers it.
pub trait OmpPort: Send {
    /// The workers, as this thread's rank finds them now. Its own worker never counts as taken.
    fn load(&self) -> Load;

    /// Leaves the fiber until the word at `addr` is notified, unless it is not `expected`; whether it was.
    ///
    /// # Errors
    /// When `addr` is no aligned word of the memory.
    fn wait(
        &mut self,
        memory: &GuestMemory,
        construct: Construct,
        addr: GuestAddr,
        expected: u32,
    ) -> impl Future<Output = wasmtime::Result<bool>> + Send;
}

/// Store data that holds a thread of an OpenMP program.
pub trait OmpView: Send + 'static {
    /// The thread's type.
    type Port: OmpPort;

    /// The thread and its memory.
    ///
    /// # Errors
    /// When the program is not one with threads.
    fn omp(&mut self) -> wasmtime::Result<(&mut Self::Port, &GuestMemory)>;
}
