//! How long an idle worker watches its queues before it sleeps.

use std::time::Duration;

/// An adaptive bound: spinning that paid off may last longer next time, futile spinning less.
#[derive(Debug)]
pub(crate) struct Spin {
    limit_ns: u64,
    enabled: bool,
}

const LIMIT_MIN_NS: u64 = 2_000;
const LIMIT_MAX_NS: u64 = 200_000;

impl Spin {
    /// `enabled` is false where more workers than cores compete: there spinning only takes time away.
    pub(crate) const fn new(enabled: bool) -> Self {
        Self { limit_ns: 50_000, enabled }
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
}
