//! Ranks that talk to each other come to the same node: as few edges of their neighbourhood as
//! possible run between nodes.
//!
//! The number of ranks of each node is given. Several partitions are made (blocks of consecutive
//! ranks, equal boxes of a grid, boxes cut by recursive bisection, parts grown along edges), the one with the
//! smallest cut is improved by swapping pairs of ranks. Everything is deterministic: ties go to the
//! smaller number.

mod bisection;
mod boxes;
mod growth;
mod swaps;

use std::collections::BTreeMap;

use super::{PlacementError, RANKS_MAX};

/// Which ranks are neighbours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Topology {
    /// A grid, the last dimension running fastest, as of `MPI_Cart_create`.
    Grid {
        /// Extent in each dimension.
        dims: Vec<u32>,
        /// Whether each dimension closes to a ring.
        periodic: bool,
    },
    /// Pairs of ranks with a weight; pairs that occur repeatedly add up.
    Edges(Vec<(u32, u32, u32)>),
}

/// What is wrong with a file of edges.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{file}:{line}: {cause} Write an edge a line as two ranks and, if wanted, a weight, as in `0 1 5`."
)]
pub struct EdgeError {
    file: String,
    line: usize,
    cause: String,
}

impl Topology {
    /// The edges of a file's text: `rank rank [weight]` a line, `#` begins a comment.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse_edges(file: &str, text: &str) -> Result<Self, EdgeError> {
        let mut edges = Vec::new();
        for (line, words) in (1..).zip(text.lines()) {
            let fail = |cause: String| Err(EdgeError { file: file.to_owned(), line, cause });
            let words = words.split('#').next().unwrap_or_default();
            let numbers: Option<Vec<u32>> =
                words.split_whitespace().map(|word| word.parse().ok()).collect();
            match numbers.as_deref() {
                Some([]) => continue,
                Some([a, b, ..]) if *a.max(b) >= RANKS_MAX => {
                    return fail(format!("There is no rank {}.", a.max(b)));
                }
                Some([a, b]) => edges.push((*a, *b, 1)),
                Some([a, b, weight]) => edges.push((*a, *b, *weight)),
                _ => return fail("This is not an edge.".to_owned()),
            }
            if edges.len() > EDGES_MAX {
                return fail(format!("There are more than {EDGES_MAX} edges."));
            }
        }
        Ok(Self::Edges(edges))
    }

    /// Number of ranks that the topology speaks of; ranks beyond the last edge have no neighbours.
    fn ranks(&self) -> u64 {
        match self {
            Self::Grid { dims, .. } => {
                dims.iter().fold(1_u64, |ranks, dim| ranks.saturating_mul(u64::from(*dim)))
            }
            Self::Edges(edges) => {
                edges.iter().map(|(a, b, _)| u64::from(*a.max(b)) + 1).max().unwrap_or(0)
            }
        }
    }
}

/// The node of each rank, so that node `i` has `counts[i]` ranks and few edges run between nodes.
pub(super) fn assign(topology: &Topology, counts: &[u32]) -> Result<Vec<u32>, PlacementError> {
    let ranks: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let known = topology.ranks();
    let fits = match topology {
        Topology::Grid { .. } => known == ranks,
        Topology::Edges(_) => known <= ranks,
    };
    if !fits {
        return Err(PlacementError::Topology { known, ranks });
    }
    let graph = Graph::new(topology, ranks as usize);
    let blocks = super::number(counts, super::RankBy::Slot, 0);
    let mut candidates = vec![blocks, growth::grow(&graph, counts)];
    if let Topology::Grid { dims, .. } = topology {
        candidates.push(bisection::bisect(dims, counts));
        candidates.extend(boxes::divide(dims, counts));
    }
    let mut best = candidates
        .into_iter()
        .min_by_key(|candidate| graph.cut(candidate))
        .expect("there is always the candidate of blocks");
    swaps::improve(&graph, &mut best, counts.len());
    Ok(best)
}

/// Neighbours of each rank with the weight of the edge.
struct Graph {
    /// Neighbours of rank `i` are `edges[starts[i]..starts[i + 1]]`.
    starts: Vec<usize>,
    edges: Vec<(u32, u32)>,
}

impl Graph {
    fn new(topology: &Topology, ranks: usize) -> Self {
        let mut weights: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        let mut add = |a: u32, b: u32, weight: u32| {
            if a != b && weight > 0 {
                for edge in [(a, b), (b, a)] {
                    let sum = weights.entry(edge).or_default();
                    *sum = sum.saturating_add(weight);
                }
            }
        };
        match topology {
            Topology::Grid { dims, periodic } => grid_edges(dims, *periodic, &mut add),
            Topology::Edges(edges) => edges.iter().for_each(|(a, b, weight)| add(*a, *b, *weight)),
        }
        let mut starts = vec![0; ranks + 1];
        for (a, _) in weights.keys() {
            starts[*a as usize + 1] += 1;
        }
        for rank in 0..ranks {
            starts[rank + 1] += starts[rank];
        }
        let edges = weights.into_iter().map(|((_, b), weight)| (b, weight)).collect();
        Self { starts, edges }
    }

    fn ranks(&self) -> usize {
        self.starts.len() - 1
    }

    fn neighbours(&self, rank: usize) -> impl Iterator<Item = (usize, u64)> {
        let edges = &self.edges[self.starts[rank]..self.starts[rank + 1]];
        edges.iter().map(|(neighbour, weight)| (*neighbour as usize, u64::from(*weight)))
    }

    /// Weight of the edges between nodes.
    fn cut(&self, node_of_rank: &[u32]) -> u64 {
        let between = |rank: usize| {
            let other = move |(n, _): &(usize, u64)| node_of_rank[*n] != node_of_rank[rank];
            self.neighbours(rank).filter(other).map(|(_, weight)| weight).sum::<u64>()
        };
        (0..self.ranks()).map(between).sum::<u64>() / 2
    }
}

fn grid_edges(dims: &[u32], periodic: bool, add: &mut impl FnMut(u32, u32, u32)) {
    let ranks: u32 = dims.iter().product();
    let mut stride = 1;
    for extent in dims.iter().rev() {
        for rank in 0..ranks {
            let place = rank / stride % extent;
            if place + 1 < *extent {
                add(rank, rank + stride, 1);
            } else if periodic && *extent > 1 {
                add(rank, rank - place * stride, 1);
            }
        }
        stride *= extent;
    }
}

/// Each rank of a large job with dozens of neighbours.
const EDGES_MAX: usize = 1 << 24;
