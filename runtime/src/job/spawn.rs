//! Spawning processes while a job runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_shim::spawn_port::{Newborns, SpawnAnswer, SpawnRequest};

use super::homes::ring_lines;
use super::shared::{Doing, JobShared, RankShared};
use crate::checkpoint::Birth;
use crate::faaslet::Own;

/// Who can start programs for a job. Loading one takes time, so it is called on a thread of its own.
pub(crate) trait Spawner: Send + Sync {
    /// Starts the processes of `request` as further ranks of `job`, on this node.
    ///
    /// # Errors
    /// `MPI_ERR_SPAWN` when a program cannot be run or there are too many processes.
    fn spawn(&self, job: &Arc<JobShared>, request: SpawnRequest) -> Result<Newborns>;

    /// What a process that was spawned so, in an earlier life of the job or on another node, starts with here.
    ///
    /// # Errors
    /// Why it cannot, in words.
    fn again(
        &self,
        job: &Arc<JobShared>,
        rank: u32,
        birth: &Birth,
    ) -> std::result::Result<Own, String>;
}

/// Has processes spawned on the nodes of a job that has several, for one that waits for them.
pub(crate) type Agent = Arc<dyn Fn(Waiter, SpawnRequest) + Send + Sync>;

impl JobShared {
    /// Processes are spawned this way, and not on this node alone; once.
    pub(crate) fn set_agent(&self, agent: impl Fn(Waiter, SpawnRequest) + Send + Sync + 'static) {
        // A second one would be no better than the first.
        let _ = self.agent.set(Arc::new(agent));
    }

    /// Spawns processes for `rank`, which is woken when the answer is there.
    pub(crate) fn spawn(self: &Arc<Self>, rank: u32, request: SpawnRequest) -> Arc<SpawnAnswer> {
        let answer = Arc::new(SpawnAnswer::default());
        // As long as this is counted, ranks that wait are no deadlock.
        self.wakes_in_flight.fetch_add(1, Ordering::AcqRel);
        let waiter = Waiter { job: self.clone(), rank, answer: answer.clone() };
        let agent = self.agent.get().cloned();
        let run = move || {
            if let Some(agent) = agent {
                return agent(waiter, request);
            }
            let done = match waiter.job.spawner() {
                Some(spawner) => spawner.spawn(&waiter.job, request),
                None => Err(unable("this job cannot start programs")),
            };
            waiter.give(done);
        };
        let thread = std::thread::Builder::new().name("faasm-spawn".to_owned()).spawn(run);
        if let Err(cause) = thread {
            answer
                .give(Err(unable(format!("a thread cannot be started ({cause}); see ulimit -u"))));
        }
        answer
    }

    /// Why the job cannot be stopped, if that is because of what it has spawned.
    pub(super) fn stiffness(&self) -> Option<String> {
        let lives = |rank: &u32| self.rank(*rank).doing().0 != Doing::Ended;
        let rank = self.births().stiff().into_iter().find(lives)?;
        let birth = self.births().of(rank)?;
        Some(format!(
            "process {rank}, which was spawned (MPI_Comm_spawn), runs {}, whose stack cannot be taken",
            birth.name
        ))
    }

    /// Adds `count` ranks of this node with these numbers, which have no task yet.
    pub(crate) fn add_ranks(&self, numbers: impl Iterator<Item = u32>) {
        let numbers: Vec<u32> = numbers.collect();
        // The job may have begun with few ranks here, or none.
        let lines = self.lines().min(ring_lines(self.local_ranks().count() + numbers.len()));
        for number in numbers {
            if let Some(index) = self.world().spawned_index(number) {
                self.spawned.set(index, RankShared::new(lines));
            }
        }
    }
}

fn unable(detail: impl Into<String>) -> MpiError {
    MpiError::new(ErrorClass::Spawn, detail)
}

/// A rank that waits for its processes; it is woken whatever becomes of them. Until then its job does not stand still.
pub(crate) struct Waiter {
    job: Arc<JobShared>,
    rank: u32,
    answer: Arc<SpawnAnswer>,
}

impl Waiter {
    /// What has become of them; the first answer counts.
    pub(crate) fn give(&self, answer: Result<Newborns>) {
        self.answer.give(answer);
    }

    /// The job of the rank.
    pub(crate) const fn job(&self) -> &Arc<JobShared> {
        &self.job
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.answer.give(Err(unable("the job is being ended")));
        self.job.rank(self.rank).wake_if_waiting();
        self.job.wakes_in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
