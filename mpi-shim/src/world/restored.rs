//! What the ranks of a node share, put back after a restart: the first member that comes makes it, and
//! the others find it.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use faasm_mpi_engine::dynamic::Registry;
use faasm_mpi_engine::group::Group;
use serde::{Deserialize, Serialize};

use super::family::SavedFamily;
use super::{REGISTRY_NODE, World};
use crate::site::Site;

/// What has been put back so far.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// Members that were on their way to one find it here, at any time.
    sites: Mutex<HashMap<u32, (Group, Weak<Site>)>>,
    /// Windows and files, by the context of their communicator.
    objects: Mutex<HashMap<u32, Arc<dyn Any + Send + Sync>>>,
}

/// The shared state of a job as it is written to a file.
#[derive(Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedWorld {
    size: u32,
    /// One more than the highest number of a process.
    known: u32,
    next_context: u32,
    families: Vec<SavedFamily>,
    /// The ports and names that the first node keeps, and the number by which its ports name the job.
    registry: Option<(Registry, u32)>,
}

/// Members of one communicator have different notions of it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unlike;

impl World {
    pub(crate) fn to_saved(&self) -> SavedWorld {
        let keeps_ports = self.this_node() == REGISTRY_NODE;
        let registry = keeps_ports.then(|| self.with_registry(|registry| registry.clone()));
        let registry = registry.filter(|registry| !registry.is_empty());
        SavedWorld {
            size: self.size,
            known: self.processes(),
            next_context: self.contexts.counter(),
            families: self.families_to_keep(),
            registry: registry.map(|registry| (registry, self.identity())),
        }
    }

    /// Puts the state back into a world in which nothing has happened yet; `None` when it is of another job.
    pub(crate) fn take_saved(&self, saved: SavedWorld) -> Option<()> {
        let SavedWorld { size, known, next_context, families, registry } = saved;
        let is_sound = families.iter().all(|family| family.is_sound(known));
        if (size, known) != (self.size, self.known()) || !is_sound {
            return None;
        }
        self.contexts.go_on_from(next_context);
        self.families.set_earlier(families);
        if let Some((registry, identity)) = registry.filter(|_| self.this_node() == REGISTRY_NODE) {
            self.set_identity(identity);
            self.with_registry(|own| *own = registry);
        }
        Some(())
    }

    /// The site of the communicator with this context, for a member that knows it with these members.
    pub(crate) fn restored_site(&self, context: u32, members: &Group) -> Result<Arc<Site>, Unlike> {
        let mut sites = held(&self.restored.sites);
        if let Some((known, site)) = sites.get(&context)
            && let Some(site) = site.upgrade()
        {
            let is_same = known.len() == members.len() && known.iter().eq(members.iter());
            return if is_same { Ok(site) } else { Err(Unlike) };
        }
        let site = self.new_site(members.iter());
        sites.insert(context, (members.clone(), Arc::downgrade(&site)));
        Ok(site)
    }

    /// The site of this context, if a member that was put back has it.
    pub(super) fn site_put_back(&self, context: u32) -> Option<Arc<Site>> {
        held(&self.restored.sites).get(&context)?.1.upgrade()
    }

    /// What the members of the communicator with this context share besides.
    pub(crate) fn restored_object<T: Any + Send + Sync>(
        &self,
        context: u32,
        make: impl FnOnce() -> T,
    ) -> Result<Arc<T>, Unlike> {
        let mut objects = held(&self.restored.objects);
        let object = objects.entry(context).or_insert_with(|| Arc::new(make()));
        object.clone().downcast().map_err(|_| Unlike)
    }

    /// All ranks have been put back: nothing more is looked for.
    pub fn end_restore(&self) {
        held(&self.restored.objects).clear();
    }
}

impl SavedWorld {
    /// One more than the highest number of a process.
    pub(crate) const fn processes(&self) -> u32 {
        self.known
    }

    /// The state of a job that ran on several nodes, from what each of them has; `None` when they are not of one job.
    pub(crate) fn merged(parts: Vec<Self>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let mut all = parts.next()?;
        for part in parts {
            if part.size != all.size {
                return None;
            }
            all.next_context = all.next_context.max(part.next_context);
            all.known = all.known.max(part.known);
            // Those of earlier lives are known everywhere.
            let is_new = |family: &SavedFamily| {
                all.families.iter().all(|known| known.context != family.context)
            };
            let new: Vec<_> = part.families.into_iter().filter(is_new).collect();
            all.families.extend(new);
            all.registry = all.registry.or(part.registry);
        }
        Some(all)
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Placement;

    fn world() -> Arc<World> {
        World::new(vec![0; 3], vec![0; 3], Placement::one_node(3))
    }

    #[test]
    fn members_find_one_site_also_those_that_had_not_come() {
        let (before, members) = (world(), [0, 2]);
        let context = before.gather_context((7, 1, &members), 0).expect("contexts are left");
        before.gather_site(context, &members);
        let after = world();
        after.take_saved(before.to_saved()).expect("the same job");
        after.adopt_gatherings(0, before.gatherings_of(0)).expect("it is the first");
        let group = Group::new(members.to_vec()).expect("distinct");
        let first = after.restored_site(context, &group).expect("the first");
        assert!(after.restored_site(context, &Group::world(2)).is_err());
        assert_eq!(after.gather_context((7, 1, &members), 1), Ok(context));
        assert!(Arc::ptr_eq(&first, &after.gather_site(context, &members)));
        assert_ne!(after.new_context(), Ok(context), "it goes on counting");
    }

    #[test]
    fn what_nodes_shared_comes_together_and_goes_to_other_nodes() {
        let placed = |nodes: [u32; 3], this_node| {
            World::new(vec![0; 3], vec![0; 3], Placement { nodes: nodes.into(), this_node })
        };
        let before = [placed([0, 0, 1], 0), placed([0, 0, 1], 1)];
        let made = [0, 1].map(|node| before[node].new_context().expect("one is left"));
        let saved = SavedWorld::merged(before.iter().map(|world| world.to_saved()).collect());
        let after = placed([1, 0, 0], 0);
        after.take_saved(saved.expect("one job")).expect("the same job");
        let next = after.new_context().expect("one is left");
        assert!(made.iter().all(|one| next > *one));
    }

    #[test]
    fn spawned_processes_and_ports_are_there_in_the_next_life() {
        let before = world();
        let members = [(0, 0), (0, 1)];
        let family = before.add_family(&members, Group::world(3)).expect("room");
        let port = before.with_registry(|registry| registry.open(before.identity(), 4));
        let saved = SavedWorld::merged(vec![before.to_saved()]).expect("one job");
        assert_eq!(saved.processes(), 5);
        assert_eq!(world().take_saved(before.to_saved()), None, "two processes have no place");
        let after = World::of_nodes(vec![0; 3], vec![0; 5], Placement::one_node(5), 1);
        assert_eq!(after.take_saved(saved), Some(()));
        let again = after.family(4).expect("it was spawned");
        assert_eq!((&again.group, again.context), (&family.group, family.context));
        assert!(after.family(2).is_none() && after.exists(4) && !after.exists(5));
        assert_eq!([3, 4].map(|process| after.app_number(process)), [0, 1]);
        let port = port.expect("room");
        assert_eq!(after.with_registry(|registry| registry.find(port)), Ok(()));
        assert_eq!(after.identity(), before.identity());
        let next = after.add_family(&members[..1], Group::world(1)).expect("room");
        assert_eq!(next.group.iter().collect::<Vec<_>>(), [5], "numbers count on");
        assert_eq!(after.to_saved().families.len(), 2);
    }

    #[test]
    fn the_state_of_another_job_is_refused() {
        let other = World::new(vec![0; 2], vec![0; 2], Placement::one_node(2));
        assert_eq!(other.take_saved(world().to_saved()), None);
    }
}
