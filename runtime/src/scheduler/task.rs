//! One fiber, and where it is polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_util::task::{ArcWake, waker_ref};
use parking_lot::Mutex;

use super::meter::Meter;
use super::queue::Scheduler;
use super::state::{State, Turn};

type Fiber = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A fiber that the scheduler polls.
pub(crate) struct Task {
    state: State,
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
            state: State::new(),
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
        self.state.turn()
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
        if self.state.wake() {
            self.enqueue();
        }
    }

    fn enqueue(self: &Arc<Self>) {
        self.scheduler.enqueue(self.clone());
    }

    /// Polls the fiber once. The caller took the task from a run queue.
    pub(crate) fn run(self: &Arc<Self>) {
        self.state.begin();
        let waker = waker_ref(self);
        let mut fiber = self.fiber.lock();
        let Some(running) = fiber.as_mut() else { return self.state.end() };
        self.meter.begin();
        let polled = running.as_mut().poll(&mut Context::from_waker(&waker));
        self.meter.end();
        if polled.is_ready() || self.cancelled.load(Ordering::Acquire) {
            *fiber = None;
            return self.state.end();
        }
        drop(fiber);
        if self.state.suspend() {
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
        self.state.end();
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
