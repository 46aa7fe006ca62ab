//! The non-blocking and the persistent collective functions.

use faasm_vm::GuestAddr;

use super::arguments;
use super::start::{prepare, start};
use crate::call::{Call, Ending, MpiView};
use crate::table::{Count, host_functions};

host_functions! {
    /// Starts what `MPI_Barrier` does. Section 6.12.1.
    ending fn MPI_Ibarrier(comm: i32, request: GuestAddr) = ibarrier;
    /// Starts what `MPI_Bcast` does. Section 6.12.2.
    ending fn MPI_Ibcast or MPI_Ibcast_c(buffer: GuestAddr, count: Count, datatype: i32, root: i32, comm: i32, request: GuestAddr) = ibcast;
    /// Starts what `MPI_Gather` does. Section 6.12.3.
    ending fn MPI_Igather or MPI_Igather_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32, request: GuestAddr) = igather;
    /// Starts what `MPI_Gatherv` does. Section 6.12.3.
    ending fn MPI_Igatherv or MPI_Igatherv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, root: i32, comm: i32, request: GuestAddr) = igatherv;
    /// Starts what `MPI_Scatter` does. Section 6.12.4.
    ending fn MPI_Iscatter or MPI_Iscatter_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32, request: GuestAddr) = iscatter;
    /// Starts what `MPI_Scatterv` does. Section 6.12.4.
    ending fn MPI_Iscatterv or MPI_Iscatterv_c(sendbuf: GuestAddr, sendcounts: GuestAddr, displs: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32, request: GuestAddr) = iscatterv;
    /// Starts what `MPI_Allgather` does. Section 6.12.5.
    ending fn MPI_Iallgather or MPI_Iallgather_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, request: GuestAddr) = iallgather;
    /// Starts what `MPI_Allgatherv` does. Section 6.12.5.
    ending fn MPI_Iallgatherv or MPI_Iallgatherv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32, request: GuestAddr) = iallgatherv;
    /// Starts what `MPI_Alltoall` does. Section 6.12.6.
    ending fn MPI_Ialltoall or MPI_Ialltoall_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, request: GuestAddr) = ialltoall;
    /// Starts what `MPI_Alltoallv` does. Section 6.12.6.
    ending fn MPI_Ialltoallv or MPI_Ialltoallv_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32, request: GuestAddr) = ialltoallv;
    /// Starts what `MPI_Alltoallw` does. Section 6.12.6.
    ending fn MPI_Ialltoallw or MPI_Ialltoallw_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32, request: GuestAddr) = ialltoallw;
    /// Starts what `MPI_Reduce` does. Section 6.12.7.
    ending fn MPI_Ireduce or MPI_Ireduce_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, root: i32, comm: i32, request: GuestAddr) = ireduce;
    /// Starts what `MPI_Allreduce` does. Section 6.12.8.
    ending fn MPI_Iallreduce or MPI_Iallreduce_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32, request: GuestAddr) = iallreduce;
    /// Starts what `MPI_Reduce_scatter_block` does. Section 6.12.9.
    ending fn MPI_Ireduce_scatter_block or MPI_Ireduce_scatter_block_c(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcount: Count, datatype: i32, op: i32, comm: i32, request: GuestAddr) = ireduce_scatter_block;
    /// Starts what `MPI_Reduce_scatter` does. Section 6.12.10.
    ending fn MPI_Ireduce_scatter or MPI_Ireduce_scatter_c(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, datatype: i32, op: i32, comm: i32, request: GuestAddr) = ireduce_scatter;
    /// Starts what `MPI_Scan` does. Section 6.12.11.
    ending fn MPI_Iscan or MPI_Iscan_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32, request: GuestAddr) = iscan;
    /// Starts what `MPI_Exscan` does. Section 6.12.12.
    ending fn MPI_Iexscan or MPI_Iexscan_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32, request: GuestAddr) = iexscan;
    /// Makes a request that does what `MPI_Barrier` does. Section 6.13.1.
    ending fn MPI_Barrier_init(comm: i32, info: i32, request: GuestAddr) = barrier_init;
    /// Makes a request that does what `MPI_Bcast` does. Section 6.13.2.
    ending fn MPI_Bcast_init or MPI_Bcast_init_c(buffer: GuestAddr, count: Count, datatype: i32, root: i32, comm: i32, info: i32, request: GuestAddr) = bcast_init;
    /// Makes a request that does what `MPI_Gather` does. Section 6.13.3.
    ending fn MPI_Gather_init or MPI_Gather_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32, info: i32, request: GuestAddr) = gather_init;
    /// Makes a request that does what `MPI_Gatherv` does. Section 6.13.3.
    ending fn MPI_Gatherv_init or MPI_Gatherv_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, root: i32, comm: i32, info: i32, request: GuestAddr) = gatherv_init;
    /// Makes a request that does what `MPI_Scatter` does. Section 6.13.4.
    ending fn MPI_Scatter_init or MPI_Scatter_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32, info: i32, request: GuestAddr) = scatter_init;
    /// Makes a request that does what `MPI_Scatterv` does. Section 6.13.4.
    ending fn MPI_Scatterv_init or MPI_Scatterv_init_c(sendbuf: GuestAddr, sendcounts: GuestAddr, displs: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, root: i32, comm: i32, info: i32, request: GuestAddr) = scatterv_init;
    /// Makes a request that does what `MPI_Allgather` does. Section 6.13.5.
    ending fn MPI_Allgather_init or MPI_Allgather_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = allgather_init;
    /// Makes a request that does what `MPI_Allgatherv` does. Section 6.13.5.
    ending fn MPI_Allgatherv_init or MPI_Allgatherv_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = allgatherv_init;
    /// Makes a request that does what `MPI_Alltoall` does. Section 6.13.6.
    ending fn MPI_Alltoall_init or MPI_Alltoall_init_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = alltoall_init;
    /// Makes a request that does what `MPI_Alltoallv` does. Section 6.13.6.
    ending fn MPI_Alltoallv_init or MPI_Alltoallv_init_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32, info: i32, request: GuestAddr) = alltoallv_init;
    /// Makes a request that does what `MPI_Alltoallw` does. Section 6.13.6.
    ending fn MPI_Alltoallw_init or MPI_Alltoallw_init_c(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32, info: i32, request: GuestAddr) = alltoallw_init;
    /// Makes a request that does what `MPI_Reduce` does. Section 6.13.7.
    ending fn MPI_Reduce_init or MPI_Reduce_init_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, root: i32, comm: i32, info: i32, request: GuestAddr) = reduce_init;
    /// Makes a request that does what `MPI_Allreduce` does. Section 6.13.8.
    ending fn MPI_Allreduce_init or MPI_Allreduce_init_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32, info: i32, request: GuestAddr) = allreduce_init;
    /// Makes a request that does what `MPI_Reduce_scatter_block` does. Section 6.13.9.
    ending fn MPI_Reduce_scatter_block_init or MPI_Reduce_scatter_block_init_c(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcount: Count, datatype: i32, op: i32, comm: i32, info: i32, request: GuestAddr) = reduce_scatter_block_init;
    /// Makes a request that does what `MPI_Reduce_scatter` does. Section 6.13.10.
    ending fn MPI_Reduce_scatter_init or MPI_Reduce_scatter_init_c(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, datatype: i32, op: i32, comm: i32, info: i32, request: GuestAddr) = reduce_scatter_init;
    /// Makes a request that does what `MPI_Scan` does. Section 6.13.11.
    ending fn MPI_Scan_init or MPI_Scan_init_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32, info: i32, request: GuestAddr) = scan_init;
    /// Makes a request that does what `MPI_Exscan` does. Section 6.13.12.
    ending fn MPI_Exscan_init or MPI_Exscan_init_c(sendbuf: GuestAddr, recvbuf: GuestAddr, count: Count, datatype: i32, op: i32, comm: i32, info: i32, request: GuestAddr) = exscan_init;
}

macro_rules! started {
    ($($describe:ident($($arg:ident: $ty:ty),*): $nonblocking:ident $persistent:ident;)*) => {$(
        async fn $nonblocking<T: MpiView>(call: &mut Call<'_, T>, $($arg: $ty,)* request: GuestAddr) -> Ending {
            let described = arguments::$describe(call, $($arg),*);
            start(call, described, request).await
        }

        async fn $persistent<T: MpiView>(call: &mut Call<'_, T>, $($arg: $ty,)* info: i32, request: GuestAddr) -> Ending {
            let described = arguments::$describe(call, $($arg),*);
            prepare(call, described, info, request).await
        }
    )*};
}

started! {
    barrier(comm: i32): ibarrier barrier_init;
    bcast(buffer: GuestAddr, count: i64, datatype: i32, root: i32, comm: i32): ibcast bcast_init;
    gather(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, root: i32, comm: i32): igather gather_init;
    gatherv(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, root: i32, comm: i32): igatherv gatherv_init;
    scatter(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, root: i32, comm: i32): iscatter scatter_init;
    scatterv(sendbuf: GuestAddr, sendcounts: GuestAddr, displs: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, root: i32, comm: i32): iscatterv scatterv_init;
    allgather(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, comm: i32): iallgather allgather_init;
    allgatherv(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32): iallgatherv allgatherv_init;
    alltoall(sendbuf: GuestAddr, sendcount: i64, sendtype: i32, recvbuf: GuestAddr, recvcount: i64, recvtype: i32, comm: i32): ialltoall alltoall_init;
    alltoallv(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32): ialltoallv alltoallv_init;
    alltoallw(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32): ialltoallw alltoallw_init;
    reduce(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, root: i32, comm: i32): ireduce reduce_init;
    allreduce(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, comm: i32): iallreduce allreduce_init;
    reduce_scatter_block(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcount: i64, datatype: i32, op: i32, comm: i32): ireduce_scatter_block reduce_scatter_block_init;
    reduce_scatter(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, datatype: i32, op: i32, comm: i32): ireduce_scatter reduce_scatter_init;
    scan(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, comm: i32): iscan scan_init;
    exscan(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i64, datatype: i32, op: i32, comm: i32): iexscan exscan_init;
}
