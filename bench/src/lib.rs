//! Benchmarks beside native MPI.
