//! Clocks.

use std::time::Duration;

use rustix::time::{ClockId as HostClock, Timespec};

use super::ctx::WasiCtx;
use super::errno::Errno;
use super::types::{ClockId, timestamp_ns};

const fn host_clock(clock: ClockId) -> HostClock {
    match clock {
        ClockId::Realtime => HostClock::Realtime,
        ClockId::Monotonic => HostClock::Monotonic,
        // A rank is its own process and its only thread.
        ClockId::ProcessCpu | ClockId::ThreadCpu => HostClock::ProcessCPUTime,
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    timestamp_ns(time.tv_sec, time.tv_nsec)
}

/// `clock_res_get`.
pub(crate) fn resolution_ns(clock: u32) -> Result<u64, Errno> {
    Ok(nanoseconds(rustix::time::clock_getres(host_clock(ClockId::from_raw(clock)?))).max(1))
}

/// `clock_time_get`.
pub(crate) fn time_ns(ctx: &WasiCtx, clock: u32) -> Result<u64, Errno> {
    let clock = ClockId::from_raw(clock)?;
    if matches!(clock, ClockId::ProcessCpu | ClockId::ThreadCpu)
        && let Some(used) = ctx.hooks.cpu_time()
    {
        return u64::try_from(used.as_nanos()).map_err(|_| Errno::Overflow);
    }
    Ok(ctx.now_ns(clock))
}

/// What the host's `clock` shows.
fn host_now_ns(clock: ClockId) -> u64 {
    nanoseconds(rustix::time::clock_gettime(host_clock(clock)))
}

impl WasiCtx {
    /// What `clock` shows. The monotonic clock of a rank that was put back goes on where it stood.
    pub(super) fn now_ns(&self, clock: ClockId) -> u64 {
        let now = host_now_ns(clock);
        if clock == ClockId::Monotonic { now.wrapping_add(self.monotonic_shift_ns) } else { now }
    }

    /// Lets the monotonic clock go on from `ns`.
    pub(super) fn resume_monotonic(&mut self, ns: u64) {
        self.monotonic_shift_ns = ns.wrapping_sub(host_now_ns(ClockId::Monotonic));
    }
}

/// Time from now to the end of a timer.
pub(crate) fn remaining(
    ctx: &WasiCtx,
    clock: u32,
    timeout_ns: u64,
    absolute: bool,
) -> Result<Duration, Errno> {
    let left_ns = match ClockId::from_raw(clock)? {
        ClockId::ProcessCpu | ClockId::ThreadCpu => return Err(Errno::Notsup),
        clock if absolute => timeout_ns.saturating_sub(ctx.now_ns(clock)),
        ClockId::Realtime | ClockId::Monotonic => timeout_ns,
    };
    Ok(Duration::from_nanos(left_ns))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rig;
    use super::*;

    #[test]
    fn clocks_go_forward_and_have_a_resolution() {
        let rig = Rig::new();
        for clock in 0..4 {
            let first = time_ns(&rig.ctx, clock).expect("a clock");
            let second = time_ns(&rig.ctx, clock).expect("a clock");
            assert!(first > 0 && second >= first, "clock {clock}");
            assert!((1..=10_000_000).contains(&resolution_ns(clock).expect("a clock")));
        }
        assert_eq!(time_ns(&rig.ctx, 4), Err(Errno::Inval));
        assert_eq!(resolution_ns(9), Err(Errno::Inval));
    }

    #[test]
    fn absolute_timers_count_from_their_clock() {
        let mut rig = Rig::new();
        for resumed in [false, true] {
            if resumed {
                rig.ctx.resume_monotonic(7);
            }
            let soon = rig.ctx.now_ns(ClockId::Monotonic) + 5_000_000_000;
            let left = remaining(&rig.ctx, 1, soon, true).expect("a timer");
            assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(5), "{left:?}");
        }
        assert_eq!(remaining(&rig.ctx, 0, 1, true), Ok(Duration::ZERO), "the past");
        assert_eq!(remaining(&rig.ctx, 2, 1, false), Err(Errno::Notsup));
    }
}
