//! Checkpoints of the running job: now and then, when asked for, and before it has to end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use faasm_runtime::{
    Checkpoint, CheckpointError, CheckpointOptions, JobHandle, Multiplexer, Program,
};

use super::programs;
use crate::args::{CheckpointArgs, Invocation};

/// So many checkpoints are kept unless somebody says otherwise.
const KEEP: usize = 2;

/// How the library is to make the job's checkpoints, if there is a directory for them. A job that goes on has its
/// programs in the checkpoint.
pub(super) fn options(
    job: &Invocation,
    from: Option<&Checkpoint>,
) -> anyhow::Result<Option<CheckpointOptions>> {
    if job.checkpoints.dir.is_none() {
        return Ok(None);
    }
    let programs: Vec<Program> = match from {
        None => job
            .apps
            .iter()
            .map(|app| programs::read(&app.program))
            .collect::<anyhow::Result<_>>()?,
        Some(checkpoint) => {
            let apps = checkpoint.description().apps.iter();
            apps.map(|app| Ok(Program::read(checkpoint.program(&app.hash))?))
                .collect::<anyhow::Result<_>>()?
        }
    };
    Ok(of_programs(job, programs))
}

/// As [`options`], for a job of these programs.
pub(super) fn of_programs(job: &Invocation, programs: Vec<Program>) -> Option<CheckpointOptions> {
    let CheckpointArgs { dir, keep, .. } = &job.checkpoints;
    Some(CheckpointOptions {
        dir: dir.as_ref()?.into(),
        keep: keep.unwrap_or(KEEP),
        command: job.words.clone(),
        directory: None,
        programs,
    })
}

/// Why a checkpoint is made.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Somebody asked for it.
    Asked,
    /// The job ends then with this status.
    Last(i32),
}

/// A thread that makes them.
#[derive(Debug)]
pub(super) struct Checkpoints {
    orders: flume::Sender<Order>,
    on_term: bool,
    tally: Arc<Mutex<Tally>>,
}

/// The checkpoints that were made so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    number: u32,
    bytes: u64,
    time: Duration,
}

impl Checkpoints {
    /// Begins to make checkpoints, if the job has a directory for them.
    pub(super) fn begin(
        job: &Invocation,
        handle: JobHandle,
        output: Arc<Multiplexer>,
    ) -> anyhow::Result<Option<Self>> {
        let CheckpointArgs { dir: Some(dir), every, on_term, .. } = job.checkpoints.clone() else {
            return Ok(None);
        };
        let (orders, received) = flume::unbounded();
        let quiet = job.quiet;
        let tally = Arc::<Mutex<Tally>>::default();
        let counted = tally.clone();
        let run = move || serve(&received, every, &dir, (&handle, &counted), &output, quiet);
        std::thread::Builder::new()
            .name("faasm-cuts".to_owned())
            .spawn(run)
            .context("cannot start a thread; check `ulimit -u`")?;
        Ok(Some(Self { orders, on_term, tally }))
    }

    /// Makes one as soon as possible.
    pub(super) fn ask(&self) {
        // The thread ends with the process.
        let _ = self.orders.send(Order::Asked);
    }

    /// What was made, in a line for the summary.
    pub(super) fn summary(&self) -> String {
        let Tally { number, bytes, time } =
            *self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = time.as_secs_f64();
        format!("faasm-run: {number} checkpoints were made: {bytes} bytes, {seconds:.3} s\n")
    }

    /// Whether the job is to be kept before it ends; then it ends with `status` by itself.
    pub(super) fn keep_before_end(&self, status: i32) -> bool {
        self.on_term && self.orders.send(Order::Last(status)).is_ok()
    }
}

fn serve(
    orders: &flume::Receiver<Order>,
    every: Option<Duration>,
    dir: &str,
    (handle, tally): (&JobHandle, &Mutex<Tally>),
    output: &Multiplexer,
    quiet: bool,
) {
    let mut told = String::new();
    loop {
        let order = match every {
            Some(every) => match orders.recv_timeout(every) {
                Ok(order) => Some(order),
                Err(flume::RecvTimeoutError::Timeout) => None,
                Err(flume::RecvTimeoutError::Disconnected) => return,
            },
            None => match orders.recv() {
                Ok(order) => Some(order),
                Err(flume::RecvError::Disconnected) => return,
            },
        };
        let begun = Instant::now();
        let made = match order {
            Some(Order::Last(status)) => handle.checkpoint_and_end(status),
            _ => handle.checkpoint(),
        };
        let time = begun.elapsed();
        if let Ok(cut) = &made {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.number += 1;
            tally.bytes += cut.bytes;
            tally.time += time;
        }
        match (&made, order) {
            (Ok(cut), Some(Order::Asked)) if !quiet => output.message(&format!(
                "faasm-run: checkpoint {} is in {dir} ({} bytes, {:.3} s); `faasm-run restart {dir}` goes on from it\n",
                cut.number, cut.bytes, time.as_secs_f64()
            )),
            (Ok(cut), Some(Order::Last(_))) => output.message(&format!(
                "faasm-run: the job ends after checkpoint {}; `faasm-run restart {dir}` goes on from it\n",
                cut.number
            )),
            // What becomes of the job is told elsewhere.
            (Err(CheckpointError::Ending), _) => {}
            (Err(error), order) => {
                let text = format!(
                    "faasm-run: no checkpoint was made: {error}. The job goes on; earlier checkpoints are whole\n"
                );
                // What happens each time is told once.
                if order.is_some() || text != told {
                    output.message(&text);
                }
                told = text;
            }
            _ => {}
        }
        if let (Some(Order::Last(status)), Err(_)) = (order, &made) {
            handle.kill(status);
        }
    }
}
