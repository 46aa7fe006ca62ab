//! Launching jobs: checking a job's description before a rank starts, bringing the output of many
//! ranks together, and compiling source files that are to be run.

mod brood;
mod cradle;
mod line;
mod output;
mod prepare;
mod rank_files;
mod restart;
mod source;
mod span;
mod spawn;

pub(crate) use brood::{Brood, Programs as SpawnedPrograms};
pub(crate) use cradle::Cradle;
pub use output::{Multiplexer, MultiplexerOptions, OutputFailure};
pub(crate) use prepare::{Launch, check_imports, check_room};
pub(crate) use restart::{Restart, saved_apps, writer};
pub use source::{SourceError, SourceFile};
pub(crate) use spawn::{Described, ProgramSpawner, Seed, is_loopback, opened};
