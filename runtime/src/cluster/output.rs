//! What ranks of a node write, on its way to the coordinator.

use std::sync::Arc;

use faasm_transport::NodeId;
use parking_lot::{Condvar, Mutex};

use super::codec::Outbox;
use crate::host::wasi::{OutputSink, Stream};

/// Output of one job that may be under way from one node, so that neither it nor the coordinator
/// keeps more. A rank that writes beyond it waits, as one does whose terminal is stopped.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;

/// Sends what the ranks of a job write to the coordinator.
#[derive(Debug)]
pub(crate) struct RemoteOutput {
    outbox: Arc<Outbox>,
    job: u32,
    window: Mutex<Window>,
    changed: Condvar,
}

#[derive(Debug)]
struct Window {
    /// Bytes that may be sent; below zero after a write that found less room than it needed.
    free: i64,
    /// Nobody wants the output any more.
    closed: bool,
}

impl RemoteOutput {
    pub(crate) fn new(outbox: Arc<Outbox>, job: u32) -> Self {
        let window = Mutex::new(Window { free: WINDOW_BYTES.cast_signed(), closed: false });
        Self { outbox, job, window, changed: Condvar::new() }
    }

    /// As much output has reached its destination.
    pub(crate) fn credit(&self, bytes: u64) {
        let mut window = self.window.lock();
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        window.free = window.free.saturating_add(bytes).min(WINDOW_BYTES.cast_signed());
        drop(window);
        self.changed.notify_all();
    }

    /// The job is being ended: whoever waits here goes on, and further output is dropped.
    pub(crate) fn stop(&self) {
        self.window.lock().closed = true;
        self.changed.notify_all();
    }
}

impl OutputSink for RemoteOutput {
    fn write(&self, rank: u32, stream: Stream, bytes: &[u8]) {
        let mut window = self.window.lock();
        while window.free <= 0 && !window.closed {
            self.changed.wait(&mut window);
        }
        if window.closed {
            return;
        }
        // A write goes out whole though it may exceed the window, so that its bytes stay together.
        window.free -= bytes.len() as i64;
        // Sent under the lock: writes of one rank come in order, also from spare workers.
        self.outbox.output(NodeId::COORDINATOR, self.job, rank, stream, bytes);
    }

    fn close(&self, rank: u32) {
        self.outbox.close(NodeId::COORDINATOR, self.job, rank);
    }
}
