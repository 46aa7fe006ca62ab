//! Orders to a running job: who gives one, and who takes it.
//!
//! A job listens on a socket in a directory that only its user can enter. An order is one line, and so is the answer:
//! ```text
//! migrate RANK,... FROM TO      where "-" stands for nothing
//! ok TEXT | error TEXT
//! ```

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use faasm_runtime::{ClusterPlace, JobHandle, MoveOrder};

use crate::args::MigrateArgs;

/// Longest line.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long a job waits for the rest of an order.
const ORDER_TIME_MAX: Duration = Duration::from_secs(5);

/// Gives an order; the exit status of this process.
pub(crate) fn order(args: &MigrateArgs) -> i32 {
    match give(args) {
        Ok(text) => {
            println!("faasm-run: {text}");
            0
        }
        Err(error) => {
            eprintln!("faasm-run: {error:#}");
            1
        }
    }
}

fn give(args: &MigrateArgs) -> anyhow::Result<String> {
    let place = ClusterPlace::of_user()?;
    let socket = place.job_socket(args.process.unsigned_abs());
    let mut stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "process {} takes no orders ({}): it has to be a faasm-run of yours whose job runs on several nodes \
             and was begun with --migratable",
            args.process,
            socket.display()
        )
    })?;
    let ranks: Vec<String> = args.ranks.iter().map(u32::to_string).collect();
    let ranks = if ranks.is_empty() { "-".to_owned() } else { ranks.join(",") };
    let or_none = |node: &Option<String>| node.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(stream, "migrate {ranks} {} {}", or_none(&args.from), or_none(&args.to))?;
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut answer)?;
    match answer.trim_end().split_once(' ') {
        Some(("ok", text)) => Ok(text.to_owned()),
        Some(("error", text)) => bail!("{text}"),
        _ => bail!("the job has ended"),
    }
}

/// A job's ear for orders; it closes when this is dropped.
#[derive(Debug)]
pub(crate) struct Orders {
    socket: PathBuf,
}

impl Orders {
    /// Takes orders for this job from now on.
    pub(crate) fn listen(handle: JobHandle) -> anyhow::Result<Self> {
        let place = ClusterPlace::of_user()?;
        place.prepare()?;
        let socket = place.job_socket(std::process::id());
        // One that is left from a process that had this number.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("{} cannot be listened at", socket.display()))?;
        let handle = Arc::new(handle);
        let serve = move || {
            for stream in listener.incoming().flatten() {
                // Orders come one after the other: the job does one at a time.
                if let Err(error) = answer(&stream, &handle) {
                    tracing::debug!(%error, "an order was not taken");
                }
            }
        };
        std::thread::Builder::new()
            .name("faasm-orders".to_owned())
            .spawn(serve)
            .context("cannot start a thread; check `ulimit -u`")?;
        Ok(Self { socket })
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        // It is of no harm where it cannot be removed.
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn answer(mut stream: &UnixStream, handle: &JobHandle) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(ORDER_TIME_MAX))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    let told = match parse(&line) {
        Some(order) => handle.migrate(order).map(|report| report.to_string()),
        None => Err("this is no order; give it with `faasm-run migrate`".to_owned()),
    };
    match told {
        Ok(text) => writeln!(stream, "ok {text}")?,
        Err(text) => writeln!(stream, "error {}", text.replace('\n', " "))?,
    }
    Ok(())
}

fn parse(line: &str) -> Option<MoveOrder> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["migrate", ranks, from, to] = words[..] else { return None };
    let named = |word: &str| (word != "-").then(|| word.to_owned());
    let ranks = match ranks {
        "-" => Vec::new(),
        ranks => ranks.split(',').map(|rank| rank.parse().ok()).collect::<Option<_>>()?,
    };
    Some(MoveOrder { ranks, from: named(from), to: named(to) })
}
