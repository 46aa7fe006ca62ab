//! The sending half of a lane.

use std::collections::VecDeque;

use super::LaneError;
use crate::{frame::Encoded, id::Lane};

/// What was sent in a lane and is not known to have arrived.
#[derive(Debug)]
pub(super) struct Outgoing {
    lane: Lane,
    /// Frames from number `base` on.
    kept: VecDeque<Encoded>,
    /// Number of the first kept frame: all before are acknowledged.
    base: u64,
    /// How many of the kept ones are written to the present connection.
    cursor: usize,
    /// Number after the last that was written to any connection.
    written: u64,
    /// Bytes of the kept frames.
    kept_bytes: usize,
    /// Bytes of the first `cursor` of them.
    flying_bytes: usize,
}

impl Outgoing {
    pub(super) fn new(lane: Lane) -> Self {
        let kept = VecDeque::new();
        Self { lane, kept, base: 0, cursor: 0, written: 0, kept_bytes: 0, flying_bytes: 0 }
    }

    pub(super) fn push(&mut self, frame: Encoded) {
        self.kept_bytes += frame.len();
        self.kept.push_back(frame);
    }

    /// The next frame to write, while fewer than `flying_bytes_max` bytes are unacknowledged.
    pub(super) fn poll(&mut self, flying_bytes_max: usize) -> Option<Encoded> {
        if self.flying_bytes >= flying_bytes_max {
            return None;
        }
        let frame = self.kept.get(self.cursor)?.clone();
        self.cursor += 1;
        self.flying_bytes += frame.len();
        self.written = self.written.max(self.base + self.cursor as u64);
        Some(frame)
    }

    /// The peer has all frames before `next`; an older acknowledgement changes nothing.
    pub(super) fn acknowledge(&mut self, next: u64) -> Result<(), LaneError> {
        if next > self.written {
            let (lane, sent) = (self.lane, self.written);
            return Err(LaneError::NeverSent { lane, acknowledged: next, sent });
        }
        while self.base < next {
            let frame = self.kept.pop_front().expect("what was written is kept");
            self.base += 1;
            self.kept_bytes -= frame.len();
            if self.cursor > 0 {
                self.cursor -= 1;
                self.flying_bytes -= frame.len();
            }
        }
        Ok(())
    }

    /// A new connection begins, the peer expecting `next`.
    pub(super) fn resume(&mut self, next: u64) -> Result<(), LaneError> {
        if next < self.base {
            return Err(LaneError::Forgotten { lane: self.lane, asked: next });
        }
        self.cursor = 0;
        self.flying_bytes = 0;
        self.acknowledge(next)
    }

    /// Number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.base + self.kept.len() as u64
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Whether a frame waits to be written to the present connection.
    pub(super) fn is_waiting(&self) -> bool {
        self.cursor < self.kept.len()
    }

    pub(super) fn check_invariants(&self) {
        let bytes = |frames: usize| self.kept.iter().take(frames).map(Encoded::len).sum::<usize>();
        assert!(self.cursor <= self.kept.len());
        assert!(self.written <= self.next() && self.written >= self.base + self.cursor as u64);
        assert_eq!(self.kept_bytes, bytes(self.kept.len()));
        assert_eq!(self.flying_bytes, bytes(self.cursor));
    }
}
