//! Workers: threads that poll fibers.
//!
//! A worker is an actix [`Arbiter`](actix::Arbiter). Its run loop is one task of the arbiter's
//! event loop: it polls fibers in bursts of about a millisecond, between which the event loop
//! serves control messages and timers; it spins briefly when there is nothing to poll, and then
//! leaves the thread to the event loop, which sleeps. A [`monitor`] thread sees to it that a fiber
//! that computes for long does not hold up the others of its worker.

mod monitor;
mod run_loop;
mod workers;

pub(crate) use monitor::Monitor;
pub(crate) use workers::Workers;
