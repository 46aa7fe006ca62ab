//! A node's part in a move before the job is stopped: instances are made for ranks that come, and the memory of ranks that
//! leave is sent while they run, in rounds, each of which sends what was written during the one before, until little is
//! left or it does not become less. From then on it is kept little until the job stands still.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_vm::GuestMemory;
use parking_lot::Mutex;

use crate::cluster::stop::MoveTask;
use crate::job::{Arrival, Courier, Hurry, JobShared};
use crate::launch::Cradle;

/// How long sending most of it may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How long a rank that has just been started may take until it has a memory.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(2);
/// So much is sent quickly when all ranks wait.
const LITTLE_BYTES: u64 = 256 << 10;
/// Most rounds until little is left.
const ROUNDS_MAX: u32 = 30;
/// After so many rounds that did not leave less than the one before, it does not become less.
const VAIN_ROUNDS_MAX: u32 = 3;
/// Shortest rest between two rounds when little is left.
const REST_MIN: Duration = Duration::from_millis(5);
/// Such a rest is so many times as long as the round before it.
const RESTS_A_ROUND: u32 = 8;

/// What has been done of a move. Instances that wait for ranks go when this is dropped.
#[derive(Debug)]
pub(super) struct Ahead {
    number: u32,
    arrivals: Vec<Arc<Arrival>>,
    couriers: Mutex<Vec<Courier>>,
    hurry: Hurry,
}

impl Ahead {
    /// Begins a move of ranks of this job, while they run; moves had ended `ended` times when that was ordered.
    ///
    /// # Errors
    /// Why it has to wait until they have stopped, in words.
    pub(super) fn new(
        job: &Arc<JobShared>,
        cradle: &Cradle,
        task: &MoveTask,
        ended: u64,
    ) -> Result<Self, String> {
        let nodes: Box<[u32]> = task.places().collect();
        let draft = job.draft(nodes)?;
        let (number, this) = (task.number, job.world());
        let mut new = Self {
            number,
            arrivals: Vec::new(),
            couriers: Mutex::default(),
            hurry: Hurry::default(),
        };
        for rank in draft.local_ranks().filter(|rank| !this.is_local(*rank)) {
            let arrival = job.expect_rank(rank, this.node(rank), number);
            new.arrivals.push(arrival.clone());
            cradle.begin(arrival, &draft)?;
        }
        let leaving = job.local_ranks().filter(|rank| !draft.world().is_local(*rank));
        for rank in leaving {
            let memory = begun(job, rank).ok_or("a rank has not begun")?;
            let to = (draft.world().node(rank), number);
            new.couriers.get_mut().push(Courier::new(job.clone(), (rank, memory), to, ended));
        }
        Ok(new)
    }

    /// Which move it is.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// What waits for this rank.
    pub(super) fn arrival(&self, rank: u32) -> Option<Arc<Arrival>> {
        self.arrivals.iter().find(|arrival| arrival.rank() == rank).cloned()
    }

    /// The ranks have stopped: who takes what is left of those that leave.
    pub(super) fn couriers(&self) -> Vec<Courier> {
        self.hurry.begin();
        std::mem::take(&mut self.couriers.lock())
    }

    /// Nothing comes of the move.
    pub(super) fn end(&self) {
        drop(self.couriers());
        self.arrivals.iter().for_each(|arrival| arrival.give_up());
    }

    /// Sends what the ranks that leave have in their memories, until little is left.
    ///
    /// # Errors
    /// The other nodes do not take it, or the move was given up, in words.
    pub(super) fn send_most(&self) -> Result<(), String> {
        let deadline = Instant::now() + TIME_MAX;
        let mut couriers = self.couriers.lock();
        couriers.iter_mut().try_for_each(|courier| courier.follow(deadline))?;
        let mut trend = Trend::default();
        while !trend.ends(self.round(&mut couriers, deadline)?) {}
        Ok(())
    }

    /// Keeps little left until the ranks have stopped.
    pub(super) fn go_on(&self) {
        loop {
            let begun = Instant::now();
            let mut couriers = self.couriers.lock();
            if couriers.is_empty() || self.hurry.is_on() {
                return;
            }
            if let Err(why) = self.round(&mut couriers, begun + TIME_MAX) {
                // It is found out when the ranks have stopped.
                return tracing::debug!("a move is begun in vain: {why}");
            }
            drop(couriers);
            self.hurry.rest((begun.elapsed() * RESTS_A_ROUND).max(REST_MIN));
        }
    }

    /// Sends what was written since the last round; gives the bytes.
    fn round(&self, couriers: &mut [Courier], deadline: Instant) -> Result<u64, String> {
        let mut bytes = 0;
        for courier in couriers {
            let round = courier.round(&self.hurry, deadline)?;
            bytes += round.bytes;
            if !round.is_whole {
                break;
            }
        }
        Ok(bytes)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.end();
    }
}

/// The memory of a rank of this node, which may only just be beginning; `None` if it does not.
fn begun(job: &JobShared, rank: u32) -> Option<GuestMemory> {
    let deadline = Instant::now() + BEGIN_TIME_MAX;
    loop {
        let memory = job.rank(rank).memory().cloned();
        if memory.is_some() || job.is_ending() || Instant::now() > deadline {
            return memory;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether rounds are of use.
#[derive(Debug, Default)]
struct Trend {
    rounds: u32,
    vain: u32,
    least: Option<u64>,
}

impl Trend {
    /// A round has sent so many bytes: whether it was the last one.
    fn ends(&mut self, bytes: u64) -> bool {
        self.rounds += 1;
        if self.least.is_some_and(|least| bytes >= least) {
            self.vain += 1;
        }
        self.least = Some(self.least.map_or(bytes, |least| least.min(bytes)));
        bytes <= LITTLE_BYTES || self.vain == VAIN_ROUNDS_MAX || self.rounds == ROUNDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(bytes: &[u64]) -> usize {
        let mut trend = Trend::default();
        bytes.iter().take_while(|bytes| !trend.ends(**bytes)).count() + 1
    }

    #[test]
    fn rounds_end_when_little_is_left_or_it_does_not_become_less() {
        assert_eq!(rounds(&[1 << 30, 10 << 20, 100 << 10, 0]), 3);
        assert_eq!(rounds(&[100 << 10, 0]), 1);
        assert_eq!(rounds(&[9 << 20; 50]), 4, "a rank that writes as fast as that is sent");
        let slower: Vec<u64> = (1..100).map(|left| (1 << 30) - left).collect();
        assert_eq!(rounds(&slower), ROUNDS_MAX as usize);
    }
}
