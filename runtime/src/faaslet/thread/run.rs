//! The life of a thread that is not its rank's first: instance, entry function, end.

use std::sync::Arc;
use std::time::Instant;

use faasm_mpi_shim::MpiCtx;
use faasm_mpi_shim::gate::Door;
use faasm_vm::on_memory;
use faasm_vm::rewrite::{STACK_LIMIT_EXPORT, global_export};
use tokio::sync::oneshot;
use wasmtime::{Instance, Store, Val};

use super::group::Threads;
use super::mpi::InMpi;
use super::park::ThreadShared;
use super::saved;
use crate::checkpoint::ThreadImage;
use crate::faaslet::port::RankPort;
use crate::faaslet::stack::{self, StackState};
use crate::faaslet::{FaasletState, RankExit, image};
use crate::job::JobShared;
use crate::scheduler::Spin;

/// The function in which a thread begins: its number, and what the spawner gave.
const ENTRY: &str = "__faasm_thread_main";
/// Sets the thread's copy of thread-local variables up.
const INIT_TLS: &str = "__wasm_init_tls";

/// The thread that a store belongs to.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) group: Arc<Threads>,
    pub(crate) shared: Arc<ThreadShared>,
    /// Both for the time of a wait. Only this thread counts references to it; what all of them count would go from
    /// processor to processor with each wait.
    pub(super) own: Arc<(Arc<Threads>, Arc<ThreadShared>)>,
    pub(crate) spin: Spin,
    /// Calls of polling loops since the fiber was last left.
    pub(super) polls: u32,
    pub(super) in_mpi: InMpi,
    /// When the wait ends at the latest in which it left its stack and to which it has not come back.
    pub(super) deadline: Option<Instant>,
}

impl Thread {
    pub(crate) fn new(group: Arc<Threads>, shared: Arc<ThreadShared>) -> Self {
        let spin = Spin::new(group.spins);
        let own = Arc::new((group.clone(), shared.clone()));
        Self { group, shared, own, spin, polls: 0, in_mpi: InMpi::default(), deadline: None }
    }
}

/// The thread has called `pthread_exit`; the error that unwinds its stack.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the thread has ended")]
pub(crate) struct ThreadExit;

/// What a thread did that no program may do; the error that unwinds its stack.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ThreadFault {
    /// Its stack is full.
    #[error(
        "stack overflow in thread {thread}: its stack is full. Raise OMP_STACKSIZE, or the stack size \
         in the thread's attributes, or use less of the stack"
    )]
    StackOverflow {
        /// The thread.
        thread: u32,
    },
    /// It waits for something that is no word of memory.
    #[error("{what}")]
    Word {
        /// What is wrong, in words.
        what: String,
    },
}

/// A thread that is about to begin.
pub(super) struct NewThread {
    pub(super) group: Arc<Threads>,
    pub(super) shared: Arc<ThreadShared>,
    pub(super) begins: Begins,
}

/// Where a thread begins.
pub(super) enum Begins {
    /// At its entry function.
    Anew { argument: i32, stack_top: i32, stack_limit: i32, tls: i32 },
    /// Where it left its stack, when its rank's threads are released.
    Again {
        image: ThreadImage,
        /// Told when it is there, or why it cannot be.
        ready: oneshot::Sender<Result<(), String>>,
    },
}

/// Runs a thread to its end.
pub(super) async fn run(thread: NewThread, job: Arc<JobShared>) {
    let (group, shared) = (thread.group.clone(), thread.shared.clone());
    let farewell = Farewell { group: group.clone(), shared: shared.clone() };
    shared.set_running();
    let result = execute(thread, job).await;
    let Err(error) = result else { return };
    if error.is::<ThreadExit>() {
        return;
    }
    let running = group.job().is_some_and(|job| job.rank(group.rank).is_initialized());
    let exit = RankExit::from_error(&error, running).in_thread(shared.id());
    drop(farewell);
    group.leave_span(&exit);
    group.fail(exit);
}

async fn execute(thread: NewThread, job: Arc<JobShared>) -> wasmtime::Result<()> {
    let NewThread { group, shared, begins } = thread;
    let id = shared.id();
    let made = instantiate(&group, shared, &job).await;
    drop(job);
    let (mut store, instance, argument) = match begins {
        Begins::Anew { argument, stack_top, stack_limit, tls } => {
            let (mut store, instance) = made?;
            if let Some(index) = group.facts.stack_pointer {
                set_global(&mut store, &instance, &global_export(index), stack_top)?;
            }
            if let Ok(init) = instance.get_typed_func::<i32, ()>(&mut store, INIT_TLS) {
                init.call_async(&mut store, tls).await?;
            }
            set_global(&mut store, &instance, STACK_LIMIT_EXPORT, stack_limit)?;
            (store, instance, argument)
        }
        Begins::Again { image, ready } => {
            let release = group.camp.next_release();
            let put = made.map_err(|error| error.to_string()).and_then(|(mut store, instance)| {
                put(&mut store, &instance, &group, image)?;
                Ok((store, instance))
            });
            let (answer, there) = match put {
                Ok(there) => (Ok(()), Some(there)),
                Err(why) => (Err(why), None),
            };
            // The rank, if it is still there, tells why it cannot come back.
            let _ = ready.send(answer);
            let Some((mut store, instance)) = there else { return Ok(()) };
            release.await;
            take_stand_in(&mut store, &group);
            // Its frames do not need what it was given at first.
            (store, instance, 0)
        }
    };
    let entry = instance.get_typed_func::<(i32, i32), ()>(&mut store, ENTRY).map_err(|cause| {
        cause.context(format!("a thread needs the program's function {ENTRY}; link with faasm-cc"))
    })?;
    loop {
        entry.call_async(&mut store, (id.cast_signed(), argument)).await?;
        leave_for_checkpoint(&mut store, &instance, &group).await;
        if !stack::goes_on(&mut store, &instance)? {
            return Ok(());
        }
    }
}

async fn instantiate(
    group: &Arc<Threads>,
    shared: Arc<ThreadShared>,
    job: &Arc<JobShared>,
) -> wasmtime::Result<(Store<FaasletState>, Instance)> {
    let memory = group.memory().cloned();
    let memory = memory.ok_or_else(|| wasmtime::Error::msg("a thread before its rank"))?;
    let state = FaasletState {
        mpi: MpiCtx::new(RankPort::new(job.clone(), group.rank, group.spins)),
        wasi: group.wasi.of_thread(shared.clone()),
        memory: memory.clone(),
        thread: Some(Thread::new(group.clone(), shared)),
        stack: group.stacks.map(|stacks| StackState::new(stacks.every)),
        door: group
            .stacks
            .map(|stacks| Arc::new(Door::new(job.gate().clone(), group.rank, stacks.every))),
    };
    let mut store = Store::new(group.program.module().engine(), state);
    store.data_mut().mpi.set_memory(memory.clone());
    let made = Box::pin(group.program.instantiate_async(&mut store));
    let instance = on_memory(&memory, made).await?;
    Ok((store, instance))
}

/// Makes a new thread what one was that left its stack.
fn put(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    group: &Threads,
    image: ThreadImage,
) -> Result<(), String> {
    image::put_globals(store, instance, &image.globals)?;
    let stacks = group.stacks.ok_or("its program is not migratable")?;
    let state = store.data_mut();
    state.stack = Some(StackState::arriving(stacks.every, image.frames));
    if let Some(thread) = &mut state.thread {
        thread.set_left_ns(image.left_ns);
    }
    stack::rewinds(store, instance).map_err(|error| error.to_string())
}

/// If the thread has left its stack because the whole job is to be written, waits until it may go on.
async fn leave_for_checkpoint(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    group: &Arc<Threads>,
) {
    let Some(job) = group.job() else { return };
    let rounds = job.rounds().clone();
    drop(job);
    // The round may end as soon as the gate was looked at.
    let round = rounds.round();
    if !stack::has_left_for_checkpoint(store) {
        return;
    }
    let left = saved::take(store, instance);
    let Some(id) = store.data().thread.as_ref().map(|thread| thread.shared.id()) else { return };
    group.camp.stay(&rounds, (round, id), left).await;
    take_stand_in(store, group);
}

/// The rank may have come to another life of its job.
fn take_stand_in(store: &mut Store<FaasletState>, group: &Threads) {
    if let Some(mpi) = group.stand_in() {
        store.data_mut().mpi = mpi;
    }
}

fn set_global(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    name: &str,
    value: i32,
) -> wasmtime::Result<()> {
    let global = instance.get_global(&mut *store, name);
    let global = global.ok_or_else(|| wasmtime::Error::msg(format!("no global {name}")))?;
    global.set(store, Val::I32(value))
}

/// Counts a thread out, also when its fiber is dropped where it stands.
struct Farewell {
    group: Arc<Threads>,
    shared: Arc<ThreadShared>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.group.thread_ended(&self.shared);
        if std::thread::panicking() {
            let reason =
                "a bug of the runtime ended a thread of this rank; its message stands above";
            self.group.fail(RankExit::Failed { reason: reason.to_owned() });
        }
    }
}
