//! Graph topologies, and who is whose neighbor in any topology (MPI-5.0 sections 8.5.3, 8.5.4, 8.6).

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError, Result};
use crate::topology::Cartesian;

/// A topology of a communicator, as one member knows it.
#[derive(Clone, Debug)]
pub enum Topology {
    /// A grid.
    Cartesian(Cartesian),
    /// A graph that every member knows.
    Graph(Arc<Graph>),
    /// A graph of which each member knows its own edges.
    Distributed(Arc<Distributed>),
}

/// A graph of `MPI_Graph_create`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Graph {
    index: Vec<i32>,
    edges: Vec<i32>,
}

impl Graph {
    /// The graph whose node `i` has the neighbors `edges[index[i - 1]..index[i]]`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when `index` decreases or does not end with the number of edges, or an edge leads
    /// out of the graph; `MPI_ERR_TOPOLOGY` when there are more nodes than the `size` processes.
    pub fn new(index: Vec<i32>, edges: Vec<i32>, size: usize) -> Result<Self> {
        if index.len() > size {
            let detail = format!("a graph of {} nodes needs more than {size}", index.len());
            return Err(MpiError::argument(ErrorClass::Topology, "nnodes", detail));
        }
        let ends = index.last().copied().unwrap_or(0);
        let ascends = index.first().is_none_or(|first| *first >= 0) && index.is_sorted();
        if !ascends || usize::try_from(ends) != Ok(edges.len()) {
            let detail = format!("it must not decrease, and end with {} edges", edges.len());
            return Err(MpiError::argument(ErrorClass::Arg, "index", detail));
        }
        let nodes = index.len() as i64;
        if let Some(edge) = edges.iter().find(|edge| !(0..nodes).contains(&i64::from(**edge))) {
            let detail = format!("{edge} is not one of the {nodes} nodes");
            return Err(MpiError::argument(ErrorClass::Arg, "edges", detail));
        }
        Ok(Self { index, edges })
    }

    /// The end of each node's edges.
    pub fn index(&self) -> &[i32] {
        &self.index
    }

    /// All edges.
    pub fn edges(&self) -> &[i32] {
        &self.edges
    }

    /// The neighbors of `rank`.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when it is not a node.
    pub fn neighbors(&self, rank: i32) -> Result<&[i32]> {
        let node = usize::try_from(rank).ok().filter(|node| *node < self.index.len());
        let Some(node) = node else {
            let detail = format!("{rank} is not one of the {} nodes", self.index.len());
            return Err(MpiError::argument(ErrorClass::Rank, "rank", detail));
        };
        let start = if node == 0 { 0 } else { self.index[node - 1] };
        Ok(&self.edges[start as usize..self.index[node] as usize])
    }
}

/// One member's edges in a distributed graph: neighbors with the weights of the edges.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Distributed {
    /// Where edges come from.
    pub sources: Vec<(u32, i32)>,
    /// Where edges go to.
    pub destinations: Vec<(u32, i32)>,
    /// Whether the weights mean something.
    pub is_weighted: bool,
}

/// An edge as any member may give it to `MPI_Dist_graph_create`: source, destination, weight.
pub type Edge = (u32, u32, i32);

/// Every member's edges when the members gave these.
///
/// Edges between the same two members are in the same order at both.
pub fn distribute(given: &[(bool, Vec<Edge>)]) -> Result<Vec<Distributed>> {
    let is_weighted = same_weighting(given.iter().map(|(is_weighted, _)| *is_weighted))?;
    let mut all = vec![Distributed { is_weighted, ..Distributed::default() }; given.len()];
    for (source, destination, weight) in given.iter().flat_map(|(_, edges)| edges) {
        let outside = [source, destination].into_iter().find(|rank| **rank as usize >= all.len());
        if let Some(rank) = outside {
            let detail = format!("{rank} is not a rank of the communicator");
            return Err(MpiError::argument(ErrorClass::Rank, "destinations", detail));
        }
        all[*source as usize].destinations.push((*destination, *weight));
        all[*destination as usize].sources.push((*source, *weight));
    }
    Ok(all)
}

/// Whether all members gave weights.
///
/// # Errors
/// `MPI_ERR_NOT_SAME` when some did and others did not.
pub fn same_weighting(mut given: impl Iterator<Item = bool>) -> Result<bool> {
    let first = given.next().unwrap_or(false);
    if given.any(|other| other != first) {
        let detail = "some members gave weights and others MPI_UNWEIGHTED";
        return Err(MpiError::argument(ErrorClass::NotSame, "weights", detail));
    }
    Ok(first)
}

/// The neighbors of one member with their places in the buffers of a neighborhood collective.
///
/// Of the blocks that go from one member to another, the first listed at the sender is the first listed
/// at the receiver, and so on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Neighbors {
    /// For each block that is received: its place and the sender.
    pub sources: Vec<(usize, usize)>,
    /// For each block that is sent: its place and the receiver.
    pub destinations: Vec<(usize, usize)>,
    /// Places in the receive buffer, with those that have no neighbor.
    pub indegree: usize,
    /// Places in the send buffer, with those that have no neighbor.
    pub outdegree: usize,
}

impl Topology {
    /// The neighbors of the member `rank`, whose topology this is.
    ///
    /// In a grid what goes down a dimension arrives as coming from above: this matters where both
    /// neighbors are the same process.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when it is not in the topology.
    pub fn neighbors(&self, rank: u32) -> Result<Neighbors> {
        let numbered = |ranks: &mut dyn Iterator<Item = usize>| ranks.enumerate().collect();
        match self {
            Self::Cartesian(grid) => {
                let mut found = Neighbors::default();
                for axis in 0..grid.dims().len() {
                    let (below, above) = grid.shift(rank.cast_signed(), axis as i32, 1)?;
                    let place = 2 * axis;
                    found.sources.extend(below.map(|below| (place, below)));
                    found.sources.extend(above.map(|above| (place + 1, above)));
                    found.destinations.extend(above.map(|above| (place + 1, above)));
                    found.destinations.extend(below.map(|below| (place, below)));
                }
                (found.indegree, found.outdegree) = (2 * grid.dims().len(), 2 * grid.dims().len());
                Ok(found)
            }
            Self::Graph(graph) => {
                let neighbors = graph.neighbors(rank.cast_signed())?;
                let all: Vec<_> = numbered(&mut neighbors.iter().map(|rank| *rank as usize));
                let degree = neighbors.len();
                let (sources, destinations) = (all.clone(), all);
                Ok(Neighbors { sources, destinations, indegree: degree, outdegree: degree })
            }
            Self::Distributed(own) => Ok(Neighbors {
                sources: numbered(&mut own.sources.iter().map(|(rank, _)| *rank as usize)),
                destinations: numbered(
                    &mut own.destinations.iter().map(|(rank, _)| *rank as usize),
                ),
                indegree: own.sources.len(),
                outdegree: own.destinations.len(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_know_their_neighbors_and_refuse_nonsense() {
        let graph = Graph::new(vec![2, 3, 4, 6], vec![1, 3, 0, 3, 0, 2], 5).unwrap();
        assert_eq!(graph.neighbors(0), Ok(&[1, 3][..]));
        assert_eq!(graph.neighbors(1), Ok(&[0][..]));
        assert_eq!(graph.neighbors(3), Ok(&[0, 2][..]));
        assert_eq!(graph.neighbors(4).unwrap_err().class, ErrorClass::Rank);
        let class = |index: &[i32], edges: &[i32], size| {
            Graph::new(index.to_vec(), edges.to_vec(), size).unwrap_err().class
        };
        assert_eq!(class(&[1, 2], &[1, 0], 1), ErrorClass::Topology);
        assert_eq!(class(&[2, 1], &[1, 0], 2), ErrorClass::Arg);
        assert_eq!(class(&[-1, 2], &[1, 0], 2), ErrorClass::Arg);
        assert_eq!(class(&[1, 1], &[1, 0], 2), ErrorClass::Arg);
        assert_eq!(class(&[1, 2], &[1, 2], 2), ErrorClass::Arg);
    }

    #[test]
    fn edges_come_to_both_ends_in_one_order() {
        let given = [(true, vec![(0, 1, 5), (1, 0, 6)]), (true, vec![(0, 1, 7), (1, 1, 8)])];
        let all = distribute(&given).unwrap();
        assert_eq!(all[0].destinations, [(1, 5), (1, 7)]);
        assert_eq!(all[1].sources, [(0, 5), (0, 7), (1, 8)]);
        assert_eq!(
            (&all[0].sources[..], &all[1].destinations[..]),
            (&[(1, 6)][..], &[(0, 6), (1, 8)][..])
        );
        let class = |given: &[(bool, Vec<Edge>)]| distribute(given).unwrap_err().class;
        assert_eq!(class(&[(true, vec![]), (false, vec![])]), ErrorClass::NotSame);
        assert_eq!(class(&[(false, vec![(0, 1, 0)])]), ErrorClass::Rank);
    }

    /// Oracle: what is sent to the neighbor below arrives in the place for the one above.
    #[test]
    fn blocks_of_a_grid_pair_up_in_both_directions() {
        for (dims, periods) in
            [([1, 4], [true, false]), ([2, 2], [true, true]), ([3, 1], [true, true])]
        {
            let grid = Cartesian::new(&dims, &periods, 9).unwrap();
            let topology = Topology::Cartesian(grid.clone());
            for from in 0..grid.size() {
                let sender = topology.neighbors(from as u32).unwrap();
                for (index, (place, to)) in sender.destinations.iter().enumerate() {
                    let before = &sender.destinations[..index];
                    let nth = before.iter().filter(|(_, other)| other == to).count();
                    let receiver = topology.neighbors(*to as u32).unwrap();
                    let mut same = receiver.sources.iter().filter(|(_, other)| *other == from);
                    assert_eq!(same.nth(nth).unwrap().0, place ^ 1, "{dims:?} {from} to {to}");
                }
            }
        }
    }
}
