//! Ranks that have to be on one node, because they share the memory of a window, or have been told that they can.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::World;

/// By the context of a window or a communicator, its ranks.
#[derive(Debug, Default)]
pub(super) struct Bonds {
    groups: Mutex<BTreeMap<u32, Vec<u32>>>,
    shares_memory: AtomicBool,
}

impl Bonds {
    fn change<R>(&self, change: impl FnOnce(&mut BTreeMap<u32, Vec<u32>>) -> R) -> R {
        change(&mut self.groups.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl World {
    /// A program of the job may make windows of shared memory.
    pub fn expect_shared_windows(&self) {
        self.bonds.shares_memory.store(true, Ordering::Release);
    }

    /// Whether one may. Otherwise it makes no difference whether ranks that could have memory in common stay together.
    pub fn expects_shared_windows(&self) -> bool {
        self.bonds.shares_memory.load(Ordering::Acquire)
    }

    /// These ranks, all of this node, share the memory of the window with this context, or may in this communicator.
    pub(crate) fn bind(&self, context: u32, ranks: impl Iterator<Item = u32>) {
        self.bonds.change(|groups| groups.insert(context, ranks.collect()));
    }

    /// The window or communicator is gone.
    pub(crate) fn unbind(&self, context: u32) {
        self.bonds.change(|groups| groups.remove(&context));
    }

    /// The ranks of this node that have to be on one node, group by group.
    pub fn bonds(&self) -> Vec<Vec<u32>> {
        self.bonds.change(|groups| groups.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::world::{Placement, World};

    #[test]
    fn ranks_are_bound_as_long_as_there_is_a_window() {
        let world = World::new(vec![0; 4], vec![0; 4], Placement::one_node(4));
        world.bind(7, [0, 1].into_iter());
        world.bind(9, [1, 2].into_iter());
        assert_eq!(world.bonds(), [[0, 1], [1, 2]]);
        world.unbind(7);
        assert_eq!(world.bonds(), [[1, 2]]);
    }
}
