//! One message on the wire.
//!
//! ```text
//! offset  bytes
//!      0      4  length of what follows, 56 + payload; at most 56 + FRAME_PAYLOAD_BYTES_MAX
//!      4      8  number of the message in its lane, from 0
//!     12     48  envelope, as rkyv archives it:
//!                  0 job u32      4 service u16   6 kind u16
//!                  8 to u32      12 from u32     16 context u32
//!                 20 source i32  24 tag i32      28 request u32
//!                 32 addr u64    40 len u64
//!     60         payload
//! ```
//!
//! All numbers are little-endian. The decoder takes chunks as they come, cut anywhere. It judges a
//! length before it waits for the bytes, keeps no more than one frame's bytes beyond the chunk
//! that it was given last, and copies a payload never: one that came in several chunks is handed
//! out in pieces. Pure: no I/O, no clock.

use std::{collections::VecDeque, mem};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    config::FRAME_PAYLOAD_BYTES_MAX,
    envelope::{ENVELOPE_BYTES, Envelope, Service},
    payload::Payload,
};

/// Bytes of a frame in front of its payload.
pub const FRAME_HEAD_BYTES: usize = LENGTH_BYTES + NUMBER_BYTES + ENVELOPE_BYTES;
/// Payloads up to this travel in one buffer with their head: copying them is cheaper than a
/// buffer more.
pub const INLINE_BYTES_MAX: usize = 4096;

const LENGTH_BYTES: usize = 4;
const NUMBER_BYTES: usize = 8;
/// What a length counts besides the payload.
const COUNTED_HEAD_BYTES: usize = NUMBER_BYTES + ENVELOPE_BYTES;
/// Pieces that one payload is kept in; more are joined, so that a peer that sends single bytes
/// does not cost many times their memory.
const PIECES_MAX: usize = 1024;
/// Heads and short payloads are cut from buffers of this size.
const ARENA_BYTES: usize = 64 << 10;

/// A frame that was decoded.
#[derive(Debug)]
pub struct Frame {
    /// Its number in the lane.
    pub number: u64,
    /// What the message says about itself; its service is known.
    pub envelope: Envelope,
    /// Its bytes.
    pub payload: Payload<'static>,
}

/// Bytes that are no frames: the connection that they came over is not to be read further.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length that no frame has.
    #[error(
        "a frame of {length} bytes; between {COUNTED_HEAD_BYTES} and {} are possible",
        COUNTED_HEAD_BYTES + FRAME_PAYLOAD_BYTES_MAX
    )]
    Length {
        /// What was read.
        length: u32,
    },
    /// An envelope that cannot be read.
    #[error("the envelope of frame {number} cannot be read")]
    Envelope {
        /// Number of the frame.
        number: u64,
    },
    /// A service that this node does not know.
    #[error("frame {number} is for service {service}, which there is not")]
    Service {
        /// Number of the frame.
        number: u64,
        /// What was read.
        service: u16,
    },
}

/// A frame ready to be written: `head`, then `payload` (empty when it travels in `head`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoded {
    /// The head, and a short payload behind it.
    pub head: Bytes,
    /// A long payload.
    pub payload: Bytes,
}

impl Encoded {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// Never: a frame has a head.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of the message behind its head.
    pub fn payload_bytes(&self) -> usize {
        self.len() - FRAME_HEAD_BYTES
    }
}

/// Makes frames of messages.
#[derive(Debug, Default)]
pub struct Encoder {
    arena: BytesMut,
}

impl Encoder {
    /// The frame of a message whose payload is copied if it is short and kept if it is long.
    ///
    /// # Panics
    /// The payload is longer than [`FRAME_PAYLOAD_BYTES_MAX`].
    pub fn encode(&mut self, number: u64, envelope: &Envelope, payload: Bytes) -> Encoded {
        if payload.len() <= INLINE_BYTES_MAX {
            return self.encode_copied(number, envelope, &payload);
        }
        Encoded { head: self.head(number, envelope, &[], payload.len()), payload }
    }

    /// The frame of a message whose payload is copied.
    ///
    /// # Panics
    /// The payload is longer than [`FRAME_PAYLOAD_BYTES_MAX`].
    pub fn encode_copied(&mut self, number: u64, envelope: &Envelope, payload: &[u8]) -> Encoded {
        let head = self.head(number, envelope, payload, payload.len());
        Encoded { head, payload: Bytes::new() }
    }

    fn head(&mut self, number: u64, envelope: &Envelope, inline: &[u8], bytes: usize) -> Bytes {
        assert!(bytes <= FRAME_PAYLOAD_BYTES_MAX, "a message of {bytes} bytes");
        let needed = FRAME_HEAD_BYTES + inline.len();
        if self.arena.capacity() < needed {
            self.arena = BytesMut::with_capacity(needed.max(ARENA_BYTES));
        }
        let length = u32::try_from(COUNTED_HEAD_BYTES + bytes).expect("it was asserted above");
        self.arena.extend_from_slice(&length.to_le_bytes());
        self.arena.extend_from_slice(&number.to_le_bytes());
        self.arena.extend_from_slice(&envelope.to_bytes());
        self.arena.extend_from_slice(inline);
        self.arena.split().freeze()
    }
}

/// Finds the frames in the bytes of a connection.
///
/// Feed it with [`push`](Self::push), then call [`poll`](Self::poll) until it has no more frame.
/// After an error it gives the same error for ever.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What was pushed and is not yet part of a frame; no empty chunks.
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    bytes: usize,
    /// Head of the frame whose payload is awaited.
    head: Option<Head>,
    failed: Option<FrameError>,
}

#[derive(Copy, Clone, Debug)]
struct Head {
    number: u64,
    envelope: Envelope,
    payload_bytes: usize,
}

impl Decoder {
    /// Adds bytes that follow those added before.
    pub fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() || self.failed.is_some() {
            return;
        }
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
        if self.chunks.len() > PIECES_MAX {
            let joined = self.take_copied(self.bytes);
            self.bytes = joined.len();
            self.chunks.push_back(joined);
        }
    }

    /// The next frame that is complete.
    ///
    /// # Errors
    /// The bytes are no frames, as far as they can be judged yet.
    pub fn poll(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let polled = self.try_poll();
        if let Err(error) = &polled {
            self.failed = Some(error.clone());
            self.chunks.clear();
            self.bytes = 0;
        }
        polled
    }

    /// Bytes that wait for the rest of their frame.
    pub fn buffered_bytes(&self) -> usize {
        self.bytes
    }

    fn try_poll(&mut self) -> Result<Option<Frame>, FrameError> {
        let head = match self.head.take() {
            Some(head) => head,
            None => match self.poll_head()? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        if self.bytes < head.payload_bytes {
            self.head = Some(head);
            return Ok(None);
        }
        let payload = Payload::pieces(self.take_pieces(head.payload_bytes));
        Ok(Some(Frame { number: head.number, envelope: head.envelope, payload }))
    }

    fn poll_head(&mut self) -> Result<Option<Head>, FrameError> {
        let Some(length) = self.peek::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(length);
        let payload_bytes = (length as usize)
            .checked_sub(COUNTED_HEAD_BYTES)
            .filter(|bytes| *bytes <= FRAME_PAYLOAD_BYTES_MAX)
            .ok_or(FrameError::Length { length })?;
        let Some(head) = self.peek::<FRAME_HEAD_BYTES>() else { return Ok(None) };
        self.advance(FRAME_HEAD_BYTES);
        let (number, envelope) = head[LENGTH_BYTES..].split_at(NUMBER_BYTES);
        let number = u64::from_le_bytes(array(number));
        let envelope =
            Envelope::from_bytes(array(envelope)).ok_or(FrameError::Envelope { number })?;
        if Service::from_number(envelope.service).is_none() {
            return Err(FrameError::Service { number, service: envelope.service });
        }
        Ok(Some(Head { number, envelope, payload_bytes }))
    }

    /// The first bytes, without taking them; none if there are not as many yet.
    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        if self.bytes < N {
            return None;
        }
        let mut bytes = [0; N];
        let mut filled = 0;
        for chunk in &self.chunks {
            let part = chunk.len().min(N - filled);
            bytes[filled..filled + part].copy_from_slice(&chunk[..part]);
            filled += part;
            if filled == N {
                break;
            }
        }
        Some(bytes)
    }

    fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while bytes > 0 {
            let first = self.chunks.front_mut().expect("there are as many bytes");
            let part = bytes.min(first.len());
            first.advance(part);
            bytes -= part;
            if first.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    /// Takes the first bytes in the pieces that they came in.
    fn take_pieces(&mut self, mut bytes: usize) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        self.bytes -= bytes;
        while bytes > 0 {
            let first = self.chunks.front_mut().expect("there are as many bytes");
            let part = bytes.min(first.len());
            bytes -= part;
            let is_whole = part == first.len();
            pieces.push(if is_whole { mem::take(first) } else { first.split_to(part) });
            if is_whole {
                self.chunks.pop_front();
            }
        }
        pieces
    }

    fn take_copied(&mut self, bytes: usize) -> Bytes {
        Payload::pieces(self.take_pieces(bytes)).into_bytes()
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the parts of a head have fixed lengths")
}

#[cfg(test)]
mod tests;
