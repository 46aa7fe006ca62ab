//! What the ranks of one job share on this node: contexts, the sites where co-located collectives
//! meet, and what other nodes sent for collectives.

mod bonds;
mod clocks;
mod failures;
mod family;
mod grown;
mod parts;
mod placement;
mod renewed;
mod restored;
mod served;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use faasm_mpi_engine::collective::cluster::Spread;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;

use crate::site::{Elsewhere, Site};
use bonds::Bonds;
use clocks::Clocks;
use failures::Failures;
use family::Families;
use parts::Parts;
use placement::Contexts;
use restored::Restored;
use served::Objects;
pub(crate) use served::{answer, told};

pub(crate) use clocks::STARTED;
pub use clocks::{Begun, Clock, Series};
pub use family::Family;
pub(crate) use family::SavedFamily;
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
    gatherings: Mutex<HashMap<GatheringKey, VecDeque<Gathering>>>,
    /// By context, the sites of gathered communicators that not all local members have yet.
    gathered_sites: Mutex<HashMap<u32, GatheredSite>>,
}

/// Names a gathering of a group inside a communicator: context, tag and the members.
type GatheringKey = (u32, i32, Vec<u32>);

/// Members of a group who make a communicator without waiting for each other.
#[derive(Clone, Debug)]
struct Gathering {
    context: u32,
    has_joined: Box<[bool]>,
}

#[derive(Debug)]
struct GatheredSite {
    site: Arc<Site>,
    /// Local members that have not come yet.
    missing: usize,
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
            gatherings: Mutex::default(),
            gathered_sites: Mutex::default(),
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

    /// The node that gathers a group with these members.
    pub fn gathering_node(&self, members: &[u32]) -> u32 {
        members.first().map_or(self.this_node(), |first| self.node(*first))
    }

    /// Context of the communicator that `member` makes with the others who give the same `context`,
    /// `tag` and `members`, without waiting for them. Called on the [`World::gathering_node`] only.
    ///
    /// The first to come makes it. The n-th call of one member belongs with the n-th call of every
    /// other; the last one to join removes the entry.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when no context is left; `MPI_ERR_INTERN` when `member` is not one.
    pub fn gather_context(
        &self,
        (context, tag, members): (u32, i32, &[u32]),
        member: u32,
    ) -> Result<u32> {
        if member as usize >= members.len() {
            let detail = format!("{member} is no member of a group of {}", members.len());
            return Err(MpiError::new(ErrorClass::Intern, detail));
        }
        let mut gatherings = self.gatherings.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (context, tag, members.to_vec());
        let queue = gatherings.entry(key.clone()).or_default();
        let index = match queue.iter().position(|entry| !entry.has_joined[member as usize]) {
            Some(index) => index,
            None => {
                let has_joined = vec![false; members.len()].into();
                queue.push_back(Gathering { context: self.new_context()?, has_joined });
                queue.len() - 1
            }
        };
        queue[index].has_joined[member as usize] = true;
        let made = queue[index].context;
        if queue[index].has_joined.iter().all(|joined| *joined) {
            queue.remove(index);
            if queue.is_empty() {
                gatherings.remove(&key);
            }
        }
        Ok(made)
    }

    /// Leaves a site for the `takers` local members of the communicator with this context who ask for
    /// it with [`World::gather_site`]; others have it already.
    fn offer_site(&self, context: u32, site: Arc<Site>, takers: usize) {
        if takers > 0 {
            let mut sites = self.gathered_sites.lock().unwrap_or_else(PoisonError::into_inner);
            sites.insert(context, GatheredSite { site, missing: takers });
        }
    }

    /// The site for the local ones of `members`, who each call this once, of a communicator that was
    /// gathered.
    pub fn gather_site(&self, context: u32, members: &[u32]) -> Arc<Site> {
        if let Some(site) = self.site_put_back(context) {
            return site;
        }
        let mut sites = self.gathered_sites.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = sites.entry(context).or_insert_with(|| GatheredSite {
            site: self.new_site(members.iter().copied()),
            missing: members.iter().filter(|rank| self.is_local(**rank)).count(),
        });
        entry.missing = entry.missing.saturating_sub(1);
        let site = entry.site.clone();
        if entry.missing == 0 {
            sites.remove(&context);
        }
        site
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_of_each_member_belongs_together() {
        let world = World::new(vec![0; 3], vec![0, 0, 1], Placement::one_node(3));
        let gather = |key: (u32, i32, &[u32]), member| {
            let context = world.gather_context(key, member).expect("contexts are left");
            (context, world.gather_site(context, key.2))
        };
        let key = (7, 1, &[0, 2][..]);
        let early = [gather(key, 0), gather(key, 0)];
        let late = [gather(key, 1), gather(key, 1)];
        assert_ne!(early[0].0, early[1].0);
        for (mine, theirs) in early.iter().zip(&late) {
            assert_eq!(mine.0, theirs.0);
            assert!(Arc::ptr_eq(&mine.1, &theirs.1));
        }
        assert!(world.gatherings.lock().expect("no panic").is_empty());
        assert!(world.gathered_sites.lock().expect("no panic").is_empty());
        let other = gather((7, 2, &[0, 2]), 0);
        assert_ne!(other.0, gather((7, 1, &[0, 1]), 0).0);
        let stranger = world.gather_context((7, 1, &[0, 1]), 2);
        assert_eq!(stranger.map_err(|error| error.class), Err(ErrorClass::Intern));
    }
}
