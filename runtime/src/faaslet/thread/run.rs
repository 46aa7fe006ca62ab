//! The life of a thread that is not its rank's first: instance, entry function, end.

use std::sync::Arc;

use faasm_mpi_shim::MpiCtx;
use faasm_vm::on_memory;
use faasm_vm::rewrite::{STACK_LIMIT_EXPORT, global_export};
use wasmtime::{Instance, Store, Val};

use super::group::Threads;
use super::mpi::InMpi;
use super::park::ThreadShared;
use crate::faaslet::port::RankPort;
use crate::faaslet::{FaasletState, RankExit};
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
    pub(crate) spin: Spin,
    /// Calls of polling loops since the fiber was last left.
    pub(super) polls: u32,
    pub(super) in_mpi: InMpi,
}

impl Thread {
    pub(crate) fn new(group: Arc<Threads>, shared: Arc<ThreadShared>) -> Self {
        let spin = Spin::new(group.spins);
        Self { group, shared, spin, polls: 0, in_mpi: InMpi::default() }
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
    pub(super) argument: i32,
    pub(super) stack_top: i32,
    pub(super) stack_limit: i32,
    pub(super) tls: i32,
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
    let running = group.job.upgrade().is_some_and(|job| job.rank(group.rank).is_initialized());
    let exit = RankExit::from_error(&error, running).in_thread(shared.id());
    drop(farewell);
    group.fail(exit);
}

async fn execute(thread: NewThread, job: Arc<JobShared>) -> wasmtime::Result<()> {
    let NewThread { group, shared, argument, stack_top, stack_limit, tls } = thread;
    let memory = group.memory().cloned();
    let memory = memory.ok_or_else(|| wasmtime::Error::msg("a thread before its rank"))?;
    let wasi = group.wasi.of_thread(shared.clone());
    let port = RankPort::new(job, group.rank, group.spins);
    let id = shared.id();
    let state = FaasletState {
        mpi: MpiCtx::new(port),
        wasi,
        memory: memory.clone(),
        thread: Some(Thread::new(group.clone(), shared)),
        stack: None,
        door: None,
    };
    let mut store = Store::new(group.program.module().engine(), state);
    store.data_mut().mpi.set_memory(memory.clone());
    let made = Box::pin(group.program.instantiate_async(&mut store));
    let instance = on_memory(&memory, made).await?;
    if let Some(index) = group.facts.stack_pointer {
        set_global(&mut store, &instance, &global_export(index), stack_top)?;
    }
    if let Ok(init) = instance.get_typed_func::<i32, ()>(&mut store, INIT_TLS) {
        init.call_async(&mut store, tls).await?;
    }
    set_global(&mut store, &instance, STACK_LIMIT_EXPORT, stack_limit)?;
    let entry = instance.get_typed_func::<(i32, i32), ()>(&mut store, ENTRY).map_err(|cause| {
        cause.context(format!("a thread needs the program's function {ENTRY}; link with faasm-cc"))
    })?;
    entry.call_async(&mut store, (id.cast_signed(), argument)).await
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
