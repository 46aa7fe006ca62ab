//! A rank with something of everything is written, read, and written again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use faasm_mpi_engine::attribute::{Callback, Keyval, Target};
use faasm_mpi_engine::collective::{Contribution, Kind as Collection, Side};
use faasm_mpi_engine::datatype::{Datatype, Predefined};
use faasm_mpi_engine::error::{ErrorClass, MpiError};
use faasm_mpi_engine::fault::{Proposal, Topic};
use faasm_mpi_engine::graph::Topology;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;
use faasm_mpi_engine::matching::Pattern;
use faasm_mpi_engine::rma::{LockKind, Wanted};
use faasm_mpi_engine::topology::Cartesian;
use faasm_vm::GuestMemory;

use super::SaveError;
use crate::abi::{self, Status};
use crate::communicator::{AttachedBuffer, Communicator, Session};
use crate::ctx::{Arrived, DatatypeEntry, Interrupted, MpiCtx, OpEntry, OtherEntry, Phase};
use crate::file_port::{FileAccess, Files, GuestFile};
use crate::port::{Header, Kind, Message, MpiPort, Payload, Pending, PullRequest, Scattered};
use crate::request::{
    Buffer, Collective, Completion, Operation, Partitioned, Request, SendMode, State, Underway,
};
use crate::spawn_port::{SpawnAnswer, SpawnRequest, Surroundings};
use crate::window::{Fence, Part, Shared, Window};
use crate::world::{PartHeader, Placement, World};

const RANKS: u32 = 3;

/// A port whose rank is alone with what it is given.
#[derive(Debug)]
struct Port {
    rank: u32,
    world: Arc<World>,
    arriving: VecDeque<Message>,
    memory: GuestMemory,
    clock: f64,
}

impl MpiPort for Port {
    fn rank(&self) -> u32 {
        self.rank
    }
    fn world(&self) -> &Arc<World> {
        &self.world
    }
    fn memory(&self, _: u32) -> Option<&GuestMemory> {
        Some(&self.memory)
    }
    fn send(&mut self, _: u32, _: Header, _: &[u8]) {}
    fn send_payload(&mut self, _: u32, _: Header, _: Payload) {}
    fn pull(&mut self, _: &PullRequest) {}
    fn release(&mut self, _: u32, _: u64) {}
    fn ask_to_gather(&mut self, _: u32, _: (u32, i32, &[u32]), _: u32) -> u32 {
        0
    }
    fn propose(&mut self, _: Topic, _: &[u32], _: bool, _: Proposal) {}
    fn ask(&mut self, _: u32, _: &[u8]) -> u32 {
        0
    }
    fn ask_object(&mut self, _: u32, _: u32, _: &[u8]) -> u32 {
        0
    }
    fn spawn(&mut self, _: SpawnRequest) -> Arc<SpawnAnswer> {
        Arc::default()
    }
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
    fn take_part(&mut self, _: PartHeader) -> Option<bytes::Bytes> {
        None
    }
    fn in_parallel(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(run);
    }
    fn is_congested(&self, _: u32) -> bool {
        false
    }
    fn is_yield_due(&mut self) -> bool {
        false
    }
    fn set_initialized(&mut self, _: bool) {}
    fn wtime(&self) -> f64 {
        self.clock
    }
    fn processor_name(&self) -> &'static str {
        "test"
    }
}

/// No files.
struct Nothing;

impl Files for Nothing {
    fn open(
        &self,
        path: &str,
        _: FileAccess,
    ) -> faasm_mpi_engine::error::Result<Arc<dyn GuestFile>> {
        Err(MpiError::new(ErrorClass::NoSuchFile, path))
    }
    fn delete(&self, path: &str) -> faasm_mpi_engine::error::Result<()> {
        Err(MpiError::new(ErrorClass::NoSuchFile, path))
    }
    fn surroundings(&self, _: Option<&str>) -> faasm_mpi_engine::error::Result<Surroundings> {
        Err(MpiError::new(ErrorClass::NoSuchFile, "none"))
    }
}

fn world() -> Arc<World> {
    let ranks = RANKS as usize;
    World::new(vec![0; ranks], vec![0; ranks], Placement::one_node(ranks))
}

fn port(world: &Arc<World>, rank: u32) -> Port {
    Port {
        rank,
        world: world.clone(),
        arriving: VecDeque::new(),
        memory: GuestMemory::for_test(4096),
        clock: 0.0,
    }
}

fn restore(world: &Arc<World>, rank: u32, saved: &[u8]) -> Result<MpiCtx<Port>, SaveError> {
    MpiCtx::restore(port(world, rank), &Nothing, saved)
}

/// A type with a part that it has twice.
fn shared_type() -> Datatype {
    let vector = Datatype::vector(3, 2, 5, &Predefined::Int.into()).expect("a type");
    let parts = [vector.clone(), vector, Predefined::Double.into()];
    let made = Datatype::structure(&[1, 2, 1], &[0, 100, 300], &parts).expect("a type");
    made.commit();
    made
}

fn request(operation: Operation, state: State) -> Request {
    let buffer = Buffer { addr: 64, count: 2, datatype: shared_type() };
    Request {
        operation,
        buffer,
        tag: 5,
        comm: abi::MPI_COMM_WORLD,
        context: 1,
        peer: 2,
        state,
        persistent: false,
        freed: false,
        cancelling: true,
        also: None,
    }
}

fn header(kind: Kind, tag: i32) -> Header {
    Header { kind, context: 1, source: 2, tag, sender: 2, request: 77 }
}

fn add_requests(mpi: &mut MpiCtx<Port>) -> Vec<i32> {
    let error = MpiError::argument(ErrorClass::Truncate, "count", "too long");
    let ended = Completion { status: Status::EMPTY, error: Some(error) };
    let mut partitioned = Partitioned::new(true, 4, 2, 1);
    partitioned.begin();
    partitioned.mark_ready(2);
    let requests = [
        request(Operation::Send { mode: SendMode::Synchronous, dest: 2 }, State::Active),
        request(Operation::Receive { source: abi::MPI_ANY_SOURCE }, State::Active),
        request(Operation::Receive { source: 1 }, State::Complete(ended)),
        request(Operation::Partitioned(Box::new(partitioned)), State::Inactive),
    ];
    let handles: Vec<i32> =
        requests.into_iter().filter_map(|request| mpi.requests.insert(request)).collect();
    mpi.requests.remove(handles[2]);
    handles
}

/// Starts a barrier that others have not come to.
fn add_collective(mpi: &mut MpiCtx<Port>) -> i32 {
    let comm = &mpi.comm_world;
    let typed = Side::buffer(16, 3, shared_type());
    let contribution = Contribution::new(Collection::Bcast).root(1).send(typed);
    let collective = Collective {
        function: "MPI_Ibcast",
        contribution: contribution.clone(),
        user: None,
        site: comm.site.clone(),
        seat: comm.seat,
        rank: comm.rank,
        group: comm.group.clone(),
        persistent: None,
        is_seen: false,
    };
    let number = comm.site.next_number();
    let (appointment, is_last) = comm.site.join(comm.seat, number, contribution);
    assert!(!is_last);
    let (seat, operation) = (comm.seat, Operation::Collective(Box::new(collective)));
    let handle = mpi.requests.insert(request(operation, State::Active)).expect("room");
    mpi.underway.push(Underway { handle, appointment, seat, number });
    handle
}

fn add_messages(mpi: &mut MpiCtx<Port>) {
    let elements =
        Scattered { addr: 8, count: 1, datatype: shared_type(), len: shared_type().size() as u64 };
    let payloads = [
        Payload::copied(b"short"),
        Payload::copied(&[7; 100]),
        Payload::Reference { addr: 4000, len: 90 },
        Payload::Scattered(Box::new(elements)),
    ];
    for (tag, payload) in (0..).zip(payloads) {
        mpi.port.arriving.push_back(Message { header: header(Kind::Eager, tag), payload });
    }
    mpi.matching.post(Pattern { context: 9, source: None, tag: None }, 4);
}

fn add_window(mpi: &mut MpiCtx<Port>, comm: i32, context: u32) {
    let parts = [0, 1, 2].map(|rank| Part { base: 100 * rank, size: 64, unit: 4 });
    let group = Group::world(RANKS as usize);
    let shared = Arc::new(Shared::new(group, &parts, false));
    shared.member(mpi.port.rank).posts().insert(2, 1);
    assert!(shared.locks().acquire(mpi.port.rank, Wanted::One(1, LockKind::Exclusive)));
    let window = Window {
        shared,
        comm,
        context,
        rank: mpi.port.rank,
        flavor: abi::MPI_WIN_FLAVOR_CREATE,
        allocated: None,
        segments: None,
        values: Some(16),
        fence: Fence::Closed,
        started: None,
        posted: Some(vec![0, 2]),
        locks: [(1, LockKind::Exclusive)].into(),
        has_locked_all: false,
        flushes: 3,
        errhandler: abi::MPI_ERRORS_RETURN,
        attributes: faasm_mpi_engine::attribute::Attributes::new(),
        name: "window".to_owned(),
        info: Info::new(),
    };
    mpi.others.insert(OtherEntry::Window(Box::new(window))).expect("room");
}

fn add_objects(mpi: &mut MpiCtx<Port>) {
    let keyval = Keyval {
        target: Target::Communicator,
        copy: Callback::Dup,
        delete: Callback::Guest(3),
        extra_state: 9,
    };
    let key = mpi.keyvals.create(keyval).expect("a number");
    mpi.keyvals.attach(key);
    let context = mpi.port.world.new_context().expect("a context");
    let group = Group::new(vec![2, 0, 1]).expect("distinct");
    let site = mpi.port.world.new_site(group.iter());
    let number = group.rank_of(mpi.port.rank).expect("a member") as u32;
    let mut comm = Communicator::new(context, group, number, site, abi::MPI_ERRORS_RETURN);
    comm.attributes.set(key, 42);
    let grid = Cartesian::new(&[3, 1], &[true, false], 3).expect("a grid");
    comm.topology = Some(Topology::Cartesian(grid));
    "ring".clone_into(&mut comm.name);
    comm.attached = Some(AttachedBuffer { addr: 32, size_bytes: 1024 });
    comm.info.set("key", "value").expect("a pair");
    let handle = mpi.comms.insert(comm).expect("room");
    add_window(mpi, handle, context);
    mpi.groups.insert(Group::new(vec![2, 1]).expect("distinct")).expect("room");
    let entry =
        DatatypeEntry { name: Some("mine".to_owned()), ..DatatypeEntry::new(shared_type()) };
    mpi.datatypes.insert(entry).expect("room");
    mpi.ops.insert(OpEntry::User { function: 7, commutes: true, large: false }).expect("room");
    let (errhandler, attached) = (abi::MPI_ERRORS_RETURN, None);
    let session = Session { errhandler, attached, thread_level: "MPI_THREAD_MULTIPLE" };
    mpi.others.insert(OtherEntry::Session(Box::new(session))).expect("room");
    let message =
        Arrived { header: header(Kind::EagerSync, 3), payload: Payload::copied(b"probed") };
    mpi.others.insert(OtherEntry::Message(message, abi::MPI_COMM_WORLD)).expect("room");
    mpi.others.insert(OtherEntry::Errhandler { function: 5, users: 1, handles: 2 }).expect("room");
    mpi.heap.add(65_536, 65_536);
    mpi.heap.take(100).expect("room");
    mpi.errors.add_class().expect("a number");
}

/// A rank with something of everything.
fn full(world: &Arc<World>, rank: u32) -> MpiCtx<Port> {
    let mut mpi = MpiCtx::new(port(world, rank));
    (mpi.phase, mpi.sessions) = (Phase::Running, 1);
    let handles = add_requests(&mut mpi);
    add_collective(&mut mpi);
    add_messages(&mut mpi);
    add_objects(&mut mpi);
    mpi.partition_tags.insert((1, 2), -20);
    mpi.interrupted = Some(Interrupted::Pair(handles[0], handles[1]));
    mpi.notes.insert(3, Interrupted::Request(handles[0]));
    mpi.notes.insert(5, Interrupted::Lock);
    mpi.far_ops.fail(7, MpiError::new(ErrorClass::RmaRange, "far out"));
    mpi
}

#[test]
fn what_is_read_is_what_was_written() {
    let before = world();
    let mut mpi = full(&before, 1);
    let saved = mpi.save().expect("it can be written");
    let shared = before.save().expect("it can be written");
    let after = world();
    after.restore_from(&shared).expect("the same job");
    let mut again = restore(&after, 1, &saved).expect("it was written so");
    assert_eq!(after.save(), Ok(shared));
    let twice = again.save().expect("it can be written");
    assert_eq!(twice, saved);
    assert_eq!(again.interrupted, mpi.interrupted);
    let notes: Vec<_> = again.notes.into_iter().collect();
    let kept: Vec<_> =
        mpi.notes.into_iter().filter(|(_, note)| *note != Interrupted::Lock).collect();
    assert_eq!((notes, kept.len()), (kept.clone(), 1), "a lock is asked for again");
    assert_eq!(again.far_ops.errors(), mpi.far_ops.errors());
    assert!(
        again
            .requests
            .iter()
            .map(|(handle, _)| handle)
            .eq(mpi.requests.iter().map(|(handle, _)| handle))
    );
    assert_ne!(
        after.new_context(),
        before.new_context().map(|context| context - 1),
        "it counts on"
    );
}

#[test]
fn shared_parts_of_types_stay_shared() {
    let before = world();
    let mut mpi = MpiCtx::new(port(&before, 0));
    let mut made = Datatype::contiguous(2, &Predefined::Int.into()).expect("a type");
    // Without sharing the last one would have more than a billion parts.
    for _ in 0..30 {
        made = Datatype::structure(&[1, 1], &[0, 8], &[made.clone(), made]).expect("a type");
        made = Datatype::resized(&made, 0, 16).expect("a type");
    }
    mpi.datatypes.insert(DatatypeEntry::new(made.clone())).expect("room");
    let saved = mpi.save().expect("it can be written");
    assert!(saved.len() < 4096, "{} bytes", saved.len());
    let again = restore(&world(), 0, &saved).expect("it was written so");
    let back = again.datatypes.iter().next().expect("the type").1;
    assert_eq!((back.datatype.size(), back.datatype.extent()), (made.size(), made.extent()));
}

#[test]
fn ranks_that_were_told_to_share_memory_stay_together() {
    let before = world();
    let mut mpi = MpiCtx::new(port(&before, 0));
    let context = before.new_context().expect("a context");
    let group = Group::new(vec![0, 2]).expect("distinct");
    let site = before.new_site(group.iter());
    let comm = Communicator::new(context, group, 0, site, abi::MPI_ERRORS_RETURN);
    let comm = Communicator { name: "near".to_owned(), shares: true, ..comm };
    mpi.comms.insert(comm).expect("room");
    assert_eq!(mpi.bonds(), [[0, 2]]);
    let saved = mpi.save().expect("it can be written");
    let placed = |nodes: [u32; 3]| {
        let placement = Placement { nodes: nodes.into(), this_node: 0 };
        World::new(vec![0; 3], vec![0; 3], placement)
    };
    let together = placed([0, 1, 0]);
    assert!(restore(&together, 0, &saved).is_ok());
    assert_eq!(together.bonds(), [[0, 2]]);
    let Err(SaveError::Hindered(why)) = restore(&placed([0, 0, 1]), 0, &saved) else {
        panic!("they are apart")
    };
    assert!(why.contains("\"near\"") && why.contains("ranks 0, 2"), "{why}");
}

#[test]
fn members_meet_again_after_a_restart() {
    let before = world();
    let mut both = [full(&before, 0), full(&before, 2)];
    let saved = both.each_mut().map(|mpi| mpi.save().expect("it can be written"));
    let after = world();
    let first = restore(&after, 0, &saved[0]).expect("it was written so");
    let second = restore(&after, 2, &saved[1]);
    // Both made their communicators of three, with contexts of their own, under the same handle.
    let second = second.expect("it was written so");
    let site = |mpi: &MpiCtx<Port>| mpi.comm_world.site.site().clone();
    assert!(Arc::ptr_eq(&site(&first), &site(&second)));
    let appointment = |mpi: &MpiCtx<Port>| mpi.underway[0].appointment.clone();
    assert!(Arc::ptr_eq(&appointment(&first), &appointment(&second)));
    let brought = Contribution::new(Collection::Bcast);
    let number = first.underway[0].number;
    let (last, is_last) = first.comm_world.site.join(1, number, brought);
    assert!(is_last && Arc::ptr_eq(&last, &appointment(&first)));
    assert_eq!(last.take().len(), 3);
}

#[test]
fn damaged_states_are_refused_or_read_and_never_more() {
    let before = world();
    let saved = full(&before, 1).save().expect("it can be written");
    for len in 0..saved.len() {
        assert!(restore(&world(), 1, &saved[..len]).is_err(), "cut to {len}");
    }
    let mut longer = saved.clone();
    longer.push(0);
    assert!(restore(&world(), 1, &longer).is_err());
    let mut damaged = saved.clone();
    for place in 0..saved.len() {
        for bits in [0x01, 0x02, 0x10, 0x80, 0xff] {
            damaged[place] = saved[place] ^ bits;
            // Either it is refused, or it is a state, which can be written.
            if let Ok(mut mpi) = restore(&world(), 1, &damaged) {
                let _ = mpi.save();
            }
        }
        damaged[place] = saved[place];
    }
    assert!(matches!(restore(&world(), 0, &saved), Err(SaveError::Damaged(_))), "another rank's");
    damaged[0] ^= 0x40;
    assert!(matches!(restore(&world(), 1, &damaged), Err(SaveError::Version { .. })));
}

#[test]
fn what_cannot_be_written_is_named() {
    let before = world();
    let mut mpi = full(&before, 1);
    mpi.callbacks = 1;
    assert!(matches!(mpi.save(), Err(SaveError::Hindered(why)) if why.contains("function")));
    mpi.callbacks = 0;
}

#[test]
fn time_never_goes_back_whichever_node_a_rank_is_put_on() {
    let world = world();
    let mut mpi = MpiCtx::new(port(&world, 1));
    let mut shown = 0.0;
    for clock in [50.0, 20.0, 30.0, 60.0, 10.0] {
        let saved = mpi.save().expect("it can be written");
        let port = Port { clock, ..port(&world, 1) };
        mpi = MpiCtx::restore(port, &Nothing, &saved).expect("it can be read");
        assert_eq!(mpi.wtime(), f64::max(clock, shown), "a node whose clock shows {clock}");
        mpi.port.clock += 5.0;
        shown = mpi.wtime();
    }
    mpi.port.clock = f64::NAN;
    let damaged = mpi.save().expect("it can be written");
    assert!(restore(&world, 1, &damaged).is_err());
}

#[test]
fn what_nodes_write_is_one_state() {
    let saved = [0, 1].map(|this_node| {
        let placement = Placement { nodes: [0, 0, 1].into(), this_node };
        World::new(vec![0; 3], vec![0; 3], placement).save().expect("it can be written")
    });
    let (merged, processes) = World::merge(&saved).expect("they are of one job");
    assert_eq!(processes, 3);
    assert_eq!(world().restore_from(&merged), Ok(()));
    assert!(matches!(World::merge(&[]), Err(SaveError::Damaged(_))));
}
