//! The thread that watches the workers.
//!
//! While any worker runs it looks every few milliseconds for one that has been in the same poll all
//! the time with other fibers queued behind, and wakes a parked or spare worker to take them over,
//! so that one rank's long computation never stops its neighbours. It also lets the runtime look
//! for deadlocks and tidy up. When all workers have slept for a while it sleeps too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::scheduler::{Observer, Scheduler};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(5);
/// Looks without any worker awake before the thread sleeps: workers that sleep and wake all the
/// time should not wake this thread each time.
const IDLE_LOOKS_MAX: u32 = 20;
/// A poll that lasts so long holds the worker up.
const PATIENCE: Duration = Duration::from_millis(9);

/// The watching thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Monitor {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Monitor {
    /// Starts the thread. `help` is called when a worker is held up and no other sleeps;
    /// `look_around` after every look, so several times when all workers have gone to sleep.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(
        scheduler: Arc<Scheduler>,
        help: impl Fn() + Send + 'static,
        look_around: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, watched) = (stop.clone(), scheduler.clone());
        let watch = move || {
            let mut observer = Observer::new(&watched, PATIENCE);
            let mut idle_looks = 0;
            while !ended.load(Ordering::Acquire) {
                idle_looks = if watched.awake() == 0 { idle_looks + 1 } else { 0 };
                if idle_looks > IDLE_LOOKS_MAX {
                    watched.sleep_of_monitor();
                    idle_looks = 0;
                    continue;
                }
                std::thread::park_timeout(PERIOD);
                let is_handed_over = watched.takes_hand_over();
                let is_held_up = observer.look(&watched, None);
                if (is_handed_over || is_held_up) && !watched.unpark_any() {
                    help();
                }
                look_around();
            }
        };
        let thread = std::thread::Builder::new().name("faasm-monitor".to_owned()).spawn(watch)?;
        scheduler.set_monitor(thread.thread().clone());
        Ok(Self { thread: Some(thread), stop })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the monitor has been printed already; the runtime is going away.
            let _ = thread.join();
        }
    }
}
