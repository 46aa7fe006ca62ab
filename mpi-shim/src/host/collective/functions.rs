//! The blocking collective functions.

use faasm_mpi_engine::error::Result;
use faasm_vm::GuestAddr;

use super::arguments::{self, Described};
use super::execution::collective;
use super::meeting::barrier;
use crate::call::{Call, Ending, MpiView};
use crate::table::{Count, host_functions};

host_functions! {
    /// Waits for all members. Section 6.3.
    call fn MPI_Barrier(comm: i32) = barrier;
    /// Sends from one to all. Section 6.4.
    ending fn MPI_Bcast or MPI_Bcast_c(buffer: GuestAddr, count: Count, datatype: i32, root: i32, comm: i32) = bcast;
    /// Collects from all at one. Section 6.5.
    ending fn MPI_Gather or MPI_Gather_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32) = gather;
    /// Collects varying counts from all at one. Section 6.5.
    ending fn MPI_Gatherv or MPI_Gatherv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, root: i32, comm: i32) = gatherv;
    /// Distributes from one to all. Section 6.6.
    ending fn MPI_Scatter or MPI_Scatter_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32) = scatter;
    /// Distributes varying counts from one to all. Section 6.6.
    ending fn MPI_Scatterv or MPI_Scatterv_c(sendbuf: GuestAddr, sendcounts: GuestAddr, displs: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32) = scatterv;
    /// Collects from all at all. Section 6.7.
    ending fn MPI_Allgather or MPI_Allgather_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32) = allgather;
    /// Collects varying counts from all at all. Section 6.7.
    ending fn MPI_Allgatherv or MPI_Allgatherv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32) = allgatherv;
    /// Sends distinct data from each to each. Section 6.8.
    ending fn MPI_Alltoall or MPI_Alltoall_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32) = alltoall;
    /// Sends varying counts from each to each. Section 6.8.
    ending fn MPI_Alltoallv or MPI_Alltoallv_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32) = alltoallv;
    /// Sends varying counts and types from each to each. Section 6.8.
    ending fn MPI_Alltoallw or MPI_Alltoallw_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32) = alltoallw;
    /// Combines the data of all at one. Section 6.9.1.
    ending fn MPI_Reduce or MPI_Reduce_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, root: i32, comm: i32) = reduce;
    /// Combines the data of all at all. Section 6.9.6.
    ending fn MPI_Allreduce or MPI_Allreduce_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32) = allreduce;
    /// Combines, and gives each an equal share. Section 6.10.1.
    ending fn MPI_Reduce_scatter_block or MPI_Reduce_scatter_block_c(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcount: Count, datatype: i32, op: i32, comm: i32) = reduce_scatter_block;
    /// Combines, and gives each a share. Section 6.10.2.
    ending fn MPI_Reduce_scatter or MPI_Reduce_scatter_c(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, datatype: i32, op: i32, comm: i32) = reduce_scatter;
    /// Combines the data of all lower ranks and one's own. Section 6.11.1.
    ending fn MPI_Scan or MPI_Scan_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32) = scan;
    /// Combines the data of all lower ranks. Section 6.11.2.
    ending fn MPI_Exscan or MPI_Exscan_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32) = exscan;
}

/// Meets the other members, or reports what is wrong with this member's arguments.
pub(super) async fn submit<T: MpiView>(
    call: &mut Call<'_, T>,
    described: Result<Described>,
) -> Ending {
    match described.and_then(|described| described.across(call)) {
        Ok(Described { comm, contribution, user }) => {
            collective(call, comm, contribution, user).await
        }
        Err(error) => Ok(Err(error)),
    }
}

macro_rules! blocking {
    ($($describe:ident($($arg:ident: $ty:ty),*);)*) => {$(
        async fn $describe<T: MpiView>(call: &mut Call<'_, T>, $($arg: $ty),*) -> Ending {
            let described = arguments::$describe(call, $($arg),*);
            submit(call, described).await
        }
    )*};
}

blocking! {
    bcast(buffer: GuestAddr, count: i64, datatype: i32, root: i32, comm: i32);
    gather(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, root: i32, comm: i32);
    gatherv(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, root: i32, comm: i32);
    scatter(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, root: i32, comm: i32);
    scatterv(sendbuf: GuestAddr, sendcounts: GuestAddr, displs: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, root: i32, comm: i32);
    allgather(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, comm: i32);
    allgatherv(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32);
    alltoall(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, comm: i32);
    alltoallv(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32);
    alltoallw(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32);
    reduce(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, root: i32, comm: i32);
    allreduce(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, comm: i32);
    reduce_scatter_block(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcount: i64, datatype: i32, op: i32, comm: i32);
    reduce_scatter(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, datatype: i32, op: i32, comm: i32);
    scan(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, comm: i32);
    exscan(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, comm: i32);
}
