//! Where ranks begin that come from another node.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix::Addr;
use faasm_vm::{GuestMemory, Pool};

use super::prepare::Launch;
use crate::faaslet::{Start, run};
use crate::job::{Arrival, JobShared, Renewed, Supervisor};
use crate::scheduler::{Scheduler, Task};

/// What a job's ranks need to begin on this node, for as long as the job runs.
pub(crate) struct Cradle {
    pub(crate) launch: Launch,
    pub(crate) pool: Arc<Pool>,
    pub(crate) no_memory: GuestMemory,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) spins: bool,
    pub(crate) rebuild_every: Option<NonZeroU32>,
    pub(crate) supervisor: Addr<Supervisor>,
}

impl Cradle {
    /// Makes an instance in this life of the job for a rank that may come to this node.
    ///
    /// # Errors
    /// It cannot begin here, in words.
    pub(crate) fn begin(&self, coming: Arc<Arrival>, job: &Arc<JobShared>) -> Result<(), String> {
        let rank = coming.rank();
        let found = self.launch.rank(rank, job).map_err(|error| error.to_string())?;
        let (program, wasi, threads) = found;
        let start = Start {
            rank,
            program,
            beginning: self.launch.beginning(rank),
            wasi,
            job: job.clone(),
            pool: self.pool.clone(),
            no_memory: self.no_memory.clone(),
            output: self.launch.output(),
            supervisor: self.supervisor.clone(),
            spins: self.spins,
            migratable: self.launch.is_migratable(rank),
            threads,
            rebuild_every: self.rebuild_every,
            restored: None,
            coming: Some(coming),
        };
        let task = Task::new(&self.scheduler, job.home(rank), Box::pin(run(start)));
        job.rank(rank).set_task(task.clone());
        task.wake();
        Ok(())
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
