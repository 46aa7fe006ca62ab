//! Checkpoints of a running job: a deadlock made on purpose.
//!
//! The gate is closed, and when every rank waits for another one or at the gate, nothing is under way. Then all are
//! told to leave, their state is written, and the gate opens again. Where a rank cannot leave, the others go on for a
//! moment, and it is tried again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use faasm_mpi_shim::gate::Cut as Order;
use parking_lot::Mutex;

use super::shared::JobShared;
use crate::checkpoint::{CheckpointError, Common, Cut, Deposit, Gathered, Writer};

/// Between two looks at whether the job stands still.
const LOOK_INTERVAL: Duration = Duration::from_micros(100);
/// How long ranks that were told to leave may take for it; all that they do is to hand over their frames.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long it is tried to stop a job whose ranks cannot leave.
const ATTEMPTS_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the job goes on before it is tried again.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(5);

/// Makes the checkpoints of one job.
#[derive(Debug)]
pub(crate) struct Cutter {
    job: Arc<JobShared>,
    writer: Mutex<Writer>,
}

impl Cutter {
    pub(crate) fn new(job: Arc<JobShared>, writer: Writer) -> Arc<Self> {
        Arc::new(Self { job, writer: Mutex::new(writer) })
    }

    /// Makes one checkpoint; the job goes on then, also after an error. If it is to `end`, it does without going on.
    pub(crate) fn cut(&self, end: Option<&dyn Fn()>) -> Result<Cut, CheckpointError> {
        let mut writer = self.writer.lock();
        let begun = Instant::now();
        loop {
            let stopped = Stopped::new(&self.job)?;
            match stopped.gather()? {
                Gathered::All(deposits) => {
                    let cut = self.write(&mut writer, &deposits)?;
                    if let Some(end) = end {
                        end();
                        stopped.stays();
                    }
                    return Ok(cut);
                }
                Gathered::Refused(why) if begun.elapsed() > ATTEMPTS_TIME_MAX => {
                    let why: Vec<_> =
                        why.iter().map(|(rank, why)| format!("rank {rank}: {why}")).collect();
                    return Err(CheckpointError::Hindered(why.join("; ")));
                }
                Gathered::Refused(_) => {}
            }
            drop(stopped);
            std::thread::sleep(ATTEMPT_INTERVAL);
        }
    }

    fn write(&self, writer: &mut Writer, deposits: &[Deposit]) -> Result<Cut, CheckpointError> {
        let world = self.job.world().save();
        let world = world.map_err(|error| CheckpointError::Hindered(error.to_string()))?;
        let (processes, elapsed) = (self.job.world().processes(), self.job.elapsed());
        let common = Common { world, processes, elapsed_ns: elapsed.as_nanos() as u64 };
        writer.write(common, (deposits, &self.job.tombstones()?), self.job.births())
    }
}

/// A job none of whose ranks begins anything; it goes on when this is dropped.
struct Stopped<'a>(&'a JobShared);

impl<'a> Stopped<'a> {
    /// Closes the gate and waits until the job stands still.
    fn new(job: &'a JobShared) -> Result<Self, CheckpointError> {
        job.close_gate();
        let stopped = Self(job);
        loop {
            if job.is_ending() {
                return Err(CheckpointError::Ending);
            }
            if let Some(why) = job.stiffness() {
                return Err(CheckpointError::Hindered(why));
            }
            if job.tombstones()?.len() == job.local_ranks().count() {
                return Err(CheckpointError::Ending);
            }
            if job.stands_still() {
                return Ok(stopped);
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The job ends as it stands: its ranks are dropped where they wait.
    fn stays(self) {
        std::mem::forget(self);
    }

    /// Tells all ranks to leave, and gives what they leave behind.
    fn gather(&self) -> Result<Gathered, CheckpointError> {
        let ranks = self.0.local_ranks().count() - self.0.tombstones()?.len();
        self.0.gate().set(Order::Leave);
        self.0.tell_of_gate();
        self.0.rounds().gather(ranks, LEAVE_TIME_MAX).ok_or_else(|| {
            CheckpointError::Hindered("not all ranks have handed their stacks over".to_owned())
        })
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // Until all are awake, some look as if they waited for each other.
        self.0.wakes_in_flight.fetch_add(1, Ordering::AcqRel);
        self.0.gate().set(Order::Open);
        self.0.rounds().end();
        self.0.tell_of_gate();
        self.0.wakes_in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
