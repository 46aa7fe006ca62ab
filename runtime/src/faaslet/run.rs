//! The life of a Faaslet: instance, `_start`, end.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix::Addr;
use faasm_mpi_shim::MpiCtx;
use faasm_mpi_shim::gate::Door;
use faasm_vm::{GuestMemory, Pool};
use wasmtime::{InstancePre, Store};

use super::exit::RankExit;
use super::port::RankPort;
use super::stack::{self, StackState};
use super::state::FaasletState;
use super::thread::{Parts, Thread, ThreadFacts, Threads};
use crate::host::wasi::{OutputSink, SharedWasi, WasiCtx};
use crate::job::{JobShared, RankExited, Supervisor};

/// Everything a rank needs to start.
pub(crate) struct Start {
    pub(crate) rank: u32,
    pub(crate) program: InstancePre<FaasletState>,
    pub(crate) wasi: WasiCtx,
    pub(crate) job: Arc<JobShared>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) no_memory: GuestMemory,
    pub(crate) output: Option<Arc<dyn OutputSink>>,
    pub(crate) supervisor: Addr<Supervisor>,
    pub(crate) spins: bool,
    /// What its threads need, if it may have several.
    pub(crate) threads: Option<ThreadFacts>,
    /// How often its call stack is taken down, if it is migratable.
    pub(crate) rebuild_every: Option<NonZeroU32>,
}

/// Runs a rank from its instance to its end, and tells the supervisor how it went.
pub(crate) async fn run(start: Start) {
    let mut farewell = Farewell {
        rank: start.rank,
        supervisor: start.supervisor.clone(),
        output: start.output.clone(),
        exit: RankExit::Killed,
    };
    let shared = start.job.clone();
    shared.rank(start.rank).start();
    let _threads = EndOfThreads { job: shared.clone(), rank: start.rank };
    farewell.exit = execute(start).await;
    shared.rank(farewell.rank).end();
}

async fn execute(start: Start) -> RankExit {
    let Start { rank, program, wasi, job, pool, no_memory, spins, threads, supervisor, .. } = start;
    let mpi = MpiCtx::new(RankPort::new(job.clone(), rank, spins));
    let stack = start.rebuild_every.map(StackState::new);
    let door = start.rebuild_every.filter(|_| threads.is_none());
    let door = door.map(|every| Arc::new(Door::new(Arc::default(), Some(every))));
    let (mpi, wasi, thread) = match threads {
        None => (mpi, wasi, None),
        Some(facts) => {
            let hooks = wasi.hooks.clone();
            let wasi = SharedWasi::new(wasi);
            let own = wasi.of_thread(hooks);
            let program = program.clone();
            let parts = Parts { rank, facts, program, wasi, supervisor, spins, mpi };
            let group = Threads::new(parts, &job);
            job.rank(rank).set_threads(group.clone());
            let main = group.main().clone();
            let stand_in = MpiCtx::new(RankPort::new(job.clone(), rank, spins));
            (stand_in, own, Some(Thread::new(group, main)))
        }
    };
    let state = FaasletState { mpi, wasi, memory: no_memory, thread, stack, door };
    let mut store = Store::new(program.module().engine(), state);
    let result = call_start(&mut store, &program, &pool, &job, rank).await;
    let running = job.rank(rank).is_initialized();
    let traffic = |mpi: &MpiCtx<RankPort>| (mpi.sent_messages, mpi.sent_bytes);
    let state = store.data();
    let (messages, bytes) = match &state.thread {
        None => traffic(&state.mpi),
        Some(thread) => thread.group.seat.with(|mpi| traffic(mpi)),
    };
    job.rank(rank).set_traffic(messages, bytes);
    match result {
        Ok(()) => RankExit::exited(0, running),
        Err(error) => RankExit::from_error(&error, running),
    }
}

async fn call_start(
    store: &mut Store<FaasletState>,
    program: &InstancePre<FaasletState>,
    pool: &Pool,
    job: &JobShared,
    rank: u32,
) -> wasmtime::Result<()> {
    let instance = program.instantiate_async(&mut *store).await?;
    let memory = MEMORY_NAMES
        .iter()
        .find_map(|name| instance.get_memory(&mut *store, name))
        .and_then(|memory| pool.memory_at(memory.data_ptr(&store)))
        .ok_or_else(|| wasmtime::Error::msg("the module exports no linear memory"))?;
    store.data_mut().memory = memory.clone();
    if let Some(thread) = &store.data().thread {
        thread.group.set_memory(memory.clone());
        thread.group.seat.with(|mpi| mpi.set_memory(memory.clone()));
    }
    store.data_mut().mpi.set_memory(memory.clone());
    job.rank(rank).set_memory(memory);
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    start.call_async(&mut *store, ()).await?;
    while stack::goes_on(store, &instance)? {
        start.call_async(&mut *store, ()).await?;
    }
    Ok(())
}

/// Tells the supervisor about the end of a rank, also when its fiber is dropped where it stands.
struct Farewell {
    rank: u32,
    supervisor: Addr<Supervisor>,
    output: Option<Arc<dyn OutputSink>>,
    exit: RankExit,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(output) = &self.output {
            output.close(self.rank);
        }
        let mut exit = std::mem::replace(&mut self.exit, RankExit::Killed);
        if std::thread::panicking() {
            let reason = "a bug of the runtime ended this rank; its message stands above";
            exit = RankExit::Failed { reason: reason.to_owned() };
        }
        self.supervisor.do_send(RankExited { rank: self.rank, exit });
    }
}

/// Ends the rank's other threads with its main thread.
struct EndOfThreads {
    job: Arc<JobShared>,
    rank: u32,
}

impl Drop for EndOfThreads {
    fn drop(&mut self) {
        if let Some(threads) = self.job.rank(self.rank).threads() {
            threads.end();
        }
    }
}

/// Names under which a module or its load-time rewriting exports the memory.
const MEMORY_NAMES: [&str; 2] = ["memory", "faasm.memory.0"];
