//! Collective communication (MPI-5.0 chapter 6).
//!
//! Members meet at their communicator's site; the last one to arrive executes the operation on all
//! members' buffers, and releases the others. `arguments` turns C arguments into contributions,
//! `meeting` brings members together, `execution` is what the last one does, `leader` what it does
//! when there are members on other nodes. `start` is for calls that do not wait.

mod arguments;
mod execution;
mod functions;
mod leader;
mod meeting;
pub(super) mod neighbor;
pub(super) mod nonblocking;
mod start;

pub(crate) use execution::mismatch;
pub(super) use functions::{FUNCTIONS, add_to_linker};
pub(crate) use meeting::{Conference, Entered, barrier, gather, meet};
pub(super) use start::begin;
pub(crate) use start::set_out;
