//! Messages whose data stays with their sender until it is asked for.
//!
//! Their receivers are on other nodes, or were: where ranks move, or a job is restarted, both may come to be on one node,
//! and then nothing travels.

use bytes::Bytes;
use faasm_mpi_shim::port::{Header, Kind, Message, Payload, PullRequest};
use faasm_transport::{Envelope, Lane, Payload as Data, Service};
use faasm_vm::GuestAddr;

use super::shared::JobShared;
use crate::checkpoint::{SavedOffer, SavedSource};
use crate::message::{Ask, Chunk, DataRefused, Offer, Source};

/// A request for data.
pub(crate) const PULL_ASK: u16 = 0;
/// A message is not wanted any more.
pub(crate) const PULL_RELEASE: u16 = 1;

impl JobShared {
    /// `rank` asks for data of a message that was announced to it.
    pub(crate) fn pull(&self, rank: u32, request: &PullRequest) {
        let node = self.world().node(request.sender);
        self.incoming().lock().ask(rank, node, request);
        let Some(far) = self.far().filter(|_| node != self.world().this_node()) else {
            return self.pull_here(rank, request);
        };
        let about = Envelope {
            kind: PULL_ASK,
            to: request.sender,
            from: rank,
            tag: i32::from(request.is_last),
            request: request.name,
            addr: request.token,
            len: request.len,
            ..Envelope::default()
        };
        far.links.send(node, Lane::Message, Service::PullRequest, about, &[]);
    }

    /// Tells the node of `sender` that nobody wants its message `token` any more.
    pub(crate) fn release(&self, sender: u32, token: u64) {
        let node = self.world().node(sender);
        let Some(far) = self.far().filter(|_| node != self.world().this_node()) else {
            // It is gone already when its sender has failed.
            let _ = self.outgoing().lock().handle_release(node, token);
            return;
        };
        let about = Envelope { kind: PULL_RELEASE, to: sender, addr: token, ..Envelope::default() };
        far.links.send(node, Lane::Message, Service::PullRequest, about, &[]);
    }

    /// The sender is of this node.
    fn pull_here(&self, rank: u32, request: &PullRequest) {
        let node = self.world().this_node();
        let PullRequest { token, name, len, is_last, .. } = *request;
        let asked = self
            .outgoing()
            .lock()
            .handle_request(node, &Ask { token, to: rank, name, len, is_last });
        match asked {
            Ok(Some((sender, answer))) => self.deliver(sender, answer, Payload::copied(&[])),
            Ok(None) => {}
            Err(refused) => tracing::error!(rank, %refused, "a message that was announced is gone"),
        }
        // A receiver takes its pieces in their order only.
        let _turn = self.pulling.lock();
        loop {
            let chunk = self.outgoing().lock().poll_chunk(node);
            let Some(chunk) = chunk else { return };
            let (to, data) = ((chunk.to, chunk.name), self.read_chunk(&chunk));
            if let Err(refused) = self.put_pulled(node, to, chunk.rank, chunk.offset, data.into()) {
                tracing::error!(rank, %refused, "data of this node was not asked for");
            }
            if let Some(answer) = chunk.answer {
                self.deliver(chunk.rank, answer, Payload::copied(&[]));
            }
        }
    }

    /// The bytes of a chunk.
    pub(crate) fn read_chunk(&self, chunk: &Chunk) -> Bytes {
        let (offset, len) = (chunk.offset, chunk.len);
        match &chunk.source {
            Source::Held(bytes) => bytes.slice(offset as usize..(offset + len) as usize),
            Source::Memory(addr) => {
                let memory = self.rank(chunk.rank).memory();
                let bytes =
                    memory.map(|memory| memory.read_vec(GuestAddr::new(addr + offset), len));
                // The sender has checked the range and its memory never shrinks; it is gone only when
                // the rank is, and then the job is ending.
                bytes.and_then(Result::ok).map_or_else(|| vec![0; len as usize].into(), Bytes::from)
            }
        }
    }

    /// Data that rank and name `to` have asked `node` for, of a message of `sender`, goes into its place.
    ///
    /// # Errors
    /// Nobody has asked for it; nothing has changed.
    pub(crate) fn put_pulled(
        &self,
        node: u32,
        to: (u32, u32),
        sender: u32,
        offset: u64,
        data: Data<'_>,
    ) -> Result<(), DataRefused> {
        let len = data.len() as u64;
        let place = self.incoming().lock().handle_data(node, to, offset, len)?;
        let (rank, request) = to;
        let header = Header { kind: Kind::Pulled, context: 0, source: 0, tag: 0, sender, request };
        let Some(addr) = place.addr else {
            self.deliver(rank, header, Payload::Shared(data.into_bytes()));
            return Ok(());
        };
        // The receiver has checked its buffer, and its memory never shrinks.
        if let Some(memory) = self.rank(rank).memory()
            && let Err(fault) = memory.write(GuestAddr::new(addr), &data)
        {
            tracing::error!(rank, %fault, "a checked receive buffer is gone");
        }
        if place.is_last {
            self.deliver(rank, header, Payload::copied(&[]));
        }
        Ok(())
    }

    /// Puts a message into a mailbox of this node.
    pub(crate) fn deliver(&self, rank: u32, header: Header, payload: Payload) {
        self.rank(rank).mailbox().push_overflow(Message { header, payload });
        self.rank(rank).wake_if_waiting();
    }

    /// What `rank` has announced and nobody has asked for, while the job stands still; `None` when some of it is
    /// being read.
    pub(crate) fn offers_of(&self, rank: u32) -> Option<Vec<SavedOffer>> {
        let offers = self.outgoing().lock().offers_of(rank)?;
        let saved = |(token, offer): (u64, Offer)| {
            let source = match offer.source {
                Source::Memory(addr) => SavedSource::Memory(addr),
                Source::Held(bytes) => SavedSource::Held(bytes.to_vec()),
            };
            let answer = offer.answer.map(|to| (to.context, to.source, to.tag, to.request));
            SavedOffer { token, to: offer.to, source, len: offer.len, answer }
        };
        Some(offers.into_iter().map(saved).collect())
    }

    /// `rank` is here now, with what it has announced before.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn adopt_offers(&self, rank: u32, offers: &[SavedOffer]) -> Result<(), String> {
        for SavedOffer { token, to, source, len, answer } in offers {
            let source = match source {
                SavedSource::Memory(addr) => Source::Memory(*addr),
                SavedSource::Held(bytes) if bytes.len() as u64 == *len => {
                    Source::Held(bytes.clone().into())
                }
                SavedSource::Held(_) => return Err("a message that it has announced is cut".into()),
            };
            if *to >= self.world().known() {
                return Err(format!("it has announced a message to rank {to}, which there is not"));
            }
            let answer = answer.map(|(context, source, tag, request)| Header {
                kind: Kind::Matched,
                context,
                source,
                tag,
                sender: *to,
                request,
            });
            let node = self.world().node(*to);
            let offer = Offer { node, to: *to, rank, source, len: *len, answer };
            if !self.outgoing().lock().adopt(*token, offer) {
                return Err(format!("two messages were announced under the name {token}"));
            }
        }
        Ok(())
    }
}
