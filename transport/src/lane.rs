//! Messages between two nodes keep their order whatever happens to the connection.
//!
//! A [`Session`] is one node's memory of what it sent to a peer and received from it. It outlives
//! connections: each message has a number in its lane, is kept until the peer has acknowledged it,
//! and is written again when a new connection begins where the old one broke off.
//!
//! ```text
//! state of a lane, sending:   acknowledged | written, kept | waiting to be written
//!                             0 ..         base ..         base + cursor ..     next
//! ```
//!
//! What always holds: a message is delivered at most once and only after all before it in its
//! lane; one that was not acknowledged can be written again; at most
//! [`Limits::unacknowledged_bytes_max`](crate::config::Limits::unacknowledged_bytes_max) and one
//! frame of a lane are written and unacknowledged. A frame that is missing is an error of the
//! connection: it is closed, and the next one resumes.
//!
//! Pure: no I/O, no clock, no randomness. May import `config`, `envelope`, `frame` and `id`.

mod incoming;
mod outgoing;
mod session;
mod signal;

pub use session::{Received, Session};
pub use signal::{Hello, Positions, SIGNAL_BYTES_MAX, Signal, SignalDecoder, SignalError};

use crate::id::Lane;

/// A peer breaks the rules of numbering, or is not the one that was talked to before.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// A message is missing: close the connection, the next one resumes.
    #[error("message {number} of lane {lane:?} came while {expected} was expected")]
    Gap {
        /// Lane of the message.
        lane: Lane,
        /// Its number.
        number: u64,
        /// The number that would have been right.
        expected: u64,
    },
    /// Something came before the hello.
    #[error("a message came before the greeting")]
    NoHello,
    /// The peer acknowledges what was never sent.
    #[error("the peer acknowledges {acknowledged} messages of lane {lane:?}, {sent} were sent")]
    NeverSent {
        /// Which lane.
        lane: Lane,
        /// What it says that it has.
        acknowledged: u64,
        /// What was written to any connection.
        sent: u64,
    },
    /// The peer wants messages that it acknowledged before.
    #[error("the peer asks for message {asked} of lane {lane:?} again, which it acknowledged")]
    Forgotten {
        /// Which lane.
        lane: Lane,
        /// What it asks for.
        asked: u64,
    },
    /// The peer left, having sent less than was received.
    #[error("the peer says that it sent {said} messages in lane {lane:?}, {received} came")]
    LeftEarlier {
        /// Which lane.
        lane: Lane,
        /// What it says.
        said: u64,
        /// What came.
        received: u64,
    },
    /// The peer is another process than before, or has given this node up.
    #[error("the peer does not know this session any more: it was started anew or gave it up")]
    OtherSession,
    /// The peer talks to what this node was before it gave the peer up: refuse the connection, so
    /// that the peer learns it, and wait for the peer's new session.
    #[error("this session is not the one that the peer talked to")]
    FormerSession,
}

impl LaneError {
    /// Whether only the connection is to be closed, and the session can go on with another one.
    pub fn is_resumable(&self) -> bool {
        matches!(self, Self::Gap { .. } | Self::NoHello | Self::FormerSession)
    }
}

#[cfg(test)]
mod tests;
