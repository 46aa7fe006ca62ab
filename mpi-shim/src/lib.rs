//! MPI as imports of a WebAssembly module.

pub mod abi;
