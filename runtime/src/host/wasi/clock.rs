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
    Ok(now_ns(clock))
}

/// What `clock` shows.
pub(crate) fn now_ns(clock: ClockId) -> u64 {
    nanoseconds(rustix::time::clock_gettime(host_clock(clock)))
}

/// Time from now to the end of a timer.
pub(crate) fn remaining(clock: u32, timeout_ns: u64, absolute: bool) -> Result<Duration, Errno> {
    let left_ns = match ClockId::from_raw(clock)? {
        ClockId::ProcessCpu | ClockId::ThreadCpu => return Err(Errno::Notsup),
        clock if absolute => timeout_ns.saturating_sub(now_ns(clock)),
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
        let soon = now_ns(ClockId::Monotonic) + 5_000_000_000;
        let left = remaining(1, soon, true).expect("a timer");
        assert!(left > Duration::from_secs(4) && left <= Duration::from_secs(5), "{left:?}");
        assert_eq!(remaining(0, 1, true), Ok(Duration::ZERO), "the past");
        assert_eq!(remaining(2, 1, false), Err(Errno::Notsup));
    }
}
