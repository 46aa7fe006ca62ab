//! Starting further programs for a running job (`MPI_Comm_spawn`).
//!
//! A spawned process has the job's environment and output and its parent's directories, and reads no
//! input. It is supervised as every other rank. What follows when its program is there is in [`brood`](super::brood).

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use actix::{Addr, WeakAddr};
use bytes::Bytes;
use faasm_mpi_engine::dynamic::HostShare;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_shim::spawn_port::{Newborns, SpawnProgram, SpawnRequest, Surroundings};
use faasm_vm::{ContentHash, GuestMemory, Pool};
use parking_lot::Mutex;
use wasmtime::InstancePre;

use super::brood::{Programs, Ready, lanes, local_place, unable};
use super::prepare::link;
use crate::checkpoint::{Birth, Births, SavedDir};
use crate::faaslet::{FaasletState, Own, ThreadFacts, Trial};
use crate::host::wasi::{OutputSink, Preopen, WasiCtx, WasiSetupError};
use crate::job::{AppSpec, JobShared, MAX_RANKS, Spawner, Supervisor};
use crate::module::{Module, ModuleError, ModuleLoader};
use crate::scheduler::Scheduler;

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
    pub(super) module: Module,
    program: InstancePre<FaasletState>,
}

/// A program as the caller of `MPI_Comm_spawn` describes it.
pub(crate) struct Described {
    pub(crate) seed: Seed,
    /// Its bytes; nothing for one that the job began with, by its name.
    pub(crate) bytes: Option<Bytes>,
    /// The directories of its processes.
    pub(crate) preopens: Arc<[Preopen]>,
    /// The hosts that they may be on, if not all.
    pub(crate) hosts: Option<Vec<HostShare>>,
}

/// What processes of a program are spawned from, on whichever node.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    pub(crate) name: String,
    /// The hash of the program's bytes.
    pub(crate) hash: [u8; 32],
    /// How many these are.
    pub(crate) bytes: u64,
    /// The arguments after the name.
    pub(crate) args: Vec<String>,
    pub(crate) dirs: Vec<SavedDir>,
    pub(crate) processes: u32,
}

impl Spawner for ProgramSpawner {
    fn spawn(&self, job: &Arc<JobShared>, request: SpawnRequest) -> Result<Newborns> {
        let SpawnRequest { programs, parents } = request;
        let mut ready = Programs::new();
        for (app, program) in (0..).zip(programs) {
            check_hosts(&program, job.processor_name())?;
            let Described { seed, bytes, preopens, .. } = self.describe(program)?;
            let name = seed.name.clone();
            let bytes = || bytes.ok_or_else(|| format!("the program {name} is not here"));
            let program = self.get_ready(job.births(), seed, preopens, bytes);
            ready.insert(app, program.map_err(refused)?);
        }
        let count: u64 = ready.values().map(|ready| u64::from(ready.processes)).sum();
        if count > u64::from(MAX_RANKS) {
            let detail = format!("{count} processes are more than the {MAX_RANKS} of a node");
            return Err(MpiError::argument(ErrorClass::Spawn, "maxprocs", detail));
        }
        let supervisor = self.supervisor(job)?;
        self.try_out(job, &ready)?;
        let apps =
            ready.iter().flat_map(|(app, one)| std::iter::repeat_n(*app, one.processes as usize));
        let members: Vec<(u32, u32)> = self.lanes(count as u32).zip(apps).collect();
        let family = job.world().add_family(&members, parents)?;
        job.add_ranks(family.group.iter());
        let newborns = Newborns { context: family.parent_context, group: family.group.clone() };
        self.hatch(job, &ready, (family, supervisor))?.begin();
        Ok(newborns)
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
        let whose = (local_place(job.world(), rank), rank, opened(&birth.dirs)?);
        let wasi = self.wasi(job, birth, whose).map_err(|error| with_causes(&error))?;
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
    pub(super) fn own(&self, wasi: WasiCtx) -> Own {
        Own {
            program: self.program.clone(),
            wasi,
            threads: ThreadFacts::of(self.module.facts()),
            beginning: self.module.beginning(),
            migratable: self.module.is_migratable(),
        }
    }
}

impl ProgramSpawner {
    /// What a program is spawned from.
    ///
    /// # Errors
    /// `MPI_ERR_SPAWN` when it is no file and none of the job's programs.
    pub(crate) fn describe(&self, program: SpawnProgram) -> Result<Described> {
        let SpawnProgram { command, bytes, args, processes, surroundings, hosts } = program;
        let (len, hash) = match &bytes {
            Some(bytes) if bytes.is_empty() => {
                return Err(refused(format!("{command} is empty, and no WebAssembly program")));
            }
            Some(bytes) => (bytes.len() as u64, *ContentHash::of(bytes).as_bytes()),
            None => {
                let absent = || {
                    refused(format!(
                        "there is no file {command} in the program's directories, and no program of the \
                         job is called so; the path is looked up from the working directory, and the \
                         info key path names further directories"
                    ))
                };
                let module = self.known.iter().find(|module| module.name() == command);
                (0, *module.ok_or_else(absent)?.content_hash().as_bytes())
            }
        };
        let preopens = preopens(&surroundings)?;
        let dirs = preopens.iter().map(saved_dir).collect();
        let seed = Seed { name: command, hash, bytes: len, args, dirs, processes };
        Ok(Described { seed, bytes: bytes.map(Bytes::from), preopens, hosts })
    }

    /// Loads and links a program; its bytes are asked for if it is not known here.
    ///
    /// # Errors
    /// It cannot run here, in words.
    pub(crate) fn get_ready(
        &self,
        births: &Births,
        seed: Seed,
        preopens: Arc<[Preopen]>,
        program: impl FnOnce() -> std::result::Result<Bytes, String>,
    ) -> std::result::Result<Ready, String> {
        let Seed { name, hash, bytes, args, dirs, processes } = seed;
        let mut loaded = None;
        let linked = self.linked((&name, hash), || {
            let program = program()?;
            let module = self.load(&name, &program)?;
            loaded = Some(program);
            Ok(module)
        })?;
        if let Some(program) = loaded.filter(|_| linked.module.is_migratable()) {
            births.keep_program(hash, program);
        }
        Ok(Ready { linked, args, preopens, dirs, bytes, processes })
    }

    /// Whether the job began with the program with this hash.
    pub(crate) fn has(&self, hash: &[u8; 32]) -> bool {
        self.began_with(hash).is_some()
    }

    /// Whether processes of the program with this hash were spawned here.
    pub(crate) fn has_linked(&self, hash: &[u8; 32]) -> bool {
        self.linked.lock().contains_key(hash)
    }

    /// The supervisor of a job that goes on.
    ///
    /// # Errors
    /// `MPI_ERR_SPAWN` when it does not.
    pub(crate) fn supervisor(&self, job: &JobShared) -> Result<Addr<Supervisor>> {
        let supervisor = self.supervisor.upgrade().filter(|_| !job.is_ending());
        supervisor.ok_or_else(|| unable("the job is being ended".to_owned()))
    }

    /// The workers of so many processes.
    pub(crate) fn lanes(&self, processes: u32) -> impl Iterator<Item = u32> + use<> {
        lanes(self.scheduler.regular(), processes)
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
    pub(super) fn takes_stacks(&self) -> bool {
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
}

impl std::fmt::Debug for ProgramSpawner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgramSpawner").finish_non_exhaustive()
    }
}

/// These directories, opened on this machine.
///
/// # Errors
/// One cannot be, in words.
pub(crate) fn opened(dirs: &[SavedDir]) -> std::result::Result<Arc<[Preopen]>, String> {
    let open = |dir: &SavedDir| Preopen::open(Path::new(&dir.host), &dir.guest, dir.read_only);
    let preopens = dirs.iter().map(open).collect::<std::result::Result<_, _>>();
    preopens.map_err(|error: WasiSetupError| with_causes(&error))
}

/// Checks that a program may be spawned on this host, which is the job's only one.
fn check_hosts(program: &SpawnProgram, here: &str) -> Result<()> {
    let Some(hosts) = &program.hosts else { return Ok(()) };
    let refused = |detail| Err(MpiError::argument(ErrorClass::Spawn, "info", detail));
    let is_here = |host: &&HostShare| is_loopback(&host.name) || host.name == here;
    let mut named = hosts.iter().filter(is_here).peekable();
    if named.peek().is_none() {
        let names: Vec<&str> = hosts.iter().map(|host| &*host.name).collect();
        return refused(format!(
            "the job runs on {here} alone, and not on {}; start it on several nodes, or leave the key \
             host out",
            names.join(", ")
        ));
    }
    let slots = named.try_fold(0_u32, |sum, host| Some(sum.saturating_add(host.slots?)));
    match slots.filter(|slots| *slots < program.processes) {
        Some(slots) => refused(format!(
            "the key host has {slots} slots on {here}, and {} processes are wanted",
            program.processes
        )),
        None => Ok(()),
    }
}

/// Whether a host is whoever says so.
pub(crate) fn is_loopback(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}

fn refused(cause: String) -> MpiError {
    MpiError::argument(ErrorClass::Spawn, "command", cause)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &str, processes: u32) -> Result<()> {
        let hosts = Some(faasm_mpi_engine::dynamic::hosts(hosts)?);
        let surroundings = Surroundings(Arc::new(()));
        let (command, bytes, args) = Default::default();
        let program = SpawnProgram { command, bytes, args, processes, surroundings, hosts };
        check_hosts(&program, "here")
    }

    #[test]
    fn the_only_host_is_restricted_by_name_and_slots() {
        for hosts in ["here", "there,here", "localhost", "here:3", "here:1,localhost"] {
            assert_eq!(check(hosts, 3), Ok(()), "{hosts}");
        }
        for (hosts, why) in
            [("there", "alone"), ("here:2", "2 slots"), ("there:9,here:1", "1 slots")]
        {
            let error = check(hosts, 3).expect_err(hosts);
            assert!(error.class == ErrorClass::Spawn && error.detail.contains(why), "{error}");
        }
    }

    #[test]
    fn processes_are_on_workers_in_blocks() {
        assert_eq!(lanes(2, 5).collect::<Vec<_>>(), [0, 0, 0, 1, 1]);
        assert_eq!(lanes(3, 0).count(), 0);
    }
}
