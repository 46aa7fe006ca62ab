//! Starting further programs for a running job (`MPI_Comm_spawn`).
//!
//! A spawned process has the job's environment and output and its parent's directories, and reads no
//! input. It is supervised as every other rank.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix::WeakAddr;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_shim::spawn_port::{SpawnProgram, SpawnRequest, Surroundings};
use faasm_mpi_shim::world::Family;
use faasm_vm::{GuestMemory, Pool};
use wasmtime::InstancePre;

use super::prepare::link;
use crate::faaslet::{FaasletState, Start, ThreadFacts, run};
use crate::host::wasi::{OutputSink, Preopen, WasiCtx};
use crate::job::{AppSpec, Born, JobShared, MAX_RANKS, OutsideWaits, Spawner, Supervisor};
use crate::module::{Beginning, Module, ModuleLoader};
use crate::scheduler::{Scheduler, Task};

/// What starting programs for one job needs.
pub(crate) struct ProgramSpawner {
    pub(crate) loader: ModuleLoader,
    pub(crate) pool: Arc<Pool>,
    pub(crate) no_memory: GuestMemory,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) spins: bool,
    pub(crate) rebuild_every: Option<NonZeroU32>,
    /// The supervisor holds the job, which holds this.
    pub(crate) supervisor: WeakAddr<Supervisor>,
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) output: Option<Arc<dyn OutputSink>>,
    /// The programs that the job began with.
    pub(crate) known: Vec<Module>,
}

/// A program that is ready to be started.
struct Ready {
    program: InstancePre<FaasletState>,
    beginning: Option<Beginning>,
    migratable: bool,
    args: Arc<[String]>,
    preopens: Arc<[Preopen]>,
    threads: Option<ThreadFacts>,
    processes: u32,
}

impl Spawner for ProgramSpawner {
    fn spawn(&self, job: &Arc<JobShared>, request: SpawnRequest) -> Result<Arc<Family>> {
        let SpawnRequest { programs, parents } = request;
        let ready: Vec<Ready> =
            programs.into_iter().map(|program| self.ready(program)).collect::<Result<_>>()?;
        let count: u64 = ready.iter().map(|ready| u64::from(ready.processes)).sum();
        if count > u64::from(MAX_RANKS) {
            let detail = format!("{count} processes are more than the {MAX_RANKS} of a node");
            return Err(MpiError::argument(ErrorClass::Spawn, "maxprocs", detail));
        }
        let gone = || MpiError::new(ErrorClass::Spawn, "the job is being ended");
        let supervisor = self.supervisor.upgrade().filter(|_| !job.is_ending()).ok_or_else(gone)?;
        let workers = u64::from(self.scheduler.regular());
        let apps = (0..)
            .zip(&ready)
            .flat_map(|(app, ready)| std::iter::repeat_n(app, ready.processes as usize));
        // In blocks, as the first ranks are.
        let members: Vec<(u32, u32)> =
            (0..).zip(apps).map(|(at, app)| ((at * workers / count) as u32, app)).collect();
        let family = job.world().add_family(&members, parents)?;
        job.add_ranks(family.group.iter());
        for (at, (number, (home, app))) in (0..).zip(family.group.iter().zip(members)) {
            let ready = &ready[app as usize];
            let wasi = self.wasi(job, ready, (number, at, count as u32))?;
            let start = Start {
                rank: number,
                program: ready.program.clone(),
                beginning: ready.beginning.clone(),
                threads: ready.threads,
                migratable: ready.migratable,
                restored: None,
                coming: None,
                wasi,
                job: job.clone(),
                pool: self.pool.clone(),
                no_memory: self.no_memory.clone(),
                output: self.output.clone(),
                supervisor: supervisor.clone(),
                spins: self.spins,
                rebuild_every: self.rebuild_every,
            };
            job.rank(number).set_task(Task::new(&self.scheduler, home, Box::pin(run(start))));
        }
        supervisor.do_send(Born { ranks: family.group.iter().collect() });
        family.group.iter().for_each(|number| job.rank(number).wake());
        Ok(family)
    }
}

impl ProgramSpawner {
    /// Loads and links a program.
    fn ready(&self, program: SpawnProgram) -> Result<Ready> {
        let SpawnProgram { command, bytes, args, processes, surroundings } = program;
        let refused = |cause: String| MpiError::argument(ErrorClass::Spawn, "command", cause);
        let module = match bytes {
            Some(bytes) => self
                .loader
                .load_bytes(&command, &bytes)
                .map_err(|error| refused(with_causes(&error)))?,
            None => self.known(&command).ok_or_else(|| {
                refused(format!(
                    "there is no file {command} in the program's directories, and no program of the \
                     job is called so; the path is looked up from the working directory, and the \
                     info key path names further directories"
                ))
            })?,
        };
        module.check_program().map_err(|error| refused(error.to_string()))?;
        let threads = ThreadFacts::of(module.facts());
        let app = AppSpec::new(module, processes);
        let program = link(&app).map_err(|error| refused(with_causes(&error)))?;
        let args = std::iter::once(command).chain(args).collect();
        let preopens = preopens(&surroundings)?;
        let (beginning, migratable) = (app.module.beginning(), app.module.is_migratable());
        Ok(Ready { program, beginning, migratable, args, preopens, threads, processes })
    }

    fn known(&self, name: &str) -> Option<Module> {
        self.known.iter().find(|module| module.name() == name).cloned()
    }

    /// The system interface of rank `at` of `count` spawned ones.
    fn wasi(
        &self,
        job: &Arc<JobShared>,
        ready: &Ready,
        (number, at, count): (u32, u32, u32),
    ) -> Result<WasiCtx> {
        let mut builder = WasiCtx::builder()
            .args(ready.args.clone())
            .shared_env(self.env.clone())
            .preopens(ready.preopens.clone())
            .rank(number)
            .hooks(Arc::new(OutsideWaits { job: job.clone(), rank: number }));
        if let Some(output) = &self.output {
            builder = builder.output(output.clone());
        }
        for (key, value) in super::prepare::rank_variables((at, count), (at, count)) {
            builder = builder.env(key, &value.to_string());
        }
        let wrong = |error: crate::host::wasi::WasiSetupError| {
            MpiError::argument(ErrorClass::Spawn, "argv", error.to_string())
        };
        builder.build().map_err(wrong)
    }
}

/// The directories that a rank handed over.
fn preopens(surroundings: &Surroundings) -> Result<Arc<[Preopen]>> {
    let directories = surroundings.0.downcast_ref::<Arc<[Preopen]>>().cloned();
    directories
        .ok_or_else(|| MpiError::new(ErrorClass::Intern, "these are no directories of a rank"))
}

/// An error with what caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
