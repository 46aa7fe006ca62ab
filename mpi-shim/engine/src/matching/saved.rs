//! The queues of a rank as lists, to be written to a file.

use alloc::vec::Vec;

use super::{Envelope, Matching, Pattern, Posted, Ticket, Unexpected};

impl<M> Matching<M> {
    /// The posted receives in their order.
    pub fn posted(&self) -> Vec<(Pattern, Ticket)> {
        self.posted.iter().map(|posted| (posted.pattern, posted.ticket)).collect()
    }

    /// The unexpected messages in their order.
    pub fn unexpected(&self) -> impl Iterator<Item = (&Envelope, &M)> {
        self.unexpected.iter().map(|entry| (&entry.envelope, &entry.message))
    }

    /// The queues that these lists were taken of; `None` when a posted receive would have matched a message.
    pub fn from_lists(
        posted: Vec<(Pattern, Ticket)>,
        unexpected: Vec<(Envelope, M)>,
    ) -> Option<Self> {
        let mut made = Self::default();
        for (envelope, message) in unexpected {
            made.unexpected.push_back(Unexpected { envelope, message });
        }
        for (pattern, ticket) in posted {
            if made.probe(&pattern).is_some() {
                return None;
            }
            made.posted.push_back(Posted { pattern, ticket });
        }
        Some(made)
    }
}
