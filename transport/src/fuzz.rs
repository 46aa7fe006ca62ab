//! What fuzzers feed with arbitrary bytes: each function panics if a core breaks its promise.
//!
//! `fuzz/` has a target for each; ordinary tests call them with bytes that a seed decides.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub use crate::bootstrap::fuzz_join as join;
use crate::{
    config::{FRAME_PAYLOAD_BYTES_MAX, Limits},
    envelope::{ENVELOPE_BYTES, Envelope},
    frame::{Decoder, Encoder, FRAME_HEAD_BYTES, Frame},
    id::{Lane, NodeId},
    lane::{Hello, Positions, SIGNAL_BYTES_MAX, Session, SignalDecoder},
};

/// Frames: the first byte says how the rest is cut. What is decoded is encoded again, and is what
/// was fed.
pub fn frames(data: &[u8]) {
    let Some((cut, wire)) = data.split_first() else { return };
    let (mut decoder, mut again) = (Decoder::default(), BytesMut::new());
    let mut encoder = Encoder::default();
    for chunk in wire.chunks(usize::from(*cut) + 1) {
        decoder.push(Bytes::copy_from_slice(chunk));
        while let Ok(Some(Frame { number, envelope, payload })) = decoder.poll() {
            assert!(payload.len() <= FRAME_PAYLOAD_BYTES_MAX);
            let encoded = encoder.encode(number, &envelope, payload.into_bytes());
            again.extend_from_slice(&encoded.head);
            again.extend_from_slice(&encoded.payload);
        }
        assert!(decoder.buffered_bytes() <= FRAME_HEAD_BYTES + FRAME_PAYLOAD_BYTES_MAX + 256);
    }
    assert_eq!(again, wire[..again.len()]);
}

/// Envelopes: what is read is what was written.
pub fn envelope(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<ENVELOPE_BYTES>() else { return };
    let envelope = Envelope::from_bytes(*bytes).expect("all values are possible in an envelope");
    assert_eq!(envelope.to_bytes(), *bytes);
}

/// Signals: as [`frames`].
pub fn signals(data: &[u8]) {
    let Some((cut, wire)) = data.split_first() else { return };
    let (mut decoder, mut again) = (SignalDecoder::default(), Vec::new());
    for chunk in wire.chunks(usize::from(*cut) + 1) {
        decoder.push(chunk);
        while let Ok(Some(signal)) = decoder.poll() {
            let bytes = signal.to_bytes();
            assert!(bytes.len() <= SIGNAL_BYTES_MAX);
            again.extend(bytes);
        }
    }
    assert_eq!(again, wire[..again.len()]);
}

/// A session whose peer says and sends anything, in any order. Eight bytes are one event.
pub fn session(data: &[u8]) {
    let limits = Limits { unacknowledged_bytes_max: 4096, drained_bytes: 1024 };
    let mut session = Session::new(1, limits);
    let mut now = Instant::now();
    let mut delivered: Positions = [0; Lane::ALL.len()];
    for event in data.as_chunks::<8>().0 {
        let [what, lane, a, b, c, ..] = *event;
        let lane = Lane::ALL[usize::from(lane) % Lane::ALL.len()];
        let next = [a, b, c].map(position);
        match what % 8 {
            0 => session.send_copied(lane, &Envelope::default(), &vec![a; usize::from(b) * 8]),
            1 => drop(session.poll_transmit(lane)),
            2 => {
                let (name, peer_session) = (u64::from(event[5] % 3) + 1, u64::from(event[6] % 3));
                let node = NodeId(2);
                let hello = Hello { cluster: 1, node, session: name, peer_session, next };
                let _ = session.handle_hello(&hello);
            }
            3 => {
                let received = session.handle_frame(lane, position(a), usize::from(b), now);
                if received == Ok(crate::lane::Received::Deliver) {
                    assert_eq!(position(a), delivered[lane as usize], "out of order");
                    delivered[lane as usize] += 1;
                }
            }
            4 => drop(session.handle_ack(next)),
            5 => drop(session.handle_leave(next)),
            6 => session.handle_disconnected(),
            _ => {
                now += Duration::from_millis(u64::from(a));
                let _ = session.poll_signal(now);
                session.poll_drained();
            }
        }
        session.check_invariants();
    }
}

/// A number near the beginning, or one of the largest.
fn position(byte: u8) -> u64 {
    if byte < 0xf0 { u64::from(byte) % 32 } else { u64::MAX - u64::from(0xff - byte) }
}

#[cfg(test)]
mod tests;
