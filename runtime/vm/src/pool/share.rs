//! Instances on the memory of another: the threads of one rank.
//!
//! Wasmtime asks for a memory without saying for whom, so the memory to join is left for it in the
//! thread that makes the instance.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use wasmtime::LinearMemory;

use super::PoolMemory;
use crate::guest::{GuestMemory, Slot};

thread_local! {
    /// What the next memory of this thread joins.
    static JOINED: RefCell<Option<Arc<Slot>>> = const { RefCell::new(None) };
}

/// Polls `future` so that the first instance that it makes gets the memory `memory`.
///
/// The module must be one that `rewrite` made of a module with a shared memory.
pub fn on_memory<F: Future + Unpin>(memory: &GuestMemory, future: F) -> OnMemory<F> {
    OnMemory { slot: Some(memory.slot().clone()), future }
}

/// See [`on_memory`].
#[derive(Debug)]
pub struct OnMemory<F> {
    slot: Option<Arc<Slot>>,
    future: F,
}

impl<F: Future + Unpin> Future for OnMemory<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let slot = self.slot.take();
        JOINED.with_borrow_mut(|joined| *joined = slot);
        let polled = Pin::new(&mut self.future).poll(cx);
        // Whoever is polled next in this thread makes a memory of its own.
        self.slot = take();
        polled
    }
}

/// What the memory that is being made joins, once.
pub(super) fn take() -> Option<Arc<Slot>> {
    JOINED.with_borrow_mut(Option::take)
}

/// A further memory in `slot`.
pub(super) fn join(slot: Arc<Slot>, minimum: usize) -> Result<Box<dyn LinearMemory>, String> {
    if slot.len() != minimum {
        return Err(format!(
            "a thread's memory of {minimum} bytes cannot be one of {} bytes",
            slot.len()
        ));
    }
    Ok(Box::new(PoolMemory { slot, capacity: minimum }))
}
