//! The receiving half of a lane.

use super::LaneError;
use crate::id::Lane;

/// What was received in a lane.
#[derive(Debug)]
pub(super) struct Incoming {
    lane: Lane,
    /// Number of the next message: all before were delivered.
    next: u64,
}

impl Incoming {
    pub(super) fn new(lane: Lane) -> Self {
        Self { lane, next: 0 }
    }

    /// Whether the message with this number is to be delivered; if not, it was already.
    pub(super) fn accept(&mut self, number: u64) -> Result<bool, LaneError> {
        let expected = self.next;
        if number > expected {
            return Err(LaneError::Gap { lane: self.lane, number, expected });
        }
        self.next += u64::from(number == expected);
        Ok(number == expected)
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }
}
