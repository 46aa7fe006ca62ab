//! A job that goes on from a checkpoint, and the request to a running one for another.

use std::{fs, path::Path, time::Instant};

use anyhow::Context as _;
use faasm_runtime::Checkpoint;
use rustix::process::{Pid, Signal, kill_process};

use super::run;
use crate::args::{self, Invocation, Request, RestartArgs};

/// Runs the job from its checkpoint on, and returns the exit status of this process.
pub(crate) fn restart(args: RestartArgs, begun: Instant) -> i32 {
    match prepare(args) {
        Ok((job, checkpoint)) => run::go_on(&job, checkpoint, begun),
        Err(error) => fail(&error),
    }
}

/// What the job was begun with, and where it was.
fn prepare(args: RestartArgs) -> anyhow::Result<(Invocation, Checkpoint)> {
    let dir =
        fs::canonicalize(&args.dir).with_context(|| format!("{} cannot be opened", args.dir))?;
    let checkpoint = Checkpoint::open(&dir, args.cut)?;
    let description = checkpoint.description();
    let Request::Run(job) = args::parse(description.command.iter().map(Into::into))? else {
        anyhow::bail!("{}: the command line of the checkpoint runs no job", args.dir);
    };
    let mut job = args::amend(*job, args.options)?;
    for (app, saved) in job.apps.iter_mut().zip(&description.apps) {
        (app.ranks, app.ranks_per_node) = (Some(saved.ranks), None);
        app.program.clone_from(&saved.name);
    }
    std::env::set_current_dir(&description.directory).with_context(|| {
        format!("the job's working directory {} is not there", description.directory)
    })?;
    if job.checkpoints.dir.is_some() {
        job.checkpoints.dir = dir.to_str().map(str::to_owned);
    }
    Ok((job, checkpoint))
}

/// Asks a running job for a checkpoint.
pub(crate) fn ask(process: i32) -> i32 {
    match ask_process(process) {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

fn ask_process(process: i32) -> anyhow::Result<()> {
    let path = format!("/proc/{process}/exe");
    let program = fs::read_link(&path);
    let is_ours = program.as_deref().is_ok_and(|program| {
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("faasm-run"))
    });
    if !is_ours {
        let found = program.as_deref().unwrap_or(Path::new("nothing of yours")).display();
        anyhow::bail!(
            "process {process} is {found}, not a running faasm-run; `pgrep -a faasm-run` lists those"
        );
    }
    let pid = Pid::from_raw(process).context("process numbers are positive")?;
    kill_process(pid, Signal::USR2)
        .with_context(|| format!("process {process} cannot be asked"))?;
    println!("faasm-run {process} was asked for a checkpoint; it says when it is there");
    Ok(())
}

fn fail(error: &anyhow::Error) -> i32 {
    eprintln!("faasm-run: {error:#}");
    1
}
