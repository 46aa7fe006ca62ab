//! What `faasm-run` does, from the outside: the guests of the manifest, and the command line.

mod cli;
mod guests;
mod support;
mod wasi;
