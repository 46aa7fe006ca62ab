//! The worker threads of a runtime, and the arbiter for control.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use actix::prelude::*;
use crossbeam_deque::Worker as Deque;

use super::run_loop::RunLoop;
use crate::error::Error;
use crate::job::JobShared;
use crate::scheduler::{Scheduler, Task};

/// A worker, as an actor on its own arbiter: control messages reach it between two bursts.
#[derive(Debug)]
struct WorkerActor {
    scheduler: Arc<Scheduler>,
    index: u32,
}

impl Actor for WorkerActor {
    type Context = Context<Self>;
}

/// The ranks of a job that are placed on this worker are to start.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct StartRanks {
    job: Arc<JobShared>,
}

impl Handler<StartRanks> for WorkerActor {
    type Result = ();

    fn handle(&mut self, message: StartRanks, _: &mut Self::Context) {
        debug_assert!(self.index < self.scheduler.regular(), "spares are given no ranks");
        let tasks = message.job.ranks().iter().filter_map(|rank| rank.task());
        tasks.filter(|task| task.block() == self.index).for_each(Task::wake);
    }
}

/// All threads of a runtime; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Workers {
    scheduler: Arc<Scheduler>,
    stop: Arc<AtomicBool>,
    system: System,
    arbiters: Vec<Arbiter>,
    actors: Vec<Addr<WorkerActor>>,
    control_thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts a worker for each queue.
    pub(crate) fn start(
        scheduler: &Arc<Scheduler>,
        deques: Vec<Deque<Arc<Task>>>,
        spins: bool,
    ) -> Result<Self, Error> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let control = move || {
            let runner = System::new();
            // The starter waits for this; it cannot be gone.
            let _ = sender.send(System::current());
            if let Err(cause) = runner.run() {
                tracing::error!(%cause, "the control thread ended early");
            }
        };
        let control_thread = std::thread::Builder::new()
            .name("faasm-control".to_owned())
            .spawn(control)
            .map_err(|cause| Error::Start { what: "control thread", cause })?;
        let system = receiver.recv().map_err(|_| Error::Start {
            what: "control thread",
            cause: std::io::Error::other("it ended at once"),
        })?;
        System::set_current(system.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let (mut arbiters, mut actors) = (Vec::new(), Vec::new());
        for (index, deque) in (0..).zip(deques) {
            let arbiter = Arbiter::with_tokio_rt(event_loop);
            let run_loop = RunLoop::new(scheduler.clone(), index, spins, stop.clone());
            arbiter.spawn(run_loop.run(deque));
            let scheduler = scheduler.clone();
            let actor = WorkerActor { scheduler, index };
            actors.push(WorkerActor::start_in_arbiter(&arbiter.handle(), move |_| actor));
            arbiters.push(arbiter);
        }
        let (scheduler, control_thread) = (scheduler.clone(), Some(control_thread));
        Ok(Self { scheduler, stop, system, arbiters, actors, control_thread })
    }

    /// The arbiter for everything that is not a worker's.
    pub(crate) fn control(&self) -> &ArbiterHandle {
        self.system.arbiter()
    }

    /// Starts all ranks of a job whose tasks are set.
    pub(crate) fn wake_all(&self, job: &Arc<JobShared>) {
        for actor in &self.actors[..self.scheduler.regular() as usize] {
            actor.do_send(StartRanks { job: job.clone() });
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for index in 0..self.scheduler.len() {
            self.scheduler.unpark(index);
        }
        for arbiter in self.arbiters.drain(..) {
            arbiter.stop();
            // A rank that computes for ever keeps its worker; the process's end ends it.
            if !self.scheduler.is_polling() {
                let _ = arbiter.join();
            }
        }
        self.scheduler.clear();
        self.system.stop();
        if let Some(thread) = self.control_thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn event_loop() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event loop needs a few file descriptors; check `ulimit -n`")
}
