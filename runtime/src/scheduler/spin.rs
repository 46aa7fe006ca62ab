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
        assert_eq!(Spin::new(false).limit(), Duration::ZERO);
    }
}
