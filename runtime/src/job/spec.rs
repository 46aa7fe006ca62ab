//! What to run: programs, ranks, arguments and surroundings.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::handle::JobHandle;
use crate::checkpoint::{Checkpoint, CheckpointOptions};
use crate::error::Error;
use crate::host::wasi::{OutputSink, Preopen, StdinStream};
use crate::module::Module;
use crate::runtime::Runtime;

/// Most ranks of one job: the address space for their memories is used up beyond.
pub(crate) const MAX_RANKS: u32 = 30_000;

/// Which ranks read the standard input.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum StdinPolicy {
    /// No rank: all see an empty input.
    #[default]
    None,
    /// One rank.
    Rank(u32),
    /// Every rank reads all of it.
    All,
}

/// One program of a job and the ranks that run it.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// The program.
    pub module: Module,
    /// Number of its ranks.
    pub ranks: u32,
    /// Its arguments after the program's name.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
    /// Its working directory; the caller's when `None`.
    pub wdir: Option<PathBuf>,
}

impl AppSpec {
    /// `ranks` ranks of `module` without arguments.
    pub const fn new(module: Module, ranks: u32) -> Self {
        Self { module, ranks, args: Vec::new(), env: Vec::new(), wdir: None }
    }
}

/// A whole job.
#[derive(Clone)]
pub struct JobSpec {
    /// Its programs, in rank order.
    pub apps: Vec<AppSpec>,
    /// Environment variables of every rank.
    pub env: Vec<(String, String)>,
    /// Directories beyond the working directory.
    pub preopens: Vec<Preopen>,
    /// Which ranks read the input.
    pub stdin: StdinPolicy,
    /// The input; the process's own when `None` and the policy names a rank.
    pub input: Option<StdinStream>,
    /// Where output goes; discarded when `None`.
    pub output: Option<Arc<dyn OutputSink>>,
    /// The job is ended after this time.
    pub timeout: Option<Duration>,
    /// Whether the job goes on when one of its ranks fails: an error for the others (ULFM).
    pub tolerates_failures: bool,
    /// The job does not end here with its last rank, for others may be spawned here until it is told to end.
    pub stays_open: bool,
    /// Each rank's call stack is taken down and built up again at each so many-th call that may wait.
    pub rebuild_stacks: Option<NonZeroU32>,
    /// Each rank stays at some call until it is moved to another node.
    pub stays_to_move: bool,
    /// How checkpoints are made.
    pub checkpoints: Option<CheckpointOptions>,
    /// The job goes on from here.
    pub restart: Option<Arc<Checkpoint>>,
}

impl std::fmt::Debug for JobSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobSpec").field("apps", &self.apps).finish_non_exhaustive()
    }
}

/// Puts a [`JobSpec`] together and starts it. Methods about a program apply to the last one added.
#[must_use = "a job runs when it is spawned"]
pub struct JobBuilder {
    runtime: Runtime,
    spec: JobSpec,
}

impl JobBuilder {
    pub(crate) fn new(runtime: Runtime, module: Module) -> Self {
        let spec = JobSpec {
            apps: vec![AppSpec::new(module, 1)],
            env: Vec::new(),
            preopens: Vec::new(),
            stdin: StdinPolicy::None,
            input: None,
            output: None,
            timeout: None,
            tolerates_failures: false,
            stays_open: false,
            rebuild_stacks: None,
            stays_to_move: false,
            checkpoints: None,
            restart: None,
        };
        Self { runtime, spec }
    }

    fn last(&mut self) -> &mut AppSpec {
        self.spec.apps.last_mut().expect("a job has at least one program")
    }

    /// Number of ranks of the current program. Default 1.
    pub fn ranks(mut self, ranks: u32) -> Self {
        self.last().ranks = ranks;
        self
    }

    /// Arguments of the current program, after its name.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.last().args = args.into_iter().map(Into::into).collect();
        self
    }

    /// An environment variable of all ranks.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.env.push((key.into(), value.into()));
        self
    }

    /// An environment variable of the current program's ranks.
    pub fn program_env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.last().env.push((key.into(), value.into()));
        self
    }

    /// Working directory of the current program; it is open to the program, with all below it.
    pub fn wdir(mut self, dir: impl AsRef<Path>) -> Self {
        self.last().wdir = Some(dir.as_ref().to_owned());
        self
    }

    /// A further program, whose ranks follow those of the programs before (MPMD).
    pub fn app(mut self, app: AppSpec) -> Self {
        self.spec.apps.push(app);
        self
    }

    /// A further directory that the ranks may use.
    pub fn preopen(mut self, preopen: Preopen) -> Self {
        self.spec.preopens.push(preopen);
        self
    }

    /// Which ranks read the standard input. Default none.
    pub fn stdin(mut self, policy: StdinPolicy) -> Self {
        self.spec.stdin = policy;
        self
    }

    /// What they read, instead of the process's standard input.
    pub fn input(mut self, input: StdinStream) -> Self {
        self.spec.input = Some(input);
        self
    }

    /// Where the ranks' output goes. Default: nowhere.
    pub fn output(mut self, sink: Arc<dyn OutputSink>) -> Self {
        self.spec.output = Some(sink);
        self
    }

    /// Ends the job after this time.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = Some(timeout);
        self
    }

    /// Goes on when a rank fails, which is an error for the ranks that need it (ULFM). `MPI_Abort` and errors
    /// under `MPI_ERRORS_ARE_FATAL` end the job as ever.
    pub const fn tolerates_failures(mut self) -> Self {
        self.spec.tolerates_failures = true;
        self
    }

    /// Takes each rank's call stack down and builds it up again at each so many-th MPI call that may wait, which shows
    /// that the program can be moved. The runtime must have been built with `migratable`.
    pub const fn rebuild_stacks(mut self, every: NonZeroU32) -> Self {
        self.spec.rebuild_stacks = Some(every);
        self
    }

    /// Lets checkpoints be made ([`JobHandle::checkpoint`]). The runtime must have been built with `migratable`.
    pub fn checkpoints(mut self, options: CheckpointOptions) -> Self {
        self.spec.checkpoints = Some(options);
        self
    }

    /// The job goes on from this checkpoint, with the same programs and numbers of ranks.
    pub fn restart_from(mut self, checkpoint: Checkpoint) -> Self {
        self.spec.restart = Some(Arc::new(checkpoint));
        self
    }

    /// Starts the job.
    ///
    /// # Errors
    /// When there are no or too many ranks, a program imports what nobody offers, or a directory
    /// cannot be opened. No rank has started then.
    pub fn spawn(self) -> Result<JobHandle, Error> {
        self.runtime.spawn(self.spec)
    }
}

impl std::fmt::Debug for JobBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobBuilder").field("apps", &self.spec.apps).finish_non_exhaustive()
    }
}
