//! The MPI state of one rank.

use faasm_mpi_engine::attribute::Keyvals;
use faasm_mpi_engine::datatype::{Datatype, Predefined};
use faasm_mpi_engine::error::{ErrorClass, ErrorRegistry, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;
use faasm_mpi_engine::matching::Matching;
use faasm_mpi_engine::op::Op;
use faasm_vm::{GuestAddr, GuestFault, GuestMemory};

use crate::abi;
use crate::alloc::GuestHeap;
use crate::communicator::{AttachedBuffer, Communicator, Session};
use crate::fault::Faults;
use crate::file::{FileDefaults, FileEntry};
use crate::handle::{HandleKind, Handles};
use crate::port::{Header, Message, MpiPort, Payload};
use crate::progress::{Credits, Pulls};
use crate::request::{Departure, Request, Underway};
use crate::site::Site;
use crate::tool::ToolState;
use crate::window::{FarOps, Window};
use crate::world::{CONTEXT_SELF, CONTEXT_WORLD, Family};

/// How far the program is between `MPI_Init` and `MPI_Finalize`.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// Before `MPI_Init`.
    Before,
    /// MPI calls are legal.
    Running,
    /// After `MPI_Finalize`.
    After,
}

/// An operator that a guest's handle names.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum OpEntry {
    /// Made by `MPI_Op_create`.
    User {
        /// Index of the C function in the guest's table.
        function: u32,
        /// Whether operands may be exchanged.
        commutes: bool,
        /// Made by `MPI_Op_create_c`: the function takes the length as an `MPI_Count`.
        large: bool,
    },
}

/// A datatype that a guest's handle names.
#[derive(Clone, Debug)]
pub struct DatatypeEntry {
    /// The type, which knows whether it is committed.
    pub datatype: Datatype,
    /// Name given by `MPI_Type_set_name`.
    pub name: Option<String>,
    /// Cached attributes.
    pub attributes: faasm_mpi_engine::attribute::Attributes,
}

impl DatatypeEntry {
    /// A type without name and attributes.
    pub fn new(datatype: Datatype) -> Self {
        Self { datatype, name: None, attributes: faasm_mpi_engine::attribute::Attributes::new() }
    }
}

/// The objects that share the handle kind `Other`.
#[derive(Clone, Debug)]
pub enum OtherEntry {
    /// `MPI_Info`.
    Info(Info),
    /// A handler made by `MPI_Comm_create_errhandler`: index of the C function in the guest's table.
    Errhandler {
        /// The function.
        function: u32,
        /// Communicators that use it; they keep it alive after `MPI_Errhandler_free`.
        users: u32,
        /// References that the guest holds, from making it and from asking for it.
        handles: u32,
    },
    /// An open file.
    File(Box<FileEntry>),
    /// A message extracted by a matched probe.
    Message(Arrived, i32),
    /// `MPI_Win`.
    Window(Box<Window>),
    /// `MPI_Session`.
    Session(Box<Session>),
}

/// A message that arrived: header and payload.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Everything but the payload.
    pub header: Header,
    /// The payload.
    pub payload: Payload,
}

/// What a call was doing when it was left where it waited: with this it goes on when it is called anew.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Interrupted {
    /// It waits for this request, which the program does not know.
    Request(i32),
    /// It waits for a send and a receive.
    Pair(i32, i32),
    /// It is among those who wait for a lock of a window.
    Lock,
    /// It waits for the answer of this name, which comes when it has a lock that another node keeps.
    FarLock(u32),
    /// The group that accepts or connects has agreed, and its root has asked to be accepted under this context.
    Agreed(Option<u32>),
}

/// The MPI state of one rank.
#[derive(Debug)]
pub struct MpiCtx<P> {
    /// The way to the other ranks.
    pub port: P,
    pub(crate) memory: Option<GuestMemory>,
    /// Functions of the program that MPI has called and that have not returned.
    pub callbacks: u32,
    /// Between `MPI_Init` and `MPI_Finalize`?
    pub phase: Phase,
    /// Thread level that `MPI_Init_thread` provided.
    pub thread_level: i32,
    /// `MPI_COMM_WORLD`.
    pub comm_world: Communicator,
    /// `MPI_COMM_SELF`.
    pub comm_self: Communicator,
    /// The intercommunicator with the processes that spawned this one, or `MPI_COMM_NULL`.
    pub parent: i32,
    /// Other communicators.
    pub comms: Handles<Communicator>,
    /// Groups.
    pub groups: Handles<Group>,
    /// Derived datatypes.
    pub datatypes: Handles<DatatypeEntry>,
    /// User operators.
    pub ops: Handles<OpEntry>,
    /// Requests.
    pub requests: Handles<Request>,
    /// Info objects, error handlers, matched messages, windows.
    pub others: Handles<OtherEntry>,
    /// Attribute keys.
    pub keyvals: Keyvals,
    /// Address of the predefined attributes' values in the guest, once it asked for one.
    pub predefined_attributes: Option<u32>,
    /// Error classes and codes added by the program.
    pub errors: ErrorRegistry,
    /// Attributes and names of predefined datatypes.
    pub predefined_types: std::collections::BTreeMap<i32, DatatypeEntry>,
    /// Posted and unexpected messages.
    pub matching: Matching<Arrived>,
    /// Memory that MPI itself needs inside the guest.
    pub heap: GuestHeap,
    /// Buffer of `MPI_Buffer_attach`.
    pub attached: Option<AttachedBuffer>,
    /// Communicator whose error handler the running call's error goes to.
    pub error_comm: i32,
    /// Messages sent.
    pub sent_messages: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Reused for payloads on their way out.
    pub(crate) staging: Vec<u8>,
    /// Whether other ranks may run on other nodes.
    pub(crate) is_spread: bool,
    /// Receives whose data is on its way from another node.
    pub(crate) pulls: Pulls,
    /// Data that was sent unasked and not matched yet.
    pub(crate) credits: Credits,
    /// Answers of other nodes that nobody has taken yet.
    pub(crate) answers: Vec<Message>,
    /// Operations on windows of other nodes that are under way.
    pub(crate) far_ops: FarOps,
    /// Collectives that were started and are not complete.
    pub(crate) underway: Vec<Underway>,
    /// Collectives that are put back and have not set out.
    pub(crate) departures: Vec<Departure>,
    /// Partitioned operations that wait for something, in the order in which they were made.
    pub(crate) partitioned: Vec<i32>,
    /// The next tag for partitions, by context and receiver.
    pub(crate) partition_tags: std::collections::BTreeMap<(u32, u32), i32>,
    /// Generalized requests that the program has not been told to free.
    pub(crate) generalized: u32,
    /// Sessions that are open.
    pub(crate) sessions: u32,
    /// The session of each group that was made of one of its process sets.
    pub(crate) group_sessions: std::collections::BTreeMap<i32, i32>,
    /// The tool information interface.
    pub(crate) tool: ToolState,
    /// Processes that have failed, and agreements.
    pub(crate) faults: Faults,
    /// What all files share.
    pub(crate) files: FileDefaults,
    /// A call that must not wait has watched for messages in vain, and the same call is about to be made again.
    pub(crate) has_watched: bool,
    /// Calls in a row that had to wait although they were made at once.
    pub(crate) misses: u32,
    /// The receiver of a message that was sent at once is to run before more is sent.
    pub(crate) owes_turn: bool,
    /// The function that has failed at once, until the program's error handler is called for it, and why.
    pub(crate) unraised: Option<(&'static str, MpiError)>,
    /// What was left where it waited, until the same call is there again.
    pub(crate) interrupted: Option<Interrupted>,
    /// The same of the rank's threads that do not have the state now, by their numbers.
    pub(crate) notes: std::collections::BTreeMap<u32, Interrupted>,
    /// Fortran's true and false, once the program told.
    pub(crate) fortran_booleans: Option<FortranBooleans>,
    /// Seconds by which the rank's clock is ahead of its node's: it has been on a node whose job had begun earlier.
    pub(crate) ahead: f64,
    /// Where calls leave the end of the program, once some operation needs its functions in any call that waits.
    pub(crate) fate: Option<std::sync::Arc<crate::fate::Fate>>,
}

/// Fortran's true and false, as `MPI_Abi_set_fortran_booleans` gave them.
#[derive(Copy, Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct FortranBooleans {
    pub(crate) bytes: usize,
    pub(crate) yes: [u8; 16],
    pub(crate) no: [u8; 16],
}

impl<P: MpiPort> MpiCtx<P> {
    /// The state of a rank before `MPI_Init`.
    pub fn new(port: P) -> Self {
        let (rank, world) = (port.rank(), port.world());
        let is_spread = world.is_spread();
        let faults = Faults::new(world);
        let fatal = abi::MPI_ERRORS_ARE_FATAL;
        let family = world.family(rank);
        let mut comm_world = match &family {
            None => {
                let everyone = Group::world(world.size() as usize);
                Communicator::new(CONTEXT_WORLD, everyone, rank, world.world_site().clone(), fatal)
            }
            Some(family) => {
                let own = family.group.rank_of(rank).unwrap_or(0) as u32;
                let (group, site) = (family.group.clone(), family.site.clone());
                Communicator::new(family.context, group, own, site, fatal)
            }
        };
        let mut comms = Handles::new(HandleKind::Communicator);
        let parent = family.map(|family| with_parents(&family, rank));
        let parent = parent.and_then(|parent| comms.insert(parent)).unwrap_or(abi::MPI_COMM_NULL);
        "MPI_COMM_WORLD".clone_into(&mut comm_world.name);
        let alone = std::sync::Arc::new(Site::new(std::iter::once(0), None));
        let mut comm_self = Communicator::new(CONTEXT_SELF, only(rank), 0, alone, fatal);
        "MPI_COMM_SELF".clone_into(&mut comm_self.name);
        Self {
            port,
            memory: None,
            phase: Phase::Before,
            thread_level: abi::MPI_THREAD_SINGLE,
            comm_world,
            comm_self,
            parent,
            comms,
            groups: Handles::new(HandleKind::Group),
            datatypes: Handles::new(HandleKind::Datatype),
            ops: Handles::new(HandleKind::Op),
            requests: Handles::new(HandleKind::Request),
            others: Handles::new(HandleKind::Other),
            keyvals: Keyvals::new(FIRST_KEYVAL),
            predefined_attributes: None,
            errors: ErrorRegistry::default(),
            predefined_types: std::collections::BTreeMap::new(),
            matching: Matching::default(),
            heap: GuestHeap::default(),
            attached: None,
            callbacks: 0,
            error_comm: abi::MPI_COMM_SELF,
            sent_messages: 0,
            sent_bytes: 0,
            staging: Vec::new(),
            is_spread,
            pulls: Pulls::default(),
            credits: Credits::default(),
            answers: Vec::new(),
            far_ops: FarOps::default(),
            underway: Vec::new(),
            departures: Vec::new(),
            partitioned: Vec::new(),
            partition_tags: std::collections::BTreeMap::new(),
            generalized: 0,
            sessions: 0,
            group_sessions: std::collections::BTreeMap::new(),
            tool: ToolState::default(),
            files: FileDefaults::default(),
            faults,
            has_watched: false,
            misses: 0,
            owes_turn: false,
            unraised: None,
            interrupted: None,
            notes: std::collections::BTreeMap::new(),
            fortran_booleans: None,
            ahead: 0.0,
            fate: None,
        }
    }

    /// From now on this thread of the rank has the state.
    #[inline]
    pub fn begin_turn(&mut self, thread: u32) {
        if !self.notes.is_empty() {
            self.interrupted = self.notes.remove(&thread);
        }
    }

    /// This thread of the rank gives the state up, maybe in the middle of a call.
    #[inline]
    pub fn end_turn(&mut self, thread: u32) {
        if let Some(note) = self.interrupted.take() {
            self.notes.insert(thread, note);
        }
    }

    /// `MPI_Wtime`: it never goes back, on whichever nodes the rank is.
    pub(crate) fn wtime(&self) -> f64 {
        self.port.wtime() + self.ahead
    }

    /// Gives the state its guest's memory, once the instance exists.
    pub fn set_memory(&mut self, memory: GuestMemory) {
        self.memory = Some(memory);
    }

    /// The guest's memory.
    ///
    /// # Errors
    /// When the guest calls from its start function, before the instance is complete.
    #[inline]
    pub fn memory(&self) -> Result<&GuestMemory> {
        self.memory.as_ref().ok_or_else(|| {
            MpiError::new(ErrorClass::Other, "MPI cannot be called from a wasm start function")
        })
    }

    /// The communicator behind `handle`, which becomes the one whose error handler counts.
    ///
    /// # Errors
    /// `MPI_ERR_COMM` when it is null, freed or not a communicator.
    #[inline]
    pub fn comm(&mut self, handle: i32) -> Result<&Communicator> {
        self.comm_mut(handle).map(|comm| &*comm)
    }

    /// As [`MpiCtx::comm`], to change it.
    ///
    /// # Errors
    /// `MPI_ERR_COMM` when it is null, freed or not a communicator.
    #[inline]
    pub fn comm_mut(&mut self, handle: i32) -> Result<&mut Communicator> {
        let found = match handle {
            // A program that has only sessions has neither. Section 11.3.
            abi::MPI_COMM_WORLD | abi::MPI_COMM_SELF
                if self.sessions > 0 && self.phase != Phase::Running =>
            {
                None
            }
            abi::MPI_COMM_WORLD => Some(&mut self.comm_world),
            abi::MPI_COMM_SELF => Some(&mut self.comm_self),
            _ => self.comms.get_mut(handle),
        };
        match found {
            Some(comm) => {
                self.error_comm = handle;
                Ok(comm)
            }
            None => Err(bad_handle(ErrorClass::Comm, "comm", handle, abi::MPI_COMM_NULL)),
        }
    }

    /// As [`MpiCtx::comm`] where an intercommunicator has no meaning.
    ///
    /// # Errors
    /// `MPI_ERR_COMM` for an intercommunicator, too.
    #[inline]
    pub fn intracomm(&mut self, handle: i32) -> Result<&Communicator> {
        let comm = self.comm(handle)?;
        if comm.between.is_some() {
            let detail = "an intercommunicator cannot be used here; MPI_Intercomm_merge makes an \
                          intracommunicator of it";
            return Err(MpiError::argument(ErrorClass::Comm, "comm", detail));
        }
        Ok(comm)
    }

    /// The error handler of a communicator or window, and the object's kind and name for reports.
    pub(crate) fn handled(&mut self, handle: i32) -> (i32, String) {
        let named = |kind: &str, name: &str| match name {
            "" => format!("{kind} {handle:#x}"),
            name => format!("{kind} {name}"),
        };
        if let Some(OtherEntry::Window(window)) = self.others.get(handle) {
            return (window.errhandler, named("window", &window.name));
        }
        if let Some(OtherEntry::Session(session)) = self.others.get(handle) {
            return (session.errhandler, format!("session {handle:#x}"));
        }
        // A constructor without a parent object is given the handler itself.
        if self.is_errhandler(handle) {
            return (handle, "a new object".to_owned());
        }
        if let Some((errhandler, name)) = self.file_errhandler(handle) {
            return (errhandler, named("file", &name));
        }
        match self.comm(handle) {
            Ok(comm) => (comm.errhandler, named("communicator", &comm.name)),
            Err(_) => (abi::MPI_ERRORS_ARE_FATAL, named("communicator", "?")),
        }
    }

    /// Whether `handle` names an error handler.
    pub(crate) fn is_errhandler(&self, handle: i32) -> bool {
        let predefined = [abi::MPI_ERRORS_ARE_FATAL, abi::MPI_ERRORS_ABORT, abi::MPI_ERRORS_RETURN];
        predefined.contains(&handle)
            || matches!(self.others.get(handle), Some(OtherEntry::Errhandler { .. }))
    }

    /// The datatype behind `handle`, which must be committed.
    ///
    /// # Errors
    /// `MPI_ERR_TYPE` when it is null, freed, uncommitted or not a datatype.
    #[inline]
    pub fn datatype(&self, handle: i32) -> Result<Datatype> {
        if let Some(predefined) = Predefined::from_handle(handle) {
            return Ok(Datatype::Predefined(predefined));
        }
        let entry = self.datatype_entry(handle)?;
        if !entry.datatype.is_committed() {
            let detail = format!("datatype {handle:#x} is not committed; call MPI_Type_commit");
            return Err(MpiError::argument(ErrorClass::Type, "datatype", detail));
        }
        Ok(entry.datatype.clone())
    }

    /// The datatype behind `handle`, committed or not, for constructors and inquiries.
    ///
    /// # Errors
    /// `MPI_ERR_TYPE` when it is null, freed or not a datatype.
    pub fn any_datatype(&self, handle: i32) -> Result<Datatype> {
        if let Some(predefined) = Predefined::from_handle(handle) {
            return Ok(Datatype::Predefined(predefined));
        }
        self.datatype_entry(handle).map(|entry| entry.datatype.clone())
    }

    /// The entry behind `handle`, committed or not, to change its name or attributes. A predefined
    /// datatype gets its entry when first asked for.
    ///
    /// # Errors
    /// `MPI_ERR_TYPE` when it is null, freed or not a datatype.
    pub fn datatype_entry_mut(&mut self, handle: i32) -> Result<&mut DatatypeEntry> {
        if let Some(predefined) = Predefined::from_handle(handle) {
            let entry = || DatatypeEntry::new(predefined.into());
            return Ok(self.predefined_types.entry(handle).or_insert_with(entry));
        }
        self.datatypes
            .get_mut(handle)
            .ok_or_else(|| bad_handle(ErrorClass::Type, "datatype", handle, abi::MPI_DATATYPE_NULL))
    }

    fn datatype_entry(&self, handle: i32) -> Result<&DatatypeEntry> {
        self.datatypes
            .get(handle)
            .ok_or_else(|| bad_handle(ErrorClass::Type, "datatype", handle, abi::MPI_DATATYPE_NULL))
    }

    /// The operator behind `handle`.
    ///
    /// # Errors
    /// `MPI_ERR_OP` when it is null, freed or not an operator.
    pub fn op(&self, handle: i32) -> Result<Operator> {
        if let Some(op) = Op::from_handle(handle) {
            return Ok(Operator::Predefined(op));
        }
        match self.ops.get(handle) {
            Some(&OpEntry::User { function, commutes, large }) => {
                Ok(Operator::User { function, commutes, handle, large })
            }
            None => Err(bad_handle(ErrorClass::Op, "op", handle, abi::MPI_OP_NULL)),
        }
    }

    /// Checks a count argument.
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` when it is negative.
    #[inline]
    pub fn count(count: impl Into<i64>) -> Result<i64> {
        let count = count.into();
        if count < 0 {
            let detail = format!("{count} is negative");
            return Err(MpiError::argument(ErrorClass::Count, "count", detail));
        }
        Ok(count)
    }
}

impl<P> MpiCtx<P> {
    /// The open file behind `handle`, whose error handler counts from now on.
    ///
    /// # Errors
    /// `MPI_ERR_FILE`, for the handler of `MPI_FILE_NULL`.
    pub(crate) fn file(&mut self, handle: i32) -> Result<&mut FileEntry> {
        self.error_comm = abi::MPI_FILE_NULL;
        match self.others.get_mut(handle) {
            Some(OtherEntry::File(entry)) => {
                self.error_comm = handle;
                Ok(entry)
            }
            _ => Err(bad_handle(ErrorClass::File, "fh", handle, abi::MPI_FILE_NULL)),
        }
    }

    /// Error handler and name of the file that `handle` names, or of `MPI_FILE_NULL`.
    pub(crate) fn file_errhandler(&self, handle: i32) -> Option<(i32, String)> {
        if handle == abi::MPI_FILE_NULL {
            return Some((self.files.errhandler, "MPI_FILE_NULL".to_owned()));
        }
        match self.others.get(handle) {
            Some(OtherEntry::File(entry)) => Some((entry.errhandler, entry.path.clone())),
            _ => None,
        }
    }
}

/// The first keyval of the program; smaller numbers are the ABI's predefined ones.
const FIRST_KEYVAL: i32 = 0x1000;

/// The intercommunicator of a spawned process with those that spawned it.
fn with_parents(family: &Family, rank: u32) -> Communicator {
    let all = family.parents.union(&family.group);
    let number = all.rank_of(rank).unwrap_or(0) as u32;
    let site = family.both().clone();
    let (groups, fatal) = ((all, family.parents.len() as u32), abi::MPI_ERRORS_ARE_FATAL);
    let made = Communicator::between(family.parent_context, groups, number, site, fatal);
    let mut parent = made.expect("a family has parents and is one of its own");
    "MPI_COMM_PARENT".clone_into(&mut parent.name);
    parent
}

/// The group of one process.
fn only(rank: u32) -> Group {
    Group::new(vec![rank]).expect("one rank cannot be there twice")
}

/// An operator as a collective call uses it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Operator {
    /// One of the standard's.
    Predefined(Op),
    /// The guest's own.
    User {
        /// Index of the C function in the guest's table.
        function: u32,
        /// Whether operands may be exchanged.
        commutes: bool,
        /// The guest's handle.
        handle: i32,
        /// Whether the function takes the length as an `MPI_Count`.
        large: bool,
    },
}

/// The error for a handle that names nothing of its kind.
pub(crate) fn bad_handle(
    class: ErrorClass,
    argument: &'static str,
    handle: i32,
    null: i32,
) -> MpiError {
    let detail = if handle == null {
        format!("the null handle names no object ({})", class.text())
    } else {
        format!("{handle:#x} is not a live handle of this kind")
    };
    MpiError::argument(class, argument, detail)
}

/// Turns an access outside the guest's memory into an MPI error about `argument`.
pub(crate) fn fault(argument: &'static str) -> impl Fn(GuestFault) -> MpiError {
    move |fault| MpiError::argument(ErrorClass::Buffer, argument, fault.to_string())
}

/// The guest's memory as the engine sees it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a GuestMemory);

impl faasm_mpi_engine::datatype::Memory for Bytes<'_> {
    fn read(
        &self,
        addr: u64,
        out: &mut [u8],
    ) -> std::result::Result<(), faasm_mpi_engine::datatype::Fault> {
        self.0.read(GuestAddr::new(addr), out).map_err(engine_fault)
    }

    fn write(
        &self,
        addr: u64,
        data: &[u8],
    ) -> std::result::Result<(), faasm_mpi_engine::datatype::Fault> {
        self.0.write(GuestAddr::new(addr), data).map_err(engine_fault)
    }

    fn read_row(
        &self,
        addr: u64,
        run: usize,
        stride: u64,
        out: &mut [u8],
    ) -> std::result::Result<(), faasm_mpi_engine::datatype::Fault> {
        self.0.read_strided(GuestAddr::new(addr), (run, stride), out).map_err(engine_fault)
    }

    fn write_row(
        &self,
        addr: u64,
        run: usize,
        stride: u64,
        data: &[u8],
    ) -> std::result::Result<(), faasm_mpi_engine::datatype::Fault> {
        self.0.write_strided(GuestAddr::new(addr), (run, stride), data).map_err(engine_fault)
    }
}

pub(crate) const fn engine_fault(fault: GuestFault) -> faasm_mpi_engine::datatype::Fault {
    faasm_mpi_engine::datatype::Fault { addr: fault.addr, len: fault.len }
}
