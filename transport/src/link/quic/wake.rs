//! Sleeping until something arrives, a timer is due, or another thread has work.
//!
//! The endpoint's thread sleeps here. While another thread polls the socket, the socket is
//! *disarmed*: what arrives then wakes nobody, and the polling thread keeps the timers. A thread
//! that stops to poll arms it again; one that forgets to is found out by a timer that disarming
//! starts, and that the endpoint's thread keeps going until nobody has polled for a while.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
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
const LOOK: u64 = 2;

/// Where the endpoint's thread sleeps.
#[derive(Debug)]
pub(super) struct Wake {
    epoll: OwnedFd,
    event: OwnedFd,
    /// Wakes the endpoint's thread some time after the socket was disarmed.
    look: OwnedFd,
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
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let look = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        for (fd, data) in [(&event, EVENT), (&look, LOOK)] {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(data), epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            event,
            look,
            base: Instant::now(),
            is_armed: AtomicBool::new(true),
            gate: Mutex::new(()),
            last_poll: AtomicU64::new(0),
            wakes_at: AtomicU64::new(0),
        })
    }

    /// Another thread polls the socket, at `now`.
    pub(super) fn note_poll(&self, socket: &impl AsFd, now: Nanos) {
        self.last_poll.store(now, Ordering::Relaxed);
        if self.is_armed.load(Ordering::Relaxed) {
            self.set_armed(socket, false);
        }
    }

    /// Whether another thread polls the socket.
    pub(super) fn is_polled(&self) -> bool {
        let now = self.nanos(Instant::now());
        !self.is_armed.load(Ordering::Relaxed)
            && now.saturating_sub(self.last_poll.load(Ordering::Relaxed)) < DISARMED_MAX
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
        // Whoever polls keeps the timers.
        let is_armed = self.is_armed.load(Ordering::SeqCst);
        if is_armed && due.saturating_add(SLACK) < self.wakes_at.load(Ordering::SeqCst) {
            self.wakes_at.store(due, Ordering::SeqCst);
            self.notify();
        }
    }

    /// Sleeps until there may be work for the endpoint's thread, at most until the time that
    /// `next_timer` names.
    pub(super) fn sleep(&self, socket: &impl AsFd, next_timer: impl Fn() -> Nanos) {
        let now = self.nanos(Instant::now());
        if self.is_polled() {
            return self.wait(LOOK_INTERVAL);
        }
        self.set_armed(socket, true);
        // Whoever sets an earlier timer from now on sees when this thread wakes.
        self.wakes_at.store(NEVER, Ordering::SeqCst);
        let until = next_timer();
        self.wakes_at.fetch_min(until, Ordering::SeqCst);
        self.wait(until.saturating_sub(now));
        self.wakes_at.store(0, Ordering::SeqCst);
    }

    pub(super) fn nanos(&self, at: Instant) -> Nanos {
        u64::try_from(at.saturating_duration_since(self.base).as_nanos()).unwrap_or(NEVER)
    }

    fn set_armed(&self, socket: &impl AsFd, is_armed: bool) {
        let _gate = self.gate.lock();
        let flags = if is_armed { armed() } else { epoll::EventFlags::ONESHOT };
        let data = epoll::EventData::new_u64(SOCKET);
        if epoll::modify(&self.epoll, socket, data, flags).is_err() {
            return;
        }
        self.is_armed.store(is_armed, Ordering::SeqCst);
        if !is_armed {
            let timer = Itimerspec { it_interval: timespec(0), it_value: timespec(LOOK_INTERVAL) };
            // If it cannot be set, the next timer of a link finds out.
            let _ = timerfd_settime(&self.look, TimerfdTimerFlags::empty(), &timer);
        }
    }

    fn wait(&self, pause: Nanos) {
        // The poll is precise to the microsecond, which waiting on epoll itself is not everywhere.
        let mut fds = [PollFd::new(&self.epoll, PollFlags::IN)];
        if poll(&mut fds, Some(&timespec(pause.min(SLEEP_MAX)))) != Ok(1) {
            return;
        }
        let mut events = Vec::with_capacity(3);
        if epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(0))).is_err() {
            return;
        }
        for event in events {
            let mut count = [0; 8];
            // Nothing to read is as good.
            let _ = match event.data.u64() {
                EVENT => rustix::io::read(&self.event, &mut count),
                LOOK => rustix::io::read(&self.look, &mut count),
                _ => Ok(0),
            };
        }
    }
}

fn timespec(nanos: Nanos) -> Timespec {
    Timespec::try_from(Duration::from_nanos(nanos)).expect("an hour fits")
}

/// Nothing needs a longer sleep.
const SLEEP_MAX: Nanos = 3_600_000_000_000;

/// What arrives wakes once; then the socket has to be armed again.
fn armed() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::ONESHOT
}
