//! Where ranks that are put back wait for each other.

use std::sync::Arc;

use tokio::sync::watch;

/// Where the ranks of a node wait until the memory of each is what it was, and then until they may go on: others may
/// reach into it.
#[derive(Debug)]
pub(crate) struct Muster {
    state: watch::Sender<Mustered>,
    /// Told when all have come.
    complete: (flume::Sender<()>, flume::Receiver<()>),
}

#[derive(Debug)]
struct Mustered {
    missing: usize,
    go: bool,
}

impl Muster {
    /// For so many ranks.
    pub(crate) fn new(ranks: usize) -> Arc<Self> {
        let (state, _) = watch::channel(Mustered { missing: ranks, go: false });
        Arc::new(Self { state, complete: flume::unbounded() })
    }

    /// A rank is back; it goes on when all are and may.
    pub(crate) async fn come(&self) {
        let mut state = self.state.subscribe();
        self.state.send_modify(|state| state.missing = state.missing.saturating_sub(1));
        if self.is_complete() {
            // Who is told may have given up.
            let _ = self.complete.0.send(());
        }
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| state.missing == 0 && state.go).await;
    }

    /// Whether all are back.
    pub(crate) fn is_complete(&self) -> bool {
        self.state.borrow().missing == 0
    }

    /// They go on as soon as all are back.
    pub(crate) fn go(&self) {
        self.state.send_modify(|state| state.go = true);
    }

    /// Waits until all are back; gives the end of a rank that comes before.
    pub(crate) fn wait<E>(&self, ends: &flume::Receiver<E>) -> Result<(), E> {
        if self.is_complete() {
            return Ok(());
        }
        let came = flume::Selector::new().recv(&self.complete.1, |_| None).recv(ends, Result::ok);
        came.wait().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn ranks_go_on_when_all_are_back_and_may() {
        let muster = Muster::new(2);
        let (end, ends) = flume::unbounded::<u32>();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (pin!(muster.come()), pin!(muster.come()));
        assert!(first.as_mut().poll(&mut cx).is_pending() && !muster.is_complete());
        end.send(7).expect("somebody listens");
        assert_eq!(muster.wait(&ends), Err(7), "a rank has ended before all are back");
        assert!(second.as_mut().poll(&mut cx).is_pending() && muster.is_complete());
        assert_eq!(muster.wait(&ends), Ok(()));
        muster.go();
        assert!(
            first.as_mut().poll(&mut cx).is_ready() && second.as_mut().poll(&mut cx).is_ready()
        );
    }
}
