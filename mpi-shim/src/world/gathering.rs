//! Members of a group who make a communicator without waiting for each other (`MPI_Comm_create_group`, sessions).
//!
//! The node of the group's first member keeps count of who has come; what it knows goes with that rank when it moves.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use serde::{Deserialize, Serialize};

use super::World;
use crate::site::Site;

/// Names a gathering of a group inside a communicator: context, tag and the members.
type GatheringKey = (u32, i32, Vec<u32>);

/// Those that go on.
#[derive(Debug, Default)]
pub(super) struct Gatherings {
    open: Mutex<HashMap<GatheringKey, VecDeque<Gathering>>>,
    /// By context, the sites of gathered communicators that not all local members have yet.
    sites: Mutex<HashMap<u32, GatheredSite>>,
}

/// One communicator that is being made.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
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

/// What the first member of a group takes with it.
#[derive(Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedGathering {
    key: GatheringKey,
    made: VecDeque<Gathering>,
}

impl World {
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
        let mut gatherings = held(&self.gatherings.open);
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
    pub(super) fn offer_site(&self, context: u32, site: Arc<Site>, takers: usize) {
        if takers > 0 {
            let mut sites = held(&self.gatherings.sites);
            sites.insert(context, GatheredSite { site, missing: takers });
        }
    }

    /// The site for the local ones of `members`, who each call this once, of a communicator that was
    /// gathered.
    pub fn gather_site(&self, context: u32, members: &[u32]) -> Arc<Site> {
        if let Some(site) = self.site_put_back(context) {
            return site;
        }
        let mut sites = held(&self.gatherings.sites);
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

    /// What is kept for this rank, because it is the first member of some groups.
    pub(crate) fn gatherings_of(&self, rank: u32) -> Vec<SavedGathering> {
        let open = held(&self.gatherings.open);
        let own = open.iter().filter(|((_, _, members), _)| members.first() == Some(&rank));
        let saved = |(key, made): (&GatheringKey, &VecDeque<Gathering>)| SavedGathering {
            key: key.clone(),
            made: made.clone(),
        };
        own.map(saved).collect()
    }

    /// From now on that is kept here for the rank; `None` if it is not the first member of all of the groups.
    pub(crate) fn adopt_gatherings(&self, rank: u32, saved: Vec<SavedGathering>) -> Option<()> {
        let fits = |SavedGathering { key: (_, _, members), made }: &SavedGathering| {
            let is_whole = |one: &Gathering| one.has_joined.len() == members.len();
            members.first() == Some(&rank) && made.iter().all(is_whole)
        };
        if !saved.iter().all(fits) {
            return None;
        }
        held(&self.gatherings.open).extend(saved.into_iter().map(|one| (one.key, one.made)));
        Some(())
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
        assert!(world.gatherings.open.lock().expect("no panic").is_empty());
        assert!(world.gatherings.sites.lock().expect("no panic").is_empty());
        let other = gather((7, 2, &[0, 2]), 0);
        assert_ne!(other.0, gather((7, 1, &[0, 1]), 0).0);
        let stranger = world.gather_context((7, 1, &[0, 1]), 2);
        assert_eq!(stranger.map_err(|error| error.class), Err(ErrorClass::Intern));
    }

    #[test]
    fn what_is_gathered_goes_with_the_first_member() {
        let placed = |nodes: [u32; 3], this_node| {
            World::new(vec![0; 3], vec![0; 3], Placement { nodes: nodes.into(), this_node })
        };
        let (before, key) = (placed([1, 0, 1], 1), (1, 4, &[2, 0][..]));
        let made = [(); 2].map(|()| before.gather_context(key, 0).expect("contexts are left"));
        let own = |rank| placed([0, 1, 0], 0).adopt_gatherings(rank, before.gatherings_of(2));
        assert_eq!((own(2), own(0)), (Some(()), None), "rank 0 is the second one");
        assert!(before.gatherings_of(0).is_empty());
        let after = placed([0, 1, 0], 0);
        after.adopt_gatherings(2, before.gatherings_of(2)).expect("it is");
        assert_eq!([(); 2].map(|()| after.gather_context(key, 1).expect("it is there")), made);
        assert!(after.gatherings_of(2).is_empty(), "all have come");
        let mut torn = before.gatherings_of(2);
        torn[0].key.2.push(1);
        assert_eq!(after.adopt_gatherings(2, torn), None);
    }
}
