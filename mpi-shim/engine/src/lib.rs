//! MPI semantics as pure state machines and functions: no I/O, no clock, no WebAssembly, no `std`.
//!
//! One module per chapter of the standard, each importing only what it builds on.
//! Guest memory is reached through two small traits, [`datatype::Memory`] (one address space) and
//! [`collective::Members`] (the address spaces of all members of a communicator), so everything
//! here is tested against plain byte vectors.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap fails the test"))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod attribute;
pub mod collective;
pub mod datatype;
pub mod dynamic;
pub mod error;
pub mod fault;
pub mod file;
pub mod graph;
pub mod group;
pub mod info;
pub mod matching;
pub mod op;
pub mod rma;
pub mod topology;
