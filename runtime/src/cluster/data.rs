//! What arrives for the ranks of a job from its other nodes.
//!
//! The links call [`DataPlane`] on their own thread or on an idle worker's; it never blocks. Nothing
//! in a message is trusted: ranks, kinds, sizes and names are checked, and a message that is refused
//! changes nothing. Where data can be put into its place without its rank it is.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use faasm_mpi_shim::port::{FAR_EAGER_BYTES_MAX, Header, Kind, Payload as MpiPayload};
use faasm_mpi_shim::registry;
use faasm_mpi_shim::world::{PartHeader, PartRefused, Question};
use faasm_transport::config::FRAME_PAYLOAD_BYTES_MAX;
use faasm_transport::{Envelope, Lane, NodeId, Payload, Service};
use parking_lot::Mutex;

use crate::job::{
    CALL_ASK, CALL_OBJECT, Far, JobShared, MoveRefused, PULL_ASK, PULL_RELEASE, ParcelRefused,
};
use crate::message::{Ask, AskRefused, CHUNK_BYTES_MAX, DataRefused, PART_PIECE, PARTS_TAKEN};

/// Bytes on their way to a node beyond which no more data is read for it.
const BACKLOG_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest part of a collective; a linear memory has no more bytes.
const PART_BYTES_MAX: u64 = 1 << 32;
/// Parts that are being put together at most.
const ASSEMBLIES_MAX: usize = 4096;
/// Longest message that is copied into a ring; longer ones share the receive buffer.
const COPIED_BYTES_MAX: usize = 928;

/// Why a message of another node was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DataError {
    /// It comes from a node that has no part in the job.
    #[error("{0} has no part in the job")]
    Stranger(NodeId),
    /// It is for a rank that is not here, or from one that is not there.
    #[error("the message is for rank {to} from rank {from}, which are not at its ends")]
    Misrouted {
        /// The rank it is for.
        to: u32,
        /// The rank it says it is from.
        from: u32,
    },
    /// It is of no known kind.
    #[error("service {service} has no messages of kind {kind}")]
    Kind {
        /// The service.
        service: u16,
        /// The kind.
        kind: u16,
    },
    /// Its length is not what it says.
    #[error("a message of {bytes} bytes says that it has {len}")]
    Length {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it says it has.
        len: u64,
    },
    /// It asks for something that it may not have.
    #[error("a request for data: {0}")]
    Ask(AskRefused),
    /// It asks about a window or a file that is not here, or something that it may not ask.
    #[error("a question of rank {from} about the window or file {context}")]
    Question {
        /// Context of the object's communicator.
        context: u32,
        /// Who asks.
        from: u32,
    },
    /// It brings data that is not expected.
    #[error("data of a message: {0}")]
    Data(DataRefused),
    /// It is a piece of a rank that is not expected.
    #[error("a rank that moves: {0}")]
    Move(MoveRefused),
    /// It is no parcel of a program that spans nodes.
    #[error("{0}")]
    Team(ParcelRefused),
    /// It is a part of a collective that is not expected.
    #[error("a part of a collective: {0}")]
    Part(PartRefused),
}

/// What arrives for one job on this node.
#[derive(Debug)]
pub(crate) struct DataPlane {
    job: Arc<JobShared>,
    /// Parts of which pieces are missing.
    assemblies: Mutex<HashMap<PartHeader, BytesMut>>,
}

impl DataPlane {
    /// The receiving side of `job`, which has ranks on other nodes.
    pub(crate) fn new(job: Arc<JobShared>) -> Self {
        Self { job, assemblies: Mutex::default() }
    }

    /// Takes a message for this job of any service but `Control`.
    ///
    /// # Errors
    /// When the message breaks a rule; nothing has changed then. Nodes of one build keep the rules, so
    /// the job cannot go on rightly.
    pub(crate) fn message(
        &self,
        from: NodeId,
        envelope: &Envelope,
        payload: Payload<'_>,
    ) -> Result<(), DataError> {
        let Some((far, node)) = self.job.far().and_then(|far| Some((far, far.links.number(from)?)))
        else {
            return Err(DataError::Stranger(from));
        };
        match Service::from_number(envelope.service) {
            Some(Service::Message) => self.handle_message(node, envelope, payload),
            Some(Service::PullRequest) => self.handle_pull(far, node, envelope),
            Some(Service::PullData) => self.handle_data(node, envelope, payload),
            Some(Service::Part) => self.handle_part(node, envelope, payload),
            Some(Service::Call) => self.handle_call(far, node, envelope, &payload),
            Some(Service::Reply) => self.handle_reply(envelope, payload),
            Some(Service::Move) => {
                // It counts as no message, for none of the program's is under way.
                let taken = self.job.take_moved(node, envelope, payload);
                return taken.map_err(DataError::Move);
            }
            Some(Service::Team) => self.handle_parcel(node, envelope, payload),
            Some(Service::Control) | None => Err(unknown_kind(envelope)),
        }?;
        far.links.count_received(node);
        Ok(())
    }

    /// A parcel of a program that spans nodes.
    fn handle_parcel(
        &self,
        node: u32,
        envelope: &Envelope,
        payload: Payload<'_>,
    ) -> Result<(), DataError> {
        self.check_route(node, envelope)?;
        self.job.take_parcel(envelope, payload).map_err(DataError::Team)
    }

    /// The links have taken most of what was queued for `peer`.
    pub(crate) fn drained(&self, peer: NodeId, lane: Lane) {
        if let (Lane::Bulk, Some(far)) = (lane, self.job.far())
            && let Some(node) = far.links.number(peer)
        {
            self.send_chunks(far, node);
        }
    }

    /// A message for a rank's mailbox.
    fn handle_message(
        &self,
        node: u32,
        envelope: &Envelope,
        payload: Payload<'_>,
    ) -> Result<(), DataError> {
        let kind = u8::try_from(envelope.kind).ok().and_then(Kind::from_number);
        let Some(kind) = kind.filter(|kind| kind.is_from_rank()) else {
            return Err(unknown_kind(envelope));
        };
        if kind == Kind::Failed {
            return self.handle_failure(node, envelope);
        }
        self.check_route(node, envelope)?;
        let header = Header {
            kind,
            context: envelope.context,
            source: envelope.source,
            tag: envelope.tag,
            sender: envelope.from,
            request: envelope.request,
        };
        let (bytes, len) = (payload.len(), envelope.len);
        let wrong = Err(DataError::Length { bytes, len });
        let is_remote = kind.is_data() && bytes == 0 && len > 0;
        if is_remote {
            let payload = MpiPayload::Remote { token: envelope.addr, len };
            self.deliver(envelope.to, header, payload);
            return Ok(());
        }
        // A reference that carries its data would be answered twice.
        let is_short = len <= FAR_EAGER_BYTES_MAX && kind != Kind::Reference;
        if bytes as u64 != len || !is_short || (bytes > 0 && !kind.is_data()) {
            return wrong;
        }
        if bytes <= COPIED_BYTES_MAX {
            let rank = self.job.rank(envelope.to);
            rank.mailbox().push(header, &payload);
            rank.wake_if_waiting();
        } else {
            self.deliver(envelope.to, header, MpiPayload::Shared(payload.into_bytes()));
        }
        Ok(())
    }

    /// A rank of another node has failed. All ranks here are told, also where there are none yet.
    fn handle_failure(&self, node: u32, envelope: &Envelope) -> Result<(), DataError> {
        let (to, from, world) = (envelope.to, envelope.from, self.job.world());
        if !world.exists(from) || world.node(from) != node {
            return Err(DataError::Misrouted { to, from });
        }
        if !self.job.world().is_tolerant() {
            return Err(unknown_kind(envelope));
        }
        self.job.mourn(&[envelope.from], false);
        Ok(())
    }

    /// Another node wants data of a message, or does not want it any more.
    fn handle_pull(&self, far: &Far, node: u32, envelope: &Envelope) -> Result<(), DataError> {
        let (token, len) = (envelope.addr, envelope.len);
        match envelope.kind {
            PULL_ASK => {
                self.check_route(node, envelope)?;
                let (to, name) = (envelope.from, envelope.request);
                let ask = Ask { token, to, name, len, is_last: envelope.tag != 0 };
                let done = self.job.outgoing().lock().handle_request(node, &ask);
                if let Some((rank, answer)) = done.map_err(DataError::Ask)? {
                    self.deliver(rank, answer, MpiPayload::copied(&[]));
                }
                self.send_chunks(far, node);
                Ok(())
            }
            PULL_RELEASE => {
                self.job.outgoing().lock().handle_release(node, token).map_err(DataError::Ask)
            }
            _ => Err(unknown_kind(envelope)),
        }
    }

    /// Reads and sends what `node` has asked for, as far as the links have room.
    fn send_chunks(&self, far: &Far, node: u32) {
        while far.links.backlog_bytes(node, Lane::Bulk) < BACKLOG_BYTES_MAX {
            let chunk = self.job.outgoing().lock().poll_chunk(node);
            let Some(chunk) = chunk else { return };
            let data = self.job.read_chunk(&chunk);
            let about = Envelope {
                to: chunk.to,
                from: chunk.rank,
                request: chunk.name,
                addr: chunk.offset,
                len: chunk.len,
                ..Envelope::default()
            };
            far.links.send_bytes(node, Lane::Bulk, Service::PullData, about, data);
            if let Some(answer) = chunk.answer {
                self.deliver(chunk.rank, answer, MpiPayload::copied(&[]));
            }
        }
    }

    /// Data that a rank of this node has asked for.
    fn handle_data(
        &self,
        node: u32,
        envelope: &Envelope,
        payload: Payload<'_>,
    ) -> Result<(), DataError> {
        self.check_route(node, envelope)?;
        let (bytes, len) = (payload.len(), envelope.len);
        if bytes as u64 != len || len > CHUNK_BYTES_MAX {
            return Err(DataError::Length { bytes, len });
        }
        let to = (envelope.to, envelope.request);
        let put = self.job.put_pulled(node, to, envelope.from, envelope.addr, payload);
        put.map_err(DataError::Data)
    }

    /// A part of a collective, or news of ours.
    fn handle_part(
        &self,
        node: u32,
        envelope: &Envelope,
        payload: Payload<'_>,
    ) -> Result<(), DataError> {
        let (context, len) = (envelope.context, envelope.len);
        let world = self.job.world();
        match envelope.kind {
            PARTS_TAKEN => {
                if let Some(rank) = world.report_parts(context, node, len) {
                    self.wake(rank);
                }
                Ok(())
            }
            PART_PIECE => {
                let header = PartHeader {
                    context,
                    meeting: envelope.addr,
                    step: envelope.request,
                    from: node,
                };
                let Some(data) = self.assemble(header, len, payload)? else { return Ok(()) };
                let leader = world.put_part(header, data).map_err(DataError::Part)?;
                if let Some(rank) = leader {
                    self.wake(rank);
                }
                Ok(())
            }
            _ => Err(unknown_kind(envelope)),
        }
    }

    /// The whole part, when `payload` is all of it or the last piece that was missing.
    fn assemble(
        &self,
        header: PartHeader,
        len: u64,
        payload: Payload<'_>,
    ) -> Result<Option<Bytes>, DataError> {
        let bytes = payload.len();
        if bytes as u64 == len {
            return Ok(Some(payload.into_bytes()));
        }
        let mut assemblies = self.assemblies.lock();
        let wrong = Err(DataError::Length { bytes, len });
        let known = assemblies.get(&header).map(BytesMut::len);
        let missing = len.saturating_sub(known.unwrap_or(0) as u64);
        let is_piece = bytes as u64 == missing.min(FRAME_PAYLOAD_BYTES_MAX as u64);
        let is_new = known.is_none();
        if bytes == 0 || !is_piece || len > PART_BYTES_MAX {
            return wrong;
        }
        if is_new && assemblies.len() >= ASSEMBLIES_MAX {
            return Err(DataError::Part(PartRefused::TooMany));
        }
        let assembly = assemblies.entry(header).or_default();
        assembly.extend_from_slice(&payload);
        if assembly.len() as u64 == len {
            return Ok(assemblies.remove(&header).map(BytesMut::freeze));
        }
        Ok(None)
    }

    /// A rank of another node gathers for a communicator.
    fn handle_call(
        &self,
        far: &Far,
        node: u32,
        envelope: &Envelope,
        payload: &[u8],
    ) -> Result<(), DataError> {
        let (bytes, len) = (payload.len(), envelope.len);
        match envelope.kind {
            0 => {}
            CALL_ASK => return self.handle_question(far, node, envelope, payload),
            CALL_OBJECT => return self.handle_object(node, envelope, payload),
            _ => return Err(unknown_kind(envelope)),
        }
        let world = self.job.world();
        let word = |chunk: &[u8]| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        let members: Vec<u32> = payload.chunks_exact(4).map(word).collect();
        if members.len() * 4 != bytes || members.iter().any(|rank| !world.exists(*rank)) {
            return Err(DataError::Length { bytes, len });
        }
        let caller = usize::try_from(len).ok().and_then(|member| members.get(member));
        if caller != Some(&envelope.from) || self.job.world().node(envelope.from) != node {
            return Err(DataError::Misrouted { to: envelope.to, from: envelope.from });
        }
        let key = (envelope.context, envelope.tag, members.as_slice());
        let made = self.job.world().gather_context(key, len as u32);
        let about =
            Envelope { to: envelope.from, request: envelope.request, ..Envelope::default() };
        let lane = Lane::Message;
        match made {
            Ok(context) => {
                let about = Envelope { context, ..about };
                far.links.send(node, lane, Service::Reply, about, &[]);
            }
            Err(error) => {
                let reason = error.detail.as_bytes();
                far.links.send(node, lane, Service::Reply, Envelope { kind: 1, ..about }, reason);
            }
        }
        Ok(())
    }

    /// A rank of another node asks about ports and names.
    fn handle_question(
        &self,
        far: &Far,
        node: u32,
        envelope: &Envelope,
        question: &[u8],
    ) -> Result<(), DataError> {
        let (world, from) = (self.job.world(), envelope.from);
        if !world.exists(from) || world.node(from) != node {
            return Err(DataError::Misrouted { to: envelope.to, from });
        }
        let answer = registry::answer(world, question);
        let about =
            Envelope { kind: 2, to: from, request: envelope.request, ..Envelope::default() };
        far.links.send(node, Lane::Message, Service::Reply, about, &answer);
        Ok(())
    }

    /// A rank of another node asks about a window or a file of a rank here.
    fn handle_object(&self, node: u32, envelope: &Envelope, bytes: &[u8]) -> Result<(), DataError> {
        self.check_route(node, envelope)?;
        let Envelope { from, request: name, context, .. } = *envelope;
        if self.job.serve(context, Question { from, name, bytes }) {
            return Ok(());
        }
        Err(DataError::Question { context, from })
    }

    /// The answer to a question of a rank of this node.
    fn handle_reply(&self, envelope: &Envelope, payload: Payload<'_>) -> Result<(), DataError> {
        let to = envelope.to;
        if !self.job.world().exists(to) || !self.job.world().is_local(to) {
            return Err(DataError::Misrouted { to, from: envelope.from });
        }
        let payload = match envelope.kind {
            0 => MpiPayload::copied(&[]),
            1 | 2 => MpiPayload::Shared(payload.into_bytes()),
            _ => return Err(unknown_kind(envelope)),
        };
        let header = Header {
            kind: Kind::Answer,
            context: envelope.context,
            source: 0,
            tag: 0,
            sender: to,
            request: envelope.request,
        };
        self.deliver(to, header, payload);
        Ok(())
    }

    /// Checks that a message is from a rank of `node` and for one of this node.
    fn check_route(&self, node: u32, envelope: &Envelope) -> Result<(), DataError> {
        let world = self.job.world();
        let (to, from) = (envelope.to, envelope.from);
        let exist = world.exists(to) && world.exists(from);
        if exist && world.is_local(to) && world.node(from) == node {
            return Ok(());
        }
        Err(DataError::Misrouted { to, from })
    }

    fn deliver(&self, rank: u32, header: Header, payload: MpiPayload) {
        self.job.deliver(rank, header, payload);
    }

    fn wake(&self, rank: u32) {
        self.job.rank(rank).wake_if_waiting();
    }
}

const fn unknown_kind(envelope: &Envelope) -> DataError {
    DataError::Kind { service: envelope.service, kind: envelope.kind }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
