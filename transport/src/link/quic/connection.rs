//! One QUIC connection: its streams, and what it has to send.
//!
//! Whoever holds the lock of a connection writes the peer's queued frames to its streams and sends
//! the datagrams. Only the thread that drives the endpoint reads from it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use quinn_proto::{Connection, ConnectionHandle, Dir, ReadError, StreamId, Transmit, WriteError};

use super::{
    peer::Peer,
    socket::Socket,
    wake::{NEVER, Nanos},
};
use crate::{
    bootstrap,
    frame::{Decoder, Encoded},
    id::{Lane, NodeId},
    lane::{Signal, SignalDecoder},
};

/// First byte of the stream of signals; those of lanes have the lane's number.
pub(super) const SIGNALS_STREAM: u8 = 0xff;
const LANES: usize = Lane::ALL.len();

/// Batches of datagrams that are sent before the socket is read again.
const BATCHES_MAX: usize = 32;
/// When a datagram that the kernel did not take is tried again, in nanoseconds.
const RETRY_AFTER: Nanos = 200_000;

/// A connection and when it has to be looked at.
pub(super) struct Link {
    pub(super) handle: ConnectionHandle,
    pub(super) remote: SocketAddr,
    pub(super) conn: Mutex<Conn>,
    /// When the connection has something to do by itself.
    pub(super) due: AtomicU64,
}

/// A connection's state.
pub(super) struct Conn {
    pub(super) proto: Connection,
    pub(super) role: Role,
    pub(super) inbound: Vec<(StreamId, Inbound)>,
    /// The peer's hello has come: frames may be written and read.
    pub(super) is_greeted: bool,
    /// When the session has a signal to write.
    pub(super) signal_due: Nanos,
    /// When the connection is ended unless its other side has proved itself.
    pub(super) deadline: Nanos,
    outbound: Option<Outbound>,
    /// Datagrams that the socket has not taken yet.
    unsent: Option<Transmit>,
    buffer: Vec<u8>,
}

/// Who is at the other end.
pub(super) enum Role {
    /// Not known yet; the node that was dialled, if this side dialled.
    Unknown(Option<NodeId>),
    /// A peer.
    Member(Arc<Peer>),
    /// A member of the cluster that has not been added as a peer yet.
    Early(NodeId),
    /// A machine that wants to join.
    Joiner(Box<bootstrap::Session>),
    /// Nobody any more.
    Over,
}

/// A stream that the peer opened.
pub(super) enum Inbound {
    /// Its first byte has not come yet.
    New,
    /// Of a machine that joins.
    Join,
    Signals(SignalDecoder),
    Lane(Lane, Decoder),
}

struct Outbound {
    signals: OutStream,
    lanes: [OutStream; LANES],
}

/// A stream of ours, and what it has not taken yet.
struct OutStream {
    id: StreamId,
    is_blocked: bool,
    rest: Option<[Bytes; 2]>,
}

/// What became of an attempt to send.
pub(super) struct Sending {
    /// When the connection has to be looked at again.
    pub(super) due: Nanos,
    /// There is more to send at once.
    pub(super) has_more: bool,
}

impl Link {
    pub(super) fn new(
        handle: ConnectionHandle,
        remote: SocketAddr,
        proto: Connection,
        role: Role,
    ) -> Self {
        let conn = Conn {
            proto,
            role,
            inbound: Vec::new(),
            is_greeted: false,
            signal_due: NEVER,
            deadline: NEVER,
            outbound: None,
            unsent: None,
            buffer: Vec::new(),
        };
        Self { handle, remote, conn: Mutex::new(conn), due: AtomicU64::new(NEVER) }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Conn {
    /// Opens the streams of a member; false if the peer does not let us.
    pub(super) fn open_streams(&mut self) -> bool {
        let mut open = |kind: u8, priority: i32| {
            let id = self.proto.streams().open(Dir::Uni)?;
            let mut stream = self.proto.send_stream(id);
            stream.set_priority(priority).ok()?;
            (stream.write(&[kind]) == Ok(1)).then_some(OutStream {
                id,
                is_blocked: false,
                rest: None,
            })
        };
        // The lower the lane's number, the sooner its frames are sent.
        let outbound = open(SIGNALS_STREAM, LANES as i32).and_then(|signals| {
            let mut lane = |lane: u8| open(lane, LANES as i32 - 1 - i32::from(lane));
            Some(Outbound { signals, lanes: [lane(0)?, lane(1)?, lane(2)?] })
        });
        self.outbound = outbound;
        self.outbound.is_some()
    }

    /// Tells the peer something. Signals are few and short: a stream that takes none is broken.
    pub(super) fn write_signal(&mut self, signal: &Signal) -> bool {
        let Some(outbound) = &mut self.outbound else { return false };
        let bytes = signal.to_bytes();
        self.proto.send_stream(outbound.signals.id).write(&bytes) == Ok(bytes.len())
    }

    /// Writes the peer's queued frames as far as the streams take them.
    pub(super) fn write_frames(&mut self, peer: &Peer) {
        let Some(outbound) = self.outbound.as_mut().filter(|_| self.is_greeted) else { return };
        for (lane, stream) in Lane::ALL.into_iter().zip(&mut outbound.lanes) {
            while !stream.is_blocked {
                let chunks = stream.rest.take().or_else(|| {
                    let frame = peer.session().poll_transmit(lane);
                    frame.map(|Encoded { head, payload }| [head, payload])
                });
                let Some(chunks) = chunks else { break };
                stream.write(&mut self.proto, chunks);
            }
        }
    }

    /// The next chunks of a stream, at most `max`; of a new stream one byte.
    pub(super) fn read_chunks(&mut self, id: StreamId, max: usize) -> Result<Vec<Bytes>, String> {
        let mut found = Vec::new();
        let mut stream = self.proto.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return Ok(found) };
        let bytes_max = if max == 1 { 1 } else { usize::MAX };
        while found.len() < max {
            match chunks.next(bytes_max) {
                Ok(Some(chunk)) => found.push(chunk.bytes),
                Ok(None) | Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(_)) => return Err("it ended a stream".into()),
            }
        }
        // Windows are told with the datagrams that are sent after each turn.
        let _ = chunks.finalize();
        Ok(found)
    }

    /// The peer at the other end, if it is one.
    pub(super) fn peer(&self) -> Option<&Arc<Peer>> {
        match &self.role {
            Role::Member(peer) => Some(peer),
            _ => None,
        }
    }

    /// A stream takes bytes again.
    pub(super) fn handle_writable(&mut self, id: StreamId) {
        let Some(outbound) = &mut self.outbound else { return };
        if let Some(stream) = outbound.lanes.iter_mut().find(|stream| stream.id == id) {
            stream.is_blocked = false;
        }
    }

    /// Sends the datagrams that are due.
    pub(super) fn transmit(
        &mut self,
        socket: &Socket,
        nanos: impl Fn(Instant) -> Nanos,
    ) -> Sending {
        let mut now = Instant::now();
        for _ in 0..BATCHES_MAX {
            if self.unsent.is_none() {
                self.buffer.clear();
                let datagrams = socket.batch_datagrams(self.proto.current_mtu());
                self.unsent = self.proto.poll_transmit(now, datagrams, &mut self.buffer);
            }
            let Some(transmit) = &self.unsent else {
                let due = self
                    .proto
                    .poll_timeout()
                    .map_or(NEVER, nanos)
                    .min(self.signal_due)
                    .min(self.deadline);
                return Sending { due, has_more: false };
            };
            if !socket.send(transmit, &self.buffer) {
                return Sending { due: nanos(now) + RETRY_AFTER, has_more: false };
            }
            self.unsent = None;
            now = Instant::now();
        }
        Sending { due: nanos(now), has_more: true }
    }

    /// Ends the connection, telling the peer why.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        self.role = Role::Over;
        self.outbound = None;
        self.proto.close(Instant::now(), (code as u32).into(), reason.to_owned().into());
    }
}

impl OutStream {
    fn write(&mut self, proto: &mut Connection, mut chunks: [Bytes; 2]) {
        let wanted = chunks[0].len() + chunks[1].len();
        match proto.send_stream(self.id).write_chunks(&mut chunks) {
            Ok(written) if written.bytes == wanted => return,
            Ok(_) | Err(WriteError::Blocked) => {}
            // The connection is over or will be: a new one begins with what is not acknowledged.
            Err(WriteError::Stopped(_) | WriteError::ClosedStream) => self.is_blocked = true,
        }
        // What was written is gone from the chunks. A partial write is followed by another try,
        // which finds the stream blocked and makes it tell when it is not.
        self.is_blocked |= chunks[0].len() + chunks[1].len() == wanted;
        self.rest = Some(chunks);
    }
}

/// Why a connection is closed, for the other side.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(super) enum CloseCode {
    /// The node leaves in order.
    Left = 1,
    /// The node's endpoint ends, whatever was still to be sent.
    Ended = 2,
    /// The other side gets nothing here; the reason says why.
    Refused = 3,
    /// Another connection takes its place.
    Replaced = 4,
    /// The other side did not keep to the protocol.
    Violation = 5,
}

impl CloseCode {
    pub(super) fn from_number(number: u64) -> Option<Self> {
        [Self::Left, Self::Ended, Self::Refused, Self::Replaced, Self::Violation]
            .into_iter()
            .find(|code| *code as u64 == number)
    }
}
