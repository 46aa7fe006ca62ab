//! A job that goes on with its ranks placed anew: a restart in place.
//!
//! All ranks have left their stacks, and nothing is under way. A second [`JobShared`] is made, in which nothing has happened
//! yet: ranks that stay put their MPI state back there, beside the old one, and those that arrive are made. When all nodes
//! have got so far, everybody goes over to it; until then everybody can go on in the old one instead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_vm::GuestMemory;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::shared::{Doing, JobShared};

/// Between two looks at whether another node cannot do its part.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// What becomes of a renewal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Decision {
    /// Not known yet.
    Open,
    /// All go on in the new life.
    Renew,
    /// All go on as before.
    Stay,
}

/// A job's next life, on this node.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// The job in that life.
    pub(crate) job: Arc<JobShared>,
    state: Mutex<Progress>,
    has_news: Condvar,
    decision: watch::Sender<Decision>,
}

#[derive(Debug)]
struct Progress {
    /// Ranks of this node that are not there yet.
    missing: usize,
    failed: VecDeque<(u32, String)>,
}

impl Renewal {
    /// Prepares the next life of `old`, with its ranks on these nodes.
    ///
    /// # Errors
    /// They cannot be placed so, or not now; in words.
    pub(crate) fn new(old: &JobShared, nodes: Box<[u32]>) -> Result<Arc<Self>, String> {
        let job = old.again(nodes).map_err(|error| error.to_string())?;
        let mut missing = 0;
        for rank in job.local_ranks() {
            let before = old.world().is_local(rank).then(|| old.find(rank));
            match before {
                Some(Some(before)) if before.doing().0 == Doing::Ended => {
                    job.rank(rank).ended_before(before);
                }
                // Nobody has had this number.
                Some(None) => {
                    job.rank(rank).set_code(0);
                    job.rank(rank).end();
                }
                _ => missing += 1,
            }
        }
        let state = Mutex::new(Progress { missing, failed: VecDeque::new() });
        let decision = watch::Sender::new(Decision::Open);
        Ok(Arc::new(Self { job, state, has_news: Condvar::new(), decision }))
    }

    /// The rank, which was here before, is the same in the new life.
    pub(crate) fn carry_over(&self, old: &JobShared, rank: u32, memory: GuestMemory) {
        let new = self.job.rank(rank);
        new.set_memory(memory);
        if let Some(task) = old.rank(rank).task() {
            new.set_task(task.clone());
        }
        if let Some(threads) = old.rank(rank).threads() {
            new.set_threads(threads.clone());
        }
        new.start();
    }

    /// A rank is there, or cannot be and says why.
    pub(crate) fn tell(&self, rank: u32, came: Result<(), String>) {
        let mut state = self.state.lock();
        state.missing = state.missing.saturating_sub(1);
        state.failed.extend(came.err().map(|why| (rank, why)));
        drop(state);
        self.has_news.notify_all();
    }

    /// Waits until all ranks of this node are there, or there is a `refusal`, which is looked for now and then.
    ///
    /// # Errors
    /// Why one of them cannot be, or that it takes too long.
    pub(crate) fn wait(
        &self,
        limit: Duration,
        refusal: impl Fn() -> Option<&'static str>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        loop {
            if let Some((rank, why)) = state.failed.pop_front() {
                return Err(format!("rank {rank}: {why}"));
            }
            if state.missing == 0 {
                return Ok(());
            }
            if let Some(why) = refusal() {
                return Err(why.to_owned());
            }
            let look = deadline.min(Instant::now() + LOOK_INTERVAL);
            self.has_news.wait_until(&mut state, look);
            if Instant::now() >= deadline {
                return Err(format!("{} ranks take too long", state.missing));
            }
        }
    }

    /// Lets all ranks go on, there or as before.
    pub(crate) fn decide(&self, decision: Decision) {
        self.decision.send_replace(decision);
    }

    /// Waits for what becomes of it.
    pub(crate) async fn decided(&self) -> Decision {
        let mut decision = self.decision.subscribe();
        let decided = decision.wait_for(|decision| *decision != Decision::Open).await;
        // The sender lives as long as `self`.
        decided.map_or(Decision::Stay, |decision| *decision)
    }
}

impl JobShared {
    /// A life of the job, with its ranks on these nodes, that never begins: instances are made in it that ranks of other
    /// nodes go on in.
    ///
    /// # Errors
    /// They cannot be placed so, or not now; in words.
    pub(crate) fn draft(self: &Arc<Self>, nodes: Box<[u32]>) -> Result<Arc<Self>, String> {
        let draft = self.again(nodes).map_err(|error| error.to_string())?;
        // What its ranks use is found out here.
        self.sampler().follow(self);
        Ok(draft)
    }

    /// Asks all ranks that have left to get ready for the job's next life.
    pub(crate) fn announce_renewal(&self, renewal: Arc<Renewal>) {
        self.renewals.send_replace(Some(renewal));
    }

    /// Whether a next life has begun in place of this one.
    pub(crate) fn has_renewed(&self) -> bool {
        let renewal = self.renewals.borrow();
        renewal.as_ref().is_some_and(|next| *next.decision.borrow() == Decision::Renew)
    }

    /// Nothing is to be got ready for any more: this life goes on.
    pub(crate) fn forget_renewal(&self) {
        self.renewals.send_replace(None);
    }

    /// Where next lives are announced.
    pub(crate) fn renewals(&self) -> watch::Receiver<Option<Arc<Renewal>>> {
        self.renewals.subscribe()
    }
}
