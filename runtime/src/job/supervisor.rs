//! The supervisor of a job: an actor to which its ranks are linked.
//!
//! Each rank's end is a message. The first failure ends all other ranks, as mpirun does, unless the
//! rank had left MPI in order, so that nobody can wait for it; the last end completes the report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message};

use super::handle::RankEvent;
use super::report::{JobReport, Outcome};
use super::shared::{Doing, JobShared};
use crate::faaslet::RankExit;

/// How long ranks that compute may go on after their job was ended.
const GRACE: Duration = Duration::from_millis(200);

/// A rank has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct RankExited {
    pub(crate) rank: u32,
    pub(crate) exit: RankExit,
}

/// Processes were spawned; their tasks are set and run after this message was sent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Born {
    pub(crate) ranks: Vec<u32>,
}

/// The job goes on in another life, with other ranks here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Renewed {
    pub(crate) shared: Arc<JobShared>,
}

/// The job is to end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
}

/// The ranks that compute have had their time.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct GiveUp;

/// The supervisor of one job, or of this node's part of one: other nodes' ranks are not its concern.
#[derive(Debug)]
pub(crate) struct Supervisor {
    shared: Arc<JobShared>,
    started: Instant,
    timeout: Option<Duration>,
    /// It does not end with its last rank, but when it is told to.
    stays_open: bool,
    exits: Vec<Option<RankExit>>,
    running: usize,
    outcome: Option<Outcome>,
    /// A rank that ended in order but with an exit code that is not zero.
    first_failed: Option<u32>,
    /// Ranks that failed and without which the job went on.
    lost: Vec<u32>,
    events: flume::Sender<RankEvent>,
    report: flume::Sender<Arc<JobReport>>,
    reported: bool,
}

impl Supervisor {
    pub(crate) fn new(
        shared: Arc<JobShared>,
        (timeout, stays_open): (Option<Duration>, bool),
        events: flume::Sender<RankEvent>,
        report: flume::Sender<Arc<JobReport>>,
    ) -> Self {
        let mut exits = vec![Some(RankExit::Killed); shared.world().known() as usize];
        let mut running = 0;
        for rank in shared.local_ranks() {
            exits[rank as usize] = None;
            running += 1;
        }
        Self {
            started: shared.started(),
            shared,
            timeout,
            stays_open,
            exits,
            running,
            outcome: None,
            first_failed: None,
            lost: Vec::new(),
            events,
            report,
            reported: false,
        }
    }

    /// Ends all ranks that are left.
    fn end(&mut self, outcome: Outcome, context: &mut Context<Self>) {
        if self.outcome.is_some() || self.reported {
            return;
        }
        self.outcome = Some(outcome);
        self.shared.set_ending();
        let shared = self.shared.clone();
        for rank in shared.local_ranks() {
            if let Some(threads) = shared.rank(rank).threads() {
                threads.end();
            }
            let gone = shared.rank(rank).task().is_none_or(|task| task.cancel());
            if gone && self.slot(rank).is_none() {
                self.ended(rank, RankExit::Killed);
            }
        }
        if self.running > 0 {
            context.notify_later(GiveUp, GRACE);
        }
        self.finish_if_done();
    }

    /// How a rank has ended, if it has. A number without a rank of this node counts as ended.
    fn slot(&mut self, rank: u32) -> &mut Option<RankExit> {
        let index = rank as usize;
        if index >= self.exits.len() {
            self.exits.resize(index + 1, Some(RankExit::Completed { code: 0 }));
        }
        &mut self.exits[index]
    }

    fn ended(&mut self, rank: u32, exit: RankExit) {
        let slot = self.slot(rank);
        if slot.is_some() {
            return;
        }
        *slot = Some(exit.clone());
        self.running -= 1;
        if let RankExit::Completed { code } = exit {
            self.shared.rank(rank).set_code(code);
        }
        self.shared.rank(rank).end();
        // Nobody has to listen.
        let _ = self.events.send(RankEvent { rank, exit });
    }

    fn finish_if_done(&mut self) {
        if self.running == 0 && (self.outcome.is_some() || !self.stays_open) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let (messages, bytes) = self.shared.traffic();
        let ranks = self.exits.iter().map(|exit| exit.clone().unwrap_or(RankExit::Killed));
        let report = JobReport {
            outcome: self
                .outcome
                .take()
                .unwrap_or_else(|| outcome_of_all(&self.exits, self.first_failed, &self.lost)),
            ranks: ranks.collect(),
            wall: self.started.elapsed(),
            messages,
            bytes,
            left_running: u32::try_from(self.running).unwrap_or(u32::MAX),
            nodes: 1,
            hosts: Vec::new(),
        };
        // The handle may be gone.
        let _ = self.report.send(Arc::new(report));
    }
}

/// How a job has ended whose ranks have all ended by themselves: well, if none of those that were left returned a
/// code and somebody was left at all.
pub(crate) fn outcome_of_all(
    exits: &[Option<RankExit>],
    first_failed: Option<u32>,
    lost: &[u32],
) -> Outcome {
    let is_somebody_left = lost.is_empty()
        || exits.iter().any(|exit| matches!(exit, Some(RankExit::Completed { code: 0 })));
    match first_failed.or_else(|| lost.first().copied().filter(|_| !is_somebody_left)) {
        Some(rank) => Outcome::RankFailed { rank },
        None => Outcome::Success,
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(timeout) = self.timeout {
            context.run_later(timeout, |supervisor, context| {
                let states = supervisor.shared.rank_states();
                supervisor.end(Outcome::TimedOut { states }, context);
            });
        }
    }
}

impl Handler<RankExited> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: RankExited, context: &mut Self::Context) {
        let RankExited { rank, exit } = message;
        let (failed, dooms) = (exit.is_failure(), exit.dooms_job());
        let goes_on = exit.is_survivable() && self.shared.world().is_tolerant();
        let goes_on = goes_on && self.outcome.is_none();
        // Both come before the rank counts as ended: those that wait for it would look as if they waited for ever.
        if goes_on {
            self.lost.push(rank);
            self.shared.lose_rank(rank);
        } else if dooms {
            self.shared.set_ending();
        }
        self.ended(rank, exit);
        if dooms && !goes_on {
            self.end(Outcome::RankFailed { rank }, context);
        } else if failed && !goes_on {
            self.first_failed.get_or_insert(rank);
        }
        self.finish_if_done();
    }
}

impl Handler<Born> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: Born, _: &mut Self::Context) {
        let is_over = self.outcome.is_some() || self.reported;
        for rank in message.ranks {
            *self.slot(rank) = None;
            self.running += 1;
            // The job was ended while the program was loaded.
            if is_over && self.shared.rank(rank).task().is_none_or(|task| task.cancel()) {
                self.ended(rank, RankExit::Killed);
            }
        }
        self.finish_if_done();
    }
}

impl Handler<Renewed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: Renewed, context: &mut Self::Context) {
        let Renewed { shared } = message;
        for rank in 0..shared.world().known() {
            let (was_here, is_here) =
                (self.shared.world().is_local(rank), shared.world().is_local(rank));
            let slot = self.slot(rank);
            match (was_here, is_here) {
                (false, true) if shared.rank(rank).doing().0 != Doing::Ended => {
                    *slot = None;
                    self.running += 1;
                }
                // The node where it is tells of its end.
                (true, false) if slot.is_none() => {
                    *slot = Some(RankExit::Killed);
                    self.running -= 1;
                }
                _ => {}
            }
        }
        self.shared = shared;
        if let Some(outcome) = self.outcome.take() {
            // It was told to end in between; those that have come are to end, too.
            self.end(outcome, context);
        }
    }
}

impl Handler<End> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: End, context: &mut Self::Context) {
        self.end(message.outcome, context);
    }
}

impl Handler<GiveUp> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: GiveUp, _: &mut Self::Context) {
        self.finish();
    }
}
