//! What an OpenMP program cannot decide inside its own memory: no I/O, no clock, no WebAssembly, no `std`.
//!
//! Teams, loops, barriers, tasks and locks live in the guest, in atomics of the memory that its threads
//! share, because a host call would cost more than most of them. Left are `construct` (what a thread
//! waits in, for reports), `team` (how many threads a region gets from a machine that others use, too), and `span`
//! (what the nodes of a team that spans several of them tell each other).
#![no_std]

extern crate alloc;

pub mod construct;
pub mod span;
pub mod team;

pub use construct::Construct;
