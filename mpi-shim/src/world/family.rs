//! Processes that were spawned while the job ran (MPI-5.0 section 11.8).
//!
//! Each has a number beyond those that are known from the beginning, and this tells its node: the node's processes
//! have every `nodes`-th number. The processes of one call are a family with an `MPI_COMM_WORLD` of
//! its own. After a restart or a move they are among those that are known, with the numbers that they had.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use faasm_mpi_engine::dynamic::Registry;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use serde::{Deserialize, Serialize};

use super::World;
use super::grown::Grown;
use crate::site::Site;

/// The processes that one call spawned.
#[derive(Debug)]
pub struct Family {
    /// Context of their `MPI_COMM_WORLD`.
    pub context: u32,
    /// They, in rank order.
    pub group: Group,
    /// Where they meet.
    pub site: Arc<Site>,
    /// Context of the intercommunicator with the processes that spawned them.
    pub parent_context: u32,
    /// Those.
    pub parents: Group,
    /// Where those of both groups meet that run on this node.
    both: OnceLock<Arc<Site>>,
}

impl Family {
    /// Where the spawned processes meet those that spawned them and run on this node.
    pub(crate) fn both(&self) -> Option<&Arc<Site>> {
        self.both.get()
    }
}

/// A [`Family`] as it is kept for further lives of the job.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedFamily {
    pub(super) context: u32,
    group: Group,
    parent_context: u32,
    parents: Group,
    /// For each process the number of its program.
    app_numbers: Vec<u32>,
}

impl SavedFamily {
    /// Whether all of its processes are among so many, and it makes sense.
    pub(super) fn is_sound(&self, known: u32) -> bool {
        let mut all = self.group.iter().chain(self.parents.iter());
        let is_known = all.all(|process| process < known);
        let is_apart = self.group.intersection(&self.parents).is_empty();
        let is_counted = self.app_numbers.len() == self.group.len();
        is_known && is_apart && is_counted && !self.group.is_empty() && !self.parents.is_empty()
    }
}

/// A spawned process.
#[derive(Debug)]
struct Spawned {
    lane: u32,
    app_number: u32,
    family: Arc<Family>,
}

/// For each process the index of its family and its place there.
type Places = BTreeMap<u32, (usize, usize)>;

/// The spawned processes of this node, and what only dynamic processes need.
#[derive(Debug, Default)]
pub(super) struct Families {
    spawned: Grown<Spawned>,
    /// Families that were spawned on other nodes and have a process that comes to this one.
    learned: Mutex<Vec<SavedFamily>>,
    /// Families of earlier lives of the job.
    earlier: OnceLock<(Vec<SavedFamily>, Places)>,
    registry: Mutex<Registry>,
    identity: OnceLock<u32>,
}

impl Families {
    pub(super) fn lane(&self, index: u32) -> Option<u32> {
        self.spawned.get(index).map(|one| one.lane)
    }

    pub(super) fn app_number(&self, index: u32) -> Option<u32> {
        self.spawned.get(index).map(|one| one.app_number)
    }

    pub(super) fn earlier_app_number(&self, process: u32) -> Option<u32> {
        let (family, place) = self.earlier(process)?;
        family.app_numbers.get(place).copied()
    }

    fn earlier(&self, process: u32) -> Option<(&SavedFamily, usize)> {
        let (families, places) = self.earlier.get()?;
        let (index, place) = places.get(&process)?;
        Some((families.get(*index)?, *place))
    }

    /// Keeps the families of earlier lives; once.
    pub(super) fn set_earlier(&self, families: Vec<SavedFamily>) {
        let places = families.iter().enumerate().flat_map(|(index, family)| {
            (0..).zip(family.group.iter()).map(move |(place, process)| (process, (index, place)))
        });
        let places = places.collect();
        // A life begins once.
        let _ = self.earlier.set((families, places));
    }
}

impl World {
    /// Index of a spawned process among those of its node.
    pub fn spawned_index(&self, process: u32) -> Option<u32> {
        Some(process.checked_sub(self.known())? / self.nodes)
    }

    /// The number of the spawned process with this index on this node.
    pub fn spawned_number(&self, index: u32) -> u32 {
        self.known() + index * self.nodes + self.this_node()
    }

    /// One more than the highest number of a process that this node knows.
    pub fn processes(&self) -> u32 {
        let last = self.families.spawned.reserved().checked_sub(1);
        last.map_or(self.known(), |last| self.spawned_number(last) + 1)
    }

    /// Numbers of the processes that were spawned on this node in this life of the job.
    pub fn spawned(&self) -> impl Iterator<Item = u32> {
        self.families.spawned.iter().map(|(index, _)| self.spawned_number(index))
    }

    /// Whether there is a process with this number; on another node, whether there can be.
    pub fn exists(&self, process: u32) -> bool {
        let Some(index) = self.spawned_index(process) else { return true };
        match self.node(process) == self.this_node() {
            true => self.families.spawned.get(index).is_some(),
            false => index < Grown::<Spawned>::MAX,
        }
    }

    /// The family of a process that was spawned and is on this node.
    pub fn family(&self, process: u32) -> Option<Arc<Family>> {
        let Some(index) = self.spawned_index(process) else {
            return Some(self.family_again(self.families.earlier(process)?.0));
        };
        Some(self.families.spawned.get(index)?.family.clone())
    }

    /// A family of an earlier life, whose members meet where those do that were put back.
    fn family_again(&self, saved: &SavedFamily) -> Arc<Family> {
        let SavedFamily { context, group, parent_context, parents, .. } = saved.clone();
        let site = |context, members: &Group| {
            let known = self.restored_site(context, members);
            known.unwrap_or_else(|_| self.new_site(members.iter()))
        };
        let both = OnceLock::from(site(parent_context, &parents.union(&group)));
        let site = site(context, &group);
        Arc::new(Family { context, group, site, parent_context, parents, both })
    }

    /// All families that this node knows.
    pub(super) fn families_to_keep(&self) -> Vec<SavedFamily> {
        let earlier = self.families.earlier.get().map(|(families, _)| families.clone());
        let mut all = earlier.unwrap_or_default();
        all.extend(held(&self.families.learned).iter().cloned());
        for (_, Spawned { family, .. }) in self.families.spawned.iter() {
            if all.last().is_some_and(|last| last.context == family.context) {
                continue;
            }
            all.push(self.to_keep(family));
        }
        all
    }

    fn to_keep(&self, family: &Family) -> SavedFamily {
        let app_number = |process| self.app_number(process);
        SavedFamily {
            context: family.context,
            group: family.group.clone(),
            parent_context: family.parent_context,
            parents: family.parents.clone(),
            app_numbers: family.group.iter().map(app_number).collect(),
        }
    }

    /// The family of a process that was spawned and is on this node, for another node.
    pub(crate) fn family_of(&self, process: u32) -> Option<SavedFamily> {
        match self.spawned_index(process) {
            Some(index) => Some(self.to_keep(&self.families.spawned.get(index)?.family)),
            None => Some(self.families.earlier(process)?.0.clone()),
        }
    }

    /// A process of this family may come to this node, in the job's next life; false if that cannot be.
    pub(crate) fn learn_family(&self, family: SavedFamily) -> bool {
        if !family.is_sound(u32::MAX) {
            return false;
        }
        let known = self.families_to_keep();
        if known.iter().all(|known| known.context != family.context) {
            held(&self.families.learned).push(family);
        }
        true
    }

    /// Adds processes of this node, given by the worker that each is placed on and the number of its
    /// program, with these parents. They do not run yet.
    ///
    /// # Errors
    /// `MPI_ERR_SPAWN` when there are too many; `MPI_ERR_NO_MEM` when no context is left.
    pub fn add_family(&self, members: &[(u32, u32)], parents: Group) -> Result<Arc<Family>> {
        let count = members.len() as u32;
        let (context, parent_context) = (self.new_context()?, self.new_context()?);
        let Some(first) = self.families.spawned.reserve(count) else {
            let detail = format!(
                "{count} more processes are beyond the {} that can be spawned on a node",
                Grown::<Spawned>::MAX
            );
            return Err(MpiError::argument(ErrorClass::Spawn, "maxprocs", detail));
        };
        let numbers = (first..first + count).map(|index| self.spawned_number(index));
        let group = Group::new(numbers.collect())?;
        let site = Arc::new(Site::new(members.iter().map(|(lane, _)| *lane), None));
        let both = OnceLock::new();
        let family = Arc::new(Family { context, group, site, parent_context, parents, both });
        for (index, (lane, app_number)) in (first..).zip(members) {
            let family = family.clone();
            let one = Spawned { lane: *lane, app_number: *app_number, family };
            self.families.spawned.set(index, one);
        }
        // A site has to know where its members are placed.
        let all = family.parents.union(&family.group);
        let both = self.new_site(all.iter());
        let parents = family.parents.iter().filter(|parent| self.is_local(*parent)).count();
        self.offer_site(parent_context, both.clone(), parents);
        let _ = family.both.set(both);
        Ok(family)
    }

    /// A number that hardly any other job has, on the node that keeps ports.
    pub fn identity(&self) -> u32 {
        let random = || RandomState::new().build_hasher().finish() as u32;
        *self.families.identity.get_or_init(random)
    }

    /// Goes on with the number that the job had.
    pub(super) fn set_identity(&self, identity: u32) {
        // Nobody has asked for it in a life that begins.
        let _ = self.families.identity.set(identity);
    }

    /// Ports and names that this node keeps for the job; only the first node does.
    pub fn with_registry<R>(&self, run: impl FnOnce(&mut Registry) -> R) -> R {
        run(&mut held(&self.families.registry))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Placement;

    #[test]
    fn numbers_of_spawned_processes_tell_their_nodes() {
        let world = |this_node| {
            let placement = Placement { nodes: [0, 1, 1].into(), this_node };
            World::new(vec![0; 3], vec![0; 3], placement)
        };
        for node in 0..2 {
            let world = world(node);
            let members = [(5, 0), (6, 1)];
            let family = world.add_family(&members, Group::world(1)).expect("room");
            assert_eq!(family.group.iter().collect::<Vec<_>>(), [3 + node, 5 + node]);
            assert_eq!(world.spawned().collect::<Vec<_>>(), [3 + node, 5 + node]);
            for (process, (lane, app)) in family.group.iter().zip(members) {
                assert_eq!((world.node(process), world.is_local(process)), (node, true));
                assert_eq!((world.lane(process), world.app_number(process)), (lane, app));
                assert!(world.exists(process) && !world.exists(process + 4));
                assert!(world.family(process).is_some());
            }
            assert!(world.exists(4 - node) && world.family(0).is_none());
            assert!(!world.exists(u32::MAX));
        }
    }
}
