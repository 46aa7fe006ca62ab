//! MPI as imports of a WebAssembly module.
