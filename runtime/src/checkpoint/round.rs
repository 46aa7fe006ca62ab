//! Where the ranks of a job leave their state when they have been asked to leave, and wait until they may go on.

use std::time::{Duration, Instant};

use faasm_vm::GuestMemory;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::image::RankImage;

/// What a rank left behind. Nothing changes in its memory until the round ends.
#[derive(Debug)]
pub(crate) struct Deposit {
    pub(crate) rank: u32,
    pub(crate) image: RankImage,
    pub(crate) memory: GuestMemory,
    /// Ranks that have to be on one node, as far as this one tells of them.
    pub(crate) bonds: Vec<Vec<u32>>,
}

/// What came of asking all ranks to leave.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// All of them did.
    All(Vec<Deposit>),
    /// Some cannot, and say why.
    Refused(Vec<(u32, String)>),
}

/// The rounds of one job, one after the other.
#[derive(Debug)]
pub(crate) struct Rounds {
    state: Mutex<State>,
    has_news: Condvar,
    /// Number of rounds that have ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    deposits: Vec<Deposit>,
    refusals: Vec<(u32, String)>,
}

impl State {
    /// Each rank counts once.
    fn refuse(&mut self, (rank, why): (u32, String)) {
        self.refusals.retain(|(other, _)| *other != rank);
        self.refusals.push((rank, why));
    }
}

impl Default for Rounds {
    fn default() -> Self {
        let (ended, _) = watch::channel(0);
        Self { state: Mutex::default(), has_news: Condvar::new(), ended }
    }
}

impl Rounds {
    /// A rank that was told to leave in this round leaves its state, or says why it has none that can be written, and
    /// waits until the round ends.
    pub(crate) async fn leave(&self, round: u64, taken: Result<Deposit, (u32, String)>) {
        let mut ended = self.ended.subscribe();
        if !self.deposit(round, taken) {
            return;
        }
        // The sender lives as long as `self`.
        let _ = ended.changed().await;
    }

    /// Keeps what a rank has left; false when its round is over, so that nobody will end it.
    fn deposit(&self, round: u64, taken: Result<Deposit, (u32, String)>) -> bool {
        let mut state = self.state.lock();
        if self.round() != round {
            return false;
        }
        match taken {
            Ok(deposit) => {
                // It could not leave at first.
                state.refusals.retain(|(rank, _)| *rank != deposit.rank);
                state.deposits.push(deposit);
            }
            Err(refusal) => state.refuse(refusal),
        }
        drop(state);
        self.has_news.notify_all();
        true
    }

    /// Waits until the round that goes on now has ended.
    pub(crate) fn next_end(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.subscribe();
        async move {
            // Without rounds there is nothing to wait for.
            let _ = ended.changed().await;
        }
    }

    /// Waits until the round with this number is over.
    pub(crate) fn over(&self, round: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.subscribe();
        async move {
            // Without rounds there is nothing to wait for.
            let _ = ended.wait_for(|ended| *ended != round).await;
        }
    }

    /// A rank cannot leave now.
    pub(crate) fn refuse(&self, rank: u32, why: String) {
        self.state.lock().refuse((rank, why));
        self.has_news.notify_all();
    }

    /// Waits until `ranks` ranks have left or refused; `None` when that takes longer than `limit`.
    pub(crate) fn gather(&self, ranks: usize, limit: Duration) -> Option<Gathered> {
        self.gather_in(self.round(), ranks, limit)
    }

    /// Number of the round that goes on now.
    pub(crate) fn round(&self) -> u64 {
        *self.ended.borrow()
    }

    /// As [`Rounds::gather`]; `None` also when the round with this number is over.
    pub(crate) fn gather_in(&self, round: u64, ranks: usize, limit: Duration) -> Option<Gathered> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while state.deposits.len() + state.refusals.len() < ranks {
            if self.round() != round || self.has_news.wait_until(&mut state, deadline).timed_out() {
                return None;
            }
        }
        if self.round() != round {
            return None;
        }
        let State { mut deposits, refusals } = std::mem::take(&mut *state);
        if !refusals.is_empty() {
            return Some(Gathered::Refused(refusals));
        }
        deposits.sort_unstable_by_key(|deposit| deposit.rank);
        Some(Gathered::All(deposits))
    }

    /// Lets those go on that have left.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        *state = State::default();
        self.ended.send_modify(|rounds| *rounds += 1);
        self.has_news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const NO_TIME: Duration = Duration::ZERO;

    fn refusal(rank: u32) -> Result<Deposit, (u32, String)> {
        Err((rank, format!("of {rank}")))
    }

    #[test]
    fn a_rank_that_comes_when_its_round_is_over_does_not_wait_for_the_next_end() {
        let rounds = Rounds::default();
        let mut context = Context::from_waker(Waker::noop());
        let round = rounds.round();
        let mut early = pin!(rounds.leave(round, refusal(0)));
        assert_eq!(early.as_mut().poll(&mut context), Poll::Pending);
        assert!(rounds.gather_in(round, 2, NO_TIME).is_none(), "one is missing");
        rounds.end();
        assert_eq!(early.as_mut().poll(&mut context), Poll::Ready(()));
        let mut late = pin!(rounds.leave(round, refusal(1)));
        assert_eq!(late.as_mut().poll(&mut context), Poll::Ready(()));
        assert!(rounds.gather(1, NO_TIME).is_none(), "it does not count in the next round");
    }

    #[test]
    fn a_rank_counts_once_however_often_it_refuses() {
        let rounds = Rounds::default();
        rounds.refuse(3, "now".to_owned());
        rounds.refuse(3, "again".to_owned());
        assert!(rounds.gather(2, NO_TIME).is_none());
        rounds.refuse(1, "too".to_owned());
        let Some(Gathered::Refused(why)) = rounds.gather(2, NO_TIME) else { panic!("both have") };
        assert_eq!(why.len(), 2);
    }
}
