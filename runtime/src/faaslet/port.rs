//! A rank's way to the other ranks of its job, for the MPI shim.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use faasm_mpi_engine::fault::{Proposal, Topic};
use faasm_mpi_engine::group::Group;
use faasm_mpi_shim::port::{Header, Message, MpiPort, Payload, Pending, PullRequest};
use faasm_mpi_shim::spawn_port::{SpawnAnswer, SpawnRequest};
use faasm_mpi_shim::world::{PartHeader, World};
use faasm_vm::GuestMemory;

use crate::checkpoint::SavedOffer;
use crate::job::JobShared;
use crate::message::Reader;
use crate::scheduler::{LocalQueue, Spin};

/// Fruitless polling calls in a row after which other fibers get their turn.
const POLLS_BEFORE_YIELD: u32 = 3;

/// Groups up to this size are woken rank by rank.
const DIRECT_WAKES_MAX: usize = 8;

/// Looks at the mailbox between two looks at the worker's queues, and how often both are done
/// between two looks at the clock.
const LOOKS_BETWEEN_PAUSES: u32 = 6;
const LOOKS_BETWEEN_CLOCKS: u32 = 16;

/// Rank `rank` of a job.
#[derive(Debug)]
pub(crate) struct RankPort {
    job: Arc<JobShared>,
    rank: u32,
    /// The job has ranks on other nodes.
    is_spread: bool,
    reader: Reader,
    /// Whether it looks for news before it sleeps.
    spins: bool,
    spin: Spin,
    suspended: bool,
    /// What was last told to others about a wait.
    pending: Option<Pending>,
    fruitless: u32,
    /// Messages taken so far.
    received: u64,
}

impl RankPort {
    /// The port of `rank`; there is one for each rank.
    pub(crate) fn new(job: Arc<JobShared>, rank: u32, spins: bool) -> Self {
        let reader = Reader::default();
        Self {
            is_spread: job.far().is_some(),
            job,
            rank,
            reader,
            spins,
            spin: Spin::new(spins),
            suspended: false,
            pending: None,
            fruitless: 0,
            received: 0,
        }
    }

    /// The job, and the rank's number in it.
    pub(crate) const fn place(&self) -> (&Arc<JobShared>, u32) {
        (&self.job, self.rank)
    }

    /// The port of the same rank in the next life of its job, in which nothing has happened yet.
    pub(crate) fn again(&self, job: Arc<JobShared>) -> Self {
        Self::new(job, self.rank, self.spins)
    }

    /// Messages that this rank has announced and that nobody has asked for; `None` when one is being read.
    pub(crate) fn offers(&self) -> Option<Vec<SavedOffer>> {
        self.job.offers_of(self.rank)
    }

    /// This rank is here with what it has announced before.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn adopt_offers(&self, offers: &[SavedOffer]) -> Result<(), String> {
        self.job.adopt_offers(self.rank, offers)
    }

    fn wake_if_waiting(&self, rank: u32) {
        self.job.rank(rank).wake_if_waiting();
    }

    /// Whether a message waits to be taken.
    pub(crate) fn has_mail(&self) -> bool {
        self.reader.is_ready(self.job.rank(self.rank).mailbox())
    }

    /// Messages taken so far.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Asks to be woken for the next message; returns whether one is there already. A rank with
    /// threads never takes this back: being woken once too often does no harm.
    pub(crate) fn announce_wait(&self) -> bool {
        let mailbox = self.job.rank(self.rank).mailbox();
        mailbox.set_waiting();
        self.reader.is_ready(mailbox)
    }

    fn is_worker_idle(&self) -> bool {
        // Without another worker that runs, only another node could bring news.
        LocalQueue::is_worker_idle() && (self.is_spread || self.job.scheduler().awake() > 1)
    }

    /// Whether `rank` runs on another node.
    #[inline]
    fn is_far(&self, rank: u32) -> bool {
        self.is_spread && !self.job.world().is_local(rank)
    }
}

impl RankPort {
    /// The rank was told to leave for a checkpoint and cannot.
    pub(super) fn refuse_to_leave(&self, why: String) {
        self.job.rounds().refuse(self.rank, why);
    }
}

impl MpiPort for RankPort {
    fn rank(&self) -> u32 {
        self.rank
    }

    fn world(&self) -> &Arc<World> {
        self.job.world()
    }

    #[inline]
    fn memory(&self, rank: u32) -> Option<&GuestMemory> {
        self.job.rank(rank).memory()
    }

    #[inline]
    fn send(&mut self, dest: u32, header: Header, payload: &[u8]) {
        if self.is_far(dest) {
            return self.job.send_far(dest, &header, payload);
        }
        self.job.rank(dest).mailbox().push(header, payload);
        self.wake_if_waiting(dest);
    }

    fn send_payload(&mut self, dest: u32, header: Header, payload: Payload) {
        if self.is_far(dest) {
            return self.job.send_payload_far(dest, &header, payload);
        }
        match payload {
            Payload::Reference { addr, len } => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&addr.to_le_bytes());
                bytes[8..].copy_from_slice(&len.to_le_bytes());
                self.job.rank(dest).mailbox().push(header, &bytes);
            }
            payload => self.job.rank(dest).mailbox().push_overflow(Message { header, payload }),
        }
        self.wake_if_waiting(dest);
    }

    fn pull(&mut self, request: &PullRequest) {
        self.job.pull(self.rank, request);
    }

    fn release(&mut self, sender: u32, token: u64) {
        self.job.release(sender, token);
    }

    fn ask_to_gather(&mut self, node: u32, key: (u32, i32, &[u32]), member: u32) -> u32 {
        self.job.ask_to_gather(self.rank, node, key, member)
    }

    fn ask(&mut self, node: u32, question: &[u8]) -> u32 {
        self.job.ask(self.rank, node, question)
    }

    fn ask_object(&mut self, peer: u32, context: u32, question: &[u8]) -> u32 {
        self.job.ask_object(self.rank, peer, context, question)
    }

    fn propose(&mut self, topic: Topic, members: &[u32], is_spread: bool, proposal: Proposal) {
        self.job.propose(self.rank, (topic, members), is_spread, proposal);
    }

    fn spawn(&mut self, request: SpawnRequest) -> Arc<SpawnAnswer> {
        self.job.spawn(self.rank, request)
    }

    #[inline]
    fn count_sent(&mut self, dest: u32, bytes: u64, total: (u64, u64)) {
        let sent = self.job.rank(self.rank).sent();
        sent.set(total);
        if self.job.counts_partners() {
            sent.add(dest, bytes);
        }
    }

    #[inline]
    fn receive(&mut self) -> Option<Message> {
        let message = self.reader.pop(self.job.rank(self.rank).mailbox());
        self.received += u64::from(message.is_some());
        message
    }

    fn watch(&mut self, is_done: &dyn Fn() -> bool) -> bool {
        if !self.is_worker_idle() {
            return false;
        }
        let limit = self.spin.limit();
        if limit.is_zero() {
            return false;
        }
        let mailbox = self.job.rank(self.rank).mailbox();
        let started = Instant::now();
        loop {
            for _ in 0..LOOKS_BETWEEN_CLOCKS {
                // A pause lasts as long as several looks, so there are several looks a pause.
                for _ in 0..LOOKS_BETWEEN_PAUSES {
                    if self.reader.is_ready(mailbox) || is_done() {
                        self.spin.learn(true);
                        return true;
                    }
                }
                if !LocalQueue::is_worker_idle() {
                    return false;
                }
                match self.job.endpoint().filter(|_| self.is_spread) {
                    // The node that is waited for may need this very core.
                    Some(endpoint) if !endpoint.poll() => std::thread::yield_now(),
                    _ => spin_loop(),
                }
            }
            if started.elapsed() >= limit {
                self.spin.learn(false);
                return false;
            }
        }
    }

    fn poll_suspend(
        &mut self,
        _context: &mut Context<'_>,
        is_done: &dyn Fn() -> bool,
        pending: &Pending,
    ) -> Poll<()> {
        let shared = self.job.rank(self.rank);
        if std::mem::take(&mut self.suspended) {
            shared.mailbox().clear_waiting();
            shared.resume();
            return Poll::Ready(());
        }
        // A loop waits in the same way again and again; only news are worth the lock.
        if self.pending.as_ref() == Some(pending) {
            shared.suspend_again();
        } else {
            self.pending = Some(*pending);
            shared.suspend(pending);
        }
        shared.mailbox().set_waiting();
        if self.reader.is_ready(shared.mailbox()) || is_done() {
            shared.mailbox().clear_waiting();
            shared.resume();
            return Poll::Ready(());
        }
        self.suspended = true;
        Poll::Pending
    }

    fn stop_waiting(&mut self) {
        if std::mem::take(&mut self.suspended) {
            let shared = self.job.rank(self.rank);
            shared.mailbox().clear_waiting();
            shared.resume();
        }
    }

    fn wake(&self, rank: u32) {
        self.wake_if_waiting(rank);
    }

    fn wake_group(&self, group: &Group) {
        if group.len() <= DIRECT_WAKES_MAX {
            group.iter().for_each(|rank| self.wake_if_waiting(rank));
            return;
        }
        self.job.wake_group(group);
    }

    fn send_part(&mut self, node: u32, part: PartHeader, data: Bytes) {
        self.job.send_part(node, part, data);
    }

    fn take_part(&mut self, part: PartHeader) -> Option<Bytes> {
        self.job.take_part(part)
    }

    fn in_parallel(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= parts {
                    break;
                }
                run(part);
            }
        };
        // The caller works, too: whoever is woken for it comes later.
        rayon::in_place_scope(|scope| {
            let helpers = rayon::current_num_threads().min(parts).saturating_sub(1);
            (0..helpers).for_each(|_| scope.spawn(|_| work()));
            work();
        });
    }

    #[inline]
    fn is_full(&self, dest: u32) -> bool {
        self.job.rank(dest).mailbox().is_full()
    }

    fn set_full(&self, is_full: bool) {
        self.job.rank(self.rank).mailbox().set_full(is_full);
    }

    fn is_congested(&self, dest: u32) -> bool {
        if self.is_far(dest) {
            return self.job.is_far_congested(dest);
        }
        self.job.rank(dest).mailbox().is_congested()
    }

    fn is_yield_due(&mut self) -> bool {
        self.fruitless += 1;
        let due = self.fruitless >= POLLS_BEFORE_YIELD;
        if due {
            self.fruitless = 0;
        }
        due
    }

    fn is_alone(&self) -> bool {
        LocalQueue::is_worker_idle()
    }

    fn set_initialized(&mut self, initialized: bool) {
        self.job.rank(self.rank).set_initialized(initialized);
    }

    fn wtime(&self) -> f64 {
        self.job.elapsed().as_secs_f64()
    }

    fn processor_name(&self) -> &str {
        self.job.processor_name()
    }
}
