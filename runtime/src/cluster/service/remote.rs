//! A job at a coordinator that runs on its own, for its handle.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::message::{Ask, from_hosts};
use super::orders::{CutTold, Moves};
use super::wire::Sender;
use crate::checkpoint::{CheckpointError, Cut};
use crate::cluster::message::State;
use crate::job::{JobStatus, MoveOrder, MoveReport, Outcome, RankState, RemoteJob};

/// How long states are waited for.
const STATES_PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Remote {
    sender: Arc<Sender>,
    pub(super) states: Awaited<Vec<(State, Option<String>)>>,
    pub(super) doing: Awaited<Result<String, String>>,
    pub(super) cuts: Awaited<CutTold>,
    pub(super) moves: Awaited<Result<Moves, String>>,
}

impl Remote {
    pub(super) fn new(sender: Arc<Sender>) -> Self {
        let (states, doing, cuts, moves) = Default::default();
        Self { sender, states, doing, cuts, moves }
    }

    /// Nothing more will be told.
    pub(super) fn end(&self) {
        self.states.end();
        self.doing.end();
        self.cuts.end();
        self.moves.end();
    }
}

impl RemoteJob for Remote {
    fn end(&self, outcome: Outcome) {
        let Outcome::Killed { code } = outcome else { return };
        // The coordinator is gone, and the job with it.
        let _ = self.sender.send(&Ask::End { code });
    }

    fn rank_states(&self) -> Vec<RankState> {
        let told = self.states.ask(Some(STATES_PATIENCE), || self.sender.send(&Ask::States));
        told.map(from_hosts).unwrap_or_default()
    }

    fn status(&self, _: bool) -> Result<JobStatus, String> {
        let told = self.doing.ask(Some(STATES_PATIENCE), || self.sender.send(&Ask::Doing));
        let told = told.unwrap_or_else(|| Err("the coordinator does not answer".to_owned()))?;
        serde_json::from_str(&told).map_err(|error| error.to_string())
    }

    fn migrate(&self, order: MoveOrder) -> Result<MoveReport, String> {
        let told = self.moves.ask(None, || self.sender.send(&Ask::Move(order.into())));
        told.unwrap_or_else(|| Err("the job is ending".to_owned())).map(MoveReport::from)
    }

    fn checkpoint(&self, end: Option<i32>) -> Result<Cut, CheckpointError> {
        let told = self.cuts.ask(None, || self.sender.send(&Ask::Checkpoint { end }));
        told.map_or(Err(CheckpointError::Ending), Into::into)
    }
}

/// Answers to one kind of question, of which one is asked at a time.
#[derive(Debug)]
pub(super) struct Awaited<T> {
    turn: Mutex<()>,
    asker: Mutex<Asker<T>>,
}

#[derive(Debug)]
enum Asker<T> {
    Nobody,
    Waits(flume::Sender<T>),
    /// There will be no more answers.
    Over,
}

impl<T> Awaited<T> {
    /// Asks, and waits for the answer, which may not come.
    fn ask(&self, patience: Option<Duration>, ask: impl FnOnce() -> io::Result<()>) -> Option<T> {
        let _turn = self.turn.lock();
        let (reply, replied) = flume::bounded(1);
        {
            let mut asker = self.asker.lock();
            if matches!(*asker, Asker::Over) {
                return None;
            }
            *asker = Asker::Waits(reply);
        }
        ask().ok()?;
        match patience {
            Some(patience) => replied.recv_timeout(patience).ok(),
            None => replied.recv().ok(),
        }
    }

    /// The answer has come.
    pub(super) fn tell(&self, answer: T) {
        let mut asker = self.asker.lock();
        if let Asker::Waits(reply) = &*asker {
            // Whoever asked may have lost patience.
            let _ = reply.send(answer);
            *asker = Asker::Nobody;
        }
    }

    fn end(&self) {
        *self.asker.lock() = Asker::Over;
    }
}

impl<T> Default for Awaited<T> {
    fn default() -> Self {
        Self { turn: Mutex::new(()), asker: Mutex::new(Asker::Nobody) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_gets_the_answer_or_learns_that_there_is_none() {
        let awaited = Awaited::default();
        awaited.tell(1);
        let answered = awaited.ask(None, || {
            awaited.tell(2);
            Ok(())
        });
        assert_eq!(answered, Some(2), "not the one that nobody had asked for");
        assert_eq!(awaited.ask(Some(Duration::ZERO), || Ok(())), None);
        let over = awaited.ask(None, || {
            awaited.end();
            Ok(())
        });
        assert_eq!(over, None);
        assert_eq!(awaited.ask(None, || unreachable!("nobody is there")), None);
    }
}
