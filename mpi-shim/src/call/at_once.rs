//! Calls that do not wait, made without leaving the guest's stack.
//!
//! wasmtime pays several times as much for a host function that may suspend its fiber as for one that may not. The
//! guest library therefore calls the second kind first: it runs the function until it would wait, and drops
//! it there. What has been done by then can be done again, so the library calls the function that waits instead. A function
//! may be called so if it does nothing before its first wait that a second call would not do alike, or leaves a
//! note for that; it says [`Call::later`] where that ends.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use faasm_mpi_engine::error::{MpiError, Result};
use faasm_mpi_engine::matching::Pattern;
use wasmtime::Caller;

use super::{Call, MpiView};
use crate::abi;
use crate::ctx::{Arrived, MpiCtx, OtherEntry};
use crate::port::MpiPort;

/// Name of the import that calls the program's error handler for a function that has failed at once.
pub(crate) const RAISE: &str = "at_once.raise";

/// What such a function returns when it would have to wait; the guest library calls the one that may.
const LATER: i32 = -1;

/// What it returns when the program's error handler is to be called, which cannot be done at once.
const FAILED: i32 = -2;

/// What it returns when the call is made, and a flush of its target would find nothing to do.
const SETTLED: i32 = -3;

/// A call that was made at once.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Made {
    /// Nothing more is to be said of it.
    Plainly,
    /// A flush of its target that comes next has nothing to do.
    Settled,
}

impl From<()> for Made {
    fn from((): ()) -> Self {
        Self::Plainly
    }
}

/// Makes a call until it would wait; its code for the guest library.
#[inline]
pub(crate) fn attempt<'a, T: MpiView>(
    caller: Caller<'a, T>,
    function: &'static str,
    body: impl AsyncFnOnce(&mut Call<'a, T>) -> wasmtime::Result<Result<()>>,
) -> wasmtime::Result<i32> {
    if !caller.data().is_hasty() {
        return Ok(LATER);
    }
    let mut call = Call::new(caller, function, false);
    if call.mpi().tool.events.are_wanted() {
        return Ok(LATER);
    }
    call.is_at_once = true;
    let outcome = {
        let body = pin!(body(&mut call));
        body.poll(&mut Context::from_waker(Waker::noop()))
    };
    match outcome {
        Poll::Ready(Ok(Ok(()))) => Ok(abi::MPI_SUCCESS),
        Poll::Ready(Ok(Err(error))) => call.fail_at_once(error),
        Poll::Ready(Err(end)) => Err(end),
        Poll::Pending => Ok(LATER),
    }
}

/// Makes a call by a function that does the usual case and never waits; else it does nothing, but for a note.
#[inline]
pub(crate) fn make<'a, T: MpiView, M: Into<Made>>(
    caller: Caller<'a, T>,
    function: &'static str,
    usual: impl FnOnce(&mut Call<'a, T>) -> Option<Result<M>>,
) -> wasmtime::Result<i32> {
    if !caller.data().is_hasty() {
        return Ok(LATER);
    }
    let mut call = Call::new(caller, function, false);
    if call.require_running().is_err() || call.mpi().tool.events.are_wanted() {
        return Ok(LATER);
    }
    match usual(&mut call) {
        Some(Ok(made)) => Ok(match made.into() {
            Made::Plainly => abi::MPI_SUCCESS,
            Made::Settled => SETTLED,
        }),
        Some(Err(error)) => call.fail_at_once(error),
        None => Ok(LATER),
    }
}

impl<T: MpiView> Call<'_, T> {
    /// Ends a call that must not wait; all it did so far is done again by the one that may.
    #[inline]
    pub(crate) fn later(&self) -> impl Future<Output = ()> + Send + use<T> {
        let is_at_once = self.is_at_once;
        poll_fn(move |_| if is_at_once { Poll::Pending } else { Poll::Ready(()) })
    }

    /// Whether the call must not wait.
    #[inline]
    pub(crate) const fn is_at_once(&self) -> bool {
        self.is_at_once
    }

    /// Watches for a message or `is_done`; a call that must not wait ends when neither comes soon.
    pub(super) async fn look(&mut self, is_done: &(dyn Fn() -> bool + Send + Sync)) {
        let mpi = self.mpi();
        mpi.has_watched = !mpi.watch(is_done, true);
        if mpi.has_watched {
            self.later().await;
        }
    }

    #[cold]
    fn fail_at_once(&mut self, error: MpiError) -> wasmtime::Result<i32> {
        let handle = self.mpi().error_comm;
        let (errhandler, object) = self.mpi().handled(handle);
        if errhandler == abi::MPI_ERRORS_RETURN {
            return Ok(error.code());
        }
        if let Some(OtherEntry::Errhandler { .. }) = self.mpi().others.get(errhandler) {
            self.mpi().unraised = Some((self.function, error));
            return Ok(FAILED);
        }
        Err(super::MpiExit::Fatal { function: self.function, object, error }.into())
    }
}

/// Calls in a row that had to wait after all, after which they are not tried at once.
const MISSES_MAX: u32 = 3;

/// So many-th calls are tried all the same.
const TRIES_EVERY: u32 = 16;

impl<P: MpiPort> MpiCtx<P> {
    /// Whether what is waited for is likely to come soon, as it did the last times.
    #[inline]
    pub(crate) fn has_luck(&mut self) -> bool {
        if self.misses < MISSES_MAX {
            return true;
        }
        self.misses = self.misses.wrapping_add(1);
        self.misses.is_multiple_of(TRIES_EVERY)
    }

    /// The message for a receive that nothing was posted before; `None` when it does not come soon.
    #[inline]
    pub(crate) fn take_soon(&mut self, pattern: &Pattern) -> Option<Arrived> {
        let arrived = loop {
            match self.take_matching(pattern) {
                None if self.watches_well() => self.advance(),
                arrived => break arrived?,
            }
        };
        self.misses = 0;
        Some(arrived)
    }

    /// Watches for a message while nothing else is to be done; `false` when none comes soon.
    #[inline]
    pub(crate) fn watches_well(&mut self) -> bool {
        // Who may call the program's operator for an operation under way has to come.
        let comes = !self.asks() && self.watch(&|| false, true);
        self.misses = if comes { 0 } else { self.misses.wrapping_add(1) };
        self.has_watched = !comes;
        comes
    }

    /// Whether the call has just been made at once, and watched for messages in vain.
    #[inline]
    pub(super) fn take_watched(&mut self) -> bool {
        std::mem::take(&mut self.has_watched)
    }
}

/// Calls the program's error handler for a call that has failed at once.
pub(crate) async fn raise<T: MpiView>(mut caller: Caller<'_, T>) -> wasmtime::Result<i32> {
    let mpi = caller.data_mut().mpi();
    let error_comm = mpi.error_comm;
    let Some((function, error)) = mpi.unraised.take() else { return Ok(abi::MPI_SUCCESS) };
    let mut call = Call::new(caller, function, false);
    call.mpi().error_comm = error_comm;
    call.finish(Err(error)).await
}
