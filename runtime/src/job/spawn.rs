//! Spawning processes while a job runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_shim::spawn_port::{SpawnAnswer, SpawnRequest};
use faasm_mpi_shim::world::Family;

use super::shared::{Doing, JobShared, RankShared};
use crate::checkpoint::Birth;
use crate::faaslet::Own;

/// Who can start programs for a job. Loading one takes time, so it is called on a thread of its own.
pub(crate) trait Spawner: Send + Sync {
    /// Starts the processes of `request` as further ranks of `job`.
    ///
    /// # Errors
    /// `MPI_ERR_SPAWN` when a program cannot be run or there are too many processes.
    fn spawn(&self, job: &Arc<JobShared>, request: SpawnRequest) -> Result<Arc<Family>>;

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

impl JobShared {
    /// Spawns processes for `rank`, which is woken when the answer is there.
    pub(crate) fn spawn(self: &Arc<Self>, rank: u32, request: SpawnRequest) -> Arc<SpawnAnswer> {
        let answer = Arc::new(SpawnAnswer::default());
        // As long as this is counted, ranks that wait are no deadlock.
        self.wakes_in_flight.fetch_add(1, Ordering::AcqRel);
        let waiter = Waiter { job: self.clone(), rank, answer: answer.clone() };
        let run = move || {
            let done = match waiter.job.spawner() {
                Some(spawner) => spawner.spawn(&waiter.job, request),
                None => Err(unable("this job cannot start programs")),
            };
            waiter.answer.give(done);
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
        let lines = self.lines();
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

/// A rank that waits for its processes; it is woken whatever becomes of them.
struct Waiter {
    job: Arc<JobShared>,
    rank: u32,
    answer: Arc<SpawnAnswer>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.answer.give(Err(unable("a bug of the runtime ended the call")));
        self.job.rank(self.rank).wake_if_waiting();
        self.job.wakes_in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
