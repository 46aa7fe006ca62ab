//! What a connection's streams say: frames, signals, and the join protocol.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use quinn_proto::{Dir, StreamId};

use super::{
    Shared,
    connection::{Conn, Inbound, Link, Role, SIGNALS_STREAM},
    driver::{Driver, Outcome},
    peer::Peer,
    service::Violation,
};
use crate::{
    bootstrap::{Admitted, Answer},
    frame::Decoder,
    handler::{Event, LostReason},
    id::Lane,
    lane::{LaneError, Received, Signal, SignalDecoder},
};

/// Chunks that are read from a stream before their messages are handed over.
const CHUNKS_MAX: usize = 64;

impl Driver {
    /// Takes the streams that the other side has opened.
    pub(super) fn accept_streams(
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
    pub(super) fn read(
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
