//! The processes that a job on several nodes has spawned, as its coordinator knows them: pure.

use std::collections::BTreeMap;

use crate::cluster::offer::Newborn;

/// Most processes that are spawned on a node in one life of a job.
const SPAWNED_MAX: usize = faasm_mpi_shim::world::Grown::<()>::MAX as usize;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Spawned {
    /// Processes that there were at the beginning.
    first: usize,
    /// Processes that there were when this life of the job began.
    known: usize,
    births: BTreeMap<u32, Newborn>,
}

impl Spawned {
    /// For a job that begins with so many processes.
    pub(super) const fn new(first: usize) -> Self {
        Self { first, known: first, births: BTreeMap::new() }
    }

    /// Index of the node of a process that was spawned in this life of the job: those of a node have every n-th
    /// number, where n is the number of nodes.
    pub(super) fn place(&self, rank: u32, nodes: usize) -> Option<usize> {
        let beyond = (rank as usize).checked_sub(self.known)?;
        (beyond / nodes < SPAWNED_MAX).then_some(beyond % nodes)
    }

    /// Keeps what a process was spawned with; false when it was told before.
    pub(super) fn add(&mut self, newborn: Newborn) -> bool {
        self.births.insert(newborn.rank, newborn).is_none()
    }

    /// Another life begins, with so many processes.
    pub(super) const fn begin_again(&mut self, known: usize) {
        self.known = known;
    }

    /// Whether this number was nobody's, between those of others.
    pub(super) fn is_nobody(&self, rank: u32) -> bool {
        rank as usize >= self.first && !self.births.contains_key(&rank)
    }

    /// What processes were spawned with.
    pub(super) const fn births(&self) -> &BTreeMap<u32, Newborn> {
        &self.births
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::offer::Offer;

    fn newborn(rank: u32) -> Newborn {
        Newborn { rank, program: Offer { hash: [1; 32], bytes: 9 }, birth: vec![7] }
    }

    #[test]
    fn numbers_tell_nodes_until_another_life_begins() {
        let mut spawned = Spawned::new(3);
        assert_eq!(
            [2, 3, 4, 5].map(|rank| spawned.place(rank, 2)),
            [None, Some(0), Some(1), Some(0)]
        );
        assert_eq!(spawned.place(u32::MAX, 2), None, "nobody has so many");
        assert!(spawned.add(newborn(4)) && !spawned.add(newborn(4)));
        assert_eq!([2, 3, 4].map(|rank| spawned.is_nobody(rank)), [false, true, false]);
        spawned.begin_again(5);
        assert_eq!([4, 5].map(|rank| spawned.place(rank, 2)), [None, Some(0)]);
        assert!(spawned.is_nobody(3), "still");
    }
}
