//! The processor time of a fiber.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time of one fiber. It is counted from the first question on, since that costs two system calls a poll.
///
/// Only the thread that polls the fiber uses it; a fiber is polled by one thread at a time.
#[derive(Debug, Default)]
pub(super) struct Meter {
    is_on: AtomicBool,
    used_ns: AtomicU64,
    /// The polling thread's processor time when the poll began.
    began_ns: AtomicU64,
}

impl Meter {
    /// A poll begins.
    #[inline]
    pub(super) fn begin(&self) {
        if self.is_on.load(Ordering::Relaxed) {
            self.began_ns.store(thread_ns(), Ordering::Relaxed);
        }
    }

    /// The poll ends.
    #[inline]
    pub(super) fn end(&self) {
        if self.is_on.load(Ordering::Relaxed) {
            self.used_ns.store(self.now_ns(), Ordering::Relaxed);
        }
    }

    /// What the fiber, which is being polled by this thread, has used so far. `before` tells what it is taken to
    /// have used before the first question.
    pub(super) fn read(&self, before: impl FnOnce() -> Duration) -> Duration {
        if !self.is_on.swap(true, Ordering::Relaxed) {
            self.used_ns.store(before().as_nanos() as u64, Ordering::Relaxed);
            self.began_ns.store(thread_ns(), Ordering::Relaxed);
        }
        Duration::from_nanos(self.now_ns())
    }

    fn now_ns(&self) -> u64 {
        let of_poll = thread_ns().saturating_sub(self.began_ns.load(Ordering::Relaxed));
        self.used_ns.load(Ordering::Relaxed) + of_poll
    }
}

fn thread_ns() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// Processor time of the whole process.
pub(crate) fn process_time() -> Duration {
    Duration::from_nanos(nanoseconds(ClockId::ProcessCPUTime))
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(ns: u64) {
        let start = thread_ns();
        while thread_ns() - start < ns {}
    }

    #[test]
    fn only_the_time_of_polls_counts_from_the_first_question_on() {
        let meter = Meter::default();
        meter.begin();
        compute(1_000_000);
        let first = meter.read(|| Duration::from_secs(5));
        assert!(first >= Duration::from_secs(5) && first < Duration::from_secs(6));
        compute(2_000_000);
        meter.end();
        compute(30_000_000);
        meter.begin();
        let used = meter.read(|| unreachable!("it is on")) - first;
        assert!(used >= Duration::from_millis(2) && used < Duration::from_millis(30), "{used:?}");
    }
}
