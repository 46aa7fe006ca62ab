//! What the ranks of a job share within a process.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use faasm_mpi_engine::group::Group;
use faasm_mpi_shim::gate::{Cut, Gate};
use faasm_mpi_shim::port::Pending;
use faasm_mpi_shim::world::{Grown, Immovable, Placement, World};
use faasm_vm::GuestMemory;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::arrival::Moving;
use super::far::Far;
use super::fault::Mourning;
use super::homes::{REMOTE_LINES, homes, ring_lines};
use super::renewal::Renewal;
use super::sampler::{Sampler, Turns};
use super::span::Spans;
use super::spawn::{Agent, Spawner};
use super::survey::Sent;
use crate::checkpoint::{Births, Rounds, Tombstone};
use crate::faaslet::Threads;
use crate::host::wasi::{WasiHooks, WasiWait};
use crate::message::{Incoming, JobLinks, Mailbox, Outgoing};
use crate::scheduler::{LocalQueue, Scheduler, Task, process_time};

/// Not started yet.
const STARTING: u8 = 0;
/// Computing, or runnable.
const RUNNING: u8 = 1;
/// Suspended in an MPI call.
const WAITING: u8 = 2;
/// Suspended until something outside the job happens.
const OUTSIDE: u8 = 3;
/// Ended.
const ENDED: u8 = 4;

/// What a rank is doing, as others see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Doing {
    Starting,
    Running,
    Waiting(Option<Pending>),
    Outside(Option<WasiWait>),
    Ended,
}

/// One rank, as the others of its process see it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct RankShared {
    mailbox: Mailbox,
    task: OnceLock<Arc<Task>>,
    memory: OnceLock<GuestMemory>,
    /// Its threads, if its program may have several.
    threads: OnceLock<Arc<Threads>>,
    doing: AtomicU8,
    /// Counts changes of `doing`, so that an observer knows whether anything happened meanwhile.
    changes: AtomicU64,
    /// Between `MPI_Init` and `MPI_Finalize`.
    initialized: AtomicBool,
    pending: Mutex<Option<Pending>>,
    outside: Mutex<Option<WasiWait>>,
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Its exit code, if it has ended in order.
    code: OnceLock<i32>,
    /// What it has sent so far, for whoever watches.
    sent: Sent,
}

impl RankShared {
    pub(super) fn new(lines: usize) -> Self {
        Self {
            mailbox: Mailbox::new(lines),
            task: OnceLock::new(),
            memory: OnceLock::new(),
            threads: OnceLock::new(),
            doing: AtomicU8::new(STARTING),
            changes: AtomicU64::new(0),
            initialized: AtomicBool::new(false),
            pending: Mutex::new(None),
            outside: Mutex::new(None),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            code: OnceLock::new(),
            sent: Sent::default(),
        }
    }

    #[inline]
    pub(crate) const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    #[inline]
    pub(crate) fn memory(&self) -> Option<&GuestMemory> {
        self.memory.get()
    }

    pub(crate) fn set_memory(&self, memory: GuestMemory) {
        let _ = self.memory.set(memory);
    }

    /// Its threads, if its program may have several.
    pub(crate) fn threads(&self) -> Option<&Arc<Threads>> {
        self.threads.get()
    }

    pub(crate) fn set_threads(&self, threads: Arc<Threads>) {
        let _ = self.threads.set(threads);
    }

    pub(crate) fn set_task(&self, task: Arc<Task>) {
        let _ = self.task.set(task);
    }

    pub(crate) fn task(&self) -> Option<&Arc<Task>> {
        self.task.get()
    }

    /// What it has sent so far, for whoever watches.
    #[inline]
    pub(crate) const fn sent(&self) -> &Sent {
        &self.sent
    }

    /// How many of its fibers run, and how many could.
    pub(crate) fn turns(&self) -> Turns {
        let mut turns = Turns::default();
        if let Some(task) = self.task.get() {
            turns.add(task.turn());
        }
        if let Some(threads) = self.threads.get() {
            threads.add_turns(|turn| turns.add(turn));
        }
        turns
    }

    /// Makes the rank runnable.
    #[inline]
    pub(crate) fn wake(&self) {
        if let Some(threads) = self.threads.get() {
            threads.seat.wake_sleepers();
        } else if let Some(task) = self.task.get() {
            task.wake();
        }
    }

    /// Makes the rank runnable if it is suspended in an MPI call.
    #[inline]
    pub(crate) fn wake_if_waiting(&self) {
        if self.mailbox.take_waiting() {
            self.wake();
        }
    }

    /// The job's gate says something else: whoever waits looks at it.
    pub(super) fn tell_of_gate(&self) {
        self.wake_if_waiting();
        if let Some(threads) = self.threads.get() {
            threads.tell_of_gate();
        }
    }

    pub(crate) fn start(&self) {
        self.set_doing(RUNNING);
    }

    pub(crate) fn end(&self) {
        self.set_doing(ENDED);
    }

    /// The rank suspends in an MPI call.
    #[inline]
    pub(crate) fn suspend(&self, pending: &Pending) {
        *self.pending.lock() = Some(*pending);
        self.set_doing(WAITING);
    }

    /// The rank suspends in the MPI call it suspended in last time.
    #[inline]
    pub(crate) fn suspend_again(&self) {
        self.set_doing(WAITING);
    }

    /// The rank goes on.
    #[inline]
    pub(crate) fn resume(&self) {
        self.set_doing(RUNNING);
    }

    #[inline]
    fn set_doing(&self, doing: u8) {
        self.doing.store(doing, Ordering::Release);
        // Only the rank itself changes these, so a plain increment suffices.
        let changes = self.changes.load(Ordering::Relaxed);
        self.changes.store(changes + 1, Ordering::Release);
    }

    pub(crate) fn set_initialized(&self, initialized: bool) {
        self.initialized.store(initialized, Ordering::Release);
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire)
    }

    /// What the rank is doing, and a number that changes whenever that does.
    pub(crate) fn doing(&self) -> (Doing, u64) {
        let changes = self.changes.load(Ordering::Acquire);
        let doing = match self.doing.load(Ordering::Acquire) {
            STARTING => Doing::Starting,
            RUNNING => Doing::Running,
            WAITING => Doing::Waiting(*self.pending.lock()),
            OUTSIDE => Doing::Outside(*self.outside.lock()),
            _ => Doing::Ended,
        };
        (doing, changes)
    }

    /// The rank has ended in an earlier life of the job.
    pub(super) fn ended_before(&self, before: &Self) {
        let traffic = (&before.messages, &before.bytes);
        let traffic = (traffic.0.load(Ordering::Relaxed), traffic.1.load(Ordering::Relaxed));
        self.set_traffic(traffic.0, traffic.1);
        self.sent.set(traffic);
        if let Some(code) = before.code.get() {
            self.set_code(*code);
        }
        self.end();
    }

    /// It has ended in order with this exit code; once.
    pub(crate) fn set_code(&self, code: i32) {
        // It ends once.
        let _ = self.code.set(code);
    }

    /// What is left of it, if it has ended in order.
    pub(super) fn tombstone(&self, rank: u32) -> Option<Tombstone> {
        let code = *self.code.get()?;
        let messages = self.messages.load(Ordering::Relaxed);
        Some(Tombstone { rank, code, messages, bytes: self.bytes.load(Ordering::Relaxed) })
    }

    /// Adds what the rank has sent, at its end.
    pub(crate) fn set_traffic(&self, messages: u64, bytes: u64) {
        self.messages.store(messages, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// A job within this process.
pub(crate) struct JobShared {
    ranks: Box<[RankShared]>,
    /// The ranks that were spawned on this node.
    pub(super) spawned: Grown<RankShared>,
    pub(super) spawner: OnceLock<Arc<dyn Spawner>>,
    /// Who has processes spawned if the job has several nodes.
    pub(super) agent: OnceLock<Agent>,
    /// How those of this and of earlier lives were spawned that are here or may come.
    births: Arc<Births>,
    lines: usize,
    world: Arc<World>,
    scheduler: Arc<Scheduler>,
    /// The job's other nodes, if it has any.
    far: Option<Far>,
    /// Messages that were announced and whose data is here.
    outgoing: Mutex<Outgoing>,
    /// Held by whoever brings data from one rank of this node to another.
    pub(super) pulling: Mutex<()>,
    /// Data of such messages that ranks of this node have asked for.
    incoming: Mutex<Incoming>,
    started: Instant,
    /// What the process had used when the job began.
    processor_time_before: Duration,
    processor_name: String,
    /// Wake-ups that were handed to another worker and have not been carried out.
    pub(super) wakes_in_flight: AtomicU64,
    ending: AtomicBool,
    /// What its ranks are told to do at switch points.
    gate: Arc<Gate>,
    rounds: Arc<Rounds>,
    /// Its next life, where its ranks are placed anew.
    pub(super) renewals: watch::Sender<Option<Arc<Renewal>>>,
    /// Its ranks that come here or leave.
    moving: Moving,
    /// How long the job had run before it was restarted.
    ran_before: OnceLock<Duration>,
    /// What is done about ranks that fail while the job goes on.
    pub(super) mourning: Mourning,
    /// Its parts here, if it is one program on several nodes.
    pub(super) spans: Spans,
    /// Finds out what its ranks use, while somebody watches.
    sampler: Arc<Sampler>,
    /// Whether it is counted which rank sends how much to which.
    counts_partners: AtomicBool,
}

impl JobShared {
    /// The shared state of a job whose rank `i` runs program `app_numbers[i]`, placed so: on this node alone, or
    /// over several nodes with links to them. Processes that follow the ranks had been spawned before the job was
    /// restarted.
    pub(crate) fn new(
        app_numbers: Vec<u32>,
        scheduler: Arc<Scheduler>,
        (placement, links): (Placement, Option<JobLinks>),
    ) -> Arc<Self> {
        if let Some(links) = &links {
            scheduler.poll_links(links.endpoint());
        }
        let homes = homes(&placement, scheduler.regular());
        let lines = ring_lines(homes.iter().flatten().count());
        let rank = |home: &Option<u32>| RankShared::new(home.map_or(REMOTE_LINES, |_| lines));
        let ranks = homes.iter().map(rank).collect();
        let homes = homes.iter().map(|home| home.unwrap_or_default()).collect();
        let uname = rustix::system::uname();
        let nodes = links.as_ref().map_or(1, JobLinks::nodes);
        Arc::new(Self {
            ranks,
            outgoing: Mutex::new(Outgoing::new(placement.this_node, nodes)),
            pulling: Mutex::default(),
            incoming: Mutex::default(),
            spawned: Grown::default(),
            spawner: OnceLock::new(),
            agent: OnceLock::new(),
            births: Arc::default(),
            lines,
            world: World::of_nodes(app_numbers, homes, placement, nodes as u32),
            scheduler,
            far: links.map(Far::new),
            started: Instant::now(),
            processor_time_before: process_time(),
            processor_name: uname.nodename().to_string_lossy().into_owned(),
            wakes_in_flight: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            gate: Arc::default(),
            rounds: Arc::default(),
            renewals: watch::Sender::new(None),
            moving: Moving::default(),
            ran_before: OnceLock::new(),
            mourning: Mourning::default(),
            spans: Spans::default(),
            sampler: Arc::default(),
            counts_partners: AtomicBool::new(false),
        })
    }

    /// The same job on this node in its next life: its ranks are placed on `nodes`, and nothing has happened there yet.
    ///
    /// # Errors
    /// They cannot be placed so, or not now.
    pub(super) fn again(&self, nodes: Box<[u32]>) -> Result<Arc<Self>, Immovable> {
        let this_node = self.world.this_node();
        let homes = self.homes_among(&nodes);
        let lines = ring_lines(nodes.iter().filter(|node| **node == this_node).count());
        let rank =
            |node: &u32| RankShared::new(if *node == this_node { lines } else { REMOTE_LINES });
        let ranks = nodes.iter().map(rank).collect();
        let world = self.world.renewed(nodes, homes)?;
        let far = self.far.as_ref().map(Far::again);
        if let Some(far) = &far {
            self.scheduler.poll_links(far.links.endpoint());
        }
        let nodes = far.as_ref().map_or(1, |far| far.links.nodes());
        let next = Arc::new(Self {
            ranks,
            spawned: Grown::default(),
            spawner: self.spawner.clone(),
            agent: self.agent.clone(),
            births: self.births.clone(),
            lines,
            world,
            scheduler: self.scheduler.clone(),
            far,
            outgoing: Mutex::new(Outgoing::new(this_node, nodes)),
            pulling: Mutex::default(),
            incoming: Mutex::default(),
            started: self.started,
            processor_time_before: self.processor_time_before,
            processor_name: self.processor_name.clone(),
            wakes_in_flight: AtomicU64::new(0),
            ending: AtomicBool::new(self.is_ending()),
            gate: self.gate.clone(),
            rounds: self.rounds.clone(),
            renewals: watch::Sender::new(None),
            moving: Moving::default(),
            ran_before: self.ran_before.clone(),
            mourning: self.mourning.again(),
            // Such a job is placed once.
            spans: Spans::default(),
            sampler: self.sampler.clone(),
            counts_partners: AtomicBool::new(self.counts_partners()),
        });
        self.sampler.follow(&next);
        Ok(next)
    }

    /// For each rank a worker: those that are here already stay on theirs, and others come to where there are few.
    fn homes_among(&self, nodes: &[u32]) -> Vec<u32> {
        let this_node = self.world.this_node();
        let stays = |rank: u32| self.world.is_local(rank);
        let mut load = vec![0_u32; self.scheduler.regular() as usize];
        for (rank, _) in (0..).zip(nodes).filter(|(rank, node)| **node == this_node && stays(*rank))
        {
            load[self.home(rank) as usize] += 1;
        }
        let mut home = |(rank, node): (u32, &u32)| {
            if *node != this_node || stays(rank) {
                return if *node == this_node { self.home(rank) } else { 0 };
            }
            let fewest = (0..).zip(&load).min_by_key(|(_, ranks)| **ranks).map_or(0, |(at, _)| at);
            load[fewest as usize] += 1;
            fewest
        };
        (0..).zip(nodes).map(&mut home).collect()
    }

    /// The worker on which `rank`, which is of this node, is placed.
    pub(crate) fn home(&self, rank: u32) -> u32 {
        self.world.lane(rank)
    }

    /// Lets no rank of this node begin anything that may wait.
    pub(super) fn close_gate(&self) {
        self.gate.set(Cut::Closed);
        // Other waits go on; those with a limit would end at any time.
        let threads = self.local_ranks().filter_map(|rank| self.rank(rank).threads());
        threads.for_each(|threads| threads.tell_of_gate());
    }

    /// All ranks of this node look at what the gate says.
    pub(super) fn tell_of_gate(&self) {
        self.local_ranks().for_each(|rank| self.rank(rank).tell_of_gate());
    }

    /// The ranks of this node.
    pub(crate) fn local_ranks(&self) -> impl Iterator<Item = u32> {
        let first = (0..self.world.known()).filter(|rank| self.world.is_local(*rank));
        first.chain(self.spawned.iter().map(|(index, _)| self.world.spawned_number(index)))
    }

    /// Makes it possible to spawn processes; once.
    pub(crate) fn set_spawner(&self, spawner: Arc<dyn Spawner>) {
        // A second one would be no better than the first.
        let _ = self.spawner.set(spawner);
    }

    /// How processes of this node were spawned.
    pub(crate) fn births(&self) -> &Births {
        &self.births
    }

    pub(crate) fn spawner(&self) -> Option<&dyn Spawner> {
        self.spawner.get().map(|spawner| &**spawner)
    }

    /// Cache lines of a rank's ring.
    pub(super) const fn lines(&self) -> usize {
        self.lines
    }

    /// The job's other nodes, if it has any.
    #[inline]
    pub(crate) const fn far(&self) -> Option<&Far> {
        self.far.as_ref()
    }

    /// Messages that were announced and whose data is here.
    pub(crate) const fn outgoing(&self) -> &Mutex<Outgoing> {
        &self.outgoing
    }

    /// Data of such messages that ranks of this node have asked for.
    pub(crate) const fn incoming(&self) -> &Mutex<Incoming> {
        &self.incoming
    }

    /// Its ranks that come here or leave.
    pub(super) const fn moving(&self) -> &Moving {
        &self.moving
    }

    /// A rank of this job.
    #[inline]
    pub(crate) fn rank(&self, rank: u32) -> &RankShared {
        match self.ranks.get(rank as usize) {
            Some(rank) => rank,
            None => self.spawned_rank(rank),
        }
    }

    #[cold]
    fn spawned_rank(&self, rank: u32) -> &RankShared {
        self.find(rank).expect("a rank of this job")
    }

    /// A rank that may be none of this node; those that were not there from the beginning must be.
    pub(super) fn find(&self, rank: u32) -> Option<&RankShared> {
        let spawned = || self.spawned.get(self.world.spawned_index(rank)?);
        self.ranks.get(rank as usize).or_else(spawned)
    }

    /// Wakes all members of `group` that are suspended in an MPI call, each worker its own: so the
    /// work is shared and the queues stay local.
    pub(crate) fn wake_group(self: &Arc<Self>, group: &Group) {
        let workers = self.scheduler.regular();
        self.wakes_in_flight.fetch_add(u64::from(workers), Ordering::AcqRel);
        for worker in 0..workers {
            let (job, group) = (self.clone(), group.clone());
            let wake = move || {
                job.wake_members(&group, worker);
                job.wakes_in_flight.fetch_sub(1, Ordering::AcqRel);
            };
            self.scheduler.run_on(worker, Box::new(wake));
        }
    }

    /// Whether some rank that is to go on may still look as if it waited.
    pub(crate) fn has_wakes_in_flight(&self) -> bool {
        self.wakes_in_flight.load(Ordering::Acquire) != 0
    }

    /// Wakes the members of `group` that are placed on `worker` and suspended in an MPI call.
    fn wake_members(&self, group: &Group, worker: u32) {
        let placed =
            |rank: &&RankShared| rank.task.get().is_some_and(|task| task.block() == worker);
        group
            .iter()
            .map(|rank| self.rank(rank))
            .filter(placed)
            .for_each(RankShared::wake_if_waiting);
    }

    /// All ranks with their numbers, those of other nodes only as far as they were there at the start.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = (u32, &RankShared)> {
        let spawned = self.spawned.iter();
        let spawned = spawned.map(|(index, rank)| (self.world.spawned_number(index), rank));
        (0..).zip(self.ranks.iter()).chain(spawned)
    }

    pub(crate) const fn world(&self) -> &Arc<World> {
        &self.world
    }

    pub(crate) const fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }

    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// What one rank of this node has used so far, if all have used the same.
    fn share_of_processor_time(&self) -> Duration {
        let used = process_time().saturating_sub(self.processor_time_before);
        used / self.local_ranks().count().max(1) as u32
    }

    pub(crate) fn processor_name(&self) -> &str {
        &self.processor_name
    }

    /// Messages and bytes sent by the ranks that have ended.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        self.ranks().fold((0, 0), |(messages, bytes), (_, rank)| {
            let (more, longer) = (&rank.messages, &rank.bytes);
            (messages + more.load(Ordering::Relaxed), bytes + longer.load(Ordering::Relaxed))
        })
    }

    /// Finds out what its ranks use, while somebody watches.
    pub(super) const fn sampler(&self) -> &Arc<Sampler> {
        &self.sampler
    }

    /// Whether it is counted which rank sends how much to which.
    #[inline]
    pub(crate) fn counts_partners(&self) -> bool {
        self.counts_partners.load(Ordering::Relaxed)
    }

    pub(super) fn set_counts_partners(&self, counts: bool) {
        self.counts_partners.store(counts, Ordering::Relaxed);
    }

    /// What the ranks are told to do at switch points.
    pub(crate) const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Where ranks leave their state.
    pub(crate) const fn rounds(&self) -> &Arc<Rounds> {
        &self.rounds
    }

    /// The job goes on after it had run for so long; once.
    pub(crate) fn set_ran_before(&self, time: Duration) {
        // A job is restarted before it begins, and only then.
        let _ = self.ran_before.set(time);
    }

    /// How long the job has run, with what it had run before it was restarted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed() + self.ran_before.get().copied().unwrap_or_default()
    }

    /// From now on no deadlock is looked for: the job is being ended. Returns whether it was already.
    pub(crate) fn set_ending(&self) -> bool {
        self.ending.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for JobShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobShared").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Drop for JobShared {
    fn drop(&mut self) {
        if let Some(far) = &self.far {
            self.scheduler.forget_links(far.links.endpoint());
        }
        // The ranks' memories fall free, and the monitor empties them.
        self.scheduler.wake_monitor();
    }
}

/// Tells a rank's shared state when a system call waits for the outside.
#[derive(Debug)]
pub(crate) struct OutsideWaits {
    pub(crate) job: Arc<JobShared>,
    pub(crate) rank: u32,
}

impl WasiHooks for OutsideWaits {
    fn wait_begins(&self, on: WasiWait) {
        let shared = self.job.rank(self.rank);
        *shared.outside.lock() = Some(on);
        shared.set_doing(OUTSIDE);
    }

    fn wait_ends(&self) {
        self.job.rank(self.rank).set_doing(RUNNING);
    }

    fn blocks(&self) {
        LocalQueue::hand_over();
    }

    fn cpu_time(&self) -> Option<Duration> {
        let shared = self.job.rank(self.rank);
        // Threads of a rank are fibers of their own; what they use together is not kept apart.
        let task = shared.task().filter(|_| shared.threads().is_none())?;
        Some(task.processor_time(|| self.job.share_of_processor_time()))
    }
}
