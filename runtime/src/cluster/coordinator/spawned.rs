//! The processes that a job on several nodes has spawned, as its coordinator knows them: pure.

use std::collections::{BTreeMap, BTreeSet};

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
    /// For each node how many of its numbers have been given in this life.
    given: Vec<usize>,
    /// Those that run, of whom their nodes may not have told yet.
    begun: BTreeSet<u32>,
    births: BTreeMap<u32, Newborn>,
}

impl Spawned {
    /// For a job that begins with so many processes on so many nodes.
    pub(super) fn new(first: usize, nodes: usize) -> Self {
        let (begun, births) = Default::default();
        Self { first, known: first, given: vec![0; nodes], begun, births }
    }

    /// How many numbers of the node with this index are left.
    pub(super) fn left(&self, node: usize) -> usize {
        self.given.get(node).map_or(0, |given| SPAWNED_MAX - given)
    }

    /// So many numbers of the node with this index, which nobody has had; nothing if there are not as many.
    pub(super) fn give(&mut self, node: usize, count: u32) -> Option<Vec<u32>> {
        let (count, left) = (count as usize, self.left(node));
        let nodes = self.given.len();
        let given = self.given.get_mut(node).filter(|_| count <= left)?;
        let first = std::mem::replace(given, *given + count);
        let number = |at: usize| u32::try_from(self.known + at * nodes + node).ok();
        (first..first + count).map(number).collect()
    }

    /// Processes with numbers that were given run.
    pub(super) fn begin(&mut self, numbers: &[u32]) {
        self.begun.extend(numbers);
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
    pub(super) fn begin_again(&mut self, known: usize) {
        self.known = known;
        self.given.fill(0);
    }

    /// Whether this number was nobody's, between those of others.
    pub(super) fn is_nobody(&self, rank: u32) -> bool {
        let is_somebody = self.births.contains_key(&rank) || self.begun.contains(&rank);
        rank as usize >= self.first && !is_somebody
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
        let mut spawned = Spawned::new(3, 2);
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

    #[test]
    fn each_number_is_given_once_in_a_life() {
        let mut spawned = Spawned::new(3, 2);
        assert_eq!(
            [(0, 2), (1, 1), (0, 1)].map(|(node, count)| spawned.give(node, count)),
            [Some(vec![3, 5]), Some(vec![4]), Some(vec![7])]
        );
        assert_eq!((spawned.give(0, u32::MAX), spawned.give(2, 1)), (None, None));
        assert_eq!((spawned.left(0), spawned.left(2)), (SPAWNED_MAX - 3, 0));
        spawned.begin(&[5]);
        assert_eq!([5, 7].map(|rank| spawned.is_nobody(rank)), [false, true]);
        spawned.begin_again(8);
        assert_eq!(spawned.give(1, 1), Some(vec![9]));
    }
}
