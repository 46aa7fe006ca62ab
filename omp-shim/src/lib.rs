//! What an OpenMP program imports of the host, as module `omp`.
//!
//! The OpenMP library itself is part of the guest (`omp-shim/guest`, which `faasm-cc -fopenmp` links): teams,
//! loops, barriers, tasks and locks are atomics in the memory that the threads share, and a thread that
//! has to wait parks its fiber. The host adds what a guest cannot know: how many workers are free, what a
//! thread waits in when the whole program stands still, and a way to end with a report.
//! Modules, lower ones first: `port` (what the shim needs of its surroundings), `host` (the functions),
//! `table` (declarations and registration), `span` (the same for teams that span nodes).

pub mod host;
pub mod port;
pub mod span;
pub mod table;

pub use host::OmpFault;
pub use port::{OmpPort, OmpView};
pub use span::SpanView;
pub use table::{FUNCTIONS, FunctionInfo, MODULE, add_to_linker};

/// Whether `name` is a function of this crate.
pub fn is_offered(name: &str) -> bool {
    table::is_offered(name) || span::FUNCTIONS.iter().any(|function| function.name == name)
}
