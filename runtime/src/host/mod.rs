//! What the host offers to a guest besides MPI: the system interface a C library stands on.
//!
//! `wasi` implements WASI preview1. It may import `faasm-vm` only; it knows neither workers nor
//! jobs, which reach it through the sinks, sources and observers given to its builder.

pub(crate) mod wasi;
