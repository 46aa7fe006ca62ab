//! A cluster inside one process: for programs that embed one, and for tests.

use faasm_transport::{Endpoint, LocalNetwork, NodeId};

use super::coordinator::Cluster;
use super::error::ClusterError;
use super::node::{Node, NodeOptions};
use crate::runtime::Runtime;

/// A coordinator and nodes of this process.
#[derive(Debug)]
pub struct LocalCluster {
    cluster: Cluster,
    _nodes: Vec<Node>,
}

impl LocalCluster {
    /// A cluster of one node for each of the runtimes.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(runtimes: impl IntoIterator<Item = Runtime>) -> Result<Self, ClusterError> {
        let network = LocalNetwork::default();
        let cluster = Cluster::start(None, |handler| {
            Endpoint::local(&network, NodeId::COORDINATOR, handler)
        })?;
        let mut nodes = Vec::new();
        for (number, runtime) in (1..).zip(runtimes) {
            let node = NodeId(number);
            cluster.admitted(node, std::net::Ipv4Addr::LOCALHOST.into());
            let options = NodeOptions { host: format!("node{number}"), ..NodeOptions::default() };
            nodes.push(Node::start(runtime, options, |handler| {
                Endpoint::local(&network, node, handler)
            })?);
        }
        Ok(Self { cluster, _nodes: nodes })
    }

    /// The coordinator.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}
