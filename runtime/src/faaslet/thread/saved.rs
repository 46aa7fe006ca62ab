//! The threads of a rank as values: taken when all have left their stacks, and begun again from them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wasmtime::{Instance, Store};

use super::group::{ID_MAX, THREADS_MAX, Threads};
use super::park::ThreadShared;
use super::run::{Begins, NewThread, Thread};
use crate::checkpoint::{Rounds, ThreadImage, ThreadsImage};
use crate::faaslet::{FaasletState, image};

/// Why threads cannot be taken, or not be put back, in words.
type Reason = String;

/// For waits whose end no clock can tell.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Bytes of a page of WebAssembly.
const PAGE_BYTES: u64 = 64 << 10;

/// The state of a thread whose stack has been taken.
pub(super) fn take(
    store: &mut Store<FaasletState>,
    instance: &Instance,
) -> Result<ThreadImage, Reason> {
    let globals = image::globals(store, instance)?;
    let state = store.data();
    let frames = state.stack.as_ref().and_then(|stack| stack.taken());
    let frames = frames.ok_or("a thread's stack has not been taken")?.to_vec();
    let thread = state.thread.as_ref().ok_or("a thread of a rank that has none")?;
    Ok(ThreadImage { id: thread.shared.id(), globals, frames, left_ns: thread.left_ns() })
}

impl Threads {
    /// The main thread has left in this round: waits for the others, and gives what they are; `None` when the round is
    /// over before.
    pub(crate) async fn gather(
        &self,
        rounds: &Rounds,
        round: u64,
    ) -> Option<Result<Vec<ThreadImage>, Reason>> {
        self.camp.gather(rounds, round, |left| self.are_all(|id| left.contains_key(&id))).await
    }

    /// What the threads are together, of which these have left besides the main one.
    pub(crate) fn save(&self, others: Vec<ThreadImage>, left_ns: Option<u64>) -> ThreadsImage {
        let (pages, last_id) = (self.pages(), self.last_id());
        ThreadsImage { pages, last_id, guards: self.guarded(), left_ns, others }
    }

    /// Bytes of memory that the program has asked for; none behind them was touched.
    pub(crate) fn memory_bytes(&self) -> u64 {
        u64::from(self.pages()) * PAGE_BYTES
    }

    /// Puts back what the threads were together. None but the main one is begun.
    ///
    /// # Errors
    /// It cannot be that of this program.
    pub(crate) fn put(&self, image: &ThreadsImage, memory_bytes: u64) -> Result<(), Reason> {
        let ids: BTreeSet<_> = image.others.iter().map(|other| other.id).collect();
        let in_range = ids.iter().all(|id| (1..=ID_MAX).contains(id)) && image.last_id <= ID_MAX;
        if ids.len() != image.others.len() || ids.len() as u32 >= THREADS_MAX || !in_range {
            return Err("its threads cannot be".to_owned());
        }
        let is_size = memory_bytes == u64::from(image.pages) * PAGE_BYTES;
        if !is_size || !self.set_pages(image.pages) || !self.set_guarded(&image.guards) {
            return Err("its memory is not that of the program".to_owned());
        }
        self.set_last_id(image.last_id);
        Ok(())
    }

    /// Begins these threads where they left their stacks; they are there when this is over, and run when they are
    /// released. The memory is what it was.
    ///
    /// # Errors
    /// Why one of them cannot be there.
    pub(crate) async fn begin_again(
        self: &std::sync::Arc<Self>,
        others: Vec<ThreadImage>,
    ) -> Result<(), Reason> {
        let mut coming = Vec::new();
        for image in others {
            let shared = ThreadShared::new(image.id);
            let (ready, is_ready) = oneshot::channel();
            let thread =
                NewThread { group: self.clone(), shared, begins: Begins::Again { image, ready } };
            self.launch(thread).ok_or("its job is over")?;
            coming.push(is_ready);
        }
        for is_ready in coming {
            is_ready.await.map_err(|_| "a thread ended before it was back".to_owned())??;
        }
        Ok(())
    }
}

impl Thread {
    /// What is left of the limit of the wait in which the thread has left its stack.
    pub(crate) fn left_ns(&self) -> Option<u64> {
        self.deadline.map(|at| nanoseconds(at.saturating_duration_since(Instant::now())))
    }

    /// The thread is put back into a wait of which so much is left.
    pub(crate) fn set_left_ns(&mut self, left_ns: Option<u64>) {
        self.deadline = left_ns.map(deadline_in);
    }
}

/// The instant after so many nanoseconds.
pub(super) fn deadline_in(ns: u64) -> Instant {
    let now = Instant::now();
    now.checked_add(Duration::from_nanos(ns)).unwrap_or(now + FOREVER)
}

/// A time in nanoseconds, as far as it fits.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
