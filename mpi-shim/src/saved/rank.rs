//! The whole state of a rank.

use std::collections::BTreeMap;

use faasm_mpi_engine::attribute::{Attributes, Keyval, Keyvals};
use faasm_mpi_engine::error::{ErrorRegistry, MpiError};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestAddr;
use serde::{Deserialize, Serialize};

use super::communicator::{SavedCommunicator, Seats};
use super::message::SavedQueues;
use super::object::{Means, SavedEntry, SavedOther};
use super::request::{SavedRequest, SavedUnderway, started};
use super::types::{SavedType, TypeList, Types};
use super::{SaveError, Saving, damaged, read, write};
use crate::alloc::GuestHeap;
use crate::communicator::{AttachedBuffer, Communicator};
use crate::ctx::{Arrived, FortranBooleans, Interrupted, MpiCtx, OpEntry, OtherEntry, Phase};
use crate::file::FileDefaults;
use crate::file_port::Files;
use crate::handle::{HandleKind, Handles, Slots};
use crate::port::MpiPort;
use crate::request::{Departure, Underway};
use crate::tool::ToolState;
use crate::window::{FarOps, Window};
use crate::world::SavedGathering;

/// What is written.
#[derive(Debug, Serialize, Deserialize)]
struct SavedRank {
    rank: u32,
    size: u32,
    types: Vec<SavedType>,
    phase: Phase,
    thread_level: i32,
    comm_world: SavedCommunicator,
    comm_self: SavedCommunicator,
    comms: Slots<SavedCommunicator>,
    /// The communicator with the processes that spawned it.
    parent: i32,
    groups: Slots<Group>,
    datatypes: Slots<SavedEntry>,
    ops: Slots<OpEntry>,
    requests: Slots<SavedRequest>,
    others: Slots<SavedOther>,
    keyvals: (Vec<(i32, Keyval, bool)>, i32),
    predefined_attributes: Option<u32>,
    errors: ErrorRegistry,
    predefined_types: Vec<(i32, SavedEntry)>,
    queues: SavedQueues,
    heap: GuestHeap,
    attached: Option<AttachedBuffer>,
    error_comm: i32,
    sent: (u64, u64),
    underway: Vec<SavedUnderway>,
    partitioned: Vec<i32>,
    partition_tags: BTreeMap<(u32, u32), i32>,
    generalized: u32,
    sessions: u32,
    group_sessions: BTreeMap<i32, i32>,
    tool: ToolState,
    files: FileDefaults,
    fortran_booleans: Option<FortranBooleans>,
    /// What its clock showed.
    wtime: f64,
    /// By context, what a target on another node said and no call has reported.
    far_errors: BTreeMap<u32, MpiError>,
    interrupted: Option<Interrupted>,
    /// The communicators of groups of which it is the first member that not all members have come to make.
    gatherings: Vec<SavedGathering>,
    /// What the calls of the rank's threads were doing.
    notes: BTreeMap<u32, Interrupted>,
}

impl<P: MpiPort> MpiCtx<P> {
    /// Why the state cannot be written now, if so: names the object and the cause.
    pub fn hindrance(&self) -> Option<String> {
        if self.callbacks > 0 {
            return Some("MPI is in a function of the program".to_owned());
        }
        if self.asks() {
            return Some("a reduction between nodes needs an operator of the program".to_owned());
        }
        if self.faults.is_active() || !self.faults.debates.is_empty() {
            return Some("processes have failed, or agree on something".to_owned());
        }
        None
    }

    /// The ranks that have to be on one node, because they share the memory of a window or were told that they can; only the
    /// first member tells.
    pub fn bonds(&self) -> Vec<Vec<u32>> {
        let shared = |window: &Window| {
            let segments = window.segments.as_ref().filter(|_| window.rank == 0)?;
            (segments.layout.bytes() > 0).then(|| window.shared.group.iter().collect())
        };
        let windows = self.others.iter().filter_map(|(_, other)| match other {
            OtherEntry::Window(window) => shared(window),
            _ => None,
        });
        let shares = |comm: &Communicator| comm.shares && comm.rank == 0 && comm.size() > 1;
        let comms = self.comms.iter().map(|(_, comm)| comm).filter(|comm| shares(comm));
        windows.chain(comms.map(|comm| comm.group.iter().collect())).collect()
    }

    /// Puts the pages of windows of shared memory into the memory of a rank that has been put back, which has its content by
    /// now.
    ///
    /// # Errors
    /// The kernel gives no pages, or the windows cannot be where they are said to be.
    pub fn share_windows(&self) -> Result<(), SaveError> {
        for (_, other) in self.others.iter() {
            let OtherEntry::Window(window) = other else { continue };
            let segments = window.segments.as_ref();
            let Some(segments) = segments.filter(|segments| segments.layout.bytes() > 0) else {
                continue;
            };
            let memory = self.memory().map_err(|error| damaged(error.detail))?;
            let pages = window.shared.take_pages(memory, (segments.start, segments.layout.bytes()));
            let shared =
                pages.and_then(|pages| memory.map_shared(GuestAddr::from(segments.start), &pages));
            shared.map_err(|cause| {
                let name = &window.name;
                SaveError::Hindered(format!("the shared memory of the window {name:?}: {cause}"))
            })?;
        }
        Ok(())
    }

    /// The state as a value; to be taken while the job stands still and the rank's stack is taken.
    ///
    /// # Errors
    /// What [`MpiCtx::hindrance`] names.
    pub fn save(&mut self) -> Result<Vec<u8>, SaveError> {
        self.progress();
        if let Some(why) = self.hindrance() {
            return Err(SaveError::Hindered(why));
        }
        write(&self.to_saved()?)
    }

    fn to_saved(&self) -> Saving<SavedRank> {
        let mut types = TypeList::default();
        let types = &mut types;
        let comm = |comm: &_| Ok(SavedCommunicator::of(comm));
        let fetch = |arrived: &Arrived| self.data_of(arrived);
        // Who waits for a lock asks for it again.
        let holds =
            |note: &Interrupted| !matches!(note, Interrupted::Lock | Interrupted::FarLock(_));
        let notes = self.notes.iter().filter(|(_, note)| holds(note));
        let predefined = self.predefined_types.iter();
        let mut saved = SavedRank {
            rank: self.port.rank(),
            size: self.port.world().size(),
            types: Vec::new(),
            phase: self.phase,
            thread_level: self.thread_level,
            comm_world: SavedCommunicator::of(&self.comm_world),
            comm_self: SavedCommunicator::of(&self.comm_self),
            comms: self.comms.to_slots::<_, SaveError>(comm)?,
            parent: self.parent,
            groups: self.groups.to_slots(|group| Ok::<_, SaveError>(group.clone()))?,
            datatypes: self
                .datatypes
                .to_slots(|entry| Ok::<_, SaveError>(SavedEntry::of(entry, types)))?,
            ops: self.ops.to_slots(|op| Ok::<_, SaveError>(op.clone()))?,
            requests: self.requests.to_slots(|request| SavedRequest::of(request, types))?,
            others: self.others.to_slots(|other| SavedOther::of(other, types, &fetch))?,
            keyvals: self.keyvals.to_list(),
            predefined_attributes: self.predefined_attributes,
            errors: self.errors.clone(),
            predefined_types: predefined
                .map(|(handle, entry)| (*handle, SavedEntry::of(entry, types)))
                .collect(),
            queues: SavedQueues::of(&self.matching, &fetch)?,
            heap: self.heap.clone(),
            attached: self.attached,
            error_comm: self.error_comm,
            sent: (self.sent_messages, self.sent_bytes),
            underway: self.underway.iter().map(|one| (one.handle, one.number)).collect(),
            partitioned: self.partitioned.clone(),
            partition_tags: self.partition_tags.clone(),
            generalized: self.generalized,
            sessions: self.sessions,
            group_sessions: self.group_sessions.clone(),
            tool: self.tool.clone(),
            files: self.files.clone(),
            fortran_booleans: self.fortran_booleans,
            wtime: self.wtime(),
            far_errors: self.far_ops.errors().clone(),
            interrupted: self.interrupted.filter(holds),
            gatherings: self.port.world().gatherings_of(self.port.rank()),
            notes: notes.map(|(thread, note)| (*thread, *note)).collect(),
        };
        saved.types = std::mem::take(types).into_list();
        Ok(saved)
    }

    /// The state that [`MpiCtx::save`] gave, of the rank that `port` belongs to. Its files are opened again through
    /// `files`.
    ///
    /// # Errors
    /// When the bytes are damaged, of another rank or job, or a file is not as it was.
    pub fn restore(port: P, files: &dyn Files, saved: &[u8]) -> Result<Self, SaveError> {
        let saved: SavedRank = read(saved)?;
        if (saved.rank, saved.size) != (port.rank(), port.world().size()) {
            return Err(damaged("it is of another rank or job"));
        }
        let world = port.world().clone();
        let known = world.known();
        let mut new = Self::new(port);
        let gatherings = world.adopt_gatherings(saved.rank, saved.gatherings);
        gatherings.ok_or_else(|| damaged("a communicator that is being made"))?;
        let types = Types::rebuild(saved.types)?;
        let mut seats = Seats::new(&world, saved.rank);
        new.comm_world = saved.comm_world.restore(&mut seats)?;
        new.comm_self = saved.comm_self.restore(&mut seats)?;
        let comms = saved.comms;
        new.comms = table(HandleKind::Communicator, comms, |comm| comm.restore(&mut seats))?;
        new.parent = saved.parent;
        new.groups = table(HandleKind::Group, saved.groups, |group| of_job(group, known))?;
        new.datatypes = table(HandleKind::Datatype, saved.datatypes, |one| one.restore(&types))?;
        new.ops = table(HandleKind::Op, saved.ops, Ok)?;
        new.requests = table(HandleKind::Request, saved.requests, |request| {
            request.restore(&types, &mut seats, known)
        })?;
        let (rank, comms) = (saved.rank, &new.comms);
        let means = Means { world: &world, files, types: &types, comms, rank };
        new.others = table(HandleKind::Other, saved.others, |other| other.restore(&means))?;
        let predefined = saved.predefined_types.into_iter();
        let predefined = predefined.map(|(handle, entry)| Ok((handle, entry.restore(&types)?)));
        new.predefined_types = predefined.collect::<Saving<_>>()?;
        new.matching = saved.queues.restore(known)?;
        new.recount();
        if !saved.heap.is_sound() {
            return Err(damaged("memory of MPI in the program"));
        }
        (new.heap, new.attached, new.errors) = (saved.heap, saved.attached, saved.errors);
        (new.phase, new.thread_level) = (saved.phase, saved.thread_level);
        (new.predefined_attributes, new.error_comm) =
            (saved.predefined_attributes, saved.error_comm);
        (new.sent_messages, new.sent_bytes) = saved.sent;
        new.port.count_sent(rank, 0, saved.sent);
        (new.partitioned, new.partition_tags) = (saved.partitioned, saved.partition_tags);
        (new.generalized, new.sessions) = (saved.generalized, saved.sessions);
        (new.group_sessions, new.tool, new.files) = (saved.group_sessions, saved.tool, saved.files);
        (new.fortran_booleans, new.interrupted) = (saved.fortran_booleans, saved.interrupted);
        if !saved.wtime.is_finite() {
            return Err(damaged("the time"));
        }
        new.ahead = (saved.wtime - new.port.wtime()).max(0.0);
        new.notes = saved.notes;
        new.far_ops = FarOps::with_errors(saved.far_errors);
        new.keyvals = new.counted(saved.keyvals);
        new.join_again(saved.underway)?;
        new.port.set_initialized(new.phase == Phase::Running || new.sessions > 0);
        Ok(new)
    }

    /// The keys, with the attributes that are there counted.
    fn counted(&self, (list, next): (Vec<(i32, Keyval, bool)>, i32)) -> Keyvals {
        let mut keyvals = Keyvals::from_list(list, next);
        let windows = self.others.iter().filter_map(|(_, other)| match other {
            OtherEntry::Window(window) => Some(&window.attributes),
            _ => None,
        });
        let comms =
            self.comms.iter().map(|(_, comm)| comm).chain([&self.comm_world, &self.comm_self]);
        let types =
            self.datatypes.iter().map(|(_, entry)| entry).chain(self.predefined_types.values());
        let all = comms.map(|comm| &comm.attributes).chain(types.map(|entry| &entry.attributes));
        let keys = all.chain(windows).flat_map(Attributes::to_list);
        keys.for_each(|(key, _)| keyvals.attach(key));
        keyvals.forget_unused();
        keyvals
    }

    /// Brings what this member brought to the collectives under way once more.
    fn join_again(&mut self, underway: Vec<SavedUnderway>) -> Saving<()> {
        for (handle, number) in underway {
            let request = self.requests.get(handle);
            let (collective, context) =
                request.and_then(started).ok_or_else(|| damaged("a collective under way"))?;
            let (site, seat) = (&collective.site, collective.seat);
            let (appointment, is_last) = site.join(seat, number, collective.contribution.clone());
            if is_last && site.elsewhere().is_none() {
                return Err(damaged("a collective under way has all its members"));
            }
            if is_last {
                // All of this node have come. Their memories are not here yet.
                let (collective, appointment) = (collective.clone(), appointment.clone());
                self.departures.push(Departure { collective, context, number, appointment });
            }
            self.underway.push(Underway { handle, appointment, seat, number });
        }
        self.expect_functions();
        Ok(())
    }
}

fn of_job(group: Group, known: u32) -> Saving<Group> {
    if group.iter().any(|rank| rank >= known) { Err(damaged("a group")) } else { Ok(group) }
}

fn table<S, T>(
    kind: HandleKind,
    saved: Slots<S>,
    restore: impl FnMut(S) -> Saving<T>,
) -> Saving<Handles<T>> {
    Handles::from_slots(kind, saved, restore)?.ok_or_else(|| damaged("a table of handles"))
}
