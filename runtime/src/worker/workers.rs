//! The worker threads of a runtime, and the arbiter for control.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use actix::prelude::*;
use crossbeam_deque::Worker as Deque;
use parking_lot::Mutex;

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
        let tasks = message.job.ranks().filter_map(|(_, rank)| rank.task());
        tasks.filter(|task| task.block() == self.index).for_each(Task::wake);
    }
}

/// All threads of a runtime; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Workers {
    system: System,
    threads: Arc<Threads>,
    actors: Vec<Addr<WorkerActor>>,
    control_thread: Option<JoinHandle<()>>,
}

/// The threads of the workers, those included that are not needed yet.
#[derive(Debug)]
struct Threads {
    scheduler: Arc<Scheduler>,
    spins: bool,
    stop: Arc<AtomicBool>,
    arbiters: Mutex<Vec<Arbiter>>,
    /// Index and queue of each spare worker that has no thread yet.
    unstarted: Mutex<Vec<(u32, Deque<Arc<Task>>)>>,
}

/// Workers whose threads are being started.
pub(crate) struct Starting {
    control_thread: JoinHandle<()>,
    started: mpsc::Receiver<std::io::Result<Started>>,
    threads: Arc<Threads>,
}

/// What the control thread tells when it has started the others.
type Started = (System, Vec<Addr<WorkerActor>>);

impl Starting {
    /// Waits until the threads run.
    ///
    /// # Errors
    /// When a thread or its event loop cannot be had.
    pub(crate) fn finish(self) -> Result<Workers, Error> {
        let Self { control_thread, started, threads } = self;
        let failed = |cause| Error::Start { what: "worker threads", cause };
        let ended = || std::io::Error::other("the control thread ended at once");
        let (system, actors) = started.recv().map_err(|_| ended()).flatten().map_err(failed)?;
        Ok(Workers { system, threads, actors, control_thread: Some(control_thread) })
    }
}

impl Threads {
    /// Starts the thread of a worker.
    fn start(&self, index: u32, deque: Deque<Arc<Task>>) -> std::io::Result<Arbiter> {
        let arbiter = Arbiter::try_with_tokio_rt(event_loop)?;
        let scheduler = self.scheduler.clone();
        let run_loop = RunLoop::new(scheduler, index, self.spins, self.stop.clone());
        arbiter.spawn(run_loop.run(deque));
        Ok(arbiter)
    }

    /// Starts the threads of the workers that get ranks; the calling thread has a [`System`].
    fn start_regular(
        &self,
        deques: Vec<Deque<Arc<Task>>>,
    ) -> std::io::Result<Vec<Addr<WorkerActor>>> {
        let mut actors = Vec::new();
        for (index, deque) in (0..).zip(deques) {
            let arbiter = self.start(index, deque)?;
            let actor = WorkerActor { scheduler: self.scheduler.clone(), index };
            actors.push(WorkerActor::start_in_arbiter(&arbiter.handle(), move |_| actor));
            self.arbiters.lock().push(arbiter);
        }
        Ok(actors)
    }

    /// Starts the thread of a spare worker if there is one left without; it looks for work at once.
    fn start_spare(&self, system: &System) {
        let Some((index, deque)) = self.unstarted.lock().pop() else { return };
        System::set_current(system.clone());
        match self.start(index, deque) {
            Ok(arbiter) => self.arbiters.lock().push(arbiter),
            // The ranks behind one that computes wait until it ends, as they would on one core.
            Err(cause) => {
                tracing::warn!(%cause, "a spare worker cannot be started; check `ulimit -u`")
            }
        }
    }
}

impl Workers {
    /// Begins to start a worker for each queue; spare ones get their thread when they are needed.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(
        scheduler: &Arc<Scheduler>,
        mut deques: Vec<Deque<Arc<Task>>>,
        spins: bool,
    ) -> Result<Starting, Error> {
        let regular = scheduler.regular();
        let spare = deques.split_off(regular as usize);
        let threads = Arc::new(Threads {
            scheduler: scheduler.clone(),
            spins,
            stop: Arc::new(AtomicBool::new(false)),
            arbiters: Mutex::default(),
            // The lowest is started first.
            unstarted: Mutex::new(
                (regular..).zip(spare).collect::<Vec<_>>().into_iter().rev().collect(),
            ),
        });
        let (sender, started) = mpsc::channel();
        let ours = threads.clone();
        let control = move || {
            let runner = System::new();
            let regular = ours.start_regular(deques);
            drop(ours);
            let failed = regular.is_err();
            // The starter waits for this; it cannot be gone.
            let _ = sender.send(regular.map(|actors| (System::current(), actors)));
            if !failed && let Err(cause) = runner.run() {
                tracing::error!(%cause, "the control thread ended early");
            }
        };
        let control_thread = std::thread::Builder::new()
            .name("faasm-control".to_owned())
            .spawn(control)
            .map_err(|cause| Error::Start { what: "control thread", cause })?;
        Ok(Starting { control_thread, started, threads })
    }

    /// Starts a further spare worker when called, if there is one left; for the monitor.
    pub(crate) fn spare_starter(&self) -> impl Fn() + Send + 'static {
        let (threads, system) = (self.threads.clone(), self.system.clone());
        move || threads.start_spare(&system)
    }

    /// The arbiter for everything that is not a worker's.
    pub(crate) fn control(&self) -> &ArbiterHandle {
        self.system.arbiter()
    }

    /// Starts all ranks of a job whose tasks are set.
    pub(crate) fn wake_all(&self, job: &Arc<JobShared>) {
        for actor in &self.actors {
            actor.do_send(StartRanks { job: job.clone() });
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let scheduler = &self.threads.scheduler;
        self.threads.stop.store(true, Ordering::Release);
        for index in 0..scheduler.len() {
            scheduler.unpark(index);
        }
        for arbiter in self.threads.arbiters.lock().drain(..) {
            arbiter.stop();
            // A rank that computes for ever keeps its worker; the process's end ends it.
            if !scheduler.is_polling() {
                let _ = arbiter.join();
            }
        }
        scheduler.clear();
        self.system.stop();
        if let Some(thread) = self.control_thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn event_loop() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
