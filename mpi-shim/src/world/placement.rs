//! On which node each rank of a job runs, and the numbers that follow from it.

use std::sync::atomic::{AtomicU32, Ordering};

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

/// The node of every rank. Nodes of a job are numbered from 0, the same way everywhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placement {
    /// For each rank, the number of its node in the job.
    pub nodes: Box<[u32]>,
    /// The number of the node that this process is.
    pub this_node: u32,
}

impl Placement {
    /// All of `ranks` ranks on one node.
    pub fn one_node(ranks: usize) -> Self {
        Self { nodes: vec![0; ranks].into(), this_node: 0 }
    }

    /// Number of nodes, up to the last one that has a rank.
    pub fn node_count(&self) -> u32 {
        self.nodes.iter().max().map_or(1, |last| last + 1)
    }
}

/// Gives out contexts: each node has every n-th number, where n is the number of nodes, so that no two nodes of a
/// job ever give the same and none has to ask another. A job that goes on with another number of nodes
/// begins above all numbers that were given.
#[derive(Debug)]
pub(super) struct Contexts {
    /// The first of the next `nodes` numbers, one of which is this node's.
    next: AtomicU32,
    nodes: u32,
    node: u32,
}

impl Contexts {
    /// The contexts of node `node` of `nodes`, from `first` on.
    pub(super) fn new(nodes: u32, node: u32, first: u32) -> Self {
        Self { next: AtomicU32::new(first), nodes: nodes.max(1), node }
    }

    /// More than all contexts that this node has given; what [`Contexts::go_on_from`] goes on from.
    pub(super) fn counter(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// Counts on from here, the same on all nodes, after a restart; contexts that are in use are not given again.
    pub(super) fn go_on_from(&self, counter: u32) {
        self.next.fetch_max(counter, Ordering::Relaxed);
    }

    /// A context that was never given before.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when there is none left.
    pub(super) fn next(&self) -> Result<u32> {
        let step = |first: u32| first.checked_add(self.nodes);
        match self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(first) => Ok(first + self.node),
            Err(_) => {
                let detail = format!(
                    "this node has made {} communicators since the job began, and a job over {} nodes has \
                     no more numbers for it; make communicators once and keep them, instead of making one \
                     for each step",
                    u32::MAX / self.nodes,
                    self.nodes
                );
                Err(MpiError::new(ErrorClass::NoMem, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_of_different_nodes_differ_and_run_out_with_an_error() {
        let one = Contexts::new(1, 0, 2);
        assert_eq!((one.next(), one.next()), (Ok(2), Ok(3)));
        for nodes in [2, 3, 1025] {
            let last = Contexts::new(nodes, nodes - 1, 2);
            assert_eq!((last.next(), last.next()), (Ok(nodes + 1), Ok(2 * nodes + 1)));
            let end = u32::MAX - nodes + 1;
            last.next.store(end, Ordering::Relaxed);
            assert_eq!(last.next().map_err(|error| error.class), Err(ErrorClass::NoMem));
            assert_eq!(last.next.load(Ordering::Relaxed), end, "it stays so");
        }
    }

    #[test]
    fn contexts_stay_apart_when_the_number_of_nodes_changes() {
        let mut given = Vec::new();
        let mut from = 2;
        for nodes in [3, 1, 4, 2] {
            let all: Vec<_> = (0..nodes).map(|node| Contexts::new(nodes, node, 2)).collect();
            all.iter().for_each(|one| one.go_on_from(from));
            // One node makes more than the others.
            for (times, one) in (1..).zip(&all) {
                given.extend((0..times).filter_map(|_| one.next().ok()));
            }
            from = all.iter().map(Contexts::counter).max().expect("there are nodes");
        }
        let count = given.len();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), count, "{given:?}");
    }

    #[test]
    fn nodes_are_counted_up_to_the_last() {
        assert_eq!(Placement::one_node(3).node_count(), 1);
        let placement = Placement { nodes: [0, 2, 1, 2].into(), this_node: 1 };
        assert_eq!(placement.node_count(), 3);
    }
}
