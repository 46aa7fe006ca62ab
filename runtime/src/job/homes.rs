//! Where the ranks of a node are placed, and how much room each has for messages.

use faasm_mpi_shim::world::Placement;

/// For each rank the worker it is placed on, if it is of this node.
pub(super) fn homes(placement: &Placement, workers: u32) -> Vec<Option<u32>> {
    let is_here = |node: &&u32| **node == placement.this_node;
    let here = placement.nodes.iter().filter(is_here).count() as u32;
    let mut index = 0;
    let home = |node: &u32| {
        (*node == placement.this_node).then(|| {
            index += 1;
            block(index - 1, here, workers)
        })
    };
    placement.nodes.iter().map(home).collect()
}

/// Worker of the `rank`th of `ranks` ranks of a node: they are placed in contiguous blocks, so that neighbours share a worker.
const fn block(rank: u32, ranks: u32, workers: u32) -> u32 {
    (rank as u64 * workers as u64 / ranks as u64) as u32
}

/// Cache lines of each rank's ring: more for few ranks, less where thousands share the memory.
pub(super) const fn ring_lines(ranks: usize) -> usize {
    match ranks {
        0..=128 => 256,
        129..=1024 => 64,
        _ => 16,
    }
}

/// Cache lines of the ring of a rank of another node, which nobody uses.
pub(super) const REMOTE_LINES: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranks_of_a_node_are_spread_over_its_workers() {
        let placement = Placement { nodes: [0, 1, 1, 0, 1, 1].into(), this_node: 1 };
        let expected = [None, Some(0), Some(0), None, Some(1), Some(1)];
        assert_eq!(homes(&placement, 2), expected);
        assert_eq!(homes(&Placement::one_node(2), 2), [Some(0), Some(1)]);
    }

    #[test]
    fn blocks_are_contiguous_and_balanced() {
        let blocks: Vec<_> = (0..7).map(|rank| block(rank, 7, 3)).collect();
        assert_eq!(blocks, [0, 0, 0, 1, 1, 2, 2]);
        assert_eq!((0..2).map(|rank| block(rank, 2, 2)).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(block(29_999, 30_000, 64), 63);
    }
}
