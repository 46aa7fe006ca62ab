//! What a simulated network does to packets.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    id::{Lane, NodeId},
    random::Random,
};

/// How bad a simulated network is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Faults {
    /// The shortest way of a packet.
    pub delay_min: Duration,
    /// The longest way of a packet that is not held up.
    pub delay_max: Duration,
    /// Packets of a hundred that are lost.
    pub drop_percent: usize,
    /// Packets of a hundred that arrive twice.
    pub duplicate_percent: usize,
    /// Packets of a hundred that later ones may pass.
    pub reorder_percent: usize,
    /// Connections are reliable streams, as those of QUIC: a lost packet comes late, none comes
    /// twice or out of order in its stream, and frames are cut anywhere. Otherwise each packet is
    /// a frame and on its own: a lost one shows as a gap, or at last by itself, and ends the
    /// connection.
    pub are_streams: bool,
}

impl Faults {
    /// A network without faults.
    pub const NONE: Self = Self {
        delay_min: Duration::from_micros(50),
        delay_max: Duration::from_micros(50),
        drop_percent: 0,
        duplicate_percent: 0,
        reorder_percent: 0,
        are_streams: true,
    };

    /// The longest that a packet can be under way.
    pub fn delay_bound(&self) -> Duration {
        self.delay_max * (1 + HOLD_UP)
    }
}

/// A packet that is held up needs this many times longer.
const HOLD_UP: u32 = 4;

/// What travels between nodes.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Connection that it belongs to; later ones have larger numbers.
    pub(super) connection: u64,
    pub(super) content: Content,
}

/// What a packet brings.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Bytes of a lane's stream.
    Frames(Lane, Bytes),
    /// Bytes of the stream of signals.
    Signals(Bytes),
    /// The other side does not want this connection, or any more of it.
    Closed,
    /// The other side has no session for this connection.
    Refused,
}

/// Decides what happens to each packet.
#[derive(Debug)]
pub(super) struct Wires {
    faults: Faults,
    random: Random,
    /// Pairs between which nothing passes, the smaller name first.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Connections that have lost bytes of a stream, or were reset.
    broken: BTreeSet<(NodeId, NodeId, u64)>,
    /// When the last packet of a stream arrives: (from, to, stream).
    last: BTreeMap<(NodeId, NodeId, usize), Instant>,
}

impl Wires {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            faults,
            random: Random::new(seed),
            cut: BTreeSet::new(),
            broken: BTreeSet::new(),
            last: BTreeMap::new(),
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(super) fn cut(&mut self, a: NodeId, b: NodeId, is_cut: bool) {
        let pair = (a.min(b), a.max(b));
        if is_cut {
            self.cut.insert(pair);
        } else {
            self.cut.remove(&pair);
        }
    }

    pub(super) fn reset(&mut self, a: NodeId, b: NodeId, connection: u64) {
        self.broken.insert((a.min(b), a.max(b), connection));
    }

    /// Whether a packet that has come this far arrives.
    pub(super) fn arrives(&mut self, from: NodeId, to: NodeId, packet: &Packet) -> bool {
        let (a, b) = (from.min(to), from.max(to));
        if self.cut.contains(&(a, b)) {
            self.broken.insert((a, b, packet.connection));
            return false;
        }
        !self.broken.contains(&(a, b, packet.connection))
    }

    /// The packets that one becomes, and when each arrives.
    pub(super) fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        packet: Packet,
        now: Instant,
    ) -> Vec<(Instant, Packet)> {
        if self.faults.are_streams {
            self.stream(from, to, packet, now)
        } else {
            self.single(from, to, packet, now)
        }
    }

    fn stream(
        &mut self,
        from: NodeId,
        to: NodeId,
        packet: Packet,
        now: Instant,
    ) -> Vec<(Instant, Packet)> {
        let connection = packet.connection;
        let (stream, contents) = match packet.content {
            Content::Frames(lane, bytes) => {
                let cut = self.pieces(bytes).into_iter().map(|bytes| Content::Frames(lane, bytes));
                (lane as usize, cut.collect())
            }
            Content::Signals(bytes) => {
                let cut = self.pieces(bytes).into_iter().map(Content::Signals);
                (SIGNALS, cut.collect())
            }
            other => (SIGNALS, vec![other]),
        };
        let mut sent = Vec::new();
        for content in contents {
            let is_late = self.random.chance(self.faults.drop_percent);
            let at = self.arrival((from, to, stream), now, is_late);
            sent.push((at, Packet { connection, content }));
        }
        sent
    }

    /// A buffer cut into up to three pieces.
    fn pieces(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while pieces.len() < 2 && bytes.len() > 1 && self.random.chance(30) {
            pieces.push(bytes.split_to(1 + self.random.below(bytes.len() - 1)));
        }
        pieces.push(bytes);
        pieces
    }

    fn single(
        &mut self,
        from: NodeId,
        to: NodeId,
        packet: Packet,
        now: Instant,
    ) -> Vec<(Instant, Packet)> {
        let stream = match packet.content {
            Content::Frames(lane, _) => lane as usize,
            _ => SIGNALS,
        };
        if self.random.chance(self.faults.drop_percent) {
            // Nobody sends it again; that it is missing is noticed sooner or later.
            let closed = Packet { content: Content::Closed, ..packet };
            return vec![(now + self.delay(true), closed)];
        }
        let mut sent = Vec::new();
        if self.random.chance(self.faults.duplicate_percent) {
            sent.push((now + self.delay(true), packet.clone()));
        }
        let at = if self.random.chance(self.faults.reorder_percent) {
            now + self.delay(true)
        } else {
            self.arrival((from, to, stream), now, false)
        };
        sent.push((at, packet));
        sent
    }

    /// When a packet arrives that may not pass those before it in its stream.
    fn arrival(&mut self, stream: (NodeId, NodeId, usize), now: Instant, is_late: bool) -> Instant {
        let at = now + self.delay(is_late);
        let last = self.last.entry(stream).or_insert(at);
        *last = at.max(*last);
        *last
    }

    fn delay(&mut self, is_late: bool) -> Duration {
        let Faults { delay_min, delay_max, .. } = self.faults;
        let range = delay_max.saturating_sub(delay_min).as_nanos() as usize;
        let delay = delay_min + Duration::from_nanos(self.random.below(range + 1) as u64);
        if is_late { delay + delay_max * HOLD_UP } else { delay }
    }
}

/// Number of the stream of signals, after those of the lanes.
const SIGNALS: usize = Lane::ALL.len();
