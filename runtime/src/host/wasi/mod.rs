//! WASI preview1: the system calls of a guest's C library.
//!
//! `add_to_linker` offers every function of `wasi_snapshot_preview1`; each is declared once, in
//! `functions`. Files are reached through cap-std only, so a path cannot leave its preopened
//! directory, and each rank has a file table of our own (`table`) that `state` saves and restores:
//! offsets live in the table, and files are read and written at positions.
//!
//! What must hold: a call that may wait suspends the guest's fiber and never blocks a worker
//! (regular files, which the kernel serves without an end to wait for, are used directly); guest
//! memory is copied, never referenced; nothing of the host reaches the guest but what its
//! configuration names. May import `faasm-vm` and no other module of this crate.
//!
//! Sockets: preview1 can only use sockets that are passed in, and none is, so `sock_*` report what
//! a descriptor that is no socket reports.

mod blocking;
mod builder;
mod clock;
mod ctx;
mod descriptor;
mod dir;
mod errno;
mod file;
mod flags;
mod functions;
mod iovec;
mod open;
mod output;
mod path;
mod poll;
mod process;
mod ready;
mod rights;
mod shared;
mod state;
mod stdin;
mod stream;
mod table;
#[cfg(test)]
mod testing;
mod types;

pub use ctx::{Preopen, WasiSetupError};
pub(crate) use ctx::{WasiCtx, WasiHooks, WasiWait};
pub(crate) use functions::{FUNCTIONS, MODULE, WasiView, add_to_linker};
pub use output::{OutputSink, Stream};
pub(crate) use process::{ProcExit, ProcRaised, Yield};
pub(crate) use shared::SharedWasi;
pub(crate) use state::FileTableState;
pub(crate) use stdin::{StdinReader, StdinSource};
pub use stream::StdinStream;
