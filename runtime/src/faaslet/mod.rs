//! One Faaslet: an instance on a fiber, its way to the others, and how it ended.

mod exit;
mod files;
mod image;
mod port;
mod proto;
mod renew;
mod run;
mod stack;
mod state;
mod thread;

pub use exit::RankExit;
pub(crate) use port::RankPort;
pub(crate) use run::{Own, Restored, Start, Trial, run};
pub(crate) use stack::add_to_linker as add_stack_to_linker;
pub(crate) use state::FaasletState;
pub(crate) use thread::{ThreadFacts, Threads, add_to_linker as add_threads_to_linker};
