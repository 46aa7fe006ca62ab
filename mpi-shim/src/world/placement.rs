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

/// Gives out contexts: the node's number in the upper bits, a counter in the others, so that no two
/// nodes of a job ever give the same and none has to ask another.
#[derive(Debug)]
pub(super) struct Contexts {
    next: AtomicU32,
    /// Bits of the counter.
    counter_bits: u32,
    node: u32,
}

impl Contexts {
    /// The contexts of node `node` of `nodes`, from the counter `first` on.
    pub(super) fn new(nodes: u32, node: u32, first: u32) -> Self {
        let node_bits = u32::BITS - nodes.saturating_sub(1).leading_zeros();
        Self { next: AtomicU32::new(first), counter_bits: u32::BITS - node_bits, node }
    }

    /// What [`Contexts::go_on_from`] goes on from.
    pub(super) fn counter(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// Counts on from here after a restart; contexts that are in use are not given again.
    pub(super) fn go_on_from(&self, counter: u32) {
        self.next.fetch_max(counter, Ordering::Relaxed);
    }

    /// A context that was never given before.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when there is none left.
    pub(super) fn next(&self) -> Result<u32> {
        let last = u32::MAX.checked_shr(u32::BITS - self.counter_bits).unwrap_or(0);
        let step = |counter: u32| (counter < last).then_some(counter + 1);
        match self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(counter) => Ok(self.node.checked_shl(self.counter_bits).unwrap_or(0) | counter),
            Err(_) => {
                let detail = format!(
                    "this node has made {last} communicators since the job began, and a job over \
                     so many nodes has no more numbers for it; make communicators once and keep \
                     them, instead of making one for each step"
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
        for (nodes, bits) in [(2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11)] {
            let last = Contexts::new(nodes, nodes - 1, 2);
            assert_eq!(last.next(), Ok((nodes - 1) << (32 - bits) | 2), "{nodes} nodes");
            let end = (1 << (32 - bits)) - 1;
            last.next.store(end, Ordering::Relaxed);
            assert_eq!(last.next().map_err(|error| error.class), Err(ErrorClass::NoMem));
            assert_eq!(last.next.load(Ordering::Relaxed), end, "it stays so");
        }
    }

    #[test]
    fn nodes_are_counted_up_to_the_last() {
        assert_eq!(Placement::one_node(3).node_count(), 1);
        let placement = Placement { nodes: [0, 2, 1, 2].into(), this_node: 1 };
        assert_eq!(placement.node_count(), 3);
    }
}
