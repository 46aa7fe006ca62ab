//! Where a task stands between its wake-ups and its polls: one word.

use crate::atomic::{AtomicU8, Ordering};

/// Suspended; a wake-up queues it.
const WAITING: u8 = 0;
/// In a run queue.
const QUEUED: u8 = 1;
/// Being polled.
const RUNNING: u8 = 2;
/// Being polled, and woken meanwhile: it is queued again when the poll ends.
const NOTIFIED: u8 = 3;
/// Finished; wake-ups do nothing.
const DONE: u8 = 4;

/// Whether a fiber has its turn.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// It waits for something.
    Waiting,
    /// It could run.
    Queued,
    /// It runs.
    Running,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct State(AtomicU8);

impl State {
    /// Of a task that waits.
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(WAITING))
    }

    /// Something was published for the task. Whether it is to be queued.
    ///
    /// The word is exchanged even where it stays as it is, and [`State::begin`] exchanges it, too: so the poll that follows
    /// sees what was published.
    #[must_use]
    pub(super) fn wake(&self) -> bool {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            let next = match state {
                WAITING => QUEUED,
                RUNNING => NOTIFIED,
                DONE => return false,
                same => same,
            };
            let changed =
                self.0.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed);
            match changed {
                Ok(before) => return before == WAITING,
                Err(seen) => state = seen,
            }
        }
    }

    /// The task was taken from a run queue and is about to be polled.
    pub(super) fn begin(&self) {
        self.0.swap(RUNNING, Ordering::AcqRel);
    }

    /// The poll is over, and the task is not. Whether it is to be queued again.
    #[must_use]
    pub(super) fn suspend(&self) -> bool {
        let suspended =
            self.0.compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Relaxed);
        if suspended.is_err() {
            self.0.swap(QUEUED, Ordering::AcqRel);
        }
        suspended.is_err()
    }

    /// The task is over.
    pub(super) fn end(&self) {
        self.0.swap(DONE, Ordering::AcqRel);
    }

    /// Whether the task has its turn.
    pub(super) fn turn(&self) -> Turn {
        match self.0.load(Ordering::Relaxed) {
            QUEUED => Turn::Queued,
            RUNNING | NOTIFIED => Turn::Running,
            _ => Turn::Waiting,
        }
    }
}
