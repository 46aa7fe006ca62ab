//! Faaslets: MPI ranks as WebAssembly actors, and the program faasm-run.
