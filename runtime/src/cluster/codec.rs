//! Control messages as payloads of an endpoint.
//!
//! ```text
//! Envelope { service: Control, kind, job, to, request, addr, len, .. } + payload
//!   kind 0 whole    a message of `message`, in rkyv
//!   kind 1 part     a piece of one that is too long for a frame; `request` names it
//!   kind 2 last     its last piece
//!   kind 3 stdout   bytes that rank `to` wrote
//!   kind 4 stderr   the same
//!   kind 5 close    rank `to` writes no more
//!   kind 6 stdin    input for the readers on that node; empty at its end
//!   kind 7 chunk    hash of a module or Proto-Faaslet, then its bytes from `addr` on
//! ```
//! Pieces of different messages may be mixed. Memory is bounded: pieces of one peer that wait for
//! their end are at most [`MESSAGE_BYTES_MAX`] long together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use faasm_transport::{Endpoint, Envelope, Lane, NodeId, Payload, Service};
use rkyv::rancor;
use rkyv::util::AlignedVec;

use super::message::{CHUNK_BYTES_MAX, ToCoordinator, ToNode};
use crate::host::wasi::Stream;

/// Longest message, and most that is kept of the unfinished ones of a peer.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Longest piece of a message.
const PIECE_BYTES_MAX: usize = 256 << 10;

const WHOLE: u16 = 0;
const PART: u16 = 1;
const LAST: u16 = 2;
const STDOUT: u16 = 3;
const STDERR: u16 = 4;
const CLOSE: u16 = 5;
const STDIN: u16 = 6;
const CHUNK: u16 = 7;

/// Length of a module's hash.
const HASH_BYTES: usize = 32;

/// A message that can be sent.
pub(crate) trait Message: Sized {
    /// Its bytes.
    ///
    /// # Errors
    /// It is too long to be addressed.
    fn encode(&self) -> Result<AlignedVec, rancor::Error>;

    /// The message that these bytes are.
    ///
    /// # Errors
    /// They are none.
    fn decode(bytes: &AlignedVec) -> Result<Self, rancor::Error>;
}

macro_rules! message {
    ($type:ty) => {
        impl Message for $type {
            fn encode(&self) -> Result<AlignedVec, rancor::Error> {
                rkyv::to_bytes(self)
            }

            fn decode(bytes: &AlignedVec) -> Result<Self, rancor::Error> {
                rkyv::from_bytes(bytes)
            }
        }
    };
}
message!(ToNode);
message!(ToCoordinator);

/// Something of the control service that has arrived whole.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A message, not yet decoded.
    Message(AlignedVec),
    /// Bytes that a rank wrote.
    Output { job: u32, rank: u32, stream: Stream, bytes: Bytes },
    /// A rank writes no more.
    Close { job: u32, rank: u32 },
    /// Input; empty at its end.
    Stdin { job: u32, bytes: Bytes },
    /// Bytes of a module or Proto-Faaslet.
    Chunk { module: [u8; HASH_BYTES], offset: u64, bytes: Bytes },
}

/// What a peer sent that nobody sends who speaks this protocol.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a control message of unknown kind {0}")]
    Kind(u16),
    #[error("a control message that is too long")]
    Length,
    #[error("a control message that cannot be decoded")]
    Content,
}

/// Sends control messages; several threads may.
#[derive(Debug)]
pub(crate) struct Outbox {
    endpoint: Endpoint,
    next: AtomicU32,
}

impl Outbox {
    pub(crate) const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, next: AtomicU32::new(0) }
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a message, in pieces if it is long.
    pub(crate) fn send(&self, to: NodeId, message: &impl Message) {
        let bytes = match message.encode() {
            Ok(bytes) => bytes,
            Err(error) => return tracing::error!(%error, "a message cannot be encoded"),
        };
        if bytes.len() <= PIECE_BYTES_MAX {
            return self.put(to, Envelope { kind: WHOLE, ..Envelope::default() }, &bytes);
        }
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let mut pieces = bytes.chunks(PIECE_BYTES_MAX).peekable();
        while let Some(piece) = pieces.next() {
            let kind = if pieces.peek().is_some() { PART } else { LAST };
            self.put(to, Envelope { kind, request, ..Envelope::default() }, piece);
        }
    }

    /// Sends what a rank wrote.
    pub(crate) fn output(&self, to: NodeId, job: u32, rank: u32, stream: Stream, bytes: &[u8]) {
        let kind = match stream {
            Stream::Stdout => STDOUT,
            Stream::Stderr => STDERR,
        };
        self.put(to, Envelope { kind, job, to: rank, ..Envelope::default() }, bytes);
    }

    /// Tells that a rank writes no more.
    pub(crate) fn close(&self, to: NodeId, job: u32, rank: u32) {
        self.put(to, Envelope { kind: CLOSE, job, to: rank, ..Envelope::default() }, &[]);
    }

    /// Sends input; nothing at its end.
    pub(crate) fn stdin(&self, to: NodeId, job: u32, bytes: &[u8]) {
        self.put(to, Envelope { kind: STDIN, job, ..Envelope::default() }, bytes);
    }

    /// Sends bytes of a module or Proto-Faaslet.
    pub(crate) fn chunk(&self, to: NodeId, module: [u8; HASH_BYTES], offset: u64, bytes: &[u8]) {
        let envelope = Envelope { kind: CHUNK, addr: offset, ..Envelope::default() };
        self.put(to, envelope, &[&module, bytes].concat());
    }

    fn put(&self, to: NodeId, envelope: Envelope, payload: &[u8]) {
        let envelope =
            Envelope { service: Service::Control as u16, len: payload.len() as u64, ..envelope };
        self.endpoint.send(to, Lane::Control, &envelope, payload);
    }
}

/// Puts messages of several peers together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    unfinished: HashMap<(NodeId, u32), Vec<u8>>,
    kept: HashMap<NodeId, usize>,
}

impl Assembler {
    /// Takes what came from a peer; gives what is whole now.
    ///
    /// # Errors
    /// It is nothing of this protocol, or too long.
    pub(crate) fn take(
        &mut self,
        from: NodeId,
        envelope: &Envelope,
        payload: Payload<'_>,
    ) -> Result<Option<Arrival>, Malformed> {
        let (job, rank) = (envelope.job, envelope.to);
        Ok(Some(match envelope.kind {
            WHOLE => Arrival::Message(aligned(&payload)),
            PART | LAST => return self.piece(from, envelope, &payload),
            STDOUT | STDERR => {
                let stream = if envelope.kind == STDOUT { Stream::Stdout } else { Stream::Stderr };
                Arrival::Output { job, rank, stream, bytes: payload.into_bytes() }
            }
            CLOSE => Arrival::Close { job, rank },
            STDIN => Arrival::Stdin { job, bytes: payload.into_bytes() },
            CHUNK => {
                if payload.len() > HASH_BYTES + CHUNK_BYTES_MAX {
                    return Err(Malformed::Length);
                }
                let (module, _) = payload.split_first_chunk().ok_or(Malformed::Content)?;
                let module = *module;
                let bytes = payload.into_bytes().slice(HASH_BYTES..);
                Arrival::Chunk { module, offset: envelope.addr, bytes }
            }
            kind => return Err(Malformed::Kind(kind)),
        }))
    }

    /// Forgets the unfinished messages of a peer that is gone.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.unfinished.retain(|(from, _), _| *from != peer);
        self.kept.remove(&peer);
    }

    fn piece(
        &mut self,
        from: NodeId,
        envelope: &Envelope,
        payload: &[u8],
    ) -> Result<Option<Arrival>, Malformed> {
        let kept = self.kept.entry(from).or_default();
        *kept += payload.len();
        if *kept > MESSAGE_BYTES_MAX || payload.is_empty() {
            return Err(Malformed::Length);
        }
        let key = (from, envelope.request);
        let message = self.unfinished.entry(key).or_default();
        message.extend_from_slice(payload);
        if envelope.kind == PART {
            return Ok(None);
        }
        *kept -= message.len();
        let whole = aligned(message);
        self.unfinished.remove(&key);
        Ok(Some(Arrival::Message(whole)))
    }
}

/// The bytes at an address that checked access accepts.
fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(kind: u16, request: u32) -> Envelope {
        Envelope { kind, request, ..Envelope::default() }
    }

    fn take(
        assembler: &mut Assembler,
        envelope: &Envelope,
        bytes: &[u8],
    ) -> Result<Option<Arrival>, Malformed> {
        assembler.take(NodeId(1), envelope, Payload::borrowed(bytes))
    }

    #[test]
    fn a_message_survives() {
        let message = ToCoordinator::Unready { job: 7, reason: "no".into() };
        let bytes = message.encode().expect("it is short");
        let taken = take(&mut Assembler::default(), &envelope(WHOLE, 0), &bytes);
        let Ok(Some(Arrival::Message(bytes))) = taken else { panic!("{taken:?}") };
        assert_eq!(ToCoordinator::decode(&bytes).expect("it is one"), message);
    }

    #[test]
    fn damaged_bytes_are_no_message() {
        let message = ToCoordinator::Unready { job: 7, reason: "a longer reason".into() };
        let whole = message.encode().expect("it is short");
        for len in 0..whole.len() {
            let _ = ToCoordinator::decode(&aligned(&whole[..len]));
            let _ = ToNode::decode(&aligned(&whole[..len]));
        }
        for at in 0..whole.len() {
            let mut damaged = aligned(&whole);
            damaged[at] ^= 0xff;
            let _ = ToCoordinator::decode(&damaged);
        }
        assert!(ToCoordinator::decode(&aligned(&[0xff; 64])).is_err());
    }

    #[test]
    fn pieces_of_two_messages_may_be_mixed() {
        let mut assembler = Assembler::default();
        assert!(matches!(take(&mut assembler, &envelope(PART, 1), b"ab"), Ok(None)));
        assert!(matches!(take(&mut assembler, &envelope(PART, 2), b"x"), Ok(None)));
        for (request, last, expected) in [(1, b"c", &b"abc"[..]), (2, b"y", b"xy")] {
            let taken = take(&mut assembler, &envelope(LAST, request), last);
            let Ok(Some(Arrival::Message(bytes))) = taken else { panic!("{taken:?}") };
            assert_eq!(&*bytes, expected);
        }
        assert_eq!((assembler.unfinished.len(), assembler.kept[&NodeId(1)]), (0, 0));
    }

    #[test]
    fn what_a_peer_leaves_unfinished_is_bounded() {
        let mut assembler = Assembler::default();
        let piece = vec![0; 1 << 20];
        let taken: Vec<_> = (0..65)
            .map(|request| take(&mut assembler, &envelope(PART, request), &piece).is_ok())
            .collect();
        assert_eq!(taken.iter().filter(|ok| **ok).count(), 64);
        assembler.forget(NodeId(1));
        assert!(take(&mut assembler, &envelope(PART, 0), &piece).is_ok());
    }

    #[test]
    fn unknown_kinds_and_short_chunks_are_refused() {
        let mut assembler = Assembler::default();
        let kind = take(&mut assembler, &envelope(99, 0), b"").map(|_| ());
        assert_eq!(kind, Err(Malformed::Kind(99)));
        let short = take(&mut assembler, &envelope(CHUNK, 0), &[0; 31]).map(|_| ());
        assert_eq!(short, Err(Malformed::Content));
    }
}
