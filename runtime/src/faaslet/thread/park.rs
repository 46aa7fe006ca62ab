//! One thread as the others of its rank see it, and how it waits for them.

use std::fmt;
use std::future::poll_fn;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Instant;

use parking_lot::Mutex;

use crate::host::wasi::{WasiHooks, WasiWait};
use crate::scheduler::{LocalQueue, Scheduler, Spin, Task, Token, Turn};

/// Looks at what is waited for between two looks at the worker's queue, and looks at the queue between two at the clock.
const LOOKS_BETWEEN_PAUSES: u32 = 6;
const LOOKS_BETWEEN_CLOCKS: u32 = 16;

/// What a thread waits for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum WaitsFor {
    /// A store to a word of memory, and somebody to tell of it.
    Word {
        /// Its address.
        addr: u64,
    },
    /// The end of the rank's other threads.
    Threads,
    /// A call, by its name.
    Construct(&'static str),
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word { addr } => {
                write!(f, "waits at address {addr:#x} (a mutex, condition or join)")
            }
            Self::Threads => f.write_str("has left main and waits for the other threads"),
            Self::Construct(name) => write!(f, "waits in {name}"),
        }
    }
}

/// What a thread is doing.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Doing {
    Starting,
    Running,
    Waiting(WaitsFor),
    /// It goes on by itself: a timer, or something outside the job.
    Outside(&'static str),
    Ended,
}

/// One thread of a rank.
#[derive(Debug)]
pub(crate) struct ThreadShared {
    id: u32,
    task: OnceLock<Arc<Task>>,
    token: Token,
    /// Whether somebody has told of the word that it waits for; it waits for one at a time.
    is_told: AtomicBool,
    doing: Mutex<Doing>,
    /// Counts changes of `doing`.
    changes: AtomicU64,
}

impl ThreadShared {
    /// Thread `id`, which has not started.
    pub(crate) fn new(id: u32) -> Arc<Self> {
        Arc::new(Self {
            id,
            task: OnceLock::new(),
            token: Token::new(),
            is_told: AtomicBool::new(false),
            doing: Mutex::new(Doing::Starting),
            changes: AtomicU64::new(0),
        })
    }

    /// Its number within the rank; 0 is the main thread.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn set_task(&self, task: Arc<Task>) {
        let _ = self.task.set(task);
    }

    /// Whether it has its turn.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.task.get().map(|task| task.turn())
    }

    /// Drops the fiber where it stands, or at the end of its poll.
    pub(crate) fn cancel(&self) -> bool {
        self.task.get().is_none_or(|task| task.cancel())
    }

    /// Runs the thread for the first time.
    pub(crate) fn start(&self) {
        if let Some(task) = self.task.get() {
            task.wake();
        }
    }

    pub(crate) fn set_running(&self) {
        self.set_doing(Doing::Running);
    }

    pub(crate) fn set_ended(&self) {
        self.set_doing(Doing::Ended);
    }

    fn set_doing(&self, doing: Doing) {
        *self.doing.lock() = doing;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Lets the thread look again at what it waits for, which was published before.
    #[inline]
    pub(crate) fn wake(&self) {
        if self.token.wake()
            && let Some(task) = self.task.get()
        {
            task.wake();
        }
    }

    /// It is about to be entered among those that wait for a word.
    pub(super) fn begin_word(&self) {
        self.is_told.store(false, Ordering::Relaxed);
    }

    /// Somebody tells of the word; it is no longer among those that wait for it, and is to be woken.
    pub(super) fn tell_of_word(&self) {
        self.is_told.store(true, Ordering::Release);
    }

    /// Whether somebody has told of the word.
    #[inline]
    pub(super) fn was_woken_at_word(&self) -> bool {
        self.is_told.load(Ordering::Acquire)
    }

    /// Leaves the fiber until `is_done`, which is asked after every wake-up.
    pub(crate) async fn park_until(&self, what: WaitsFor, is_done: impl Fn() -> bool) {
        self.leave_until(Doing::Waiting(what), is_done).await;
    }

    /// As [`ThreadShared::park_until`] where a timer may end the wait as well.
    pub(crate) async fn sleep_until(&self, is_done: impl Fn() -> bool) {
        self.leave_until(Doing::Outside("a timer"), is_done).await;
    }

    async fn leave_until(&self, doing: Doing, is_done: impl Fn() -> bool) {
        if is_done() {
            return;
        }
        self.set_doing(doing);
        let _waiting = Waits(self);
        poll_fn(|_| {
            loop {
                if is_done() {
                    return Poll::Ready(());
                }
                if self.poll_park().is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// From now on the thread counts as waiting.
    pub(super) fn begin_wait(&self, what: WaitsFor) {
        self.set_doing(Doing::Waiting(what));
    }

    /// The wait is over.
    pub(super) fn end_wait(&self) {
        self.token.clear();
        self.set_running();
    }

    /// Ready when the thread was woken since it last looked, else it counts as parked.
    pub(super) fn poll_park(&self) -> Poll<()> {
        if self.token.park() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// How often the thread has changed what it does, if it waits for another thread of the
    /// rank that has not woken it, or has ended; with whether it waits.
    pub(crate) fn standstill(&self) -> Option<(u64, bool)> {
        let changes = self.changes.load(Ordering::Acquire);
        let doing = *self.doing.lock();
        match doing {
            Doing::Ended => Some((changes, false)),
            Doing::Waiting(_) if self.token.is_parked() => Some((changes, true)),
            _ => None,
        }
    }
}

impl fmt::Display for ThreadShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} ", self.id)?;
        match *self.doing.lock() {
            Doing::Starting => f.write_str("is starting"),
            Doing::Running => f.write_str("is running"),
            Doing::Waiting(what) => write!(f, "{what}"),
            Doing::Outside(what) => write!(f, "waits for {what}"),
            Doing::Ended => f.write_str("has ended"),
        }
    }
}

/// A wait in progress; it is over when this is dropped.
struct Waits<'a>(&'a ThreadShared);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.end_wait();
    }
}

/// Notes what a system call of a thread waits for.
impl WasiHooks for ThreadShared {
    fn wait_begins(&self, on: WasiWait) {
        self.set_doing(Doing::Outside(match on {
            WasiWait::Stdin => "standard input",
            WasiWait::Clock => "a timer",
            WasiWait::Descriptor => "a file or pipe",
        }));
    }

    fn wait_ends(&self) {
        self.set_running();
    }

    fn blocks(&self) {
        LocalQueue::hand_over();
    }
}

/// Watches for `is_done` without leaving the fiber, while this worker has nothing else to run and
/// another one is awake. Returns whether it came.
pub(super) fn watch(scheduler: &Scheduler, spin: &mut Spin, is_done: &dyn Fn() -> bool) -> bool {
    let is_idle = || LocalQueue::is_worker_idle() && scheduler.awake() > 1;
    let limit = spin.limit();
    if limit.is_zero() || !is_idle() {
        return is_done();
    }
    let started = Instant::now();
    loop {
        for _ in 0..LOOKS_BETWEEN_CLOCKS {
            for _ in 0..LOOKS_BETWEEN_PAUSES {
                if is_done() {
                    spin.learn(true);
                    return true;
                }
            }
            if !is_idle() {
                return false;
            }
            spin_loop();
        }
        if started.elapsed() >= limit {
            spin.learn(false);
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_thread_stands_still_until_it_is_woken() {
        let thread = ThreadShared::new(3);
        thread.set_running();
        assert_eq!(thread.standstill(), None);
        let done = Cell::new(false);
        let mut wait = pin!(thread.park_until(WaitsFor::Word { addr: 64 }, || done.get()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        let (before, waits) = thread.standstill().expect("it waits");
        assert!(waits);
        assert_eq!(
            thread.to_string(),
            "thread 3 waits at address 0x40 (a mutex, condition or join)"
        );
        assert!(wait.as_mut().poll(&mut cx).is_pending(), "nobody has woken it");
        thread.wake();
        assert_eq!(thread.standstill(), None, "it has not looked yet");
        assert!(wait.as_mut().poll(&mut cx).is_pending(), "woken for nothing");
        assert_eq!(thread.standstill(), Some((before, true)));
        done.set(true);
        thread.wake();
        assert!(wait.as_mut().poll(&mut cx).is_ready());
        assert_eq!(thread.standstill(), None);
        thread.set_ended();
        assert!(matches!(thread.standstill(), Some((_, false))));
    }

    #[test]
    fn a_wake_up_between_look_and_wait_is_not_lost() {
        let thread = ThreadShared::new(1);
        let looks = Cell::new(0);
        // The waker comes after the second look, which is the one before the wait.
        let is_done = || {
            looks.set(looks.get() + 1);
            if looks.get() == 2 {
                thread.wake();
            }
            looks.get() > 2
        };
        let mut wait = pin!(thread.park_until(WaitsFor::Threads, is_done));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_ready());
        assert_eq!(looks.get(), 3);
    }

    /// One thread wakes another, each time once for nothing and once for something. Whatever the timing, the sleeper
    /// must not be parked when all wake-ups are over.
    #[test]
    fn a_wake_up_right_after_a_stale_one_is_not_lost() {
        const ROUNDS: u64 = 50_000;
        let thread = ThreadShared::new(1);
        let [published, told, seen] = [0; 3].map(AtomicU64::new);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    thread.wake();
                    published.store(round, Ordering::Release);
                    thread.wake();
                    told.store(round, Ordering::SeqCst);
                    while seen.load(Ordering::Acquire) < round {
                        std::thread::yield_now();
                    }
                }
            });
            for round in 1..=ROUNDS {
                let is_done = || published.load(Ordering::Acquire) >= round;
                let mut wait = pin!(thread.park_until(WaitsFor::Threads, is_done));
                let mut cx = Context::from_waker(Waker::noop());
                while wait.as_mut().poll(&mut cx).is_pending() {
                    // As the scheduler does: it is polled again when somebody has found it parked.
                    loop {
                        let is_over = told.load(Ordering::SeqCst) >= round;
                        if !thread.token.is_parked() {
                            break;
                        }
                        if is_over {
                            // Or the other one would wait as well.
                            seen.store(u64::MAX, Ordering::Release);
                            panic!("parked for ever in round {round}");
                        }
                        std::thread::yield_now();
                    }
                }
                seen.store(round, Ordering::Release);
            }
        });
    }
}
