//! The threads of a rank: instances on one memory, each on a fiber of its own.
//!
//! A rank whose program was linked for threads has a [`Threads`], which its instances share. A
//! thread waits by leaving its fiber (`park`): for a word of memory (`wait`), for another thread, for
//! what the OpenMP engine decides. The rank ends when its main thread does, or when any
//! thread fails; `functions` is what guests import as `faasm_thread`. In a migratable program each wait can be
//! left: the thread hands its frames over and stays in the `camp` until all have, and the rank is a value (`saved`).
//!
//! What must hold: a waker publishes what is waited for before it calls [`ThreadShared::wake`], and
//! a waiter looks again after it has declared that it waits.

mod camp;
mod functions;
mod group;
mod mpi;
mod omp;
mod park;
mod run;
mod saved;
mod span;
mod wait;
mod word;

pub(crate) use functions::add_to_linker;
pub(crate) use group::{Parts, Stacks, ThreadFacts, Threads};
pub(crate) use run::{Thread, ThreadFault};
