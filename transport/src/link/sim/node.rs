//! One simulated node: carries out what the cores decide.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::faults::{Content, Packet};
use crate::{
    config::{Limits, Timing},
    envelope::Envelope,
    frame::{Decoder, Frame},
    handler::{Event, Handler, LostReason},
    id::{Lane, NodeId},
    lane::{Hello, LaneError, Received, Session, Signal, SignalDecoder},
    membership::{Action, Membership},
    payload::Payload,
};

/// Name of the one cluster of a simulated network.
const CLUSTER: u64 = 1;
/// A connection on which no greeting comes for this long is given up.
const GREETING_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) struct Node {
    node: NodeId,
    pub(super) handler: Arc<dyn Handler>,
    timing: Timing,
    limits: Limits,
    members: Membership,
    peers: BTreeMap<NodeId, Peer>,
    /// Sessions that were ever begun.
    sessions: u64,
    /// Connections that were ever dialled.
    dialled: u64,
    /// The latest connection that each peer has dialled: older ones are over.
    latest: BTreeMap<NodeId, u64>,
}

struct Peer {
    session: Session,
    connection: Option<Connection>,
    /// When to dial, for the side that does.
    dial_at: Option<Instant>,
    /// It is up, as far as the handler was told.
    is_up: bool,
    is_leaving: bool,
}

struct Connection {
    number: u64,
    lanes: [Decoder; Lane::ALL.len()],
    signals: SignalDecoder,
    opened: Instant,
    heard: Instant,
}

/// What a node wants done.
#[derive(Default)]
pub(super) struct Outputs {
    pub(super) packets: Vec<(NodeId, Packet)>,
    pub(super) calls: Vec<Call>,
}

/// A call of the handler.
pub(super) enum Call {
    Message { from: NodeId, lane: Lane, envelope: Envelope, payload: Payload<'static> },
    Event(Event),
    Drained(NodeId, Lane),
}

/// Why a connection is not read further.
enum Stop {
    /// The connection is closed; another one may follow.
    Close,
    /// The other side is to learn that it has no session here.
    Refuse,
    /// The peer is given up.
    GiveUp(LostReason),
}

impl Node {
    /// A node without peers. Sessions and connections are numbered after `number`, which grows:
    /// none has the name of one of an earlier process.
    pub(super) fn new(
        node: NodeId,
        handler: Arc<dyn Handler>,
        (timing, limits): (Timing, Limits),
        number: u64,
    ) -> Self {
        Self {
            node,
            handler,
            timing,
            limits,
            members: Membership::new(node, CLUSTER, timing),
            peers: BTreeMap::new(),
            sessions: number,
            dialled: number,
            latest: BTreeMap::new(),
        }
    }

    pub(super) fn add_peer(&mut self, node: NodeId, now: Instant) {
        if self.peers.contains_key(&node) || !self.members.add(node, now) {
            return;
        }
        self.sessions += 1;
        let name = (u64::from(self.node.0) << 32) + self.sessions;
        let peer = Peer {
            session: Session::new(name, self.limits),
            connection: None,
            dial_at: (self.node > node).then_some(now),
            is_up: false,
            is_leaving: false,
        };
        self.peers.insert(node, peer);
    }

    pub(super) fn remove_peer(&mut self, node: NodeId, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.is_leaving = true;
        peer.session.leave();
        self.flush(node, now, out);
    }

    /// Leaves all peers.
    pub(super) fn leave(&mut self, now: Instant, out: &mut Outputs) {
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.remove_peer(peer, now, out));
    }

    pub(super) fn send(
        &mut self,
        (node, lane): (NodeId, Lane),
        envelope: &Envelope,
        payload: Bytes,
        now: Instant,
        out: &mut Outputs,
    ) {
        let Some(peer) = self.peers.get_mut(&node).filter(|peer| !peer.is_leaving) else { return };
        peer.session.send(lane, envelope, payload);
        self.flush(node, now, out);
    }

    pub(super) fn handle_packet(
        &mut self,
        from: NodeId,
        packet: Packet,
        now: Instant,
        out: &mut Outputs,
    ) {
        let connection = packet.connection;
        let answer = |content| (from, Packet { connection, content });
        let Some(peer) = self.peers.get_mut(&from) else {
            if matches!(packet.content, Content::Signals(_)) {
                out.packets.push(answer(Content::Refused));
            }
            return;
        };
        let present = peer.connection.as_ref().map_or(0, |present| present.number);
        let latest = self.latest.entry(from).or_default();
        let is_greeting = matches!(packet.content, Content::Signals(_)) && self.node < from;
        if connection > *latest && is_greeting {
            *latest = connection;
            peer.open(connection, now, (self.node, from), out);
        } else if connection != present || peer.connection.is_none() {
            return;
        }
        let read = self.read(from, packet.content, now, out);
        match read {
            Ok(()) => self.flush(from, now, out),
            Err(Stop::Close) => {
                self.close(from, now);
                out.packets.push(answer(Content::Closed));
            }
            Err(Stop::Refuse) => {
                self.close(from, now);
                out.packets.push(answer(Content::Refused));
            }
            Err(Stop::GiveUp(reason)) => {
                out.packets.push(answer(Content::Refused));
                self.lose(from, reason, out);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Outputs) {
        while let Some(action) = self.members.poll(now) {
            match action {
                Action::Lost(node, loss) => self.lose(node, loss.into(), out),
                Action::Heartbeat(node) => {
                    if let Some(peer) =
                        self.peers.get_mut(&node).filter(|peer| peer.session.is_connected())
                    {
                        let signal = peer.session.acknowledgement();
                        peer.signal(node, &signal, out);
                    }
                }
            }
        }
        let nodes: Vec<NodeId> = self.peers.keys().copied().collect();
        for node in nodes {
            self.tend(node, now, out);
            self.flush(node, now, out);
        }
    }

    /// Closes the connection to a peer, as if it had broken.
    pub(super) fn close(&mut self, node: NodeId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.connection = None;
        peer.session.handle_disconnected();
        if self.node > node {
            peer.dial_at = Some(now + self.timing.redial_interval);
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        let peers = self.peers.values().flat_map(|peer| {
            let connection = peer.connection.as_ref().map(|c| self.expiry(peer, c));
            [peer.session.timeout(), peer.dial_at, connection]
        });
        peers.flatten().chain(self.members.timeout()).min()
    }

    pub(super) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    pub(super) fn connection(&self, node: NodeId) -> Option<u64> {
        Some(self.peers.get(&node)?.connection.as_ref()?.number)
    }

    pub(super) fn backlog_bytes(&self, node: NodeId, lane: Lane) -> usize {
        self.peers.get(&node).map_or(0, |peer| peer.session.backlog_bytes(lane))
    }

    pub(super) fn check_invariants(&self) {
        for (node, peer) in &self.peers {
            peer.session.check_invariants();
            assert!(!peer.session.is_connected() || peer.connection.is_some());
            // Whoever dials has a connection or a time to dial; nobody waits for ever.
            assert!(self.node < *node || peer.connection.is_some() || peer.dial_at.is_some());
        }
    }

    fn read(
        &mut self,
        from: NodeId,
        content: Content,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<(), Stop> {
        match content {
            Content::Frames(lane, bytes) => self.read_frames(from, lane, bytes, now, out)?,
            Content::Signals(bytes) => self.read_signals(from, &bytes, now, out)?,
            Content::Closed => {
                self.close(from, now);
                return Ok(());
            }
            Content::Refused => return self.handle_refusal(from, now, out),
        }
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        if peer.session.is_connected() {
            peer.connection.iter_mut().for_each(|connection| connection.heard = now);
            self.members.handle_heard(from, now);
        }
        Ok(())
    }

    fn read_frames(
        &mut self,
        from: NodeId,
        lane: Lane,
        bytes: Bytes,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<(), Stop> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let Some(connection) = &mut peer.connection else { return Ok(()) };
        let decoder = &mut connection.lanes[lane as usize];
        decoder.push(bytes);
        while let Some(frame) = decoder.poll().map_err(|_| Stop::Close)? {
            let Frame { number, envelope, payload } = frame;
            let received = peer.session.handle_frame(lane, number, payload.len(), now)?;
            if received == Received::Deliver {
                out.calls.push(Call::Message { from, lane, envelope, payload });
            }
        }
        Ok(())
    }

    fn read_signals(
        &mut self,
        from: NodeId,
        bytes: &[u8],
        now: Instant,
        out: &mut Outputs,
    ) -> Result<(), Stop> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let Some(connection) = &mut peer.connection else { return Ok(()) };
        connection.signals.push(bytes);
        let mut signals = Vec::new();
        while let Some(signal) = connection.signals.poll().map_err(|_| Stop::Close)? {
            signals.push(signal);
        }
        for signal in signals {
            match signal {
                Signal::Hello(_) if peer.session.is_connected() => {}
                Signal::Hello(hello) => {
                    self.members.handle_hello(&hello, now).map_err(|_| Stop::Refuse)?;
                    peer.greet(&hello, out)?;
                }
                Signal::Ack(next) => peer.session.handle_ack(next)?,
                Signal::Leave(end) => peer.session.handle_leave(end)?,
            }
        }
        Ok(())
    }

    /// The peer has no session for this node: it has given this node up, or not yet added it.
    fn handle_refusal(
        &mut self,
        from: NodeId,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<(), Stop> {
        if self.peers.get(&from).is_some_and(|peer| !peer.session.is_fresh()) {
            self.lose(from, LostReason::Restarted, out);
        } else {
            self.close(from, now);
        }
        Ok(())
    }

    fn lose(&mut self, node: NodeId, reason: LostReason, out: &mut Outputs) {
        self.members.handle_lost(node);
        if self.peers.remove(&node).is_some_and(|peer| !peer.is_leaving) {
            out.calls.push(Call::Event(Event::PeerLost { node, reason }));
        }
    }

    /// Dials, or gives a silent connection up.
    fn tend(&mut self, node: NodeId, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.get(&node) else { return };
        if peer.connection.as_ref().is_some_and(|connection| self.expiry(peer, connection) <= now) {
            self.close(node, now);
        }
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.dial_at.is_some_and(|at| at <= now) {
            self.dialled += 1;
            peer.open(self.dialled, now, (self.node, node), out);
        }
    }

    fn expiry(&self, peer: &Peer, connection: &Connection) -> Instant {
        if peer.session.is_connected() {
            connection.heard + 2 * self.timing.heartbeat_interval
        } else {
            connection.opened + GREETING_TIMEOUT
        }
    }

    /// Writes what a peer's session has to write, and sees whether it has ended.
    fn flush(&mut self, node: NodeId, now: Instant, out: &mut Outputs) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.session.has_peer_left() {
            let signal = peer.session.acknowledgement();
            peer.signal(node, &signal, out);
            let is_leaving = peer.is_leaving;
            self.peers.remove(&node);
            self.members.handle_left(node);
            if !is_leaving {
                out.calls.push(Call::Event(Event::PeerLeft(node)));
            }
            return;
        }
        if peer.flush(node, now, out) {
            self.members.handle_sent(node, now);
        }
        if peer.session.has_left() {
            self.peers.remove(&node);
            self.members.remove(node);
        }
    }
}

impl Peer {
    /// Begins a connection: greets.
    fn open(
        &mut self,
        number: u64,
        now: Instant,
        (own, peer): (NodeId, NodeId),
        out: &mut Outputs,
    ) {
        self.dial_at = None;
        self.connection = Some(Connection {
            number,
            lanes: std::array::from_fn(|_| Decoder::default()),
            signals: SignalDecoder::default(),
            opened: now,
            heard: now,
        });
        let hello = Signal::Hello(self.session.hello(CLUSTER, own));
        self.signal(peer, &hello, out);
    }

    fn greet(&mut self, hello: &Hello, out: &mut Outputs) -> Result<(), Stop> {
        match self.session.handle_hello(hello) {
            Err(LaneError::OtherSession) => return Err(Stop::GiveUp(LostReason::Restarted)),
            Err(LaneError::FormerSession) => return Err(Stop::Refuse),
            result => result?,
        }
        if !self.is_up {
            self.is_up = true;
            out.calls.push(Call::Event(Event::PeerUp(hello.node)));
        }
        Ok(())
    }

    fn flush(&mut self, node: NodeId, now: Instant, out: &mut Outputs) -> bool {
        let before = out.packets.len();
        for lane in Lane::ALL {
            while let Some(frame) = self.session.poll_transmit(lane) {
                let bytes = [frame.head, frame.payload].concat().into();
                self.packet(node, Content::Frames(lane, bytes), out);
            }
        }
        while let Some(signal) = self.session.poll_signal(now) {
            self.signal(node, &signal, out);
        }
        while let Some(lane) = self.session.poll_drained() {
            out.calls.push(Call::Drained(node, lane));
        }
        out.packets.len() > before
    }

    fn signal(&self, node: NodeId, signal: &Signal, out: &mut Outputs) {
        self.packet(node, Content::Signals(signal.to_bytes().into()), out);
    }

    fn packet(&self, node: NodeId, content: Content, out: &mut Outputs) {
        if let Some(connection) = &self.connection {
            out.packets.push((node, Packet { connection: connection.number, content }));
        }
    }
}

impl From<LaneError> for Stop {
    fn from(error: LaneError) -> Self {
        // Numbers that cannot be: with the faults of this network only our own bug.
        assert!(error.is_resumable(), "{error}");
        Self::Close
    }
}
