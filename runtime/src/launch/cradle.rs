//! Where ranks begin that come from another node.

use std::sync::Arc;

use actix::Addr;
use faasm_vm::{GuestMemory, Pool};

use super::prepare::Launch;
use crate::checkpoint::CheckpointError;
use crate::error::Error;
use crate::faaslet::{Own, Restored, Start, Trial, run};
use crate::job::{Arrival, JobShared, Renewed, Supervisor};
use crate::scheduler::{Scheduler, Task};

/// What a job's ranks need to begin on this node, for as long as the job runs.
pub(crate) struct Cradle {
    pub(crate) launch: Launch,
    pub(crate) pool: Arc<Pool>,
    pub(crate) no_memory: GuestMemory,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) spins: bool,
    pub(crate) trial: Trial,
    pub(crate) supervisor: Addr<Supervisor>,
}

impl Cradle {
    /// Makes an instance in this life of the job for a rank that may come to this node.
    ///
    /// # Errors
    /// It cannot begin here, in words.
    pub(crate) fn begin(&self, coming: Arc<Arrival>, job: &Arc<JobShared>) -> Result<(), String> {
        let rank = coming.rank();
        let own = self.own(rank, job).map_err(|error| error.to_string())?;
        self.place((rank, own), job, None, Some(coming)).wake();
        Ok(())
    }

    /// Makes the task of a rank of this node.
    pub(crate) fn place(
        &self,
        (rank, own): (u32, Own),
        job: &Arc<JobShared>,
        restored: Option<Restored>,
        coming: Option<Arc<Arrival>>,
    ) -> Arc<Task> {
        let start = Start {
            rank,
            own,
            job: job.clone(),
            pool: self.pool.clone(),
            no_memory: self.no_memory.clone(),
            output: self.launch.output(),
            supervisor: self.supervisor.clone(),
            spins: self.spins,
            trial: self.trial,
            restored,
            coming,
        };
        let task = Task::new(&self.scheduler, job.home(rank), Box::pin(run(start)));
        job.rank(rank).set_task(task.clone());
        task
    }

    /// What a rank of this node starts with, however the job came by it.
    ///
    /// # Errors
    /// It cannot start here.
    pub(crate) fn own(&self, rank: u32, job: &Arc<JobShared>) -> Result<Own, Error> {
        let Some(birth) = job.births().of(rank) else { return self.launch.rank(rank, job) };
        let again = job.spawner().map(|spawner| spawner.again(job, rank, &birth));
        again
            .unwrap_or_else(|| Err("nothing can be spawned in this job".to_owned()))
            .map_err(|why| Error::from(CheckpointError::Rank { rank, why }))
    }

    /// Whether the job began with the program with this hash.
    pub(crate) fn has(&self, hash: &[u8; 32]) -> bool {
        self.launch.modules().iter().any(|module| module.content_hash().as_bytes() == hash)
    }

    /// From now on these are the job's ranks on this node.
    pub(crate) fn renew(&self, shared: Arc<JobShared>) {
        self.supervisor.do_send(Renewed { shared });
    }
}

impl std::fmt::Debug for Cradle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cradle").finish_non_exhaustive()
    }
}
