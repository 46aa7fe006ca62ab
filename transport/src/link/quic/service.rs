//! What happens on one connection: who is at its end, and what it says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use quinn_proto::{
    ConnectionError, Dir, Event as ProtoEvent, StreamEvent, StreamId, crypto::rustls::HandshakeData,
};
use rustls::pki_types::CertificateDer;

use super::{
    Shared,
    connection::{CloseCode, Conn, Inbound, Link, Role, SIGNALS_STREAM},
    driver::{Driver, EARLY_MAX, Outcome},
    peer::Peer,
    wake::NEVER,
};
use crate::{
    bootstrap::{self, Admitted, Answer, EXPORTER_LABEL, Exporter},
    frame::Decoder,
    handler::{Event, LostReason},
    id::{Lane, NodeId},
    lane::{LaneError, Received, Signal, SignalDecoder},
    tls::{self, JOIN_PROTOCOL},
};

/// Why a connection is closed that broke the protocol.
type Violation = String;

impl Driver {
    /// Handles all that a connection has to say, and sends what it has to send.
    pub(super) fn service(&mut self, shared: &Shared, link: &Arc<Link>) {
        let mut guard = link.conn.lock();
        let conn = &mut *guard;
        self.pass_events(link, conn);
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

    fn handle_violation(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        violation: Violation,
    ) {
        if let Some(peer) = conn.peer().cloned() {
            tracing::warn!(node = %peer.node, violation, "a peer broke the protocol");
            self.broken(&peer, link);
        }
        conn.close(CloseCode::Violation, &violation);
        self.tell_refused(shared, link, violation);
    }

    /// The handshake is done: who is it?
    fn connected(&mut self, shared: &Shared, link: &Arc<Link>, conn: &mut Conn) {
        let Role::Unknown(dialled) = conn.role else { return };
        if dialled.is_none() {
            self.handshakes -= 1;
        }
        if dialled.is_none() && protocol(conn).as_deref() == Some(JOIN_PROTOCOL) {
            let mut exporter = Exporter::default();
            let session = conn.proto.crypto_session();
            match session.export_keying_material(&mut exporter, EXPORTER_LABEL, &[]) {
                Ok(()) => {
                    let session = bootstrap::Session::new(link.remote, exporter);
                    conn.role = Role::Joiner(Box::new(session));
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

    fn refuse(&mut self, shared: &Shared, link: &Arc<Link>, conn: &mut Conn, reason: &str) {
        conn.close(CloseCode::Refused, reason);
        self.tell_refused(shared, link, reason.to_owned());
    }

    fn accept_streams(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        dir: Dir,
    ) -> Result<(), Violation> {
        while let Some(id) = conn.proto.streams().accept(dir) {
            let inbound = match (dir, &conn.role) {
                (Dir::Bi, Role::Joiner(_)) => Inbound::Join,
                (Dir::Uni, Role::Member(_) | Role::Early(_)) => Inbound::New,
                (_, Role::Over) => return Ok(()),
                _ => return Err("it opened a stream that it may not".into()),
            };
            conn.inbound.push((id, inbound));
            self.read(shared, link, conn, id)?;
        }
        Ok(())
    }

    /// Reads a stream as far as it goes.
    fn read(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        id: StreamId,
    ) -> Result<(), Violation> {
        let Some(at) = conn.inbound.iter().position(|(inbound, _)| *inbound == id) else {
            return Ok(());
        };
        loop {
            // Frames wait for the hello, and all streams until the peer is added.
            let limit = match (&conn.inbound[at].1, &conn.role) {
                (_, Role::Early(_) | Role::Over) => return Ok(()),
                (Inbound::Lane(..), _) if !conn.is_greeted => return Ok(()),
                (Inbound::New, _) => 1,
                _ => CHUNKS_MAX,
            };
            let chunks = conn.read_chunks(id, limit)?;
            if chunks.is_empty() {
                return Ok(());
            }
            self.handle_chunks(shared, link, conn, at, chunks)?;
        }
    }

    fn handle_chunks(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        at: usize,
        chunks: Vec<Bytes>,
    ) -> Result<(), Violation> {
        let id = conn.inbound[at].0;
        match &mut conn.inbound[at].1 {
            inbound @ Inbound::New => *inbound = kind_of(&chunks[0])?,
            Inbound::Lane(lane, decoder) => {
                let lane = *lane;
                chunks.into_iter().for_each(|chunk| decoder.push(chunk));
                if let Role::Member(peer) = &conn.role {
                    deliver(shared, peer, lane, decoder).map_err(|fault| fault.to_string())?;
                }
            }
            Inbound::Signals(decoder) => {
                let mut signals = Vec::new();
                for chunk in chunks {
                    decoder.push(&chunk);
                    while let Some(signal) = decoder.poll().map_err(|error| error.to_string())? {
                        signals.push(signal);
                    }
                }
                for signal in signals {
                    self.handle_signal(shared, link, conn, &signal)?;
                }
            }
            Inbound::Join => {
                for chunk in chunks {
                    self.handle_join(shared, link, conn, id, &chunk);
                }
            }
        }
        Ok(())
    }

    fn handle_signal(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        signal: &Signal,
    ) -> Result<(), Violation> {
        let Some(peer) = conn.peer().cloned() else { return Ok(()) };
        let handled = match signal {
            Signal::Hello(hello) => {
                if hello.node != peer.node {
                    return Err(format!("{} says that it is {}", peer.node, hello.node));
                }
                if let Err(refusal) = self.membership.handle_hello(hello, Instant::now()) {
                    self.refuse(shared, link, conn, &refusal.to_string());
                    return Ok(());
                }
                let handled = peer.session().handle_hello(hello);
                handled.map(|()| self.greeted(shared, conn, &peer))
            }
            Signal::Ack(positions) => peer.session().handle_ack(*positions),
            Signal::Leave(positions) => peer.session().handle_leave(*positions),
        };
        self.membership.handle_heard(peer.node, Instant::now());
        loop {
            let drained = peer.session().poll_drained();
            let Some(lane) = drained else { break };
            shared.handler.drained(peer.node, lane);
        }
        match handled {
            Err(LaneError::OtherSession) => {
                self.outcomes.push(Outcome::Lost(peer.node, LostReason::Restarted));
                Ok(())
            }
            Err(error) => Err(error.to_string()),
            Ok(()) if matches!(signal, Signal::Hello(_)) => self.read_all(shared, link, conn),
            Ok(()) => Ok(()),
        }
    }

    /// The peer's hello has come: messages may flow.
    fn greeted(&mut self, shared: &Shared, conn: &mut Conn, peer: &Peer) {
        conn.is_greeted = true;
        let Some(member) = self.members.get_mut(&peer.node) else { return };
        member.attempts = 0;
        if !std::mem::replace(&mut member.is_up, true) {
            shared.handler.event(Event::PeerUp(peer.node));
        }
    }

    /// Reads what waited for something to happen.
    pub(super) fn read_all(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
    ) -> Result<(), Violation> {
        let ids: Vec<StreamId> = conn.inbound.iter().map(|(id, _)| *id).collect();
        ids.into_iter().try_for_each(|id| self.read(shared, link, conn, id))
    }

    fn handle_join(
        &mut self,
        shared: &Shared,
        link: &Arc<Link>,
        conn: &mut Conn,
        stream: StreamId,
        bytes: &[u8],
    ) {
        let (Role::Joiner(session), Some(admission)) = (&mut conn.role, &self.admission) else {
            return;
        };
        let (bytes, refused) = match session.handle_bytes(admission, bytes, Instant::now()) {
            Answer::Wait => return,
            Answer::Send(bytes) => (bytes, None),
            Answer::Admit(bytes, admitted) => {
                let Admitted { node, host, addr } = admitted;
                shared.handler.event(Event::Admitted { node, host, addr });
                (bytes, None)
            }
            Answer::Refuse(bytes, reason) => (bytes, Some(reason)),
        };
        // An answer is far shorter than a stream's window.
        let _ = conn.proto.send_stream(stream).write(&bytes);
        if let Some(reason) = refused {
            // The machine reads the reason and ends the connection; so does its silence.
            self.tell_refused(shared, link, reason);
        }
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
                self.early.remove(&node);
            }
            Role::Joiner(_) | Role::Over => {}
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

/// Hands the messages that are complete to the handler.
fn deliver(
    shared: &Shared,
    peer: &Peer,
    lane: Lane,
    decoder: &mut Decoder,
) -> Result<(), Box<dyn std::error::Error>> {
    let now = Instant::now();
    while let Some(frame) = decoder.poll()? {
        let bytes = frame.payload.chunks().map(<[u8]>::len).sum();
        let received = peer.session().handle_frame(lane, frame.number, bytes, now)?;
        if received == Received::Deliver {
            shared.handler.message(peer.node, lane, &frame.envelope, frame.payload);
        }
    }
    Ok(())
}

/// What a stream's first byte says.
fn kind_of(first: &[u8]) -> Result<Inbound, Violation> {
    match first {
        [SIGNALS_STREAM] => Ok(Inbound::Signals(SignalDecoder::default())),
        [kind] => Lane::ALL
            .get(usize::from(*kind))
            .map(|lane| Inbound::Lane(*lane, Decoder::default()))
            .ok_or_else(|| format!("it opened a stream of kind {kind}, which there is not")),
        _ => Err("it opened a stream without a kind".into()),
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

fn close_code(reason: &ConnectionError) -> Option<CloseCode> {
    let ConnectionError::ApplicationClosed(close) = reason else { return None };
    CloseCode::from_number(close.error_code.into_inner())
}

/// Whether TLS found something wrong with a certificate, on either side.
fn is_tls_failure(reason: &ConnectionError) -> bool {
    let code: u64 = match reason {
        ConnectionError::TransportError(error) => error.code.into(),
        ConnectionError::ConnectionClosed(close) => close.error_code.into(),
        _ => return false,
    };
    code & !0xff == TLS_CODES
}

/// Why a connection was lost, in words for users.
fn explain(reason: &ConnectionError) -> String {
    match reason {
        ConnectionError::TransportError(error) if is_tls_failure(reason) => {
            tls::explain_certificate(&error.reason)
        }
        ConnectionError::ConnectionClosed(close) if is_tls_failure(reason) => {
            let said = String::from_utf8_lossy(&close.reason);
            format!("the other side refused: {}", tls::explain_certificate(&said))
        }
        ConnectionError::ApplicationClosed(close) => {
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        other => other.to_string(),
    }
}

/// QUIC's error codes for TLS's alerts.
const TLS_CODES: u64 = 0x100;
/// Chunks that are read from a stream before their messages are handed over.
const CHUNKS_MAX: usize = 64;
const NO_CERTIFICATE: &str = "it has no certificate of a node of this cluster: it has to join";
