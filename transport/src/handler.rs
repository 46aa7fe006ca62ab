//! What a link calls: the receiver of messages and events.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{
    envelope::Envelope,
    id::{Lane, NodeId},
    membership::Loss,
    payload::Payload,
};

/// The receiver of what arrives at an [`Endpoint`](crate::Endpoint).
///
/// Called on whichever thread drives the link: the endpoint's own or one that called
/// [`Endpoint::poll`](crate::Endpoint::poll). Calls of one endpoint never overlap. No method may
/// block; all may call the endpoint.
pub trait Handler: Send + Sync + 'static {
    /// One message, in order per peer and lane.
    fn message(&self, from: NodeId, lane: Lane, envelope: &Envelope, payload: Payload<'_>);

    /// Something happened to a peer.
    fn event(&self, event: Event);

    /// The backlog to `peer` in `lane` fell below
    /// [`Limits::drained_bytes`](crate::config::Limits::drained_bytes) after it was at or above it:
    /// a sender of bulk data may go on.
    fn drained(&self, peer: NodeId, lane: Lane) {
        let _ = (peer, lane);
    }
}

/// What happened to a peer.
///
/// Per peer: `PeerUp` before its first message, and at most one of `PeerLost` and `PeerLeft`
/// after its last. A peer that is added again starts anew.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The peer is connected for the first time.
    PeerUp(NodeId),
    /// The peer is given up: nothing more comes from it, and what is sent to it is dropped.
    PeerLost {
        /// Which one.
        node: NodeId,
        /// Why.
        reason: LostReason,
    },
    /// The peer left in order; all that it had sent was delivered.
    PeerLeft(NodeId),
    /// A machine has joined and become a node; nothing is sent to it until it is added as a peer.
    Admitted {
        /// Its new name.
        node: NodeId,
        /// What it calls itself; not checked.
        host: String,
        /// Where it joined from; its links come from another port.
        addr: SocketAddr,
    },
    /// Somebody was turned away.
    Refused {
        /// Where it came from.
        addr: SocketAddr,
        /// Why, in a sentence.
        reason: String,
    },
}

/// Why a peer was given up.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LostReason {
    /// Nothing was heard of it for this long.
    Silent(Duration),
    /// It could not be reached within this time.
    Unreachable(Duration),
    /// Its process ended.
    Ended,
    /// It came back as another process, which knows nothing of what was sent before.
    Restarted,
    /// It does not talk to this node, or this node not to it; the reason is a sentence.
    Refused(String),
    /// It takes less than is sent to it: this many bytes waited.
    Behind(usize),
}

impl From<Loss> for LostReason {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Silent(time) => Self::Silent(time),
            Loss::Unreachable(time) => Self::Unreachable(time),
        }
    }
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(time) => {
                write!(f, "nothing was heard of it for {:.1} s", time.as_secs_f64())
            }
            Self::Unreachable(time) => {
                write!(f, "it could not be reached within {:.1} s", time.as_secs_f64())
            }
            Self::Ended => f.write_str("its process ended"),
            Self::Restarted => f.write_str("its process was started anew"),
            Self::Refused(reason) => f.write_str(reason),
            Self::Behind(bytes) => write!(
                f,
                "{} MiB were sent to it that it has not taken: its way or its machine is too slow \
                 for what the program sends without waiting",
                bytes >> 20
            ),
        }
    }
}
