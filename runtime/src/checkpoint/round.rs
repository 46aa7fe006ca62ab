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

impl Default for Rounds {
    fn default() -> Self {
        let (ended, _) = watch::channel(0);
        Self { state: Mutex::default(), has_news: Condvar::new(), ended }
    }
}

impl Rounds {
    /// A rank leaves its state, or says why it has none that can be written, and waits until the round ends.
    pub(crate) async fn leave(&self, taken: Result<Deposit, (u32, String)>) {
        let mut ended = self.ended.subscribe();
        match taken {
            Ok(deposit) => self.state.lock().deposits.push(deposit),
            Err(refusal) => self.state.lock().refusals.push(refusal),
        }
        self.has_news.notify_all();
        // The sender lives as long as `self`.
        let _ = ended.changed().await;
    }

    /// Waits until the round that goes on now has ended.
    pub(crate) fn next_end(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.subscribe();
        async move {
            // Without rounds there is nothing to wait for.
            let _ = ended.changed().await;
        }
    }

    /// A rank cannot leave now.
    pub(crate) fn refuse(&self, rank: u32, why: String) {
        self.state.lock().refusals.push((rank, why));
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
