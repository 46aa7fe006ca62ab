//! Jobs over several nodes: a coordinator that spreads them and nodes that run their parts.
//!
//! Modules, lower ones first: `message`, `offer`, `spawn` and `stop` (what the two tell each other), `codec` (its bytes),
//! `inbox` (what arrives), `error`, `output` (a node's ranks' output), `data` and `planes` (what
//! arrives for ranks), `node`, `coordinator`, `local` (a
//! cluster inside one process), `access` (one on a network), `service` (one that
//! runs on its own), `hostfile` and `placement` (which hosts there are, and which rank goes
//! where), `policy` (where ranks should go while they run), `launcher` (how node processes get to their hosts).

mod access;
mod codec;
mod coordinator;
mod data;
mod error;
mod hostfile;
mod inbox;
mod input;
pub mod launcher;
mod local;
mod message;
mod node;
mod offer;
mod output;
mod placement;
mod planes;
mod policy;
mod service;
mod spawn;
mod stop;

pub use access::{ClusterOptions, JoinOptions, SharedToken};
pub use coordinator::{
    Cluster, ClusterApp, ClusterDir, ClusterJob, ClusterOrigin, ClusterStatus, DrainedJob,
    NodeStatus,
};
pub use error::ClusterError;
pub use hostfile::{Host, HostError, HostList};
pub use local::LocalCluster;
pub use node::{Node, NodeEnd, NodeLeaver};
pub use placement::{
    AppDemand, EdgeError, MapBy, NodeSlots, Placement, PlacementError, PlacementRules,
    PlacementView, RankBy, Topology, place,
};
pub use policy::{MovePolicy, PolicyOptions};
pub use service::{ClusterClient, ClusterPlace, ClusterServer};
