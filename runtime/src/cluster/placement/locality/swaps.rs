//! Local search: two ranks of different nodes change places when that makes the cut smaller.
//!
//! Only ranks with a neighbour elsewhere are moved, and each is compared with the ranks at the border
//! of the node that it would rather be on. The number of steps is bounded; what has been reached by
//! then is the result.

use super::Graph;

/// Swaps pairs of ranks as long as it helps and steps are left.
pub(super) fn improve(graph: &Graph, node_of_rank: &mut [u32], nodes: usize) {
    let mut steps_left = STEPS_MAX;
    let mut swaps = Swaps { graph, node_of_rank, border: Vec::new() };
    for _ in 0..ROUNDS_MAX {
        swaps.find_border(nodes);
        if !swaps.round(&mut steps_left) {
            return;
        }
    }
}

struct Swaps<'a> {
    graph: &'a Graph,
    node_of_rank: &'a mut [u32],
    /// The ranks of each node that have neighbours elsewhere, at the beginning of the round.
    border: Vec<Vec<usize>>,
}

impl Swaps<'_> {
    fn find_border(&mut self, nodes: usize) {
        self.border = vec![Vec::new(); nodes];
        for rank in 0..self.graph.ranks() {
            let node = self.node_of_rank[rank];
            if self.graph.neighbours(rank).any(|(other, _)| self.node_of_rank[other] != node) {
                self.border[node as usize].push(rank);
            }
        }
    }

    /// Looks once at every rank of a border; true if something was swapped and it may go on.
    fn round(&mut self, steps_left: &mut u64) -> bool {
        let mut is_better = false;
        for rank in self.border.concat() {
            for node in self.nodes_around(rank) {
                let cost = self.border[node as usize].len() as u64 + 1;
                let Some(left) = steps_left.checked_sub(cost) else { return false };
                *steps_left = left;
                if let Some(partner) = self.partner(rank, node) {
                    self.node_of_rank.swap(rank, partner);
                    is_better = true;
                    break;
                }
            }
        }
        is_better
    }

    /// Other nodes on which `rank` has neighbours.
    fn nodes_around(&self, rank: usize) -> Vec<u32> {
        let own = self.node_of_rank[rank];
        let around = self.graph.neighbours(rank).map(|(other, _)| self.node_of_rank[other]);
        let mut around: Vec<u32> = around.filter(|node| *node != own).collect();
        around.sort_unstable();
        around.dedup();
        around
    }

    /// The rank of `node` for which `rank` is best swapped, if that makes the cut smaller.
    fn partner(&self, rank: usize, node: u32) -> Option<usize> {
        let own = self.node_of_rank[rank];
        let gain = self.gain(rank, node);
        let at_home = |other: &&usize| self.node_of_rank[**other] == node;
        let with_gain = |other: &usize| {
            // An edge between both stays in the cut, but both gains count it.
            let between = self.graph.neighbours(rank).find(|(n, _)| n == other);
            let between = between.map_or(0, |(_, weight)| weight.cast_signed());
            (gain + self.gain(*other, own) - 2 * between, std::cmp::Reverse(*other))
        };
        let all = self.border[node as usize].iter().filter(at_home).map(with_gain);
        all.max().filter(|(gain, _)| *gain > 0).map(|(_, other)| other.0)
    }

    /// By how much the cut shrinks if `rank` alone moves to `node`.
    fn gain(&self, rank: usize, node: u32) -> i64 {
        let own = self.node_of_rank[rank];
        let weigh = |(other, weight): (usize, u64)| match self.node_of_rank[other] {
            there if there == node => weight.cast_signed(),
            there if there == own => -weight.cast_signed(),
            _ => 0,
        };
        self.graph.neighbours(rank).map(weigh).sum()
    }
}

/// Passes over all borders; a good beginning needs two or three.
const ROUNDS_MAX: usize = 16;
/// Comparisons of two ranks, which take a second or so at most.
const STEPS_MAX: u64 = 20_000_000;
