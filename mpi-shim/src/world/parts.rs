//! What other nodes have sent for collective operations, until the node's leader takes it.
//!
//! A part is named by the communicator's context, the number of the meeting there, a step of the
//! operation, and the node that sent it. Parts may come before anybody of this node has arrived at
//! the meeting; how far a node may run ahead is bounded by its [credit](Parts::send_room).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Bytes of parts of one communicator that a node may have sent to another one and that were not
/// taken yet, before it may begin a further operation.
pub const PARTS_AHEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes that each part counts for besides its data.
const PART_OVERHEAD_BYTES: u64 = 1024;
/// Taken bytes are reported to their sender when they have come to so many.
const REPORT_BYTES: u64 = PARTS_AHEAD_BYTES_MAX / 4;
/// Parts that are kept at most; only nodes that break the rules come near.
const PARTS_MAX: usize = 1 << 20;

/// Names a part.
#[derive(Copy, Clone, Debug, Eq, Hash, PartialEq)]
pub struct PartHeader {
    /// Context of the communicator.
    pub context: u32,
    /// Number of the meeting there, from 1.
    pub meeting: u64,
    /// Step of the operation.
    pub step: u32,
    /// Node that sent it, by its number in the job.
    pub from: u32,
}

/// How many parts have come for one meeting so far.
///
/// Its count is sequentially consistent with a waiter's announcement that it suspends.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<AtomicU64>);

impl Arrivals {
    /// Parts that have come since this was made, plus those that were there already.
    #[inline]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Why a part is not accepted: the peer does not keep the rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PartRefused {
    /// The same part came twice.
    #[error("part {0:?} came twice")]
    Duplicate(PartHeader),
    /// More parts than a node can need.
    #[error("more than {PARTS_MAX} parts of collective operations wait to be taken")]
    TooMany,
}

/// The parts of one job on this node.
#[derive(Debug, Default)]
pub(super) struct Parts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parts: HashMap<PartHeader, Bytes>,
    leaders: HashMap<(u32, u64), Leader>,
    /// For each context and node: bytes taken and not yet reported.
    taken: HashMap<(u32, u32), u64>,
    /// For each context and node: bytes sent and not yet reported as taken.
    outstanding: HashMap<(u32, u32), u64>,
    /// Ranks that wait for room to send in a context.
    waiting: HashMap<u32, u32>,
}

#[derive(Debug)]
struct Leader {
    rank: u32,
    arrivals: Arrivals,
}

impl Parts {
    /// Keeps a part; gives the rank that waits for it.
    pub(super) fn put(&self, header: PartHeader, data: Bytes) -> Result<Option<u32>, PartRefused> {
        let mut state = self.lock();
        if state.parts.len() >= PARTS_MAX {
            return Err(PartRefused::TooMany);
        }
        if state.parts.contains_key(&header) {
            return Err(PartRefused::Duplicate(header));
        }
        state.parts.insert(header, data);
        Ok(state.leaders.get(&(header.context, header.meeting)).map(|leader| {
            leader.arrivals.0.fetch_add(1, Ordering::SeqCst);
            leader.rank
        }))
    }

    /// Takes a part, if it has come; the second value is what its sender is to be told as taken.
    pub(super) fn take(&self, header: PartHeader) -> Option<(Bytes, Option<u64>)> {
        let mut state = self.lock();
        let data = state.parts.remove(&header)?;
        let taken = state.taken.entry((header.context, header.from)).or_default();
        *taken += cost(data.len());
        let report = (*taken >= REPORT_BYTES).then(|| std::mem::take(taken));
        Some((data, report))
    }

    /// `rank` leads this node's members in a meeting and is to be woken for its parts.
    pub(super) fn lead(&self, context: u32, meeting: u64, rank: u32) -> Arrivals {
        let arrivals = Arrivals::default();
        let leader = Leader { rank, arrivals: arrivals.clone() };
        self.lock().leaders.insert((context, meeting), leader);
        arrivals
    }

    /// The meeting is over on this node.
    pub(super) fn end(&self, context: u32, meeting: u64) {
        self.lock().leaders.remove(&(context, meeting));
    }

    /// Counts a part of `len` bytes that is sent to `node`.
    pub(super) fn sent(&self, context: u32, node: u32, len: usize) {
        *self.lock().outstanding.entry((context, node)).or_default() += cost(len);
    }

    /// `node` has taken `bytes` of what this node sent in `context`; gives the rank that waits for it.
    pub(super) fn reported(&self, context: u32, node: u32, bytes: u64) -> Option<u32> {
        let mut state = self.lock();
        let outstanding = state.outstanding.get_mut(&(context, node))?;
        *outstanding = outstanding.saturating_sub(bytes);
        state.waiting.remove(&context)
    }

    /// Whether an operation may begin to send to any node. If not, `rank` is woken when that may change.
    pub(super) fn has_room(
        &self,
        context: u32,
        nodes: impl Iterator<Item = u32>,
        rank: u32,
    ) -> bool {
        let mut state = self.lock();
        let mut full = nodes.filter_map(|node| state.outstanding.get(&(context, node)));
        let has_room = !full.any(|bytes| *bytes > PARTS_AHEAD_BYTES_MAX);
        if !has_room {
            state.waiting.insert(context, rank);
        }
        has_room
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a part counts for.
const fn cost(len: usize) -> u64 {
    len as u64 + PART_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: PartHeader = PartHeader { context: 5, meeting: 2, step: 0, from: 1 };

    #[test]
    fn a_part_waits_for_its_leader_and_wakes_it() {
        let parts = Parts::default();
        assert_eq!(parts.put(HEADER, Bytes::from_static(b"early")), Ok(None));
        let refused = PartRefused::Duplicate(HEADER);
        assert_eq!(parts.put(HEADER, Bytes::new()), Err(refused));
        let arrivals = parts.lead(5, 2, 7);
        let late = PartHeader { step: 1, ..HEADER };
        assert_eq!(parts.take(late), None);
        assert_eq!(parts.put(late, Bytes::from_static(b"late")), Ok(Some(7)));
        assert_eq!(arrivals.count(), 1);
        assert_eq!(parts.put(PartHeader { meeting: 3, ..late }, Bytes::new()), Ok(None));
        assert_eq!(arrivals.count(), 1, "other meetings do not count");
        assert_eq!(parts.take(HEADER), Some((Bytes::from_static(b"early"), None)));
        assert_eq!(parts.take(HEADER), None);
        parts.end(5, 2);
        assert_eq!(parts.put(PartHeader { step: 9, ..HEADER }, Bytes::new()), Ok(None));
    }

    #[test]
    fn a_node_that_runs_ahead_waits_until_its_parts_are_taken() {
        let (sender, receiver) = (Parts::default(), Parts::default());
        let len = 1 << 20;
        let mut meeting = 0;
        while sender.has_room(5, [1].into_iter(), 3) {
            meeting += 1;
            assert!(meeting < 100, "it is bounded");
            sender.sent(5, 1, len);
            let header = PartHeader { meeting, from: 0, ..HEADER };
            assert_eq!(receiver.put(header, Bytes::from(vec![0; len])), Ok(None));
        }
        assert!(sender.has_room(6, [1].into_iter(), 3), "other communicators go on");
        assert!(sender.has_room(5, [2].into_iter(), 3), "other nodes too");
        let mut woken = None;
        for meeting in 1..=meeting {
            let header = PartHeader { meeting, from: 0, ..HEADER };
            let (data, report) = receiver.take(header).expect("it was sent");
            assert_eq!(data.len(), len);
            if let Some(bytes) = report {
                woken = woken.or(sender.reported(5, 1, bytes));
            }
        }
        assert_eq!(woken, Some(3));
        assert!(sender.has_room(5, [1].into_iter(), 3));
    }
}
