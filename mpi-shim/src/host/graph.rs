//! Graph and distributed graph topologies (MPI-5.0 sections 8.5.3 to 8.5.5 and 8.5.8).
//!
//! Members keep their order: the ranks of a process are equally far apart, so `reorder` gains nothing.

use std::sync::Arc;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::graph::{Distributed, Edge, Graph, Topology, distribute, same_weighting};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestAddr;

use super::topology::{check_room, put_topology, write_array};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::MpiCtx;
use crate::host::communicator::{Made, Maker, duplicate, exchange};
use crate::host::info;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Makes a communicator with a graph. Section 8.5.3.
    call fn MPI_Graph_create(comm_old: i32, nnodes: i32, index: GuestAddr, edges: GuestAddr, reorder: i32, comm_graph: GuestAddr) = graph_create;
    /// The rank this process would have in a graph. Section 8.5.8.
    call fn MPI_Graph_map(comm: i32, nnodes: i32, index: GuestAddr, edges: GuestAddr, newrank: GuestAddr) = graph_map;
    /// Number of nodes and edges. Section 8.5.5.
    call fn MPI_Graphdims_get(comm: i32, nnodes: GuestAddr, nedges: GuestAddr) = graphdims_get;
    /// The graph. Section 8.5.5.
    call fn MPI_Graph_get(comm: i32, maxindex: i32, maxedges: i32, index: GuestAddr, edges: GuestAddr) = graph_get;
    /// Number of neighbors of a rank. Section 8.5.5.
    call fn MPI_Graph_neighbors_count(comm: i32, rank: i32, nneighbors: GuestAddr) = graph_neighbors_count;
    /// Neighbors of a rank. Section 8.5.5.
    call fn MPI_Graph_neighbors(comm: i32, rank: i32, maxneighbors: i32, neighbors: GuestAddr) = graph_neighbors;
    /// Makes a communicator with a graph whose edges anybody gives. Section 8.5.4.
    call fn MPI_Dist_graph_create(comm_old: i32, n: i32, sources: GuestAddr, degrees: GuestAddr, destinations: GuestAddr, weights: GuestAddr, info: i32, reorder: i32, comm_dist_graph: GuestAddr) = dist_graph_create;
    /// Makes a communicator with a graph of which each gives its own edges. Section 8.5.4.
    call fn MPI_Dist_graph_create_adjacent(comm_old: i32, indegree: i32, sources: GuestAddr, sourceweights: GuestAddr, outdegree: i32, destinations: GuestAddr, destweights: GuestAddr, info: i32, reorder: i32, comm_dist_graph: GuestAddr) = dist_graph_create_adjacent;
    /// Number of own edges. Section 8.5.5.
    call fn MPI_Dist_graph_neighbors_count(comm: i32, indegree: GuestAddr, outdegree: GuestAddr, weighted: GuestAddr) = dist_graph_neighbors_count;
    /// Own edges. Section 8.5.5.
    call fn MPI_Dist_graph_neighbors(comm: i32, maxindegree: i32, sources: GuestAddr, sourceweights: GuestAddr, maxoutdegree: i32, destinations: GuestAddr, destweights: GuestAddr) = dist_graph_neighbors;
}

fn length(argument: &'static str, len: i32) -> Result<usize> {
    usize::try_from(len)
        .map_err(|_| MpiError::argument(ErrorClass::Arg, argument, format!("{len} is negative")))
}

/// The graph that the arguments describe, in a communicator of `size` members.
fn described<T: MpiView>(
    call: &mut Call<'_, T>,
    nnodes: i32,
    (index, edges): (GuestAddr, GuestAddr),
    size: u32,
) -> Result<Graph> {
    let nodes = length("nnodes", nnodes)?;
    let index = call.read_i32s("index", index, nodes)?;
    let edges_len = length("index", index.last().copied().unwrap_or(0))?;
    let edges = call.read_i32s("edges", edges, edges_len)?;
    Graph::new(index, edges, size as usize)
}

async fn graph_create<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    nnodes: i32,
    index: GuestAddr,
    edges: GuestAddr,
    _reorder: i32,
    comm_graph: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().intracomm(comm)?;
    let (parent, size) = (communicator.group.clone(), communicator.size());
    let input = described(call, nnodes, (index, edges), size);
    let combine = |maker: &mut Maker<'_>, graphs: Vec<Graph>| place(maker, &parent, graphs);
    let (made, graph) = exchange(call, comm, input, combine).await?;
    put_topology(call, comm, made, Topology::Graph(graph), ("comm_graph", comm_graph))
}

/// The first members make the graph, in their order.
fn place(
    maker: &mut Maker<'_>,
    parent: &Group,
    graphs: Vec<Graph>,
) -> Result<Vec<(Option<Made>, Arc<Graph>)>> {
    let count = graphs.len();
    if let Some(other) = graphs.iter().position(|other| *other != graphs[0]) {
        let detail = format!("rank 0 and rank {other} gave different graphs");
        return Err(MpiError::argument(ErrorClass::NotSame, "index", detail));
    }
    let Some(graph) = graphs.into_iter().next().map(Arc::new) else { return Ok(Vec::new()) };
    let nodes = graph.index().len();
    if nodes == 0 {
        return Ok(vec![(None, graph); count]);
    }
    let made = maker.make(Group::new(parent.iter().take(nodes).collect())?)?;
    let member = |rank: usize| (rank < nodes).then(|| made.at(rank as u32));
    Ok((0..count).map(|rank| (member(rank), graph.clone())).collect())
}

async fn graph_map<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    nnodes: i32,
    index: GuestAddr,
    edges: GuestAddr,
    newrank: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().comm(comm)?;
    let (rank, size) = (communicator.rank as usize, communicator.size());
    let graph = described(call, nnodes, (index, edges), size)?;
    let mapped = if rank < graph.index().len() { rank as i32 } else { abi::MPI_UNDEFINED };
    call.write_i32("newrank", newrank, mapped)
}

/// The graph of `comm`.
fn graph<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32) -> Result<Arc<Graph>> {
    match &mpi.comm(comm)?.topology {
        Some(Topology::Graph(graph)) => Ok(graph.clone()),
        _ => Err(no_graph("the communicator has no graph topology; use MPI_Graph_create")),
    }
}

/// This process's edges in the distributed graph of `comm`.
fn own<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32) -> Result<Arc<Distributed>> {
    match &mpi.comm(comm)?.topology {
        Some(Topology::Distributed(own)) => Ok(own.clone()),
        _ => Err(no_graph("the communicator has no distributed graph; use MPI_Dist_graph_create")),
    }
}

fn no_graph(detail: &'static str) -> MpiError {
    MpiError::argument(ErrorClass::Topology, "comm", detail)
}

async fn graphdims_get<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    nnodes: GuestAddr,
    nedges: GuestAddr,
) -> Result<()> {
    let graph = graph(call.mpi(), comm)?;
    call.write_i32("nnodes", nnodes, graph.index().len() as i32)?;
    call.write_i32("nedges", nedges, graph.edges().len() as i32)
}

async fn graph_get<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    maxindex: i32,
    maxedges: i32,
    index: GuestAddr,
    edges: GuestAddr,
) -> Result<()> {
    let graph = graph(call.mpi(), comm)?;
    check_room("maxindex", maxindex, graph.index().len())?;
    check_room("maxedges", maxedges, graph.edges().len())?;
    write_array(call, "index", index, graph.index().iter().copied())?;
    write_array(call, "edges", edges, graph.edges().iter().copied())
}

async fn graph_neighbors_count<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    rank: i32,
    nneighbors: GuestAddr,
) -> Result<()> {
    let count = graph(call.mpi(), comm)?.neighbors(rank)?.len();
    call.write_i32("nneighbors", nneighbors, count as i32)
}

async fn graph_neighbors<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    rank: i32,
    maxneighbors: i32,
    neighbors: GuestAddr,
) -> Result<()> {
    let graph = graph(call.mpi(), comm)?;
    let found = graph.neighbors(rank)?;
    check_room("maxneighbors", maxneighbors, found.len())?;
    write_array(call, "neighbors", neighbors, found.iter().copied())
}

/// Weights of `len` edges, and whether they were given.
fn weights<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    len: usize,
) -> Result<(bool, Vec<i32>)> {
    if addr == GuestAddr::from(abi::MPI_UNWEIGHTED.cast_unsigned()) {
        return Ok((false, vec![0; len]));
    }
    if addr == GuestAddr::from(abi::MPI_WEIGHTS_EMPTY.cast_unsigned()) {
        if len > 0 {
            let detail = format!("MPI_WEIGHTS_EMPTY has no weights for {len} edges");
            return Err(MpiError::argument(ErrorClass::Arg, argument, detail));
        }
        return Ok((true, Vec::new()));
    }
    let weights = call.read_i32s(argument, addr, len)?;
    if let Some(weight) = weights.iter().find(|weight| **weight < 0) {
        let detail = format!("the weight {weight} is negative");
        return Err(MpiError::argument(ErrorClass::Arg, argument, detail));
    }
    Ok((true, weights))
}

/// `len` ranks of a communicator of `size`.
fn ranks<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    (addr, len): (GuestAddr, usize),
    size: u32,
) -> Result<Vec<u32>> {
    let read = call.read_i32s(argument, addr, len)?;
    let rank = |rank: i32| {
        u32::try_from(rank).ok().filter(|valid| *valid < size).ok_or_else(|| {
            let detail = format!("{rank} is not a rank of the communicator, which has {size}");
            MpiError::argument(ErrorClass::Rank, argument, detail)
        })
    };
    read.into_iter().map(rank).collect()
}

async fn dist_graph_create<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    n: i32,
    sources: GuestAddr,
    degrees: GuestAddr,
    destinations: GuestAddr,
    weights: GuestAddr,
    info: i32,
    _reorder: i32,
    comm_dist_graph: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().intracomm(comm)?;
    let (parent, size) = (communicator.group.clone(), communicator.size());
    let input = info::hints(call.mpi(), info)
        .and_then(|_| given(call, (n, size), (sources, degrees), (destinations, weights)));
    let combine = |maker: &mut Maker<'_>, inputs: Vec<(bool, Vec<Edge>)>| {
        let own = distribute(&inputs)?;
        let made = duplicate(maker, &parent)?;
        Ok(made.into_iter().zip(own).collect())
    };
    let (made, own) = exchange(call, comm, input, combine).await?;
    let topology = Topology::Distributed(Arc::new(own));
    put_topology(call, comm, Some(made), topology, ("comm_dist_graph", comm_dist_graph))
}

/// The edges that a member gives to `MPI_Dist_graph_create`.
fn given<T: MpiView>(
    call: &mut Call<'_, T>,
    (n, size): (i32, u32),
    (sources, degrees): (GuestAddr, GuestAddr),
    (destinations, weight_addr): (GuestAddr, GuestAddr),
) -> Result<(bool, Vec<Edge>)> {
    let n = length("n", n)?;
    let sources = ranks(call, "sources", (sources, n), size)?;
    let degrees = call.read_i32s("degrees", degrees, n)?;
    let degrees: Result<Vec<usize>> =
        degrees.into_iter().map(|degree| length("degrees", degree)).collect();
    let degrees = degrees?;
    let total = degrees.iter().copied().fold(0, usize::saturating_add);
    let destinations = ranks(call, "destinations", (destinations, total), size)?;
    let (is_weighted, weights) = weights(call, "weights", weight_addr, total)?;
    let sources = sources.into_iter().zip(degrees);
    let sources = sources.flat_map(|(source, degree)| std::iter::repeat_n(source, degree));
    let ends = destinations.into_iter().zip(weights);
    let edges = sources.zip(ends).map(|(source, (dest, weight))| (source, dest, weight));
    Ok((is_weighted, edges.collect()))
}

async fn dist_graph_create_adjacent<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    indegree: i32,
    sources: GuestAddr,
    sourceweights: GuestAddr,
    outdegree: i32,
    destinations: GuestAddr,
    destweights: GuestAddr,
    info: i32,
    _reorder: i32,
    comm_dist_graph: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().intracomm(comm)?;
    let (parent, size) = (communicator.group.clone(), communicator.size());
    let into = (indegree, sources, sourceweights);
    let out = (outdegree, destinations, destweights);
    let own = info::hints(call.mpi(), info).and_then(|_| adjacent(call, size, into, out));
    let input = own.as_ref().map(|own| i32::from(own.is_weighted)).map_err(Clone::clone);
    let made = exchange(call, comm, input, |maker, inputs: Vec<i32>| {
        same_weighting(inputs.iter().map(|given| *given != 0))?;
        duplicate(maker, &parent)
    })
    .await?;
    let topology = Topology::Distributed(Arc::new(own?));
    put_topology(call, comm, Some(made), topology, ("comm_dist_graph", comm_dist_graph))
}

/// Degree, neighbors and weights in one direction.
type Direction = (i32, GuestAddr, GuestAddr);

/// The edges that a member gives to `MPI_Dist_graph_create_adjacent`.
fn adjacent<T: MpiView>(
    call: &mut Call<'_, T>,
    size: u32,
    (indegree, sources, sourceweights): Direction,
    (outdegree, destinations, destweights): Direction,
) -> Result<Distributed> {
    let indegree = length("indegree", indegree)?;
    let outdegree = length("outdegree", outdegree)?;
    let sources = ranks(call, "sources", (sources, indegree), size)?;
    let destinations = ranks(call, "destinations", (destinations, outdegree), size)?;
    let (is_weighted, of_sources) = weights(call, "sourceweights", sourceweights, indegree)?;
    let (also, of_destinations) = weights(call, "destweights", destweights, outdegree)?;
    same_weighting([is_weighted, also].into_iter())?;
    Ok(Distributed {
        sources: sources.into_iter().zip(of_sources).collect(),
        destinations: destinations.into_iter().zip(of_destinations).collect(),
        is_weighted,
    })
}

async fn dist_graph_neighbors_count<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    indegree: GuestAddr,
    outdegree: GuestAddr,
    weighted: GuestAddr,
) -> Result<()> {
    let own = own(call.mpi(), comm)?;
    call.write_i32("indegree", indegree, own.sources.len() as i32)?;
    call.write_i32("outdegree", outdegree, own.destinations.len() as i32)?;
    call.write_i32("weighted", weighted, i32::from(own.is_weighted))
}

async fn dist_graph_neighbors<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    maxindegree: i32,
    sources: GuestAddr,
    sourceweights: GuestAddr,
    maxoutdegree: i32,
    destinations: GuestAddr,
    destweights: GuestAddr,
) -> Result<()> {
    let own = own(call.mpi(), comm)?;
    check_room("maxindegree", maxindegree, own.sources.len())?;
    check_room("maxoutdegree", maxoutdegree, own.destinations.len())?;
    let directions = [
        (&own.sources, ("sources", sources), ("sourceweights", sourceweights)),
        (&own.destinations, ("destinations", destinations), ("destweights", destweights)),
    ];
    for (edges, (rank_name, ranks), (weight_name, weights)) in directions {
        if edges.is_empty() {
            continue;
        }
        write_array(call, rank_name, ranks, edges.iter().map(|(rank, _)| rank.cast_signed()))?;
        if own.is_weighted && weights != GuestAddr::from(abi::MPI_UNWEIGHTED.cast_unsigned()) {
            write_array(call, weight_name, weights, edges.iter().map(|(_, weight)| *weight))?;
        }
    }
    Ok(())
}
