//! Whether a thread sleeps that others give work to.

use crate::atomic::{AtomicBool, Ordering, fence};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Parking(AtomicBool);

impl Parking {
    /// Of a thread that is awake.
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The thread is about to sleep. It must look for work once more before it does.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Work was published. Whether the caller, and nobody else, is to wake the thread.
    #[must_use]
    pub(super) fn is_to_be_woken(&self) -> bool {
        fence(Ordering::SeqCst);
        self.end()
    }

    /// Ends the parking; `false` when it was ended already.
    pub(super) fn end(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }

    /// Whether the thread sleeps or is about to.
    pub(super) fn is_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
