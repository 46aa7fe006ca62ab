//! Run queues: a local one per worker thread, an inbox for other threads, and stealing.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_deque::{Steal, Stealer, Worker as Deque};
use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use faasm_transport::Endpoint;
use parking_lot::Mutex;

use super::links::Links;
use super::parking::Parking;
use super::task::Task;

thread_local! {
    /// The run queue of the worker whose thread this is.
    static LOCAL: RefCell<Option<LocalQueue>> = const { RefCell::new(None) };
}

/// The end of a run queue that only its worker's thread touches.
pub(crate) struct LocalQueue {
    worker: u32,
    scheduler: Arc<Scheduler>,
    deque: Deque<Arc<Task>>,
}

impl LocalQueue {
    /// Makes `deque` the queue of this thread.
    pub(crate) fn install(scheduler: &Arc<Scheduler>, worker: u32, deque: Deque<Arc<Task>>) {
        let local = Self { worker, scheduler: scheduler.clone(), deque };
        LOCAL.with_borrow_mut(|slot| *slot = Some(local));
    }

    fn inbox_is_empty(&self) -> bool {
        self.scheduler.worker(self.worker).is_inbox_empty()
    }

    /// Forgets this thread's queue, with whatever is left in it.
    pub(crate) fn uninstall() {
        // Dropped outside the borrow: what the tasks hold may look for this queue.
        drop(LOCAL.with_borrow_mut(Option::take));
    }

    /// Takes the next task of this thread.
    pub(crate) fn pop() -> Option<Arc<Task>> {
        LOCAL.with_borrow(|local| local.as_ref().and_then(|local| local.deque.pop()))
    }

    /// Whether nothing is queued for this thread's worker, by itself or by others.
    pub(crate) fn is_worker_idle() -> bool {
        LOCAL.with_borrow(|local| {
            local.as_ref().is_some_and(|local| local.deque.is_empty() && local.inbox_is_empty())
        })
    }

    /// The fiber that this thread polls is about to wait in the system: others take its neighbours over now.
    pub(crate) fn hand_over() {
        LOCAL.with_borrow(|local| {
            if let Some(local) = local {
                local.scheduler.hand_over(local.worker);
            }
        });
    }

    /// Whether this thread has nothing queued.
    pub(crate) fn is_empty() -> bool {
        LOCAL.with_borrow(|local| local.as_ref().is_none_or(|local| local.deque.is_empty()))
    }
}

/// What a worker does with a turn that another thread gave it.
enum Errand {
    /// Poll a task.
    Poll(Arc<Task>),
    /// Call a function, which may queue tasks of this worker.
    Call(Box<dyn FnOnce() + Send>),
}

/// What other threads see of a worker.
#[derive(Debug)]
pub(crate) struct WorkerQueue {
    inbox: SegQueue<Errand>,
    stealer: Stealer<Arc<Task>>,
    /// Of the worker's thread.
    parking: Parking,
    /// Wakes the worker's thread.
    waker: Mutex<Option<Waker>>,
    /// Counts beginnings and ends of polls: odd while a fiber runs.
    polls: AtomicU64,
    /// Whose fiber was polled last.
    owner: AtomicU64,
    /// Somebody has seen one poll last so long that the queue is given away.
    held_up: AtomicBool,
}

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Errand")
    }
}

impl WorkerQueue {
    fn new(stealer: Stealer<Arc<Task>>) -> Self {
        Self {
            inbox: SegQueue::new(),
            stealer,
            parking: Parking::new(),
            waker: Mutex::new(None),
            polls: AtomicU64::new(0),
            owner: AtomicU64::new(0),
            held_up: AtomicBool::new(false),
        }
    }

    /// Takes a task that another thread queued, and runs its errands on the way.
    pub(crate) fn pop_inbox(&self) -> Option<Arc<Task>> {
        loop {
            match self.inbox.pop()? {
                Errand::Poll(task) => return Some(task),
                Errand::Call(call) => {
                    call();
                    if let Some(task) = LocalQueue::pop() {
                        return Some(task);
                    }
                }
            }
        }
    }

    /// Whether nothing was queued by other threads.
    pub(crate) fn is_inbox_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Announces that the thread goes to sleep and will be woken through `waker`.
    ///
    /// The caller must look at its queues once more afterwards.
    pub(crate) fn park(&self, waker: &Waker) {
        self.set_waker(waker);
        self.parking.begin();
    }

    /// Sets what wakes the parked thread.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        match slot.as_mut() {
            Some(held) => held.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    /// Whether the thread sleeps or is about to.
    pub(crate) fn is_parked(&self) -> bool {
        self.parking.is_begun()
    }
}

/// All workers of one runtime.
#[derive(Debug)]
pub(crate) struct Scheduler {
    workers: Box<[CachePadded<WorkerQueue>]>,
    /// Workers that get new tasks; the ones behind them are spares.
    regular: u32,
    /// Workers that are not parked.
    awake: CachePadded<AtomicU32>,
    /// The thread that watches the workers; it sleeps while all of them do.
    monitor: OnceLock<Thread>,
    /// It sleeps, or is about to.
    monitor_sleeps: AtomicBool,
    /// A worker will be held up, and no other one slept.
    handed_over: AtomicBool,
    links: Links,
    /// Numbers that were given to programs.
    owners: AtomicU64,
}

impl Scheduler {
    /// A scheduler for `regular` workers and `spare` ones that help when a worker is held up.
    pub(crate) fn new(regular: u32, spare: u32) -> (Arc<Self>, Vec<Deque<Arc<Task>>>) {
        assert!(regular > 0, "a runtime has at least one worker");
        let deques: Vec<_> = (0..regular + spare).map(|_| Deque::new_fifo()).collect();
        let workers = deques
            .iter()
            .map(|deque| CachePadded::new(WorkerQueue::new(deque.stealer())))
            .collect();
        let (awake, monitor) = (CachePadded::new(AtomicU32::new(0)), OnceLock::new());
        let monitor_sleeps = AtomicBool::new(false);
        let (links, owners) = (Links::default(), AtomicU64::new(0));
        let handed_over = AtomicBool::new(false);
        let scheduler =
            Self { workers, regular, awake, monitor, monitor_sleeps, handed_over, links, owners };
        (Arc::new(scheduler), deques)
    }

    /// From now on idle workers drive `endpoint`, until [`Scheduler::forget_links`].
    pub(crate) fn poll_links(&self, endpoint: &Endpoint) {
        self.links.add(endpoint);
    }

    /// Ends one [`Scheduler::poll_links`].
    pub(crate) fn forget_links(&self, endpoint: &Endpoint) {
        self.links.remove(endpoint);
    }

    /// Whether any job has ranks on other nodes.
    #[inline]
    pub(crate) fn has_links(&self) -> bool {
        self.links.any()
    }

    /// Hands over what other nodes have sent; it may make tasks of this thread runnable.
    pub(crate) fn drive_links(&self) {
        self.links.poll();
    }

    /// A worker parks: what arrives from other nodes is for the endpoints' own threads.
    pub(crate) fn rest_links(&self) {
        if self.links.any() {
            self.links.rest();
        }
    }

    /// Names the thread that is unparked when the first worker wakes up.
    pub(crate) fn set_monitor(&self, thread: Thread) {
        let _ = self.monitor.set(thread);
    }

    /// Number of workers that get new tasks.
    pub(crate) const fn regular(&self) -> u32 {
        self.regular
    }

    /// Number of workers, spares included.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.workers.len()).expect("there are few workers")
    }

    /// What others see of worker `index`.
    #[inline]
    pub(crate) fn worker(&self, index: u32) -> &WorkerQueue {
        &self.workers[index as usize]
    }

    /// Wakes worker `index` if it is parked. What it shall see was published before.
    ///
    /// It counts as awake from now on, although its thread needs a while: a worker that has just
    /// handed it work should expect an answer and not fall asleep itself.
    pub(crate) fn unpark(&self, index: u32) {
        let worker = self.worker(index);
        if worker.parking.is_to_be_woken() {
            self.count_awake(true);
            if let Some(waker) = worker.waker.lock().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    /// Worker `index` has found something before it slept.
    pub(crate) fn unparked(&self, index: u32) {
        if self.worker(index).parking.end() {
            self.count_awake(true);
        }
    }

    /// A worker's thread begins or stops to run.
    pub(crate) fn count_awake(&self, awake: bool) {
        if !awake {
            self.awake.fetch_sub(1, Ordering::AcqRel);
        } else if self.awake.fetch_add(1, Ordering::SeqCst) == 0 {
            self.wake_monitor();
        }
    }

    /// Blocks the monitor's thread until a worker wakes up, or the thread is unparked.
    pub(crate) fn sleep_of_monitor(&self) {
        self.monitor_sleeps.store(true, Ordering::SeqCst);
        if self.awake.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        self.monitor_sleeps.store(false, Ordering::SeqCst);
    }

    /// Number of workers that are awake.
    pub(crate) fn awake(&self) -> u32 {
        self.awake.load(Ordering::Acquire)
    }

    /// Puts a runnable task on its home worker's queue.
    pub(crate) fn enqueue(&self, task: Arc<Task>) {
        let home = task.go_home(|block| self.worker(block).held_up.load(Ordering::Relaxed));
        let remote = LOCAL.with_borrow(|local| match local {
            Some(local)
                if local.worker == home && std::ptr::eq(Arc::as_ptr(&local.scheduler), self) =>
            {
                local.deque.push(task);
                // An event of this thread's own event loop while the run loop sleeps.
                if self.worker(home).is_parked() {
                    self.unpark(home);
                }
                None
            }
            _ => Some(task),
        });
        if let Some(task) = remote {
            let worker = self.worker(home);
            worker.inbox.push(Errand::Poll(task));
            self.unpark(home);
        }
    }

    /// Calls `call` on the thread of worker `index`: at once if this is it.
    pub(crate) fn run_on(&self, index: u32, call: Box<dyn FnOnce() + Send>) {
        let is_here = LOCAL.with_borrow(|local| {
            let here = |local: &LocalQueue| {
                local.worker == index && std::ptr::eq(Arc::as_ptr(&local.scheduler), self)
            };
            local.as_ref().is_some_and(here)
        });
        if is_here {
            return call();
        }
        let worker = self.worker(index);
        worker.inbox.push(Errand::Call(call));
        self.unpark(index);
    }

    /// Polls `task` on worker `index`, whose thread this is.
    #[inline]
    pub(crate) fn poll(&self, index: u32, task: &Arc<Task>) {
        let worker = self.worker(index);
        let polls = worker.polls.load(Ordering::Relaxed);
        worker.owner.store(task.owner(), Ordering::Relaxed);
        worker.polls.store(polls + 1, Ordering::Relaxed);
        task.run();
        worker.polls.store(polls + 2, Ordering::Relaxed);
        if worker.held_up.load(Ordering::Relaxed) {
            worker.held_up.store(false, Ordering::Relaxed);
        }
    }

    /// Takes a runnable task from a worker that is held up, for worker `thief`.
    pub(crate) fn steal(&self, thief: u32) -> Option<Arc<Task>> {
        let held_up =
            |victim: &u32| *victim != thief && self.worker(*victim).held_up.load(Ordering::Relaxed);
        let task =
            (0..self.len()).filter(held_up).find_map(|victim| take_one(self.worker(victim)))?;
        task.move_to(thief);
        Some(task)
    }

    /// Worker `index`, in a poll, will be held up: who sleeps takes its tasks over, or the monitor finds somebody.
    fn hand_over(&self, index: u32) {
        let worker = self.worker(index);
        if worker.held_up.load(Ordering::Relaxed) {
            return;
        }
        worker.held_up.store(true, Ordering::SeqCst);
        if self.has_backlog(index) && !self.unpark_any() {
            self.handed_over.store(true, Ordering::Release);
            if let Some(monitor) = self.monitor.get() {
                monitor.unpark();
            }
        }
    }

    /// Whether a worker has said that it will be held up when no other one slept; tells it once.
    pub(crate) fn takes_hand_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed) && self.handed_over.swap(false, Ordering::AcqRel)
    }

    /// Whether worker `index` has runnable tasks behind the one it polls.
    pub(crate) fn has_backlog(&self, index: u32) -> bool {
        let queue = self.worker(index);
        !queue.stealer.is_empty() || !queue.inbox.is_empty()
    }

    /// A number for a program that will ask what others leave it.
    pub(crate) fn new_owner(&self) -> u64 {
        self.owners.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Regular workers, besides the one whose thread this is, that run another program than `owner`'s or
    /// have something queued.
    pub(crate) fn taken_from(&self, owner: u64) -> u32 {
        let here = LOCAL.with_borrow(|local| local.as_ref().map(|local| local.worker));
        let is_taken = |index: &u32| {
            let worker = self.worker(*index);
            let polls = !worker.polls.load(Ordering::Relaxed).is_multiple_of(2);
            polls && worker.owner.load(Ordering::Relaxed) != owner || self.has_backlog(*index)
        };
        let taken = (0..self.regular).filter(|index| Some(*index) != here).filter(is_taken);
        u32::try_from(taken.count()).expect("there are few workers")
    }

    /// Forgets the tasks that other threads have queued and nobody will poll: their fibers hold
    /// what their jobs share, and they hold the scheduler.
    pub(crate) fn clear(&self) {
        for worker in &self.workers {
            while worker.inbox.pop().is_some() {}
        }
    }

    /// Whether any worker polls a fiber right now.
    pub(crate) fn is_polling(&self) -> bool {
        self.workers.iter().any(|worker| !worker.polls.load(Ordering::Relaxed).is_multiple_of(2))
    }

    /// Wakes a parked worker, a regular one if there is any; `false` when none is parked.
    pub(crate) fn unpark_any(&self) -> bool {
        let parked = (0..self.len()).find(|index| self.worker(*index).is_parked());
        if let Some(index) = parked {
            self.unpark(index);
        }
        parked.is_some()
    }

    /// Wakes the monitor's thread if it sleeps.
    pub(crate) fn wake_monitor(&self) {
        if self.monitor_sleeps.load(Ordering::SeqCst)
            && let Some(monitor) = self.monitor.get()
        {
            monitor.unpark();
        }
    }
}

/// Measures from the outside how long workers stay in one poll.
#[derive(Debug)]
pub(crate) struct Observer {
    patience: Duration,
    seen: Vec<(u64, Instant)>,
}

impl Observer {
    /// An observer that calls a worker held up after `patience` in one poll.
    pub(crate) fn new(scheduler: &Scheduler, patience: Duration) -> Self {
        Self { patience, seen: vec![(0, Instant::now()); scheduler.workers.len()] }
    }

    /// Looks at all workers but `own`; returns whether one that is held up has a backlog.
    pub(crate) fn look(&mut self, scheduler: &Scheduler, own: Option<u32>) -> bool {
        let mut found = false;
        for index in (0..scheduler.len()).filter(|index| Some(*index) != own) {
            let worker = scheduler.worker(index);
            let polls = worker.polls.load(Ordering::Relaxed);
            let seen = &mut self.seen[index as usize];
            if polls.is_multiple_of(2) || seen.0 != polls {
                *seen = (polls, Instant::now());
            } else if scheduler.has_backlog(index) && seen.1.elapsed() >= self.patience {
                worker.held_up.store(true, Ordering::Relaxed);
                found = true;
            }
        }
        found
    }
}

fn take_one(queue: &WorkerQueue) -> Option<Arc<Task>> {
    loop {
        match queue.stealer.steal() {
            Steal::Success(task) => return Some(task),
            Steal::Empty => return queue.pop_inbox(),
            Steal::Retry => {}
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
