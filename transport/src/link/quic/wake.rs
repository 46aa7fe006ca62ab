//! Sleeping until something arrives, a timer is due, or another thread has work.
//!
//! The endpoint's thread sleeps here. While another thread polls the socket, the socket is
//! *disarmed*: what arrives then wakes nobody. A thread that stops to poll arms it again, and so
//! does the endpoint's thread when it finds that nobody has polled for a while.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, PollFd, PollFlags, epoll, eventfd, poll},
};

/// Time since an endpoint was made, in nanoseconds; what atomic variables hold.
pub(super) type Nanos = u64;
/// No time at all: nothing is due.
pub(super) const NEVER: Nanos = u64::MAX;

/// How long the socket stays disarmed after a poll if nobody arms it.
const DISARMED_MAX: Nanos = 500_000;
/// How often the endpoint's thread looks while the socket is disarmed.
const LOOK_INTERVAL: Nanos = 1_000_000;
/// A timer that is due this much earlier than the thread would wake is not worth waking it for.
const SLACK: Nanos = 500_000;
const SOCKET: u64 = 0;
const EVENT: u64 = 1;

/// Where the endpoint's thread sleeps.
#[derive(Debug)]
pub(super) struct Wake {
    epoll: OwnedFd,
    event: OwnedFd,
    base: Instant,
    is_armed: AtomicBool,
    /// Held while `is_armed` and the kernel's view of it change.
    gate: Mutex<()>,
    last_poll: AtomicU64,
    /// When the endpoint's thread will look by itself.
    wakes_at: AtomicU64,
}

impl Wake {
    pub(super) fn new(socket: &impl AsFd) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, socket, epoll::EventData::new_u64(SOCKET), armed())?;
        let data = epoll::EventData::new_u64(EVENT);
        epoll::add(&epoll, &event, data, epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            event,
            base: Instant::now(),
            is_armed: AtomicBool::new(true),
            gate: Mutex::new(()),
            last_poll: AtomicU64::new(0),
            wakes_at: AtomicU64::new(0),
        })
    }

    /// Another thread polls the socket now.
    pub(super) fn note_poll(&self, socket: &impl AsFd, now: Nanos) {
        self.last_poll.store(now, Ordering::Relaxed);
        if self.is_armed.load(Ordering::Relaxed) {
            self.set_armed(socket, false);
        }
    }

    /// Lets what arrives wake the endpoint's thread.
    pub(super) fn arm(&self, socket: &impl AsFd) {
        if !self.is_armed.load(Ordering::Relaxed) {
            self.set_armed(socket, true);
        }
    }

    /// Makes the endpoint's thread look at once.
    pub(super) fn notify(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Makes the endpoint's thread look when `due` comes, if it would sleep longer.
    pub(super) fn notify_timer(&self, due: Nanos) {
        if due.saturating_add(SLACK) < self.wakes_at.load(Ordering::SeqCst) {
            self.wakes_at.store(due, Ordering::SeqCst);
            self.notify();
        }
    }

    /// Sleeps until there may be work, at most until the time that `next_timer` names. True if
    /// the thread should turn to the socket, false if another one does that.
    pub(super) fn sleep(&self, socket: &impl AsFd, next_timer: impl Fn() -> Nanos) -> bool {
        let now = self.nanos(Instant::now());
        let is_polled = !self.is_armed.load(Ordering::Relaxed)
            && now.saturating_sub(self.last_poll.load(Ordering::Relaxed)) < DISARMED_MAX;
        if !is_polled {
            self.set_armed(socket, true);
        }
        let limit = if is_polled { now + LOOK_INTERVAL } else { NEVER };
        // Whoever sets an earlier timer from now on sees when this thread wakes.
        self.wakes_at.store(limit, Ordering::SeqCst);
        let until = next_timer().min(limit);
        self.wakes_at.fetch_min(until, Ordering::SeqCst);
        self.wait(until.saturating_sub(now));
        self.wakes_at.store(0, Ordering::SeqCst);
        let polled_at = self.last_poll.load(Ordering::Relaxed);
        let is_armed = self.is_armed.load(Ordering::Relaxed);
        is_armed || self.nanos(Instant::now()).saturating_sub(polled_at) >= DISARMED_MAX
    }

    pub(super) fn nanos(&self, at: Instant) -> Nanos {
        u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(NEVER)
    }

    fn set_armed(&self, socket: &impl AsFd, is_armed: bool) {
        let _gate = self.gate.lock();
        let flags = if is_armed { armed() } else { epoll::EventFlags::ONESHOT };
        let data = epoll::EventData::new_u64(SOCKET);
        if epoll::modify(&self.epoll, socket, data, flags).is_ok() {
            self.is_armed.store(is_armed, Ordering::Relaxed);
        }
    }

    fn wait(&self, pause: Nanos) {
        let timeout = Duration::from_nanos(pause.min(SLEEP_MAX));
        let timeout = rustix::event::Timespec::try_from(timeout).expect("an hour fits");
        // The poll is precise to the microsecond, which waiting on epoll itself is not everywhere.
        let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)) != Ok(1) {
            return;
        }
        let mut events = Vec::with_capacity(2);
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&none)).is_err() {
            return;
        }
        for event in events {
            if event.data.u64() == EVENT {
                let mut count = [0; 8];
                // Nothing to read is as good.
                let _ = rustix::io::read(&self.event, &mut count);
            }
        }
    }
}

/// Nothing needs a longer sleep.
const SLEEP_MAX: Nanos = 3_600_000_000_000;

/// What arrives wakes once; then the socket has to be armed again.
fn armed() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::ONESHOT
}
