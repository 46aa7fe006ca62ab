//! One fiber and its life: waiting, queued, running, done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_util::task::{ArcWake, waker_ref};
use parking_lot::Mutex;

use super::meter::Meter;
use super::queue::Scheduler;

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

type Fiber = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A fiber that the scheduler polls.
pub(crate) struct Task {
    state: AtomicU8,
    /// Worker the task was placed on.
    block: u32,
    /// Worker on whose thread this task's wake-ups are cheap.
    home: AtomicU32,
    /// Number of the program whose fiber this is, 0 for one that nobody asks about.
    owner: AtomicU64,
    /// The fiber is to be dropped when its current poll ends.
    cancelled: AtomicBool,
    meter: Meter,
    scheduler: Arc<Scheduler>,
    /// `None` once it has finished. The state machine lets one thread poll at a time, so the lock
    /// is never contended.
    fiber: Mutex<Option<Fiber>>,
}

impl Task {
    /// A task that is not yet queued; [`Task::wake`] starts it on worker `home`.
    pub(crate) fn new(scheduler: &Arc<Scheduler>, home: u32, fiber: Fiber) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(WAITING),
            block: home,
            home: AtomicU32::new(home),
            owner: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            meter: Meter::default(),
            scheduler: scheduler.clone(),
            fiber: Mutex::new(Some(fiber)),
        })
    }

    /// The worker to queue the task on: where it was placed, unless that worker `is_held_up`.
    pub(crate) fn go_home(&self, is_held_up: impl FnOnce(u32) -> bool) -> u32 {
        let home = self.home.load(Ordering::Relaxed);
        if home != self.block && !is_held_up(self.block) {
            self.home.store(self.block, Ordering::Relaxed);
            return self.block;
        }
        home
    }

    /// The worker the task was placed on.
    pub(crate) const fn block(&self) -> u32 {
        self.block
    }

    /// Whether it has its turn.
    pub(crate) fn turn(&self) -> Turn {
        match self.state.load(Ordering::Relaxed) {
            QUEUED => Turn::Queued,
            RUNNING | NOTIFIED => Turn::Running,
            _ => Turn::Waiting,
        }
    }

    /// Says whose fiber this is, see [`Scheduler::new_owner`].
    pub(crate) fn set_owner(&self, owner: u64) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Whose fiber this is.
    #[inline]
    pub(super) fn owner(&self) -> u64 {
        self.owner.load(Ordering::Relaxed)
    }

    /// Another worker took the task over.
    pub(crate) fn move_to(&self, worker: u32) {
        self.home.store(worker, Ordering::Relaxed);
    }

    /// Makes the task runnable; cheap when it is already.
    pub(crate) fn wake(self: &Arc<Self>) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let next = match state {
                WAITING => QUEUED,
                RUNNING => NOTIFIED,
                _ => return,
            };
            let changed =
                self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed);
            match changed {
                Ok(WAITING) => break,
                Ok(_) => return,
                Err(seen) => state = seen,
            }
        }
        self.enqueue();
    }

    fn enqueue(self: &Arc<Self>) {
        self.scheduler.enqueue(self.clone());
    }

    /// Polls the fiber once. The caller took the task from a run queue.
    pub(crate) fn run(self: &Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        let waker = waker_ref(self);
        let mut fiber = self.fiber.lock();
        let Some(running) = fiber.as_mut() else { return };
        self.meter.begin();
        let polled = running.as_mut().poll(&mut Context::from_waker(&waker));
        self.meter.end();
        if polled.is_ready() || self.cancelled.load(Ordering::Acquire) {
            *fiber = None;
            self.state.store(DONE, Ordering::Release);
            return;
        }
        drop(fiber);
        let suspended =
            self.state.compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Acquire);
        if suspended.is_err() {
            self.state.store(QUEUED, Ordering::Release);
            self.enqueue();
        }
    }

    /// Processor time of the fiber, which asks for it itself; see [`Meter::read`].
    pub(crate) fn processor_time(&self, before: impl FnOnce() -> Duration) -> Duration {
        self.meter.read(before)
    }

    /// Drops the fiber where it stands; one that is being polled, when that poll ends.
    ///
    /// Returns whether it is gone now.
    pub(crate) fn cancel(&self) -> bool {
        self.cancelled.store(true, Ordering::Release);
        let Some(mut fiber) = self.fiber.try_lock() else { return false };
        self.state.store(DONE, Ordering::Release);
        *fiber = None;
        true
    }
}

impl ArcWake for Task {
    fn wake_by_ref(task: &Arc<Self>) {
        Self::wake(task);
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("block", &self.block).finish_non_exhaustive()
    }
}
