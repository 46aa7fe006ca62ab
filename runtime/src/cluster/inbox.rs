//! What arrives at an endpoint, for the thread that handles it.

use std::time::{Duration, Instant};

use faasm_transport::{Endpoint, Envelope, Event, Handler, Lane, NodeId, Payload, Service};
use parking_lot::Mutex;

use super::codec::{Arrival, Assembler, Malformed};

/// Something for a driver of this module.
#[derive(Debug)]
pub(crate) enum Input {
    /// A peer sent something.
    Arrived(NodeId, Arrival),
    /// A peer sent what it should not.
    Malformed(NodeId, Malformed),
    /// Something happened to a peer.
    Peer(Event),
}

/// Receives messages that are not of the control service.
pub(crate) trait OtherServices: Send + Sync + 'static {
    /// One message.
    fn message(&self, from: NodeId, lane: Lane, envelope: &Envelope, payload: Payload<'_>);

    /// A peer is gone.
    fn lost(&self, peer: NodeId);

    /// The backlog to a peer has shrunk.
    fn drained(&self, peer: NodeId, lane: Lane);
}

/// Nobody: a coordinator runs no ranks.
#[derive(Debug)]
pub(crate) struct NoServices;

impl OtherServices for NoServices {
    fn message(&self, from: NodeId, _: Lane, envelope: &Envelope, _: Payload<'_>) {
        tracing::debug!(%from, service = envelope.service, "a message that nobody expects");
    }

    fn lost(&self, _: NodeId) {}

    fn drained(&self, _: NodeId, _: Lane) {}
}

/// Sorts what arrives: control messages go to a driver's thread, the others to their service.
#[derive(Debug)]
pub(crate) struct Sorter<S, T> {
    inbox: flume::Sender<T>,
    assembler: Mutex<Assembler>,
    others: S,
}

impl<S, T> Sorter<S, T> {
    pub(crate) fn new(inbox: flume::Sender<T>, others: S) -> Self {
        Self { inbox, assembler: Mutex::default(), others }
    }
}

impl<S: OtherServices, T: From<Input> + Send + 'static> Handler for Sorter<S, T> {
    fn message(&self, from: NodeId, lane: Lane, envelope: &Envelope, payload: Payload<'_>) {
        if envelope.service != Service::Control as u16 {
            return self.others.message(from, lane, envelope, payload);
        }
        let input = match self.assembler.lock().take(from, envelope, payload) {
            Ok(Some(arrival)) => Input::Arrived(from, arrival),
            Ok(None) => return,
            Err(malformed) => Input::Malformed(from, malformed),
        };
        // The driver is gone when its side is being shut down.
        let _ = self.inbox.send(input.into());
    }

    fn event(&self, event: Event) {
        if let Event::PeerLost { node, .. } | Event::PeerLeft(node) = &event {
            self.assembler.lock().forget(*node);
            self.others.lost(*node);
        }
        let _ = self.inbox.send(Input::Peer(event).into());
    }

    fn drained(&self, peer: NodeId, lane: Lane) {
        self.others.drained(peer, lane);
    }
}

/// A driver's inbox, and how it waits for what comes.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    received: flume::Receiver<T>,
    endpoint: Endpoint,
    /// Until then more is expected at any moment.
    busy_until: Option<Instant>,
}

/// How long a driver looks at its links itself while it is expected to be busy.
const BUSY_TIME: Duration = Duration::from_millis(1);

impl<T> Inbox<T> {
    pub(crate) const fn new(received: flume::Receiver<T>, endpoint: Endpoint) -> Self {
        Self { received, endpoint, busy_until: None }
    }

    /// What a job waits for that stands still is expected next, or nothing of that kind any more.
    pub(crate) fn expect(&mut self, is_more_expected: bool) {
        self.busy_until = is_more_expected.then(|| Instant::now() + BUSY_TIME);
    }

    /// What comes next, until that time if there is one.
    ///
    /// # Errors
    /// Nothing has come by then, or nothing more will.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Result<T, flume::RecvTimeoutError> {
        if let Some(until) = self.busy_until.take() {
            let until = deadline.map_or(until, |deadline| deadline.min(until));
            while Instant::now() < until {
                match self.received.try_recv() {
                    Ok(input) => return Ok(input),
                    Err(flume::TryRecvError::Disconnected) => break,
                    // Waking threads for each step would take longer than the steps.
                    Err(flume::TryRecvError::Empty) if !self.endpoint.poll() => {
                        std::thread::yield_now();
                    }
                    Err(flume::TryRecvError::Empty) => {}
                }
            }
            self.endpoint.rest();
        }
        match deadline {
            Some(at) => self.received.recv_deadline(at),
            None => self.received.recv().map_err(|_| flume::RecvTimeoutError::Disconnected),
        }
    }
}

/// Leaves all peers, giving them a moment to take what was sent.
pub(crate) fn leave(endpoint: &Endpoint) {
    endpoint.shutdown(std::time::Duration::from_millis(200));
}
