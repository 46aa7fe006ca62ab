//! A node's part in moving ranks of a job that stands still: its ranks come and go, and all of them go over to the job's
//! next life.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::checkpoint::Deposit;
use crate::cluster::data::DataPlane;
use crate::cluster::planes::Planes;
use crate::cluster::stop::{MoveTask, Moved};
use crate::faaslet::Coming;
use crate::job::{Decision, Halt, JobShared, Renewal};
use crate::launch::Cradle;

/// How long a node may take until all ranks that it is to have are there.
const MOVE_TIME_MAX: Duration = Duration::from_secs(60);

/// What one job on this node needs to have ranks come and go.
pub(super) struct Mover {
    number: u32,
    cradle: Arc<Cradle>,
    planes: Planes,
    /// Told of the job's next life, once it has begun.
    renewed: Box<dyn Fn(Arc<JobShared>) + Send + Sync>,
    /// The next life that is being prepared.
    renewal: Mutex<Option<Arc<Renewal>>>,
}

impl std::fmt::Debug for Mover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mover").field("job", &self.number).finish_non_exhaustive()
    }
}

impl Mover {
    /// For job `number`; `renewed` is told of each further life before anything happens in it.
    pub(super) fn new(
        number: u32,
        cradle: Arc<Cradle>,
        planes: Planes,
        renewed: impl Fn(Arc<JobShared>) + Send + Sync + 'static,
    ) -> Self {
        let renewed = Box::new(renewed);
        Self { number, cradle, planes, renewed, renewal: Mutex::default() }
    }

    /// Has ranks come and go, and gets everything ready for going over; what was before is still there.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub(super) fn prepare(&self, halt: &Halt, task: &MoveTask) -> Result<Moved, String> {
        let begun = Instant::now();
        let old = halt.job();
        let nodes: Box<[u32]> = task.places().collect();
        let renewal = Renewal::new(&old, nodes)?;
        *self.renewal.lock() = Some(renewal.clone());
        let deposits = halt.deposits();
        let (staying, leaving): (Vec<&Deposit>, Vec<&Deposit>) =
            deposits.iter().partition(|deposit| renewal.job.world().is_local(deposit.rank));
        for deposit in staying {
            renewal.job.adopt_offers(deposit.rank, &deposit.image.offers)?;
        }
        let coming: Vec<u32> =
            renewal.job.local_ranks().filter(|rank| !old.world().is_local(*rank)).collect();
        for rank in coming {
            let arrival = old.expect_rank(rank, old.world().node(rank), task.number);
            self.cradle.begin(rank, Coming { arrival, renewal: renewal.clone() })?;
        }
        old.announce_renewal(renewal.clone());
        for deposit in &leaving {
            let node = renewal.job.world().node(deposit.rank);
            old.send_rank(deposit, node, task.number, MOVE_TIME_MAX)?;
        }
        let sent = begun.elapsed();
        renewal.wait(MOVE_TIME_MAX)?;
        renewal.job.world().end_restore();
        let ready = begun.elapsed();
        Ok(Moved { sent_us: sent.as_micros() as u64, ready_us: ready.as_micros() as u64 })
    }

    /// Goes over to what was prepared.
    ///
    /// # Errors
    /// Nothing was.
    pub(super) fn renew(&self, halt: &Halt) -> Result<(), String> {
        let renewal = self.renewal.lock().take().ok_or("nothing was prepared")?;
        let job = renewal.job.clone();
        // Whoever goes on first may send to any other rank at once.
        self.planes.replace(self.number, DataPlane::new(job.clone()));
        self.cradle.renew(job.clone());
        (self.renewed)(job.clone());
        let old = halt.replace(job);
        renewal.decide(Decision::Renew);
        old.end_moves();
        old.forget_renewal();
        Ok(())
    }

    /// The job goes on: stays with what was before, if something was prepared that nobody decided about.
    pub(super) fn go_on(&self, halt: &Halt) {
        let is_open = self.renewal.lock().is_some();
        if is_open {
            self.stay(halt);
        }
    }

    /// Stays with what was before.
    pub(super) fn stay(&self, halt: &Halt) {
        if let Some(renewal) = self.renewal.lock().take() {
            renewal.decide(Decision::Stay);
        }
        let old = halt.job();
        old.end_moves();
        old.forget_renewal();
    }
}
