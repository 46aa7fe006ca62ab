//! Finding out that a job can never go on (one node: everything it waits for is in this process).

use super::report::{RankState, RankStatus};
use super::shared::{Doing, JobShared};

impl JobShared {
    /// Every rank's state, when all ranks that are left wait for each other in MPI calls.
    ///
    /// A rank in an MPI wait is woken only by another rank. Each rank is looked at twice; if none
    /// has changed in between, there was an instant at which all of them waited, and then none can
    /// ever run again: a message in flight would have woken its receiver when it was sent.
    pub(crate) fn deadlock(&self) -> Option<Vec<RankState>> {
        if self.is_ending() || self.has_wakes_in_flight() {
            return None;
        }
        let first: Vec<u64> = self.waiting_changes()?;
        let second: Vec<u64> = self.waiting_changes()?;
        (first == second
            && !self.has_wakes_in_flight()
            && self.ranks().iter().any(|rank| rank.doing().0 != Doing::Ended))
        .then(|| self.rank_states())
    }

    /// Each rank's change counter, if every one waits in MPI or has ended.
    fn waiting_changes(&self) -> Option<Vec<u64>> {
        let mut changes = Vec::with_capacity(self.ranks().len());
        for rank in self.ranks() {
            let (doing, number) = rank.doing();
            let stuck = match doing {
                Doing::Ended => true,
                // One that was woken waits no more, even if it has not had its turn yet.
                Doing::Waiting(_) => rank.mailbox().is_waiting(),
                _ => false,
            };
            if !stuck {
                return None;
            }
            changes.push(number);
        }
        Some(changes)
    }

    /// What every rank is doing.
    pub(crate) fn rank_states(&self) -> Vec<RankState> {
        let state = |(rank, shared): (u32, &super::shared::RankShared)| {
            let status = match shared.doing().0 {
                Doing::Starting => RankStatus::Starting,
                Doing::Running => RankStatus::Running,
                Doing::Waiting(pending) => RankStatus::Waiting(pending),
                Doing::Outside(on) => RankStatus::Outside(on.map(|on| on.to_string())),
                Doing::Ended => RankStatus::Ended,
            };
            RankState { rank, status }
        };
        (0..).zip(self.ranks()).map(state).collect()
    }
}
