//! One job over several nodes: which hosts there are, which rank goes where, how node processes are
//! started, and how the coordinator and the nodes work together.

mod hostfile;
mod placement;

pub use hostfile::{Host, HostError, HostList};
pub use placement::{
    AppDemand, EdgeError, MapBy, NodeSlots, Placement, PlacementError, PlacementRules,
    PlacementView, RankBy, Topology, place,
};
