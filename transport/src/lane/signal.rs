//! What sessions tell each other besides messages.
//!
//! ```text
//! Hello  1 | cluster u64 | node u32 | session u64 | peer's session u64, 0 if unknown | positions
//! Ack    2 | positions        all before these numbers have arrived; also a heartbeat
//! Leave  3 | positions        the sender sends nothing from these numbers on
//! positions: for each lane, in order, the number of the next message, u64
//! ```
//!
//! One byte of kind, then fixed fields, little-endian; nothing between signals.

use std::collections::VecDeque;

use crate::id::{Lane, NodeId};

/// Number of the next message, for each lane.
pub type Positions = [u64; Lane::ALL.len()];

/// The longest signal.
pub const SIGNAL_BYTES_MAX: usize = HELLO_BYTES;

const POSITIONS_BYTES: usize = Lane::ALL.len() * 8;
const HELLO_BYTES: usize = 1 + 8 + 4 + 8 + 8 + POSITIONS_BYTES;
const SHORT_BYTES: usize = 1 + POSITIONS_BYTES;

/// What sessions tell each other besides messages.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Signal {
    /// The first on a connection, from both sides.
    Hello(Hello),
    /// All before these numbers have arrived.
    Ack(Positions),
    /// The sender leaves; it has sent all before these numbers, and nothing follows.
    Leave(Positions),
}

/// Who is at the other end of a connection, and where it wants to go on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// Name of the coordinator's run.
    pub cluster: u64,
    /// The node that says hello.
    pub node: NodeId,
    /// Name of its session; never 0.
    pub session: u64,
    /// Name of the other's session as far as it is known; 0 if not.
    pub peer_session: u64,
    /// What it expects next.
    pub next: Positions,
}

/// Bytes that are no signals.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// A kind that there is not.
    #[error("a signal of kind {0}, which there is not")]
    Kind(u8),
    /// A session without a name.
    #[error("a greeting without a session")]
    NoSession,
}

impl Signal {
    /// The signal as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIGNAL_BYTES_MAX);
        let positions = match self {
            Self::Hello(hello) => {
                bytes.push(1);
                bytes.extend(hello.cluster.to_le_bytes());
                bytes.extend(hello.node.0.to_le_bytes());
                bytes.extend(hello.session.to_le_bytes());
                bytes.extend(hello.peer_session.to_le_bytes());
                &hello.next
            }
            Self::Ack(next) => {
                bytes.push(2);
                next
            }
            Self::Leave(next) => {
                bytes.push(3);
                next
            }
        };
        positions.iter().for_each(|next| bytes.extend(next.to_le_bytes()));
        bytes
    }
}

/// Finds the signals in the bytes of a connection. After an error it gives the same for ever.
#[derive(Debug, Default)]
pub struct SignalDecoder {
    bytes: VecDeque<u8>,
    failed: Option<SignalError>,
}

impl SignalDecoder {
    /// Adds bytes that follow those added before. Feed it what was read from one packet, then
    /// poll: it keeps all that it is given.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.bytes.extend(bytes);
        }
    }

    /// The next signal that is complete.
    ///
    /// # Errors
    /// The bytes are no signals; the connection is not to be read further.
    pub fn poll(&mut self) -> Result<Option<Signal>, SignalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let polled = self.try_poll();
        if let Err(error) = &polled {
            self.failed = Some(error.clone());
            self.bytes.clear();
        }
        polled
    }

    fn try_poll(&mut self) -> Result<Option<Signal>, SignalError> {
        let Some(&kind) = self.bytes.front() else { return Ok(None) };
        let length = match kind {
            1 => HELLO_BYTES,
            2 | 3 => SHORT_BYTES,
            _ => return Err(SignalError::Kind(kind)),
        };
        if self.bytes.len() < length {
            return Ok(None);
        }
        self.bytes.pop_front();
        Ok(Some(match kind {
            1 => Signal::Hello(self.take_hello()?),
            2 => Signal::Ack(self.take_positions()),
            _ => Signal::Leave(self.take_positions()),
        }))
    }

    fn take_hello(&mut self) -> Result<Hello, SignalError> {
        let cluster = u64::from_le_bytes(self.take());
        let node = NodeId(u32::from_le_bytes(self.take()));
        let session = u64::from_le_bytes(self.take());
        let peer_session = u64::from_le_bytes(self.take());
        let next = self.take_positions();
        if session == 0 {
            return Err(SignalError::NoSession);
        }
        Ok(Hello { cluster, node, session, peer_session, next })
    }

    fn take_positions(&mut self) -> Positions {
        std::array::from_fn(|_| u64::from_le_bytes(self.take()))
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.bytes.pop_front().expect("the length was checked"))
    }
}
