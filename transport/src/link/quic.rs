//! Nodes on a network: QUIC over one UDP socket, driven by whoever has the time.
//!
//! - A thread that sends queues its message in the peer's session and then, if nobody holds the
//!   connection, writes, encrypts and sends it itself. If somebody does, that one does it before
//!   it lets go.
//! - A thread that waits for messages calls [`QuicLink::poll`]: it reads the socket, decrypts,
//!   and hands messages to the handler, with no other thread in between.
//! - The endpoint's own thread sleeps until something arrives, or a timer is due, that nobody
//!   polls for.
//!
//! `driver` is what one thread at a time does, `members` what becomes of peers, `service` what
//! happens on a connection, `reading` what it says, `reasons` why it ends, `connection` its streams, `peer` what threads share about a peer, `wake` the sleeping, `socket`
//! the datagrams, `settings` and `congestion` what QUIC is told about networks.

mod congestion;
mod connection;
mod driver;
mod members;
mod peer;
mod reading;
mod reasons;
mod service;
mod settings;
mod socket;
mod wake;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, RwLock};

use self::{
    connection::{Conn, Link},
    driver::{Command, Driver},
    peer::{Peer, Pushed},
    settings::Settings,
    socket::Socket,
    wake::Wake,
};
use crate::{
    bootstrap::Admission,
    config::{EndpointConfig, Identity, LinkStats, Turned},
    envelope::Envelope,
    error::Error,
    handler::Handler,
    id::{Lane, NodeId},
    membership::Membership,
    tls::{self, ClusterId},
};

pub(crate) use peer::Sent;

/// One node's end of its links over a network.
pub(crate) struct QuicLink {
    shared: Arc<Shared>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What all threads use.
struct Shared {
    config: EndpointConfig,
    cluster: ClusterId,
    handler: Arc<dyn Handler>,
    socket: Socket,
    wake: Wake,
    /// Of connections that are made from now on.
    settings: RwLock<Arc<Settings>>,
    admits: bool,
    peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
    driver: Mutex<Driver>,
    commands: Mutex<VecDeque<Command>>,
    has_commands: AtomicBool,
    /// When a connection or the driver has something to do by itself.
    next_due: AtomicU64,
    counters: Counters,
    is_over: AtomicBool,
    /// Told when a peer is gone, for those who wait for all to be.
    left: Condvar,
}

/// What has happened that nobody was told of.
#[derive(Debug, Default)]
struct Counters {
    /// Datagrams that belonged to no connection.
    ignored: Counter,
    /// Connections that were turned away.
    refused: Counter,
}

#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// Gives the new count.
    fn add(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed) + count
    }
}

impl QuicLink {
    /// Listens, and admits nodes if there is an admission.
    pub(crate) fn start(
        config: EndpointConfig,
        admission: Option<Admission>,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, Error> {
        tls::check_own(&config.identity, config.node)?;
        Self::start_unchecked(config, admission, handler)
    }

    /// As [`start`](Self::start), whatever this node's own certificate says.
    fn start_unchecked(
        config: EndpointConfig,
        admission: Option<Admission>,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, Error> {
        let socket = Socket::bind(config.bind)?;
        let wake = Wake::new(&socket)
            .map_err(|cause| Error::Io { what: "waiting on a socket".into(), cause })?;
        let admits = admission.is_some();
        let settings = Settings::new(&config.identity, admits, config.timing)?;
        let cluster = ClusterId::of_authority(&config.identity.authority);
        let endpoint = quinn_proto::Endpoint::new(
            settings.endpoint(),
            Some(settings.base_server()),
            !socket.may_fragment(),
            None,
        );
        let membership = Membership::new(config.node, cluster.0, config.timing);
        let shared = Arc::new(Shared {
            cluster,
            handler,
            socket,
            wake,
            settings: RwLock::new(Arc::new(settings)),
            admits,
            peers: RwLock::new(HashMap::new()),
            driver: Mutex::new(Driver::new(endpoint, membership, admission)),
            commands: Mutex::new(VecDeque::new()),
            has_commands: AtomicBool::new(false),
            next_due: AtomicU64::new(0),
            counters: Counters::default(),
            is_over: AtomicBool::new(false),
            left: Condvar::new(),
            config,
        });
        let name = format!("faasm-link-{}", shared.config.node.0);
        let running = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || running.run())
            .map_err(|cause| Error::Io { what: "a thread for the links".into(), cause })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn add_peer(&self, node: NodeId, addrs: &[SocketAddr]) {
        let Ok(name) = tls::random() else { return };
        // 0 stands for no session.
        let name = u64::from_le_bytes(name).max(1);
        let peer = Arc::new(Peer::new(node, addrs, name, self.shared.config.limits));
        let mut peers = self.shared.peers.write();
        if peers.contains_key(&node) {
            return;
        }
        peers.insert(node, Arc::clone(&peer));
        drop(peers);
        self.shared.command(Command::Add(peer));
    }

    pub(crate) fn remove_peer(&self, node: NodeId) {
        self.shared.command(Command::Remove(node));
    }

    pub(crate) fn send(&self, node: NodeId, lane: Lane, envelope: &Envelope, payload: Sent<'_>) {
        let Some(peer) = self.shared.peer(node) else { return };
        match peer.push(lane, envelope, payload) {
            Pushed::Queued => {
                peer.wants_write.store(true, Ordering::SeqCst);
                self.shared.flush(&peer);
            }
            Pushed::TooMuch => self.shared.command(Command::GiveUp(peer)),
            Pushed::Dropped => {}
        }
    }

    /// Turns to the socket unless another thread does; true if there was anything to do.
    pub(crate) fn poll(&self) -> bool {
        let shared = &*self.shared;
        let now = shared.wake.nanos(Instant::now());
        shared.wake.note_poll(&shared.socket, now);
        let Some(mut driver) = shared.driver.try_lock() else { return false };
        let is_busy = driver.turn(shared);
        if is_busy {
            // A turn may have taken longer than the endpoint's thread waits for a poll.
            shared.wake.note_poll(&shared.socket, shared.wake.nanos(Instant::now()));
        }
        is_busy
    }

    /// The calling thread will not poll for a while: what arrives wakes the endpoint's thread.
    pub(crate) fn rest(&self) {
        self.shared.wake.arm(&self.shared.socket);
    }

    pub(crate) fn shutdown(&self, grace: Duration) {
        let shared = &*self.shared;
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let nodes: Vec<NodeId> = shared.peers.read().keys().copied().collect();
        nodes.into_iter().for_each(|node| self.remove_peer(node));
        let deadline = Instant::now() + grace;
        loop {
            // Without the wait a thread that holds the driver would not get to the commands.
            let mut driver = shared.driver.lock();
            driver.turn(shared);
            let is_empty = driver.members.is_empty();
            if is_empty || shared.left.wait_until(&mut driver, deadline).timed_out() {
                break;
            }
        }
        self.end();
    }

    pub(crate) fn renew(&self, identity: &Identity) -> Result<(), Error> {
        let shared = &*self.shared;
        tls::check_own(identity, shared.config.node)?;
        let settings = Settings::new(identity, shared.admits, shared.config.timing)?;
        *shared.settings.write() = Arc::new(settings);
        shared.command(Command::Renewed);
        Ok(())
    }

    pub(crate) fn node(&self) -> NodeId {
        self.shared.config.node
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.shared.socket.local_addr()
    }

    pub(crate) fn stats(&self, node: NodeId) -> Option<LinkStats> {
        let link = self.shared.peer(node)?.link()?;
        let path = link.conn.lock().proto.stats().path;
        Some(LinkStats {
            round_trip: path.rtt,
            datagram_bytes: path.current_mtu,
            window_bytes: path.cwnd,
            sent_datagrams: path.sent_packets,
            lost_datagrams: path.lost_packets,
        })
    }

    pub(crate) fn turned_away(&self) -> Turned {
        let count = |counter: &Counter| counter.0.load(Ordering::Relaxed);
        let Counters { ignored, refused } = &self.shared.counters;
        Turned { ignored_datagrams: count(ignored), refused: count(refused) }
    }

    pub(crate) fn backlog_bytes(&self, node: NodeId, lane: Lane) -> usize {
        self.shared.peer(node).map_or(0, |peer| peer.session().backlog_bytes(lane))
    }

    /// Ends at once; peers are told if a datagram reaches them.
    fn end(&self) {
        if self.shared.is_over.swap(true, Ordering::SeqCst) {
            return;
        }
        self.shared.wake.notify();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}

impl Drop for QuicLink {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for QuicLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicLink").field("addr", &self.local_addr()).finish_non_exhaustive()
    }
}

impl Shared {
    /// What the endpoint's own thread does.
    fn run(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            self.wake.sleep(&self.socket, || self.next_due.load(Ordering::SeqCst));
            // Whoever polls goes on; a command may be its or this thread's.
            while !self.wake.is_polled() || self.has_commands.load(Ordering::SeqCst) {
                if !self.driver.lock().turn(self) {
                    break;
                }
            }
        }
        self.driver.lock().end(self);
    }

    /// Writes and sends what waits for a peer, unless another thread is about to.
    fn flush(&self, peer: &Peer) {
        while peer.wants_write.load(Ordering::SeqCst) {
            let Some(link) = peer.link() else { return };
            let Some(mut conn) = link.conn.try_lock() else { return };
            peer.wants_write.store(false, Ordering::SeqCst);
            conn.write_frames(peer);
            if self.transmit(&link, &mut conn) {
                peer.wants_write.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Sends what a connection has to send, and keeps its timer; true if there is more.
    fn transmit(&self, link: &Link, conn: &mut Conn) -> bool {
        let sending = conn.transmit(&self.socket, |at| self.wake.nanos(at));
        link.due.store(sending.due, Ordering::SeqCst);
        if self.next_due.fetch_min(sending.due, Ordering::SeqCst) > sending.due {
            self.wake.notify_timer(sending.due);
        }
        sending.has_more
    }

    fn command(&self, command: Command) {
        self.commands.lock().push_back(command);
        self.has_commands.store(true, Ordering::SeqCst);
        self.wake.notify();
    }

    fn next_command(&self) -> Option<Command> {
        if !self.has_commands.load(Ordering::SeqCst) {
            return None;
        }
        let mut commands = self.commands.lock();
        let command = commands.pop_front();
        self.has_commands.store(!commands.is_empty(), Ordering::SeqCst);
        command
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().get(&node).cloned()
    }

    /// Forgets a peer unless it was added anew meanwhile.
    fn drop_peer(&self, peer: &Arc<Peer>) {
        peer.close(self.config.limits);
        let mut peers = self.peers.write();
        if peers.get(&peer.node).is_some_and(|current| Arc::ptr_eq(current, peer)) {
            peers.remove(&peer.node);
        }
    }

    /// Whether this node dials a peer, or waits for it.
    fn dials(&self, node: NodeId) -> bool {
        self.config.node > node
    }
}

#[cfg(test)]
mod tests;
