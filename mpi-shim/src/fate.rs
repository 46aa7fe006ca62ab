//! The end of the program in a function that does not belong to the call which runs it.
//!
//! A call that waits cannot give such an end to its caller, because what waits expects something else. It leaves
//! the end here and stays where it is, and who has made the call drops it.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

/// Where the calls of a rank leave such an end.
#[derive(Debug, Default)]
pub(crate) struct Fate(Mutex<Option<wasmtime::Error>>);

impl Fate {
    /// Leaves an end for whoever runs the call.
    pub(crate) fn set(&self, end: wasmtime::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    fn take(&self) -> Option<wasmtime::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs `body` to its end, or to that of the program.
///
/// # Errors
/// The end that the call left in `fate`.
pub(crate) async fn fated<R>(
    fate: Option<&Fate>,
    mut body: Pin<&mut impl Future<Output = R>>,
) -> wasmtime::Result<R> {
    let Some(fate) = fate else { return Ok(body.await) };
    std::future::poll_fn(|cx| match body.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => fate.take().map_or(Poll::Pending, |end| Poll::Ready(Err(end))),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_call_that_waits_ends_with_the_program() {
        let mut cx = Context::from_waker(Waker::noop());
        let fate = Fate::default();
        let body = pin!(pending::<i32>());
        let mut call = pin!(fated(Some(&fate), body));
        assert!(call.as_mut().poll(&mut cx).is_pending());
        fate.set(wasmtime::Error::msg("unreachable"));
        let Poll::Ready(Err(end)) = call.as_mut().poll(&mut cx) else { panic!("it goes on") };
        assert_eq!(end.to_string(), "unreachable");
        assert!(fate.take().is_none());
        let body = pin!(async { 7 });
        let mut over = pin!(fated(None, body));
        let Poll::Ready(Ok(7)) = over.as_mut().poll(&mut cx) else { panic!("it does not end") };
    }
}
