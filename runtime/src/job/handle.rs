//! The holder's end of a running job.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use faasm_mpi_engine::fault::Decided;
use faasm_transport::NodeId;

use super::Outcome;
use super::cut::Cutter;
use super::deadlock::Quiet;
use super::halt::Halt;
use super::relocation::{MoveOrder, MoveReport};
use super::report::{JobReport, RankState};
use super::shared::JobShared;
use super::status::{JobStatus, NodeLoad};
use super::supervisor::{End, Supervisor};
use super::survey::Survey;
use crate::checkpoint::{CheckpointError, Cut};
use crate::faaslet::RankExit;

/// Something that happened to a rank, for whoever monitors the job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RankEvent {
    /// The rank that ended.
    pub rank: u32,
    /// How.
    pub exit: RankExit,
}

/// A running job, in this process or over several nodes. Dropping the handle leaves the job running.
#[derive(Clone, Debug)]
pub struct JobHandle {
    pub(crate) control: Control,
    pub(crate) events: flume::Receiver<RankEvent>,
    pub(crate) report: flume::Receiver<Arc<JobReport>>,
    /// Makes its checkpoints, if it has a directory for them.
    pub(crate) cutter: Option<Arc<Cutter>>,
}

/// Who sees the job to its end.
#[derive(Clone, Debug)]
pub(crate) enum Control {
    /// A supervisor of this process.
    Here { shared: Arc<JobShared>, supervisor: Addr<Supervisor> },
    /// The coordinator of a cluster.
    Elsewhere(Arc<dyn RemoteJob>),
}

/// A job that others see to its end.
pub(crate) trait RemoteJob: std::fmt::Debug + Send + Sync {
    /// Ends it.
    fn end(&self, outcome: Outcome);

    /// What its ranks are doing, as far as it can be found out in reasonable time.
    fn rank_states(&self) -> Vec<RankState>;

    /// How it is doing; with `partners` it is counted from now on who sends how much to whom.
    fn status(&self, partners: bool) -> Result<JobStatus, String>;

    /// Places ranks elsewhere.
    fn migrate(&self, order: MoveOrder) -> Result<MoveReport, String>;

    /// Stops it, writes a checkpoint, and lets it go on or ends it with this exit code.
    fn checkpoint(&self, end: Option<i32>) -> Result<Cut, CheckpointError>;
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
        let outcome = Outcome::Killed { code };
        match &self.control {
            Control::Here { supervisor, .. } => supervisor.do_send(End { outcome }),
            Control::Elsewhere(job) => job.end(outcome),
        }
    }

    /// Stops all ranks, writes a checkpoint, and lets them go on. That takes at least until each rank calls a function of MPI
    /// in which it may wait.
    ///
    /// # Errors
    /// The job has no directory for checkpoints or its state cannot be written; it goes on all the same.
    pub fn checkpoint(&self) -> Result<Cut, CheckpointError> {
        self.cut(None)
    }

    /// As [`checkpoint`](Self::checkpoint), but the job ends where it stands: nothing that it does or writes is behind the
    /// checkpoint. [`JobReport::exit_code`] will be `code`.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint), and it goes on then, too.
    pub fn checkpoint_and_end(&self, code: i32) -> Result<Cut, CheckpointError> {
        self.cut(Some(code))
    }

    fn cut(&self, end: Option<i32>) -> Result<Cut, CheckpointError> {
        match (&self.control, &self.cutter) {
            (Control::Elsewhere(job), _) => job.checkpoint(end),
            (_, Some(cutter)) => match end {
                None => cutter.cut(None),
                Some(code) => cutter.cut(Some(&|| self.kill(code))),
            },
            (_, None) => Err(CheckpointError::no_directory()),
        }
    }

    /// Places ranks on other nodes of the job, which stands still meanwhile.
    ///
    /// # Errors
    /// They cannot be placed so, or the job cannot be stopped, in words; it goes on as before.
    pub fn migrate(&self, order: MoveOrder) -> Result<MoveReport, String> {
        match &self.control {
            Control::Here { .. } => Err("the job runs on one node".to_owned()),
            Control::Elsewhere(job) => job.migrate(order),
        }
    }

    /// How the job is doing. From the first question on it is found out what each rank uses, until nobody has asked for
    /// half a minute; that costs next to nothing.
    ///
    /// # Errors
    /// Who could tell is not there, in words.
    pub fn status(&self) -> Result<JobStatus, String> {
        match &self.control {
            Control::Elsewhere(job) => job.status(false),
            Control::Here { shared, .. } => {
                let survey = shared.survey(false);
                let node = NodeLoad {
                    host: shared.processor_name().to_owned(),
                    process: std::process::id(),
                    workers: shared.scheduler().regular(),
                    answers: true,
                    processor_us: survey.processor_us,
                    resident_bytes: survey.resident_bytes,
                    ..NodeLoad::default()
                };
                Ok(JobStatus::of_one(node, survey))
            }
        }
    }

    /// What the ranks of this node share.
    pub(crate) const fn shared(&self) -> Option<&Arc<JobShared>> {
        match &self.control {
            Control::Here { shared, .. } => Some(shared),
            Control::Elsewhere(_) => None,
        }
    }

    /// What the ranks of this node are doing, for its coordinator.
    pub(crate) fn survey(&self, partners: bool) -> Option<Survey> {
        let Control::Here { shared, .. } = &self.control else { return None };
        Some(shared.survey(partners))
    }

    /// What every rank is doing now. Ranks of a node that does not answer within half a second are
    /// missing.
    pub fn rank_states(&self) -> Vec<RankState> {
        match &self.control {
            Control::Here { shared, .. } => shared.rank_states(),
            Control::Elsewhere(job) => job.rank_states(),
        }
    }

    /// Hands out the ends of ranks as they happen, until all have ended; gives the report then.
    pub(crate) fn follow(&self, tell: impl Fn(RankEvent)) -> Option<Arc<JobReport>> {
        enum Next {
            Event(Option<RankEvent>),
            Report(Option<Arc<JobReport>>),
        }
        loop {
            let next = flume::Selector::new()
                .recv(&self.events, |event| Next::Event(event.ok()))
                .recv(&self.report, |report| Next::Report(report.ok()))
                .wait();
            match next {
                Next::Event(Some(event)) => tell(event),
                Next::Event(None) => return self.report.recv().ok(),
                Next::Report(report) => {
                    // The last events came before it.
                    self.events.try_iter().for_each(&tell);
                    return report;
                }
            }
        }
    }

    /// These ranks have failed with their node, and the job goes on.
    pub(crate) fn mourn(&self, ranks: &[u32]) {
        if let Control::Here { shared, .. } = &self.control {
            shared.mourn(ranks, true);
        }
    }

    /// A node has left the job, none of whose ranks live.
    pub(crate) fn forget_node(&self, node: NodeId) {
        if let Control::Here { shared, .. } = &self.control
            && let Some(far) = shared.far()
        {
            far.links.forget(node);
        }
    }

    /// Tells ranks of this node what they have agreed on with those of others.
    pub(crate) fn tell_decision(&self, decided: &Decided) {
        if let Control::Here { shared, .. } = &self.control {
            let Decided { topic, decision, members } = decided;
            shared.tell_decision(*topic, decision, members);
        }
    }

    /// What the ranks of this node are doing now.
    pub(crate) fn local_states(&self) -> Vec<RankState> {
        let Control::Here { shared, .. } = &self.control else { return Vec::new() };
        let mut states = shared.rank_states();
        states.retain(|state| shared.world().is_local(state.rank));
        states
    }

    /// What stops the ranks of this node together with those of others, if their stacks can be taken.
    pub(crate) fn halt(&self) -> Option<Arc<Halt>> {
        let Control::Here { shared, .. } = &self.control else { return None };
        Some(Arc::new(Halt::new(shared.clone())))
    }

    /// The same job in its next life on this node.
    pub(crate) fn again(&self, shared: Arc<JobShared>) -> Self {
        let control = match &self.control {
            Control::Here { supervisor, .. } => {
                Control::Here { shared, supervisor: supervisor.clone() }
            }
            Control::Elsewhere(job) => Control::Elsewhere(job.clone()),
        };
        Self { control, ..self.clone() }
    }

    /// What this node contributes to the search for a deadlock; `None` while something goes on.
    pub(crate) fn quiet(&self) -> Option<Quiet> {
        let Control::Here { shared, .. } = &self.control else { return None };
        shared.gate().while_open(|| shared.quiet())
    }

    /// The ends of ranks, in the order in which they happened; each event goes to one receiver.
    pub const fn events(&self) -> &flume::Receiver<RankEvent> {
        &self.events
    }
}
