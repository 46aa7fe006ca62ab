//! Who is a member, who is heard of, and who is given up.
//!
//! A peer that was sent nothing for a heartbeat interval is sent a heartbeat; one that nothing was
//! heard of for a while is lost, once and for all: it has to be added anew. Silence counts only
//! while this process was awake: if it was stopped, or its machine asleep, no peer is given up for
//! not having been heard meanwhile.
//!
//! Pure: time is an argument. May import `config`, `id` and `lane`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    config::{NODES_MAX, Timing},
    id::NodeId,
    lane::Hello,
};

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Send the peer something that shows that this node is alive.
    Heartbeat(NodeId),
    /// Give the peer up.
    Lost(NodeId, Loss),
}

/// Why a peer is given up.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Loss {
    /// Nothing was heard of it for this long.
    Silent(Duration),
    /// It was never heard of in this time.
    Unreachable(Duration),
}

/// Where a peer stands.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// It was added and has not been heard of.
    Joining,
    /// It is heard of.
    Up,
    /// It is heard of, and is to get no new work.
    Draining,
    /// It has left in order.
    Left,
    /// It was given up.
    Lost,
}

/// Why a greeting is not answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It belongs to another coordinator's run.
    #[error(
        "{node} belongs to another run of the cluster ({theirs:016x}, here {ours:016x}): two \
         coordinators use the same addresses, or a node of an earlier run is still alive; end one \
         of them"
    )]
    OtherCluster {
        /// Who greeted.
        node: NodeId,
        /// Its cluster.
        theirs: u64,
        /// This node's.
        ours: u64,
    },
    /// It has this node's own name.
    #[error("{0} is this node's own name: each node needs a number of its own")]
    OwnName(NodeId),
    /// It was not added.
    #[error("{0} is no peer of this node")]
    Unknown(NodeId),
    /// It was given up or has left.
    #[error("{0} is no peer of this node any more: it was given up, or left; it has to join anew")]
    Gone(NodeId),
}

/// All peers at one moment. A later view has a higher epoch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct View {
    /// Counts the changes.
    pub epoch: u64,
    /// The peers, in the order of their names.
    pub peers: Vec<(NodeId, State)>,
}

/// What one node knows of its peers.
///
/// - Commands: [`add`](Self::add), [`remove`](Self::remove), [`drain`](Self::drain).
/// - Events: [`handle_hello`](Self::handle_hello), [`handle_heard`](Self::handle_heard),
///   [`handle_sent`](Self::handle_sent), [`handle_left`](Self::handle_left).
/// - Then [`poll`](Self::poll) until it has nothing more, and again at
///   [`timeout`](Self::timeout). If nothing is called for much longer, this process was stopped.
#[derive(Debug)]
pub struct Membership {
    node: NodeId,
    cluster: u64,
    timing: Timing,
    epoch: u64,
    peers: BTreeMap<NodeId, Peer>,
    /// When this process was last seen to run.
    awake: Option<Instant>,
}

#[derive(Debug)]
struct Peer {
    state: State,
    heard: Instant,
    sent: Instant,
}

impl Membership {
    /// A node without peers. `cluster` names the coordinator's run.
    pub fn new(node: NodeId, cluster: u64, timing: Timing) -> Self {
        Self { node, cluster, timing, epoch: 0, peers: BTreeMap::new(), awake: None }
    }

    /// Adds a peer, or one anew that was lost or has left; a present one stays as it is.
    /// False if there are [`NODES_MAX`] already, or it is this node itself.
    pub fn add(&mut self, node: NodeId, now: Instant) -> bool {
        self.forgive_pause(now);
        let is_present = self.peers.get(&node).is_some_and(Peer::is_alive);
        if is_present {
            return true;
        }
        if node == self.node || self.peers.len() >= NODES_MAX {
            return false;
        }
        self.peers.insert(node, Peer { state: State::Joining, heard: now, sent: now });
        self.epoch += 1;
        true
    }

    /// Forgets a peer.
    pub fn remove(&mut self, node: NodeId) {
        self.epoch += u64::from(self.peers.remove(&node).is_some());
    }

    /// Marks a peer as one that is to get no new work; false if it is not there.
    pub fn drain(&mut self, node: NodeId) -> bool {
        let is_alive = self.peers.get(&node).is_some_and(Peer::is_alive);
        if is_alive {
            self.set(node, State::Draining);
        }
        is_alive
    }

    /// A peer greets.
    ///
    /// # Errors
    /// It is no peer of this node: its connection is to be closed with this reason.
    pub fn handle_hello(&mut self, hello: &Hello, now: Instant) -> Result<(), Refusal> {
        let node = hello.node;
        if hello.cluster != self.cluster {
            let (theirs, ours) = (hello.cluster, self.cluster);
            return Err(Refusal::OtherCluster { node, theirs, ours });
        }
        if node == self.node {
            return Err(Refusal::OwnName(node));
        }
        let peer = self.peers.get(&node).ok_or(Refusal::Unknown(node))?;
        if !peer.is_alive() {
            return Err(Refusal::Gone(node));
        }
        self.handle_heard(node, now);
        Ok(())
    }

    /// Something arrived from a peer.
    pub fn handle_heard(&mut self, node: NodeId, now: Instant) {
        self.forgive_pause(now);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.heard = peer.heard.max(now);
        if peer.state == State::Joining {
            self.set(node, State::Up);
        }
    }

    /// Something was sent to a peer: it needs no heartbeat for a while.
    pub fn handle_sent(&mut self, node: NodeId, now: Instant) {
        self.forgive_pause(now);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.sent = peer.sent.max(now);
        }
    }

    /// A peer has left in order.
    pub fn handle_left(&mut self, node: NodeId) {
        if self.peers.get(&node).is_some_and(Peer::is_alive) {
            self.set(node, State::Left);
        }
    }

    /// A peer cannot be talked to any more, whatever is heard of it.
    pub fn handle_lost(&mut self, node: NodeId) {
        if self.peers.get(&node).is_some_and(Peer::is_alive) {
            self.set(node, State::Lost);
        }
    }

    /// The next thing to do. A heartbeat is taken to be sent.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        self.forgive_pause(now);
        let timing = self.timing;
        let (node, peer) = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.is_alive())
            .find(|(_, peer)| peer.due(&timing) <= now)?;
        let silence = now.saturating_duration_since(peer.heard);
        if silence < timing.lost_after {
            peer.sent = now;
            return Some(Action::Heartbeat(*node));
        }
        let (node, was_heard) = (*node, peer.state != State::Joining);
        self.set(node, State::Lost);
        let loss = if was_heard { Loss::Silent(silence) } else { Loss::Unreachable(silence) };
        Some(Action::Lost(node, loss))
    }

    /// When [`poll`](Self::poll) is to be called again, if nothing happens before.
    pub fn timeout(&self) -> Option<Instant> {
        let alive = self.peers.values().filter(|peer| peer.is_alive());
        alive.map(|peer| peer.due(&self.timing)).min()
    }

    /// Where a peer stands; none if it was not added.
    pub fn state(&self, node: NodeId) -> Option<State> {
        self.peers.get(&node).map(|peer| peer.state)
    }

    /// All peers at this moment.
    pub fn view(&self) -> View {
        let peers = self.peers.iter().map(|(node, peer)| (*node, peer.state)).collect();
        View { epoch: self.epoch, peers }
    }

    fn set(&mut self, node: NodeId, state: State) {
        if let Some(peer) = self.peers.get_mut(&node)
            && peer.state != state
        {
            peer.state = state;
            self.epoch += 1;
        }
    }

    /// Silence of a time in which this process did not run is not the peers'.
    fn forgive_pause(&mut self, now: Instant) {
        let awake = *self.awake.get_or_insert(now);
        self.awake = Some(awake.max(now));
        let pause = now.saturating_duration_since(awake);
        let usual = self.timing.heartbeat_interval;
        if pause <= 2 * usual {
            return;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.heard < now) {
            peer.heard = (peer.heard + (pause - usual)).min(now);
        }
    }
}

impl Peer {
    fn is_alive(&self) -> bool {
        !matches!(self.state, State::Left | State::Lost)
    }

    fn due(&self, timing: &Timing) -> Instant {
        (self.sent + timing.heartbeat_interval).min(self.heard + timing.lost_after)
    }
}

#[cfg(test)]
mod tests;
