//! A rank whose port records what it is asked for; the other rank is on another node.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use faasm_mpi_engine::datatype::{Datatype, Predefined};
use faasm_mpi_engine::error::ErrorClass;
use faasm_mpi_engine::fault::{Proposal, Topic};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestMemory;

use super::*;
use crate::abi;
use crate::port::{Header, Kind, Message, Pending};
use crate::request::{Operation, Request, SendMode, State};
use crate::world::{PartHeader, Placement, World};

#[derive(Debug)]
pub(in crate::progress) struct Port {
    world: Arc<World>,
    arriving: VecDeque<Message>,
    pub(in crate::progress) sent: Vec<(u32, Header, Payload)>,
    pulls: Vec<PullRequest>,
    released: Vec<(u32, u64)>,
    is_congested: bool,
}

impl MpiPort for Port {
    fn rank(&self) -> u32 {
        0
    }
    fn world(&self) -> &Arc<World> {
        &self.world
    }
    fn memory(&self, _: u32) -> Option<&GuestMemory> {
        None
    }
    fn send(&mut self, dest: u32, header: Header, payload: &[u8]) {
        self.sent.push((dest, header, Payload::copied(payload)));
    }
    fn send_payload(&mut self, dest: u32, header: Header, payload: Payload) {
        self.sent.push((dest, header, payload));
    }
    fn pull(&mut self, request: &PullRequest) {
        self.pulls.push(*request);
    }
    fn release(&mut self, sender: u32, token: u64) {
        self.released.push((sender, token));
    }
    fn ask_to_gather(&mut self, _: u32, _: (u32, i32, &[u32]), _: u32) -> u32 {
        0
    }
    fn propose(&mut self, _: Topic, _: &[u32], _: bool, _: Proposal) {}
    fn receive(&mut self) -> Option<Message> {
        self.arriving.pop_front()
    }
    fn watch(&mut self, _: &dyn Fn() -> bool) -> bool {
        false
    }
    fn poll_suspend(&mut self, _: &mut Context<'_>, _: &dyn Fn() -> bool, _: &Pending) -> Poll<()> {
        Poll::Ready(())
    }
    fn wake(&self, _: u32) {}
    fn wake_group(&self, _: &Group) {}
    fn send_part(&mut self, _: u32, _: PartHeader, _: bytes::Bytes) {}
    fn ask(&mut self, _: u32, _: &[u8]) -> u32 {
        0
    }
    fn ask_object(&mut self, _: u32, _: u32, _: &[u8]) -> u32 {
        0
    }

    fn spawn(
        &mut self,
        _: crate::spawn_port::SpawnRequest,
    ) -> std::sync::Arc<crate::spawn_port::SpawnAnswer> {
        std::sync::Arc::default()
    }

    fn take_part(&mut self, _: PartHeader) -> Option<bytes::Bytes> {
        None
    }
    fn in_parallel(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(run);
    }
    fn is_congested(&self, _: u32) -> bool {
        self.is_congested
    }
    fn is_yield_due(&mut self) -> bool {
        false
    }
    fn set_initialized(&mut self, _: bool) {}
    fn wtime(&self) -> f64 {
        0.0
    }
    fn processor_name(&self) -> &'static str {
        "test"
    }
}

const MEMORY_BYTES: usize = 16 << 20;

/// Rank 0 of three, of whom 1 is on this node too and 2 on another.
fn rank() -> MpiCtx<Port> {
    rank_among(&[0, 0, 1])
}

/// Rank 0, which is on node 0, of as many as there are `nodes`.
pub(in crate::progress) fn rank_among(nodes: &[u32]) -> MpiCtx<Port> {
    let placement = Placement { nodes: nodes.into(), this_node: 0 };
    let world = World::new(vec![0; nodes.len()], vec![0; nodes.len()], placement);
    world.tolerate_failures();
    let mut mpi = MpiCtx::new(Port {
        world,
        arriving: VecDeque::new(),
        sent: Vec::new(),
        pulls: Vec::new(),
        released: Vec::new(),
        is_congested: false,
    });
    mpi.set_memory(GuestMemory::for_test(MEMORY_BYTES));
    mpi
}

fn bytes_at(addr: u64, count: i64) -> Buffer {
    Buffer { addr, count, datatype: Predefined::Byte.into() }
}

/// `count` times the first of every two bytes.
fn every_other_at(addr: u64, count: i64) -> Buffer {
    let byte = Datatype::from(Predefined::Byte);
    let pairs = Datatype::vector(count, 1, 2, &byte).expect("a valid vector");
    pairs.commit();
    Buffer { addr, count: 1, datatype: pairs }
}

fn request(operation: Operation, buffer: Buffer, peer: u32) -> Request {
    Request {
        operation,
        buffer,
        tag: 3,
        comm: abi::MPI_COMM_WORLD,
        context: 1,
        peer,
        state: State::Active,
        persistent: false,
        freed: false,
        cancelling: false,
        also: None,
    }
}

fn send(mpi: &mut MpiCtx<Port>, mode: SendMode, buffer: Buffer, dest: u32) -> bool {
    let operation = Operation::Send { mode, dest: dest.cast_signed() };
    let eager_bytes_max = mpi.eager_bytes_max(dest);
    mpi.start_send(&request(operation, buffer, dest), 7, eager_bytes_max)
        .expect("inside the memory")
}

fn receive(mpi: &mut MpiCtx<Port>, buffer: Buffer) -> i32 {
    let new = request(Operation::Receive { source: 2 }, buffer, 2);
    let name = mpi.requests.insert(new).expect("there is room");
    mpi.start_receive(name);
    name
}

const HEADER: Header =
    Header { kind: Kind::Reference, context: 1, source: 2, tag: 3, sender: 2, request: 55 };

pub(in crate::progress) fn arrive(mpi: &mut MpiCtx<Port>, header: Header, payload: Payload) {
    mpi.port.arriving.push_back(Message { header, payload });
    mpi.progress();
}

fn offered(mpi: &mut MpiCtx<Port>, token: u64, len: u64) {
    arrive(mpi, HEADER, Payload::Remote { token, len });
}

fn pulled(mpi: &mut MpiCtx<Port>, name: u32, payload: Payload) {
    arrive(mpi, Header { kind: Kind::Pulled, request: name, ..HEADER }, payload);
}

fn completion(mpi: &MpiCtx<Port>, name: i32) -> Option<Completion> {
    match &mpi.requests.get(name)?.state {
        State::Complete(completion) => Some(completion.clone()),
        _ => None,
    }
}

#[test]
fn what_is_long_for_another_node_is_not_long_for_this_one_and_the_reverse() {
    let mut mpi = rank();
    let modes = [
        (SendMode::Standard, 65_536, Kind::Eager, true),
        (SendMode::Synchronous, 65_536, Kind::EagerSync, false),
        (SendMode::Ready, 65_537, Kind::Reference, false),
        (SendMode::Synchronous, 65_537, Kind::Reference, false),
        (SendMode::Buffered, 65_537, Kind::Eager, true),
    ];
    for (mode, len, kind, complete) in modes {
        for buffer in [bytes_at(16, len), every_other_at(16, len)] {
            let is_run = buffer.run().is_some();
            let request = request(Operation::Send { mode, dest: 2 }, buffer.clone(), 2);
            assert_eq!(send(&mut mpi, mode, buffer, 2), complete, "{mode:?} {len}");
            assert!(
                request.is_eager(Some(65_536)) || !complete,
                "a send that waits needs an entry"
            );
            let (dest, header, payload) = mpi.port.sent.pop().expect("it was sent");
            assert_eq!((dest, header.kind, payload.len()), (2, kind, len.cast_unsigned()));
            let refers = matches!(payload, Payload::Reference { .. });
            assert_eq!(refers, is_run && kind == Kind::Reference);
        }
    }
    mpi.port.is_congested = true;
    for (len, complete) in [(1024, true), (1025, false)] {
        for buffer in [bytes_at(16, len), every_other_at(16, len)] {
            assert_eq!(send(&mut mpi, SendMode::Standard, buffer, 2), complete);
            let waits = mpi.port.sent.pop().map(|(_, header, _)| header.kind == Kind::Reference);
            assert_eq!(waits, Some(!complete), "it is not sent unasked");
        }
    }
    assert!(!send(&mut mpi, SendMode::Standard, bytes_at(16, 65_536), 1));
    assert!(matches!(mpi.port.sent.pop(), Some((1, _, Payload::Reference { .. }))));
    assert!(!send(&mut mpi, SendMode::Standard, every_other_at(16, 65_537), 1));
    assert!(matches!(mpi.port.sent.pop(), Some((1, _, Payload::Scattered(_)))));
}

#[test]
fn a_flood_is_announced_once_the_receiver_has_enough() {
    let mut mpi = rank();
    let mut flood = 0;
    while send(&mut mpi, SendMode::Standard, bytes_at(16, 60_000), 2) {
        flood += 60_000_u64;
        assert!(flood <= 2 * crate::progress::credit::UNTAKEN_BYTES_MAX, "it is never enough");
    }
    let last = |mpi: &mut MpiCtx<Port>| mpi.port.sent.pop().expect("it was sent");
    let (_, header, payload) = last(&mut mpi);
    assert!(header.kind == Kind::Reference && payload.bytes().is_empty());
    // Short ones carry their data, but their sender waits.
    for len in [0, 8, 128] {
        assert!(!send(&mut mpi, SendMode::Standard, bytes_at(16, len), 2));
        assert_eq!(last(&mut mpi).1.kind, Kind::EagerSync);
    }
    assert!(send(&mut mpi, SendMode::Standard, bytes_at(16, 60), 1), "another receiver");
    let credit = Header { kind: Kind::Credit, sender: 2, request: 1 << 20, ..header };
    mpi.port.arriving.push_back(Message { header: credit, payload: Payload::copied(&[]) });
    mpi.progress();
    assert!(send(&mut mpi, SendMode::Standard, bytes_at(16, 60_000), 2), "there is room again");
}

#[test]
fn data_without_gaps_goes_to_its_place_by_itself() {
    let mut mpi = rank();
    let name = receive(&mut mpi, bytes_at(4096, 100_000));
    offered(&mut mpi, 9, 90_000);
    let [pull] = mpi.port.pulls[..] else { panic!("one request: {:?}", mpi.port.pulls) };
    let expected = PullRequest {
        name: pull.name,
        sender: 2,
        token: 9,
        offset: 0,
        len: 90_000,
        is_last: true,
        into: Some(4096),
    };
    assert_eq!(pull, expected);
    assert!(completion(&mpi, name).is_none());
    pulled(&mut mpi, pull.name, Payload::copied(&[]));
    let done = completion(&mpi, name).expect("it is complete");
    assert!(done.error.is_none());
    assert_eq!((done.status.source, done.status.tag, done.status.count_bytes), (2, 3, 90_000));
    assert!(mpi.port.sent.is_empty(), "the sender is told by its own node");
    pulled(&mut mpi, pull.name, Payload::copied(&[]));
}

#[test]
fn data_for_a_buffer_with_gaps_is_unpacked_window_by_window() {
    let mut mpi = rank();
    let len = 3 * WINDOW_BYTES + 17;
    let name = receive(&mut mpi, every_other_at(8, len.cast_signed()));
    offered(&mut mpi, 9, len);
    let data: Vec<u8> = (0..len).map(|at| (at * 13 + 1) as u8).collect();
    let (mut asked, mut given) = (0, 0);
    while completion(&mpi, name).is_none() {
        for pull in mpi.port.pulls.drain(..) {
            assert_eq!((pull.offset, pull.into), (asked, None));
            asked += pull.len;
            assert_eq!(pull.is_last, asked == len);
        }
        assert!(asked - given <= WINDOW_BYTES && asked > given);
        let piece = (asked - given).min(100_000);
        let piece = &data[given as usize..(given + piece) as usize];
        given += piece.len() as u64;
        pulled(&mut mpi, 1, Payload::Shared(bytes::Bytes::copy_from_slice(piece)));
    }
    assert_eq!((asked, given), (len, len));
    let found = mpi.memory().expect("a memory").read_vec(GuestAddr::new(8), 2 * len);
    let found = found.expect("inside");
    assert!(found.iter().step_by(2).eq(&data), "what was sent");
    assert!(found.iter().skip(1).step_by(2).all(|byte| *byte == 0), "the gaps are left alone");
}

#[test]
fn few_receives_unpack_at_a_time_and_the_others_follow() {
    let mut mpi = rank();
    let count = UNPACKED_AT_ONCE_MAX + 3;
    let len = 70_000;
    let names: Vec<_> = (0..count).map(|_| receive(&mut mpi, every_other_at(0, len))).collect();
    for token in 0..count as u64 {
        offered(&mut mpi, token, len.cast_unsigned());
    }
    assert_eq!(mpi.port.pulls.len(), UNPACKED_AT_ONCE_MAX);
    let mut done = 0;
    while let Some(pull) = mpi.port.pulls.get(done).copied() {
        let piece = vec![0; pull.len as usize];
        pulled(&mut mpi, pull.name, Payload::Shared(piece.into()));
        done += 1;
        assert_eq!(mpi.port.pulls.len(), (UNPACKED_AT_ONCE_MAX + done).min(count));
    }
    assert_eq!(done, count);
    assert!(names.iter().all(|name| completion(&mpi, *name).is_some()));
}

#[test]
fn a_message_that_does_not_fit_is_taken_as_far_as_it_does() {
    let mut mpi = rank();
    for room in [0, 10] {
        let name = receive(&mut mpi, bytes_at(64, room));
        offered(&mut mpi, 9, 90_000);
        let pull = mpi.port.pulls.pop().expect("its sender must not wait for ever");
        assert_eq!((pull.len, pull.is_last), (room.cast_unsigned(), true));
        if room > 0 {
            pulled(&mut mpi, pull.name, Payload::copied(&[]));
        }
        let done = completion(&mpi, name).expect("it is complete");
        assert_eq!(done.error.map(|error| error.class), Some(ErrorClass::Truncate));
        assert_eq!(done.status.count_bytes, room);
    }
    let name = receive(&mut mpi, bytes_at(MEMORY_BYTES as u64 - 5, 100_000));
    offered(&mut mpi, 9, 90_000);
    let pull = mpi.port.pulls.pop().expect("its sender must not wait for ever");
    assert_eq!((pull.len, pull.is_last), (0, true));
    let done = completion(&mpi, name).expect("it has failed");
    assert_eq!(done.error.map(|error| error.class), Some(ErrorClass::Buffer));
}

#[test]
fn a_cancelled_message_is_released_and_one_under_way_is_not() {
    let mut mpi = rank();
    offered(&mut mpi, 9, 90_000);
    let cancel = Header { kind: Kind::Cancel, ..HEADER };
    arrive(&mut mpi, cancel, Payload::copied(&[]));
    assert_eq!(mpi.port.released, [(2, 9)]);
    let answers: Vec<_> =
        mpi.port.sent.drain(..).map(|(to, header, _)| (to, header.kind)).collect();
    assert_eq!(answers, [(2, Kind::Cancelled)]);
    let name = receive(&mut mpi, bytes_at(0, 90_000));
    offered(&mut mpi, 10, 90_000);
    arrive(&mut mpi, cancel, Payload::copied(&[]));
    assert_eq!(mpi.port.released.len(), 1);
    assert_eq!(mpi.port.sent.pop().map(|(_, header, _)| header.kind), Some(Kind::NotCancelled));
    assert!(completion(&mpi, name).is_none());
}

#[test]
fn a_freed_request_vanishes_and_a_forgotten_one_is_left_alone() {
    let mut mpi = rank();
    let freed = receive(&mut mpi, bytes_at(0, 90_000));
    let forgotten = receive(&mut mpi, bytes_at(0, 90_000));
    offered(&mut mpi, 1, 90_000);
    offered(&mut mpi, 2, 90_000);
    mpi.requests.get_mut(freed).expect("it is active").freed = true;
    mpi.pulls.forget(forgotten);
    for name in mpi.port.pulls.iter().map(|pull| pull.name).collect::<Vec<_>>() {
        pulled(&mut mpi, name, Payload::copied(&[]));
    }
    assert!(mpi.requests.get(freed).is_none());
    assert!(completion(&mpi, forgotten).is_none());
}
