//! How much may be sent to a rank that has not asked for it.
//!
//! A message that carries its data lies with its receiver until a receive matches it. So that nobody can fill
//! another's memory, that is bounded: beyond the bound messages only announce themselves, and their senders wait
//! until they are matched.
//!
//! Between nodes the *sender* counts, for each receiver, what it has sent unasked, and the receiver tells it from
//! time to time how much of that was matched. Ranks of one node see each other: there the *receiver* counts what
//! lies with it, from whomever, and says when it is full.

use std::collections::HashMap;

use faasm_mpi_engine::matching::{Envelope, Pattern};

use crate::ctx::{Arrived, MpiCtx};
use crate::port::{Header, Kind, MpiPort, Payload};
use crate::tool::EventType;

/// Bytes that a rank of another node may lie unmatched with a receiver, sent by one sender. A receiver keeps up
/// to this for each rank of other nodes that sends to it.
pub(crate) const UNTAKEN_BYTES_MAX: u64 = 8 << 20;
/// Bytes matched after which the sender is told.
const TOLD_BYTES: u64 = 1 << 20;
/// Bytes of ranks of its own node that may lie unmatched with a receiver before it is full.
const UNEXPECTED_BYTES_MAX: u64 = 64 << 20;
/// What a message costs its receiver beside its data.
const MESSAGE_BYTES: u64 = 128;

/// One rank's part in this.
#[derive(Debug, Default)]
pub(crate) struct Credits {
    /// For receivers on other nodes: bytes sent unasked of which it is not known that they were matched.
    untaken: HashMap<u32, u64>,
    /// For senders on other nodes: bytes matched that they have not been told of.
    taken: HashMap<u32, u64>,
    /// Bytes from ranks of this node that lie here unmatched.
    unexpected: u64,
    is_full: bool,
}

impl Credits {
    /// Whether something may be sent unasked to this rank of another node.
    pub(crate) fn may_send(&self, peer: u32) -> bool {
        self.untaken.get(&peer).is_none_or(|bytes| *bytes < UNTAKEN_BYTES_MAX)
    }

    /// A message that carries its data was sent.
    #[inline]
    pub(crate) fn sent(&mut self, peer: u32, is_far: bool, bytes: u64) {
        if is_far {
            *self.untaken.entry(peer).or_default() += bytes + MESSAGE_BYTES;
        }
    }

    /// A rank of another node has matched this much of what it was sent.
    pub(crate) fn returned(&mut self, peer: u32, bytes: u32) {
        if let Some(untaken) = self.untaken.get_mut(&peer) {
            *untaken = untaken.saturating_sub(bytes.into());
        }
    }

    /// A message was matched or withdrawn; what its sender on another node is to be told.
    fn let_go(&mut self, arrived: &Arrived, is_far: bool) -> Option<u32> {
        if !is_far {
            self.unexpected = self.unexpected.saturating_sub(cost(arrived));
            return None;
        }
        let is_carried = !matches!(arrived.payload, Payload::Remote { .. });
        if !is_carried || arrived.header.kind == Kind::Reference {
            return None;
        }
        let taken = self.taken.entry(arrived.header.sender).or_default();
        *taken += cost(arrived);
        let told = u32::try_from(*taken).unwrap_or(u32::MAX);
        (*taken >= TOLD_BYTES).then(|| {
            *taken -= u64::from(told);
            told
        })
    }

    /// Whether this rank has become full, or has room again, since this was asked last.
    fn poll_change(&mut self) -> Option<bool> {
        // It has room again well before it is empty, and is not full again at once.
        let limit = if self.is_full { UNEXPECTED_BYTES_MAX / 2 } else { UNEXPECTED_BYTES_MAX };
        let is_full = self.unexpected > limit;
        (is_full != self.is_full).then(|| {
            self.is_full = is_full;
            is_full
        })
    }
}

impl<P: MpiPort> MpiCtx<P> {
    /// Takes a matching message that has arrived, as a receive would.
    pub(crate) fn extract(&mut self, pattern: &Pattern) -> Option<(Envelope, Arrived)> {
        let found = self.matching.extract(pattern)?;
        self.let_go(&found.1);
        Some(found)
    }

    /// Posts the receive `name`, or gives the message that it matches.
    pub(crate) fn post(&mut self, pattern: Pattern, name: i32) -> Option<Arrived> {
        let (_, arrived) = self.matching.post(pattern, name.cast_unsigned())?;
        self.note_message(EventType::ReceiveMatched, &arrived);
        self.let_go(&arrived);
        Some(arrived)
    }

    /// A message has come that no receive matches yet.
    pub(crate) fn keep(&mut self, sender: u32, cost: u64) {
        if !self.is_far(sender) {
            self.credits.unexpected += cost;
            self.tell_if_full();
        }
    }

    /// Counts what lies here anew, after the queues have been put back.
    pub(crate) fn recount(&mut self) {
        let lying = self.matching.unexpected();
        let lying: Vec<_> = lying.map(|(_, it)| (it.header.sender, cost(it))).collect();
        lying.into_iter().for_each(|(sender, cost)| self.keep(sender, cost));
    }

    /// A message has come and was matched at once.
    #[inline]
    pub(crate) fn let_pass(&mut self, arrived: &Arrived) {
        if self.is_far(arrived.header.sender) {
            self.let_go(arrived);
        }
    }

    /// A message does not lie here any more.
    pub(crate) fn let_go(&mut self, arrived: &Arrived) {
        let sender = arrived.header.sender;
        if let Some(bytes) = self.credits.let_go(arrived, self.is_far(sender)) {
            let header = Header {
                kind: Kind::Credit,
                context: 0,
                source: 0,
                tag: 0,
                sender: self.port.rank(),
                request: bytes,
            };
            self.port.send(sender, header, &[]);
        }
        if self.credits.is_full {
            self.tell_if_full();
        }
    }

    /// Tells the ranks of this node if this one has become full, or has room again.
    fn tell_if_full(&mut self) {
        if let Some(is_full) = self.credits.poll_change() {
            self.port.set_full(is_full);
        }
    }
}

/// What a message that lies here costs.
#[inline]
pub(super) fn cost(arrived: &Arrived) -> u64 {
    arrived.payload.bytes().len() as u64 + MESSAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, payload: Payload) -> Arrived {
        let header = Header { kind, context: 0, source: 0, tag: 0, sender: 3, request: 0 };
        Arrived { header, payload }
    }

    #[test]
    fn a_sender_goes_on_when_its_messages_are_matched() {
        let (mut sender, mut receiver) = (Credits::default(), Credits::default());
        let long = vec![0; 60_000];
        let mut sent = 0;
        while sender.may_send(3) {
            sender.sent(3, true, 60_000);
            sent += 1;
        }
        assert_eq!(sent, UNTAKEN_BYTES_MAX.div_ceil(60_000 + MESSAGE_BYTES));
        assert!(sender.may_send(4), "each receiver has its own");
        let mut told = 0;
        for _ in 0..sent {
            let arrived = message(Kind::Eager, Payload::Owned(long.clone().into()));
            if let Some(bytes) = receiver.let_go(&arrived, true) {
                told += u64::from(bytes);
                sender.returned(3, bytes);
                assert!(sender.may_send(3));
            }
        }
        let all = sent * (60_000 + MESSAGE_BYTES);
        assert!(told <= all && all - told < TOLD_BYTES, "{told} of {all}");
    }

    #[test]
    fn empty_messages_cost_something_and_announcements_nothing() {
        let mut credits = Credits::default();
        for _ in 0..UNTAKEN_BYTES_MAX / MESSAGE_BYTES {
            assert!(credits.may_send(3));
            credits.sent(3, true, 0);
        }
        assert!(!credits.may_send(3));
        for arrived in [
            message(Kind::Eager, Payload::Remote { token: 1, len: 1 << 30 }),
            message(Kind::Reference, Payload::Remote { token: 1, len: 1 << 30 }),
        ] {
            assert_eq!(credits.let_go(&arrived, true), None);
        }
        assert!(credits.taken.is_empty());
    }

    #[test]
    fn a_full_rank_has_room_again_when_half_is_gone() {
        let mut credits = Credits { unexpected: UNEXPECTED_BYTES_MAX, ..Credits::default() };
        assert_eq!(credits.poll_change(), None);
        credits.unexpected += 1;
        assert_eq!((credits.poll_change(), credits.poll_change()), (Some(true), None));
        credits.unexpected = UNEXPECTED_BYTES_MAX / 2 + 1;
        assert_eq!(credits.poll_change(), None);
        let arrived = message(Kind::Eager, Payload::Owned(Box::default()));
        assert_eq!(credits.let_go(&arrived, false), None);
        assert_eq!(credits.poll_change(), Some(false));
    }
}
