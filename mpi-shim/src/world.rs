//! What the ranks of one job share: contexts and the sites where co-located collectives meet.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::site::Site;

/// Context of `MPI_COMM_SELF`; the same number in every rank, for it never leaves one.
pub const CONTEXT_SELF: u32 = 0;
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
    next_context: AtomicU32,
    world_site: Arc<Site>,
    gatherings: Mutex<HashMap<GatheringKey, VecDeque<Gathering>>>,
}

/// Names a gathering of a group inside a communicator: context, tag and the members.
type GatheringKey = (u32, i32, Vec<u32>);

/// Members of a group who make a communicator without waiting for each other.
#[derive(Debug)]
struct Gathering {
    context: u32,
    site: Arc<Site>,
    has_joined: Box<[bool]>,
}

impl World {
    /// The shared state of a job whose rank `i` runs program `app_numbers[i]` on worker `lanes[i]`.
    pub fn new(app_numbers: Vec<u32>, lanes: Vec<u32>) -> Arc<Self> {
        assert_eq!(app_numbers.len(), lanes.len(), "every rank has a program and a worker");
        let size = u32::try_from(app_numbers.len()).expect("ranks are counted in 32 bits");
        Arc::new(Self {
            size,
            app_numbers: app_numbers.into(),
            next_context: AtomicU32::new(CONTEXT_WORLD + 1),
            world_site: Arc::new(Site::new(lanes.iter().copied())),
            lanes: lanes.into(),
            gatherings: Mutex::default(),
        })
    }

    /// Number of ranks.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Index of the program that `rank` runs.
    pub fn app_number(&self, rank: u32) -> u32 {
        self.app_numbers.get(rank as usize).copied().unwrap_or(0)
    }

    /// Where the members of `MPI_COMM_WORLD` meet.
    pub const fn world_site(&self) -> &Arc<Site> {
        &self.world_site
    }

    /// A site for these members, given by world rank.
    pub fn new_site(&self, members: impl Iterator<Item = u32>) -> Arc<Site> {
        let lane = |rank: u32| self.lanes.get(rank as usize).copied().unwrap_or(0);
        Arc::new(Site::new(members.map(lane)))
    }

    /// A context no communicator of this job has had.
    pub fn new_context(&self) -> u32 {
        self.next_context.fetch_add(1, Ordering::Relaxed)
    }

    /// Context and site of the communicator that `member` makes with the others who give the same
    /// `context`, `tag` and `members`, without waiting for them.
    ///
    /// The first to come makes both. The n-th call of one member belongs with the n-th call of
    /// every other; the last one to join removes the entry.
    pub fn gather(
        &self,
        (context, tag, members): (u32, i32, &[u32]),
        member: u32,
    ) -> (u32, Arc<Site>) {
        let mut gatherings = self.gatherings.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (context, tag, members.to_vec());
        let queue = gatherings.entry(key.clone()).or_default();
        let index = match queue.iter().position(|entry| !entry.has_joined[member as usize]) {
            Some(index) => index,
            None => {
                queue.push_back(Gathering {
                    context: self.new_context(),
                    site: self.new_site(members.iter().copied()),
                    has_joined: vec![false; members.len()].into(),
                });
                queue.len() - 1
            }
        };
        queue[index].has_joined[member as usize] = true;
        let made = (queue[index].context, queue[index].site.clone());
        if queue[index].has_joined.iter().all(|joined| *joined) {
            queue.remove(index);
            if queue.is_empty() {
                gatherings.remove(&key);
            }
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_of_each_member_belongs_together() {
        let world = World::new(vec![0; 3], vec![0, 0, 1]);
        let key = (7, 1, &[0, 2][..]);
        let early = [world.gather(key, 0), world.gather(key, 0)];
        let late = [world.gather(key, 1), world.gather(key, 1)];
        assert_ne!(early[0].0, early[1].0);
        for (mine, theirs) in early.iter().zip(&late) {
            assert_eq!(mine.0, theirs.0);
            assert!(Arc::ptr_eq(&mine.1, &theirs.1));
        }
        assert!(world.gatherings.lock().expect("no panic").is_empty());
        let other = world.gather((7, 2, &[0, 2]), 0);
        assert_ne!(other.0, world.gather((7, 1, &[0, 1]), 0).0);
    }
}
