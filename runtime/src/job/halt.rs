//! A node's part in stopping a job on all its nodes at one instant. The coordinator says what comes when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use faasm_mpi_shim::gate::Cut as Order;
use faasm_mpi_shim::world::{Begun, Clock};
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::deadlock::Quiet;
use super::shared::JobShared;
use crate::checkpoint::{CheckpointError, Deposit, Gathered, RanksWriter, Unfinished, WrittenRank};

/// Why a job cannot be stopped that ends.
pub(crate) const ENDING: &str = "the job is ending";

/// How long it is looked whether all ranks wait before that is answered.
const LOOK_TIME_MAX: Duration = Duration::from_micros(200);

/// The ranks of one node, as far as they are stopped.
#[derive(Debug)]
pub(crate) struct Halt {
    job: RwLock<Arc<JobShared>>,
    writer: Mutex<RanksWriter>,
    deposits: Mutex<Vec<Deposit>>,
    /// Ranks that are held and had come to a call when that was asked.
    came: Mutex<BTreeSet<u32>>,
}

/// Who is held while the others go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whom {
    /// From now on those that compute, too: did not come to a call although the gate was closed, or have neither called nor
    /// wait since this was ordered before. The first time it is nobody.
    More,
    /// Only those that had not come to a call when that was asked the last time.
    Late,
    /// As before.
    Same,
}

/// Why ranks have not left.
#[derive(Debug)]
pub(crate) enum NotLeft {
    /// Some cannot now.
    Refused(Vec<(u32, String)>),
    /// They never will.
    Failed(String),
}

/// A node's files of a checkpoint.
#[derive(Debug)]
pub(crate) struct NodeCut {
    /// What its ranks share.
    pub(crate) world: Vec<u8>,
    /// How long the job has run.
    pub(crate) elapsed: Duration,
    pub(crate) ranks: Vec<WrittenRank>,
}

/// Looks for a moment: ranks that call MPI often all wait soon after the gate was closed.
fn soon<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + LOOK_TIME_MAX;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        std::thread::yield_now();
    }
}

impl Halt {
    pub(crate) fn new(job: Arc<JobShared>) -> Self {
        job.world().keep_clocks();
        let (writer, deposits, came) = Default::default();
        Self { job: RwLock::new(job), writer, deposits, came }
    }

    /// The job.
    pub(crate) fn job(&self) -> Arc<JobShared> {
        self.job.read().clone()
    }

    /// Whether none of its ranks may begin anything now.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.job.read().gate().cut(), Order::Closed | Order::Leave)
    }

    /// From now on these are its ranks on this node; gives those that were before.
    pub(crate) fn replace(&self, job: Arc<JobShared>) -> Arc<JobShared> {
        job.world().keep_clocks();
        // A rank that comes back has other blocks than those that were last written here.
        *self.writer.lock() = RanksWriter::default();
        std::mem::replace(&mut self.job.write(), job)
    }

    /// What the ranks have left behind, while they are stopped.
    pub(crate) fn deposits(&self) -> MutexGuard<'_, Vec<Deposit>> {
        self.deposits.lock()
    }

    /// Lets no rank begin anything unless it is behind these `targets`, or the former ones without; tells how things are,
    /// and what was begun together with other nodes, if all ranks wait.
    ///
    /// # Errors
    /// The job cannot be stopped.
    pub(crate) fn look(
        &self,
        targets: Option<Arc<[Clock]>>,
    ) -> Result<Option<(Quiet, Vec<Begun>)>, String> {
        let job = self.job();
        if job.is_ending() {
            return Err(ENDING.to_owned());
        }
        if let Some(why) = job.stiffness() {
            return Err(why);
        }
        if matches!(job.gate().cut(), Order::Open | Order::Held) {
            job.close_gate();
        }
        if let Some(targets) = targets {
            job.gate().aim(targets);
            job.tell_of_gate();
        }
        job.tombstones().map_err(|error| error.to_string())?;
        let Some(quiet) = soon(|| job.quiet()) else { return Ok(None) };
        let begun = job.world().begun();
        let begun = begun.ok_or("the job has made too many communicators since it began")?;
        Ok(Some((quiet, begun)))
    }

    /// Has all ranks go on but those that are held: they stop at their next calls. Tells whether all that are held wait.
    ///
    /// # Errors
    /// The job cannot be stopped.
    pub(crate) fn hold(&self, whom: Whom) -> Result<bool, String> {
        let job = self.job();
        if job.is_ending() {
            return Err(ENDING.to_owned());
        }
        let (gate, cut, before) = (job.gate(), job.gate().cut(), job.gate().held());
        let mut held = before.clone();
        match whom {
            Whom::Same => {
                let came: BTreeSet<u32> =
                    held.into_iter().filter(|rank| job.waits(*rank)).collect();
                let all_wait = came.len() == before.len();
                *self.came.lock() = came;
                return Ok(all_wait);
            }
            Whom::Late => {
                let came = std::mem::take(&mut *self.came.lock());
                held.retain(|rank| !came.contains(rank));
            }
            Whom::More => {
                let computes = |rank: &u32| match cut {
                    Order::Open => false,
                    Order::Held => !gate.has_called(*rank),
                    Order::Closed | Order::Leave => true,
                };
                held.extend(job.local_ranks().filter(|rank| computes(rank) && !job.waits(*rank)));
            }
        }
        let all_wait = held.iter().all(|rank| job.waits(*rank));
        let changed = &before ^ &held;
        // Until all are awake, some look as if they waited for each other.
        job.wakes_in_flight.fetch_add(1, Ordering::AcqRel);
        gate.hold(held);
        match cut {
            // For the others it is as it was.
            Order::Open | Order::Held => {
                changed.into_iter().for_each(|rank| job.rank(rank).tell_of_gate());
            }
            Order::Closed | Order::Leave => job.tell_of_gate(),
        }
        job.wakes_in_flight.fetch_sub(1, Ordering::AcqRel);
        Ok(all_wait)
    }

    /// Tells all ranks to hand over their stacks. Gives the number of the round in which they do.
    pub(crate) fn ask_to_leave(&self) -> u64 {
        let job = self.job();
        let round = job.rounds().round();
        job.gate().set(Order::Leave);
        job.tell_of_gate();
        round
    }

    /// Waits until all ranks have handed over their stacks in this round, or that has taken too long; what they have done
    /// counts when it is asked again.
    pub(crate) fn leave(&self, round: u64, limit: Duration) -> Result<(), NotLeft> {
        let job = self.job();
        let ended = job.tombstones().map_err(|error| NotLeft::Failed(error.to_string()))?;
        let ranks = job.local_ranks().count() - ended.len();
        match job.rounds().gather_in(round, ranks, limit) {
            Some(Gathered::All(deposits)) => {
                *self.deposits.lock() = deposits;
                Ok(())
            }
            Some(Gathered::Refused(why)) => Err(NotLeft::Refused(why)),
            None => {
                let why = "not all ranks have handed their stacks over";
                Err(NotLeft::Failed(why.to_owned()))
            }
        }
    }

    /// Writes the files of the ranks, which have left.
    pub(crate) fn write(&self, unfinished: &Unfinished) -> Result<NodeCut, CheckpointError> {
        let job = self.job();
        let world = job.world().save();
        let world = world.map_err(|error| CheckpointError::Hindered(error.to_string()))?;
        let ended = job.tombstones()?;
        // A node without ranks writes nothing, and need not see the directory.
        if job.local_ranks().next().is_some() {
            unfinished.check()?;
        }
        let ranks =
            self.writer.lock().write(unfinished, (&self.deposits.lock(), &ended), job.births())?;
        Ok(NodeCut { world, elapsed: job.elapsed(), ranks })
    }

    /// Lets the ranks go on; `is_level` says that all nodes have come equally far.
    pub(crate) fn go_on(&self, is_level: bool) {
        let job = self.job();
        self.deposits.lock().clear();
        if is_level {
            job.world().forget_clocks();
        }
        // Until all are awake, some look as if they waited for each other.
        job.wakes_in_flight.fetch_add(1, Ordering::AcqRel);
        job.gate().set(Order::Open);
        job.rounds().end();
        job.tell_of_gate();
        job.wakes_in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
