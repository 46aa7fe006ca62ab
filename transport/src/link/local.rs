//! Nodes of one process: messages are moved between queues.
//!
//! Every endpoint has one queue for all that arrives at it, so messages and events keep their
//! order. A thread of the endpoint empties it, or whoever calls `poll`; never both at once. The
//! network's lock is taken before a queue's, and neither is held while a handler runs.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::{
    config::Limits,
    envelope::Envelope,
    error::Error,
    handler::{Event, Handler, LostReason},
    id::{Lane, NodeId},
};

/// A network inside this process, for embedded use and tests.
///
/// Cheap to clone. A link between two nodes is up when each has added the other; what is sent
/// before waits.
#[derive(Clone, Default)]
pub struct LocalNetwork(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_polled: bool,
    topology: Mutex<Topology>,
}

#[derive(Default)]
struct Topology {
    members: BTreeMap<NodeId, Arc<Member>>,
    /// What the first node thinks of the second.
    sides: BTreeMap<(NodeId, NodeId), Side>,
}

/// One node's view of a peer.
struct Side {
    state: State,
    backlog: Arc<Backlog>,
}

enum State {
    /// The peer has not added this node yet; what was sent to it meanwhile.
    Waiting(Vec<Item>),
    Up,
    Lost,
}

/// Bytes that were sent and not yet handed to the receiver, per lane.
type Backlog = [AtomicUsize; Lane::ALL.len()];

struct Member {
    node: NodeId,
    handler: Arc<dyn Handler>,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    /// Held while the handler is called.
    delivery: Mutex<()>,
}

#[derive(Default)]
struct Inbox {
    items: VecDeque<Item>,
    is_closed: bool,
}

enum Item {
    Message(Message),
    Event(Event),
    Drained(NodeId, Lane),
}

struct Message {
    from: NodeId,
    lane: Lane,
    envelope: Envelope,
    payload: Bytes,
    backlog: Arc<Backlog>,
}

impl LocalNetwork {
    /// An empty network whose endpoints have threads of their own.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty network without threads: messages arrive when the receiver is polled, and only then.
    pub fn polled() -> Self {
        Self(Arc::new(Shared { is_polled: true, topology: Mutex::default() }))
    }

    /// Ends a node as a power failure would: it handles nothing more, and the nodes that have
    /// added it lose it. Unknown nodes are ignored.
    pub fn kill(&self, node: NodeId) {
        let mut topology = self.0.topology.lock();
        let Some(member) = topology.members.remove(&node) else { return };
        member.close();
        topology.sides.retain(|(from, _), _| *from != node);
        let event = Event::PeerLost { node, reason: LostReason::Ended };
        for peer in topology.lose(node) {
            peer.push(Item::Event(event.clone()));
        }
    }

    /// Puts a node on the network.
    pub(crate) fn join(&self, node: NodeId, handler: Arc<dyn Handler>) -> Result<LocalLink, Error> {
        let member = Arc::new(Member {
            node,
            handler,
            inbox: Mutex::default(),
            arrived: Condvar::new(),
            delivery: Mutex::new(()),
        });
        let mut topology = self.0.topology.lock();
        if topology.members.contains_key(&node) {
            return Err(Error::NodeTaken(node));
        }
        if !self.0.is_polled {
            start_thread(self.clone(), member.clone())
                .map_err(|cause| Error::Io { what: format!("a thread of {node}"), cause })?;
        }
        topology.members.insert(node, member.clone());
        drop(topology);
        Ok(LocalLink { network: self.clone(), member })
    }

    /// Hands over what has arrived at a node, unless another thread does; true if anything had.
    fn deliver(&self, member: &Member) -> bool {
        let Some(_delivery) = member.delivery.try_lock() else { return false };
        self.deliver_all(member)
    }

    fn deliver_all(&self, member: &Member) -> bool {
        let mut has_delivered = false;
        loop {
            let item = member.inbox.lock().items.pop_front();
            let Some(item) = item else { return has_delivered };
            has_delivered = true;
            match item {
                Item::Event(event) => member.handler.event(event),
                Item::Drained(peer, lane) => member.handler.drained(peer, lane),
                Item::Message(message) => self.hand_over(member, message),
            }
        }
    }

    fn hand_over(&self, member: &Member, message: Message) {
        let Message { from, lane, envelope, payload, backlog } = message;
        let bytes = payload.len();
        member.handler.message(from, lane, &envelope, payload.into());
        let before = backlog[lane as usize].fetch_sub(bytes, Ordering::AcqRel);
        let mark = Limits::default().drained_bytes;
        if before >= mark && before - bytes < mark {
            let sender = self.0.topology.lock().members.get(&from).cloned();
            sender.inspect(|sender| sender.push(Item::Drained(member.node, lane)));
        }
    }
}

impl fmt::Debug for LocalNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.topology.lock().members.keys()).finish()
    }
}

impl Topology {
    /// Marks `node` as lost at those that have added it, and names them.
    fn lose(&mut self, node: NodeId) -> Vec<Arc<Member>> {
        let mut losers = Vec::new();
        for ((from, to), side) in &mut self.sides {
            if *to == node && !matches!(side.state, State::Lost) {
                side.state = State::Lost;
                losers.extend(self.members.get(from).cloned());
            }
        }
        losers
    }

    /// Opens the way from one node to another: news of the link first, then what has waited.
    fn open(&mut self, from: NodeId, to: NodeId) {
        let Some(receiver) = self.members.get(&to) else { return };
        let Some(side) = self.sides.get_mut(&(from, to)) else { return };
        if let State::Waiting(waiting) = std::mem::replace(&mut side.state, State::Up) {
            receiver.push(Item::Event(Event::PeerUp(from)));
            waiting.into_iter().for_each(|item| receiver.push(item));
        }
    }
}

impl Member {
    fn push(&self, item: Item) {
        let mut inbox = self.inbox.lock();
        if !inbox.is_closed {
            inbox.items.push_back(item);
            drop(inbox);
            self.arrived.notify_one();
        }
    }

    fn close(&self) {
        let mut inbox = self.inbox.lock();
        inbox.is_closed = true;
        inbox.items.clear();
        drop(inbox);
        self.arrived.notify_all();
    }

    /// Sleeps until something has arrived; false when the node has left.
    fn wait(&self) -> bool {
        let mut inbox = self.inbox.lock();
        while inbox.items.is_empty() && !inbox.is_closed {
            self.arrived.wait(&mut inbox);
        }
        !inbox.is_closed
    }
}

fn start_thread(network: LocalNetwork, member: Arc<Member>) -> io::Result<()> {
    let run = move || {
        while member.wait() {
            let _delivery = member.delivery.lock();
            network.deliver_all(&member);
        }
    };
    thread::Builder::new().name("faasm-link".into()).spawn(run).map(drop)
}

/// A node's end of a [`LocalNetwork`]; leaves it when dropped.
pub(crate) struct LocalLink {
    network: LocalNetwork,
    member: Arc<Member>,
}

impl LocalLink {
    pub(crate) fn node(&self) -> NodeId {
        self.member.node
    }

    pub(crate) fn add_peer(&self, peer: NodeId) {
        let node = self.node();
        let mut topology = self.network.0.topology.lock();
        if peer == node || !topology.members.contains_key(&node) {
            return;
        }
        if topology.sides.get(&(node, peer)).is_some_and(|side| !matches!(side.state, State::Lost))
        {
            return;
        }
        let side = Side { state: State::Waiting(Vec::new()), backlog: Arc::default() };
        topology.sides.insert((node, peer), side);
        let waits = topology.sides.get(&(peer, node));
        if waits.is_some_and(|side| matches!(side.state, State::Waiting(_))) {
            topology.open(node, peer);
            topology.open(peer, node);
        }
    }

    pub(crate) fn remove_peer(&self, peer: NodeId) {
        let node = self.node();
        let mut topology = self.network.0.topology.lock();
        topology.sides.remove(&(node, peer));
        let back = topology.sides.get(&(peer, node));
        if back.is_some_and(|side| matches!(side.state, State::Up)) {
            topology.sides.remove(&(peer, node));
            let peer = topology.members.get(&peer);
            peer.inspect(|peer| peer.push(Item::Event(Event::PeerLeft(node))));
        }
    }

    pub(crate) fn send(&self, peer: NodeId, lane: Lane, envelope: &Envelope, payload: Bytes) {
        let node = self.node();
        let mut topology = self.network.0.topology.lock();
        let Topology { members, sides } = &mut *topology;
        let Some(side) = sides.get_mut(&(node, peer)) else { return };
        let (envelope, backlog) = (*envelope, side.backlog.clone());
        backlog[lane as usize].fetch_add(payload.len(), Ordering::AcqRel);
        let item = Item::Message(Message { from: node, lane, envelope, payload, backlog });
        match &mut side.state {
            State::Waiting(waiting) => waiting.push(item),
            State::Up => {
                members.get(&peer).inspect(|receiver| receiver.push(item));
            }
            State::Lost => {}
        }
    }

    pub(crate) fn backlog_bytes(&self, peer: NodeId, lane: Lane) -> usize {
        let topology = self.network.0.topology.lock();
        match topology.sides.get(&(self.node(), peer)) {
            Some(side) if !matches!(side.state, State::Lost) => {
                side.backlog[lane as usize].load(Ordering::Acquire)
            }
            _ => 0,
        }
    }

    pub(crate) fn poll(&self) -> bool {
        self.network.deliver(&self.member)
    }

    /// Leaves all peers, after what was sent to them is delivered or `grace` is over.
    pub(crate) fn shutdown(&self, grace: Duration) {
        let end = Instant::now().checked_add(grace);
        while self.has_backlog() && end.is_none_or(|end| Instant::now() < end) {
            if !self.poll() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let node = self.node();
        let is_here = |topology: &Topology| {
            topology.members.get(&node).is_some_and(|member| Arc::ptr_eq(member, &self.member))
        };
        let mut topology = self.network.0.topology.lock();
        if is_here(&topology) {
            let peers: Vec<NodeId> =
                topology.sides.keys().filter(|k| k.0 == node).map(|k| k.1).collect();
            drop(topology);
            peers.into_iter().for_each(|peer| self.remove_peer(peer));
            topology = self.network.0.topology.lock();
            topology.members.remove(&node);
        }
        drop(topology);
        self.member.close();
    }

    fn has_backlog(&self) -> bool {
        let node = self.node();
        self.network.0.topology.lock().sides.iter().any(|((from, _), side)| {
            *from == node
                && matches!(side.state, State::Up)
                && side.backlog.iter().any(|bytes| bytes.load(Ordering::Acquire) > 0)
        })
    }
}

impl Drop for LocalLink {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

#[cfg(test)]
mod tests;
