//! The life of a Faaslet: instance, `_start`, end.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use actix::Addr;
use faasm_mpi_shim::MpiCtx;
use faasm_mpi_shim::gate::Door;
use faasm_vm::{GuestMemory, Pool};
use wasmtime::{Instance, InstancePre, Store};

use super::exit::RankExit;
use super::image;
use super::port::RankPort;
use super::proto;
use super::renew;
use super::stack::{self, StackState};
use super::state::FaasletState;
use super::thread::{Parts, Stacks, Thread, ThreadFacts, Threads};
use crate::checkpoint::{Checkpoint, Muster, RankImage};
use crate::host::wasi::{OutputSink, SharedWasi, WasiCtx};
use crate::job::{Arrival, JobShared, RankExited, Supervisor};
use crate::module::Beginning;

/// What a rank has of its own when it starts.
pub(crate) struct Own {
    pub(crate) program: InstancePre<FaasletState>,
    /// How its instance begins, if the program initialises itself.
    pub(crate) beginning: Option<Beginning>,
    pub(crate) wasi: WasiCtx,
    /// Whether the program is in the variant whose stack can be taken.
    pub(crate) migratable: bool,
    /// What its threads need, if it may have several.
    pub(crate) threads: Option<ThreadFacts>,
}

/// What a rank of a program is to show that can be moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    /// How often its call stack is taken down by itself.
    pub(crate) every: Option<NonZeroU32>,
    /// Whether it stays at some call until it is moved, and at its last one until all ranks have been.
    pub(crate) stays: bool,
}

/// A rank stays at the call after fewer than two to this power others. Few are more likely than many: some programs make few.
const STAY_CALLS_BITS_MAX: u32 = 10;

impl Trial {
    /// The access to the gate of its job that a rank has which begins here, or comes from elsewhere.
    fn door(self, (job, rank): (&JobShared, u32), begins: bool) -> Door {
        let door = Door::new(job.gate().clone(), rank, self.every);
        if !self.stays {
            return door;
        }
        let random = RandomState::new().build_hasher().finish();
        let calls = (1 << (random % u64::from(STAY_CALLS_BITS_MAX + 1))) as u32;
        door.stays_after(begins.then_some((random >> 32) as u32 % calls))
    }
}

/// Everything a rank needs to start.
pub(crate) struct Start {
    pub(crate) rank: u32,
    pub(crate) own: Own,
    pub(crate) job: Arc<JobShared>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) no_memory: GuestMemory,
    pub(crate) output: Option<Arc<dyn OutputSink>>,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) spins: bool,
    /// What it is to show, if its program is migratable.
    pub(crate) trial: Trial,
    /// What it was, in a job that goes on.
    pub(crate) restored: Option<Restored>,
    /// It comes from another node, if it comes.
    pub(crate) coming: Option<Arc<Arrival>>,
}

/// A rank of a job that goes on, as far as it can be put back without an instance.
pub(crate) struct Restored {
    pub(crate) mpi: MpiCtx<RankPort>,
    pub(crate) image: RankImage,
    pub(crate) checkpoint: Arc<Checkpoint>,
    /// None runs before the memory of each is what it was.
    pub(crate) muster: Arc<Muster>,
}

/// What an instance is to be when it is there.
type Was = (RankImage, Arc<Checkpoint>, Arc<Muster>);

/// Runs a rank from its instance to its end, and tells the supervisor how it went.
pub(crate) async fn run(start: Start) {
    let mut farewell = Farewell {
        rank: start.rank,
        supervisor: start.supervisor.clone(),
        output: start.output.clone(),
        exit: Some(RankExit::Killed),
    };
    start.job.rank(start.rank).start();
    if start.coming.is_some() {
        // Until it is here, its end is another node's concern.
        farewell.exit = None;
    }
    // It counts as running until the supervisor knows of its end.
    // Its worker is one task of tokio, which would otherwise have the channels that ranks wait at come to rest after so
    // many uses, until the worker gives way.
    let (job, rank) = (start.job.clone(), start.rank);
    farewell.exit = tokio::task::unconstrained(execute(start, &mut farewell.exit)).await;
    if let (Some(threads), Some(exit)) = (job.rank(rank).threads(), &farewell.exit) {
        threads.leave_span(exit);
    }
}

/// What the call of a program's entry function has come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    /// It has returned.
    Returned,
    /// The rank goes on on another node.
    Elsewhere,
}

/// The rank's end; none on this node if it goes on elsewhere.
///
/// `dropped` is what its end is while it runs, if its fiber is dropped where it stands.
async fn execute(start: Start, dropped: &mut Option<RankExit>) -> Option<RankExit> {
    let Start {
        rank,
        own: Own { program, beginning, wasi, migratable, threads },
        mut job,
        coming,
        pool,
        no_memory,
        spins,
        supervisor,
        ..
    } = start;
    let every = start.trial.every;
    let begins = start.restored.is_none() && coming.is_none();
    let door = migratable.then(|| Arc::new(start.trial.door((&job, rank), begins)));
    let (mpi, stack, was) = match start.restored {
        Some(Restored { mpi, image, checkpoint, muster }) => {
            let stack = StackState::arriving(every, image.frames.clone());
            (mpi, Some(stack), Some((image, checkpoint, muster)))
        }
        None => {
            let stack = migratable.then(|| StackState::new(every));
            (MpiCtx::new(RankPort::new(job.clone(), rank, spins)), stack, None)
        }
    };
    let (mpi, wasi, thread) = match threads {
        None => (mpi, wasi, None),
        Some(facts) => {
            let hooks = wasi.hooks.clone();
            let wasi = SharedWasi::new(wasi);
            let own = wasi.of_thread(hooks);
            let program = program.clone();
            let stacks = migratable.then_some(Stacks { every });
            let parts = Parts { rank, facts, program, wasi, supervisor, spins, stacks, mpi };
            let group = Threads::new(parts, &job);
            job.rank(rank).set_threads(group.clone());
            let main = group.main().clone();
            let stand_in = MpiCtx::new(RankPort::new(job.clone(), rank, spins));
            (stand_in, own, Some(Thread::new(group, main)))
        }
    };
    let _threads = thread.as_ref().map(|thread| EndOfThreads(thread.group.clone()));
    let state = FaasletState { mpi, wasi, memory: no_memory, thread, stack, door };
    let mut store = Store::new(program.module().engine(), state);
    let program = (&program, beginning.as_ref());
    let begun = begin(&mut store, program, &pool, (&mut job, rank), (was, coming)).await;
    let result = match begun {
        Ok(Some(instance)) => {
            *dropped = Some(RankExit::Killed);
            call_start(&mut store, &instance, &mut job, rank).await
        }
        Ok(None) => Ok(Ended::Elsewhere),
        Err(error) => Err(error),
    };
    if matches!(result, Ok(Ended::Elsewhere)) {
        return None;
    }
    let running = job.rank(rank).is_initialized();
    let traffic = |mpi: &MpiCtx<RankPort>| (mpi.sent_messages, mpi.sent_bytes);
    let state = store.data();
    let (messages, bytes) = match &state.thread {
        None => traffic(&state.mpi),
        Some(thread) => thread.group.seat.with(|mpi| traffic(mpi)),
    };
    job.rank(rank).set_traffic(messages, bytes);
    Some(match result {
        Ok(_) => RankExit::exited(0, running),
        Err(error) => RankExit::from_error(&error, running),
    })
}

/// Makes the rank's instance, and whatever the rank has been before of it; `None` when it does not come here after all.
async fn begin(
    store: &mut Store<FaasletState>,
    (program, beginning): (&InstancePre<FaasletState>, Option<&Beginning>),
    pool: &Pool,
    (job, rank): (&mut Arc<JobShared>, u32),
    (was, coming): (Option<Was>, Option<Arc<Arrival>>),
) -> wasmtime::Result<Option<Instance>> {
    let first: &JobShared = job;
    let settle = |store: &mut _, instance: &_| settle(store, instance, pool, first, rank);
    // What goes on has been initialised.
    let beginning = beginning.filter(|_| was.is_none() && coming.is_none());
    let instance = proto::begin(store, program, beginning, settle).await?;
    if let Some((image, checkpoint, muster)) = was {
        let failed = |why: String| wasmtime::Error::msg(format!("it cannot be put back: {why}"));
        image::put(store, &instance, &image).map_err(failed)?;
        checkpoint.fill(rank, &store.data().memory).map_err(|error| failed(error.to_string()))?;
        image::share_windows(store).map_err(failed)?;
        begin_threads(threads_of(store), image).await.map_err(failed)?;
        stack::rewinds(store, &instance)?;
        muster.come().await;
    }
    if let Some(coming) = coming
        && !renew::arrive(store, &instance, &coming, job).await?
    {
        return Ok(None);
    }
    release_threads(store);
    Ok(Some(instance))
}

/// Calls the program's entry function until it returns for good.
async fn call_start(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    job: &mut Arc<JobShared>,
    rank: u32,
) -> wasmtime::Result<Ended> {
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call_async(&mut *store, ()).await?;
    loop {
        // The round may end as soon as the gate was looked at.
        let round = job.rounds().round();
        if stack::has_left_for_checkpoint(store)
            && !leave(store, instance, job, (rank, round)).await
        {
            return Ok(Ended::Elsewhere);
        }
        if !stack::goes_on(store, instance)? {
            return Ok(Ended::Returned);
        }
        start.call_async(&mut *store, ()).await?;
    }
}

/// The rank has left in the round with this number: hands over what it is, and waits until it may go on. Returns whether
/// it does so on this node.
async fn leave(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    job: &mut Arc<JobShared>,
    (rank, round): (u32, u64),
) -> bool {
    let others = match threads_of(store) {
        Some(group) => group.gather(job.rounds(), round).await,
        None => Some(Ok(Vec::new())),
    };
    let stays = match others {
        Some(others) => {
            let taken = others.and_then(|others| image::take(store, instance, rank, others));
            renew::leave(store, job, (rank, round), taken).await
        }
        // Another thread could not leave.
        None => true,
    };
    if stays {
        release_threads(store);
    }
    stays
}

/// Begins the rank's other threads, which run when they are released.
async fn begin_threads(group: Option<Arc<Threads>>, image: RankImage) -> Result<(), String> {
    match (group, image.threads) {
        (Some(group), Some(threads)) => group.begin_again(threads.others).await,
        _ => Ok(()),
    }
}

fn release_threads(store: &Store<FaasletState>) {
    if let Some(group) = threads_of(store) {
        group.camp.release();
    }
}

/// The rank's threads, if it may have several.
fn threads_of(store: &Store<FaasletState>) -> Option<Arc<Threads>> {
    store.data().thread.as_ref().map(|thread| thread.group.clone())
}

/// The program's memory.
pub(super) fn memory_of(
    store: &mut Store<FaasletState>,
    instance: &Instance,
) -> Option<wasmtime::Memory> {
    MEMORY_NAMES.iter().find_map(|name| instance.get_memory(&mut *store, name))
}

/// Makes the new instance's memory known to everybody who copies to or from it.
fn settle(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    pool: &Pool,
    job: &JobShared,
    rank: u32,
) -> wasmtime::Result<GuestMemory> {
    let memory = memory_of(store, instance)
        .and_then(|memory| pool.memory_at(memory.data_ptr(&store)))
        .ok_or_else(|| wasmtime::Error::msg("the module exports no linear memory"))?;
    store.data_mut().memory = memory.clone();
    if let Some(thread) = &store.data().thread {
        thread.group.set_memory(memory.clone());
        thread.group.seat.with(|mpi| mpi.set_memory(memory.clone()));
    }
    store.data_mut().mpi.set_memory(memory.clone());
    job.rank(rank).set_memory(memory.clone());
    Ok(memory)
}

/// Tells the supervisor about the end of a rank, also when its fiber is dropped where it stands.
struct Farewell {
    rank: u32,
    supervisor: Addr<Supervisor>,
    output: Option<Arc<dyn OutputSink>>,
    /// None for one that goes on elsewhere.
    exit: Option<RankExit>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let Some(mut exit) = self.exit.take() else { return };
        if let Some(output) = &self.output {
            output.close(self.rank);
        }
        if std::thread::panicking() {
            let reason = "a bug of the runtime ended this rank; its message stands above";
            exit = RankExit::Failed { reason: reason.to_owned() };
        }
        self.supervisor.do_send(RankExited { rank: self.rank, exit });
    }
}

/// Ends the rank's other threads with its main thread.
struct EndOfThreads(Arc<Threads>);

impl Drop for EndOfThreads {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Names under which a module or its load-time rewriting exports the memory.
const MEMORY_NAMES: [&str; 2] = ["memory", "faasm.memory.0"];
