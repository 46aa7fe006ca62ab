//! Processor time of ranks, by looking now and then which of them the workers run.
//!
//! To take the time of each turn would cost more than many turns do. So nothing is counted until somebody asks; from then
//! on, and for a while after the last question, a thread looks. What the process has used between two looks is shared
//! among those that are running.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::shared::JobShared;
use crate::scheduler::{Turn, process_time};

/// Time between two looks, at least; it varies, lest the looks keep step with the program.
const INTERVAL: Duration = Duration::from_millis(8);
/// The same for each rank of the node: looking costs about a thousandth of that.
const INTERVAL_OF_RANK: Duration = Duration::from_micros(20);
/// Time between two looks, at most.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// How long it is looked after somebody has asked.
const WATCH_TIME: Duration = Duration::from_secs(30);

/// See the module's documentation. It outlives the lives of its job.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The job's lives, the latest at the end; that one may not come to be.
    lives: Vec<Weak<JobShared>>,
    counted: BTreeMap<u32, Counted>,
    until: Option<Instant>,
    is_looking: bool,
}

/// What a rank has used.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// Processor time.
    pub(crate) busy_ns: u64,
    /// Time of running, or of waiting for a worker.
    pub(crate) ready_ns: u64,
}

/// How many fibers of a rank run, and how many could.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(crate) struct Turns {
    pub(crate) running: u32,
    pub(crate) queued: u32,
}

impl Turns {
    /// Adds a fiber.
    pub(crate) const fn add(&mut self, turn: Turn) {
        match turn {
            Turn::Running => self.running += 1,
            Turn::Queued => self.queued += 1,
            Turn::Waiting => {}
        }
    }
}

impl Sampler {
    /// The job may go on in this life.
    pub(crate) fn follow(&self, job: &Arc<JobShared>) {
        let mut state = self.state.lock();
        state.lives.retain(|life| life.strong_count() > 0);
        state.lives.push(Arc::downgrade(job));
    }

    /// Somebody has asked.
    pub(crate) fn watch(self: &Arc<Self>, job: &Arc<JobShared>) {
        let mut state = self.state.lock();
        state.until = Some(Instant::now() + WATCH_TIME);
        if std::mem::replace(&mut state.is_looking, true) {
            return;
        }
        let is_known = state.lives.iter().any(|life| std::ptr::eq(life.as_ptr(), Arc::as_ptr(job)));
        if !is_known {
            state.lives.push(Arc::downgrade(job));
        }
        drop(state);
        let sampler = self.clone();
        let look = move || sampler.look_on();
        if let Err(error) = std::thread::Builder::new().name("faasm-watch".to_owned()).spawn(look) {
            tracing::warn!(%error, "no thread can be had to watch the ranks; check `ulimit -u`");
            self.state.lock().is_looking = false;
        }
    }

    /// What has been counted so far, also of ranks that have gone.
    pub(crate) fn counted(&self) -> BTreeMap<u32, Counted> {
        self.state.lock().counted.clone()
    }

    /// Looks until nobody has asked for long, or the job is gone.
    fn look_on(&self) {
        let mut seed = u64::from(std::process::id());
        let mut pause = INTERVAL;
        let (mut at, mut used) = (Instant::now(), process_time());
        loop {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(pause.mul_f64(0.5 + (seed >> 40) as f64 / (1_u64 << 24) as f64));
            let (now, now_used) = (Instant::now(), process_time());
            let mut state = self.state.lock();
            let job = state.lives.iter().rev().find_map(Weak::upgrade);
            let Some(job) = job.filter(|_| state.until.is_some_and(|until| now < until)) else {
                state.is_looking = false;
                drop(state);
                return self.forget_partners();
            };
            let ranks: Vec<(u32, Turns)> =
                job.local_ranks().map(|rank| (rank, job.rank(rank).turns())).collect();
            share(&mut state.counted, &ranks, (now - at, now_used.saturating_sub(used)));
            drop(state);
            pause = (INTERVAL_OF_RANK * ranks.len() as u32).clamp(INTERVAL, INTERVAL_MAX);
            (at, used) = (now, now_used);
        }
    }

    /// Nobody wants to know any more who sends to whom.
    fn forget_partners(&self) {
        let lives: Vec<_> = self.state.lock().lives.iter().filter_map(Weak::upgrade).collect();
        lives.iter().for_each(|job| job.set_counts_partners(false));
    }
}

/// Shares what the process has used since the last look among the ranks that run now.
fn share(
    counted: &mut BTreeMap<u32, Counted>,
    ranks: &[(u32, Turns)],
    (elapsed, used): (Duration, Duration),
) {
    let running: u32 = ranks.iter().map(|(_, turns)| turns.running).sum();
    let each = (used / running.max(1)).min(elapsed).as_nanos() as u64;
    for (rank, turns) in ranks.iter().filter(|(_, turns)| *turns != Turns::default()) {
        let counted = counted.entry(*rank).or_default();
        counted.busy_ns += each * u64::from(turns.running);
        counted.ready_ns += elapsed.as_nanos() as u64 * u64::from(turns.running + turns.queued);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn turns(running: u32, queued: u32) -> Turns {
        Turns { running, queued }
    }

    #[test]
    fn what_was_used_is_shared_among_those_that_run() {
        let mut counted = BTreeMap::new();
        let ms = Duration::from_millis;
        let ranks = [(0, turns(1, 0)), (1, turns(1, 0)), (2, turns(0, 1)), (3, turns(0, 0))];
        share(&mut counted, &ranks, (ms(10), ms(16)));
        assert_eq!(counted[&0], Counted { busy_ns: 8 * MS, ready_ns: 10 * MS });
        assert_eq!(counted[&1], counted[&0]);
        assert_eq!(counted[&2], Counted { busy_ns: 0, ready_ns: 10 * MS });
        assert!(!counted.contains_key(&3), "who waits has used nothing");
    }

    #[test]
    fn nobody_uses_more_than_there_is() {
        let mut counted = BTreeMap::new();
        let ms = Duration::from_millis;
        share(&mut counted, &[(0, turns(1, 0))], (ms(10), ms(16)));
        assert_eq!(counted[&0].busy_ns, 10 * MS);
        share(&mut counted, &[(1, turns(2, 1))], (ms(10), ms(16)));
        assert_eq!(counted[&1], Counted { busy_ns: 16 * MS, ready_ns: 30 * MS }, "its threads");
        share(&mut counted, &[(0, turns(0, 0))], (ms(10), ms(16)));
        assert_eq!(counted[&0].busy_ns, 10 * MS, "it was somebody else");
    }
}
