//! A communicator as one rank holds it.

use std::sync::Arc;

use faasm_mpi_engine::attribute::Attributes;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::topology::Cartesian;

use crate::world::Site;

/// A communicator: who is in it and what is attached to it.
#[derive(Clone, Debug)]
pub struct Communicator {
    /// Keeps its messages apart from those of other communicators.
    pub context: u32,
    /// Its members' world ranks, in rank order.
    pub group: Group,
    /// This process's rank in it.
    pub rank: u32,
    /// Where its members meet for collectives.
    pub site: Arc<Site>,
    /// Number of collectives this rank has entered here.
    pub meetings: u64,
    /// Handle of its error handler.
    pub errhandler: i32,
    /// Cartesian structure, if it has one.
    pub topology: Option<Cartesian>,
    /// Cached attributes.
    pub attributes: Attributes,
    /// Name given by `MPI_Comm_set_name`, or the predefined one.
    pub name: String,
    /// Handle of the info object attached to it, or `MPI_INFO_NULL`.
    pub info: i32,
}

impl Communicator {
    /// A communicator without attributes, topology or name.
    pub fn new(context: u32, group: Group, rank: u32, site: Arc<Site>, errhandler: i32) -> Self {
        Self {
            context,
            group,
            rank,
            site,
            meetings: 0,
            errhandler,
            topology: None,
            attributes: Attributes::default(),
            name: String::new(),
            info: crate::abi::MPI_INFO_NULL,
        }
    }

    /// Number of members.
    pub fn size(&self) -> u32 {
        self.site.members()
    }
}
