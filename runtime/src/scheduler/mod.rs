//! Which fiber runs where: tasks, run queues and the wake-up of parked workers.
//!
//! A [`Task`] is one fiber. It belongs to a home worker; a wake-up from the home worker's own
//! thread is a push on its local queue, one from elsewhere a push on its inbox. Idle workers take
//! tasks from workers that have been busy with one poll for long.

mod links;
mod meter;
mod parking;
mod queue;
mod spin;
mod state;
mod task;
mod token;

pub(crate) use meter::process_time;
pub(crate) use queue::{LocalQueue, Observer, Scheduler};
pub(crate) use spin::Spin;
pub(crate) use state::Turn;
pub(crate) use task::Task;
pub(crate) use token::Token;
