//! MPI semantics as pure state machines.
