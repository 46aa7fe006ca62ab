//! All threads of a rank: starting them, ending them, and what they share.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use actix::Addr;
use faasm_mpi_shim::MpiCtx;
use faasm_vm::GuestMemory;
use faasm_vm::rewrite::{ModuleFacts, SHARED_PAGES_MAX};
use parking_lot::Mutex;
use wasmtime::InstancePre;

use super::camp::Camp;
use super::mpi::Seat;
use super::park::ThreadShared;
use super::run::{self, Begins, NewThread};
use super::wait::WaitTable;
use crate::faaslet::port::RankPort;
use crate::faaslet::{FaasletState, RankExit};
use crate::host::wasi::SharedWasi;
use crate::job::{JobShared, RankExited, Supervisor};
use crate::scheduler::{Scheduler, Task, Turn};

/// Most threads of a rank that are alive at a time, the main thread included.
pub(super) const THREADS_MAX: u32 = 4_096;

/// Most ranges below stacks that a rank may name: as many as it may have stacks, several times over.
const GUARDS_MAX: usize = 4 * THREADS_MAX as usize;

/// What of a program its threads need.
#[derive(Copy, Clone, Debug)]
pub(crate) struct ThreadFacts {
    /// Pages of memory it starts with.
    pub(crate) pages: u32,
    /// Pages it may have.
    pub(crate) pages_max: u32,
    /// Index of the global that holds the stack pointer.
    pub(crate) stack_pointer: Option<u32>,
}

impl ThreadFacts {
    /// The facts of a program with threads; `None` for one without.
    pub(crate) fn of(facts: &ModuleFacts) -> Option<Self> {
        let memory = facts.memory;
        let pages = |pages: u64| pages.min(SHARED_PAGES_MAX) as u32;
        memory.shared.then(|| Self {
            pages: pages(memory.min_pages),
            pages_max: pages(memory.max_pages.unwrap_or(SHARED_PAGES_MAX)),
            stack_pointer: facts.stack_pointer,
        })
    }
}

/// The threads of one rank.
pub(crate) struct Threads {
    pub(super) rank: u32,
    pub(super) facts: ThreadFacts,
    pub(super) program: InstancePre<FaasletState>,
    /// The job holds the ranks, and a rank its threads.
    job: Mutex<Weak<JobShared>>,
    pub(super) wasi: SharedWasi,
    pub(super) waits: WaitTable,
    pub(super) spins: bool,
    /// The rank's MPI state.
    pub(crate) seat: Seat,
    /// Where threads wait that have left their stacks.
    pub(crate) camp: Camp,
    /// How their stacks are taken, if the program is migratable.
    pub(super) stacks: Option<Stacks>,
    scheduler: Arc<Scheduler>,
    /// By which the scheduler knows the threads as those of one program.
    pub(super) owner: u64,
    supervisor: Addr<Supervisor>,
    /// Worker of the main thread.
    home: u32,
    memory: OnceLock<GuestMemory>,
    /// Pages of memory the program has asked for so far; all that it may have are there.
    pages: AtomicU32,
    /// End and start of the ranges below stacks.
    guards: Mutex<BTreeMap<u32, u32>>,
    main: Arc<ThreadShared>,
    others: Mutex<Others>,
    /// Threads that were started so far.
    started: AtomicU64,
    ending: AtomicBool,
}

/// How call stacks are taken.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Stacks {
    /// By itself at each so many-th switch point.
    pub(crate) every: Option<NonZeroU32>,
}

/// The threads besides the main one.
#[derive(Debug, Default)]
struct Others {
    alive: BTreeMap<u32, Arc<ThreadShared>>,
    last_id: u32,
}

/// What [`Threads::new`] is made of.
pub(crate) struct Parts {
    pub(crate) rank: u32,
    pub(crate) facts: ThreadFacts,
    pub(crate) program: InstancePre<FaasletState>,
    pub(crate) wasi: SharedWasi,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) spins: bool,
    pub(crate) stacks: Option<Stacks>,
    pub(crate) mpi: MpiCtx<RankPort>,
}

impl Threads {
    /// The threads of a rank that has only its main thread yet.
    pub(crate) fn new(parts: Parts, job: &Arc<JobShared>) -> Arc<Self> {
        let Parts { rank, facts, program, wasi, supervisor, spins, stacks, mpi } = parts;
        let main = ThreadShared::new(0);
        let owner = job.scheduler().new_owner();
        if let Some(task) = job.rank(rank).task() {
            task.set_owner(owner);
            main.set_task(task.clone());
        }
        main.set_running();
        Arc::new(Self {
            rank,
            facts,
            program,
            job: Mutex::new(Arc::downgrade(job)),
            wasi,
            waits: WaitTable::default(),
            spins,
            seat: Seat::new(mpi),
            camp: Camp::default(),
            stacks,
            scheduler: job.scheduler().clone(),
            owner,
            supervisor,
            home: job.home(rank),
            memory: OnceLock::new(),
            pages: AtomicU32::new(facts.pages),
            guards: Mutex::default(),
            main,
            others: Mutex::default(),
            started: AtomicU64::new(0),
            ending: AtomicBool::new(false),
        })
    }

    pub(crate) const fn main(&self) -> &Arc<ThreadShared> {
        &self.main
    }

    /// The job, as long as it is there.
    pub(super) fn job(&self) -> Option<Arc<JobShared>> {
        self.job.lock().upgrade()
    }

    /// The rank goes on in another life of its job, with this MPI state there.
    pub(crate) fn go_over(&self, job: &Arc<JobShared>, mpi: MpiCtx<RankPort>) {
        *self.job.lock() = Arc::downgrade(job);
        self.seat.replace(mpi);
    }

    /// What a thread has in place of the rank's MPI state while it is in no call.
    pub(crate) fn stand_in(&self) -> Option<MpiCtx<RankPort>> {
        let mut mpi = MpiCtx::new(RankPort::new(self.job()?, self.rank, self.spins));
        mpi.set_memory(self.memory()?.clone());
        Some(mpi)
    }

    pub(crate) const fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }

    /// The memory of all threads; `None` until the first instance is there.
    pub(crate) fn memory(&self) -> Option<&GuestMemory> {
        self.memory.get()
    }

    pub(crate) fn set_memory(&self, memory: GuestMemory) {
        let _ = self.memory.set(memory);
    }

    /// Pages of memory that the program has asked for.
    pub(crate) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Acquire)
    }

    /// Adds `more` pages; gives the number before, `None` when there would be too many.
    pub(crate) fn grow(&self, more: u32) -> Option<u32> {
        let grown = |pages: u32| pages.checked_add(more).filter(|p| *p <= self.facts.pages_max);
        self.pages.fetch_update(Ordering::AcqRel, Ordering::Acquire, grown).ok()
    }

    /// Sets the number of pages of a rank that is put back; `false` when its program cannot have so many.
    pub(super) fn set_pages(&self, pages: u32) -> bool {
        let fits = (self.facts.pages..=self.facts.pages_max).contains(&pages);
        if fits {
            self.pages.store(pages, Ordering::Release);
        }
        fits
    }

    /// End and start of the ranges that stacks may not reach.
    pub(super) fn guarded(&self) -> Vec<(u32, u32)> {
        self.guards.lock().iter().map(|(end, start)| (*end, *start)).collect()
    }

    /// Replaces those ranges; `false` when there are too many.
    pub(super) fn set_guarded(&self, guards: &[(u32, u32)]) -> bool {
        let fits = guards.len() <= GUARDS_MAX;
        if fits {
            *self.guards.lock() = guards.iter().copied().collect();
        }
        fits
    }

    /// Names a range that no stack above it may reach; `false` when there are too many.
    pub(crate) fn guard(&self, start: u32, end: u32) -> bool {
        let mut guards = self.guards.lock();
        let room = guards.len() < GUARDS_MAX || guards.contains_key(&end);
        if room {
            guards.insert(end, start);
        }
        room
    }

    /// The lowest address that a stack may have which begins at `top`: 0 without a guard below.
    fn stack_limit(&self, top: u32) -> u32 {
        self.guards.lock().range(..=top).next_back().map_or(0, |(end, _)| *end)
    }

    /// Starts a thread; its number, or `None` when there are too many.
    pub(super) fn spawn(self: &Arc<Self>, argument: i32, stack_top: i32, tls: i32) -> Option<u32> {
        let stack_limit = self.stack_limit(stack_top.cast_unsigned()).cast_signed();
        let mut others = self.others.lock();
        if others.alive.len() as u32 + 1 >= THREADS_MAX || self.is_ending() {
            return None;
        }
        let id = free_id(&mut others);
        let shared = ThreadShared::new(id);
        others.alive.insert(id, shared.clone());
        drop(others);
        let begins = Begins::Anew { argument, stack_top, stack_limit, tls };
        self.launch(NewThread { group: self.clone(), shared, begins })?;
        Some(id)
    }

    /// Runs a thread with a number that no other has; `None` when the job is over.
    pub(super) fn launch(self: &Arc<Self>, thread: NewThread) -> Option<()> {
        let job = self.job()?;
        let shared = thread.shared.clone();
        self.others.lock().alive.insert(shared.id(), shared.clone());
        let number = self.started.fetch_add(1, Ordering::AcqRel);
        // A team's threads are spread over the workers, beginning behind the main thread's.
        let workers = u64::from(self.scheduler.regular());
        let home = ((u64::from(self.home) + 1 + number) % workers) as u32;
        let task = Task::new(&self.scheduler, home, Box::pin(run::run(thread, job)));
        task.set_owner(self.owner);
        shared.set_task(task);
        shared.start();
        Some(())
    }

    /// The number that was last given to a thread.
    pub(super) fn last_id(&self) -> u32 {
        self.others.lock().last_id
    }

    pub(super) fn set_last_id(&self, id: u32) {
        self.others.lock().last_id = id;
    }

    /// Whether this holds for the numbers of all threads but the main one.
    pub(super) fn are_all(&self, holds: impl Fn(u32) -> bool) -> bool {
        self.others.lock().alive.keys().all(|id| holds(*id))
    }

    /// The job's gate says something else: whoever waits looks at it.
    pub(crate) fn tell_of_gate(&self) {
        self.seat.wake_sleepers();
        self.main.wake();
        self.others.lock().alive.values().for_each(|thread| thread.wake());
    }

    /// A thread is gone.
    pub(super) fn thread_ended(&self, thread: &ThreadShared) {
        thread.set_ended();
        let last = {
            let mut others = self.others.lock();
            others.alive.remove(&thread.id());
            others.alive.is_empty()
        };
        self.camp.has_ended();
        if last {
            // It may have left `main` and wait for this.
            self.main.wake();
        }
    }

    /// Tells whether each thread but the main one has its turn.
    pub(crate) fn add_turns(&self, mut add: impl FnMut(Turn)) {
        self.others.lock().alive.values().filter_map(|thread| thread.turn()).for_each(&mut add);
    }

    /// Whether no thread but the main one is alive.
    pub(super) fn is_alone(&self) -> bool {
        self.others.lock().alive.is_empty()
    }

    /// A thread other than the main one has ended the rank.
    pub(super) fn fail(&self, exit: RankExit) {
        // The first end counts; the supervisor hears no second one.
        if !self.ending.swap(true, Ordering::AcqRel) {
            self.supervisor.do_send(RankExited { rank: self.rank, exit });
        }
        self.cancel_others();
        self.main.cancel();
    }

    /// The rank is over: ends all threads but the main one. Those that compute end with their next wait.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.cancel_others();
    }

    /// Whether the rank is over.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    fn cancel_others(&self) {
        // What a fiber holds may ask for the lock when it is dropped.
        let alive: Vec<_> = self.others.lock().alive.values().cloned().collect();
        for thread in alive {
            thread.cancel();
        }
    }

    /// A number that changes whenever a thread does something else, and whether the main thread
    /// waits for another; `None` while a thread other than the main one can go on by itself.
    pub(crate) fn standstill(&self) -> Option<(u64, bool)> {
        let mut changes = self.started.load(Ordering::Acquire);
        for thread in self.others.lock().alive.values() {
            changes += thread.standstill()?.0;
        }
        let (more, main_waits) = self.main.standstill().unwrap_or_default();
        Some((changes + more, main_waits))
    }

    /// What the threads do, for a report; `None` while there is only the main one and it waits for no other.
    /// `main` is what that one does if it is not known here.
    pub(crate) fn describe(&self, main: &str) -> Option<String> {
        let others = self.others.lock();
        let main_waits = self.main.standstill().is_some_and(|(_, waits)| waits);
        if others.alive.is_empty() && !main_waits {
            return None;
        }
        let first = if main_waits { self.main.to_string() } else { format!("thread 0 {main}") };
        let mut text = format!("its threads: {first}");
        for thread in others.alive.values().take(THREADS_TOLD_MAX) {
            text = format!("{text}; {thread}");
        }
        match others.alive.len().saturating_sub(THREADS_TOLD_MAX) {
            0 => Some(text),
            more => Some(format!("{text}; and {more} more")),
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads").field("rank", &self.rank).finish_non_exhaustive()
    }
}

/// The next number that no living thread has.
fn free_id(others: &mut Others) -> u32 {
    loop {
        others.last_id = if others.last_id >= ID_MAX { 1 } else { others.last_id + 1 };
        if !others.alive.contains_key(&others.last_id) {
            return others.last_id;
        }
    }
}

/// Largest number of a thread: musl keeps flags in the bits above.
pub(super) const ID_MAX: u32 = (1 << 29) - 1;

/// Threads that a report of a rank names.
const THREADS_TOLD_MAX: usize = 16;
