//! Finding out that a job can never go on.
//!
//! On one node everything that a rank waits for is in this process. Over several nodes messages may
//! be on their way: each node tells whether all its ranks wait and how many messages it has sent to
//! and handled from others, and two rounds of that tell whether anything can still happen
//! ([`is_stuck`], the four-counter method).

use faasm_mpi_shim::gate::Cut;

use super::report::{RankState, RankStatus};
use super::shared::{Doing, JobShared, RankShared};

impl JobShared {
    /// Every rank's state, when all ranks that are left wait for each other in MPI calls.
    ///
    /// A rank in an MPI wait is woken only by another rank. Each rank is looked at twice; if none
    /// has changed in between, there was an instant at which all of them waited, and then none can
    /// ever run again: a message in flight would have woken its receiver when it was sent.
    pub(crate) fn deadlock(&self) -> Option<Vec<RankState>> {
        if self.far().is_some() {
            return None;
        }
        let (_, waiting) = self.gate().while_open(|| self.standstill())?;
        (waiting > 0).then(|| self.rank_states())
    }

    /// What this node contributes to the search for a deadlock over several nodes; `None` while
    /// something goes on here.
    pub(crate) fn quiet(&self) -> Option<Quiet> {
        let far = self.far()?;
        let received = far.links.received();
        let (changes, waiting) = self.standstill()?;
        (!self.outgoing().lock().is_busy()).then(|| Quiet {
            sent: far.links.sent(),
            received,
            changes,
            waiting,
        })
    }

    /// Whether every rank of this node that is left waits in MPI, so that only an order from outside can change
    /// anything.
    pub(super) fn stands_still(&self) -> bool {
        self.standstill().is_some_and(|(_, waiting)| waiting > 0)
    }

    /// The sum of all change counters and the number of ranks that wait, if there was an instant at
    /// which every rank of this node waited in MPI or had ended.
    fn standstill(&self) -> Option<(u64, u32)> {
        if self.is_ending() || self.has_wakes_in_flight() {
            return None;
        }
        let first: Vec<u64> = self.waiting_changes()?;
        let second: Vec<u64> = self.waiting_changes()?;
        if first != second || self.has_wakes_in_flight() {
            return None;
        }
        let waits = |rank: &u32| self.rank(*rank).doing().0 != Doing::Ended;
        Some((first.iter().sum(), self.local_ranks().filter(waits).count() as u32))
    }

    /// Each local rank's change counter, if every one waits in MPI or has ended.
    fn waiting_changes(&self) -> Option<Vec<u64>> {
        self.local_ranks().map(|rank| self.changes_of_waiting(self.rank(rank))).collect()
    }

    /// Whether this rank of the node waits in MPI, or has ended.
    pub(super) fn waits(&self, rank: u32) -> bool {
        self.changes_of_waiting(self.rank(rank)).is_some()
    }

    /// The rank's change counter, if it waits in MPI or has ended.
    fn changes_of_waiting(&self, rank: &RankShared) -> Option<u64> {
        let (doing, number) = rank.doing();
        let stuck = match doing {
            Doing::Ended => true,
            // One that was woken waits no more, even if it has not had its turn yet.
            Doing::Waiting(_) => rank.mailbox().is_waiting(),
            _ => false,
        };
        let (of_threads, main_waits) = match rank.threads() {
            Some(threads) if doing != Doing::Ended => {
                // What a thread could do with them would come after the cut.
                if self.gate().cut() != Cut::Open && threads.seat.has_mail() {
                    return None;
                }
                threads.standstill()?
            }
            _ => (0, false),
        };
        (stuck || main_waits).then_some(number + of_threads)
    }

    /// What every rank is doing.
    pub(crate) fn rank_states(&self) -> Vec<RankState> {
        self.ranks().map(|(rank, shared)| state_of(rank, shared)).collect()
    }
}

/// What a rank is doing.
pub(super) fn state_of(rank: u32, shared: &RankShared) -> RankState {
    let status = match shared.doing().0 {
        Doing::Starting => RankStatus::Starting,
        Doing::Running => RankStatus::Running,
        Doing::Waiting(pending) => RankStatus::Waiting(pending),
        Doing::Outside(on) => RankStatus::Outside(on.map(|on| on.to_string())),
        Doing::Ended => RankStatus::Ended,
    };
    let status = match shared.threads().and_then(|t| t.describe(status.in_words())) {
        Some(text) if status != RankStatus::Ended => RankStatus::Outside(Some(text)),
        _ => status,
    };
    RankState { rank, status, host: None }
}

/// A node at which all ranks waited at some instant.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Quiet {
    /// Messages it had sent to other nodes.
    pub(crate) sent: u64,
    /// Messages of other nodes that it had handled.
    pub(crate) received: u64,
    /// Changes of its ranks' states so far.
    pub(crate) changes: u64,
    /// Ranks that wait.
    pub(crate) waiting: u32,
}

/// Whether a job over several nodes can never go on, by two rounds of asking every node; the second
/// begins when all answers of the first are there.
///
/// If every node was quiet in both rounds and nothing changed in between, there was an instant,
/// between the rounds, at which all were quiet. If then as many messages had been handled as sent,
/// none was on its way, and nothing can ever wake a rank again.
pub(crate) fn is_stuck(first: &[Option<Quiet>], second: &[Option<Quiet>]) -> bool {
    let sum = |count: fn(&Quiet) -> u64| first.iter().flatten().map(count).sum::<u64>();
    first.iter().all(Option::is_some)
        && first == second
        && sum(|node| node.sent) == sum(|node| node.received)
        && sum(|node| u64::from(node.waiting)) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(sent: u64, received: u64, changes: u64, waiting: u32) -> Option<Quiet> {
        Some(Quiet { sent, received, changes, waiting })
    }

    #[test]
    fn a_job_is_stuck_when_nothing_moves_and_nothing_is_on_its_way() {
        let nodes = [quiet(3, 1, 40, 2), quiet(1, 3, 7, 1)];
        assert!(is_stuck(&nodes, &nodes));
        let on_its_way = [quiet(3, 1, 40, 2), quiet(1, 2, 7, 1)];
        assert!(!is_stuck(&on_its_way, &on_its_way));
        assert!(!is_stuck(&on_its_way, &nodes), "a message arrived between the rounds");
        assert!(!is_stuck(&[nodes[0], None], &nodes));
        assert!(!is_stuck(&nodes, &[nodes[0], None]));
        assert!(!is_stuck(&nodes, &nodes[..1]));
        let moved = [nodes[0], quiet(1, 3, 9, 1)];
        assert!(!is_stuck(&nodes, &moved));
        let ended = [quiet(2, 2, 9, 0), quiet(2, 2, 9, 0)];
        assert!(!is_stuck(&ended, &ended), "a job whose ranks have all ended is over, not stuck");
        assert!(!is_stuck(&[], &[]));
    }
}
