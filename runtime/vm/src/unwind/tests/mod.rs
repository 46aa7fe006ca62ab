//! Programs give the same answers however often their stacks are moved.

mod host;
mod programs;
mod random;
mod refusals;
