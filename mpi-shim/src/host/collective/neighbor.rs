//! Neighborhood collectives (MPI-5.0 sections 8.6 to 8.8): blocking, non-blocking and persistent.
//!
//! Each member's neighbors make the arguments of an exchange of everyone with everyone
//! ([`neighborhood`]), which is then executed as `MPI_Alltoallw` is.

use faasm_mpi_engine::collective::{Side, neighborhood};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::graph::Neighbors;
use faasm_vm::GuestAddr;

use super::arguments::{Described, blocks, in_place, members, typed, varying};
use super::functions::submit;
use super::start::{prepare, start};
use crate::call::{Call, Ending, MpiView};
use crate::table::{Count, host_functions};

host_functions! {
    /// Exchanges data with the neighbors. Section 8.6.
    ending fn MPI_Neighbor_allgather or MPI_Neighbor_allgather_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32) = neighbor_allgather;
    /// Starts what `MPI_Neighbor_allgather` does. Section 8.7.
    ending fn MPI_Ineighbor_allgather or MPI_Ineighbor_allgather_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, request: GuestAddr) = ineighbor_allgather;
    /// Makes a request that does what `MPI_Neighbor_allgather` does. Section 8.8.
    ending fn MPI_Neighbor_allgather_init or MPI_Neighbor_allgather_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = neighbor_allgather_init;
    /// Exchanges data with the neighbors. Section 8.6.
    ending fn MPI_Neighbor_allgatherv or MPI_Neighbor_allgatherv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32) = neighbor_allgatherv;
    /// Starts what `MPI_Neighbor_allgatherv` does. Section 8.7.
    ending fn MPI_Ineighbor_allgatherv or MPI_Ineighbor_allgatherv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32, request: GuestAddr) = ineighbor_allgatherv;
    /// Makes a request that does what `MPI_Neighbor_allgatherv` does. Section 8.8.
    ending fn MPI_Neighbor_allgatherv_init or MPI_Neighbor_allgatherv_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = neighbor_allgatherv_init;
    /// Exchanges data with the neighbors. Section 8.6.
    ending fn MPI_Neighbor_alltoall or MPI_Neighbor_alltoall_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32) = neighbor_alltoall;
    /// Starts what `MPI_Neighbor_alltoall` does. Section 8.7.
    ending fn MPI_Ineighbor_alltoall or MPI_Ineighbor_alltoall_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, request: GuestAddr) = ineighbor_alltoall;
    /// Makes a request that does what `MPI_Neighbor_alltoall` does. Section 8.8.
    ending fn MPI_Neighbor_alltoall_init or MPI_Neighbor_alltoall_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = neighbor_alltoall_init;
    /// Exchanges data with the neighbors. Section 8.6.
    ending fn MPI_Neighbor_alltoallv or MPI_Neighbor_alltoallv_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32) = neighbor_alltoallv;
    /// Starts what `MPI_Neighbor_alltoallv` does. Section 8.7.
    ending fn MPI_Ineighbor_alltoallv or MPI_Ineighbor_alltoallv_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32, request: GuestAddr) = ineighbor_alltoallv;
    /// Makes a request that does what `MPI_Neighbor_alltoallv` does. Section 8.8.
    ending fn MPI_Neighbor_alltoallv_init or MPI_Neighbor_alltoallv_init_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = neighbor_alltoallv_init;
    /// Exchanges data with the neighbors. Section 8.6.
    ending fn MPI_Neighbor_alltoallw or MPI_Neighbor_alltoallw_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32) = neighbor_alltoallw;
    /// Starts what `MPI_Neighbor_alltoallw` does. Section 8.7.
    ending fn MPI_Ineighbor_alltoallw or MPI_Ineighbor_alltoallw_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32, request: GuestAddr) = ineighbor_alltoallw;
    /// Makes a request that does what `MPI_Neighbor_alltoallw` does. Section 8.8.
    ending fn MPI_Neighbor_alltoallw_init or MPI_Neighbor_alltoallw_init_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32, info: i32, request: GuestAddr) = neighbor_alltoallw_init;
}

/// The neighbors of this process in `comm`; neither side may be `MPI_IN_PLACE`.
fn neighbors<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    buffers: [(&'static str, GuestAddr); 2],
) -> Result<Neighbors> {
    members(call, comm)?;
    let communicator = call.mpi().comm(comm)?;
    let rank = communicator.rank;
    let Some(topology) = &communicator.topology else {
        let detail = "the communicator has no topology; make one with MPI_Cart_create, \
                      MPI_Graph_create or MPI_Dist_graph_create";
        return Err(MpiError::argument(ErrorClass::Topology, "comm", detail));
    };
    if let Some((argument, _)) = buffers.into_iter().find(|(_, addr)| in_place(*addr)) {
        let detail = "MPI_IN_PLACE has no meaning among neighbors";
        return Err(MpiError::argument(ErrorClass::Buffer, argument, detail));
    }
    topology.neighbors(rank)
}

fn described<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    neighbors: &Neighbors,
    send: (&Side, bool),
    recv: &Side,
) -> Result<Described> {
    let size = members(call, comm)?;
    let contribution = neighborhood(neighbors, size, send, recv)?;
    Ok(Described { comm, contribution, user: None })
}

fn equal<T: MpiView>(
    call: &mut Call<'_, T>,
    sends_same: bool,
    send: (GuestAddr, i64, i32),
    recv: (GuestAddr, i64, i32),
    comm: i32,
) -> Result<Described> {
    let neighbors = neighbors(call, comm, [("sendbuf", send.0), ("recvbuf", recv.0)])?;
    let send = blocks(call, send)?;
    let recv = blocks(call, recv)?;
    described(call, comm, &neighbors, (&send, sends_same), &recv)
}

fn neighbor_allgather_of<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    comm: i32,
) -> Result<Described> {
    equal(call, true, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), comm)
}

fn neighbor_alltoall_of<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    comm: i32,
) -> Result<Described> {
    equal(call, false, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), comm)
}

fn neighbor_allgatherv_of<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    displs: GuestAddr,
    recvtype: i32,
    comm: i32,
) -> Result<Described> {
    let neighbors = neighbors(call, comm, [("sendbuf", sendbuf), ("recvbuf", recvbuf)])?;
    let send = blocks(call, (sendbuf, sendcount, sendtype))?;
    let recv = varying(call, neighbors.indegree, (recvbuf, recvcounts, displs, recvtype))?;
    described(call, comm, &neighbors, (&send, true), &recv)
}

fn neighbor_alltoallv_of<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcounts: GuestAddr,
    sdispls: GuestAddr,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    rdispls: GuestAddr,
    recvtype: i32,
    comm: i32,
) -> Result<Described> {
    let neighbors = neighbors(call, comm, [("sendbuf", sendbuf), ("recvbuf", recvbuf)])?;
    let send = varying(call, neighbors.outdegree, (sendbuf, sendcounts, sdispls, sendtype))?;
    let recv = varying(call, neighbors.indegree, (recvbuf, recvcounts, rdispls, recvtype))?;
    described(call, comm, &neighbors, (&send, false), &recv)
}

fn neighbor_alltoallw_of<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcounts: GuestAddr,
    sdispls: GuestAddr,
    sendtypes: GuestAddr,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    rdispls: GuestAddr,
    recvtypes: GuestAddr,
    comm: i32,
) -> Result<Described> {
    let neighbors = neighbors(call, comm, [("sendbuf", sendbuf), ("recvbuf", recvbuf)])?;
    let send = typed(call, neighbors.outdegree, (sendbuf, sendcounts, sdispls, sendtypes))?;
    let recv = typed(call, neighbors.indegree, (recvbuf, recvcounts, rdispls, recvtypes))?;
    described(call, comm, &neighbors, (&send, false), &recv)
}

macro_rules! forms {
    ($($describe:ident($($arg:ident: $ty:ty),*): $blocking:ident $nonblocking:ident $persistent:ident;)*) => {$(
        async fn $blocking<T: MpiView>(call: &mut Call<'_, T>, $($arg: $ty),*) -> Ending {
            let described = $describe(call, $($arg),*);
            submit(call, described).await
        }

        async fn $nonblocking<T: MpiView>(call: &mut Call<'_, T>, $($arg: $ty,)* request: GuestAddr) -> Ending {
            let described = $describe(call, $($arg),*);
            start(call, described, request).await
        }

        async fn $persistent<T: MpiView>(call: &mut Call<'_, T>, $($arg: $ty,)* info: i32, request: GuestAddr) -> Ending {
            let described = $describe(call, $($arg),*);
            prepare(call, described, info, request).await
        }
    )*};
}

forms! {
    neighbor_allgather_of(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, comm: i32): neighbor_allgather ineighbor_allgather neighbor_allgather_init;
    neighbor_allgatherv_of(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32): neighbor_allgatherv ineighbor_allgatherv neighbor_allgatherv_init;
    neighbor_alltoall_of(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, comm: i32): neighbor_alltoall ineighbor_alltoall neighbor_alltoall_init;
    neighbor_alltoallv_of(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32): neighbor_alltoallv ineighbor_alltoallv neighbor_alltoallv_init;
    neighbor_alltoallw_of(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32): neighbor_alltoallw ineighbor_alltoallw neighbor_alltoallw_init;
}
