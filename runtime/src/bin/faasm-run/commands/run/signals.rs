//! Signals: the first SIGINT or SIGTERM asks the job to end, the second ends this process at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};

use super::Event;

/// The signal that asks for the state of the ranks.
pub(super) const SHOW_STATES: i32 = SIGUSR1;
/// The signal that asks for a checkpoint.
pub(super) const CHECKPOINT: i32 = SIGUSR2;
/// The signal with which batch systems end a job.
pub(super) const TERMINATE: i32 = SIGTERM;
/// The signal that a program dies of when nobody reads its output; we get an error instead.
pub(super) const BROKEN_PIPE: i32 = SIGPIPE;

/// A thread that passes signals on.
pub(super) struct Signals {
    job_runs: Arc<AtomicBool>,
}

impl Signals {
    /// From now on signals become events. Until the job runs, nothing needs an orderly end.
    pub(super) fn watch(events: flume::Sender<Event>) -> anyhow::Result<Self> {
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGUSR2])
            .context("cannot handle signals")?;
        let job_runs = Arc::new(AtomicBool::new(false));
        let watcher = Self { job_runs: job_runs.clone() };
        let watch = move || {
            let mut asked = false;
            for signal in signals.forever() {
                let ends = ![SHOW_STATES, CHECKPOINT].contains(&signal);
                if ends && (asked || !job_runs.load(Ordering::Acquire)) {
                    leave(128 + signal);
                }
                asked |= ends;
                // The receiver is gone when the job has ended.
                let _ = events.send(Event::Signal(signal));
            }
        };
        std::thread::Builder::new()
            .name("faasm-signals".to_owned())
            .spawn(watch)
            .context("cannot start a thread; check `ulimit -u`")?;
        Ok(watcher)
    }

    /// The job runs now: it is to be ended before this process.
    pub(super) fn job_runs(&self) {
        self.job_runs.store(true, Ordering::Release);
    }
}

/// Ends this process in a while whatever it is doing then, for example waiting for who does not read
/// its output.
pub(super) fn leave_after(patience: Duration, status: i32) {
    let leave = move || {
        std::thread::sleep(patience);
        leave(status)
    };
    if std::thread::Builder::new().name("faasm-leave".to_owned()).spawn(leave).is_err() {
        // Without a thread to watch the end there is no orderly one.
        self::leave(status);
    }
}

/// Ends this process without waiting for anything.
fn leave(status: i32) -> ! {
    signal_hook::low_level::exit(status)
}
