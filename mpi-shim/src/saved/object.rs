//! The objects that share the handle kind `Other`, and datatypes with what is attached to them.

use std::sync::Arc;

use faasm_mpi_engine::attribute::Attributes;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;
use faasm_mpi_engine::rma::{LockKind, Wanted};
use serde::{Deserialize, Serialize};

use super::message::{Fetch, SavedMessage};
use super::types::{TypeList, Types};
use super::{SaveError, Saving, damaged};
use crate::abi;
use crate::communicator::{AttachedBuffer, Communicator, Session};
use crate::ctx::{DatatypeEntry, OtherEntry};
use crate::file::{FileEntry, Representation, Shared as SharedFile, Split, ViewType};
use crate::file_port::{FileAccess, Files};
use crate::handle::Handles;
use crate::window::{Fence, Part, Segments, Shared, Window};
use crate::world::World;

/// A datatype with its name and attributes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedEntry {
    datatype: u32,
    name: Option<String>,
    attributes: Vec<(i32, u64)>,
}

impl SavedEntry {
    pub(super) fn of(entry: &DatatypeEntry, types: &mut TypeList) -> Self {
        Self {
            datatype: types.number(&entry.datatype),
            name: entry.name.clone(),
            attributes: entry.attributes.to_list(),
        }
    }

    pub(super) fn restore(self, types: &Types) -> Saving<DatatypeEntry> {
        let Self { datatype, name, attributes } = self;
        let attributes = Attributes::from_list(attributes);
        Ok(DatatypeEntry { datatype: types.get(datatype)?, name, attributes })
    }
}

/// One of these objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum SavedOther {
    Info(Info),
    Errhandler { function: u32, users: u32, handles: u32 },
    File(Box<SavedFile>),
    Message(SavedMessage, i32),
    Window(Box<SavedWindow>),
    Session { errhandler: i32, attached: Option<AttachedBuffer>, thread_level: String },
}

/// What is there to put objects back with.
pub(super) struct Means<'a> {
    pub(super) world: &'a World,
    pub(super) files: &'a dyn Files,
    pub(super) types: &'a Types,
    pub(super) comms: &'a Handles<Communicator>,
    pub(super) rank: u32,
}

impl Means<'_> {
    /// World rank of the first member of an object's own communicator, if the members run on several nodes.
    fn keeper(&self, comm: i32, context: u32) -> Saving<Option<u32>> {
        let own = self.comms.get(comm).filter(|own| own.context == context);
        let own = own.ok_or_else(|| damaged("the communicator of a window or file"))?;
        let first = own.group.world_rank(0);
        Ok(first.filter(|_| own.site.elsewhere().is_some()))
    }
}

impl SavedOther {
    pub(super) fn of(other: &OtherEntry, types: &mut TypeList, fetch: Fetch<'_>) -> Saving<Self> {
        Ok(match other {
            OtherEntry::Info(info) => Self::Info(info.clone()),
            OtherEntry::Errhandler { function, users, handles } => {
                Self::Errhandler { function: *function, users: *users, handles: *handles }
            }
            OtherEntry::File(file) => Self::File(Box::new(SavedFile::of(file, types)?)),
            OtherEntry::Message(arrived, comm) => {
                Self::Message(SavedMessage::of(arrived, fetch)?, *comm)
            }
            OtherEntry::Window(window) => Self::Window(Box::new(SavedWindow::of(window)?)),
            OtherEntry::Session(session) => Self::Session {
                errhandler: session.errhandler,
                attached: session.attached,
                thread_level: session.thread_level.to_owned(),
            },
        })
    }

    pub(super) fn restore(self, means: &Means<'_>) -> Saving<OtherEntry> {
        Ok(match self {
            Self::Info(info) => OtherEntry::Info(info),
            Self::Errhandler { function, users, handles } => {
                OtherEntry::Errhandler { function, users, handles }
            }
            Self::File(file) => OtherEntry::File(Box::new(file.restore(means)?)),
            Self::Message(message, comm) => {
                OtherEntry::Message(message.restore(means.world.known())?, comm)
            }
            Self::Window(window) => {
                let window = window.restore(means)?;
                window.bind(means.world);
                OtherEntry::Window(Box::new(window))
            }
            Self::Session { errhandler, attached, thread_level } => {
                let known = THREAD_LEVELS.into_iter().find(|level| *level == thread_level);
                let thread_level = known.ok_or_else(|| damaged("the thread level of a session"))?;
                OtherEntry::Session(Box::new(Session { errhandler, attached, thread_level }))
            }
        })
    }
}

/// The thread levels of sessions.
const THREAD_LEVELS: [&str; 4] =
    ["MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED", "MPI_THREAD_SERIALIZED", "MPI_THREAD_MULTIPLE"];

/// A window as one rank holds it, with what it alone knows of what all members share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedWindow {
    group: Group,
    parts: Vec<Part>,
    is_dynamic: bool,
    comm: i32,
    context: u32,
    rank: u32,
    flavor: i32,
    allocated: Option<u32>,
    /// Where its shared memory begins, and whether each segment has pages of its own.
    segments: Option<(u32, bool)>,
    values: Option<u32>,
    fence: Fence,
    started: Option<Vec<u32>>,
    posted: Option<Vec<u32>>,
    locks: Vec<(u32, LockKind)>,
    has_locked_all: bool,
    /// All locks that are held, which the first member keeps.
    holders: Vec<(u32, Wanted)>,
    flushes: u32,
    errhandler: i32,
    attributes: Vec<(i32, u64)>,
    name: String,
    info: Info,
    regions: Vec<(u64, u64)>,
    posts: Vec<(u32, u32)>,
    completions: Vec<(u32, u32)>,
}

impl SavedWindow {
    fn of(window: &Window) -> Saving<Self> {
        let (shared, own) = (&window.shared, window.shared.member(window.rank));
        Ok(Self {
            group: shared.group.clone(),
            parts: shared.members.iter().map(|member| member.part).collect(),
            is_dynamic: shared.is_dynamic,
            comm: window.comm,
            context: window.context,
            rank: window.rank,
            flavor: window.flavor,
            allocated: window.allocated,
            segments: window.segments.as_ref().map(|segments| (segments.start, segments.is_apart)),
            values: window.values,
            fence: window.fence,
            started: window.started.clone(),
            posted: window.posted.clone(),
            locks: window.locks.iter().map(|(target, kind)| (*target, *kind)).collect(),
            has_locked_all: window.has_locked_all,
            holders: if window.rank == 0 { shared.locks().holders().collect() } else { Vec::new() },
            flushes: window.flushes,
            errhandler: window.errhandler,
            attributes: window.attributes.to_list(),
            name: window.name.clone(),
            info: window.info.clone(),
            regions: own.regions().iter().map(|(at, len)| (*at, *len)).collect(),
            posts: own.posts().iter().map(|(rank, count)| (*rank, *count)).collect(),
            completions: own.completions().iter().map(|(rank, count)| (*rank, *count)).collect(),
        })
    }

    fn restore(self, means: &Means<'_>) -> Saving<Window> {
        self.check(means)?;
        let is_spread = means.keeper(self.comm, self.context)?.is_some();
        let segments = self.segments(is_spread)?;
        let make = || {
            let shared = Shared::new(self.group.clone(), &self.parts, self.is_dynamic);
            if is_spread { shared.spread() } else { shared }
        };
        let shared: Arc<Shared> = means.world.restored_object(self.context, make)?;
        if is_spread {
            means.world.publish(self.context, shared.clone());
        }
        let parts = shared.members.iter().map(|member| &member.part);
        if !parts.eq(&self.parts) {
            return Err(damaged("ranks disagree about a window"));
        }
        let own = shared.member(self.rank);
        own.regions().extend(self.regions);
        own.posts().extend(self.posts);
        own.completions().extend(self.completions);
        if !shared.put_locks_back(&self.holders) {
            return Err(damaged("two ranks hold one lock of a window"));
        }
        Ok(Window {
            shared,
            comm: self.comm,
            context: self.context,
            rank: self.rank,
            flavor: self.flavor,
            allocated: self.allocated,
            segments,
            values: self.values,
            fence: self.fence,
            started: self.started,
            posted: self.posted,
            locks: self.locks.into_iter().collect(),
            has_locked_all: self.has_locked_all,
            flushes: self.flushes,
            errhandler: self.errhandler,
            attributes: Attributes::from_list(self.attributes),
            name: self.name,
            info: self.info,
        })
    }

    /// Where the members' shared memory lies; its pages come when the rank's memory is what it was.
    fn segments(&self, is_spread: bool) -> Saving<Option<Segments>> {
        let Some((start, is_apart)) = self.segments else { return Ok(None) };
        let sizes = self.parts.iter().map(|part| part.size);
        let layout = Segments::layout(sizes, is_apart).ok_or_else(|| damaged("a shared window"))?;
        if is_spread && layout.bytes() > 0 {
            let ranks: Vec<String> = self.group.iter().map(|rank| rank.to_string()).collect();
            return Err(SaveError::Hindered(format!(
                "the window {:?} has shared memory (MPI_Win_allocate_shared), which its ranks {} can have on one \
                 node only: place them together",
                self.name,
                ranks.join(", ")
            )));
        }
        let at = |rank: u32| start.checked_add(layout.offset(rank));
        if layout.bytes() > 0 && at(self.rank) != Some(self.parts[self.rank as usize].base) {
            return Err(damaged("the place of a shared window"));
        }
        Ok(Some(Segments { start, layout: Arc::new(layout), is_apart }))
    }

    /// Refuses ranks that are none of the window's.
    fn check(&self, means: &Means<'_>) -> Saving<()> {
        let size = self.parts.len();
        let is_own = self.group.world_rank(self.rank as usize) == Some(means.rank);
        let is_of_job = self.group.iter().all(|rank| rank < means.world.known());
        let ranks = self.locks.iter().map(|(target, _)| target);
        let locked = self.holders.iter().flat_map(|(origin, wanted)| match wanted {
            Wanted::All => [Some(origin), None],
            Wanted::One(target, _) => [Some(origin), Some(target)],
        });
        let ranks = ranks.chain(locked.flatten());
        let counted = self.posts.iter().chain(&self.completions).map(|(rank, _)| rank);
        let named = self.started.iter().chain(&self.posted).flatten();
        let all = ranks.chain(counted).chain(named).all(|rank| (*rank as usize) < size);
        let counts = self.posts.iter().chain(&self.completions).all(|(_, count)| *count > 0);
        if is_own && is_of_job && all && counts && self.group.len() == size {
            return Ok(());
        }
        Err(damaged("the members of a window"))
    }
}

/// An open file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedFile {
    path: String,
    /// Bytes in it when it was saved.
    bytes: u64,
    amode: i32,
    comm: i32,
    info: Info,
    errhandler: i32,
    displacement: u64,
    etype: (i32, u32),
    filetype: (i32, u32),
    representation: Representation,
    position: u64,
    is_atomic: bool,
    split: Option<Split>,
    context: u32,
    shared_pointer: u64,
    meets: bool,
}

impl SavedFile {
    fn of(file: &FileEntry, types: &mut TypeList) -> Saving<Self> {
        let size = file.file.size();
        let size = size.map_err(|error| file_error(&file.path, error.to_string()))?;
        let mut typed = |view: &ViewType| (view.handle, types.number(&view.datatype));
        Ok(Self {
            path: file.path.clone(),
            bytes: size,
            amode: file.amode,
            comm: file.comm,
            info: file.info.clone(),
            errhandler: file.errhandler,
            displacement: file.view.displacement(),
            etype: typed(&file.etype),
            filetype: typed(&file.filetype),
            representation: file.representation.clone(),
            position: file.position,
            is_atomic: file.is_atomic,
            split: file.split.clone(),
            context: file.context,
            shared_pointer: *file.shared.pointer(),
            meets: file.meets,
        })
    }

    /// Opens the file again, as long as it was.
    fn restore(self, means: &Means<'_>) -> Saving<FileEntry> {
        let has = |mode| self.amode & mode != 0;
        let writes = has(abi::MPI_MODE_WRONLY) || has(abi::MPI_MODE_RDWR);
        let reads = has(abi::MPI_MODE_RDONLY) || has(abi::MPI_MODE_RDWR);
        let access = FileAccess { reads, writes, creates: false, is_exclusive: false };
        let failed =
            |error: faasm_mpi_engine::error::MpiError| file_error(&self.path, error.detail);
        let file = means.files.open(&self.path, access).map_err(failed)?;
        let found = file.size().map_err(failed)?;
        if found < self.bytes {
            let reason = format!("it has {found} bytes and had {} at the checkpoint", self.bytes);
            return Err(file_error(&self.path, reason));
        }
        if found > self.bytes && writes {
            file.set_size(self.bytes).map_err(failed)?;
        }
        let typed = |(handle, number)| -> Saving<ViewType> {
            Ok(ViewType { handle, datatype: means.types.get(number)? })
        };
        let (etype, filetype) = (typed(self.etype)?, typed(self.filetype)?);
        let displacement = i64::try_from(self.displacement).unwrap_or(-1);
        let view = self
            .representation
            .view(displacement, &etype, &filetype)
            .map_err(|error| damaged(format!("the view of a file: {error}")))?;
        let make = || SharedFile::at(self.shared_pointer);
        let shared: Arc<SharedFile> = means.world.restored_object(self.context, make)?;
        let keeper = means.keeper(self.comm, self.context)?;
        if keeper.is_some() {
            means.world.publish(self.context, shared.clone());
        }
        let first = means.comms.get(self.comm).and_then(|own| own.group.world_rank(0));
        if first == Some(means.rank) {
            // Where members ran on several nodes, only the first one's knew where it stood.
            *shared.pointer() = self.shared_pointer;
        }
        Ok(FileEntry {
            file,
            path: self.path,
            amode: self.amode,
            comm: self.comm,
            info: self.info,
            errhandler: self.errhandler,
            view,
            etype,
            filetype,
            is_resolved: self.representation.is_known(),
            representation: self.representation,
            position: self.position,
            is_atomic: self.is_atomic,
            split: self.split,
            shared,
            context: self.context,
            keeper,
            meets: self.meets,
        })
    }
}

fn file_error(path: &str, reason: String) -> SaveError {
    SaveError::File { path: path.to_owned(), reason }
}
