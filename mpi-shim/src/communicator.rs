//! A communicator as one rank holds it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use faasm_mpi_engine::attribute::Attributes;
use faasm_mpi_engine::collective::intercomm::Position;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::graph::Topology;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;

use crate::site::Site;
use crate::world::World;

/// A communicator: who is in it and what is attached to it.
#[derive(Clone, Debug)]
pub struct Communicator {
    /// Keeps its messages apart from those of other communicators.
    pub context: u32,
    /// Its members' world ranks, in rank order.
    pub group: Group,
    /// This process's rank in it.
    pub rank: u32,
    /// Its seat at the site: its place among the members of its node.
    pub seat: u32,
    /// Where its members meet for collectives.
    pub site: Arc<Seat>,
    /// Number of collectives this rank has entered here.
    pub meetings: u64,
    /// Number of agreements this rank has begun here.
    pub agreements: u32,
    /// How many failures of peers the program has acknowledged, in the order in which they became known.
    pub acked: usize,
    /// Handle of its error handler.
    pub errhandler: i32,
    /// Structure of the members, if it has one.
    pub topology: Option<Topology>,
    /// Cached attributes.
    pub attributes: Attributes,
    /// Name given by `MPI_Comm_set_name`, or the predefined one.
    pub name: String,
    /// Buffer of `MPI_Comm_attach_buffer`; a duplicate has none.
    pub attached: Option<AttachedBuffer>,
    /// Hints given to it.
    pub info: Info,
    /// Its two groups, if it is an intercommunicator; `group` is the local one then, and the site
    /// that of all processes of both.
    pub between: Option<Arc<Between>>,
    /// Handle of the session it was made in; 0 for none.
    pub session: i32,
    /// Its members were told that they can share memory, and may do so: they stay together. Section 7.4.2.
    pub shares: bool,
}

/// The two groups of an intercommunicator. Section 7.6.
#[derive(Clone, Debug)]
pub struct Between {
    /// Its other group.
    pub remote: Group,
    /// The processes of both groups in one row, those of the low group first.
    pub all: Group,
    /// Where this process stands in the row.
    pub position: Position,
}

/// One member's own access to a site.
///
/// It is counted apart from the site: taking part in a meeting does not touch a cache line of all
/// members.
#[derive(Debug)]
pub struct Seat {
    site: Arc<Site>,
    /// Non-blocking collectives that the member has started here, and persistent ones it has initialised.
    started: AtomicU64,
    /// The member was interrupted after it had arrived at a meeting, and will come again.
    has_arrived: AtomicBool,
}

impl Seat {
    /// The seat of a member that has started so many non-blocking collectives there.
    pub(crate) const fn new(site: Arc<Site>, started: u64) -> Self {
        Self { site, started: AtomicU64::new(started), has_arrived: AtomicBool::new(false) }
    }

    /// Where it is.
    pub(crate) const fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// Number of non-blocking collectives that the member has started here.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Notes whether the member has arrived at a meeting without having been released.
    pub(crate) fn set_arrived(&self, has_arrived: bool) {
        self.has_arrived.store(has_arrived, Ordering::Relaxed);
    }

    /// Whether the member has arrived at its last meeting before and now only waits for its end; it is told so once.
    #[inline]
    pub(crate) fn comes_again(&self) -> bool {
        self.has_arrived.load(Ordering::Relaxed) && self.has_arrived.swap(false, Ordering::Relaxed)
    }

    /// Number of the non-blocking collective that the member starts, or of the persistent one that it
    /// initialises now, from 1.
    pub fn next_number(&self) -> u64 {
        self.started.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Deref for Seat {
    type Target = Site;

    #[inline]
    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Communicator {
    /// A communicator without attributes, topology or name.
    pub fn new(context: u32, group: Group, rank: u32, site: Arc<Site>, errhandler: i32) -> Self {
        Self {
            context,
            group,
            rank,
            seat: site.seat(rank),
            site: Arc::new(Seat::new(site, 0)),
            meetings: 0,
            agreements: 0,
            acked: 0,
            errhandler,
            topology: None,
            attributes: Attributes::default(),
            name: String::new(),
            attached: None,
            info: Info::new(),
            between: None,
            session: 0,
            shares: false,
        }
    }

    /// Tells the world which ranks may come to share memory by it; its first member does.
    pub(crate) fn bind(&self, world: &World) {
        if self.shares && self.rank == 0 && self.size() > 1 && self.site.elsewhere().is_none() {
            world.bind(self.context, self.group.iter());
        }
    }

    /// It is being freed.
    pub(crate) fn unbind(&self, world: &World) {
        if self.shares && self.rank == 0 {
            world.unbind(self.context);
        }
    }

    /// An intercommunicator of the first `low` processes of `all` and the others, as the process with
    /// this number sees it.
    ///
    /// # Errors
    /// `MPI_ERR_INTERN` when a group is empty or the number none of them.
    pub fn between(
        context: u32,
        (all, low): (Group, u32),
        number: u32,
        site: Arc<Site>,
        errhandler: i32,
    ) -> Result<Self> {
        let size = all.len() as u32;
        let position = Position { low, size, number };
        if low == 0 || low >= size || number >= size {
            let detail = format!("{low} and {size} are no two groups with a process {number}");
            return Err(MpiError::new(ErrorClass::Intern, detail));
        }
        let part = |range: std::ops::Range<u32>| {
            let ranks = all.iter().skip(range.start as usize).take(range.len());
            Group::new(ranks.collect())
        };
        let (local, remote) = (part(position.local())?, part(position.remote())?);
        let rank = number - position.local().start;
        let mut new = Self::new(context, local, number, site, errhandler);
        new.rank = rank;
        new.between = Some(Arc::new(Between { remote, all, position }));
        Ok(new)
    }

    /// Number of members; of an intercommunicator those of the local group.
    #[inline]
    pub fn size(&self) -> u32 {
        match &self.between {
            None => self.site.communicator_size(),
            Some(_) => self.group.len() as u32,
        }
    }

    /// The processes that this one sends to and receives from.
    #[inline]
    pub fn peers(&self) -> &Group {
        match &self.between {
            None => &self.group,
            Some(between) => &between.remote,
        }
    }

    /// Number of those.
    #[inline]
    pub fn peer_count(&self) -> u32 {
        match &self.between {
            None => self.site.communicator_size(),
            Some(between) => between.remote.len() as u32,
        }
    }

    /// All processes that meet at its site.
    #[inline]
    pub fn everyone(&self) -> &Group {
        match &self.between {
            None => &self.group,
            Some(between) => &between.all,
        }
    }

    /// The place of this process among those.
    #[inline]
    pub fn number(&self) -> u32 {
        match &self.between {
            None => self.rank,
            Some(between) => between.position.number,
        }
    }
}

/// A session: one more life of MPI in a process. Section 11.3.
#[derive(Clone, Debug)]
pub struct Session {
    /// Handle of its error handler.
    pub errhandler: i32,
    /// Its buffer for buffered sends.
    pub attached: Option<AttachedBuffer>,
    /// Thread level, as a word of `MPI_Info`.
    pub thread_level: &'static str,
}

/// A buffer for buffered sends, as the guest attached it. Section 3.6.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AttachedBuffer {
    /// Its address, or `MPI_BUFFER_AUTOMATIC` for one without a limit.
    pub addr: u32,
    /// Its size; 0 for an automatic one.
    pub size_bytes: u32,
}
