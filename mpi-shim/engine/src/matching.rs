//! Message matching of one rank: the posted and the unexpected queue (MPI-5.0 section 3.5).
//!
//! A message carries the context of its communicator, the sender's rank there and a tag. Commands
//! are [`Matching::post`] (a receive), [`Matching::arrive`] (a message), [`Matching::probe`] and
//! [`Matching::extract`] (matched probes), [`Matching::cancel`] and [`Matching::withdraw`].
//! Invariant: no posted receive matches any unexpected message, since whichever comes second
//! consumes the first. Receives match in posting order, messages in arrival order, so messages of
//! one sender in one context never overtake each other.
//!
//! Cost: linear in the queue that is searched; the common case is its first entry.

mod saved;

use alloc::collections::VecDeque;

/// What a message is matched by.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Envelope {
    /// Context of the communicator it was sent in.
    pub context: u32,
    /// Rank of the sender in that communicator.
    pub source: i32,
    /// Tag; negative tags are for messages that `None` does not accept.
    pub tag: i32,
}

/// What a receive or a probe accepts.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Pattern {
    /// Context of the communicator.
    pub context: u32,
    /// Rank of the sender, or `None` for `MPI_ANY_SOURCE`.
    pub source: Option<i32>,
    /// Tag, or `None` for `MPI_ANY_TAG`: any that is not negative.
    pub tag: Option<i32>,
}

impl Pattern {
    /// Whether a message with this envelope is accepted.
    #[inline]
    pub fn accepts(&self, envelope: &Envelope) -> bool {
        self.context == envelope.context
            && self.source.is_none_or(|source| source == envelope.source)
            && self.tag.map_or(envelope.tag >= 0, |tag| tag == envelope.tag)
    }
}

/// Names a posted receive; chosen by the caller.
pub type Ticket = u32;

#[derive(Debug)]
struct Posted {
    pattern: Pattern,
    ticket: Ticket,
}

#[derive(Debug)]
struct Unexpected<M> {
    envelope: Envelope,
    message: M,
}

/// Both queues of one rank. `M` is whatever a message carries besides its envelope.
#[derive(Debug)]
pub struct Matching<M> {
    posted: VecDeque<Posted>,
    unexpected: VecDeque<Unexpected<M>>,
}

impl<M> Default for Matching<M> {
    fn default() -> Self {
        Self { posted: VecDeque::new(), unexpected: VecDeque::new() }
    }
}

impl<M> Matching<M> {
    /// Offers an arrived message: gives the ticket of the receive it matches, with the message
    /// returned, or keeps it as unexpected.
    #[inline]
    pub fn arrive(&mut self, envelope: Envelope, message: M) -> Option<(Ticket, M)> {
        let matched = self.posted.iter().position(|posted| posted.pattern.accepts(&envelope));
        match matched {
            Some(index) => {
                let posted = self.posted.remove(index)?;
                Some((posted.ticket, message))
            }
            None => {
                self.unexpected.push_back(Unexpected { envelope, message });
                None
            }
        }
    }

    /// Takes the first unexpected message that `pattern` accepts.
    #[inline]
    pub fn extract(&mut self, pattern: &Pattern) -> Option<(Envelope, M)> {
        let index = self.unexpected.iter().position(|entry| pattern.accepts(&entry.envelope))?;
        self.unexpected.remove(index).map(|entry| (entry.envelope, entry.message))
    }

    /// Posts a receive: gives the first unexpected message it accepts, or queues it under `ticket`.
    #[inline]
    pub fn post(&mut self, pattern: Pattern, ticket: Ticket) -> Option<(Envelope, M)> {
        let found = self.extract(&pattern);
        if found.is_none() {
            self.posted.push_back(Posted { pattern, ticket });
        }
        found
    }

    /// The first unexpected message that `pattern` accepts, left in the queue.
    pub fn probe(&self, pattern: &Pattern) -> Option<(&Envelope, &M)> {
        self.unexpected
            .iter()
            .find(|entry| pattern.accepts(&entry.envelope))
            .map(|entry| (&entry.envelope, &entry.message))
    }

    /// Removes the posted receive `ticket`; `false` when it has matched already.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        match self.posted.iter().position(|posted| posted.ticket == ticket) {
            Some(index) => self.posted.remove(index).is_some(),
            None => false,
        }
    }

    /// Whether the receive `ticket` is posted and has not matched.
    pub fn is_posted(&self, ticket: Ticket) -> bool {
        self.posted.iter().any(|posted| posted.ticket == ticket)
    }

    /// Removes the first unexpected message for which `is_it` holds: its sender cancelled it.
    pub fn withdraw(&mut self, mut is_it: impl FnMut(&M) -> bool) -> Option<M> {
        let index = self.unexpected.iter().position(|entry| is_it(&entry.message))?;
        self.unexpected.remove(index).map(|entry| entry.message)
    }

    /// Number of posted receives that wait for a message.
    pub fn posted_len(&self) -> usize {
        self.posted.len()
    }

    /// Number of messages that wait for a receive.
    pub fn unexpected_len(&self) -> usize {
        self.unexpected.len()
    }

    /// Asserts that no posted receive accepts an unexpected message.
    pub fn check_invariants(&self) {
        for posted in &self.posted {
            assert!(
                self.unexpected.iter().all(|entry| !posted.pattern.accepts(&entry.envelope)),
                "a posted receive and an unexpected message match each other"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    const ANY: Pattern = Pattern { context: 1, source: None, tag: None };

    fn envelope(source: i32, tag: i32) -> Envelope {
        Envelope { context: 1, source, tag }
    }

    #[test]
    fn messages_of_one_sender_never_overtake() {
        let mut matching = Matching::default();
        for number in 0..3 {
            assert_eq!(matching.arrive(envelope(5, 7), number), None);
        }
        for number in 0..3 {
            assert_eq!(matching.post(ANY, 0), Some((envelope(5, 7), number)));
        }
    }

    #[test]
    fn receives_match_in_posting_order_and_contexts_stay_apart() {
        let mut matching = Matching::default();
        assert_eq!(matching.post(Pattern { context: 2, ..ANY }, 1), None);
        assert_eq!(matching.post(Pattern { tag: Some(9), ..ANY }, 2), None);
        assert_eq!(matching.post(ANY, 3), None);
        assert_eq!(matching.arrive(envelope(0, 7), 'a'), Some((3, 'a')));
        assert_eq!(matching.arrive(envelope(0, 9), 'b'), Some((2, 'b')));
        assert_eq!(matching.arrive(envelope(0, 9), 'c'), None);
        assert!(matching.cancel(1) && !matching.cancel(1));
        assert_eq!(matching.withdraw(|message| *message == 'c'), Some('c'));
        assert_eq!((matching.posted_len(), matching.unexpected_len()), (0, 0));
    }

    /// A linear-scan model that keeps everything in two plain vectors.
    #[derive(Default)]
    struct Model {
        posted: Vec<(Pattern, Ticket)>,
        unexpected: Vec<(Envelope, u32)>,
    }

    #[test]
    fn agrees_with_a_naive_model_over_random_operations() {
        let mut seed = 0x9e37_79b9_u32;
        let mut random = move |below: u32| {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed % below
        };
        let mut matching = Matching::default();
        let mut model = Model::default();
        for step in 0..20_000_u32 {
            let (source, tag) = (random(4).cast_signed(), random(3).cast_signed());
            let context = random(2);
            if random(2) == 0 {
                let envelope = Envelope { context, source, tag };
                let expected = model.posted.iter().position(|(p, _)| p.accepts(&envelope));
                let expected = expected.map(|index| (model.posted.remove(index).1, step));
                if expected.is_none() {
                    model.unexpected.push((envelope, step));
                }
                assert_eq!(matching.arrive(envelope, step), expected);
            } else {
                let pattern = Pattern {
                    context,
                    source: (random(3) > 0).then_some(source),
                    tag: (random(3) > 0).then_some(tag),
                };
                let expected = model.unexpected.iter().position(|(e, _)| pattern.accepts(e));
                let expected = expected.map(|index| model.unexpected.remove(index));
                if expected.is_none() {
                    model.posted.push((pattern, step));
                }
                assert_eq!(matching.post(pattern, step), expected);
            }
            matching.check_invariants();
        }
    }
}
