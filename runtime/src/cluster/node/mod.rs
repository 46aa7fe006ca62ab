//! A node of a cluster: runs the ranks that a coordinator places on it.
//!
//! `driver` carries out what the coordinator says, `part` is one job's part, `fetch` gets
//! programs.

mod driver;
mod fetch;
mod part;

use std::net::SocketAddr;
use std::sync::Arc;

use faasm_transport::{Endpoint, Handler, NodeId};

use super::codec::Outbox;
use super::error::ClusterError;
use super::inbox::{OtherServices, Sorter};
use super::message::{NodeInfo, ToCoordinator};
use crate::error::Error;
use crate::runtime::Runtime;
use driver::{Driver, Input};

/// A node that runs; it leaves its cluster when this is dropped.
#[derive(Debug)]
pub struct Node {
    inbox: flume::Sender<Input>,
    ended: flume::Receiver<NodeEnd>,
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
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeOptions {
    /// What the node is called.
    pub(crate) host: String,
    /// Ranks that it offers to take.
    pub(crate) slots: Option<u32>,
    /// Where the coordinator was found.
    pub(crate) coordinator: Option<SocketAddr>,
    /// Where other nodes reach this one, beside the address of its socket.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Node {
    /// Starts a node whose ranks run on `runtime`; `connect` makes its endpoint for the given
    /// handler. Messages of ranks go to `services`.
    pub(crate) fn start<S: OtherServices>(
        runtime: Runtime,
        options: NodeOptions,
        services: S,
        connect: impl FnOnce(Arc<dyn Handler>) -> Result<Endpoint, faasm_transport::Error>,
    ) -> Result<Self, ClusterError> {
        let (inbox, received) = flume::unbounded();
        let sorter: Sorter<S, Input> = Sorter::new(inbox.clone(), services);
        let endpoint = connect(Arc::new(sorter))?;
        let coordinator: Vec<SocketAddr> = options.coordinator.into_iter().collect();
        endpoint.add_peer(NodeId::COORDINATOR, &coordinator);
        let addresses = endpoint.local_addr().into_iter().chain(options.addresses);
        let outbox = Arc::new(Outbox::new(endpoint.clone()));
        let hello = NodeInfo {
            host: options.host,
            workers: runtime.workers(),
            slots: options.slots,
            process: std::process::id(),
            addresses: addresses.map(|address| address.to_string()).collect(),
        };
        outbox.send(NodeId::COORDINATOR, &ToCoordinator::Hello(hello));
        let driver = Driver::new(runtime, outbox, inbox.clone(), options.coordinator);
        let (end, ended) = flume::bounded(1);
        let run = move || {
            // The node may be waited for by nobody.
            let _ = end.send(driver.run(&received));
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
        // It has left already.
        let _ = self.inbox.send(Input::Leave);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.leave();
    }
}
