//! Orders to a running job: who gives one, and who takes it.
//!
//! A job listens on a socket in a directory that only its user can enter. An order is one line, and so is the answer:
//! ```text
//! migrate RANK,... FROM TO      where "-" stands for nothing
//! status                        how the job is doing, in JSON
//! ok TEXT | error TEXT
//! ```

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use faasm_runtime::{ClusterPlace, JobHandle, MoveOrder};

/// Longest order.
const ORDER_BYTES_MAX: u64 = 64 << 10;
/// Longest answer: that of a job with very many ranks.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// How long a job waits for the rest of an order, and for its answer to be read.
const ORDER_TIME_MAX: Duration = Duration::from_secs(5);
/// Orders that a job deals with at a time.
const ORDERS_MAX: u32 = 16;

/// Gives an order to the job of this process; its answer.
pub(crate) fn give(process: u32, order: &str) -> anyhow::Result<String> {
    let place = ClusterPlace::of_user()?;
    let socket = place.job_socket(process);
    let mut stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "process {process} takes no orders ({}): it has to be a faasm-run of yours whose job runs",
            socket.display()
        )
    })?;
    writeln!(stream, "{order}")?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut answer)?;
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

/// What orders are carried out on.
struct Taker {
    handle: JobHandle,
    is_migratable: bool,
    /// Held by whoever moves ranks.
    turn: Mutex<()>,
    open: AtomicU32,
}

impl Orders {
    /// Takes orders for this job from now on.
    pub(crate) fn listen(handle: JobHandle, is_migratable: bool) -> anyhow::Result<Self> {
        let place = ClusterPlace::of_user()?;
        place.prepare()?;
        let socket = place.job_socket(std::process::id());
        // One that is left from a process that had this number.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("{} cannot be listened at", socket.display()))?;
        let (turn, open) = Default::default();
        let taker = Arc::new(Taker { handle, is_migratable, turn, open });
        thread("faasm-orders", move || {
            for stream in listener.incoming().flatten() {
                take(&taker, stream);
            }
        })?;
        Ok(Self { socket })
    }

    /// As [`Orders::listen`], for a job that nobody has to be able to give orders to.
    pub(crate) fn listen_if_possible(handle: JobHandle, is_migratable: bool) -> Option<Self> {
        let listening = Self::listen(handle, is_migratable);
        listening.inspect_err(|error| tracing::debug!("the job takes no orders: {error:#}")).ok()
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        // It is of no harm where it cannot be removed.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Deals with an order in a thread of its own: a move takes long, and others want to know how it goes.
fn take(taker: &Arc<Taker>, stream: UnixStream) {
    if taker.open.fetch_add(1, Ordering::AcqRel) >= ORDERS_MAX {
        taker.open.fetch_sub(1, Ordering::AcqRel);
        // Whoever gave it learns that by the end of the stream.
        return drop(stream);
    }
    let taken = taker.clone();
    let begun = thread("faasm-order", move || {
        if let Err(error) = taken.answer(&stream) {
            tracing::debug!(%error, "an order was not taken");
        }
        taken.open.fetch_sub(1, Ordering::AcqRel);
    });
    if let Err(error) = begun {
        tracing::warn!("an order was not taken: {error:#}");
        taker.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Taker {
    fn answer(&self, mut stream: &UnixStream) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(ORDER_TIME_MAX))?;
        stream.set_write_timeout(Some(ORDER_TIME_MAX))?;
        let mut line = String::new();
        BufReader::new(stream.take(ORDER_BYTES_MAX)).read_line(&mut line)?;
        match self.carry_out(&line) {
            Ok(text) => writeln!(stream, "ok {text}")?,
            Err(text) => writeln!(stream, "error {}", text.replace('\n', " "))?,
        }
        Ok(())
    }

    fn carry_out(&self, line: &str) -> Result<String, String> {
        match parse(line) {
            Some(Order::Status) => {
                let status = self.handle.status()?;
                serde_json::to_string(&status).map_err(|error| error.to_string())
            }
            Some(Order::Migrate(_)) if !self.is_migratable => Err(
                "the ranks of this job cannot be moved: begin it with --migratable, on several nodes".to_owned(),
            ),
            Some(Order::Migrate(order)) => {
                // The job does one at a time.
                let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
                self.handle.migrate(order).map(|report| report.to_string())
            }
            None => Err("this is no order; there are `faasm-run migrate`, `drain` and `top`".to_owned()),
        }
    }
}

/// What a job can be told to do.
#[derive(Debug, PartialEq)]
enum Order {
    Status,
    Migrate(MoveOrder),
}

fn parse(line: &str) -> Option<Order> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (ranks, from, to) = match words[..] {
        ["status"] => return Some(Order::Status),
        ["migrate", ranks, from, to] => (ranks, from, to),
        _ => return None,
    };
    let named = |word: &str| (word != "-").then(|| word.to_owned());
    let ranks = match ranks {
        "-" => Vec::new(),
        ranks => ranks.split(',').map(|rank| rank.parse().ok()).collect::<Option<_>>()?,
    };
    Some(Order::Migrate(MoveOrder { ranks, from: named(from), to: named(to) }))
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(run).map(drop).context("cannot start a thread; check `ulimit -u`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_lines() {
        assert_eq!(parse("status\n"), Some(Order::Status));
        let order = MoveOrder { ranks: vec![0, 3], from: None, to: Some("n1".to_owned()) };
        assert_eq!(parse("migrate 0,3 - n1\n"), Some(Order::Migrate(order)));
        let order = MoveOrder { ranks: vec![], from: Some("1".to_owned()), to: None };
        assert_eq!(parse("migrate - 1 -"), Some(Order::Migrate(order)));
        for line in ["", "status 1", "migrate", "migrate x - 1", "migrate 1 2 3 4"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
