//! Memories that do not begin as zeros: those of another instance (the threads of one rank), and images.
//!
//! Wasmtime asks for a memory without saying for whom, so what it is to be is left for it in the
//! thread that makes the instance.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use wasmtime::LinearMemory;

use super::memory::PoolMemory;
use crate::guest::{GuestMemory, Slot};
use crate::sys::ImageView;

/// What a memory is to be.
#[derive(Debug, Default)]
pub(super) enum Given {
    /// A memory of zeros.
    #[default]
    Nothing,
    /// The same as another's.
    Memory(Arc<Slot>),
    /// A private copy of an image.
    Image(Arc<ImageView>),
}

thread_local! {
    /// What the next memory of this thread is to be.
    static GIVEN: RefCell<Given> = const { RefCell::new(Given::Nothing) };
}

/// Polls `future` so that the first instance that it makes gets the memory `memory`.
///
/// The module must be one that `rewrite` made of a module with a shared memory.
pub fn on_memory<F: Future + Unpin>(memory: &GuestMemory, future: F) -> OnMemory<F> {
    OnMemory { given: Given::Memory(memory.slot().clone()), future }
}

/// As [`on_memory`], with a memory of its own that begins as `image`.
pub(crate) fn on_view<F: Future + Unpin>(image: Arc<ImageView>, future: F) -> OnMemory<F> {
    OnMemory { given: Given::Image(image), future }
}

/// Calls `make`, so that the first instance that it makes has a memory of its own that begins as `image`.
pub(crate) fn with_view<R>(image: &Arc<ImageView>, make: impl FnOnce() -> R) -> R {
    GIVEN.set(Given::Image(image.clone()));
    let made = make();
    // Whoever is next in this thread makes a memory of zeros.
    take();
    made
}

/// See [`on_memory`] and [`crate::on_image`].
#[derive(Debug)]
pub struct OnMemory<F> {
    given: Given,
    future: F,
}

impl<F: Future + Unpin> Future for OnMemory<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        GIVEN.set(std::mem::take(&mut self.given));
        let polled = Pin::new(&mut self.future).poll(cx);
        // Whoever is polled next in this thread makes a memory of its own.
        self.given = take();
        polled
    }
}

/// What the memory that is being made is to be, once.
pub(super) fn take() -> Given {
    GIVEN.take()
}

/// A further memory in `slot`.
pub(super) fn join(slot: Arc<Slot>, minimum: usize) -> Result<Box<dyn LinearMemory>, String> {
    if slot.len() != minimum {
        return Err(format!(
            "a thread's memory of {minimum} bytes cannot be one of {} bytes",
            slot.len()
        ));
    }
    Ok(Box::new(PoolMemory { slot, capacity: minimum, accessible: true }))
}
