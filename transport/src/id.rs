//! Names of nodes and lanes.

use std::fmt;

/// A node of a cluster. Node 0 is the coordinator.
#[derive(Copy, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The node that admits the others and starts jobs.
    pub const COORDINATOR: Self = Self(0);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// One of the ordered ways between two nodes; messages of different lanes may pass each other.
#[derive(Copy, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Lane {
    /// Starting, ending and watching jobs; output and input.
    Control = 0,
    /// Messages of ranks, collectives and requests for data: latency counts.
    Message = 1,
    /// Data that was asked for: bandwidth counts.
    Bulk = 2,
}

impl Lane {
    /// All lanes, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Control, Self::Message, Self::Bulk];
}
