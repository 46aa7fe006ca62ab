//! Two and three nodes in one process, linked by a network that delivers when it is polled.

use std::sync::OnceLock;

use faasm_mpi_shim::port::{Message, MpiPort, PullRequest};
use faasm_mpi_shim::world::Placement;
use faasm_transport::{Endpoint, Event, Handler, LocalNetwork};
use faasm_vm::{GuestAddr, GuestMemory};

use super::*;
use crate::faaslet::RankPort;
use crate::message::JobLinks;
use crate::scheduler::Scheduler;

const JOB: u32 = 9;
const MEMORY_BYTES: usize = 24 << 20;

/// What a node's links call.
#[derive(Default)]
struct Receiver {
    plane: OnceLock<DataPlane>,
    errors: Mutex<Vec<DataError>>,
    events: Mutex<Vec<Event>>,
}

impl Handler for Receiver {
    fn message(&self, from: NodeId, _: Lane, envelope: &Envelope, payload: Payload<'_>) {
        assert_eq!(envelope.job, JOB);
        let plane = self.plane.get().expect("messages come after the job was made");
        if let Err(error) = plane.message(from, envelope, payload) {
            self.errors.lock().push(error);
        }
    }

    fn event(&self, event: Event) {
        self.events.lock().push(event);
    }

    fn drained(&self, peer: NodeId, lane: Lane) {
        if let Some(plane) = self.plane.get() {
            plane.drained(peer, lane);
        }
    }
}

struct Node {
    job: Arc<JobShared>,
    endpoint: Endpoint,
    receiver: Arc<Receiver>,
}

/// A job whose rank `i` runs on node `nodes[i]`, with a port and a memory for each rank.
struct Cluster {
    network: LocalNetwork,
    nodes: Vec<Node>,
    ports: Vec<RankPort>,
    memories: Vec<GuestMemory>,
}

impl Cluster {
    fn new(nodes: &[u32]) -> Self {
        let network = LocalNetwork::polled();
        let count = nodes.iter().max().expect("a job has ranks") + 1;
        let peers: Box<[NodeId]> = (0..count).map(|node| NodeId(node + 10)).collect();
        let made = (0..count).map(|this_node| {
            let receiver = Arc::new(Receiver::default());
            let id = peers[this_node as usize];
            let endpoint = Endpoint::local(&network, id, receiver.clone()).expect("a free name");
            let placement = Placement { nodes: nodes.into(), this_node };
            let links = JobLinks::new(endpoint.clone(), JOB, peers.clone());
            let (scheduler, _) = Scheduler::new(1, 0);
            let job = JobShared::new(vec![0; nodes.len()], scheduler, (placement, Some(links)));
            assert!(receiver.plane.set(DataPlane::new(job.clone())).is_ok());
            Node { job, endpoint, receiver }
        });
        let made: Vec<_> = made.collect();
        for node in &made {
            let others = peers.iter().filter(|peer| **peer != node.endpoint.node());
            others.for_each(|peer| node.endpoint.add_peer(*peer, &[]));
        }
        let memories =
            nodes.iter().map(|_| GuestMemory::for_test(MEMORY_BYTES)).collect::<Vec<_>>();
        let ports = (0..).zip(nodes).map(|(rank, node)| {
            let job = &made[*node as usize].job;
            job.rank(rank).set_memory(memories[rank as usize].clone());
            RankPort::new(job.clone(), rank, false)
        });
        let ports = ports.collect();
        Self { network, nodes: made, ports, memories }
    }

    /// Delivers everything that is on its way.
    fn settle(&self) {
        let poll = |node: &Node| node.endpoint.poll();
        while self.nodes.iter().filter(|node| poll(node)).count() > 0 {}
        for node in &self.nodes {
            assert_eq!(*node.receiver.errors.lock(), []);
        }
    }

    fn fill(&self, rank: usize, addr: u64, len: usize, seed: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (0..len).map(|at| ((at * 31) ^ (at >> 8) ^ seed) as u8).collect();
        self.memories[rank].write(GuestAddr::new(addr), &bytes).expect("inside");
        bytes
    }

    fn received(&mut self, rank: usize) -> Vec<Message> {
        self.settle();
        std::iter::from_fn(|| self.ports[rank].receive()).collect()
    }

    /// The only message that has arrived at `rank`.
    fn one(&mut self, rank: usize) -> Message {
        let mut messages = self.received(rank);
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    fn token(&mut self, rank: usize, len: u64) -> u64 {
        match self.one(rank).payload {
            MpiPayload::Remote { token, len: found } if found == len => token,
            other => panic!("expected {len} bytes to ask for, got {other:?}"),
        }
    }
}

fn header(kind: Kind, sender: u32, request: u32) -> Header {
    Header { kind, context: 5, source: -1, tag: i32::MAX, sender, request }
}

fn bytes(payload: &MpiPayload) -> &[u8] {
    match payload {
        MpiPayload::Small(len, bytes) => &bytes[..usize::from(*len)],
        MpiPayload::Owned(bytes) => bytes,
        MpiPayload::Shared(bytes) => bytes,
        other => panic!("{other:?} carries no bytes"),
    }
}

const fn whole(name: u32, sender: u32, token: u64, len: u64, into: u64) -> PullRequest {
    PullRequest { name, sender, token, offset: 0, len, is_last: true, into: Some(into) }
}

#[test]
fn messages_of_every_kind_and_length_arrive_in_order() {
    let mut cluster = Cluster::new(&[0, 1]);
    let mut sent = Vec::new();
    for (number, len) in [0, 1, 32, 33, 928, 929, 4096, 65_535, 65_536].into_iter().enumerate() {
        let data: Vec<u8> = (0..len).map(|at: usize| (at * 7 + number) as u8).collect();
        for kind in [Kind::Eager, Kind::EagerSync] {
            let header = header(kind, 0, sent.len() as u32);
            match number % 2 {
                0 => cluster.ports[0].send(1, header, &data),
                _ => {
                    cluster.ports[0].send_payload(1, header, MpiPayload::Owned(data.clone().into()))
                }
            }
            sent.push((header, data.clone()));
        }
    }
    for kind in [Kind::Matched, Kind::Cancel, Kind::Cancelled, Kind::NotCancelled] {
        let header = header(kind, 0, sent.len() as u32);
        cluster.ports[0].send(1, header, &[]);
        sent.push((header, Vec::new()));
    }
    let received = cluster.received(1);
    assert_eq!(received.len(), sent.len());
    for (message, (header, data)) in received.iter().zip(&sent) {
        assert_eq!((&message.header, bytes(&message.payload)), (header, data.as_slice()));
    }
    assert!(cluster.received(0).is_empty());
}

#[test]
fn a_long_message_is_written_into_place_and_its_sender_told() {
    let mut cluster = Cluster::new(&[0, 1]);
    for (name, len) in [65_537, 262_144, 262_145, 1 << 20, (5 << 20) + 3].into_iter().enumerate() {
        let data = cluster.fill(0, 64, len, name);
        let (len, name) = (len as u64, name as u32);
        let header = header(Kind::Reference, 0, name);
        cluster.ports[0].send_payload(1, header, MpiPayload::Reference { addr: 64, len });
        let token = cluster.token(1, len);
        assert!(cluster.received(0).is_empty(), "nobody has asked for it");
        cluster.ports[1].pull(&whole(name, 0, token, len, 4096));
        let done = cluster.one(1);
        assert_eq!((done.header.kind, done.header.request), (Kind::Pulled, name));
        assert!(done.payload.is_empty());
        let found = cluster.memories[1].read_vec(GuestAddr::new(4096), len).expect("inside");
        assert!(found == data, "the bytes of a message of {len}");
        let answer = cluster.one(0);
        let expected = Header { kind: Kind::Matched, sender: 1, ..header };
        assert_eq!(answer.header, expected);
    }
}

#[test]
fn a_receiver_with_gaps_in_its_buffer_gets_pieces_as_it_asks() {
    let mut cluster = Cluster::new(&[0, 1]);
    let len = 3 << 20;
    let data = cluster.fill(0, 0, len as usize, 1);
    let reference = MpiPayload::Reference { addr: 0, len };
    cluster.ports[0].send_payload(1, header(Kind::Reference, 0, 3), reference);
    let token = cluster.token(1, len);
    let (mut found, window) = (Vec::new(), 700_000);
    while (found.len() as u64) < len {
        let offset = found.len() as u64;
        let wanted = window.min(len - offset);
        let is_last = offset + wanted == len;
        let request =
            PullRequest { name: 4, sender: 0, token, offset, len: wanted, is_last, into: None };
        cluster.ports[1].pull(&request);
        for message in cluster.received(1) {
            assert_eq!(message.header.kind, Kind::Pulled);
            found.extend_from_slice(bytes(&message.payload));
        }
        assert_eq!(found.len() as u64, offset + wanted, "no more than was asked for");
        assert_eq!(cluster.received(0).len(), usize::from(is_last));
    }
    assert!(found == data);
}

#[test]
fn many_transfers_share_the_links_both_ways() {
    let mut cluster = Cluster::new(&[0, 0, 1, 1]);
    let len = 1_500_000;
    let pairs = [(0, 2), (1, 3), (2, 1), (3, 0), (0, 3), (2, 0)];
    let mut expected = Vec::new();
    for (name, (from, to)) in (1..).zip(pairs) {
        let (addr, into) = (u64::from(name) * len, (8 + u64::from(name)) * len - 3);
        let data = cluster.fill(from as usize, addr, len as usize, name as usize);
        let reference = MpiPayload::Reference { addr, len };
        cluster.ports[from as usize].send_payload(
            to,
            header(Kind::Reference, from, name),
            reference,
        );
        let token = cluster.token(to as usize, len);
        expected.push((name, from, to, token, into, data));
    }
    for (name, from, to, token, into, _) in &expected {
        cluster.ports[*to as usize].pull(&whole(*name, *from, *token, len, *into));
    }
    let mut news = Vec::new();
    for rank in 0..4 {
        let messages = cluster.received(rank);
        news.extend(messages.iter().map(|message| (message.header.kind, message.header.request)));
    }
    for (name, _, to, _, into, data) in expected {
        let found = cluster.memories[to as usize].read_vec(GuestAddr::new(into), len);
        assert!(found.expect("inside") == data, "transfer {name}");
        for kind in [Kind::Pulled, Kind::Matched] {
            assert_eq!(news.iter().filter(|one| **one == (kind, name)).count(), 1);
        }
    }
}

#[test]
fn a_copy_is_kept_and_its_sender_does_not_wait() {
    let mut cluster = Cluster::new(&[0, 1]);
    let data: Box<[u8]> = (0..300_000_u32).map(|at| (at * 3) as u8).collect();
    let len = data.len() as u64;
    cluster.ports[0].send_payload(1, header(Kind::Eager, 0, 1), MpiPayload::Owned(data.clone()));
    let token = cluster.token(1, len);
    cluster.ports[1].pull(&whole(1, 0, token, len, 0));
    assert_eq!(cluster.one(1).header.kind, Kind::Pulled);
    assert_eq!(cluster.memories[1].read_vec(GuestAddr::new(0), len).expect("inside"), *data);
    assert!(cluster.received(0).is_empty());
}

#[test]
fn a_truncated_or_cancelled_message_frees_its_sender() {
    let mut cluster = Cluster::new(&[0, 1]);
    let len = 200_000;
    let reference = || MpiPayload::Reference { addr: 0, len };
    let data = cluster.fill(0, 0, len as usize, 0);
    for (name, wanted) in [(1, 0), (2, 100_000)] {
        cluster.ports[0].send_payload(1, header(Kind::Reference, 0, name), reference());
        let token = cluster.token(1, len);
        cluster.ports[1].pull(&whole(name, 0, token, wanted, 8));
        assert_eq!(cluster.received(1).len(), usize::from(wanted > 0));
        assert_eq!(
            cluster.one(0).header,
            Header { kind: Kind::Matched, sender: 1, ..header(Kind::Matched, 0, name) }
        );
    }
    let found = cluster.memories[1].read_vec(GuestAddr::new(8), len).expect("inside");
    assert!(found[..100_000] == data[..100_000] && found[100_000..].iter().all(|byte| *byte == 0));
    cluster.ports[0].send_payload(1, header(Kind::Reference, 0, 3), reference());
    let token = cluster.token(1, len);
    cluster.ports[1].release(0, token);
    assert!(cluster.received(0).is_empty(), "the answer to its cancellation tells the sender");
    cluster.ports[1].pull(&whole(3, 0, token, len, 0));
    while cluster.nodes.iter().filter(|node| node.endpoint.poll()).count() > 0 {}
    let refused = DataError::Ask(AskRefused::Unknown { token });
    assert_eq!(*cluster.nodes[0].receiver.errors.lock(), [refused]);
}

#[test]
fn parts_of_collectives_arrive_whole_and_wake_their_leader() {
    let mut cluster = Cluster::new(&[0, 1, 2]);
    let part = PartHeader { context: 4, meeting: 1, step: 2, from: 0 };
    let world = cluster.nodes[1].job.world().clone();
    let arrivals = world.await_parts(4, 1, 1);
    let lens = [0, 1, 65_536, FRAME_PAYLOAD_BYTES_MAX, 2 * FRAME_PAYLOAD_BYTES_MAX + 5];
    for (step, len) in (0..).zip(lens) {
        let data: Bytes = (0..len).map(|at| (at * 5 + step as usize) as u8).collect();
        let part = PartHeader { step, ..part };
        cluster.ports[0].send_part(1, part, data.clone());
        cluster.ports[2].send_part(1, part, data.slice(..len / 2));
        cluster.settle();
        assert!(cluster.ports[1].take_part(part) == Some(data.clone()), "{len} bytes");
        let other = PartHeader { from: 2, ..part };
        assert!(cluster.ports[1].take_part(other) == Some(data.slice(..len / 2)));
        assert_eq!(cluster.ports[1].take_part(part), None);
    }
    assert_eq!(arrivals.count(), 2 * lens.len() as u64);
    world.end_parts(4, 1);
    let long = Bytes::from(vec![0; 9 << 20]);
    for meeting in 2..4 {
        assert!(cluster.nodes[0].job.world().has_part_room(4, 0));
        cluster.ports[0].send_part(1, PartHeader { meeting, ..part }, long.clone());
    }
    assert!(!cluster.nodes[0].job.world().has_part_room(4, 0), "it has run ahead");
    cluster.settle();
    assert!(cluster.ports[1].take_part(PartHeader { meeting: 2, ..part }).is_some());
    cluster.settle();
    assert!(cluster.nodes[0].job.world().has_part_room(4, 0));
}

#[test]
fn a_node_is_asked_to_gather() {
    let mut cluster = Cluster::new(&[0, 1, 1]);
    let members = [0, 1, 2];
    let key = (1, -1, &members[..]);
    let own = cluster.nodes[0].job.world().gather_context(key, 0).expect("contexts are left");
    for rank in [2, 1] {
        let name = cluster.ports[rank].ask_to_gather(0, key, rank as u32);
        let answer = cluster.one(rank);
        assert_eq!((answer.header.kind, answer.header.request), (Kind::Answer, name));
        assert_eq!((answer.header.context, answer.payload.len()), (own, 0));
    }
    let next = cluster.nodes[0].job.world().gather_context(key, 0).expect("contexts are left");
    assert_ne!(next, own);
}

#[test]
fn what_breaks_the_rules_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::new(&[0, 1, 2]);
    let plane = |cluster: &Cluster, from: u32, envelope: Envelope, payload: &[u8]| {
        let plane = cluster.nodes[1].receiver.plane.get().expect("it was set");
        plane.message(NodeId(from), &envelope, Payload::borrowed(payload))
    };
    let of = |service: Service, kind: u16, to: u32, from: u32| Envelope {
        job: JOB,
        service: service as u16,
        kind,
        to,
        from,
        ..Envelope::default()
    };
    let message = of(Service::Message, 0, 1, 0);
    let misrouted = |to, from| Err(DataError::Misrouted { to, from });
    let kind = |service: Service, kind| Err(DataError::Kind { service: service as u16, kind });
    let length = |bytes, len| Err(DataError::Length { bytes, len });
    assert_eq!(plane(&cluster, 99, message, &[]), Err(DataError::Stranger(NodeId(99))));
    // Numbers from 3 on are of spawned processes, which the nodes take in turn.
    for (to, from) in [(0, 0), (2, 0), (1, 1), (1, 2), (4, 0), (1, 4), (u32::MAX, u32::MAX)] {
        let envelope = Envelope { to, from, ..message };
        assert_eq!(plane(&cluster, 10, envelope, &[]), misrouted(to, from));
        let envelope = Envelope { service: Service::PullData as u16, ..envelope };
        assert_eq!(plane(&cluster, 10, envelope, &[]), misrouted(to, from));
        let envelope = Envelope { service: Service::PullRequest as u16, ..envelope };
        assert_eq!(plane(&cluster, 10, envelope, &[]), misrouted(to, from));
    }
    for number in [7, 8, 9, 256, u16::MAX] {
        let refused = plane(&cluster, 10, Envelope { kind: number, ..message }, &[]);
        assert_eq!(refused, kind(Service::Message, number));
    }
    assert_eq!(plane(&cluster, 10, message, &[1]), length(1, 0));
    assert_eq!(plane(&cluster, 10, Envelope { len: 7, ..message }, &[1]), length(1, 7));
    let long = vec![0; 65_537];
    assert_eq!(
        plane(&cluster, 10, Envelope { len: 65_537, ..message }, &long),
        length(65_537, 65_537)
    );
    let reference = Envelope { kind: Kind::Reference as u16, len: 1, ..message };
    assert_eq!(plane(&cluster, 10, reference, &[1]), length(1, 1));
    let matched = Envelope { kind: Kind::Matched as u16, len: 1, ..message };
    assert_eq!(plane(&cluster, 10, matched, &[1]), length(1, 1));
    let unknown = Envelope { service: 77, ..message };
    assert_eq!(plane(&cluster, 10, unknown, &[]), Err(DataError::Kind { service: 77, kind: 0 }));
    assert_eq!(plane(&cluster, 10, of(Service::Control, 0, 1, 0), &[]), kind(Service::Control, 0));
    let ask = Envelope { addr: 1, len: 8, ..of(Service::PullRequest, PULL_ASK, 1, 0) };
    let no_message = Err(DataError::Ask(AskRefused::Unknown { token: 1 }));
    assert_eq!(plane(&cluster, 10, ask, &[]), no_message);
    let release = Envelope { kind: PULL_RELEASE, ..ask };
    assert_eq!(plane(&cluster, 10, release, &[]), no_message);
    assert_eq!(
        plane(&cluster, 10, Envelope { kind: 5, ..ask }, &[]),
        kind(Service::PullRequest, 5)
    );
    let data = Envelope { len: 1, ..of(Service::PullData, 0, 1, 0) };
    let unasked = Err(DataError::Data(DataRefused::Unasked { name: 0 }));
    assert_eq!(plane(&cluster, 10, data, &[1]), unasked);
    assert_eq!(plane(&cluster, 10, data, &[1, 2]), length(2, 1));
    let part = Envelope { len: 1 << 33, ..of(Service::Part, PART_PIECE, 0, 0) };
    assert_eq!(
        plane(&cluster, 10, part, &long[..FRAME_PAYLOAD_BYTES_MAX.min(9)]),
        length(9, 1 << 33)
    );
    let part = Envelope { len: 9, ..part };
    assert_eq!(plane(&cluster, 10, part, &[1]), length(1, 9));
    assert_eq!(plane(&cluster, 10, Envelope { kind: 3, ..part }, &[]), kind(Service::Part, 3));
    let call = Envelope { context: 3, ..of(Service::Call, 0, 0, 0) };
    assert_eq!(plane(&cluster, 10, call, &[0, 0, 0]), length(3, 0));
    assert_eq!(plane(&cluster, 10, call, &[1, 0, 0, 0]), misrouted(0, 0));
    assert_eq!(plane(&cluster, 10, call, &[10, 0, 0, 0]), length(4, 0));
    assert_eq!(plane(&cluster, 10, of(Service::Reply, 0, 0, 0), &[]), misrouted(0, 0));
    assert_eq!(plane(&cluster, 10, of(Service::Reply, 3, 1, 0), &[]), kind(Service::Reply, 3));
    assert!(cluster.received(1).is_empty());
    let far = cluster.nodes[1].job.far().expect("other nodes");
    assert_eq!(far.links.received(), 0);
}

#[test]
fn a_lost_node_stops_nobody_from_sending() {
    let mut cluster = Cluster::new(&[0, 1]);
    let len = 8 << 20;
    let reference = MpiPayload::Reference { addr: 0, len };
    cluster.ports[0].send_payload(1, header(Kind::Reference, 0, 1), reference);
    let token = cluster.token(1, len);
    cluster.ports[1].pull(&whole(1, 0, token, len, 0));
    // The data is asked for, and then the receiver is gone.
    cluster.nodes[0].endpoint.poll();
    cluster.network.kill(cluster.nodes[1].endpoint.node());
    cluster.settle();
    let lost = |event: &Event| matches!(event, Event::PeerLost { .. });
    assert!(cluster.nodes[0].receiver.events.lock().iter().any(lost));
    cluster.ports[0].send(1, header(Kind::Eager, 0, 2), &[1; 100]);
    let part = PartHeader { context: 1, meeting: 1, step: 0, from: 0 };
    cluster.ports[0].send_part(1, part, Bytes::from_static(b"part"));
    cluster.settle();
}

#[test]
fn a_standstill_of_all_nodes_is_seen_when_nothing_is_on_its_way() {
    use faasm_mpi_shim::port::Pending;

    use crate::job::is_stuck;

    let mut cluster = Cluster::new(&[0, 1]);
    let quiet = |cluster: &Cluster| {
        let job = |node: &Node| node.job.quiet();
        cluster.nodes.iter().map(job).collect::<Vec<_>>()
    };
    assert_eq!(quiet(&cluster), [None, None], "the ranks have not started");
    let pending = Pending { function: "MPI_Recv", peer: Some(0), tag: Some(0), context: 1 };
    for (rank, node) in (0..).zip(&cluster.nodes) {
        node.job.rank(rank).start();
        node.job.rank(rank).suspend(&pending);
        node.job.rank(rank).mailbox().set_waiting();
    }
    assert!(is_stuck(&quiet(&cluster), &quiet(&cluster)));
    cluster.ports[0].send(1, header(Kind::Eager, 0, 2), &[1]);
    assert!(!is_stuck(&quiet(&cluster), &quiet(&cluster)), "a message is on its way");
    cluster.settle();
    assert_eq!(quiet(&cluster)[1], None, "it has woken its receiver");
    cluster.nodes[1].job.rank(1).mailbox().set_waiting();
    assert!(is_stuck(&quiet(&cluster), &quiet(&cluster)));
}
