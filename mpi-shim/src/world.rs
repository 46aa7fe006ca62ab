//! What the ranks of one job share on this node: contexts, the sites where co-located collectives
//! meet, and what other nodes sent for collectives.

mod bonds;
mod clocks;
mod failures;
mod family;
mod gathering;
mod grown;
mod parts;
mod placement;
mod renewed;
mod restored;
mod served;

use std::sync::Arc;

use bytes::Bytes;
use faasm_mpi_engine::collective::cluster::Spread;
use faasm_mpi_engine::error::Result;
use faasm_mpi_engine::group::Group;

use crate::site::{Elsewhere, Site};
use bonds::Bonds;
use clocks::Clocks;
use failures::Failures;
use family::Families;
use gathering::Gatherings;
use parts::Parts;
use placement::Contexts;
use restored::Restored;
use served::Objects;
pub(crate) use served::{answer, told};

pub(crate) use clocks::STARTED;
pub use clocks::{Begun, Clock, Series};
pub(crate) use family::SavedFamily;
pub use family::{Family, Kin};
pub(crate) use gathering::SavedGathering;
pub use grown::Grown;
pub use parts::{Arrivals, PARTS_AHEAD_BYTES_MAX, PartHeader, PartRefused};
pub use placement::Placement;
pub use renewed::Immovable;
pub(crate) use restored::{SavedWorld, Unlike};
pub use served::{Effect, Question, Served};

/// Context of `MPI_COMM_SELF`; the same number in every rank, for it never leaves one.
pub const CONTEXT_SELF: u32 = 0;
/// The node that keeps ports and names.
pub const REGISTRY_NODE: u32 = 0;
/// Context of `MPI_COMM_WORLD`.
pub const CONTEXT_WORLD: u32 = 1;

/// State shared by all ranks of a job.
#[derive(Debug)]
pub struct World {
    size: u32,
    /// For each rank, the index of its program on the command line (`MPI_APPNUM`).
    app_numbers: Box<[u32]>,
    /// For each rank, the worker it was placed on.
    lanes: Box<[u32]>,
    placement: Placement,
    /// Number of nodes.
    nodes: u32,
    contexts: Contexts,
    parts: Parts,
    clocks: Clocks,
    objects: Objects,
    world_site: Arc<Site>,
    families: Families,
    failures: Failures,
    bonds: Bonds,
    /// What is put back after a restart.
    restored: Restored,
    gatherings: Gatherings,
}

impl World {
    /// The shared state of a job whose rank `i` runs program `app_numbers[i]`; `placement` says on which node, and
    /// `lanes[i]` on which worker if that is this one.
    pub fn new(app_numbers: Vec<u32>, lanes: Vec<u32>, placement: Placement) -> Arc<Self> {
        let nodes = placement.node_count();
        Self::of_nodes(app_numbers, lanes, placement, nodes)
    }

    /// As [`World::new`] for a job of so many nodes, of which the last ones may have no rank. Processes behind the ranks
    /// that have programs were spawned in an earlier life of the job.
    pub fn of_nodes(
        app_numbers: Vec<u32>,
        lanes: Vec<u32>,
        placement: Placement,
        nodes: u32,
    ) -> Arc<Self> {
        assert!(app_numbers.len() <= lanes.len(), "every rank has a worker");
        assert_eq!(lanes.len(), placement.nodes.len(), "every process has a node");
        let size = u32::try_from(app_numbers.len()).expect("ranks are counted in 32 bits");
        Arc::new(Self {
            size,
            app_numbers: app_numbers.into(),
            nodes,
            contexts: Contexts::new(nodes, placement.this_node, CONTEXT_WORLD + 1),
            parts: Parts::default(),
            clocks: Clocks::default(),
            objects: Objects::default(),
            world_site: site(
                0..size,
                &placement,
                |rank| lanes[rank as usize],
                |rank| placement.nodes[rank as usize],
            ),
            families: Families::default(),
            failures: Failures::default(),
            bonds: Bonds::default(),
            placement,
            lanes: lanes.into(),
            restored: Restored::default(),
            gatherings: Gatherings::default(),
        })
    }

    /// Number of ranks that the job began with.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Number of processes that there were when this life of the job began; those that have higher numbers were spawned
    /// since. More than [`World::size`] after a restart or a move.
    pub fn known(&self) -> u32 {
        self.placement.nodes.len() as u32
    }

    /// Index of the program that `rank` runs.
    pub fn app_number(&self, rank: u32) -> u32 {
        let spawned = || match self.spawned_index(rank) {
            Some(index) => self.families.app_number(index),
            None => self.families.earlier_app_number(rank),
        };
        self.app_numbers.get(rank as usize).copied().or_else(spawned).unwrap_or(0)
    }

    /// Where the members of `MPI_COMM_WORLD` meet.
    pub const fn world_site(&self) -> &Arc<Site> {
        &self.world_site
    }

    /// A site for those of these members, given by world rank, that run on this node.
    pub fn new_site(&self, members: impl Iterator<Item = u32> + Clone) -> Arc<Site> {
        site(members, &self.placement, |rank| self.lane(rank), |rank| self.node(rank))
    }

    /// As [`World::new_site`], for members some of whom are not known yet.
    fn site_on(
        &self,
        members: impl Iterator<Item = u32> + Clone,
        lane: impl Fn(u32) -> u32,
    ) -> Arc<Site> {
        site(members, &self.placement, lane, |rank| self.node(rank))
    }

    /// The worker that `rank`, which is of this node, is placed on.
    #[inline]
    pub fn lane(&self, rank: u32) -> u32 {
        let spawned = |rank| self.families.lane(self.spawned_index(rank)?);
        self.lanes.get(rank as usize).copied().or_else(|| spawned(rank)).unwrap_or(0)
    }

    /// Number of the node that `rank` runs on. The nodes of a job are numbered from 0.
    #[inline]
    pub fn node(&self, rank: u32) -> u32 {
        match self.placement.nodes.get(rank as usize) {
            Some(node) => *node,
            None => rank.wrapping_sub(self.known()) % self.nodes,
        }
    }

    /// Whether `rank` runs on this node.
    #[inline]
    pub fn is_local(&self, rank: u32) -> bool {
        !self.is_spread() || self.node(rank) == self.this_node()
    }

    /// Number of this node.
    pub const fn this_node(&self) -> u32 {
        self.placement.this_node
    }

    /// Number of nodes of the job.
    pub const fn nodes(&self) -> u32 {
        self.nodes
    }

    /// Whether the job runs on more nodes than this one.
    #[inline]
    pub const fn is_spread(&self) -> bool {
        self.nodes > 1
    }

    /// A context that no communicator of this job has had, on no node.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when there is none left.
    pub fn new_context(&self) -> Result<u32> {
        self.contexts.next()
    }

    /// Makes `rank` the one that is woken for the parts of a meeting; until [`World::end_parts`].
    pub fn await_parts(&self, context: u32, meeting: u64, rank: u32) -> Arrivals {
        self.parts.lead(context, meeting, rank)
    }

    /// The meeting is over on this node.
    pub fn end_parts(&self, context: u32, meeting: u64) {
        self.parts.end(context, meeting);
    }

    /// Keeps a part that another node sent; gives the rank to wake for it. For the runtime.
    ///
    /// # Errors
    /// When the sender does not keep the rules.
    pub fn put_part(
        &self,
        header: PartHeader,
        data: Bytes,
    ) -> std::result::Result<Option<u32>, PartRefused> {
        self.parts.put(header, data)
    }

    /// Takes a part if it has come; with it how many bytes its sender is to be told as taken, now
    /// and then. For the runtime: the shim takes parts through its port.
    pub fn take_part(&self, header: PartHeader) -> Option<(Bytes, Option<u64>)> {
        self.parts.take(header)
    }

    /// Counts a part of `len` bytes that was sent to `node`. For the runtime.
    pub fn count_part(&self, context: u32, node: u32, len: usize) {
        self.parts.sent(context, node, len);
    }

    /// `node` has taken `bytes` of what was sent to it in `context`; gives the rank to wake for it.
    /// For the runtime.
    pub fn report_parts(&self, context: u32, node: u32, bytes: u64) -> Option<u32> {
        self.parts.reported(context, node, bytes)
    }

    /// Whether this node may begin a further operation in `context` that sends to other nodes: at
    /// most [`PARTS_AHEAD_BYTES_MAX`] of what it has sent to any node there were not taken yet.
    ///
    /// If it may not, `rank` is woken when that may have changed.
    pub fn has_part_room(&self, context: u32, rank: u32) -> bool {
        self.parts.has_room(context, 0..self.nodes, rank)
    }

    /// Lets the ranks of other nodes ask about `object`, whose communicator has this context.
    pub fn publish(&self, context: u32, object: Arc<dyn Served>) {
        self.objects.publish(context, object);
    }

    /// Ends what [`World::publish`] began.
    pub fn withdraw(&self, context: u32) {
        self.objects.withdraw(context);
    }

    /// The object with this context that ranks of other nodes may ask about.
    pub fn object(&self, context: u32) -> Option<Arc<dyn Served>> {
        self.objects.find(context)
    }
}

/// A site for those of `members` that `placement` has on this node.
fn site(
    members: impl Iterator<Item = u32> + Clone,
    placement: &Placement,
    lane: impl Fn(u32) -> u32,
    node: impl Fn(u32) -> u32,
) -> Arc<Site> {
    let Some(spread) = Spread::new(members.clone().map(&node), placement.this_node) else {
        return Arc::new(Site::new(members.map(lane), None));
    };
    let local: Vec<u32> = members.filter(|rank| node(*rank) == placement.this_node).collect();
    let lanes: Vec<u32> = local.iter().copied().map(&lane).collect();
    let local = Group::new(local).expect("a communicator has each rank once");
    Arc::new(Site::new(lanes.into_iter(), Some(Elsewhere { spread, local })))
}
