//! Peers come, are dialled, and go.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    Shared,
    connection::{CloseCode, Link, Role},
    driver::{Driver, Member},
    peer::Peer,
    wake::{NEVER, Nanos},
};
use crate::{
    config::LANE_BACKLOG_BYTES_MAX,
    handler::{Event, LostReason},
    id::NodeId,
    tls,
};

/// Times that the pause between two attempts to dial doubles.
const REDIAL_DOUBLINGS_MAX: u32 = 4;
const GIVEN_UP: &str = "this node was given up, or left";

impl Driver {
    /// An acknowledgement shows as well as anything that this node is alive.
    pub(super) fn heartbeat(&mut self, node: NodeId) {
        let Some(link) = self.members.get(&node).and_then(|member| member.peer.link()) else {
            return;
        };
        let mut conn = link.conn.lock();
        if let Role::Member(peer) = &conn.role
            && conn.is_greeted
        {
            let signal = peer.session().acknowledgement();
            conn.write_signal(&signal);
        }
        drop(conn);
        self.touched.push(link);
    }

    pub(super) fn due_dials(&self, now: Nanos) -> Vec<NodeId> {
        let due = self.members.iter().filter(|(_, member)| member.dial_at <= now);
        due.map(|(node, _)| *node).collect()
    }

    pub(super) fn dial(&mut self, shared: &Shared, node: NodeId, now: Instant) {
        let Some(member) = self.members.get_mut(&node) else { return };
        member.dial_at = NEVER;
        let addrs = &member.peer.addrs;
        let Some(&remote) = addrs.get(member.attempts as usize % addrs.len().max(1)) else {
            return;
        };
        member.attempts += 1;
        let remote = shared.socket.reachable(remote);
        let config = shared.settings().client(remote);
        let name = tls::node_name(shared.cluster, node);
        match self.endpoint.connect(now, config, remote, &name) {
            Ok((handle, proto)) => {
                let link = Link::new(handle, remote, proto, Role::Unknown(Some(node)));
                let link = Arc::new(link);
                self.links.insert(handle, Arc::clone(&link));
                self.touched.push(link);
            }
            Err(error) => {
                tracing::warn!(%node, addr = %remote, %error, "a node cannot be dialled");
                self.redial(shared, node);
            }
        }
    }

    /// Dials again, the later the more often it was in vain.
    pub(super) fn redial(&mut self, shared: &Shared, node: NodeId) {
        let Some(member) = self.members.get_mut(&node) else { return };
        if shared.dials(node) {
            let doublings = member.attempts.saturating_sub(1).min(REDIAL_DOUBLINGS_MAX);
            let pause = shared.config.timing.redial_interval * (1 << doublings);
            let pause = if member.attempts == 0 { Duration::ZERO } else { pause };
            member.dial_at = shared.wake.nanos(Instant::now() + pause);
            shared.next_due.fetch_min(member.dial_at, Ordering::SeqCst);
        }
    }

    pub(super) fn add(&mut self, shared: &Shared, peer: Arc<Peer>) {
        let node = peer.node;
        if !self.membership.add(node, Instant::now()) {
            tracing::warn!(%node, "a peer cannot be added: it is this node, or there are too many");
            shared.drop_peer(&peer);
            return;
        }
        let member = Member { peer, is_up: false, is_leaving: false, dial_at: NEVER, attempts: 0 };
        self.members.insert(node, member);
        // Membership has a new time to look after.
        shared.next_due.store(0, Ordering::SeqCst);
        if let Some(link) = self.early.remove(&node) {
            let mut conn = link.conn.lock();
            self.attach(shared, &link, &mut conn, node);
            // What it has said until now was left unread, and nothing would tell of it again.
            if let Err(violation) = self.read_all(shared, &link, &mut conn) {
                self.handle_violation(shared, &link, &mut conn, violation);
            }
            drop(conn);
            self.touched.push(link);
        } else {
            self.redial(shared, node);
        }
    }

    pub(super) fn remove(&mut self, shared: &Shared, node: NodeId) {
        let Some(member) = self.members.get_mut(&node) else { return };
        member.is_leaving = true;
        member.peer.leave();
        match member.peer.link() {
            Some(link) => self.touched.push(link),
            None if member.is_up => {}
            None => self.forget(shared, node, CloseCode::Left),
        }
    }

    /// Gives a peer up that takes less than is sent to it.
    pub(super) fn give_up(&mut self, shared: &Shared, peer: &Arc<Peer>) {
        let is_current =
            self.members.get(&peer.node).is_some_and(|member| Arc::ptr_eq(&member.peer, peer));
        if is_current {
            self.lose(shared, peer.node, LostReason::Behind(LANE_BACKLOG_BYTES_MAX));
        }
    }

    /// Gives a peer up.
    pub(super) fn lose(&mut self, shared: &Shared, node: NodeId, reason: LostReason) {
        let Some(member) = self.members.get(&node) else { return };
        let is_leaving = member.is_leaving;
        tracing::debug!(%node, %reason, "a peer is lost");
        self.membership.handle_lost(node);
        self.forget(shared, node, CloseCode::Refused);
        if !is_leaving {
            shared.handler.event(Event::PeerLost { node, reason });
        }
    }

    /// Ends all that was between this node and a peer.
    pub(super) fn forget(&mut self, shared: &Shared, node: NodeId, code: CloseCode) {
        let Some(member) = self.members.remove(&node) else { return };
        if code == CloseCode::Left {
            self.membership.remove(node);
        }
        shared.drop_peer(&member.peer);
        if let Some(link) = member.peer.replace_link(None) {
            let mut conn = link.conn.lock();
            tracing::debug!(%node, path = ?conn.proto.stats().path, "a link ends");
            conn.close(code, GIVEN_UP);
            drop(conn);
            self.touched.push(link);
        }
        for link in self.links.values() {
            let mut conn = link.conn.lock();
            // An attempt to dial it.
            if matches!(conn.role, Role::Unknown(Some(dialled)) if dialled == node) {
                conn.close(code, GIVEN_UP);
                self.touched.push(Arc::clone(link));
            }
        }
        shared.left.notify_all();
    }

    /// Dials with other TLS settings than a member's.
    #[cfg(test)]
    pub(super) fn dial_with(
        &mut self,
        shared: &Shared,
        tls: rustls::ClientConfig,
        addr: std::net::SocketAddr,
    ) {
        let tls = quinn_proto::crypto::rustls::QuicClientConfig::try_from(tls);
        let config = quinn_proto::ClientConfig::new(Arc::new(tls.expect("TLS settings")));
        let (handle, proto) = self
            .endpoint
            .connect(Instant::now(), config, addr, tls::COORDINATOR_NAME)
            .expect("an address");
        let link = Arc::new(Link::new(handle, addr, proto, Role::Unknown(Some(NodeId(0)))));
        self.links.insert(handle, Arc::clone(&link));
        self.touched.push(link);
        shared.wake.notify();
    }

    /// Forgets a connection without a word to the other side.
    #[cfg(test)]
    pub(super) fn sever(&mut self, shared: &Shared, node: NodeId) {
        let Some(link) = self.members.get(&node).and_then(|member| member.peer.link()) else {
            return;
        };
        let peer = Arc::clone(&self.members[&node].peer);
        link.conn.lock().role = Role::Over;
        self.links.remove(&link.handle);
        self.endpoint.handle_event(link.handle, quinn_proto::EndpointEvent::drained());
        peer.drop_link(&link);
        peer.session().handle_disconnected();
        self.redial(shared, node);
    }
}
