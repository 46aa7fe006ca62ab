//! Settings and limits of an endpoint.
//!
//! Everything that comes from a network has a bound here; what is not bounded by a constant is
//! bounded by a field of [`Limits`].

use std::{fmt, net::SocketAddr, time::Duration};

use crate::id::NodeId;

/// Payload of one frame, in bytes.
///
/// Longer messages are for the level above to cut; eager messages of ranks are far below it.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Nodes of a cluster, the coordinator among them.
pub const NODES_MAX: usize = 4096;
/// Addresses that one node may be known by.
pub const PEER_ADDRESSES_MAX: usize = 16;

/// Bytes that may wait in a lane to a peer; a peer that takes less than is sent to it is given up
/// before the memory is.
pub const LANE_BACKLOG_BYTES_MAX: usize = 2 << 30;

/// What an endpoint on the network is made of.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Address to listen at; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Name of this node; its certificate names the same.
    pub node: NodeId,
    /// What this node proves itself with.
    pub identity: Identity,
    /// When a silent peer is asked, and when it is given up.
    pub timing: Timing,
    /// Bounds of memory.
    pub limits: Limits,
}

impl EndpointConfig {
    /// Settings with the defaults for everything that has one.
    pub fn new(bind: SocketAddr, node: NodeId, identity: Identity) -> Self {
        Self { bind, node, identity, timing: Timing::default(), limits: Limits::default() }
    }
}

/// A node's certificate and key, and the authority that every member's certificate is signed by.
#[derive(Clone)]
pub struct Identity {
    /// This node's certificate, in DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS#8 in DER; never printed.
    pub key: Vec<u8>,
    /// The cluster authority's certificate, in DER.
    pub authority: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate_bytes", &self.certificate.len())
            .field("authority_bytes", &self.authority.len())
            .finish_non_exhaustive()
    }
}

/// When a silent peer is asked, and when it is given up.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Timing {
    /// A peer that nothing was sent to for this long is sent a heartbeat. Default 1 s; costs one
    /// datagram per peer and interval.
    pub heartbeat_interval: Duration,
    /// A peer that nothing was heard of for this long is lost. Default 5 s; shorter finds a dead
    /// node sooner and takes a stalled one for dead.
    pub lost_after: Duration,
    /// Pause before a broken connection is dialled again. Default 100 ms.
    pub redial_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(1),
            lost_after: Duration::from_secs(5),
            redial_interval: Duration::from_millis(100),
        }
    }
}

/// Bounds of what an endpoint keeps in memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes sent to a peer in one lane and not yet acknowledged. Beyond it frames wait unsent in
    /// the sender's queue. Default 32 MiB; worst case per peer is this times the lanes.
    pub unacknowledged_bytes_max: usize,
    /// A lane whose backlog falls below this after it was at or above it calls
    /// [`Handler::drained`](crate::Handler::drained). Default 2 MiB.
    pub drained_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unacknowledged_bytes_max: 32 << 20, drained_bytes: 2 << 20 }
    }
}

/// How a link to a peer is doing.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct LinkStats {
    /// Time from sending to the acknowledgement, averaged.
    pub round_trip: Duration,
    /// Payload of the largest datagram that the way carries, in bytes.
    pub datagram_bytes: u16,
    /// Bytes that may be on their way at once.
    pub window_bytes: u64,
    /// Datagrams sent over the present connection.
    pub sent_datagrams: u64,
    /// Those of them that did not arrive.
    pub lost_datagrams: u64,
}

/// What an endpoint turned away.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Turned {
    /// Datagrams that belonged to no connection.
    pub ignored_datagrams: u64,
    /// Connections and attempts to join that were refused.
    pub refused: u64,
}
