//! How long an idle worker watches its queues before it sleeps.

use std::time::Duration;

/// An adaptive bound: spinning that paid off may last longer next time, futile spinning less.
#[derive(Debug)]
pub(crate) struct Spin {
    limit_ns: u64,
    enabled: bool,
    /// Short sleeps since spinning was last tried for as long as it may last.
    dozes: u32,
}

const LIMIT_MIN_NS: u64 = 2_000;
const LIMIT_MAX_NS: u64 = 200_000;
/// A sleep up to this long may be one that both sides of a conversation cause: each wakes the other, which
/// takes longer than either spins.
const DOZE_MAX_NS: u64 = 2_000_000;
/// Each so many-th short sleep is followed by a spin for as long as it may last, to find out.
const DOZES_BETWEEN_TRIALS: u32 = 16;

impl Spin {
    /// `enabled` is false where more workers than cores compete: there spinning only takes time away.
    pub(crate) const fn new(enabled: bool) -> Self {
        Self { limit_ns: 50_000, enabled, dozes: 0 }
    }

    /// How long to spin now.
    pub(crate) const fn limit(&self) -> Duration {
        if self.enabled { Duration::from_nanos(self.limit_ns) } else { Duration::ZERO }
    }

    /// Learns that work came `after` this time, when spinning had been given up already.
    ///
    /// Without this a bound that has become short could never find out that longer would pay.
    pub(crate) fn learn_of_sleep(&mut self, after: Duration) {
        let needed_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        if needed_ns < LIMIT_MAX_NS {
            self.limit_ns = self.limit_ns.max(needed_ns.saturating_mul(2)).min(LIMIT_MAX_NS);
        } else if needed_ns < DOZE_MAX_NS {
            self.dozes += 1;
            if self.dozes >= DOZES_BETWEEN_TRIALS {
                (self.dozes, self.limit_ns) = (0, LIMIT_MAX_NS);
            }
        }
    }

    /// Learns from one round of spinning.
    pub(crate) fn learn(&mut self, paid_off: bool) {
        let next = if paid_off { self.limit_ns.saturating_mul(2) } else { self.limit_ns / 2 };
        self.limit_ns = next.clamp(LIMIT_MIN_NS, LIMIT_MAX_NS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_success_within_its_limits() {
        let mut spin = Spin::new(true);
        (0..20).for_each(|_| spin.learn(false));
        assert_eq!(spin.limit(), Duration::from_nanos(LIMIT_MIN_NS));
        (0..20).for_each(|_| spin.learn(true));
        assert_eq!(spin.limit(), Duration::from_nanos(LIMIT_MAX_NS));
        (0..20).for_each(|_| spin.learn(false));
        spin.learn_of_sleep(Duration::from_secs(1));
        assert_eq!(spin.limit(), Duration::from_nanos(LIMIT_MIN_NS));
        spin.learn_of_sleep(Duration::from_micros(40));
        assert_eq!(spin.limit(), Duration::from_micros(80));
        assert_eq!(Spin::new(false).limit(), Duration::ZERO);
    }

    /// Two workers that answer each other: whoever sleeps needs `WAKE` to answer, whoever spins long enough nothing.
    #[test]
    fn two_that_sleep_because_the_other_does_wake_up() {
        const WAKE: Duration = Duration::from_micros(150);
        const WORK: Duration = Duration::from_micros(5);
        let (mut ours, mut theirs) = (Spin::new(true), Spin::new(true));
        for spin in [&mut ours, &mut theirs] {
            (0..20).for_each(|_| spin.learn(false));
        }
        let mut delay = (WAKE, WAKE);
        let mut rounds = 0;
        while delay != (Duration::ZERO, Duration::ZERO) {
            rounds += 1;
            assert!(rounds < 200, "both still sleep: {ours:?}, {theirs:?}");
            for _ in 0..2 {
                // The answer comes when the message has woken the other, and it has worked.
                let waited = delay.1 + WORK + WORK;
                let is_seen = waited <= ours.limit();
                ours.learn(is_seen);
                if !is_seen {
                    ours.learn_of_sleep(waited + delay.0);
                }
                delay.0 = if is_seen { Duration::ZERO } else { WAKE };
                delay = (delay.1, delay.0);
                std::mem::swap(&mut ours, &mut theirs);
            }
        }
    }

    #[test]
    fn a_long_sleep_tries_nothing() {
        let mut spin = Spin::new(true);
        (0..20).for_each(|_| spin.learn(false));
        (0..100).for_each(|_| spin.learn_of_sleep(Duration::from_millis(5)));
        assert_eq!(spin.limit(), Duration::from_nanos(LIMIT_MIN_NS));
    }
}
