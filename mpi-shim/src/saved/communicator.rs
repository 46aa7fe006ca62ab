//! Communicators, and the seats of their member.

use std::collections::BTreeMap;
use std::sync::Arc;

use faasm_mpi_engine::attribute::Attributes;
use faasm_mpi_engine::graph::{Distributed, Graph, Topology};
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;
use faasm_mpi_engine::topology::Cartesian;
use serde::{Deserialize, Serialize};

use super::{SaveError, Saving, damaged};
use crate::communicator::{AttachedBuffer, Communicator, Seat};
use crate::site::Site;
use crate::world::{CONTEXT_SELF, CONTEXT_WORLD, World};

/// A communicator as one rank holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedCommunicator {
    context: u32,
    /// All processes that meet at its site.
    everyone: Group,
    /// Size of the low group, if it is an intercommunicator.
    low: Option<u32>,
    /// The rank's place among all.
    number: u32,
    /// Non-blocking collectives that it has started.
    started: u64,
    /// Agreements that it has begun, and failures that it has acknowledged.
    agreements: u32,
    acked: u32,
    errhandler: i32,
    topology: Option<SavedTopology>,
    attributes: Vec<(i32, u64)>,
    name: String,
    attached: Option<AttachedBuffer>,
    info: Info,
    session: i32,
    shares: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedTopology {
    Cartesian { dims: Vec<i32>, periods: Vec<bool> },
    Graph { index: Vec<i32>, edges: Vec<i32> },
    Distributed(Distributed),
}

impl SavedCommunicator {
    pub(super) fn of(comm: &Communicator) -> Self {
        Self {
            context: comm.context,
            everyone: comm.everyone().clone(),
            low: comm.between.as_ref().map(|between| between.position.low),
            number: comm.number(),
            started: comm.site.started(),
            agreements: comm.agreements,
            acked: comm.acked as u32,
            errhandler: comm.errhandler,
            topology: comm.topology.as_ref().map(SavedTopology::of),
            attributes: comm.attributes.to_list(),
            name: comm.name.clone(),
            attached: comm.attached,
            info: comm.info.clone(),
            session: comm.session,
            shares: comm.shares,
        }
    }

    pub(super) fn restore(self, seats: &mut Seats<'_>) -> Saving<Communicator> {
        let Self { context, everyone, low, number, errhandler, .. } = self;
        let seat = seats.seat(context, &everyone, number, self.started)?;
        let size = everyone.len();
        let site = seat.site().clone();
        let mut comm = match low {
            None => Communicator::new(context, everyone, number, site, errhandler),
            Some(low) => Communicator::between(context, (everyone, low), number, site, errhandler)
                .map_err(|error| damaged(error.to_string()))?,
        };
        comm.site = seat;
        comm.topology = self.topology.map(|saved| saved.restore(size)).transpose()?;
        comm.attributes = Attributes::from_list(self.attributes);
        (comm.name, comm.attached, comm.info) = (self.name, self.attached, self.info);
        (comm.session, comm.shares) = (self.session, self.shares);
        (comm.agreements, comm.acked) = (self.agreements, self.acked as usize);
        if comm.shares && comm.site.elsewhere().is_some() {
            let ranks: Vec<String> = comm.group.iter().map(|rank| rank.to_string()).collect();
            return Err(SaveError::Hindered(format!(
                "the communicator {:?} was made for ranks that can share memory (MPI_COMM_TYPE_SHARED), and the program does \
                 that (MPI_Win_allocate_shared); its ranks {} have to be on one node: place them together",
                comm.name,
                ranks.join(", ")
            )));
        }
        comm.bind(seats.world);
        Ok(comm)
    }
}

impl SavedTopology {
    fn of(topology: &Topology) -> Self {
        match topology {
            Topology::Cartesian(grid) => {
                Self::Cartesian { dims: grid.dims().to_vec(), periods: grid.periods().to_vec() }
            }
            Topology::Graph(graph) => {
                Self::Graph { index: graph.index().to_vec(), edges: graph.edges().to_vec() }
            }
            Topology::Distributed(own) => Self::Distributed((**own).clone()),
        }
    }

    fn restore(self, size: usize) -> Saving<Topology> {
        let wrong =
            |error: faasm_mpi_engine::error::MpiError| damaged(format!("a topology: {error}"));
        Ok(match self {
            Self::Cartesian { dims, periods } => {
                Topology::Cartesian(Cartesian::new(&dims, &periods, size).map_err(wrong)?)
            }
            Self::Graph { index, edges } => {
                Topology::Graph(Arc::new(Graph::new(index, edges, size).map_err(wrong)?))
            }
            Self::Distributed(own) => {
                let mut ranks = own.sources.iter().chain(&own.destinations);
                if ranks.any(|(rank, _)| *rank as usize >= size) {
                    return Err(damaged("a topology"));
                }
                Topology::Distributed(Arc::new(own))
            }
        })
    }
}

/// The seats of a rank, by context: a communicator and the collectives that were started in it have the same.
pub(super) struct Seats<'a> {
    world: &'a World,
    rank: u32,
    known: BTreeMap<u32, Arc<Seat>>,
}

impl<'a> Seats<'a> {
    pub(super) const fn new(world: &'a World, rank: u32) -> Self {
        Self { world, rank, known: BTreeMap::new() }
    }

    /// The seat at the site of these members, among whom the rank has this number.
    pub(super) fn seat(
        &mut self,
        context: u32,
        members: &Group,
        number: u32,
        started: u64,
    ) -> Saving<Arc<Seat>> {
        let is_member = members.world_rank(number as usize) == Some(self.rank);
        if !is_member || members.iter().any(|rank| rank >= self.world.known()) {
            return Err(damaged("the members of a communicator"));
        }
        if let Some(seat) = self.known.get(&context) {
            let fits = seat.communicator_size() as usize == members.len();
            return if fits { Ok(seat.clone()) } else { Err(damaged("two communicators are one")) };
        }
        let site = match context {
            CONTEXT_SELF => Arc::new(Site::new(std::iter::once(0), None)),
            CONTEXT_WORLD => self.world.world_site().clone(),
            _ => self.world.restored_site(context, members)?,
        };
        if site.communicator_size() as usize != members.len() {
            return Err(damaged("the members of a communicator"));
        }
        let seat = Arc::new(Seat::new(site, started));
        self.known.insert(context, seat.clone());
        Ok(seat)
    }
}
