//! The holder's end of a running job.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;

use super::Outcome;
use super::report::{JobReport, RankState};
use super::shared::JobShared;
use super::supervisor::{End, Supervisor};
use crate::faaslet::RankExit;

/// Something that happened to a rank, for whoever monitors the job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RankEvent {
    /// The rank that ended.
    pub rank: u32,
    /// How.
    pub exit: RankExit,
}

/// A running job. Dropping the handle leaves the job running.
#[derive(Clone, Debug)]
pub struct JobHandle {
    pub(crate) shared: Arc<JobShared>,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) events: flume::Receiver<RankEvent>,
    pub(crate) report: flume::Receiver<Arc<JobReport>>,
}

impl JobHandle {
    /// Waits for the end of the job. The report goes to one caller.
    ///
    /// # Panics
    /// When another clone of the handle has taken the report already.
    pub fn wait(&self) -> Arc<JobReport> {
        self.report.recv().expect("the report of a job is taken once")
    }

    /// As [`JobHandle::wait`], but for at most `limit`; `None` when the job is still running then.
    pub fn wait_timeout(&self, limit: Duration) -> Option<Arc<JobReport>> {
        self.report.recv_timeout(limit).ok()
    }

    /// Ends the job; [`JobReport::exit_code`] will be `code`.
    pub fn kill(&self, code: i32) {
        self.supervisor.do_send(End { outcome: Outcome::Killed { code } });
    }

    /// What every rank is doing now.
    pub fn rank_states(&self) -> Vec<RankState> {
        self.shared.rank_states()
    }

    /// The ends of ranks, in the order in which they happened; each event goes to one receiver.
    pub const fn events(&self) -> &flume::Receiver<RankEvent> {
        &self.events
    }
}
