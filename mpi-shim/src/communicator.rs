//! A communicator as one rank holds it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use faasm_mpi_engine::attribute::Attributes;
use faasm_mpi_engine::graph::Topology;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;

use crate::site::Site;

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
}

/// One member's own access to a site.
///
/// It is counted apart from the site: taking part in a meeting does not touch a cache line of all
/// members.
#[derive(Debug)]
pub struct Seat {
    site: Arc<Site>,
    /// Non-blocking collectives that the member has started here.
    started: AtomicU64,
}

impl Seat {
    /// Number of the non-blocking collective that the member starts now, from 1.
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
            site: Arc::new(Seat { site, started: AtomicU64::new(0) }),
            meetings: 0,
            errhandler,
            topology: None,
            attributes: Attributes::default(),
            name: String::new(),
            attached: None,
            info: Info::new(),
        }
    }

    /// Number of members.
    pub fn size(&self) -> u32 {
        self.site.communicator_size()
    }
}

/// A buffer for buffered sends, as the guest attached it. Section 3.6.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct AttachedBuffer {
    /// Its address, or `MPI_BUFFER_AUTOMATIC` for one without a limit.
    pub addr: u32,
    /// Its size; 0 for an automatic one.
    pub size_bytes: u32,
}
