//! The protocols of our own that have no lock, explored by loom: every order in which a few threads can run, and every
//! value that the memory model lets a load give, for weakly ordered processors too.
//!
//! Their files are compiled here once more, with what is in [`atomic`] in place of `crate::atomic`.
#![expect(dead_code, reason = "not all of what the files have is explored")]

mod atomic;
mod message;
mod scheduler;

/// Explores all that happens with at most so many preemptions: with any number of them it would take hours.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
