//! The runtime: workers, the engine and what starts jobs on them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use actix::Actor;
use faasm_mpi_shim::world::Placement;
use faasm_vm::artifact::{ArtifactCache, ArtifactConfig};
use faasm_vm::{EngineConfig, GuestMemory, VmEngine};
use parking_lot::Mutex;

use crate::checkpoint::Muster;
use crate::checkpoint::Tombstone;
use crate::error::Error;
use crate::faaslet::{RankExit, RankPort, Trial};
use crate::job::{
    Control, Cutter, End, JobBuilder, JobHandle, JobShared, JobSpec, Outcome, RankEvent,
    RankExited, Supervisor,
};
use crate::launch::{Cradle, Launch, ProgramSpawner, Restart, saved_apps, writer};
use crate::message::JobLinks;
use crate::module::{Module, ModuleLoader, ProgramStore, Progress, Variant};
use crate::scheduler::Scheduler;
use crate::worker::{Monitor, Workers};

/// A running set of workers; clones share it. It ends when the last clone and job are gone.
#[derive(Clone, Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    loader: ModuleLoader,
    programs: ProgramStore,
    engine: VmEngine,
    no_memory: GuestMemory,
    jobs: Jobs,
    scheduler: Arc<Scheduler>,
    spins: bool,
    // Dropped in this order: first nobody looks at the workers any more, then they end.
    _monitor: Monitor,
    workers: Workers,
}

type Jobs = Arc<Mutex<Vec<(Weak<JobShared>, actix::Addr<Supervisor>)>>>;

/// Configures a [`Runtime`].
#[derive(Clone, Debug, Default)]
pub struct RuntimeBuilder {
    workers: Option<u32>,
    cache: ArtifactConfig,
    no_cache: bool,
    progress: Progress,
    migratable: bool,
    engine: EngineConfig,
}

impl RuntimeBuilder {
    /// Number of worker threads. Default: one for each core.
    #[must_use]
    pub const fn workers(mut self, workers: u32) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Where compiled code is kept. Default: the user's cache directory.
    #[must_use]
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache.dir = Some(dir.into());
        self
    }

    /// Compiles every program anew and keeps nothing.
    #[must_use]
    pub const fn no_cache(mut self) -> Self {
        self.no_cache = true;
        self
    }

    /// Makes the variant of each program whose call stack can be taken and built up again. Default: no.
    #[must_use]
    pub const fn migratable(mut self, migratable: bool) -> Self {
        self.migratable = migratable;
        self
    }

    /// What to show while a program is compiled.
    #[must_use]
    pub const fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// When threads cannot be had or the machine cannot run compiled WebAssembly.
    pub fn build(self) -> Result<Runtime, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let regular = self.workers.unwrap_or(cores).max(1);
        let (scheduler, deques) = Scheduler::new(regular, cores + SPARES_MORE);
        let spins = regular <= cores && cores > 1;
        // The threads start while this one makes the engine.
        let workers = Workers::start(&scheduler, deques, spins)?;
        let engine = VmEngine::new(&self.engine).map_err(Error::Engine)?;
        let workers = workers.finish()?;
        let jobs = Jobs::default();
        let (watched, pool) = (jobs.clone(), engine.pool().clone());
        let look_around = move || {
            end_deadlocks(&watched);
            pool.tidy();
        };
        let monitor = Monitor::start(scheduler.clone(), workers.spare_starter(), look_around)
            .map_err(|cause| Error::Start { what: "monitor", cause })?;
        let kept = self.cache.dir.clone().filter(|_| !self.no_cache);
        let programs = ProgramStore::new(kept.as_deref());
        let cache =
            if self.no_cache { ArtifactCache::disabled() } else { ArtifactCache::new(self.cache) };
        let loader = ModuleLoader::new(engine.clone(), cache)
            .with_progress(self.progress)
            .with_migratable(self.migratable);
        let inner = Inner {
            loader,
            programs,
            engine,
            no_memory: GuestMemory::empty(),
            jobs,
            scheduler,
            spins,
            _monitor: monitor,
            workers,
        };
        Ok(Runtime { inner: Arc::new(inner) })
    }
}

impl Runtime {
    /// A builder with the defaults.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Loads a program from a file, compiling it unless its code is in the cache.
    ///
    /// # Errors
    /// When the file cannot be read or is no WebAssembly program for this runtime.
    pub fn load_file(&self, path: impl AsRef<Path>) -> Result<Module, Error> {
        Ok(self.inner.loader.load_file(path.as_ref())?)
    }

    /// Loads a program from memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// When the bytes are no WebAssembly program for this runtime.
    pub fn load_bytes(&self, name: &str, bytes: &[u8]) -> Result<Module, Error> {
        Ok(self.inner.loader.load_bytes(name, bytes)?)
    }

    /// Loads a program from memory in a variant.
    pub(crate) fn load_variant(
        &self,
        name: &str,
        bytes: &[u8],
        variant: Variant,
    ) -> Result<Module, Error> {
        let loader = self.inner.loader.clone();
        let loader = loader
            .with_migratable(variant == Variant::Migratable)
            .with_forwarding(variant == Variant::Forwarding);
        Ok(loader.load_bytes(name, bytes)?)
    }

    /// Where programs from elsewhere are kept.
    pub(crate) fn programs(&self) -> &ProgramStore {
        &self.inner.programs
    }

    /// Describes a job that runs `module`.
    pub fn job(&self, module: &Module) -> JobBuilder {
        JobBuilder::new(self.clone(), module.clone())
    }

    /// Number of worker threads.
    pub fn workers(&self) -> u32 {
        self.inner.scheduler.regular()
    }

    /// Starts a job on this node alone.
    pub(crate) fn spawn(&self, spec: JobSpec) -> Result<JobHandle, Error> {
        Ok(self.prepare(spec, None)?.start())
    }

    /// Makes everything ready for a job, or for this node's part of a job that is spread over
    /// several: from then on messages for its ranks may arrive.
    pub(crate) fn prepare(
        &self,
        spec: JobSpec,
        spread: Option<(Placement, JobLinks)>,
    ) -> Result<PreparedJob, Error> {
        let inner = &self.inner;
        let placement = spread.as_ref().map(|(placement, _)| placement);
        let trial = Trial { every: spec.rebuild_stacks, stays: spec.stays_to_move };
        let (is_tolerant, stays_open) = (spec.tolerates_failures, spec.stays_open);
        let (apps, checkpoints, restart) =
            (saved_apps(&spec.apps), spec.checkpoints.clone(), spec.restart.clone());
        let launch = Launch::prepare(spec, placement)?;
        let placed = match (spread, &restart) {
            (Some((placement, links)), _) => (placement, Some(links)),
            (None, Some(from)) => (Placement::one_node(from.ranks() as usize), None),
            (None, None) => (Placement::one_node(launch.app_numbers().len()), None),
        };
        let shared = JobShared::new(launch.app_numbers(), inner.scheduler.clone(), placed);
        launch.begin_spans(&shared);
        if is_tolerant {
            shared.world().tolerate_failures();
        }
        if launch.shares_memory() {
            shared.world().expect_shared_windows();
        }
        if trial.stays {
            shared.gate().have_to_move(0..shared.world().known());
        }
        let restart = restart.map(|from| Restart::begin(from, &apps, &shared)).transpose()?;
        if let Some(restart) = &restart {
            restart.remember_births(&shared)?;
        }
        let muster = restart.as_ref().map(|restart| restart.muster().clone());
        let writer = checkpoints.map(|options| writer(options, apps)).transpose()?;
        let cutter = writer.map(|writer| Cutter::new(shared.clone(), writer));
        let (events, received) = flume::unbounded();
        let (reporter, report) = flume::bounded(1);
        let limits = (launch.timeout(), stays_open);
        let supervisor = Supervisor::new(shared.clone(), limits, events, reporter);
        let supervisor = Supervisor::start_in_arbiter(inner.workers.control(), move |_| supervisor);
        inner.jobs.lock().push((Arc::downgrade(&shared), supervisor.clone()));
        let spawner = Arc::new(ProgramSpawner {
            loader: inner.loader.clone(),
            pool: inner.engine.pool().clone(),
            no_memory: inner.no_memory.clone(),
            scheduler: inner.scheduler.clone(),
            spins: inner.spins,
            trial,
            supervisor: supervisor.downgrade(),
            env: launch.env(),
            output: launch.output(),
            known: launch.modules(),
            linked: Mutex::default(),
        });
        shared.set_spawner(spawner.clone());
        let cradle = Arc::new(Cradle {
            launch,
            pool: inner.engine.pool().clone(),
            no_memory: inner.no_memory.clone(),
            scheduler: inner.scheduler.clone(),
            spins: inner.spins,
            trial,
            supervisor: supervisor.clone(),
        });
        // All tasks exist before the first one runs, for a rank may send to any other at once.
        let mut ended = Vec::new();
        for rank in shared.local_ranks() {
            if let Some(stone) = restart.as_ref().and_then(|restart| restart.tombstone(rank)) {
                shared.rank(rank).set_traffic(stone.messages, stone.bytes);
                ended.push(stone);
                continue;
            }
            let mut own = cradle.own(rank, &shared)?;
            let port = || RankPort::new(shared.clone(), rank, inner.spins);
            let restored =
                restart.as_ref().map(|restart| restart.rank(rank, port(), &mut own.wasi));
            cradle.place((rank, own), &shared, restored.transpose()?, None);
        }
        shared.world().end_restore();
        let control = Control::Here { shared: shared.clone(), supervisor };
        let handle = JobHandle { control, events: received, report, cutter };
        let runtime = self.clone();
        Ok(PreparedJob { runtime, shared, handle, muster, cradle, spawner, ended })
    }
}

/// A job whose ranks are ready to run. Unless it is started it must be ended by its handle.
#[derive(Debug)]
pub(crate) struct PreparedJob {
    runtime: Runtime,
    shared: Arc<JobShared>,
    handle: JobHandle,
    /// Where the ranks of a job that goes on wait for each other.
    muster: Option<Arc<Muster>>,
    cradle: Arc<Cradle>,
    spawner: Arc<ProgramSpawner>,
    /// Ranks of a job that goes on that had ended before.
    ended: Vec<Tombstone>,
}

impl PreparedJob {
    /// Lets the ranks run.
    pub(crate) fn start(self) -> JobHandle {
        for Tombstone { rank, code, .. } in self.ended {
            self.cradle.supervisor.do_send(RankExited { rank, exit: RankExit::Completed { code } });
        }
        match &self.muster {
            Some(muster) if muster.is_complete() => muster.go(),
            Some(muster) => {
                self.runtime.inner.workers.wake_all(&self.shared);
                muster.go();
            }
            None => self.runtime.inner.workers.wake_all(&self.shared),
        }
        self.handle
    }

    /// Puts back the memories of ranks that go on, on all workers, and waits until that is done: before, nobody on
    /// another node may reach them. Nothing for ranks that begin.
    ///
    /// # Errors
    /// Why a rank cannot be put back; the job has ended here then.
    pub(crate) fn come_back(&self) -> Result<(), String> {
        let Some(muster) = &self.muster else { return Ok(()) };
        self.runtime.inner.workers.wake_all(&self.shared);
        muster.wait(self.handle.events()).map_err(|event| {
            let RankEvent { rank, exit } = event;
            self.handle.kill(1);
            format!("rank {rank}: {}", exit.reason().unwrap_or_else(|| "it was ended".to_owned()))
        })
    }

    /// Where further ranks begin.
    pub(crate) const fn cradle(&self) -> &Arc<Cradle> {
        &self.cradle
    }

    /// Who makes processes that are spawned.
    pub(crate) const fn spawner(&self) -> &Arc<ProgramSpawner> {
        &self.spawner
    }

    /// What the ranks share.
    pub(crate) const fn shared(&self) -> &Arc<JobShared> {
        &self.shared
    }

    /// The job's handle.
    pub(crate) const fn handle(&self) -> &JobHandle {
        &self.handle
    }
}

/// Spare workers beyond one for each core. Each rank that computes for long occupies a worker, and the
/// others need one that is left; the kernel shares the cores among them. Asleep a spare costs a thread.
const SPARES_MORE: u32 = 6;

/// Ends every job whose ranks all wait for each other, and forgets the jobs that have ended.
fn end_deadlocks(jobs: &Jobs) {
    let mut jobs = jobs.lock();
    jobs.retain(|(shared, _)| shared.strong_count() > 0);
    for (shared, supervisor) in jobs.iter() {
        let Some(shared) = shared.upgrade() else { continue };
        if let Some(states) = shared.deadlock()
            && !shared.set_ending()
        {
            supervisor.do_send(End { outcome: Outcome::Deadlock { states } });
        }
    }
}
