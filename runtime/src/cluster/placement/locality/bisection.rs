//! Boxes of a grid by recursive coordinate bisection: the nodes are halved, the grid's ranks are
//! sorted along the box's longest side and cut where the first half is full.
//!
//! Costs `ranks * log(ranks) * log(nodes)` steps.

/// The node of each rank of a grid, node `i` having `counts[i]` of them.
pub(super) fn bisect(dims: &[u32], counts: &[u32]) -> Vec<u32> {
    let ranks: usize = counts.iter().map(|count| *count as usize).sum();
    let mut node_of_rank = vec![0; ranks];
    let mut all: Vec<u32> = (0..).take(ranks).collect();
    cut(&Grid::new(dims), &mut all, counts, 0, &mut node_of_rank);
    node_of_rank
}

struct Grid {
    /// Extent and stride of each dimension.
    dims: Vec<(u32, u32)>,
}

impl Grid {
    fn new(dims: &[u32]) -> Self {
        let mut stride = 1;
        let with_stride = |extent: &u32| {
            let dim = (*extent, stride);
            stride *= extent;
            dim
        };
        let mut dims: Vec<(u32, u32)> = dims.iter().rev().map(with_stride).collect();
        dims.reverse();
        Self { dims }
    }

    fn place(&self, rank: u32, dim: usize) -> u32 {
        let (extent, stride) = self.dims[dim];
        rank / stride % extent
    }

    /// The dimension in which these ranks reach furthest; the first of several.
    fn longest(&self, ranks: &[u32]) -> usize {
        let reach = |dim: usize| {
            let places = || ranks.iter().map(|rank| self.place(*rank, dim));
            places().max().unwrap_or(0) - places().min().unwrap_or(0)
        };
        let dims = 0..self.dims.len();
        dims.max_by_key(|dim| (reach(*dim), std::cmp::Reverse(*dim))).unwrap_or(0)
    }
}

/// Gives `ranks` to the nodes `first..first + counts.len()`.
fn cut(grid: &Grid, ranks: &mut [u32], counts: &[u32], first: u32, node_of_rank: &mut [u32]) {
    if counts.len() == 1 {
        ranks.iter().for_each(|rank| node_of_rank[*rank as usize] = first);
        return;
    }
    let middle = counts.len() / 2;
    let (low, high) = counts.split_at(middle);
    let dim = grid.longest(ranks);
    ranks.sort_unstable_by_key(|rank| (grid.place(*rank, dim), *rank));
    let (left, right) = ranks.split_at_mut(low.iter().map(|count| *count as usize).sum());
    cut(grid, left, low, first, node_of_rank);
    cut(grid, right, high, first + middle as u32, node_of_rank);
}
