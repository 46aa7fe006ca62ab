//! Tasks that are woken while they are polled, threads that are woken while they leave, workers that fall asleep.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

#[path = "../../src/scheduler/parking.rs"]
mod parking;
#[path = "../../src/scheduler/state.rs"]
mod state;
#[path = "../../src/scheduler/token.rs"]
mod token;

use crate::explore;
use parking::Parking;
use state::{State, Turn};
use token::Token;

/// A task, how often it is in the run queue, and what it waits for.
#[derive(Debug)]
struct Task {
    state: State,
    queued: AtomicUsize,
    is_polled: AtomicBool,
    published: [AtomicBool; 2],
}

impl Task {
    fn new() -> Arc<Self> {
        let published = [false; 2].map(AtomicBool::new);
        let (queued, is_polled) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { state: State::new(), queued, is_polled, published })
    }

    fn wake(&self) {
        if self.state.wake() {
            self.queued.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn publish(&self, which: usize) {
        self.published[which].store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Polls the task as long as it is queued.
    fn work(&self) {
        let less = |queued: usize| queued.checked_sub(1);
        while self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok() {
            self.state.begin();
            assert!(!self.is_polled.swap(true, Ordering::Relaxed), "two poll it");
            let is_over = self.published.iter().all(|flag| flag.load(Ordering::Relaxed));
            self.is_polled.store(false, Ordering::Relaxed);
            if is_over {
                self.state.end();
            } else if self.state.suspend() {
                self.queued.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// Two others publish something and wake the task while it is polled.
#[test]
fn a_task_sees_all_that_it_was_woken_for() {
    explore(3, || {
        let task = Task::new();
        task.wake();
        let wakers = [0, 1].map(|which| {
            let task = task.clone();
            thread::spawn(move || task.publish(which))
        });
        task.work();
        for waker in wakers {
            waker.join().expect("wakers do not panic");
        }
        task.work();
        assert!(!task.state.wake(), "it is over");
        assert_eq!(task.state.turn(), Turn::Waiting);
        let is_published = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        assert!(task.published.iter().all(is_published));
        assert_eq!(task.queued.load(Ordering::Relaxed), 0);
    });
}

/// Two workers take it from the queue.
#[test]
fn a_task_is_polled_by_one_worker_at_a_time() {
    explore(3, || {
        let task = Task::new();
        task.wake();
        let others = [
            {
                let task = task.clone();
                thread::spawn(move || task.publish(0))
            },
            {
                let task = task.clone();
                thread::spawn(move || task.work())
            },
        ];
        task.work();
        for other in others {
            other.join().expect("nobody panics");
        }
        task.publish(1);
        task.work();
        assert!(!task.state.wake(), "it is over");
    });
}

/// A thread that waits for one flag after the other, and the one that lets it run when it has left.
#[derive(Debug)]
struct Thread {
    token: Token,
    run: Notify,
    flags: [AtomicBool; 2],
}

impl Thread {
    fn new() -> Arc<Self> {
        let flags = [false; 2].map(AtomicBool::new);
        Arc::new(Self { token: Token::new(), run: Notify::new(), flags })
    }

    fn wake(&self) {
        if self.token.wake() {
            self.run.notify();
        }
    }

    fn raise(&self, flag: usize) {
        self.flags[flag].store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Loom says so when it is never run again.
    fn wait_for(&self, flag: usize) {
        while !self.flags[flag].load(Ordering::Relaxed) {
            if self.token.park() {
                self.run.wait();
            }
        }
        self.token.clear();
    }
}

#[test]
fn a_thread_that_leaves_is_woken_after_a_wake_up_for_nothing() {
    explore(3, || {
        let thread = Thread::new();
        let waker = {
            let thread = thread.clone();
            thread::spawn(move || {
                thread.wake();
                thread.raise(0);
            })
        };
        thread.wait_for(0);
        waker.join().expect("the waker does not panic");
        assert!(!thread.token.is_parked());
    });
}

#[test]
fn the_end_of_one_wait_does_not_hide_that_of_the_next() {
    explore(3, || {
        let thread = Thread::new();
        let waker = {
            let thread = thread.clone();
            thread::spawn(move || {
                thread.raise(0);
                thread.raise(1);
            })
        };
        thread.wait_for(0);
        thread.wait_for(1);
        waker.join().expect("the waker does not panic");
    });
}

#[test]
fn wake_ups_of_two_are_not_lost() {
    explore(3, || {
        let thread = Thread::new();
        let wakers = [0, 1].map(|flag| {
            let thread = thread.clone();
            thread::spawn(move || thread.raise(flag))
        });
        thread.wait_for(1);
        thread.wait_for(0);
        wakers.into_iter().for_each(|waker| waker.join().expect("wakers do not panic"));
    });
}

/// A worker looks for work once more when it has said that it will sleep; two others give it some.
#[test]
fn a_worker_that_falls_asleep_is_woken_once() {
    explore(3, || {
        let shared = Arc::new((Parking::new(), AtomicUsize::new(0)));
        let givers = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (parking, work) = &*shared;
                work.fetch_add(1, Ordering::Relaxed);
                parking.is_to_be_woken()
            })
        });
        let (parking, work) = &*shared;
        parking.begin();
        let found = work.load(Ordering::Relaxed) > 0;
        let ended = found && parking.end();
        let woken: Vec<_> =
            givers.into_iter().map(|giver| giver.join().expect("givers do not panic")).collect();
        let times = woken.iter().filter(|woken| **woken).count() + usize::from(ended);
        assert_eq!(times, 1, "found: {found}, woken: {woken:?}");
        assert!(!parking.is_begun());
    });
}
