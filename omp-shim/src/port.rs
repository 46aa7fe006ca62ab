//! What the shim needs of its surroundings.

use faasm_omp_engine::Construct;
use faasm_omp_engine::team::Load;
use faasm_vm::{GuestAddr, GuestMemory};
use wasmtime::Caller;

/// One thread of a rank, as whoever runs it offers it.
pub trait OmpPort: Send {
    /// The workers, as this thread's rank finds them now. Its own worker never counts as taken.
    fn load(&self) -> Load;
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

    /// Leaves the fiber until the word at `addr` is notified, unless it is not `expected`; whether it was. The thread's stack
    /// may be taken meanwhile: the function that called this then returns, and is called anew later.
    ///
    /// # Errors
    /// When `addr` is no aligned word of the memory, or the program is not one with threads.
    fn wait(
        caller: Caller<'_, Self>,
        construct: Construct,
        addr: GuestAddr,
        expected: u32,
    ) -> impl Future<Output = wasmtime::Result<bool>> + Send
    where
        Self: Sized;
}
