//! Waits for a word of memory, which a checkpoint may interrupt.
//!
//! Such a wait can be called anew at any time: who is not there when others are woken finds that the word has changed, as
//! one does that was slower. A wait without a limit goes on while the job's gate is closed; one with a limit comes to the
//! gate, so that it does not end while others leave, and ends at the same instant as if nobody had left.

use std::time::Instant;

use faasm_mpi_shim::gate::Cut;
use faasm_mpi_shim::{MpiView, waypoint};
use wasmtime::Caller;

use super::functions::thread;
use super::park::{WaitsFor, watch};
use super::run::{Thread, ThreadFault};
use super::saved::deadline_in;
use super::wait::{Expected, WordError};
use crate::faaslet::FaasletState;

/// What a wait gives.
pub(super) const WOKEN: i32 = 0;
pub(super) const NOT_EQUAL: i32 = 1;
const TIMED_OUT: i32 = 2;

/// What came of one attempt.
enum Attempt {
    Over(i32),
    /// It has to come to the gate.
    Stopped,
    /// It was told to leave.
    Told,
}

/// Waits until the word at `addr` is notified, if it is as `expected`; without a limit if that is negative.
pub(super) async fn wait(
    caller: Caller<'_, FaasletState>,
    addr: u64,
    expected: Expected,
    timeout_ns: i64,
) -> wasmtime::Result<i32> {
    let limit_ns = u64::try_from(timeout_ns).ok();
    wait_in(caller, (addr, expected), limit_ns, WaitsFor::Word { addr }).await
}

/// As [`wait`] for what a report calls `what`.
pub(super) async fn wait_in(
    mut caller: Caller<'_, FaasletState>,
    word: (u64, Expected),
    limit_ns: Option<u64>,
    what: WaitsFor,
) -> wasmtime::Result<i32> {
    if caller.data().door.is_none() {
        let deadline = limit_ns.map(deadline_in);
        return match attempt(&mut caller, word, deadline, what).await? {
            Attempt::Over(outcome) => Ok(outcome),
            Attempt::Stopped | Attempt::Told => Err(wasmtime::Error::msg("nobody has told it to")),
        };
    }
    Box::pin(wait_migratable(caller, word, limit_ns, what)).await
}

async fn wait_migratable(
    mut caller: Caller<'_, FaasletState>,
    word: (u64, Expected),
    limit_ns: Option<u64>,
    what: WaitsFor,
) -> wasmtime::Result<i32> {
    let function = match what {
        WaitsFor::Construct(name) => name,
        _ => "a wait for another thread",
    };
    if FaasletState::leaves(&mut caller) {
        return Ok(WOKEN);
    }
    // It may have been left before, and have waited for a while.
    let left = thread(&mut caller)?.deadline.take();
    let deadline = left.or_else(|| limit_ns.map(deadline_in));
    loop {
        let (passed, passes) = waypoint::pass(caller, function).await?;
        caller = passed;
        let leaves = !passes
            || match attempt(&mut caller, word, deadline, what).await? {
                Attempt::Over(outcome) => return Ok(outcome),
                Attempt::Stopped => false,
                Attempt::Told => waypoint::leaves(&mut caller, function),
            };
        if leaves {
            thread(&mut caller)?.deadline = deadline;
            return Ok(WOKEN);
        }
    }
}

async fn attempt(
    caller: &mut Caller<'_, FaasletState>,
    (addr, expected): (u64, Expected),
    deadline: Option<Instant>,
    what: WaitsFor,
) -> wasmtime::Result<Attempt> {
    let door = caller.data().door.clone();
    let Thread { own, spin, .. } = thread(caller)?;
    let own = own.clone();
    let (group, shared) = &*own;
    let memory = group.memory().ok_or_else(|| wasmtime::Error::msg("the rank has no memory"))?;
    let entered = group.waits.enter(memory, addr, expected, shared);
    let fault = |error: WordError| ThreadFault::Word { what: error.to_string() };
    let Some(entry) = entered.map_err(fault)? else { return Ok(Attempt::Over(NOT_EQUAL)) };
    if watch(group.scheduler(), spin, &|| entry.is_woken()) {
        return Ok(Attempt::Over(WOKEN));
    }
    let Some(deadline) = deadline else {
        let is_told = || door.as_ref().is_some_and(|door| door.interrupts());
        shared.park_until(what, || entry.is_woken() || is_told()).await;
        return Ok(if entry.leave() { Attempt::Over(WOKEN) } else { Attempt::Told });
    };
    // In a function that MPI has called it cannot stop, and its limit counts.
    let stops =
        || door.as_ref().is_some_and(|door| door.cut() != Cut::Open && !door.is_in_callback());
    let woken = shared.sleep_until(|| entry.is_woken() || stops());
    let ended = tokio::time::timeout_at(deadline.into(), woken).await;
    if entry.leave() {
        return Ok(Attempt::Over(WOKEN));
    }
    if ended.is_err() {
        return Ok(Attempt::Over(TIMED_OUT));
    }
    Ok(Attempt::Stopped)
}
