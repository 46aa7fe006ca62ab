//! What happens on one connection: who is at its end, and what it says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use quinn_proto::{
    ConnectionError, Event as ProtoEvent, StreamEvent, crypto::rustls::HandshakeData,
};
use rustls::pki_types::CertificateDer;

use super::{
    Shared,
    connection::{CloseCode, Conn, Link, Role},
    driver::{Driver, EARLY_MAX, HANDSHAKE_TIME_MAX, JOINERS_MAX, Outcome},
    peer::Peer,
    reasons::{close_code, explain, is_tls_failure},
    wake::NEVER,
};
use crate::{
    bootstrap::{self, EXPORTER_LABEL, Exporter},
    handler::LostReason,
    id::NodeId,
    lane::Signal,
    tls::{self, JOIN_PROTOCOL},
};

/// Why a connection is closed that broke the protocol.
pub(super) type Violation = String;

impl Driver {
    /// Handles all that a connection has to say, and sends what it has to send.
    pub(super) fn service(&mut self, shared: &Shared, link: &Arc<Link>) {
        let mut guard = link.conn.lock();
        let conn = &mut *guard;
        self.pass_events(link, conn);
        if conn.deadline <= shared.wake.nanos(Instant::now()) {
            conn.deadline = NEVER;
            self.handle_violation(shared, link, conn, "it took too long".into());
        }
        while let Some(event) = conn.proto.poll() {
            self.handle_event(shared, link, conn, event);
        }
        if let Role::Member(peer) = &conn.role {
            let peer = Arc::clone(peer);
            peer.wants_write.store(false, Ordering::SeqCst);
            conn.write_frames(&peer);
            self.after_writing(shared, conn, &peer);
        }
        shared.transmit(link, conn);
        self.pass_events(link, conn);
        if conn.proto.is_drained() {
            self.links.remove(&link.handle);
        }
        let peer = conn.peer().cloned();
        drop(guard);
        if let Some(peer) = peer {
            // What other threads queued meanwhile they have left to this one.
            shared.flush(&peer);
        }
    }

    fn pass_events(&mut self, link: &Link, conn: &mut Conn) {
        while let Some(event) = conn.proto.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(link.handle, event) {
                conn.proto.handle_event(event);
            }
        }
    }

    /// Writes what the session has to say, and tells what has become of it.
    fn after_writing(&mut self, shared: &Shared, conn: &mut Conn, peer: &Arc<Peer>) {
        let now = Instant::now();
        loop {
            let signal = peer.session().poll_signal(now);
            let Some(signal) = signal else { break };
            conn.write_signal(&signal);
        }
        conn.signal_due = peer.session().timeout().map_or(NEVER, |at| shared.wake.nanos(at));
        let session = peer.session();
        if session.is_connected() && (session.has_left() || session.has_peer_left()) {
            self.outcomes.push(Outcome::Left(peer.node));
        }
    }

    fn handle_event(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        event: ProtoEvent,
    ) {
        let handled = match event {
            ProtoEvent::Connected => {
                self.connected(shared, link, conn);
                Ok(())
            }
            ProtoEvent::ConnectionLost { reason } => {
                self.connection_lost(shared, link, conn, &reason);
                Ok(())
            }
            ProtoEvent::Stream(StreamEvent::Opened { dir }) => {
                self.accept_streams(shared, link, conn, dir)
            }
            ProtoEvent::Stream(StreamEvent::Readable { id }) => self.read(shared, link, conn, id),
            ProtoEvent::Stream(StreamEvent::Writable { id }) => {
                conn.handle_writable(id);
                Ok(())
            }
            ProtoEvent::Stream(StreamEvent::Stopped { .. }) => Err("it stopped a stream".into()),
            _ => Ok(()),
        };
        if let Err(violation) = handled {
            self.handle_violation(shared, link, conn, violation);
        }
    }

    pub(super) fn handle_violation(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        violation: Violation,
    ) {
        match &conn.role {
            Role::Member(peer) => {
                tracing::warn!(node = %peer.node, violation, "a peer broke the protocol");
                let peer = Arc::clone(peer);
                self.broken(&peer, link);
            }
            Role::Unknown(None) => self.handshakes -= 1,
            Role::Joiner(_) => self.joiners -= 1,
            _ => {}
        }
        conn.close(CloseCode::Violation, &violation);
        self.tell_refused(shared, link, violation);
    }

    /// The handshake is done: who is it?
    fn connected(&mut self, shared: &Shared, link: &Arc<Link>, conn: &mut Conn) {
        let Role::Unknown(dialled) = conn.role else { return };
        (conn.role, conn.deadline) = (Role::Over, NEVER);
        if dialled.is_none() {
            self.handshakes -= 1;
        }
        if dialled.is_none() && protocol(conn).as_deref() == Some(JOIN_PROTOCOL) {
            let mut exporter = Exporter::default();
            let session = conn.proto.crypto_session();
            match session.export_keying_material(&mut exporter, EXPORTER_LABEL, &[]) {
                Ok(()) if self.joiners >= JOINERS_MAX => {
                    self.refuse(shared, link, conn, "too many machines join at once: try again");
                }
                Ok(()) => {
                    let session = bootstrap::Session::new(link.remote, exporter);
                    conn.role = Role::Joiner(Box::new(session));
                    conn.deadline = shared.wake.nanos(Instant::now() + HANDSHAKE_TIME_MAX);
                    self.joiners += 1;
                }
                Err(_) => conn.close(CloseCode::Refused, "the TLS session gave no key"),
            }
            return;
        }
        match peer_node(conn, shared) {
            Some(node) if node != shared.config.node && dialled.is_none_or(|d| d == node) => {
                self.attach(shared, link, conn, node);
            }
            Some(node) => self.refuse(shared, link, conn, &format!("it has {node}'s certificate")),
            None => self.refuse(shared, link, conn, NO_CERTIFICATE),
        }
    }

    /// Uses the connection for a peer, or keeps it until the peer is added.
    pub(super) fn attach(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        node: NodeId,
    ) {
        let Some(member) = self.members.get_mut(&node) else {
            if self.early.len() >= EARLY_MAX {
                return self.refuse(shared, link, conn, "too many nodes wait to be added");
            }
            conn.role = Role::Early(node);
            let before = self.early.insert(node, Arc::clone(link));
            self.outcomes.extend(before.map(Outcome::Replaced));
            return;
        };
        member.dial_at = NEVER;
        let peer = Arc::clone(&member.peer);
        conn.role = Role::Member(Arc::clone(&peer));
        if let Some(before) = peer.replace_link(Some(Arc::clone(link))) {
            peer.session().handle_disconnected();
            self.outcomes.push(Outcome::Replaced(before));
        }
        let hello = peer.session().hello(shared.cluster.0, shared.config.node);
        if !conn.open_streams() || !conn.write_signal(&Signal::Hello(hello)) {
            let violation = "it takes no streams".into();
            self.handle_violation(shared, link, conn, violation);
        }
    }

    pub(super) fn refuse(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        reason: &str,
    ) {
        conn.close(CloseCode::Refused, reason);
        self.tell_refused(shared, link, reason.to_owned());
    }

    /// The connection is over: what becomes of the peer depends on why.
    fn connection_lost(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        reason: &ConnectionError,
    ) {
        let role = std::mem::replace(&mut conn.role, Role::Over);
        let code = close_code(reason);
        match role {
            Role::Member(peer) => {
                tracing::debug!(node = %peer.node, %reason, "a connection to a peer is lost");
                match code {
                    Some(CloseCode::Left) => self.outcomes.push(Outcome::Left(peer.node)),
                    Some(CloseCode::Ended) => {
                        self.outcomes.push(Outcome::Lost(peer.node, LostReason::Ended));
                    }
                    Some(CloseCode::Refused) => self.lost_by_refusal(peer.node, reason),
                    // The side that dials is done before the other has seen its certificate.
                    _ if is_tls_failure(reason) => self.lost_by_refusal(peer.node, reason),
                    _ => self.broken(&peer, link),
                }
            }
            Role::Unknown(Some(node)) => {
                let is_final = code == Some(CloseCode::Refused) || is_tls_failure(reason);
                if is_final {
                    self.lost_by_refusal(node, reason);
                } else {
                    self.outcomes.push(Outcome::Broken(node));
                }
            }
            Role::Unknown(None) => {
                self.handshakes -= 1;
                self.tell_refused(shared, link, explain(reason));
            }
            Role::Early(node) => {
                if self.early.get(&node).is_some_and(|early| Arc::ptr_eq(early, link)) {
                    self.early.remove(&node);
                }
            }
            Role::Joiner(_) => self.joiners -= 1,
            Role::Over => {}
        }
    }

    fn lost_by_refusal(&mut self, node: NodeId, reason: &ConnectionError) {
        let reason = LostReason::Refused(explain(reason));
        self.outcomes.push(Outcome::Lost(node, reason));
    }

    /// The session waits for another connection.
    fn broken(&mut self, peer: &Arc<Peer>, link: &Arc<Link>) {
        if peer.drop_link(link) {
            peer.session().handle_disconnected();
            self.outcomes.push(Outcome::Broken(peer.node));
        }
    }
}

fn protocol(conn: &Conn) -> Option<Vec<u8>> {
    let data = conn.proto.crypto_session().handshake_data()?;
    data.downcast::<HandshakeData>().ok()?.protocol
}

/// The node that the other side's certificate names.
fn peer_node(conn: &Conn, shared: &Shared) -> Option<NodeId> {
    let identity = conn.proto.crypto_session().peer_identity()?;
    let certificates = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    tls::named_node(certificates.first()?, shared.cluster)
}

const NO_CERTIFICATE: &str = "it has no certificate of a node of this cluster: it has to join";
