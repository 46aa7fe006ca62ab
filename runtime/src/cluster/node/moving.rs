//! A node's part in moving ranks of a job that stands still: its ranks come and go, and all of them go over to the job's
//! next life. What can be done before is done [`ahead`](super::ahead).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ahead::Ahead;
use super::fetch::Programs;
use super::spawned;
use crate::checkpoint::Deposit;
use crate::cluster::data::DataPlane;
use crate::cluster::planes::Planes;
use crate::cluster::stop::{MoveTask, Moved};
use crate::job::{Courier, Decision, Halt, JobShared, Renewal};
use crate::launch::Cradle;

/// How long a node may take until all ranks that it is to have are there.
const MOVE_TIME_MAX: Duration = Duration::from_secs(60);

/// What one job on this node needs to have ranks come and go.
pub(super) struct Mover {
    number: u32,
    cradle: Arc<Cradle>,
    programs: Arc<Programs>,
    planes: Planes,
    /// Told of the job's next life, once it has begun.
    renewed: Box<dyn Fn(Arc<JobShared>) + Send + Sync>,
    /// What has been done of a move while the ranks run.
    ahead: Mutex<Option<Arc<Ahead>>>,
    /// Those that have taken ranks away.
    spent: Mutex<Vec<Courier>>,
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
        (cradle, programs): (Arc<Cradle>, Arc<Programs>),
        planes: Planes,
        renewed: impl Fn(Arc<JobShared>) + Send + Sync + 'static,
    ) -> Self {
        let renewed = Box::new(renewed);
        let (ahead, spent, renewal) = Default::default();
        Self { number, cradle, programs, planes, renewed, ahead, spent, renewal }
    }

    /// Does what can be done of a move while the ranks run; moves had ended `ended` times when that was ordered.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub(super) fn begin(
        &self,
        halt: &Halt,
        task: &MoveTask,
        ended: u64,
    ) -> Result<Arc<Ahead>, String> {
        let job = halt.job();
        let ahead = self.begin_on(&job, task, ended);
        let ahead = ahead.inspect_err(|_| job.refuse_move(task.number, task.places()))?;
        let mut known = self.ahead.lock();
        if job.moves_ended() != ended {
            return Err("the move was given up".to_owned());
        }
        *known = Some(ahead.clone());
        Ok(ahead)
    }

    fn begin_on(
        &self,
        job: &Arc<JobShared>,
        task: &MoveTask,
        ended: u64,
    ) -> Result<Arc<Ahead>, String> {
        spawned::expect(job, (&self.cradle, &self.programs), &task.births)?;
        let ahead = Arc::new(Ahead::new(job, &self.cradle, task, ended)?);
        ahead.send_most()?;
        Ok(ahead)
    }

    /// Has ranks come and go, and gets everything ready for going over; what was before is still there.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub(super) fn prepare(&self, halt: &Halt, task: &MoveTask) -> Result<Moved, String> {
        let moved = self.prepare_all(halt, task);
        moved.inspect_err(|_| halt.job().refuse_move(task.number, task.places()))
    }

    fn prepare_all(&self, halt: &Halt, task: &MoveTask) -> Result<Moved, String> {
        let begun = Instant::now();
        let old = halt.job();
        spawned::expect(&old, (&self.cradle, &self.programs), &task.births)?;
        let nodes: Box<[u32]> = task.places().collect();
        let mut ahead = self.ahead.lock().take();
        if let Some(other) = ahead.take_if(|ahead| ahead.number() != task.number) {
            other.end();
        }
        let mut couriers = ahead.as_ref().map(|ahead| ahead.couriers()).unwrap_or_default();
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
            let arrival = match ahead.as_ref().and_then(|ahead| ahead.arrival(rank)) {
                Some(arrival) => arrival,
                None => {
                    let from = old.world().node(rank);
                    let arrival = old.expect_rank(rank, from, task.number);
                    self.cradle.begin(arrival.clone(), &renewal.job)?;
                    arrival
                }
            };
            arrival.comes(renewal.clone());
        }
        old.announce_renewal(renewal.clone());
        let (made, deadline) = (begun.elapsed(), begun + MOVE_TIME_MAX);
        let mut bytes = 0;
        for deposit in &leaving {
            let node = renewal.job.world().node(deposit.rank);
            let known = couriers.iter().position(|courier| courier.is_for(deposit.rank, node));
            let mut courier = known.map(|at| couriers.swap_remove(at)).unwrap_or_else(|| {
                let rank = (deposit.rank, deposit.memory.clone());
                Courier::new(old.clone(), rank, (node, task.number), old.moves_ended())
            });
            bytes += courier.finish(deposit, deadline)?;
            self.spent.lock().push(courier);
        }
        let sent = begun.elapsed();
        renewal.wait(MOVE_TIME_MAX, || old.refusal(task.number))?;
        renewal.job.world().end_restore();
        let us = |time: Duration| time.as_micros() as u64;
        let (made_us, sent_us, ready_us) = (us(made), us(sent), us(begun.elapsed()));
        Ok(Moved { made_us, sent_us, ready_us, bytes })
    }

    /// Does what nobody waits for after a task: to end the watch over memory takes as long as to send a part of it.
    pub(super) fn tidy(&self) {
        self.spent.lock().clear();
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
        let old = halt.replace(job.clone());
        let goes = |rank: &u32| old.world().node(*rank) != job.world().node(*rank);
        old.gate().have_moved((0..old.world().known()).filter(goes));
        renewal.decide(Decision::Renew);
        old.end_moves();
        Ok(())
    }

    /// The job goes on: stays with what was before, if something was prepared that nobody decided about.
    pub(super) fn go_on(&self, halt: &Halt) {
        // After this nothing of it is begun any more.
        halt.job().end_moves();
        let ahead = self.ahead.lock().take();
        if let Some(ahead) = ahead {
            ahead.end();
        }
        if self.renewal.lock().is_some() {
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
