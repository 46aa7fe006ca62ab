//! Collective communication (MPI-5.0 chapter 6) among ranks of one process.
//!
//! Members meet at their communicator's site; the last one to arrive executes the operation on all
//! members' buffers, and releases the others. `functions` turns C arguments into contributions,
//! `meeting` brings members together, `execution` is what the last one does.

mod execution;
mod functions;
mod meeting;

pub(crate) use execution::mismatch;
pub(super) use functions::{FUNCTIONS, add_to_linker};
pub(crate) use meeting::{barrier, meet};
