//! Processes that were spawned while the job ran (MPI-5.0 section 11.8).
//!
//! Each has a number beyond those that are known from the beginning, and this tells its node: the node's processes
//! have every `nodes`-th number. The processes of one call are a family, on whichever nodes, with an `MPI_COMM_WORLD` of
//! its own. After a restart or a move they are among those that are known, with the numbers that they had.

use std::collections::{BTreeMap, BTreeSet};
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
    /// For each spawned process the number of its program.
    pub app_numbers: Box<[u32]>,
    /// Where those of both groups meet that run on this node.
    both: Arc<Site>,
}

impl Family {
    /// Where the spawned processes meet those that spawned them and run on this node.
    pub(crate) const fn both(&self) -> &Arc<Site> {
        &self.both
    }
}

/// Processes that one call spawns, on whichever nodes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kin {
    /// Context of their `MPI_COMM_WORLD`.
    pub context: u32,
    /// They, in rank order.
    pub group: Group,
    /// Context of the intercommunicator with the processes that spawn them.
    pub parent_context: u32,
    /// Those.
    pub parents: Group,
    /// For each of the processes the number of its program.
    pub app_numbers: Vec<u32>,
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
    fn of(family: &Family) -> Self {
        Self {
            context: family.context,
            group: family.group.clone(),
            parent_context: family.parent_context,
            parents: family.parents.clone(),
            app_numbers: family.app_numbers.to_vec(),
        }
    }

    fn of_kin(kin: &Kin) -> Self {
        let Kin { context, group, parent_context, parents, app_numbers } = kin.clone();
        Self { context, group, parent_context, parents, app_numbers }
    }

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
    /// Contexts of families that were given up before they ran.
    dropped: Mutex<BTreeSet<u32>>,
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
        let SavedFamily { context, group, parent_context, parents, app_numbers } = saved.clone();
        let site = |context, members: &Group| {
            let known = self.restored_site(context, members);
            known.unwrap_or_else(|_| self.new_site(members.iter()))
        };
        let both = site(parent_context, &parents.union(&group));
        let site = site(context, &group);
        let app_numbers = app_numbers.into();
        Arc::new(Family { context, group, site, parent_context, parents, app_numbers, both })
    }

    /// All families that this node knows.
    pub(super) fn families_to_keep(&self) -> Vec<SavedFamily> {
        let earlier = self.families.earlier.get().map(|(families, _)| families.clone());
        let mut all = earlier.unwrap_or_default();
        all.extend(held(&self.families.learned).iter().cloned());
        let dropped = held(&self.families.dropped);
        for (_, Spawned { family, .. }) in self.families.spawned.iter() {
            let is_last = all.last().is_some_and(|last| last.context == family.context);
            if is_last || dropped.contains(&family.context) {
                continue;
            }
            all.push(SavedFamily::of(family));
        }
        all
    }

    /// The family of a process that was spawned and is on this node, for another node.
    pub(crate) fn family_of(&self, process: u32) -> Option<SavedFamily> {
        match self.spawned_index(process) {
            Some(index) => Some(SavedFamily::of(&self.families.spawned.get(index)?.family)),
            None => Some(self.families.earlier(process)?.0.clone()),
        }
    }

    /// The processes that were spawned together with one of this node, which was.
    pub fn siblings(&self, process: u32) -> Option<Group> {
        match self.spawned_index(process) {
            Some(index) => Some(self.families.spawned.get(index)?.family.group.clone()),
            None => Some(self.families.earlier(process)?.0.group.clone()),
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
        let app_numbers = members.iter().map(|(_, app)| *app).collect();
        let lanes = members.iter().map(|(lane, _)| *lane);
        let lanes = group.iter().zip(lanes).collect();
        let kin = Kin { context, group, parent_context, parents, app_numbers };
        Ok(self.settle(kin, &lanes))
    }

    /// Adds those of these processes that are of this node, each with the worker that it is placed on. Their numbers were
    /// given to them elsewhere. They do not run yet; `make_room` comes before they exist.
    ///
    /// # Errors
    /// `MPI_ERR_SPAWN` when the processes cannot be: a number is none that can be given, or is in use.
    pub fn add_kin(
        &self,
        kin: Kin,
        lanes: &BTreeMap<u32, u32>,
        make_room: impl FnOnce(),
    ) -> Result<Arc<Family>> {
        let is_local = |process: &u32| self.node(*process) == self.this_node();
        let is_free = |process: u32| {
            let index = self.spawned_index(process).filter(|index| *index < Grown::<Spawned>::MAX);
            index.is_some_and(|index| self.families.spawned.get(index).is_none())
        };
        let local = || kin.group.iter().filter(is_local);
        let all_have_lanes = local().all(|process| lanes.contains_key(&process));
        let is_sound = SavedFamily::of_kin(&kin).is_sound(u32::MAX)
            && local().all(is_free)
            && all_have_lanes
            && local().count() == lanes.len();
        if is_sound {
            make_room();
            return Ok(self.settle(kin, lanes));
        }
        Err(MpiError::new(ErrorClass::Spawn, "the numbers of the processes cannot be theirs"))
    }

    /// Adds those of the processes that are of this node, whose numbers are reserved or free.
    fn settle(&self, kin: Kin, lanes: &BTreeMap<u32, u32>) -> Arc<Family> {
        let Kin { context, group, parent_context, parents, app_numbers } = kin;
        let lane =
            |process: u32| lanes.get(&process).copied().unwrap_or_else(|| self.lane(process));
        let both = self.site_on(parents.union(&group).iter(), lane);
        let site = self.site_on(group.iter(), lane);
        let here = parents.iter().filter(|parent| self.is_local(*parent)).count();
        let app_numbers = app_numbers.into();
        let family = Family { context, group, site, parent_context, parents, app_numbers, both };
        let family = Arc::new(family);
        for (process, app_number) in family.group.iter().zip(&family.app_numbers) {
            let index = self.spawned_index(process).filter(|_| self.is_local(process));
            if let Some(index) = index {
                let (family, app_number) = (family.clone(), *app_number);
                let one = Spawned { lane: lane(process), app_number, family };
                self.families.spawned.set(index, one);
            }
        }
        self.offer_site(parent_context, family.both.clone(), here);
        family
    }

    /// A family is given up whose processes have not run.
    pub fn drop_family(&self, family: &Family) {
        held(&self.families.dropped).insert(family.context);
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

    #[test]
    fn a_family_on_two_nodes_is_the_same_on_both() {
        let kin = |group: &[u32]| Kin {
            context: 8,
            group: Group::new(group.to_vec()).expect("distinct"),
            parent_context: 9,
            parents: Group::world(1),
            app_numbers: vec![0, 0, 1],
        };
        for this_node in 0..2 {
            let placement = Placement { nodes: [0, 1, 1].into(), this_node };
            let world = World::new(vec![0; 3], vec![0; 3], placement);
            let local: &[u32] = if this_node == 0 { &[3, 5] } else { &[4] };
            let lanes = local.iter().map(|process| (*process, 7)).collect();
            for group in [&[3, 5][..], &[3, 0, 4], &[3, 5, 4, 6]] {
                assert!(world.add_kin(kin(group), &lanes, || ()).is_err(), "{group:?}");
            }
            let none = BTreeMap::new();
            assert!(world.add_kin(kin(&[3, 5, 4]), &none, || ()).is_err(), "nobody has a place");
            let family = world.add_kin(kin(&[3, 5, 4]), &lanes, || ()).expect("they are free");
            assert!(
                world.add_kin(kin(&[3, 5, 4]), &lanes, || ()).is_err(),
                "they are not any more"
            );
            assert_eq!(world.spawned().collect::<Vec<_>>(), local);
            assert_eq!(world.lane(local[0]), 7);
            assert!(family.site.elsewhere().is_some() && family.both().elsewhere().is_some());
            assert_eq!(world.siblings(local[0]), Some(family.group.clone()));
            let saved = world.family_of(local[0]).expect("it was spawned");
            assert_eq!((saved.app_numbers, saved.context), (vec![0, 0, 1], 8));
            assert_eq!(world.families_to_keep().len(), 1);
            world.drop_family(&family);
            assert!(world.families_to_keep().is_empty());
        }
    }
}
