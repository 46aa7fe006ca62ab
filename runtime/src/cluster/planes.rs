//! The jobs that messages of ranks can arrive for on this node.

use std::sync::Arc;

use faasm_transport::{Envelope, Lane, NodeId, Payload};
use parking_lot::RwLock;

use super::data::{DataError, DataPlane};
use super::inbox::OtherServices;

/// What a node is told of a peer that broke the rules.
type Complain = Box<dyn Fn(NodeId, u32, DataError) + Send + Sync>;

/// The receiving sides of a node's jobs; clones share them.
#[derive(Clone)]
pub(crate) struct Planes {
    inner: Arc<Inner>,
}

struct Inner {
    /// A node runs few jobs at once, so looking through them is the quickest.
    jobs: RwLock<Vec<(u32, Arc<DataPlane>)>>,
    complain: Complain,
}

impl std::fmt::Debug for Planes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planes").field("jobs", &self.inner.jobs.read().len()).finish()
    }
}

impl Planes {
    /// No jobs yet; `complain` is called with the peer, the job, and what was wrong with a message.
    pub(crate) fn new(complain: impl Fn(NodeId, u32, DataError) + Send + Sync + 'static) -> Self {
        let inner = Inner { jobs: RwLock::default(), complain: Box::new(complain) };
        Self { inner: Arc::new(inner) }
    }

    /// From now on messages for this job arrive.
    pub(crate) fn open(&self, job: u32, plane: DataPlane) {
        self.inner.jobs.write().push((job, Arc::new(plane)));
    }

    /// From now on messages for this job go there instead.
    pub(crate) fn replace(&self, job: u32, plane: DataPlane) {
        let mut jobs = self.inner.jobs.write();
        if let Some((_, known)) = jobs.iter_mut().find(|(open, _)| *open == job) {
            *known = Arc::new(plane);
        }
    }

    /// No more messages for this job arrive.
    pub(crate) fn close(&self, job: u32) {
        self.inner.jobs.write().retain(|(open, _)| *open != job);
    }
}

impl OtherServices for Planes {
    #[inline]
    fn message(&self, from: NodeId, _: Lane, envelope: &Envelope, payload: Payload<'_>) {
        let jobs = self.inner.jobs.read();
        // Its ranks have ended here, and what was under way for them is of no use.
        let Some((job, plane)) = jobs.iter().find(|(open, _)| *open == envelope.job) else {
            return;
        };
        if let Err(error) = plane.message(from, envelope, payload) {
            (self.inner.complain)(from, *job, error);
        }
    }

    fn lost(&self, _: NodeId) {}

    fn drained(&self, peer: NodeId, lane: Lane) {
        for (_, plane) in self.inner.jobs.read().iter() {
            plane.drained(peer, lane);
        }
    }
}
