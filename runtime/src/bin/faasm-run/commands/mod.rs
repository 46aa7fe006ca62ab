//! What `faasm-run` can do, a file for each.

pub(crate) mod run;
