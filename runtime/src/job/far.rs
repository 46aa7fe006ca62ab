//! What the ranks of this node send to those of other nodes.
//!
//! ```text
//! service      kind           to          from      addr     len           payload
//! Message      Kind           receiver    sender    token    of the data   the data, or nothing
//! PullRequest  ASK, RELEASE   sender      receiver  token    wanted        nothing (tag: 1 if last)
//! PullData     0              receiver    sender    offset   of the piece  the piece
//! Part         PIECE, TAKEN   -           node      meeting  of the part   the piece
//! Call         GATHER, ASK    -           rank      -        member        the group, the question
//! Call         OBJECT         member      rank      -        -             the question
//! Reply        0, 1, 2        rank        -         -        -             why not, the answer
//! ```

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use faasm_mpi_shim::port::{FAR_EAGER_BYTES_MAX, Header, Kind, Message, Payload};
use faasm_mpi_shim::world::{Effect, PartHeader, Question};
use faasm_transport::{Endpoint, Envelope, Lane, Service};

use super::shared::JobShared;
use crate::message::{JobLinks, Offer, Source};

/// A question about ports and names.
pub(crate) const CALL_ASK: u16 = 1;
/// A question about a window or a file.
pub(crate) const CALL_OBJECT: u16 = 2;

/// Bytes queued for a node from which on a blocking send waits for the links.
const CONGESTED_BYTES: usize = 4 * 1024 * 1024;

/// A job's other nodes.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) links: JobLinks,
    last_question: AtomicU32,
}

impl Far {
    pub(super) fn new(links: JobLinks) -> Self {
        Self { last_question: AtomicU32::new(0), links }
    }

    /// The same, for the job's next life: what was counted goes on being counted.
    pub(super) fn again(&self) -> Self {
        Self {
            last_question: AtomicU32::new(self.last_question.load(Ordering::SeqCst)),
            links: self.links.again(),
        }
    }
}

impl JobShared {
    /// Sends a message with a copy of `payload` to a rank of another node.
    pub(crate) fn send_far(&self, dest: u32, header: &Header, payload: &[u8]) {
        let Some(far) = self.far() else { return };
        let about = about(dest, header, payload.len() as u64);
        far.links.send(self.world().node(dest), Lane::Message, Service::Message, about, payload);
    }

    /// Sends a message to a rank of another node; a long one stays here until it is asked for.
    pub(crate) fn send_payload_far(&self, dest: u32, header: &Header, payload: Payload) {
        let Some(far) = self.far() else { return };
        let node = self.world().node(dest);
        let len = payload.len();
        let source = match payload {
            Payload::Small(len, bytes) => {
                return self.send_far(dest, header, &bytes[..usize::from(len)]);
            }
            Payload::Reference { addr, .. } => Source::Memory(addr),
            Payload::Owned(bytes) => Source::Held(bytes.into()),
            Payload::Shared(bytes) => Source::Held(bytes),
            // Only arriving messages, and those of one node, are such; there is nothing to send.
            Payload::Remote { .. } | Payload::Scattered(_) => return,
        };
        let about = about(dest, header, len);
        match source {
            Source::Held(bytes) if len <= FAR_EAGER_BYTES_MAX && header.kind != Kind::Reference => {
                far.links.send_bytes(node, Lane::Message, Service::Message, about, bytes);
            }
            source => {
                let waits = header.kind == Kind::Reference;
                let answer = Header { kind: Kind::Matched, sender: dest, ..*header };
                let answer = waits.then_some(answer);
                let offer = Offer { node, to: dest, rank: header.sender, source, len, answer };
                let token = self.outgoing().lock().offer(offer);
                let about = Envelope { addr: token, ..about };
                far.links.send(node, Lane::Message, Service::Message, about, &[]);
            }
        }
    }

    /// Asks `node` to gather `rank`; gives the name that the answer will have.
    pub(crate) fn ask_to_gather(
        &self,
        rank: u32,
        node: u32,
        (context, tag, members): (u32, i32, &[u32]),
        member: u32,
    ) -> u32 {
        let Some(far) = self.far() else { return 0 };
        let name = far.last_question.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let about = Envelope {
            from: rank,
            context,
            tag,
            request: name,
            len: u64::from(member),
            ..Envelope::default()
        };
        let group: Vec<u8> = members.iter().flat_map(|rank| rank.to_le_bytes()).collect();
        far.links.send(node, Lane::Message, Service::Call, about, &group);
        name
    }

    /// Asks `node` about ports and names; gives the name that the answer will have.
    pub(crate) fn ask(&self, rank: u32, node: u32, question: &[u8]) -> u32 {
        let Some(far) = self.far() else { return 0 };
        let name = far.last_question.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let about = Envelope { kind: CALL_ASK, from: rank, request: name, ..Envelope::default() };
        far.links.send(node, Lane::Message, Service::Call, about, question);
        name
    }

    /// `rank` asks the node of `peer`, maybe this one, about an object; gives the name that the answer will
    /// have.
    pub(crate) fn ask_object(&self, rank: u32, peer: u32, context: u32, bytes: &[u8]) -> u32 {
        let Some(far) = self.far() else { return 0 };
        let name = far.last_question.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if self.world().is_local(peer) {
            if !self.serve(context, Question { from: rank, name, bytes }) {
                tracing::error!(rank, context, "a question about an object here was refused");
            }
            return name;
        }
        let (node, len) = (self.world().node(peer), bytes.len() as u64);
        let about = Envelope {
            kind: CALL_OBJECT,
            to: peer,
            from: rank,
            context,
            request: name,
            len,
            ..Envelope::default()
        };
        far.links.send(node, Lane::Message, Service::Call, about, bytes);
        name
    }

    /// Has an object of this node answer a question; `false` when there is no such object, or the question
    /// breaks its rules.
    pub(crate) fn serve(&self, context: u32, question: Question<'_>) -> bool {
        let object = self.world().object(context);
        let memory = |rank: u32| self.world().is_local(rank).then(|| self.rank(rank).memory())?;
        let Some(effects) = object.and_then(|object| object.serve(question, &memory)) else {
            return false;
        };
        for effect in effects {
            match effect {
                Effect::Wake(rank) if self.world().is_local(rank) => {
                    self.rank(rank).wake_if_waiting();
                }
                Effect::Wake(_) => {}
                Effect::Answer { rank, name, data } => self.answer(rank, name, data.into()),
            }
        }
        true
    }

    /// Brings an answer to the rank that asked.
    fn answer(&self, rank: u32, name: u32, data: Bytes) {
        let Some(far) = self.far() else { return };
        if !self.world().is_local(rank) {
            let about = Envelope { kind: 2, to: rank, request: name, ..Envelope::default() };
            let node = self.world().node(rank);
            return far.links.send_bytes(node, Lane::Message, Service::Reply, about, data);
        }
        let header = Header {
            kind: Kind::Answer,
            context: 0,
            source: 0,
            tag: 0,
            sender: rank,
            request: name,
        };
        let message = Message { header, payload: Payload::Shared(data) };
        self.rank(rank).mailbox().push_overflow(message);
        self.rank(rank).wake_if_waiting();
    }

    /// Sends a part of a collective to another node.
    pub(crate) fn send_part(&self, node: u32, part: PartHeader, data: Bytes) {
        let Some(far) = self.far() else { return };
        self.world().count_part(part.context, node, data.len());
        far.links.send_part(node, PartHeader { from: self.world().this_node(), ..part }, data);
    }

    /// Takes a part of a collective that another node sent.
    pub(crate) fn take_part(&self, part: PartHeader) -> Option<Bytes> {
        let (data, taken) = self.world().take_part(part)?;
        if let (Some(far), Some(bytes)) = (self.far(), taken) {
            far.links.report_parts(part.from, part.context, bytes);
        }
        Some(data)
    }

    /// Whether so much is queued for the node of `dest` that a blocking send should wait.
    pub(crate) fn is_far_congested(&self, dest: u32) -> bool {
        let Some(far) = self.far() else { return false };
        let node = self.world().node(dest);
        let is_full = || far.links.backlog_bytes(node, Lane::Message) > CONGESTED_BYTES;
        // What has arrived may say that room was made.
        is_full() && {
            far.links.endpoint().poll();
            is_full()
        }
    }

    /// The way to the other nodes, for workers with nothing else to do.
    #[inline]
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        self.far().map(|far| far.links.endpoint())
    }
}

/// The envelope of a message between ranks.
fn about(dest: u32, header: &Header, len: u64) -> Envelope {
    Envelope {
        kind: header.kind as u16,
        to: dest,
        from: header.sender,
        context: header.context,
        source: header.source,
        tag: header.tag,
        request: header.request,
        len,
        ..Envelope::default()
    }
}
