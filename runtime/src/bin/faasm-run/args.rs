//! The command line, spoken as mpirun speaks it: options, a program, everything after it for the
//! program, and `:` between the programs of an MPMD job.
//!
//! [`parse`] is pure: it looks at no file and at no environment variable, so that every rule has a
//! unit test. What depends on the machine (does the program exist, what is `$HOME`) is decided
//! later, in `commands/run.rs`.

mod checkpoint;
mod flag;
mod help;
mod migrate;
mod nodes;
mod omp;
mod subcommand;
mod table;
#[cfg(test)]
mod tests;
mod top;
mod values;

use std::{
    ffi::OsString,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use faasm_runtime::PolicyOptions;

pub(crate) use checkpoint::{CheckpointArgs, RestartArgs, amend};
use flag::{Action, Flag};
pub(crate) use migrate::MigrateArgs;
pub(crate) use nodes::{ClusterAddress, LauncherKind, Mapping, NodeOptions, Numbering};
pub(crate) use subcommand::{ClusterAction, ClusterArgs, NodeArgs, TokenSource};
pub(crate) use top::TopArgs;

/// What the user asks `faasm-run` to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// Run a job.
    Run(Box<Invocation>),
    /// Be a node of a cluster.
    Node(Box<NodeArgs>),
    /// Begin, look at or change a cluster.
    Cluster(Box<ClusterArgs>),
    /// Ask a running job, by its process number, for a checkpoint.
    Checkpoint(i32),
    /// Let a job go on from a checkpoint.
    Restart(RestartArgs),
    /// Move ranks of a running job.
    Migrate(MigrateArgs),
    /// Show how a running job is doing.
    Top(TopArgs),
    /// Print the help text.
    Help(String),
    /// Print the version.
    Version,
}

/// One job as described by the command line.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Invocation {
    /// The programs, in rank order; more than one for an MPMD job.
    pub(crate) apps: Vec<App>,
    /// On which machines the ranks run, and where each of them.
    pub(crate) nodes: NodeOptions,
    /// Which variables of our own environment the ranks see before `env` is applied.
    pub(crate) env_base: EnvBase,
    /// Changes to the environment of all ranks, in the order given.
    pub(crate) env: Vec<EnvRule>,
    /// Who reads our standard input.
    pub(crate) stdin: Stdin,
    /// Whether each line of output is preceded by its rank.
    pub(crate) tag_output: bool,
    /// Whether the ranks' standard error goes to our standard output.
    pub(crate) merge_stderr: bool,
    /// Where each rank's output is kept in files.
    pub(crate) output_files: Option<OutputFiles>,
    /// How long the job may take.
    pub(crate) timeout: Option<Duration>,
    /// Whether a summary is printed at the end.
    pub(crate) report: bool,
    /// Directories given to the ranks beside the working directory.
    pub(crate) dirs: Vec<Dir>,
    /// Number of worker threads; one for each core when absent.
    pub(crate) workers: Option<NonZeroUsize>,
    /// Whether programs run in the variant whose call stack can be taken.
    pub(crate) migratable: bool,
    /// The job goes on when a rank fails.
    pub(crate) tolerates_failures: bool,
    /// Each rank's stack is rebuilt at each so many-th call that may wait.
    pub(crate) rebuild_stack: Option<NonZeroU32>,
    /// How checkpoints are made.
    pub(crate) checkpoints: CheckpointArgs,
    /// When and to what end ranks are moved without having been asked for.
    pub(crate) policy: PolicyOptions,
    /// How often the job goes on after a node was lost, without a newer checkpoint between; it ends if absent.
    pub(crate) on_failure: Option<u32>,
    /// On how many nodes the threads of one program run; on one if absent.
    pub(crate) omp_nodes: Option<u32>,
    /// The command line as it was typed.
    pub(crate) words: Vec<String>,
    /// How much is logged: the number of times `-v` was given.
    pub(crate) verbosity: u8,
    /// Whether notes about accepted options are left out.
    pub(crate) quiet: bool,
    /// What the user should know about options that have no effect here.
    pub(crate) notes: Vec<String>,
}

/// One program of the job with its ranks.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct App {
    /// Number of ranks; if absent `ranks_per_node` on each node, or one for each slot or core.
    pub(crate) ranks: Option<u32>,
    /// Most ranks on a node (`--npernode`).
    pub(crate) ranks_per_node: Option<u32>,
    /// The program as typed.
    pub(crate) program: String,
    /// The program's arguments.
    pub(crate) args: Vec<String>,
    /// Changes to the environment of this program's ranks, in the order given.
    pub(crate) env: Vec<EnvRule>,
    /// The working directory as typed; ours when absent.
    pub(crate) wdir: Option<String>,
}

/// Which variables of our own environment the ranks start from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum EnvBase {
    /// All of them, as mpirun does for the ranks of its own machine.
    #[default]
    All,
    /// None.
    Empty,
}

/// One change to the environment of the ranks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EnvRule {
    /// Pass on the variable with the value that it has for us.
    Forward(String),
    /// Set the variable to a value.
    Set(String, String),
}

/// Who reads our standard input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stdin {
    /// One rank.
    Rank(u32),
    /// Every rank reads all of it.
    All,
    /// Nobody.
    None,
}

impl Default for Stdin {
    fn default() -> Self {
        Self::Rank(0)
    }
}

/// Where each rank's output is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutputFiles {
    /// The directory that gets `rank.N/stdout` and `rank.N/stderr`.
    pub(crate) dir: String,
    /// Whether the output appears on our standard output, too.
    pub(crate) copy: bool,
}

/// A directory that the ranks may use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dir {
    /// Its path on this machine.
    pub(crate) host: String,
    /// Its path for the program.
    pub(crate) guest: String,
    /// Whether the program may only read it.
    pub(crate) read_only: bool,
}

/// A command line that cannot be carried out: what is wrong where, and what to type instead.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{argument}: {} {}", .problem.cause, .problem.remedy)]
pub(crate) struct UsageError {
    argument: String,
    problem: Problem,
}

/// Cause and remedy of a [`UsageError`], each a full sentence.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    cause: String,
    remedy: String,
}

impl Problem {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }

    fn at(self, argument: impl Into<String>) -> UsageError {
        UsageError { argument: argument.into(), problem: self }
    }
}

/// Parses what follows the name `faasm-run` on a command line.
///
/// # Errors
/// The first argument that is unknown, incomplete or out of range.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut words = args
        .into_iter()
        .map(|word| {
            word.into_string().map_err(|word| {
                Problem::new("This argument is not valid UTF-8.", "Rename the file or drop it.")
                    .at(word.to_string_lossy())
            })
        })
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    match words.as_slice().first().map(String::as_str) {
        Some("node") => return subcommand::node(words.skip(1).collect()),
        Some("cluster") => return subcommand::cluster(words.skip(1).collect()),
        Some("checkpoint") => return checkpoint::of_job(&words.as_slice()[1..]),
        Some("migrate") => return migrate::migrate(&words.as_slice()[1..]),
        Some("top") => return top::top(words.skip(1).collect()),
        Some("drain") => return migrate::drain(&words.as_slice()[1..]),
        Some("restart") => return checkpoint::restart(words.skip(1).collect()),
        _ => {}
    }
    let mut draft = Draft::default();
    draft.job.words = words.as_slice().to_vec();
    while let Some(word) = words.next() {
        if word == ":" {
            draft.finish_app()?;
        } else if draft.has_program {
            draft.app.args.push(word);
        } else if word == "--" {
            draft.program(words.next().ok_or_else(missing_program)?);
        } else if !is_option(&word) {
            draft.program(word);
        } else {
            match apply(table::FLAGS, &mut draft, word, &mut words)? {
                Applied::Set => {}
                Applied::Note(note) => draft.note(note),
                Applied::Help => return Ok(Request::Help(help::text())),
                Applied::Version => return Ok(Request::Version),
            }
        }
    }
    draft.finish()
}

/// What has been understood so far.
#[derive(Debug, Default)]
struct Draft {
    job: Invocation,
    app: App,
    has_program: bool,
}

impl Draft {
    fn program(&mut self, program: String) {
        self.app.program = program;
        self.has_program = true;
    }

    fn note(&mut self, note: String) {
        if !self.job.notes.contains(&note) {
            self.job.notes.push(note);
        }
    }

    /// Ends one program's part of the command line.
    fn finish_app(&mut self) -> Result<(), UsageError> {
        if !std::mem::take(&mut self.has_program) {
            return Err(missing_program());
        }
        self.job.apps.push(std::mem::take(&mut self.app));
        Ok(())
    }

    fn finish(mut self) -> Result<Request, UsageError> {
        self.finish_app()?;
        let several = self.job.apps.len() > 1;
        let uncounted = |app: &&App| app.ranks.or(app.ranks_per_node).is_none();
        if let Some(app) = self.job.apps.iter().find(|app| several && uncounted(app)) {
            return Err(Problem::new(
                "This program has no number of ranks, and with several there is no default.",
                "Give each part its own, as in `faasm-run -n 1 a.wasm : -n 3 b.wasm`.",
            )
            .at(&app.program));
        }
        omp::settle(&mut self.job)?;
        self.job.nodes.check()?;
        checkpoint::check(&self.job)?;
        self.check_total()?;
        self.check_stdin()?;
        Ok(Request::Run(Box::new(self.job)))
    }

    fn check_total(&self) -> Result<(), UsageError> {
        let total: u64 = self.job.apps.iter().filter_map(|app| app.ranks).map(u64::from).sum();
        if total > u64::from(RANKS_MAX) {
            return Err(Problem::new(
                format!("The parts of the job have {total} ranks together."),
                format!("MPI numbers at most {RANKS_MAX}; ask for fewer."),
            )
            .at("-n"));
        }
        Ok(())
    }

    fn check_stdin(&self) -> Result<(), UsageError> {
        let ranks: Option<u32> = self.job.apps.iter().map(|app| app.ranks).sum();
        match (self.job.stdin, ranks) {
            (Stdin::Rank(rank), Some(ranks)) if rank >= ranks => Err(Problem::new(
                format!("The job has no rank {rank}: its {ranks} ranks are numbered from 0."),
                "Name an existing rank, `all` or `none`.",
            )
            .at(format!("--stdin {rank}"))),
            _ => Ok(()),
        }
    }
}

/// `-` alone names a program, as it does for other commands a file.
fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// What an option led to.
enum Applied {
    Set,
    Note(String),
    Help,
    Version,
}

/// Carries out one option, which takes its values from `words`.
fn apply<T>(
    table: &'static [Flag<T>],
    target: &mut T,
    word: String,
    words: &mut std::vec::IntoIter<String>,
) -> Result<Applied, UsageError> {
    let name = word.strip_prefix('-').unwrap_or(&word);
    let name = name.strip_prefix('-').unwrap_or(name);
    let (name, inline) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (name, None),
    };
    let flag = table
        .iter()
        .find(|flag| flag.names.contains(&name))
        .ok_or_else(|| flag::unknown(&word, table))?;
    if let Action::SetOptional(set) = flag.action {
        // An address can hardly be meant as the program's name.
        let next = words.as_slice().first().is_some_and(|word| nodes::host_and_port(word).is_ok());
        let inline = inline.or_else(|| if next { words.next() } else { None });
        let outcome = set(target, inline.as_deref());
        return outcome.map(|()| Applied::Set).map_err(|problem| problem.at(word));
    }
    let values = take_values(flag, &word, inline, words)?;
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let typed = [word.as_str()].into_iter().chain(values.iter().copied()).collect::<Vec<_>>();
    let typed = typed.join(" ");
    match flag.action {
        Action::Set(set) => {
            set(target, &values).map(|()| Applied::Set).map_err(|problem| problem.at(typed))
        }
        Action::Note(reason) => Ok(Applied::Note(format!("{typed}: {reason}"))),
        Action::Refuse { cause, remedy } => Err(Problem::new(cause, remedy).at(typed)),
        Action::Help => Ok(Applied::Help),
        Action::Version => Ok(Applied::Version),
        Action::SetOptional(_) => unreachable!("carried out above"),
    }
}

/// Takes as many words as the option has values.
fn take_values<T>(
    flag: &Flag<T>,
    word: &str,
    inline: Option<String>,
    words: &mut std::vec::IntoIter<String>,
) -> Result<Vec<String>, UsageError> {
    if inline.is_some() && flag.values.is_empty() {
        return Err(
            Problem::new("This option takes no value.", "Leave out what follows the `=`.").at(word)
        );
    }
    let mut values: Vec<String> = inline.into_iter().collect();
    while values.len() < flag.values.len() {
        let next = words.next().ok_or_else(|| {
            Problem::new(
                format!(
                    "The command line ends before the option's value {}.",
                    flag.values[values.len()]
                ),
                format!("Write it as `{}`.", flag.usage()),
            )
            .at(word)
        })?;
        values.push(next);
    }
    Ok(values)
}

fn missing_program() -> UsageError {
    Problem::new(
        "No program was named.",
        "Put it after the options, as in `faasm-run -n 4 prog.wasm`; `faasm-run --help` has more.",
    )
    .at("program")
}

/// MPI counts ranks in a C `int`.
const RANKS_MAX: u32 = i32::MAX.cast_unsigned();
