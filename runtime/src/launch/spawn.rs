//! Starting further programs for a running job (`MPI_Comm_spawn`).
//!
//! A spawned process has the job's environment and output and its parent's directories, and reads no
//! input. It is supervised as every other rank.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use actix::WeakAddr;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_shim::spawn_port::{SpawnProgram, SpawnRequest, Surroundings};
use faasm_mpi_shim::world::Family;
use faasm_vm::{ContentHash, GuestMemory, Pool};
use parking_lot::Mutex;
use wasmtime::InstancePre;

use super::prepare::link;
use crate::checkpoint::{Birth, Births, SavedDir};
use crate::faaslet::{FaasletState, Own, Start, ThreadFacts, Trial, run};
use crate::host::wasi::{OutputSink, Preopen, WasiCtx, WasiSetupError};
use crate::job::{AppSpec, Born, JobShared, MAX_RANKS, OutsideWaits, Spawner, Supervisor};
use crate::module::{Module, ModuleError, ModuleLoader};
use crate::scheduler::{Scheduler, Task};

/// What starting programs for one job needs.
pub(crate) struct ProgramSpawner {
    pub(crate) loader: ModuleLoader,
    pub(crate) pool: Arc<Pool>,
    pub(crate) no_memory: GuestMemory,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) spins: bool,
    pub(crate) trial: Trial,
    /// The supervisor holds the job, which holds this.
    pub(crate) supervisor: WeakAddr<Supervisor>,
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) output: Option<Arc<dyn OutputSink>>,
    /// The programs that the job began with.
    pub(crate) known: Vec<Module>,
    /// Those of which processes were spawned.
    pub(crate) linked: Mutex<HashMap<[u8; 32], Linked>>,
}

/// A program that is ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Linked {
    module: Module,
    program: InstancePre<FaasletState>,
}

/// A program that is ready to be started.
struct Ready {
    linked: Linked,
    args: Vec<String>,
    preopens: Arc<[Preopen]>,
    bytes: u64,
    processes: u32,
}

impl Spawner for ProgramSpawner {
    fn spawn(&self, job: &Arc<JobShared>, request: SpawnRequest) -> Result<Arc<Family>> {
        let SpawnRequest { programs, parents } = request;
        let ready = |program| self.ready(job.births(), program);
        let ready: Vec<Ready> = programs.into_iter().map(ready).collect::<Result<_>>()?;
        let count: u64 = ready.iter().map(|ready| u64::from(ready.processes)).sum();
        if count > u64::from(MAX_RANKS) {
            let detail = format!("{count} processes are more than the {MAX_RANKS} of a node");
            return Err(MpiError::argument(ErrorClass::Spawn, "maxprocs", detail));
        }
        let gone = || MpiError::new(ErrorClass::Spawn, "the job is being ended");
        let supervisor = self.supervisor.upgrade().filter(|_| !job.is_ending()).ok_or_else(gone)?;
        // Whatever is wrong with them is found out before there are processes.
        for ready in &ready {
            let birth = ready.birth((0, count as u32), Vec::new());
            self.wasi(job, &birth, (0, ready.preopens.clone())).map_err(unfit)?;
        }
        if ready.iter().any(|ready| ready.linked.module.shares_memory()) {
            job.world().expect_shared_windows();
        }
        let workers = u64::from(self.scheduler.regular());
        let apps = (0..)
            .zip(&ready)
            .flat_map(|(app, ready)| std::iter::repeat_n(app, ready.processes as usize));
        // In blocks, as the first ranks are.
        let members: Vec<(u32, u32)> =
            (0..).zip(apps).map(|(at, app)| ((at * workers / count) as u32, app)).collect();
        let family = job.world().add_family(&members, parents)?;
        job.add_ranks(family.group.iter());
        let mut born = Vec::new();
        for (at, (number, (home, app))) in (0..).zip(family.group.iter().zip(members)) {
            let ready = &ready[app as usize];
            let known = job.world().save_family(number).unwrap_or_default();
            let birth = Arc::new(ready.birth((at, count as u32), known));
            let wasi = self.wasi(job, &birth, (number, ready.preopens.clone())).map_err(unfit)?;
            born.push((number, birth.clone()));
            job.births().add(number, birth);
            if self.takes_stacks() && !ready.linked.module.is_migratable() {
                job.births().add_stiff(number);
            }
            let start = Start {
                rank: number,
                own: ready.linked.own(wasi),
                restored: None,
                coming: None,
                job: job.clone(),
                pool: self.pool.clone(),
                no_memory: self.no_memory.clone(),
                output: self.output.clone(),
                supervisor: supervisor.clone(),
                spins: self.spins,
                trial: self.trial,
            };
            job.rank(number).set_task(Task::new(&self.scheduler, home, Box::pin(run(start))));
        }
        job.births().announce(&born);
        supervisor.do_send(Born { ranks: family.group.iter().collect() });
        family.group.iter().for_each(|number| job.rank(number).wake());
        Ok(family)
    }

    fn again(
        &self,
        job: &Arc<JobShared>,
        rank: u32,
        birth: &Birth,
    ) -> std::result::Result<Own, String> {
        let linked = self.linked((&birth.name, birth.hash), || {
            let bytes = job.births().program(&birth.hash);
            let bytes = bytes.ok_or_else(|| format!("the program {} is not here", birth.name))?;
            self.load(&birth.name, &bytes)
        })?;
        let open = |dir: &SavedDir| Preopen::open(Path::new(&dir.host), &dir.guest, dir.read_only);
        let preopens = birth.dirs.iter().map(open).collect::<std::result::Result<_, _>>();
        let preopens = preopens.map_err(|error: WasiSetupError| with_causes(&error))?;
        let wasi = self.wasi(job, birth, (rank, preopens)).map_err(|error| with_causes(&error))?;
        Ok(linked.own(wasi))
    }
}

impl Linked {
    fn new(module: Module) -> std::result::Result<Self, crate::Error> {
        module.check_program()?;
        let app = AppSpec::new(module, 1);
        Ok(Self { program: link(&app)?, module: app.module })
    }

    /// What one process of it starts with.
    fn own(&self, wasi: WasiCtx) -> Own {
        Own {
            program: self.program.clone(),
            wasi,
            threads: ThreadFacts::of(self.module.facts()),
            beginning: self.module.beginning(),
            migratable: self.module.is_migratable(),
        }
    }
}

impl Ready {
    /// What its process of this rank among so many, of this family, is begun again with.
    fn birth(&self, (rank, of): (u32, u32), family: Vec<u8>) -> Birth {
        Birth {
            name: self.linked.module.name().to_owned(),
            hash: *self.linked.module.content_hash().as_bytes(),
            bytes: self.bytes,
            args: self.args.clone(),
            dirs: self.preopens.iter().map(saved_dir).collect(),
            rank,
            of,
            family,
        }
    }
}

impl ProgramSpawner {
    /// Loads and links a program.
    fn ready(&self, births: &Births, program: SpawnProgram) -> Result<Ready> {
        let SpawnProgram { command, bytes, args, processes, surroundings } = program;
        let refused = |cause: String| MpiError::argument(ErrorClass::Spawn, "command", cause);
        let len = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let linked = match bytes {
            Some(bytes) => {
                let hash = *ContentHash::of(&bytes).as_bytes();
                let linked = self.linked((&command, hash), || self.load(&command, &bytes));
                let linked = linked.map_err(refused)?;
                if linked.module.is_migratable() && self.began_with(&hash).is_none() {
                    births.keep_program(hash, bytes.into());
                }
                linked
            }
            None => {
                let absent = || {
                    refused(format!(
                        "there is no file {command} in the program's directories, and no program of the \
                         job is called so; the path is looked up from the working directory, and the \
                         info key path names further directories"
                    ))
                };
                let module = self.known.iter().find(|module| module.name() == command);
                let module = module.ok_or_else(absent)?;
                let name = (command.as_str(), *module.content_hash().as_bytes());
                self.linked(name, || Ok(module.clone())).map_err(refused)?
            }
        };
        let preopens = preopens(&surroundings)?;
        Ok(Ready { linked, args, preopens, bytes: len, processes })
    }

    /// The program with this hash, if the job began with it.
    fn began_with(&self, hash: &[u8; 32]) -> Option<&Module> {
        self.known.iter().find(|module| module.content_hash().as_bytes() == hash)
    }

    /// The program with this hash under this name: one that the job began with, or that `load` gives. It is linked once.
    fn linked(
        &self,
        (name, hash): (&str, [u8; 32]),
        load: impl FnOnce() -> std::result::Result<Module, String>,
    ) -> std::result::Result<Linked, String> {
        let known = self.linked.lock().get(&hash).cloned();
        let linked = match known {
            Some(linked) => linked,
            None => {
                let module = self.began_with(&hash).cloned().map_or_else(load, Ok)?;
                let linked = Linked::new(module).map_err(|error| with_causes(&error))?;
                self.linked.lock().insert(hash, linked.clone());
                linked
            }
        };
        Ok(Linked { module: linked.module.named(name), program: linked.program })
    }

    /// Whether the stacks of the ranks that the job began with can be taken.
    fn takes_stacks(&self) -> bool {
        self.known.iter().all(Module::is_migratable)
    }

    /// A program that the job did not begin with. Its stack can be taken if that is so of the others and it allows it.
    fn load(&self, name: &str, bytes: &[u8]) -> std::result::Result<Module, String> {
        let load = |migratable: bool| {
            let loader = self.loader.clone().with_migratable(migratable);
            loader.load_bytes(name, bytes)
        };
        let module = match load(self.takes_stacks()) {
            Err(why @ ModuleError::NotMigratable { .. }) => {
                tracing::warn!(
                    "{why}; it is spawned all the same, and there are neither checkpoints nor moves while it runs"
                );
                load(false)
            }
            loaded => loaded,
        };
        module.map_err(|error| with_causes(&error))
    }

    /// The system interface of the process with this number.
    fn wasi(
        &self,
        job: &Arc<JobShared>,
        birth: &Birth,
        (number, preopens): (u32, Arc<[Preopen]>),
    ) -> std::result::Result<WasiCtx, WasiSetupError> {
        let args = std::iter::once(&birth.name).chain(&birth.args).cloned().collect();
        let mut builder = WasiCtx::builder()
            .args(args)
            .shared_env(self.env.clone())
            .preopens(preopens)
            .rank(number)
            .hooks(Arc::new(OutsideWaits { job: job.clone(), rank: number }));
        if let Some(output) = &self.output {
            builder = builder.output(output.clone());
        }
        let place = (birth.rank, birth.of);
        for (key, value) in super::prepare::rank_variables(place, place) {
            builder = builder.env(key, &value.to_string());
        }
        builder.build()
    }
}

fn unfit(error: WasiSetupError) -> MpiError {
    MpiError::argument(ErrorClass::Spawn, "argv", error.to_string())
}

/// A directory under the name that it has on the machine now.
fn saved_dir(preopen: &Preopen) -> SavedDir {
    let link = format!("/proc/self/fd/{}", preopen.dir.as_raw_fd());
    // Without it the process cannot begin elsewhere, which is said then.
    let host = std::fs::read_link(link).unwrap_or_default();
    let host = host.to_string_lossy().into_owned();
    SavedDir { host, guest: preopen.guest.to_string(), read_only: preopen.read_only }
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
