//! Parts grown along edges: each node begins with a rank that has few neighbours left and takes, one
//! after the other, the rank with the heaviest edges to what it has.
//!
//! Costs `(ranks + edges) * log(ranks)` steps.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::Graph;

/// The node of each rank, node `i` having `counts[i]` of them.
pub(super) fn grow(graph: &Graph, counts: &[u32]) -> Vec<u32> {
    let mut growth = Growth {
        graph,
        node_of_rank: vec![FREE; graph.ranks()],
        pull: vec![0; graph.ranks()],
        next_seed: 0,
    };
    for (node, count) in (0..).zip(counts) {
        growth.fill(node, *count);
    }
    growth.node_of_rank
}

struct Growth<'a> {
    graph: &'a Graph,
    node_of_rank: Vec<u32>,
    /// Weight of each rank's edges to the node that grows.
    pull: Vec<u64>,
    /// All ranks before this one are taken.
    next_seed: usize,
}

impl Growth<'_> {
    fn fill(&mut self, node: u32, count: u32) {
        self.pull.fill(0);
        // Entries grow stale when a rank's pull rises: only the one with the present pull counts.
        let mut heap: BinaryHeap<(u64, Reverse<usize>)> = BinaryHeap::new();
        for _ in 0..count {
            let next = loop {
                match heap.pop() {
                    Some((pull, Reverse(rank))) if !self.is_current(rank, pull) => {}
                    Some((_, Reverse(rank))) => break rank,
                    None => break self.seed(),
                }
            };
            self.node_of_rank[next] = node;
            for (neighbour, weight) in self.graph.neighbours(next) {
                if self.node_of_rank[neighbour] == FREE {
                    self.pull[neighbour] += weight;
                    heap.push((self.pull[neighbour], Reverse(neighbour)));
                }
            }
        }
    }

    fn is_current(&self, rank: usize, pull: u64) -> bool {
        self.node_of_rank[rank] == FREE && self.pull[rank] == pull
    }

    /// Where a node begins, or goes on when nothing is connected to it any more: the free rank of
    /// the next few that has the fewest free neighbours, a corner rather than the middle.
    fn seed(&mut self) -> usize {
        while self.node_of_rank[self.next_seed] != FREE {
            self.next_seed += 1;
        }
        let free = (self.next_seed..self.graph.ranks()).filter(|r| self.node_of_rank[*r] == FREE);
        let is_free = |(rank, _): &(usize, u64)| self.node_of_rank[*rank] == FREE;
        free.take(SEEDS_MAX)
            .min_by_key(|rank| self.graph.neighbours(*rank).filter(is_free).count())
            .expect("counts add up to the number of ranks, so one is free")
    }
}

const FREE: u32 = u32::MAX;
/// Ranks that are looked at for a beginning.
const SEEDS_MAX: usize = 256;
