//! The loop that polls one worker's fibers.

use std::future::poll_fn;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use crossbeam_deque::Worker as Deque;

use crate::scheduler::{LocalQueue, Observer, Scheduler, Spin, Task};

/// How long fibers are polled before the thread's event loop gets its turn.
const BURST: Duration = Duration::from_millis(1);
/// Polls between two looks at the clock, and at the inbox.
const POLLS_BETWEEN_LOOKS: u32 = 64;
/// Looks at the inbox between two looks at the clock and at other workers.
const LOOKS_BETWEEN_CLOCKS: u32 = 64;
/// A fiber that computes for so long has its neighbours taken over by idle workers.
const STEAL_AFTER: Duration = Duration::from_micros(200);

/// The run loop of worker `index`.
#[derive(Debug)]
pub(crate) struct RunLoop {
    scheduler: Arc<Scheduler>,
    index: u32,
    spin: Spin,
    observer: Observer,
    stop: Arc<AtomicBool>,
}

/// Why a burst ended.
enum Burst {
    /// Its time is over.
    Over,
    /// Nothing is runnable.
    Idle,
}

impl RunLoop {
    /// A loop that ends soon after `stop` is set and the worker unparked.
    pub(crate) fn new(
        scheduler: Arc<Scheduler>,
        index: u32,
        spins: bool,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let observer = Observer::new(&scheduler, STEAL_AFTER);
        let spin = Spin::new(spins && index < scheduler.regular());
        Self { scheduler, index, spin, observer, stop }
    }

    /// Runs on the arbiter's thread until told to stop.
    pub(crate) async fn run(mut self, deque: Deque<Arc<Task>>) {
        LocalQueue::install(&self.scheduler, self.index, deque);
        self.scheduler.count_awake(true);
        while !self.stop.load(Ordering::Acquire) {
            match self.burst() {
                Burst::Over => tokio::task::yield_now().await,
                Burst::Idle => {
                    let asleep = Instant::now();
                    self.park().await;
                    self.spin.learn_of_sleep(asleep.elapsed());
                }
            }
        }
        self.scheduler.count_awake(false);
        LocalQueue::uninstall();
    }

    fn burst(&mut self) -> Burst {
        let started = Instant::now();
        loop {
            for _ in 0..POLLS_BETWEEN_LOOKS {
                let Some(task) = LocalQueue::pop() else { break };
                self.scheduler.poll(self.index, &task);
            }
            if let Some(task) = self.scheduler.worker(self.index).pop_inbox() {
                self.scheduler.poll(self.index, &task);
            } else if LocalQueue::is_empty() {
                match self.spin() {
                    Some(task) => self.scheduler.poll(self.index, &task),
                    None => return Burst::Idle,
                }
            }
            if started.elapsed() >= BURST {
                return Burst::Over;
            }
        }
    }

    /// Watches for work for a while.
    fn spin(&mut self) -> Option<Arc<Task>> {
        if let Some(task) = self.scheduler.steal(self.index) {
            return Some(task);
        }
        // Without another worker that runs, nothing but an event or another node could bring work.
        let has_links = self.scheduler.has_links();
        if self.scheduler.awake() < 2 && !has_links {
            return None;
        }
        let (started, limit) = (Instant::now(), self.spin.limit());
        let looks = if has_links { LOOKS_BETWEEN_CLOCKS / 8 } else { LOOKS_BETWEEN_CLOCKS };
        while started.elapsed() < limit {
            for _ in 0..looks {
                if let Some(task) = self.scheduler.worker(self.index).pop_inbox() {
                    self.spin.learn(true);
                    return Some(task);
                }
                if has_links {
                    if let Some(task) = self.drive_links() {
                        self.spin.learn(true);
                        return Some(task);
                    }
                    // The node that is waited for may need this very core.
                    std::thread::yield_now();
                } else {
                    spin_loop();
                }
            }
            // Somebody may be held up for long, or have said that it will be.
            self.observer.look(&self.scheduler, Some(self.index));
            if let Some(task) = self.scheduler.steal(self.index) {
                return Some(task);
            }
        }
        self.spin.learn(false);
        None
    }

    /// Takes over what other nodes have sent, and the first task that it has made runnable.
    fn drive_links(&self) -> Option<Arc<Task>> {
        self.scheduler.drive_links();
        LocalQueue::pop()
    }

    /// Leaves the thread to its event loop until a task is queued.
    async fn park(&self) {
        let queue = self.scheduler.worker(self.index);
        let mut counted = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut counted, true) {
                queue.set_waker(cx.waker());
                if !queue.is_parked() {
                    return Poll::Ready(());
                }
            } else {
                queue.park(cx.waker());
                self.scheduler.count_awake(false);
                self.scheduler.rest_links();
            }
            // A wake-up of a task by this thread's own event loop goes to the local queue.
            let stays = queue.is_inbox_empty()
                && LocalQueue::is_empty()
                && !self.stop.load(Ordering::Acquire);
            if stays {
                return Poll::Pending;
            }
            self.scheduler.unparked(self.index);
            Poll::Ready(())
        })
        .await;
    }
}
