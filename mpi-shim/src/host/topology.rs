//! Cartesian topologies and what all topologies share (MPI-5.0 chapter 8).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::graph::Topology;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::topology::{Cartesian, dims_create};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::MpiCtx;
use crate::host::communicator::{Color, Made, Maker, exchange, install, split};
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// A balanced shape for a number of processes. Section 8.5.2.
    call fn MPI_Dims_create(nnodes: i32, ndims: i32, dims: GuestAddr) = create_dims;
    /// Makes a communicator with a grid. Section 8.5.1.
    call fn MPI_Cart_create(comm_old: i32, ndims: i32, dims: GuestAddr, periods: GuestAddr, reorder: i32, comm_cart: GuestAddr) = cart_create;
    /// Shape of the grid and own coordinates. Section 8.5.5.
    call fn MPI_Cart_get(comm: i32, maxdims: i32, dims: GuestAddr, periods: GuestAddr, coords: GuestAddr) = cart_get;
    /// Number of dimensions. Section 8.5.5.
    call fn MPI_Cartdim_get(comm: i32, ndims: GuestAddr) = cartdim_get;
    /// Rank at coordinates. Section 8.5.5.
    call fn MPI_Cart_rank(comm: i32, coords: GuestAddr, rank: GuestAddr) = cart_rank;
    /// Coordinates of a rank. Section 8.5.5.
    call fn MPI_Cart_coords(comm: i32, rank: i32, maxdims: i32, coords: GuestAddr) = cart_coords;
    /// Neighbors along a dimension. Section 8.5.6.
    call fn MPI_Cart_shift(comm: i32, direction: i32, disp: i32, rank_source: GuestAddr, rank_dest: GuestAddr) = cart_shift;
    /// Makes communicators of slices of the grid. Section 8.5.7.
    call fn MPI_Cart_sub(comm: i32, remain_dims: GuestAddr, newcomm: GuestAddr) = cart_sub;
    /// The rank this process would have in a grid. Section 8.5.8.
    call fn MPI_Cart_map(comm: i32, ndims: i32, dims: GuestAddr, periods: GuestAddr, newrank: GuestAddr) = cart_map;
    /// Kind of topology. Section 8.5.5.
    call fn MPI_Topo_test(comm: i32, status: GuestAddr) = topo_test;
}

/// The grid of `comm`.
fn grid<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32) -> Result<&Cartesian> {
    match &mpi.comm(comm)?.topology {
        Some(Topology::Cartesian(grid)) => Ok(grid),
        _ => {
            let detail = "the communicator has no Cartesian topology; use MPI_Cart_create";
            Err(MpiError::argument(ErrorClass::Topology, "comm", detail))
        }
    }
}

fn dimensions(argument: &'static str, ndims: i32) -> Result<usize> {
    usize::try_from(ndims)
        .map_err(|_| MpiError::argument(ErrorClass::Dims, argument, format!("{ndims} is negative")))
}

/// Checks that an array of `room` entries takes the `needed` ones.
pub(super) fn check_room(argument: &'static str, room: i32, needed: usize) -> Result<()> {
    if i64::from(room) >= needed as i64 {
        return Ok(());
    }
    let detail = format!("{room} is less than the {needed} there are; ask for their number first");
    Err(MpiError::argument(ErrorClass::Arg, argument, detail))
}

pub(super) fn write_array<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    values: impl Iterator<Item = i32>,
) -> Result<()> {
    let bytes: Vec<u8> = values.flat_map(i32::to_le_bytes).collect();
    call.write(argument, addr, &bytes)
}

fn read_flags<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    len: usize,
) -> Result<Vec<bool>> {
    let words = call.read_i32s(argument, addr, len)?;
    Ok(words.into_iter().map(|word| word != 0).collect())
}

/// The grid that the arguments describe, in a communicator of `size` members.
fn described<T: MpiView>(
    call: &mut Call<'_, T>,
    ndims: i32,
    (dims, periods): (GuestAddr, GuestAddr),
    size: u32,
) -> Result<Cartesian> {
    let ndims = dimensions("ndims", ndims)?;
    let dims = call.read_i32s("dims", dims, ndims)?;
    let periods = read_flags(call, "periods", periods, ndims)?;
    Cartesian::new(&dims, &periods, size as usize)
}

async fn create_dims<T: MpiView>(
    call: &mut Call<'_, T>,
    nnodes: i32,
    ndims: i32,
    dims: GuestAddr,
) -> Result<()> {
    /// No number of 32 bits has more prime factors.
    const FACTORS_MAX: usize = 31;
    let ndims = dimensions("ndims", ndims)?;
    let mut shape = call.read_i32s("dims", dims, ndims)?;
    for surplus in shape.iter_mut().filter(|dim| **dim == 0).skip(FACTORS_MAX) {
        *surplus = 1;
    }
    dims_create(nnodes, &mut shape)?;
    write_array(call, "dims", dims, shape.into_iter())
}

/// Gives the guest the handle of its new communicator with `topology`, or `MPI_COMM_NULL`.
pub(super) fn put_topology<T: MpiView>(
    call: &mut Call<'_, T>,
    parent: i32,
    made: Option<Made>,
    topology: Topology,
    (argument, newcomm): (&'static str, GuestAddr),
) -> Result<()> {
    let handle = match made {
        Some(made) => {
            let mut new = made.communicator(call.mpi(), parent)?;
            new.topology = Some(topology);
            install(call.mpi(), new)?
        }
        None => abi::MPI_COMM_NULL,
    };
    call.write_i32(argument, newcomm, handle)
}

async fn cart_create<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    ndims: i32,
    dims: GuestAddr,
    periods: GuestAddr,
    _reorder: i32,
    comm_cart: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().intracomm(comm)?;
    let (parent, size) = (communicator.group.clone(), communicator.size());
    let input = described(call, ndims, (dims, periods), size);
    let combine = |maker: &mut Maker<'_>, grids: Vec<Cartesian>| place(maker, &parent, &grids);
    let output = exchange(call, comm, input, combine).await;
    // A program that frees or uses it without looking at the error finds no communicator of another call there.
    let (made, topology) = match output {
        Ok(output) => output,
        Err(error) => {
            call.write_i32("comm_cart", comm_cart, abi::MPI_COMM_NULL)?;
            return Err(error);
        }
    };
    put_topology(call, comm, made, Topology::Cartesian(topology), ("comm_cart", comm_cart))
}

/// The first members make the grid, in their order: ranks in one process are equally far apart.
fn place(
    maker: &mut Maker<'_>,
    parent: &Group,
    grids: &[Cartesian],
) -> Result<Vec<(Option<Made>, Cartesian)>> {
    let Some(grid) = grids.first() else { return Ok(Vec::new()) };
    if let Some(other) = grids.iter().position(|other| other != grid) {
        let detail = format!(
            "rank 0 gave dims {:?} and periods {:?}, rank {other} gave {:?} and {:?}",
            grid.dims(),
            grid.periods(),
            grids[other].dims(),
            grids[other].periods()
        );
        return Err(MpiError::argument(ErrorClass::NotSame, "dims", detail));
    }
    let size = grid.size();
    let made = maker.make(Group::new(parent.iter().take(size).collect())?)?;
    let member = |rank: usize| (rank < size).then(|| made.at(rank as u32));
    Ok((0..grids.len()).map(|rank| (member(rank), grid.clone())).collect())
}

async fn cart_get<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    maxdims: i32,
    dims: GuestAddr,
    periods: GuestAddr,
    coords: GuestAddr,
) -> Result<()> {
    let grid = grid(call.mpi(), comm)?.clone();
    let rank = call.mpi().comm(comm)?.rank;
    check_room("maxdims", maxdims, grid.dims().len())?;
    write_array(call, "dims", dims, grid.dims().iter().copied())?;
    write_array(call, "periods", periods, grid.periods().iter().map(|period| i32::from(*period)))?;
    write_array(call, "coords", coords, grid.coords(rank.cast_signed())?.into_iter())
}

async fn cartdim_get<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    ndims: GuestAddr,
) -> Result<()> {
    let count = grid(call.mpi(), comm)?.dims().len();
    call.write_i32("ndims", ndims, count as i32)
}

async fn cart_rank<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    coords: GuestAddr,
    rank: GuestAddr,
) -> Result<()> {
    let grid = grid(call.mpi(), comm)?.clone();
    let coords = call.read_i32s("coords", coords, grid.dims().len())?;
    call.write_i32("rank", rank, grid.rank(&coords)? as i32)
}

async fn cart_coords<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    rank: i32,
    maxdims: i32,
    coords: GuestAddr,
) -> Result<()> {
    let found = grid(call.mpi(), comm)?.coords(rank)?;
    check_room("maxdims", maxdims, found.len())?;
    write_array(call, "coords", coords, found.into_iter())
}

async fn cart_shift<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    direction: i32,
    disp: i32,
    rank_source: GuestAddr,
    rank_dest: GuestAddr,
) -> Result<()> {
    let rank = call.mpi().comm(comm)?.rank.cast_signed();
    let (source, dest) = grid(call.mpi(), comm)?.shift(rank, direction, disp)?;
    let or_null = |rank: Option<usize>| rank.map_or(abi::MPI_PROC_NULL, |rank| rank as i32);
    call.write_i32("rank_source", rank_source, or_null(source))?;
    call.write_i32("rank_dest", rank_dest, or_null(dest))
}

async fn cart_sub<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    remain_dims: GuestAddr,
    newcomm: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().comm(comm)?;
    let (parent, rank) = (communicator.group.clone(), communicator.rank.cast_signed());
    let slice = slice(call, comm, rank, remain_dims);
    let input = match &slice {
        Ok((_, color)) => Ok(*color),
        Err(error) => Err(error.clone()),
    };
    let combine = |maker: &mut Maker<'_>, colors: Vec<Color>| split(maker, &parent, &colors);
    let made = exchange(call, comm, input, combine).await?;
    let (topology, _) = slice?;
    put_topology(call, comm, made, Topology::Cartesian(topology), ("newcomm", newcomm))
}

/// The slice this process is in, and the split that makes it.
fn slice<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    rank: i32,
    remain_dims: GuestAddr,
) -> Result<(Cartesian, Color)> {
    let grid = grid(call.mpi(), comm)?.clone();
    let remain = read_flags(call, "remain_dims", remain_dims, grid.dims().len())?;
    let (kept, color, key) = grid.sub(rank, &remain)?;
    Ok((kept, (Some(color as i32), key as i32)))
}

async fn cart_map<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    ndims: i32,
    dims: GuestAddr,
    periods: GuestAddr,
    newrank: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().comm(comm)?;
    let (rank, size) = (communicator.rank as usize, communicator.size());
    let grid = described(call, ndims, (dims, periods), size)?;
    let mapped = grid.map(rank).map_or(abi::MPI_UNDEFINED, |rank| rank as i32);
    call.write_i32("newrank", newrank, mapped)
}

async fn topo_test<T: MpiView>(call: &mut Call<'_, T>, comm: i32, status: GuestAddr) -> Result<()> {
    let kind = match &call.mpi().comm(comm)?.topology {
        Some(Topology::Cartesian(_)) => abi::MPI_CART,
        Some(Topology::Graph(_)) => abi::MPI_GRAPH,
        Some(Topology::Distributed(_)) => abi::MPI_DIST_GRAPH,
        None => abi::MPI_UNDEFINED,
    };
    call.write_i32("status", status, kind)
}
