//! One system interface for all threads of a rank.
//!
//! A rank with threads has its descriptors, arguments and input behind a lock that is held only
//! while a call runs: a call that would have to wait is given up where it stands, which leaves
//! nothing half done, and tried again. Clocks and yields need nothing of it and use the thread's own.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;

use super::builder::{NoHooks, initial_files};
use super::ctx::{Environment, WasiCtx, WasiHooks, WasiWait};
use super::errno::Errno;
use super::stdin::{StdinReader, StdinSource};

/// Time between two tries of a call that would have to wait.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// The system interface that the threads of a rank share; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct SharedWasi(Arc<Mutex<WasiCtx>>);

impl SharedWasi {
    /// Shares `ctx`, of whose waits its owner is not told any more: each thread's own is.
    pub(crate) fn new(mut ctx: WasiCtx) -> Self {
        ctx.hooks = Arc::new(NoHooks);
        Self(Arc::new(Mutex::new(ctx)))
    }

    /// The interface of one thread, whose waits `hooks` is told of.
    pub(crate) fn of_thread(&self, hooks: Arc<dyn WasiHooks>) -> WasiCtx {
        let ctx = self.0.lock();
        WasiCtx {
            args: Arc::default(),
            env: Environment::default(),
            files: initial_files(&[]),
            preopens: ctx.preopens.clone(),
            stdin: StdinReader::new(StdinSource::Closed),
            output: ctx.output.clone(),
            rank: ctx.rank,
            hooks,
            monotonic_shift_ns: ctx.monotonic_shift_ns,
            shared: Some(self.clone()),
        }
    }

    /// Makes a call that never waits.
    pub(super) fn now<R>(&self, call: impl FnOnce(&mut WasiCtx) -> R) -> R {
        call(&mut self.0.lock())
    }

    /// Makes a call of thread `own` that may have to wait.
    pub(super) async fn wait(
        &self,
        own: &WasiCtx,
        call: impl AsyncFn(&mut WasiCtx) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        loop {
            let tried = poll_fn(|cx| {
                let mut ctx = self.0.lock();
                let polled = pin!(call(&mut ctx)).poll(cx);
                Poll::Ready(polled)
            });
            if let Poll::Ready(result) = tried.await {
                return result;
            }
            let waiting = own.waiting(WasiWait::Descriptor);
            tokio::time::sleep(RETRY_AFTER).await;
            drop(waiting);
        }
    }
}
