//! Where the threads of a rank wait that have left their stacks, until the whole rank goes on.
//!
//! The main thread speaks for the rank: it waits until all others have left in the same round, hands everything over, and
//! releases them when it may go on itself. Where it does not come in time, they go on when the round is over.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::checkpoint::{Rounds, ThreadImage};

/// Why a thread's state cannot be had, in words.
type Reason = String;

/// The camp of one rank.
#[derive(Debug)]
pub(crate) struct Camp {
    state: Mutex<State>,
    /// Told when a thread has left, or has ended.
    has_news: Notify,
    /// How often the threads were released.
    released: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    round: u64,
    /// The main thread has left in that round, and releases the others.
    main_is_here: bool,
    left: BTreeMap<u32, Result<ThreadImage, Reason>>,
}

impl State {
    /// What belongs to an earlier round is over.
    fn enter(&mut self, round: u64) {
        if self.round != round {
            *self = Self { round, ..Self::default() };
        }
    }
}

impl Default for Camp {
    fn default() -> Self {
        let (released, _) = watch::channel(0);
        Self { state: Mutex::default(), has_news: Notify::new(), released }
    }
}

impl Camp {
    /// Thread `id` has left in this round: it waits here until it may go on.
    pub(super) async fn stay(
        &self,
        rounds: &Rounds,
        (round, id): (u64, u32),
        left: Result<ThreadImage, Reason>,
    ) {
        let mut released = self.released.subscribe();
        let over = rounds.over(round);
        {
            let mut state = self.state.lock();
            if rounds.round() != round {
                return;
            }
            state.enter(round);
            state.left.insert(id, left);
        }
        self.has_news.notify_waiters();
        {
            let release = pin!(released.changed());
            if let Either::Left(_) = select(release, pin!(over)).await {
                return;
            }
        }
        let is_released_by_main = {
            let state = self.state.lock();
            state.round == round && state.main_is_here
        };
        if is_released_by_main {
            // The sender lives as long as `self`.
            let _ = released.changed().await;
        }
    }

    /// The main thread has left in this round: waits until `is_all` of those that have left, and gives what they are.
    /// `None` when the round is over before.
    pub(crate) async fn gather(
        &self,
        rounds: &Rounds,
        round: u64,
        is_all: impl Fn(&BTreeMap<u32, Result<ThreadImage, Reason>>) -> bool,
    ) -> Option<Result<Vec<ThreadImage>, Reason>> {
        let mut over = pin!(rounds.over(round));
        loop {
            // Who tells the news afterwards finds this one waiting.
            let news = pin!(self.has_news.notified());
            {
                let mut state = self.state.lock();
                if rounds.round() != round {
                    return None;
                }
                state.enter(round);
                state.main_is_here = true;
                if is_all(&state.left) {
                    return Some(std::mem::take(&mut state.left).into_values().collect());
                }
            }
            if let Either::Right(_) = select(news, over.as_mut()).await {
                return None;
            }
        }
    }

    /// A thread has ended: it need not be waited for.
    pub(super) fn has_ended(&self) {
        self.has_news.notify_waiters();
    }

    /// Lets the threads go on.
    pub(crate) fn release(&self) {
        self.released.send_modify(|times| *times += 1);
    }

    /// Waits for the next release.
    pub(super) fn next_release(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut released = self.released.subscribe();
        async move {
            // Without its rank the thread is dropped where it waits.
            let _ = released.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn image(id: u32) -> ThreadImage {
        ThreadImage { id, globals: Vec::new(), frames: Vec::new(), left_ns: None }
    }

    #[test]
    fn the_main_thread_waits_for_all_others_and_releases_them() {
        let (camp, rounds) = (Camp::default(), Rounds::default());
        let mut cx = Context::from_waker(Waker::noop());
        let round = rounds.round();
        let mut main = pin!(camp.gather(&rounds, round, |left| left.len() == 2));
        assert!(main.as_mut().poll(&mut cx).is_pending());
        let mut first = pin!(camp.stay(&rounds, (round, 1), Ok(image(1))));
        assert!(
            first.as_mut().poll(&mut cx).is_pending() && main.as_mut().poll(&mut cx).is_pending()
        );
        let mut second = pin!(camp.stay(&rounds, (round, 2), Ok(image(2))));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let all = main.as_mut().poll(&mut cx);
        assert_eq!(all, Poll::Ready(Some(Ok(vec![image(1), image(2)]))));
        rounds.end();
        assert!(first.as_mut().poll(&mut cx).is_pending(), "the main thread has not gone on");
        camp.release();
        assert!(first.as_mut().poll(&mut cx).is_ready());
        assert!(second.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn without_the_main_thread_they_go_on_when_the_round_is_over() {
        let (camp, rounds) = (Camp::default(), Rounds::default());
        let mut cx = Context::from_waker(Waker::noop());
        let round = rounds.round();
        let mut one = pin!(camp.stay(&rounds, (round, 1), Ok(image(1))));
        assert!(one.as_mut().poll(&mut cx).is_pending());
        rounds.end();
        assert!(one.as_mut().poll(&mut cx).is_ready());
        let mut late = pin!(camp.stay(&rounds, (round, 1), Ok(image(1))));
        assert!(late.as_mut().poll(&mut cx).is_ready());
        let mut main = pin!(camp.gather(&rounds, round, |_| true));
        assert_eq!(main.as_mut().poll(&mut cx), Poll::Ready(None));
        let next = rounds.round();
        let mut main = pin!(camp.gather(&rounds, next, |left| !left.is_empty()));
        assert!(main.as_mut().poll(&mut cx).is_pending(), "what was left before does not count");
        let mut bad = pin!(camp.stay(&rounds, (next, 3), Err("why".to_owned())));
        assert!(bad.as_mut().poll(&mut cx).is_pending());
        assert_eq!(main.as_mut().poll(&mut cx), Poll::Ready(Some(Err("why".to_owned()))));
    }
}
