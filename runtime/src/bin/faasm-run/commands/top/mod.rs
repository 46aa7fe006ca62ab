//! `faasm-run top`: how a running job is doing.
//!
//! `jobs` finds jobs and asks them, `model` makes rates of two answers, `text` prints them; in the terminal `keys`
//! decides, `draw` draws, and `live` does the rest.

mod draw;
mod jobs;
mod keys;
mod live;
mod model;
mod text;

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::bail;

use crate::args::TopArgs;
use jobs::Job;
use model::{Sort, View};

/// Shows a job; the exit status of this process.
pub(crate) fn run(args: &TopArgs) -> i32 {
    match show(args) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("faasm-run: {error:#}");
            1
        }
    }
}

fn show(args: &TopArgs) -> anyhow::Result<()> {
    let jobs = match args.process {
        Some(process) => {
            // What is wrong with it is told before the terminal is taken.
            jobs::status(process)?;
            vec![Job { process, about: String::new() }]
        }
        None => jobs::all()?,
    };
    match &jobs[..] {
        [] => bail!("no job of yours runs on this machine; `faasm-run -n 4 prog.wasm` starts one"),
        [job] if args.once => print(job.process, args),
        many if args.once => {
            let list: Vec<String> =
                many.iter().map(|job| format!("\n  {}  {}", job.process, job.about)).collect();
            bail!("several jobs run; name the process of one:{}", list.concat())
        }
        _ if !std::io::stdout().is_terminal() => {
            bail!("the output is no terminal; `faasm-run top --once` prints a table")
        }
        _ => live::show(jobs, args.interval.unwrap_or(LIVE_INTERVAL)),
    }
}

/// Prints a job as it is now.
fn print(process: u32, args: &TopArgs) -> anyhow::Result<()> {
    let before = jobs::status(process)?;
    std::thread::sleep(args.interval.unwrap_or(ONCE_INTERVAL));
    let mut view = View::between(process, &before, &jobs::status(process)?);
    view.sort(Sort::Rank, false);
    let text = match args.json {
        true => serde_json::to_string_pretty(&view)? + "\n",
        false => text::table(&view),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Time between two looks in the terminal.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Time that is looked at for a table.
const ONCE_INTERVAL: Duration = Duration::from_millis(500);
