//! The links to other nodes, which workers with nothing else to do drive.

use std::sync::atomic::{AtomicBool, Ordering};

use faasm_transport::Endpoint;
use parking_lot::RwLock;

/// The endpoints of the jobs that run on several nodes.
#[derive(Debug, Default)]
pub(super) struct Links {
    any: AtomicBool,
    endpoints: RwLock<Vec<Used>>,
}

/// An endpoint, and how many jobs use it.
#[derive(Debug)]
struct Used {
    endpoint: Endpoint,
    jobs: u32,
}

impl Links {
    /// A job uses `endpoint`.
    pub(super) fn add(&self, endpoint: &Endpoint) {
        let mut endpoints = self.endpoints.write();
        match endpoints.iter_mut().find(|used| used.endpoint.node() == endpoint.node()) {
            Some(used) => used.jobs += 1,
            None => endpoints.push(Used { endpoint: endpoint.clone(), jobs: 1 }),
        }
        self.any.store(true, Ordering::Release);
    }

    /// A job does not use `endpoint` any more.
    pub(super) fn remove(&self, endpoint: &Endpoint) {
        let mut endpoints = self.endpoints.write();
        if let Some(used) =
            endpoints.iter_mut().find(|used| used.endpoint.node() == endpoint.node())
        {
            used.jobs -= 1;
        }
        endpoints.retain(|used| used.jobs > 0);
        self.any.store(!endpoints.is_empty(), Ordering::Release);
    }

    /// Whether any job has ranks on other nodes.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Hands over what has arrived.
    pub(super) fn poll(&self) {
        // A writer is about to be done; there is time to look again.
        if let Some(endpoints) = self.endpoints.try_read() {
            for used in &*endpoints {
                used.endpoint.poll();
            }
        }
    }

    /// The calling thread looks no more for a while: what arrives wakes the endpoints' threads.
    pub(super) fn rest(&self) {
        if let Some(endpoints) = self.endpoints.try_read() {
            endpoints.iter().for_each(|used| used.endpoint.rest());
        }
    }
}
