//! All lanes to one peer.

use std::{
    array,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Hello, LaneError, Positions, Signal, incoming::Incoming, outgoing::Outgoing};
use crate::{
    config::Limits,
    envelope::Envelope,
    frame::{Encoded, Encoder},
    id::{Lane, NodeId},
};

/// Bytes that are received before they are acknowledged without waiting for the delay.
const ACK_BYTES: usize = 256 << 10;
/// Messages that are received before they are acknowledged without waiting for the delay.
const ACK_MESSAGES: usize = 256;
/// How long an acknowledgement waits for more to acknowledge.
const ACK_DELAY: Duration = Duration::from_millis(25);

/// What is to be done with a message that arrived.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Received {
    /// It is the next one.
    Deliver,
    /// It was delivered before.
    Duplicate,
}

/// One node's memory of what it sent to a peer and received from it.
///
/// - A new connection: write [`hello`](Self::hello) first, then give the peer's to
///   [`handle_hello`](Self::handle_hello); [`handle_disconnected`](Self::handle_disconnected) when
///   it breaks. Bytes of an older connection are not to be handled any more.
/// - What arrives: [`handle_frame`](Self::handle_frame), [`handle_ack`](Self::handle_ack),
///   [`handle_leave`](Self::handle_leave).
/// - Commands: [`send`](Self::send), [`send_copied`](Self::send_copied), [`leave`](Self::leave).
/// - After any of these: [`poll_transmit`](Self::poll_transmit) for each lane,
///   [`poll_signal`](Self::poll_signal), [`poll_drained`](Self::poll_drained), and a call at
///   [`timeout`](Self::timeout).
#[derive(Debug)]
pub struct Session {
    session: u64,
    peer_session: Option<u64>,
    limits: Limits,
    encoder: Encoder,
    outgoing: [Outgoing; Lane::ALL.len()],
    incoming: [Incoming; Lane::ALL.len()],
    /// The peer's hello has come over the present connection.
    is_connected: bool,
    /// What was received since the last acknowledgement.
    untold_bytes: usize,
    untold_messages: usize,
    ack_at: Option<Instant>,
    /// The backlog of the lane was at the mark or above.
    is_high: [bool; Lane::ALL.len()],
    has_drained: [bool; Lane::ALL.len()],
    leaving: Leaving,
    /// Where the peer has said that it ends.
    peer_end: Option<Positions>,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Leaving {
    No,
    Wanted,
    Told,
}

impl Session {
    /// A session in which nothing was sent or received.
    ///
    /// `session` names it: random, so that no two are confused.
    ///
    /// # Panics
    /// `session` is 0.
    pub fn new(session: u64, limits: Limits) -> Self {
        assert_ne!(session, 0, "0 stands for no session");
        Self {
            session,
            peer_session: None,
            limits,
            encoder: Encoder::default(),
            outgoing: Lane::ALL.map(Outgoing::new),
            incoming: Lane::ALL.map(Incoming::new),
            is_connected: false,
            untold_bytes: 0,
            untold_messages: 0,
            ack_at: None,
            is_high: [false; Lane::ALL.len()],
            has_drained: [false; Lane::ALL.len()],
            leaving: Leaving::No,
            peer_end: None,
        }
    }

    /// Adds a message whose long payload is kept as it is.
    ///
    /// # Panics
    /// The payload is longer than a frame can be.
    pub fn send(&mut self, lane: Lane, envelope: &Envelope, payload: Bytes) {
        let number = self.outgoing[lane as usize].next();
        let frame = self.encoder.encode(number, envelope, payload);
        self.push(lane, frame);
    }

    /// Adds a message whose payload is copied.
    ///
    /// # Panics
    /// The payload is longer than a frame can be.
    pub fn send_copied(&mut self, lane: Lane, envelope: &Envelope, payload: &[u8]) {
        let number = self.outgoing[lane as usize].next();
        let frame = self.encoder.encode_copied(number, envelope, payload);
        self.push(lane, frame);
    }

    /// Sends nothing more after what was sent; the peer is told when all of it is written.
    pub fn leave(&mut self) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Wanted;
        }
    }

    /// What is to be written first on a new connection; the older one is over with it.
    pub fn hello(&mut self, cluster: u64, node: NodeId) -> Hello {
        self.handle_disconnected();
        let peer_session = self.peer_session.unwrap_or(0);
        Hello { cluster, node, session: self.session, peer_session, next: self.expected() }
    }

    /// The peer greets on a new connection: what it has not received is written again.
    ///
    /// # Errors
    /// The peer cannot go on with this session: it is to be given up.
    pub fn handle_hello(&mut self, hello: &Hello) -> Result<(), LaneError> {
        let knows_me = hello.peer_session == 0 || hello.peer_session == self.session;
        match self.peer_session {
            Some(known) if known != hello.session || !knows_me => {
                return Err(LaneError::OtherSession);
            }
            None if !knows_me => return Err(LaneError::FormerSession),
            _ => {}
        }
        for (outgoing, next) in self.outgoing.iter_mut().zip(hello.next) {
            outgoing.resume(next)?;
        }
        self.peer_session = Some(hello.session);
        self.is_connected = true;
        if self.leaving == Leaving::Told {
            self.leaving = Leaving::Wanted;
        }
        self.note_backlog();
        Ok(())
    }

    /// The connection broke; messages wait for the next one.
    pub fn handle_disconnected(&mut self) {
        self.is_connected = false;
        self.ack_at = None;
    }

    /// A frame with `bytes` bytes of payload arrived.
    ///
    /// # Errors
    /// A message is missing, or the peer has not greeted: the connection is to be closed.
    pub fn handle_frame(
        &mut self,
        lane: Lane,
        number: u64,
        bytes: usize,
        now: Instant,
    ) -> Result<Received, LaneError> {
        if !self.is_connected {
            return Err(LaneError::NoHello);
        }
        let is_new = self.incoming[lane as usize].accept(number)?;
        self.untold_bytes += bytes;
        self.untold_messages += 1;
        let is_due = self.untold_bytes >= ACK_BYTES || self.untold_messages >= ACK_MESSAGES;
        match self.ack_at {
            None => self.ack_at = Some(if is_due { now } else { now + ACK_DELAY }),
            Some(at) if is_due => self.ack_at = Some(at.min(now)),
            Some(_) => {}
        }
        Ok(if is_new { Received::Deliver } else { Received::Duplicate })
    }

    /// The peer has received all before `next`.
    ///
    /// # Errors
    /// It cannot have: the peer is to be given up.
    pub fn handle_ack(&mut self, next: Positions) -> Result<(), LaneError> {
        if !self.is_connected {
            return Err(LaneError::NoHello);
        }
        for (outgoing, next) in self.outgoing.iter_mut().zip(next) {
            outgoing.acknowledge(next)?;
        }
        self.note_backlog();
        Ok(())
    }

    /// The peer leaves, having sent all before `end`.
    ///
    /// # Errors
    /// It sent more than it says: the peer is to be given up.
    pub fn handle_leave(&mut self, end: Positions) -> Result<(), LaneError> {
        if !self.is_connected {
            return Err(LaneError::NoHello);
        }
        for ((incoming, said), lane) in self.incoming.iter().zip(end).zip(Lane::ALL) {
            let received = incoming.next();
            if said < received {
                return Err(LaneError::LeftEarlier { lane, said, received });
            }
        }
        self.peer_end = Some(end);
        Ok(())
    }

    /// The next frame to write in a lane; none while there is no connection, or while so much is
    /// unacknowledged that the peer has to catch up first.
    pub fn poll_transmit(&mut self, lane: Lane) -> Option<Encoded> {
        let bytes_max = self.limits.unacknowledged_bytes_max;
        self.is_connected.then(|| self.outgoing[lane as usize].poll(bytes_max))?
    }

    /// The next signal to write, if it is time for one.
    pub fn poll_signal(&mut self, now: Instant) -> Option<Signal> {
        if !self.is_connected {
            return None;
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            return Some(self.acknowledgement());
        }
        if self.leaving == Leaving::Wanted && !self.outgoing.iter().any(Outgoing::is_waiting) {
            self.leaving = Leaving::Told;
            return Some(Signal::Leave(array::from_fn(|lane| self.outgoing[lane].next())));
        }
        None
    }

    /// A lane whose backlog fell below the mark after it was at the mark or above.
    pub fn poll_drained(&mut self) -> Option<Lane> {
        let lane = Lane::ALL.into_iter().find(|lane| self.has_drained[*lane as usize])?;
        self.has_drained[lane as usize] = false;
        Some(lane)
    }

    /// An acknowledgement of all that has arrived, due or not: it is the heartbeat as well.
    pub fn acknowledgement(&mut self) -> Signal {
        self.ack_at = None;
        self.untold_bytes = 0;
        self.untold_messages = 0;
        Signal::Ack(self.expected())
    }

    /// When [`poll_signal`](Self::poll_signal) will have one, if nothing happens before.
    pub fn timeout(&self) -> Option<Instant> {
        self.ack_at.filter(|_| self.is_connected)
    }

    /// Bytes that were sent in a lane and are not known to have arrived, heads included.
    pub fn backlog_bytes(&self, lane: Lane) -> usize {
        self.outgoing[lane as usize].kept_bytes()
    }

    /// Whether the peer has never greeted. If it refuses a connection of such a session, it may
    /// still know this node's former one; of any other, it has given this node up.
    pub fn is_fresh(&self) -> bool {
        self.peer_session.is_none()
    }

    /// Whether the peer has greeted on the present connection.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether all that was sent is known to have arrived.
    pub fn is_settled(&self) -> bool {
        self.outgoing.iter().all(|outgoing| outgoing.kept_bytes() == 0)
    }

    /// Whether the peer was told that this side leaves, and has everything.
    pub fn has_left(&self) -> bool {
        self.leaving == Leaving::Told && self.is_settled()
    }

    /// Whether the peer has left and all that it sent was delivered.
    pub fn has_peer_left(&self) -> bool {
        self.peer_end.is_some_and(|end| end == self.expected())
    }

    /// Asserts what always holds; for tests.
    pub fn check_invariants(&self) {
        self.outgoing.iter().for_each(Outgoing::check_invariants);
        assert!(self.ack_at.is_none() || self.untold_messages > 0);
    }

    fn expected(&self) -> Positions {
        array::from_fn(|lane| self.incoming[lane].next())
    }

    fn push(&mut self, lane: Lane, frame: Encoded) {
        assert_eq!(self.leaving, Leaving::No, "nothing is sent after leaving");
        self.outgoing[lane as usize].push(frame);
        self.is_high[lane as usize] |= self.backlog_bytes(lane) >= self.limits.drained_bytes;
    }

    fn note_backlog(&mut self) {
        for lane in Lane::ALL {
            let is_low = self.backlog_bytes(lane) < self.limits.drained_bytes;
            self.has_drained[lane as usize] |= is_low && self.is_high[lane as usize];
            self.is_high[lane as usize] &= !is_low;
        }
    }
}
