//! What a launcher of jobs needs beside the runtime itself: bringing the output of many ranks
//! together.
//!
//! Imports nothing of this crate but the trait
//! [`OutputSink`](crate::host::wasi::OutputSink).

mod line;
mod output;
mod prepare;
mod rank_files;

pub use output::{Multiplexer, MultiplexerOptions, OutputFailure};
pub(crate) use prepare::Launch;
