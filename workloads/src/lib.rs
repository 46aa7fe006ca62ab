//! Guest programs, their manifest, and the compiler driver faasm-cc.
