//! From a job's description to what each rank starts with.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use faasm_mpi_shim::world::Placement;
use faasm_vm::rewrite::{ModuleFacts, THREAD_MODULE};
use wasmtime::{InstancePre, Linker};

use super::span;
use crate::error::Error;
use crate::faaslet::{FaasletState, Own, ThreadFacts};
use crate::host::wasi::{OutputSink, Preopen, StdinSource, StdinStream, WasiCtx};
use crate::job::{AppSpec, JobShared, JobSpec, MAX_RANKS, OutsideWaits, StdinPolicy};
use crate::module::{Module, missing_imports};

/// Mappings of a rank: memory and stack, each with the inaccessible part behind or below.
const MAPPINGS_PER_RANK: u64 = 4;
/// Mappings of everything else in the process.
const MAPPINGS_BESIDES: u64 = 2_000;
/// What the smallest rank has been seen to need.
const KIB_PER_RANK_MIN: u64 = 24;

/// A checked job.
pub(crate) struct Launch {
    apps: Vec<App>,
    env: Arc<[(String, String)]>,
    stdin: StdinPolicy,
    input: StdinSource,
    output: Option<Arc<dyn OutputSink>>,
    timeout: Option<Duration>,
    ranks: u32,
    /// For each rank its number among those of its node, and how many those are; empty for a job of
    /// one node, whose ranks are all here.
    local: Vec<(u32, u32)>,
    /// For one program on several nodes: how many, and the pages of its memory.
    span: Option<(u32, u32)>,
}

struct App {
    module: Module,
    program: InstancePre<FaasletState>,
    threads: Option<ThreadFacts>,
    first: u32,
    ranks: u32,
    args: Arc<[String]>,
    env: Vec<(String, String)>,
    preopens: Arc<[Preopen]>,
}

impl Launch {
    /// Checks everything that can be checked before a rank starts, of a job on this node alone or of
    /// this node's part of one.
    pub(crate) fn prepare(spec: JobSpec, placement: Option<&Placement>) -> Result<Self, Error> {
        let ranks = check_ranks(&spec, placement)?;
        let span = span::check(&spec)?;
        let mut apps = Vec::new();
        let mut first = 0;
        for app in &spec.apps {
            app.module.check_program()?;
            let program = link(app)?;
            let mut args = vec![app.module.name().to_owned()];
            args.extend(app.args.iter().cloned());
            let preopens = preopens(app.wdir.as_deref(), &spec.preopens)?;
            let (args, env) = (args.into(), app.env.clone());
            let threads = ThreadFacts::of(app.module.facts());
            let module = app.module.clone();
            apps.push(App {
                module,
                program,
                threads,
                first,
                ranks: app.ranks,
                args,
                env,
                preopens,
            });
            first += app.ranks;
        }
        let input = match (&spec.stdin, spec.input) {
            (StdinPolicy::None, _) => StdinSource::Closed,
            (_, Some(input)) => StdinSource::Stream(input),
            (_, None) => match StdinStream::process() {
                Ok(input) => StdinSource::Stream(input),
                Err(_) => StdinSource::Closed,
            },
        };
        let (stdin, output, timeout) = (spec.stdin, spec.output, spec.timeout);
        let local = placement.map(local_numbers).unwrap_or_default();
        Ok(Self { apps, env: spec.env.into(), stdin, input, output, timeout, ranks, local, span })
    }

    /// Makes what the ranks of one program on several nodes have of each other.
    pub(crate) fn begin_spans(&self, job: &JobShared) {
        if let Some(span) = self.span {
            span::begin(job, span);
        }
    }

    /// The programs.
    pub(crate) fn modules(&self) -> Vec<Module> {
        self.apps.iter().map(|app| app.module.clone()).collect()
    }

    /// Environment variables of all ranks.
    pub(crate) fn env(&self) -> Arc<[(String, String)]> {
        self.env.clone()
    }

    /// For each rank the index of its program.
    pub(crate) fn app_numbers(&self) -> Vec<u32> {
        let numbered = (0..).zip(&self.apps);
        numbered.flat_map(|(number, app)| (0..app.ranks).map(move |_| number)).collect()
    }

    /// Whether a program may make windows of memory that ranks share.
    pub(crate) fn shares_memory(&self) -> bool {
        self.apps.iter().any(|app| app.module.shares_memory())
    }

    pub(crate) const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn output(&self) -> Option<Arc<dyn OutputSink>> {
        self.output.clone()
    }

    /// What `rank`, which was not spawned, starts with.
    pub(crate) fn rank(&self, rank: u32, job: &Arc<JobShared>) -> Result<Own, Error> {
        let index = self.apps.partition_point(|app| app.first + app.ranks <= rank);
        let app = &self.apps[index];
        let reads = match self.stdin {
            StdinPolicy::None => false,
            StdinPolicy::Rank(reader) => reader == rank,
            StdinPolicy::All => true,
        };
        let mut builder = WasiCtx::builder()
            .args(app.args.clone())
            .shared_env(self.env.clone())
            .preopens(app.preopens.clone())
            .stdin(if reads { self.input.clone() } else { StdinSource::Closed })
            .rank(rank)
            .hooks(Arc::new(OutsideWaits { job: job.clone(), rank }));
        if let Some(output) = &self.output {
            builder = builder.output(output.clone());
        }
        for (key, value) in &app.env {
            builder = builder.env(key, value);
        }
        let local = self.local.get(rank as usize).copied().unwrap_or((rank, self.ranks));
        for (key, number) in rank_variables((rank, self.ranks), local) {
            builder = builder.env(key, &number.to_string());
        }
        let threads = match (app.threads, job.span(rank)) {
            (Some(facts), Some(span)) => Some(span::threads(facts, span)),
            (threads, _) => threads,
        };
        Ok(Own {
            program: app.program.clone(),
            beginning: app.module.beginning(),
            wasi: builder.build()?,
            migratable: app.module.is_migratable(),
            threads,
        })
    }
}

/// Environment variables that tell a rank its place in its world, and among the ranks of its node.
pub(super) const fn rank_variables(
    (rank, ranks): (u32, u32),
    local: (u32, u32),
) -> [(&'static str, u32); 6] {
    [
        ("OMPI_COMM_WORLD_RANK", rank),
        ("OMPI_COMM_WORLD_LOCAL_RANK", local.0),
        ("PMI_RANK", rank),
        ("OMPI_COMM_WORLD_SIZE", ranks),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", local.1),
        ("PMI_SIZE", ranks),
    ]
}

fn check_ranks(spec: &JobSpec, placement: Option<&Placement>) -> Result<u32, Error> {
    let ranks = spec.apps.iter().map(|app| u64::from(app.ranks)).sum::<u64>();
    let here = |placement: &Placement| {
        placement.nodes.iter().filter(|node| **node == placement.this_node).count() as u64
    };
    let local = placement.map_or(ranks, here);
    let empty = spec.apps.iter().any(|app| app.ranks == 0);
    if empty || local > u64::from(MAX_RANKS) {
        let ranks = if empty { 0 } else { local };
        return Err(Error::Ranks { ranks, ranks_max: MAX_RANKS });
    }
    check_room((0, local), spec.apps.first().map_or("", |app| app.module.name()))?;
    let ranks = ranks as u32;
    match spec.stdin {
        StdinPolicy::Rank(rank) if rank >= ranks => Err(Error::StdinRank { rank, ranks }),
        _ => Ok(ranks),
    }
}

/// For each rank its number among those of its node, and how many those are.
fn local_numbers(placement: &Placement) -> Vec<(u32, u32)> {
    let mut counts = vec![0; placement.node_count() as usize];
    let mut number = |node: u32| {
        let count: &mut u32 = &mut counts[node as usize];
        *count += 1;
        *count - 1
    };
    let numbers: Vec<u32> = placement.nodes.iter().map(|node| number(*node)).collect();
    let sized = numbers.into_iter().zip(&placement.nodes);
    sized.map(|(number, node)| (number, counts[*node as usize])).collect()
}

fn check_mappings(ranks: u64) -> Result<(), Error> {
    let needed = ranks * MAPPINGS_PER_RANK + MAPPINGS_BESIDES;
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    // Without the file nothing is known; the kernel will refuse a mapping if there are too many.
    let Some(limit) = limit.ok().and_then(|text| text.trim().parse().ok()) else { return Ok(()) };
    if needed <= limit {
        return Ok(());
    }
    Err(Error::Mappings { ranks, needed, limit, suggested: needed.next_power_of_two() })
}

/// Whether there is room here for so many more ranks of this program, beside those of the job that are here.
pub(crate) fn check_room((here, more): (u64, u64), program: &str) -> Result<(), Error> {
    check_mappings(here + more)?;
    check_memory(program, more)
}

fn check_memory(program: &str, ranks: u64) -> Result<(), Error> {
    let Some(available_kib) = available_kib() else { return Ok(()) };
    let needed_kib = ranks * KIB_PER_RANK_MIN;
    if needed_kib <= available_kib {
        return Ok(());
    }
    Err(Error::Memory {
        ranks,
        program: program.to_owned(),
        needed_mib: needed_kib / 1024,
        available_mib: available_kib / 1024,
    })
}

/// Memory the kernel could hand out without swapping.
fn available_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Links a program, or names everything it imports that nobody offers.
pub(super) fn link(app: &AppSpec) -> Result<InstancePre<FaasletState>, Error> {
    let program = app.module.name().to_owned();
    check_imports(&program, app.module.facts())?;
    let linked = linker(&app.module).and_then(|linker| linker.instantiate_pre(app.module.code()));
    linked.map_err(|cause| Error::Link { program, cause })
}

/// A linker that offers what `module` imports of the runtime's functions.
fn linker(module: &Module) -> wasmtime::Result<Linker<FaasletState>> {
    let mut linker = Linker::new(module.code().engine());
    let imports = module.facts().imports.iter();
    let of_mpi = imports.filter(|import| import.module == crate::host::MPI);
    let names: HashSet<_> = of_mpi.map(|import| &*import.name).collect();
    faasm_mpi_shim::add_to_linker(&mut linker, &|name| names.contains(name))?;
    crate::host::wasi::add_to_linker(&mut linker)?;
    if module.is_migratable() {
        crate::faaslet::add_stack_to_linker(&mut linker)?;
    }
    let of_threads = |import: &faasm_vm::rewrite::Import| import.module == THREAD_MODULE;
    if module.facts().memory.shared || module.facts().imports.iter().any(of_threads) {
        crate::faaslet::add_threads_to_linker(&mut linker)?;
    }
    if module.facts().imports.iter().any(|import| import.module == faasm_omp_shim::MODULE) {
        faasm_omp_shim::add_to_linker(&mut linker)?;
        faasm_omp_shim::span::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

/// Names everything that a program imports and nobody offers.
pub(crate) fn check_imports(program: &str, facts: &ModuleFacts) -> Result<(), Error> {
    let known = |module: &str, name: &str| crate::host::is_offered(module, name);
    let missing = missing_imports(facts, &known);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|(module, name)| format!("{module}.{name}")).collect();
    Err(Error::MissingImports { program: program.to_owned(), names })
}

/// The working directory, under `.` and under its own path, and the further directories.
fn preopens(wdir: Option<&Path>, more: &[Preopen]) -> Result<Arc<[Preopen]>, Error> {
    let dir = wdir.unwrap_or(Path::new("."));
    let absolute = dir
        .canonicalize()
        .map_err(|cause| Error::WorkingDirectory { dir: PathBuf::from(dir), cause })?;
    let mut all = vec![Preopen::open(&absolute, ".", false)?];
    if let Some(path) = absolute.to_str() {
        all.push(Preopen::open(&absolute, path, false)?);
    }
    all.extend(more.iter().cloned());
    Ok(all.into())
}
