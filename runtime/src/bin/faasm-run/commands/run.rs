//! Runs one job: programs, surroundings, signals, and what is said at the end.

mod checkpoints;
mod environment;
mod nodes;
mod plan;
mod programs;
mod recovery;
mod signals;
mod spread;
mod verdict;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use faasm_runtime::{
    AppSpec, Checkpoint, JobBuilder, JobHandle, JobReport, MovePolicy, Multiplexer,
    MultiplexerOptions, OutputFailure, Preopen, Progress, RankState, Runtime, SavedApp,
    StdinPolicy,
    launcher::slurm::{self, Invitation, Leader, Rendezvous, Step},
};

use super::{node, orders::Orders};
use crate::args::{App, Invocation, NodeArgs, Stdin};
use checkpoints::Checkpoints;
use environment::Environment;
use plan::Where;
use programs::Programs;
use signals::Signals;

/// Runs the job and returns the exit status of this process. `begun` is when the process began.
pub(crate) fn run(job: &Invocation, begun: Instant) -> i32 {
    if !job.quiet {
        for note in &job.notes {
            eprintln!("faasm-run: note: {note}");
        }
    }
    super::start_log(job.verbosity);
    match run_somewhere(job, None, begun) {
        Ok(status) => exit_status(status),
        Err(error) => {
            eprintln!("faasm-run: {error:#}");
            1
        }
    }
}

/// Runs a job from a checkpoint on; see [`run`].
pub(crate) fn go_on(job: &Invocation, checkpoint: Checkpoint, begun: Instant) -> i32 {
    super::start_log(job.verbosity);
    match run_somewhere(job, Some(checkpoint), begun) {
        Ok(status) => exit_status(status),
        Err(error) => {
            eprintln!("faasm-run: {error:#}");
            1
        }
    }
}

/// Does this process's part of the job, wherever that runs.
fn run_somewhere(
    job: &Invocation,
    from: Option<Checkpoint>,
    begun: Instant,
) -> anyhow::Result<i32> {
    match plan::decide(job, &|name| std::env::var(name).ok())? {
        Where::Here { .. } if job.on_failure.is_some() => anyhow::bail!(
            "--on-failure restart serves jobs on several nodes, and this one runs in one process; name nodes \
             (--local-nodes, --host, --hostfile, --cluster), or leave it out"
        ),
        Where::Here { .. } if job.policy.policy != MovePolicy::None => anyhow::bail!(
            "--migrate-policy serves jobs on several nodes, and this one runs in one process, where ranks go to idle \
             workers by themselves; name nodes (--local-nodes, --host, --hostfile), or leave it out"
        ),
        Where::Cluster(_) if job.policy.policy != MovePolicy::None => anyhow::bail!(
            "a job on a cluster that runs on its own is not moved without having been asked for: `faasm-run migrate` \
             and `faasm-run cluster drain` move ranks; leave --migrate-policy out, or name the nodes to this command \
             itself (--hostfile, --host)"
        ),
        Where::Here { ranks, step } => {
            let _leader = step.as_ref().map(lead).transpose()?;
            run_job(job, ranks, from, begun)
        }
        Where::Nodes(_) | Where::Cluster(_) if job.rebuild_stack.is_some() => anyhow::bail!(
            "--rebuild-stack serves jobs on one node, and this one is given several; leave it out, or the \
             options that name nodes"
        ),
        Where::Nodes(plan) => {
            let _leader = plan.step.as_ref().map(lead).transpose()?;
            spread::run_job(job, &plan, from, begun)
        }
        Where::Cluster(address) => spread::submit_job(job, &address, from, begun),
        Where::Join(args) => node::be_node(&args).map(|()| 0),
        Where::JoinStep(step) => {
            let _leader = lead(&step)?;
            be_node_of(&step, job).map(|()| 0)
        }
        Where::Idle(step) => {
            slurm::wait_for_leader(&step.name_here(), STEP_PATIENCE)?;
            Ok(0)
        }
    }
}

/// Is the first task of a step of Slurm on this host: runs ranks on all cores that the step has here,
/// not only on those of one task, and lets the other tasks wait.
fn lead(step: &Step) -> anyhow::Result<Leader> {
    slurm::use_all_cores();
    Ok(Leader::announce(&step.name_here(), step.tasks_here() - 1)?)
}

/// Is a node of the step's first task.
fn be_node_of(step: &Step, job: &Invocation) -> anyhow::Result<()> {
    let dir = Rendezvous::directory(&|name| std::env::var(name).ok());
    let Invitation { join, token } = Rendezvous::find(&dir, &step.name(), STEP_PATIENCE)?;
    let args = NodeArgs {
        join,
        name: step.hosts.get(step.host as usize).map(|(name, _)| name.clone()),
        workers: job.workers,
        node_timeout: job.nodes.node_timeout,
        once: true,
        quiet: job.quiet,
        ..NodeArgs::default()
    };
    node::be_node_with(&args, token)
}

fn run_job(
    job: &Invocation,
    ranks: Option<u32>,
    from: Option<Checkpoint>,
    begun: Instant,
) -> anyhow::Result<i32> {
    let (events, received) = flume::unbounded();
    let signals = Signals::watch(events.clone())?;
    let mut builder = Runtime::builder().progress(progress(job)).migratable(job.migratable);
    if let Some(workers) = job.workers {
        builder = builder.workers(u32::try_from(workers.get())?);
    }
    let runtime = builder.build()?;
    let apps = match &from {
        Some(checkpoint) => saved_apps(job, checkpoint, &runtime)?,
        None => apps(job, ranks, &runtime)?,
    };
    let ranks = apps.iter().map(|app| app.ranks).sum();
    let output = Arc::new(output(job, (ranks, Vec::new()), events.clone())?);
    let mut builder = builder_of(job, &runtime, apps)?.output(output.clone());
    if let Some(options) = checkpoints::options(job, from.as_ref())? {
        builder = builder.checkpoints(options);
    }
    if let Some(checkpoint) = from {
        builder = builder.restart_from(checkpoint);
    }
    let handle = builder.spawn()?;
    let checkpoints = Checkpoints::begin(job, handle.clone(), output.clone())?;
    signals.job_runs();
    let startup = begun.elapsed();
    announce_end(handle.clone(), events)?;
    let orders = Orders::listen_if_possible(handle.clone(), false);
    let report = supervise(&handle, &output, checkpoints.as_ref(), &received);
    drop(orders);
    output.finish();
    let mut text = verdict::describe(&report);
    if job.report {
        text.push_str(&verdict::summary(&report, runtime.workers(), startup));
        text.extend(checkpoints.as_ref().map(Checkpoints::summary));
    }
    output.message(&text);
    // This process ends now, and with it what these would give back piece by piece.
    std::mem::forget((runtime, handle));
    Ok(report.exit_code())
}

/// What can happen while a job runs.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal that we handle has arrived.
    Signal(i32),
    /// Output cannot be written any more.
    Output(OutputFailure),
    /// The job has ended.
    Ended(Arc<JobReport>),
}

/// Waits for the end of the job, and brings it about where a signal or lost output asks for it.
fn supervise(
    handle: &JobHandle,
    output: &Multiplexer,
    checkpoints: Option<&Checkpoints>,
    events: &flume::Receiver<Event>,
) -> Arc<JobReport> {
    loop {
        let event = events.recv().expect("the watcher of signals holds a sender");
        let status = match event {
            Event::Ended(report) => return report,
            Event::Signal(signals::SHOW_STATES) => {
                output.message(&states("state of the ranks", &handle.rank_states()));
                continue;
            }
            Event::Signal(signals::CHECKPOINT) => {
                match checkpoints {
                    Some(checkpoints) => checkpoints.ask(),
                    None => output.message(
                        "faasm-run: no checkpoint was made: start the job with --checkpoint-dir DIR\n",
                    ),
                }
                continue;
            }
            Event::Signal(signals::TERMINATE)
                if checkpoints.is_some_and(|c| c.keep_before_end(128 + signals::TERMINATE)) =>
            {
                continue;
            }
            Event::Signal(signal) => 128 + signal,
            Event::Output(OutputFailure::Closed(_)) => 128 + signals::BROKEN_PIPE,
            Event::Output(failure) => {
                output.message(&format!("faasm-run: {failure}; the job is ended\n"));
                1
            }
        };
        signals::leave_after(PATIENCE, status);
        handle.kill(status);
    }
}

/// Lines that say what each rank does.
fn states(title: &str, states: &[RankState]) -> String {
    let lines: Vec<String> = states.iter().map(|state| format!("  {state}\n")).collect();
    format!("faasm-run: {title}:\n{}", lines.concat())
}

/// Sends the job's report when it has ended.
fn announce_end(handle: JobHandle, events: flume::Sender<Event>) -> anyhow::Result<()> {
    let wait = move || {
        // The receiver is gone when this process is about to end anyway.
        let _ = events.send(Event::Ended(handle.wait()));
    };
    std::thread::Builder::new()
        .name("faasm-wait".to_owned())
        .spawn(wait)
        .context("cannot start a thread; check `ulimit -u`")?;
    Ok(())
}

/// The programs as they were kept with the checkpoint.
fn saved_apps(
    job: &Invocation,
    checkpoint: &Checkpoint,
    runtime: &Runtime,
) -> anyhow::Result<Vec<AppSpec>> {
    let load = |(app, saved): (&App, &SavedApp)| {
        let path = checkpoint.program(&saved.hash);
        let bytes =
            std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let mut spec = AppSpec::new(runtime.load_bytes(&saved.name, &bytes)?, saved.ranks);
        spec.args.clone_from(&app.args);
        spec.wdir = app.wdir.as_ref().map(Into::into);
        Ok(spec)
    };
    job.apps.iter().zip(&checkpoint.description().apps).map(load).collect()
}

/// The programs of the job with everything that belongs to each.
fn apps(
    job: &Invocation,
    default_ranks: Option<u32>,
    runtime: &Runtime,
) -> anyhow::Result<Vec<AppSpec>> {
    let mut programs = Programs::new(runtime);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let default_ranks = default_ranks.unwrap_or(u32::try_from(cores).unwrap_or(u32::MAX));
    job.apps
        .iter()
        .map(|app| {
            let ranks = app.ranks.or(app.ranks_per_node).unwrap_or(default_ranks);
            let mut spec = AppSpec::new(programs.load(&app.program)?, ranks);
            spec.args.clone_from(&app.args);
            spec.env = Environment::ours().apply(&app.env, job.quiet).into_iter().collect();
            spec.wdir = app.wdir.as_ref().map(Into::into);
            Ok(spec)
        })
        .collect()
}

fn builder_of(
    job: &Invocation,
    runtime: &Runtime,
    apps: Vec<AppSpec>,
) -> anyhow::Result<JobBuilder> {
    let mut apps = apps.into_iter();
    let first = apps.next().expect("the parser accepts no job without a program");
    let mut builder = runtime.job(&first.module).ranks(first.ranks).args(first.args);
    for (key, value) in first.env {
        builder = builder.program_env(key, value);
    }
    if let Some(dir) = first.wdir {
        builder = builder.wdir(dir);
    }
    builder = apps.fold(builder, JobBuilder::app);
    let everyone: BTreeMap<String, String> =
        Environment::based_on(job.env_base).apply(&job.env, job.quiet);
    for (key, value) in everyone {
        builder = builder.env(key, value);
    }
    for dir in &job.dirs {
        builder = builder.preopen(Preopen::open(Path::new(&dir.host), &dir.guest, dir.read_only)?);
    }
    builder = builder.stdin(stdin_policy(job.stdin));
    if let Some(every) = job.rebuild_stack {
        builder = builder.rebuild_stacks(every);
    }
    if job.tolerates_failures {
        builder = builder.tolerates_failures();
    }
    Ok(match job.timeout {
        Some(timeout) => builder.timeout(timeout),
        None => builder,
    })
}

const fn stdin_policy(stdin: Stdin) -> StdinPolicy {
    match stdin {
        Stdin::Rank(rank) => StdinPolicy::Rank(rank),
        Stdin::All => StdinPolicy::All,
        Stdin::None => StdinPolicy::None,
    }
}

fn output(
    job: &Invocation,
    (ranks, hosts): (u32, Vec<Arc<str>>),
    events: flume::Sender<Event>,
) -> anyhow::Result<Multiplexer> {
    let options = MultiplexerOptions {
        ranks,
        tagged: job.tag_output,
        hosts,
        merge_stderr: job.merge_stderr,
        files: job.output_files.as_ref().map(|files| (&files.dir).into()),
        only_files: job.output_files.as_ref().is_some_and(|files| !files.copy),
    };
    let on_failure = move |failure| {
        // The receiver is gone when the job has ended; nothing is left to end then.
        let _ = events.send(Event::Output(failure));
    };
    Ok(Multiplexer::new(options, on_failure)?)
}

const fn progress(job: &Invocation) -> Progress {
    match (job.quiet, job.verbosity) {
        (true, _) => Progress::Silent,
        (false, 0) => Progress::Terminal,
        (false, _) => Progress::Verbose,
    }
}

/// The operating system keeps eight bits of an exit status; a failure must not become a success by
/// that.
const fn exit_status(code: i32) -> i32 {
    match code & 0xff {
        0 if code != 0 => 1,
        status => status,
    }
}

/// How long tasks of a step of Slurm wait for each other.
const STEP_PATIENCE: Duration = Duration::from_secs(60);
/// How long a job that was told to end may take to do so, its last output included.
const PATIENCE: Duration = Duration::from_millis(900);

#[cfg(test)]
mod tests {
    use super::exit_status;

    #[test]
    fn a_failure_stays_one() {
        assert_eq!([0, 7, 255, 256, 512, 263, -1].map(exit_status), [0, 7, 255, 1, 1, 7, 255]);
    }
}
