//! What one thread at a time does: read the socket, keep timers, deliver messages, make and end
//! connections.
//!
//! Locks are taken in this order: the driver, a connection, a session; the last two for moments.
//! Threads that send take a connection only if it is free, and leave their messages to its holder
//! if it is not. The handler is called with the driver and the connection locked, so it never runs
//! twice at once and may send.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use quinn_proto::{ConnectionHandle, DatagramEvent, Incoming};

use super::{
    Shared,
    connection::{CloseCode, Link, Role},
    peer::Peer,
    socket::{Batch, Buffers},
    wake::{NEVER, Nanos},
};
use crate::{
    bootstrap::Admission,
    handler::{Event, LostReason},
    id::NodeId,
    membership::{Action, Membership},
};

/// Times that the socket is read before anything else is done.
const READS_MAX: usize = 1;
/// Handshakes that may be under way; more are not answered.
const HANDSHAKES_MAX: usize = 256;
/// Handshakes beyond which a machine has to prove that it receives at its address.
const UNPROVEN_HANDSHAKES_MAX: usize = 32;
/// How long a handshake may take, and then joining.
pub(super) const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Machines that may join at once.
pub(super) const JOINERS_MAX: usize = 64;
/// Connections of members that have not been added yet.
pub(super) const EARLY_MAX: usize = 256;
/// Refusals per second that are told; more are only counted.
const REFUSALS_TOLD_MAX: u32 = 10;
/// So many ignored datagrams are worth a word.
const IGNORED_UNTOLD_MAX: u64 = 1024;

/// What the thread that drives the endpoint knows.
pub(super) struct Driver {
    pub(super) endpoint: quinn_proto::Endpoint,
    pub(super) links: HashMap<ConnectionHandle, Arc<Link>>,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) membership: Membership,
    pub(super) admission: Option<Admission>,
    /// Connections of members that were not added yet.
    pub(super) early: HashMap<NodeId, Arc<Link>>,
    /// Connections to others whose handshake is under way.
    pub(super) handshakes: usize,
    /// Connections of machines that join.
    pub(super) joiners: usize,
    buffers: Buffers,
    response: Vec<u8>,
    pub(super) touched: Vec<Arc<Link>>,
    /// What is to be done when no connection is locked.
    pub(super) outcomes: Vec<Outcome>,
    refusals: Refusals,
}

/// What the handling of a connection leaves to be done.
pub(super) enum Outcome {
    /// The peer cannot be talked to any more.
    Lost(NodeId, LostReason),
    /// The peer has left, or this node has left it.
    Left(NodeId),
    /// The connection to the peer is gone; the session is not.
    Broken(NodeId),
    /// The connection is not used any more.
    Replaced(Arc<Link>),
}

/// A peer that was added and is neither lost nor gone.
pub(super) struct Member {
    pub(super) peer: Arc<Peer>,
    /// `PeerUp` was told.
    pub(super) is_up: bool,
    /// It is left as soon as it has everything.
    pub(super) is_leaving: bool,
    /// When it is dialled next; never if the peer dials, or a connection stands.
    pub(super) dial_at: Nanos,
    /// Attempts since the last connection.
    pub(super) attempts: u32,
}

/// What other threads ask of the driver.
pub(super) enum Command {
    Add(Arc<Peer>),
    Remove(NodeId),
    /// More was sent to a peer than may wait.
    GiveUp(Arc<Peer>),
    /// This node has a new certificate.
    Renewed,
    /// Ends the connection as a broken network would, for tests.
    #[cfg(test)]
    Sever(NodeId),
}

/// Limits how many refusals are told.
#[derive(Default)]
struct Refusals {
    second: u64,
    told: u32,
}

impl Driver {
    pub(super) fn new(
        endpoint: quinn_proto::Endpoint,
        membership: Membership,
        admission: Option<Admission>,
    ) -> Self {
        Self {
            endpoint,
            links: HashMap::new(),
            members: BTreeMap::new(),
            membership,
            admission,
            early: HashMap::new(),
            handshakes: 0,
            joiners: 0,
            buffers: Buffers::new(),
            response: Vec::new(),
            touched: Vec::new(),
            outcomes: Vec::new(),
            refusals: Refusals::default(),
        }
    }

    /// Does what there is to do; true if there was anything.
    pub(super) fn turn(&mut self, shared: &Shared) -> bool {
        let mut is_busy = self.run_commands(shared);
        is_busy |= self.receive(shared);
        is_busy |= self.run_timers(shared);
        while let Some(link) = self.touched.pop() {
            self.service(shared, &link);
            while let Some(outcome) = self.outcomes.pop() {
                self.apply(shared, outcome);
            }
        }
        is_busy
    }

    fn apply(&mut self, shared: &Shared, outcome: Outcome) {
        match outcome {
            Outcome::Lost(node, reason) => self.lose(shared, node, reason),
            Outcome::Left(node) => {
                let was_leaving = self.members.get(&node).is_some_and(|member| member.is_leaving);
                self.membership.handle_left(node);
                self.forget(shared, node, CloseCode::Left);
                if !was_leaving {
                    shared.handler.event(Event::PeerLeft(node));
                }
            }
            Outcome::Broken(node) => self.redial(shared, node),
            Outcome::Replaced(link) => {
                link.conn.lock().close(CloseCode::Replaced, "another connection took its place");
                self.touched.push(link);
            }
        }
    }

    fn run_commands(&mut self, shared: &Shared) -> bool {
        let mut is_busy = false;
        while let Some(command) = shared.next_command() {
            is_busy = true;
            match command {
                Command::Add(peer) => self.add(shared, peer),
                Command::Remove(node) => self.remove(shared, node),
                Command::GiveUp(peer) => self.give_up(shared, &peer),
                Command::Renewed => {
                    self.endpoint.set_server_config(Some(shared.settings().base_server()));
                }
                #[cfg(test)]
                Command::Sever(node) => self.sever(shared, node),
            }
        }
        is_busy
    }

    fn receive(&mut self, shared: &Shared) -> bool {
        let mut is_busy = false;
        // Taken out, so that what is read can be handled.
        let mut buffers = std::mem::take(&mut self.buffers);
        for _ in 0..READS_MAX {
            // An error of the socket is one of a datagram sent before; timers deal with those.
            let count = shared.socket.receive(&mut buffers).unwrap_or(0);
            let now = Instant::now();
            for batch in buffers.batches(count) {
                self.handle_batch(shared, &batch, now);
            }
            is_busy |= count > 0;
            if !buffers.is_full(count) {
                break;
            }
        }
        self.buffers = buffers;
        is_busy
    }

    fn handle_batch(&mut self, shared: &Shared, batch: &Batch<'_>, now: Instant) {
        let mut bytes = BytesMut::from(batch.bytes);
        while !bytes.is_empty() {
            let datagram = bytes.split_to(batch.stride.clamp(1, bytes.len()));
            let (from, to) = (batch.from, batch.to);
            let event =
                self.endpoint.handle(now, from, to, batch.ecn, datagram, &mut self.response);
            match event {
                None => ignored(shared, from),
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    let Some(link) = self.links.get(&handle) else { continue };
                    link.conn.lock().proto.handle_event(event);
                    if !self.touched.iter().any(|touched| Arc::ptr_eq(touched, link)) {
                        self.touched.push(Arc::clone(link));
                    }
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    self.handle_incoming(shared, incoming, now);
                }
                Some(DatagramEvent::Response(transmit)) => {
                    ignored(shared, from);
                    shared.socket.send(&transmit, &self.response);
                }
            }
            self.response.clear();
        }
    }

    fn handle_incoming(&mut self, shared: &Shared, incoming: Incoming, now: Instant) {
        let remote = incoming.remote_address();
        if self.handshakes >= HANDSHAKES_MAX {
            ignored(shared, remote);
            return self.endpoint.ignore(incoming);
        }
        let must_prove = self.handshakes >= UNPROVEN_HANDSHAKES_MAX;
        if must_prove && !incoming.remote_address_validated() && incoming.may_retry() {
            if let Ok(transmit) = self.endpoint.retry(incoming, &mut self.response) {
                shared.socket.send(&transmit, &self.response);
            }
            return;
        }
        let config = shared.settings().server(remote);
        match self.endpoint.accept(incoming, now, &mut self.response, Some(config)) {
            Ok((handle, proto)) => {
                self.handshakes += 1;
                let link = Arc::new(Link::new(handle, remote, proto, Role::Unknown(None)));
                link.conn.lock().deadline = shared.wake.nanos(now + HANDSHAKE_TIME_MAX);
                self.links.insert(handle, Arc::clone(&link));
                self.touched.push(link);
            }
            Err(error) => {
                ignored(shared, remote);
                if let Some(transmit) = error.response {
                    shared.socket.send(&transmit, &self.response);
                }
            }
        }
    }

    fn run_timers(&mut self, shared: &Shared) -> bool {
        let now = Instant::now();
        let nanos = shared.wake.nanos(now);
        if nanos < shared.next_due.load(Ordering::SeqCst) {
            return false;
        }
        // From here on a connection that gets an earlier time lowers it again by itself.
        shared.next_due.store(NEVER, Ordering::SeqCst);
        for link in self.links.values() {
            let due = link.due.load(Ordering::SeqCst);
            if due > nanos {
                shared.next_due.fetch_min(due, Ordering::SeqCst);
                continue;
            }
            link.conn.lock().proto.handle_timeout(now);
            if !self.touched.iter().any(|touched| Arc::ptr_eq(touched, link)) {
                self.touched.push(Arc::clone(link));
            }
        }
        for node in self.due_dials(nanos) {
            self.dial(shared, node, now);
        }
        self.run_membership(shared, now);
        let due = self.members.values().map(|member| member.dial_at).min().unwrap_or(NEVER);
        let silence = self.membership.timeout().map_or(NEVER, |at| shared.wake.nanos(at));
        shared.next_due.fetch_min(due.min(silence), Ordering::SeqCst);
        true
    }

    fn run_membership(&mut self, shared: &Shared, now: Instant) {
        while let Some(action) = self.membership.poll(now) {
            match action {
                Action::Heartbeat(node) => self.heartbeat(node),
                Action::Lost(node, loss) => self.lose(shared, node, loss.into()),
            }
        }
    }

    /// Ends all connections at once.
    pub(super) fn end(&mut self, shared: &Shared) {
        for link in self.links.values() {
            let mut conn = link.conn.lock();
            if !matches!(conn.role, Role::Over) {
                conn.close(CloseCode::Ended, "the node's endpoint ended");
            }
            shared.transmit(link, &mut conn);
        }
        for member in self.members.values() {
            shared.drop_peer(&member.peer);
            member.peer.replace_link(None);
        }
    }

    /// Tells that somebody was turned away, unless that happens all the time.
    pub(super) fn tell_refused(&mut self, shared: &Shared, link: &Link, reason: String) {
        shared.counters.refused.add(1);
        let second = shared.wake.nanos(Instant::now()) / 1_000_000_000;
        if self.refusals.second != second {
            self.refusals = Refusals { second, told: 0 };
        }
        self.refusals.told += 1;
        if self.refusals.told <= REFUSALS_TOLD_MAX {
            tracing::warn!(addr = %link.remote, reason, "a connection was refused");
            shared.handler.event(Event::Refused { addr: link.remote, reason });
        }
    }
}

/// Counts a datagram that belonged to no connection. A few come after the ends of connections; more than that are told, each
/// time that there are twice as many.
fn ignored(shared: &Shared, addr: SocketAddr) {
    let all = shared.counters.ignored.add(1);
    if all >= IGNORED_UNTOLD_MAX && all.is_power_of_two() {
        tracing::warn!(%addr, "{all} datagrams from outside the cluster were ignored");
    }
}
