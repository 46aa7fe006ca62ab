//! A node of a cluster: runs the ranks that a coordinator places on it.
//!
//! `driver` carries out what the coordinator says, `part` is one job's part, `fetch` gets
//! programs, `protos` what their ranks begin with, `midwife` has processes spawned, `renewal` new certificates.

mod ahead;
mod driver;
mod fetch;
mod midwife;
mod moving;
mod part;
mod protos;
mod renewal;
mod spawned;
mod stop;

use std::net::SocketAddr;
use std::sync::Arc;

use faasm_transport::{Endpoint, Handler, NodeId};

use super::codec::Outbox;
use super::error::ClusterError;
use super::inbox::Sorter;
use super::message::{NodeInfo, ToCoordinator};
use super::planes::Planes;
use crate::error::Error;
use crate::runtime::Runtime;
use driver::{Driver, Input, Links};
pub(crate) use renewal::Renewal;

/// A node that runs; it leaves its cluster when this is dropped.
#[derive(Debug)]
pub struct Node {
    inbox: flume::Sender<Input>,
    ended: flume::Receiver<NodeEnd>,
}

/// Lets a node leave, from another thread than the one that waits for it.
#[derive(Clone, Debug)]
pub struct NodeLeaver {
    inbox: flume::Sender<Input>,
}

impl NodeLeaver {
    /// Has the node's ranks brought to other nodes in this time, as far as they can be, and leaves then. Whoever asks for
    /// it sees to it that the time is kept.
    pub fn leave_within(&self, grace: std::time::Duration) {
        // It has left already.
        let _ = self.inbox.send(Input::LeaveWithin(grace));
    }

    /// As [`Node::leave`].
    pub fn leave(&self) {
        // It has left already.
        let _ = self.inbox.send(Input::Leave);
    }
}

/// Why a node runs no more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NodeEnd {
    /// It left: it was told to, or its process ends.
    Left,
    /// Its coordinator is gone; the jobs that ran here were ended.
    CoordinatorLost {
        /// How, in words.
        reason: String,
    },
}

/// What a node says of itself, and where its coordinator is.
#[derive(Debug, Default)]
pub(crate) struct NodeOptions {
    /// What the node is called.
    pub(crate) host: String,
    /// Ranks that it offers to take.
    pub(crate) slots: Option<u32>,
    /// Where the coordinator may be found.
    pub(crate) coordinator: Vec<SocketAddr>,
    /// When its certificate runs out; never inside one process.
    pub(crate) renewal: Option<Renewal>,
}

impl Node {
    /// Starts a node whose ranks run on `runtime`; `connect` makes its endpoint for the given
    /// handler.
    pub(crate) fn start(
        runtime: Runtime,
        options: NodeOptions,
        connect: impl FnOnce(Arc<dyn Handler>) -> Result<Endpoint, faasm_transport::Error>,
    ) -> Result<Self, ClusterError> {
        let (inbox, received) = flume::unbounded();
        let complaints = inbox.clone();
        let planes = Planes::new(move |peer, job, error| {
            // The node is gone.
            let _ = complaints.send(Input::Broken { peer, job, error });
        });
        let sorter: Sorter<Planes, Input> = Sorter::new(inbox.clone(), planes.clone());
        let endpoint = connect(Arc::new(sorter))?;
        endpoint.add_peer(NodeId::COORDINATOR, &options.coordinator);
        let addresses = endpoint.local_addr().into_iter();
        let outbox = Arc::new(Outbox::new(endpoint.clone()));
        let hello = NodeInfo {
            host: options.host,
            workers: runtime.workers(),
            slots: options.slots,
            process: std::process::id(),
            addresses: addresses.map(|address| address.to_string()).collect(),
        };
        outbox.send(NodeId::COORDINATOR, &ToCoordinator::Hello(hello));
        let coordinator = options.coordinator.first().copied();
        let links = Links { outbox, planes, coordinator };
        let driver = Driver::new((runtime, options.renewal), links, inbox.clone());
        let (end, ended) = flume::bounded(1);
        let run = move || {
            // The node may be waited for by nobody.
            let _ = end.send(driver.run(received));
        };
        std::thread::Builder::new()
            .name("faasm-node".to_owned())
            .spawn(run)
            .map_err(|cause| Error::Start { what: "node's thread", cause })?;
        Ok(Self { inbox, ended })
    }

    /// Waits until the node runs no more.
    pub fn wait(&self) -> NodeEnd {
        self.ended.recv().unwrap_or(NodeEnd::Left)
    }

    /// Ends the jobs that run here, and leaves the cluster.
    pub fn leave(&self) {
        self.leaver().leave();
    }

    /// What lets this node leave while somebody waits for it.
    pub fn leaver(&self) -> NodeLeaver {
        NodeLeaver { inbox: self.inbox.clone() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.leave();
    }
}
