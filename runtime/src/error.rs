//! Errors of the runtime: the environment's or the caller's fault, never the guest's.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::host::wasi::WasiSetupError;
use crate::module::ModuleError;

/// Why a runtime or a job could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program could not be loaded.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A directory could not be opened, or an argument cannot be passed on.
    #[error(transparent)]
    Setup(#[from] WasiSetupError),
    /// A checkpoint cannot be used, or none can be made.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The number of ranks makes no sense.
    #[error(
        "{ranks} ranks cannot be started: a job has between 1 and {ranks_max} ranks in one process; choose -n in that range, or spread the job over several nodes"
    )]
    Ranks {
        /// Ranks asked for.
        ranks: u64,
        /// Most ranks there can be.
        ranks_max: u32,
    },
    /// A limit of the operating system is too low for the job.
    #[error(
        "{ranks} ranks need {needed} memory mappings, but vm.max_map_count allows {limit}; run fewer ranks, or raise it with `sysctl -w vm.max_map_count={suggested}`"
    )]
    Mappings {
        /// Ranks asked for.
        ranks: u64,
        /// Mappings they need.
        needed: u64,
        /// Mappings the kernel allows.
        limit: u64,
        /// A limit that suffices.
        suggested: u64,
    },
    /// There is not enough memory for the job.
    #[error(
        "{ranks} ranks of {program} need at least {needed_mib} MiB of memory, but {available_mib} MiB are available; run fewer ranks"
    )]
    Memory {
        /// Ranks asked for.
        ranks: u64,
        /// The program.
        program: String,
        /// MiB needed at least.
        needed_mib: u64,
        /// MiB available.
        available_mib: u64,
    },
    /// A program imports functions that nobody offers.
    #[error("{program} imports {} that this runtime does not offer: {}. Build it against the mpi.h of this version, or remove the calls; no rank was started", count(.names.len()), .names.join(", "))]
    MissingImports {
        /// The program.
        program: String,
        /// The functions, as `module.name`.
        names: Vec<String>,
    },
    /// A program cannot span nodes.
    #[error("{program} cannot run on several nodes as one program: {cause}; no rank was started")]
    Span {
        /// The program.
        program: String,
        /// Why, and what to do.
        cause: String,
    },
    /// A program imports a function with other parameters than the one offered.
    #[error(
        "{program} does not fit this runtime: {cause}. Build it against the mpi.h of this version; no rank was started"
    )]
    Link {
        /// The program.
        program: String,
        /// What does not fit.
        cause: wasmtime::Error,
    },
    /// The working directory cannot be used.
    #[error("the working directory {dir} cannot be opened: {cause}; check --wdir")]
    WorkingDirectory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The rank that should read the standard input does not exist.
    #[error("rank {rank} is to read the standard input, but the job has ranks 0 to {}; correct --stdin", ranks - 1)]
    StdinRank {
        /// The rank named.
        rank: u32,
        /// Ranks of the job.
        ranks: u32,
    },
    /// The engine that runs WebAssembly could not be made.
    #[error("the WebAssembly engine cannot be started on this machine: {0}")]
    Engine(wasmtime::Error),
    /// Threads, descriptors or event loops could not be had.
    #[error(
        "the runtime cannot start its {what}: {cause}; check `ulimit -u`, `ulimit -n` and the memory limit"
    )]
    Start {
        /// What was being started.
        what: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
}

fn count(names: usize) -> String {
    if names == 1 { "a function".to_owned() } else { format!("{names} functions") }
}
