//! A job's way to its ranks on other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use faasm_mpi_shim::world::PartHeader;
use faasm_transport::config::FRAME_PAYLOAD_BYTES_MAX;
use faasm_transport::{Endpoint, Envelope, Lane, NodeId, Service};

/// Parts of collectives from this size on do not hold up short messages.
const BULK_BYTES_MIN: usize = 64 * 1024;
/// Bytes of a part that travel in one message.
const PIECE_BYTES_MAX: usize = FRAME_PAYLOAD_BYTES_MAX;

/// A piece of a part of a collective.
pub(crate) const PART_PIECE: u16 = 0;
/// A node has taken `len` bytes of parts.
pub(crate) const PARTS_TAKEN: u16 = 1;

/// The links of one job.
#[derive(Debug)]
pub(crate) struct JobLinks {
    endpoint: Endpoint,
    /// The job's name at all its nodes.
    job: u32,
    /// For each node of the job, by its number there, its name in the cluster.
    peers: Box<[NodeId]>,
    /// For each of them the messages that count in the search for a standstill, in all lives of the job: what one life
    /// has sent may be received in the next.
    traffic: Arc<[Traffic]>,
    /// Messages and bytes sent to each of them, for whoever watches.
    sent_to: Arc<[SentTo]>,
}

/// Messages between this node and another one of the job.
#[derive(Debug, Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    /// It takes no part in the job any more, and nobody counts there.
    is_gone: AtomicBool,
}

/// What went to one node.
#[derive(Debug, Default)]
struct SentTo {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl JobLinks {
    /// The links of job `job` over `endpoint`, whose nodes are `peers`.
    pub(crate) fn new(endpoint: Endpoint, job: u32, peers: Box<[NodeId]>) -> Self {
        let sent_to = peers.iter().map(|_| SentTo::default()).collect();
        let traffic = peers.iter().map(|_| Traffic::default()).collect();
        Self { endpoint, job, peers, traffic, sent_to }
    }

    /// The same links for the job's next life, which goes on counting.
    pub(crate) fn again(&self) -> Self {
        let (endpoint, peers) = (self.endpoint.clone(), self.peers.clone());
        let (traffic, sent_to) = (self.traffic.clone(), self.sent_to.clone());
        Self { endpoint, job: self.job, peers, traffic, sent_to }
    }

    /// Messages and bytes that went to each node of the job so far.
    pub(crate) fn sent_to(&self) -> Vec<(u64, u64)> {
        let sum = |sent: &SentTo| {
            (sent.messages.load(Ordering::Relaxed), sent.bytes.load(Ordering::Relaxed))
        };
        self.sent_to.iter().map(sum).collect()
    }

    fn count(&self, node: u32, bytes: usize) {
        let sent = &self.sent_to[node as usize];
        sent.messages.fetch_add(1, Ordering::Relaxed);
        sent.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Sends a piece of a rank that moves. It is no message of the program's, and is not counted as one.
    pub(crate) fn send_moved(&self, node: u32, about: Envelope, data: Bytes) {
        let envelope = Envelope { job: self.job, service: Service::Move as u16, ..about };
        self.endpoint.send_bytes(self.peers[node as usize], Lane::Bulk, &envelope, data);
    }

    /// Number in the job of the node with this name in the cluster.
    pub(crate) fn number(&self, peer: NodeId) -> Option<u32> {
        self.peers.iter().position(|node| *node == peer).map(|index| index as u32)
    }

    /// Number of nodes of the job.
    pub(crate) const fn nodes(&self) -> usize {
        self.peers.len()
    }

    /// Messages sent so far to other nodes that are still there.
    pub(crate) fn sent(&self) -> u64 {
        self.present().map(|node| node.sent.load(Ordering::SeqCst)).sum()
    }

    /// Messages of such nodes that were handled.
    pub(crate) fn received(&self) -> u64 {
        self.present().map(|node| node.received.load(Ordering::SeqCst)).sum()
    }

    /// A message of this node was handled.
    pub(crate) fn count_received(&self, node: u32) {
        self.traffic[node as usize].received.fetch_add(1, Ordering::SeqCst);
    }

    /// A node of the cluster has left the job: its messages count no more.
    pub(crate) fn forget(&self, peer: NodeId) {
        if let Some(node) = self.number(peer) {
            self.traffic[node as usize].is_gone.store(true, Ordering::SeqCst);
        }
    }

    fn present(&self) -> impl Iterator<Item = &Traffic> {
        self.traffic.iter().filter(|node| !node.is_gone.load(Ordering::SeqCst))
    }

    /// Bytes on their way to a node of the job.
    pub(crate) fn backlog_bytes(&self, node: u32, lane: Lane) -> usize {
        self.endpoint.backlog_bytes(self.peers[node as usize], lane)
    }

    /// The way to all nodes.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends to a node of the job.
    pub(crate) fn send(
        &self,
        node: u32,
        lane: Lane,
        service: Service,
        about: Envelope,
        data: &[u8],
    ) {
        let envelope = self.addressed(node, service, about);
        self.count(node, data.len());
        self.endpoint.send(self.peers[node as usize], lane, &envelope, data);
    }

    /// As [`JobLinks::send`], without a copy of the data.
    pub(crate) fn send_bytes(
        &self,
        node: u32,
        lane: Lane,
        service: Service,
        about: Envelope,
        data: Bytes,
    ) {
        let envelope = self.addressed(node, service, about);
        self.count(node, data.len());
        self.endpoint.send_bytes(self.peers[node as usize], lane, &envelope, data);
    }

    /// Sends a part of a collective, in pieces where it is long.
    pub(crate) fn send_part(&self, node: u32, part: PartHeader, mut data: Bytes) {
        let about = Envelope {
            kind: PART_PIECE,
            context: part.context,
            from: part.from,
            request: part.step,
            addr: part.meeting,
            len: data.len() as u64,
            ..Envelope::default()
        };
        let lane = if data.len() < BULK_BYTES_MIN { Lane::Message } else { Lane::Bulk };
        loop {
            let piece = data.split_to(data.len().min(PIECE_BYTES_MAX));
            self.send_bytes(node, lane, Service::Part, about, piece);
            if data.is_empty() {
                return;
            }
        }
    }

    /// Tells a node how many bytes of its parts were taken.
    pub(crate) fn report_parts(&self, node: u32, context: u32, bytes: u64) {
        let about = Envelope { kind: PARTS_TAKEN, context, len: bytes, ..Envelope::default() };
        self.send(node, Lane::Message, Service::Part, about, &[]);
    }

    fn addressed(&self, node: u32, service: Service, about: Envelope) -> Envelope {
        // Counted before it leaves, so that it is never received before it counts.
        self.traffic[node as usize].sent.fetch_add(1, Ordering::SeqCst);
        Envelope { job: self.job, service: service as u16, ..about }
    }
}
