//! What a link calls: the receiver of messages and events.

use std::{fmt, net::SocketAddr, ops::Deref, time::Duration};

use bytes::Bytes;

use crate::{
    envelope::Envelope,
    id::{Lane, NodeId},
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

/// The bytes of a message after its envelope.
///
/// They live in the receive buffer as long as the call; [`Payload::into_bytes`] keeps them,
/// without a copy where the link allows it.
#[derive(Clone, Debug)]
pub struct Payload<'a>(Kind<'a>);

#[derive(Clone, Debug)]
enum Kind<'a> {
    Slice(&'a [u8]),
    Bytes(Bytes),
}

impl<'a> Payload<'a> {
    /// A payload in a buffer that will be used again.
    pub const fn borrowed(bytes: &'a [u8]) -> Self {
        Self(Kind::Slice(bytes))
    }

    /// The bytes, to be kept beyond the call.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Slice(bytes) => Bytes::copy_from_slice(bytes),
            Kind::Bytes(bytes) => bytes,
        }
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Slice(bytes) => bytes,
            Kind::Bytes(bytes) => bytes,
        }
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
        }
    }
}
