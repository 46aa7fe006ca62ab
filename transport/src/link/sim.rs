//! A network that loses, delays, doubles and mixes up what a seed decides, in virtual time.
//!
//! The nodes are carried by the cores that real links are carried by: `frame`, `lane` and
//! `membership`. Nothing moves unless [`SimNetwork::step`] is called or an endpoint is polled;
//! driven by one thread, a seed decides everything that happens.

mod faults;
mod node;

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;

pub use faults::Faults;
use faults::{Packet, Wires};
use node::{Call, Node, Outputs};

use crate::{
    config::{Limits, Timing},
    envelope::Envelope,
    error::Error,
    handler::Handler,
    id::{Lane, NodeId},
};

/// A simulated network; cheap to clone.
#[derive(Clone)]
pub struct SimNetwork(Arc<Shared>);

struct Shared {
    world: Mutex<World>,
    /// Held while handlers are called.
    delivery: Mutex<()>,
}

struct World {
    start: Instant,
    now: Instant,
    timing: Timing,
    limits: Limits,
    wires: Wires,
    nodes: BTreeMap<NodeId, Node>,
    events: BinaryHeap<Reverse<Scheduled>>,
    /// The timeout of each node that counts; others in `events` are of the past.
    timers: BTreeMap<NodeId, Instant>,
    /// Events that were ever scheduled: those of one moment happen in this order.
    scheduled: u64,
    calls: VecDeque<(NodeId, Call)>,
}

struct Scheduled {
    at: Instant,
    number: u64,
    what: What,
}

enum What {
    Arrival { from: NodeId, to: NodeId, packet: Packet },
    Timeout(NodeId),
}

impl SimNetwork {
    /// An empty network.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::with_settings(seed, faults, Timing::default(), Limits::default())
    }

    /// An empty network whose nodes have other settings than the usual ones.
    pub fn with_settings(seed: u64, faults: Faults, timing: Timing, limits: Limits) -> Self {
        let start = Instant::now();
        let world = World {
            start,
            now: start,
            timing,
            limits,
            wires: Wires::new(seed, faults),
            nodes: BTreeMap::new(),
            events: BinaryHeap::new(),
            timers: BTreeMap::new(),
            scheduled: 0,
            calls: VecDeque::new(),
        };
        Self(Arc::new(Shared { world: Mutex::new(world), delivery: Mutex::new(()) }))
    }

    /// Makes the next thing happen, and time pass until then. False when nothing is to happen, or
    /// another thread does it.
    pub fn step(&self) -> bool {
        let Some(_delivery) = self.0.delivery.try_lock() else { return false };
        let has_stepped = self.0.world.lock().step();
        self.call_handlers() || has_stepped
    }

    /// Steps until this much virtual time has passed.
    pub fn run_for(&self, time: Duration) {
        let end = self.0.world.lock().now + time;
        while self.0.world.lock().next_at().is_some_and(|at| at <= end) && self.step() {}
        let mut world = self.0.world.lock();
        world.now = world.now.max(end);
    }

    /// Steps until `is_done`, while other threads use the endpoints. Time runs ahead when they do
    /// nothing; what happens then depends on them as well as on the seed.
    pub fn run_until(&self, mut is_done: impl FnMut() -> bool) {
        while !is_done() {
            self.step();
            thread::yield_now();
        }
    }

    /// Makes the network better or worse.
    pub fn set_faults(&self, faults: Faults) {
        self.0.world.lock().wires.set_faults(faults);
    }

    /// Lets nothing pass between two nodes any more.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.0.world.lock().wires.cut(a, b, true);
    }

    /// Lets packets pass again.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.0.world.lock().wires.cut(a, b, false);
    }

    /// Breaks the connection between two nodes; `a` notices at once.
    pub fn reset(&self, a: NodeId, b: NodeId) {
        self.0.world.lock().reset(a, b);
    }

    /// Ends a node as a power failure would.
    pub fn kill(&self, node: NodeId) {
        let mut world = self.0.world.lock();
        world.nodes.remove(&node);
        world.timers.remove(&node);
        world.calls.retain(|(at, _)| *at != node);
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        let world = self.0.world.lock();
        world.now - world.start
    }

    /// Asserts what always holds; for tests.
    pub fn check_invariants(&self) {
        self.0.world.lock().nodes.values().for_each(Node::check_invariants);
    }

    /// Puts a node on the network.
    pub(crate) fn join(&self, node: NodeId, handler: Arc<dyn Handler>) -> Result<SimLink, Error> {
        let mut world = self.0.world.lock();
        if world.nodes.contains_key(&node) {
            return Err(Error::NodeTaken(node));
        }
        let joined = Node::new(node, handler, (world.timing, world.limits), world.scheduled);
        world.nodes.insert(node, joined);
        Ok(SimLink { network: self.clone(), node })
    }

    fn call_handlers(&self) -> bool {
        let mut has_called = false;
        loop {
            let mut world = self.0.world.lock();
            let Some((node, call)) = world.calls.pop_front() else { return has_called };
            let Some(handler) = world.nodes.get(&node).map(|node| node.handler.clone()) else {
                continue;
            };
            drop(world);
            has_called = true;
            match call {
                Call::Message { from, lane, envelope, payload } => {
                    handler.message(from, lane, &envelope, payload);
                }
                Call::Event(event) => handler.event(event),
                Call::Drained(peer, lane) => handler.drained(peer, lane),
            }
        }
    }
}

impl World {
    fn step(&mut self) -> bool {
        let Some(Reverse(Scheduled { at, what, .. })) = self.events.pop() else { return false };
        self.now = self.now.max(at);
        match what {
            What::Timeout(node) => {
                if self.timers.get(&node) == Some(&at) {
                    self.timers.remove(&node);
                    self.act(node, |node, now, out| {
                        // What it was set for may have been put off.
                        if node.timeout().is_some_and(|at| at <= now) {
                            node.handle_timeout(now, out);
                        }
                    });
                }
            }
            What::Arrival { from, to, packet } => {
                if self.nodes.contains_key(&to) && self.wires.arrives(from, to, &packet) {
                    self.act(to, |node, now, out| node.handle_packet(from, packet, now, out));
                }
            }
        }
        true
    }

    /// Lets a node do something, and carries out what it wants.
    fn act(&mut self, name: NodeId, act: impl FnOnce(&mut Node, Instant, &mut Outputs)) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&name) else { return };
        let mut out = Outputs::default();
        act(node, now, &mut out);
        let timeout = node.timeout().map(|at| at.max(now));
        if let Some(at) = timeout.filter(|at| self.timers.get(&name).is_none_or(|set| at < set)) {
            self.timers.insert(name, at);
            self.schedule(at, What::Timeout(name));
        }
        self.calls.extend(out.calls.into_iter().map(|call| (name, call)));
        for (to, packet) in out.packets {
            for (at, packet) in self.wires.send(name, to, packet, now) {
                self.schedule(at, What::Arrival { from: name, to, packet });
            }
        }
    }

    fn schedule(&mut self, at: Instant, what: What) {
        self.scheduled += 1;
        self.events.push(Reverse(Scheduled { at, number: self.scheduled, what }));
    }

    fn reset(&mut self, a: NodeId, b: NodeId) {
        let connection = self.nodes.get(&a).and_then(|node| node.connection(b));
        if let Some(connection) = connection {
            self.wires.reset(a, b, connection);
            self.act(a, |node, now, _| node.close(b, now));
        }
    }

    fn next_at(&self) -> Option<Instant> {
        if self.calls.is_empty() {
            self.events.peek().map(|Reverse(next)| next.at)
        } else {
            Some(self.now)
        }
    }
}

/// A node's end of a [`SimNetwork`].
pub(crate) struct SimLink {
    network: SimNetwork,
    node: NodeId,
}

impl SimLink {
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn add_peer(&self, peer: NodeId) {
        self.act(|node, now, _| node.add_peer(peer, now));
    }

    pub(crate) fn remove_peer(&self, peer: NodeId) {
        self.act(|node, now, out| node.remove_peer(peer, now, out));
    }

    pub(crate) fn send(&self, peer: NodeId, lane: Lane, envelope: &Envelope, payload: Bytes) {
        self.act(|node, now, out| node.send((peer, lane), envelope, payload, now, out));
    }

    pub(crate) fn backlog_bytes(&self, peer: NodeId, lane: Lane) -> usize {
        let world = self.network.0.world.lock();
        world.nodes.get(&self.node).map_or(0, |node| node.backlog_bytes(peer, lane))
    }

    pub(crate) fn poll(&self) -> bool {
        self.network.step()
    }

    /// Leaves all peers in order, or after `grace` of virtual time in any case.
    pub(crate) fn shutdown(&self, grace: Duration) {
        let end = self.network.elapsed() + grace;
        self.act(Node::leave);
        while self.has_peers() && self.network.elapsed() < end && self.network.step() {}
        self.network.kill(self.node);
    }

    fn has_peers(&self) -> bool {
        let world = self.network.0.world.lock();
        world.nodes.get(&self.node).is_some_and(Node::has_peers)
    }

    fn act(&self, act: impl FnOnce(&mut Node, Instant, &mut Outputs)) {
        self.network.0.world.lock().act(self.node, act);
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.0.world.lock();
        write!(f, "SimNetwork({:?}, {:?})", world.now - world.start, world.nodes.keys())
    }
}

#[cfg(test)]
mod tests;
