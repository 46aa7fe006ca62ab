//! What the host offers to a guest besides MPI: the system interface a C library stands on.
//!
//! `wasi` implements WASI preview1. It may import `faasm-vm` only; it knows neither workers nor
//! jobs, which reach it through the sinks, sources and observers given to its builder.

pub(crate) mod wasi;

/// The module that MPI's functions are imported from.
pub(crate) const MPI: &str = "mpi";

/// The module that threads' functions are imported from, and those that guests name themselves.
const THREAD: &str = faasm_vm::rewrite::THREAD_MODULE;
const THREAD_FUNCTIONS: [&str; 9] =
    ["spawn", "exit", "self", "yield", "guard", "wait32", "wait64", "notify", "processors"];

/// Whether the runtime offers the function `module.name` to guests.
pub(crate) fn is_offered(module: &str, name: &str) -> bool {
    match module {
        wasi::MODULE => wasi::FUNCTIONS.contains(&name),
        THREAD => THREAD_FUNCTIONS.contains(&name),
        MPI => faasm_mpi_shim::is_offered(name),
        faasm_omp_shim::MODULE => faasm_omp_shim::is_offered(name),
        _ => false,
    }
}
