//! The processes of a job that have failed while the job goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::World;

/// Failed processes, by world rank.
#[derive(Debug, Default)]
pub(super) struct Failures {
    is_tolerant: AtomicBool,
    failed: Mutex<Vec<u32>>,
}

impl World {
    /// From now on the job goes on when one of its processes fails. Called before its ranks begin.
    pub fn tolerate_failures(&self) {
        self.failures.is_tolerant.store(true, Ordering::Release);
    }

    /// Whether the job goes on when one of its processes fails.
    pub fn is_tolerant(&self) -> bool {
        self.failures.is_tolerant.load(Ordering::Acquire)
    }

    /// Keeps in mind that a process has failed. Returns whether that is news.
    pub fn keep_failure(&self, rank: u32) -> bool {
        let mut failed = self.failures.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = !failed.contains(&rank);
        if is_news {
            failed.push(rank);
        }
        is_news
    }

    /// The processes that have failed, in the order in which this node heard of them.
    pub fn failures(&self) -> Vec<u32> {
        self.failures.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
