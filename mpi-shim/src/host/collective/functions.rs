//! The collective functions: C arguments to contributions.

use faasm_mpi_engine::collective::{
    Contribution, Kind, Operator as EngineOperator, Side, TypedBuffer, VectorBuffer,
};
use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::execution::{UserOperator, collective};
use super::meeting::barrier;
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::{MpiCtx, Operator};
use crate::table::host_functions;

host_functions! {
    /// Waits for all members. Section 6.3.
    call fn MPI_Barrier(comm: i32) = barrier;
    /// Sends from one to all. Section 6.4.
    ending fn MPI_Bcast(buffer: GuestAddr, count: i32, datatype: i32, root: i32, comm: i32) = bcast;
    /// Collects from all at one. Section 6.5.
    ending fn MPI_Gather(sendbuf: GuestAddr, sendcount: i32, sendtype: i32, recvbuf: GuestAddr, recvcount: i32, recvtype: i32, root: i32, comm: i32) = gather;
    /// Collects varying counts from all at one. Section 6.5.
    ending fn MPI_Gatherv(sendbuf: GuestAddr, sendcount: i32, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, root: i32, comm: i32) = gatherv;
    /// Distributes from one to all. Section 6.6.
    ending fn MPI_Scatter(sendbuf: GuestAddr, sendcount: i32, sendtype: i32, recvbuf: GuestAddr, recvcount: i32, recvtype: i32, root: i32, comm: i32) = scatter;
    /// Distributes varying counts from one to all. Section 6.6.
    ending fn MPI_Scatterv(sendbuf: GuestAddr, sendcounts: GuestAddr, displs: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcount: i32, recvtype: i32, root: i32, comm: i32) = scatterv;
    /// Collects from all at all. Section 6.7.
    ending fn MPI_Allgather(sendbuf: GuestAddr, sendcount: i32, sendtype: i32, recvbuf: GuestAddr, recvcount: i32, recvtype: i32, comm: i32) = allgather;
    /// Collects varying counts from all at all. Section 6.7.
    ending fn MPI_Allgatherv(sendbuf: GuestAddr, sendcount: i32, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, displs: GuestAddr, recvtype: i32, comm: i32) = allgatherv;
    /// Sends distinct data from each to each. Section 6.8.
    ending fn MPI_Alltoall(sendbuf: GuestAddr, sendcount: i32, sendtype: i32, recvbuf: GuestAddr, recvcount: i32, recvtype: i32, comm: i32) = alltoall;
    /// Sends varying counts from each to each. Section 6.8.
    ending fn MPI_Alltoallv(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtype: i32, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtype: i32, comm: i32) = alltoallv;
    /// Sends varying counts and types from each to each. Section 6.8.
    ending fn MPI_Alltoallw(sendbuf: GuestAddr, sendcounts: GuestAddr, sdispls: GuestAddr, sendtypes: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, rdispls: GuestAddr, recvtypes: GuestAddr, comm: i32) = alltoallw;
    /// Combines the data of all at one. Section 6.9.1.
    ending fn MPI_Reduce(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i32, datatype: i32, op: i32, root: i32, comm: i32) = reduce;
    /// Combines the data of all at all. Section 6.9.6.
    ending fn MPI_Allreduce(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i32, datatype: i32, op: i32, comm: i32) = allreduce;
    /// Combines, and gives each an equal share. Section 6.10.1.
    ending fn MPI_Reduce_scatter_block(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcount: i32, datatype: i32, op: i32, comm: i32) = reduce_scatter_block;
    /// Combines, and gives each a share. Section 6.10.2.
    ending fn MPI_Reduce_scatter(sendbuf: GuestAddr, recvbuf: GuestAddr, recvcounts: GuestAddr, datatype: i32, op: i32, comm: i32) = reduce_scatter;
    /// Combines the data of all lower ranks and one's own. Section 6.11.1.
    ending fn MPI_Scan(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i32, datatype: i32, op: i32, comm: i32) = scan;
    /// Combines the data of all lower ranks. Section 6.11.2.
    ending fn MPI_Exscan(sendbuf: GuestAddr, recvbuf: GuestAddr, count: i32, datatype: i32, op: i32, comm: i32) = exscan;
}

type Ending = wasmtime::Result<Result<()>>;

/// `(buffer, count, datatype)` of a call with equal blocks.
type Blocks = (GuestAddr, i32, i32);
/// `(buffer, counts, displacements, datatype)` of a call with blocks of varying counts.
type Varying = (GuestAddr, GuestAddr, GuestAddr, i32);

/// Where a rank stands in a rooted operation.
#[derive(Copy, Clone)]
struct Place {
    root: u32,
    is_root: bool,
    size: usize,
}

/// Checks communicator and root before anything else is looked at.
fn place<T: MpiView>(call: &mut Call<'_, T>, comm: i32, root: i32) -> Result<Place> {
    call.require_running()?;
    let communicator = call.mpi().comm(comm)?;
    let size = communicator.size();
    let Some(valid) = u32::try_from(root).ok().filter(|root| *root < size) else {
        let detail = format!("{root} is not a rank of the communicator, which has {size}");
        return Err(MpiError::argument(ErrorClass::Root, "root", detail));
    };
    Ok(Place { root: valid, is_root: communicator.rank == valid, size: size as usize })
}

/// As [`place`], for an operation without a root.
fn members<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<usize> {
    call.require_running()?;
    Ok(call.mpi().comm(comm)?.size() as usize)
}

fn in_place(addr: GuestAddr) -> bool {
    addr == GuestAddr::from(abi::MPI_IN_PLACE)
}

/// A side of equal blocks.
fn blocks<T: MpiView>(call: &mut Call<'_, T>, (addr, count, datatype): Blocks) -> Result<Side> {
    if in_place(addr) {
        return Ok(Side::InPlace);
    }
    let count = MpiCtx::<T::Port>::count(count)?;
    let datatype = call.mpi().datatype(datatype)?;
    Ok(Side::buffer(addr.get(), count, datatype))
}

fn counts<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    size: usize,
) -> Result<Box<[i64]>> {
    let counts = call.read_i32s(argument, addr, size)?;
    if let Some(rank) = counts.iter().position(|count| *count < 0) {
        let detail = format!("the count {} for rank {rank} is negative", counts[rank]);
        return Err(MpiError::argument(ErrorClass::Count, argument, detail));
    }
    Ok(counts.into_iter().map(i64::from).collect())
}

/// A side of blocks of varying counts.
fn varying<T: MpiView>(
    call: &mut Call<'_, T>,
    size: usize,
    (addr, counts_addr, displacements, datatype): Varying,
) -> Result<Side> {
    if in_place(addr) {
        return Ok(Side::InPlace);
    }
    let counts = counts(call, "counts", counts_addr, size)?;
    let displacements = call.read_i32s("displs", displacements, size)?;
    let datatype = call.mpi().datatype(datatype)?;
    Ok(Side::Vector(Box::new(VectorBuffer {
        addr: addr.get(),
        counts,
        displacements: displacements.into_iter().map(i64::from).collect(),
        datatype,
    })))
}

/// A side of blocks of varying counts and types.
fn typed<T: MpiView>(
    call: &mut Call<'_, T>,
    size: usize,
    (addr, counts_addr, displacements, types): (GuestAddr, GuestAddr, GuestAddr, GuestAddr),
) -> Result<Side> {
    if in_place(addr) {
        return Ok(Side::InPlace);
    }
    let counts = counts(call, "counts", counts_addr, size)?;
    let displacements = call.read_i32s("displs", displacements, size)?;
    let types = call.read_i32s("types", types, size)?;
    let datatypes: Result<Box<[Datatype]>> =
        types.into_iter().map(|handle| call.mpi().datatype(handle)).collect();
    Ok(Side::Typed(Box::new(TypedBuffer {
        addr: addr.get(),
        counts,
        displacements: displacements.into_iter().map(i64::from).collect(),
        datatypes: datatypes?,
    })))
}

/// Meets the other members, or reports what is wrong with this member's arguments.
async fn submit<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    contribution: Result<Contribution>,
) -> Ending {
    match contribution {
        Ok(contribution) => collective(call, comm, contribution, None).await,
        Err(error) => Ok(Err(error)),
    }
}

async fn bcast<T: MpiView>(
    call: &mut Call<'_, T>,
    buffer: GuestAddr,
    count: i32,
    datatype: i32,
    root: i32,
    comm: i32,
) -> Ending {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = blocks(call, (buffer, count, datatype))?;
        Ok(Contribution::new(Kind::Bcast).root(place.root).send(send))
    });
    submit(call, comm, contribution).await
}

async fn gather<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i32,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i32,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Ending {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = blocks(call, (sendbuf, sendcount, sendtype))?;
        let recv = match place.is_root {
            true => blocks(call, (recvbuf, recvcount, recvtype))?,
            false => Side::Absent,
        };
        Ok(Contribution::new(Kind::Gather).root(place.root).send(send).recv(recv))
    });
    submit(call, comm, contribution).await
}

async fn gatherv<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i32,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    displs: GuestAddr,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Ending {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = blocks(call, (sendbuf, sendcount, sendtype))?;
        let recv = match place.is_root {
            true => varying(call, place.size, (recvbuf, recvcounts, displs, recvtype))?,
            false => Side::Absent,
        };
        Ok(Contribution::new(Kind::Gatherv).root(place.root).send(send).recv(recv))
    });
    submit(call, comm, contribution).await
}

async fn scatter<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i32,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i32,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Ending {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = match place.is_root {
            true => blocks(call, (sendbuf, sendcount, sendtype))?,
            false => Side::Absent,
        };
        let recv = blocks(call, (recvbuf, recvcount, recvtype))?;
        Ok(Contribution::new(Kind::Scatter).root(place.root).send(send).recv(recv))
    });
    submit(call, comm, contribution).await
}

async fn scatterv<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcounts: GuestAddr,
    displs: GuestAddr,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i32,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Ending {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = match place.is_root {
            true => varying(call, place.size, (sendbuf, sendcounts, displs, sendtype))?,
            false => Side::Absent,
        };
        let recv = blocks(call, (recvbuf, recvcount, recvtype))?;
        Ok(Contribution::new(Kind::Scatterv).root(place.root).send(send).recv(recv))
    });
    submit(call, comm, contribution).await
}

async fn allgather<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i32,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i32,
    recvtype: i32,
    comm: i32,
) -> Ending {
    equal_blocks(
        call,
        Kind::Allgather,
        (sendbuf, sendcount, sendtype),
        (recvbuf, recvcount, recvtype),
        comm,
    )
    .await
}

async fn alltoall<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i32,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i32,
    recvtype: i32,
    comm: i32,
) -> Ending {
    equal_blocks(
        call,
        Kind::Alltoall,
        (sendbuf, sendcount, sendtype),
        (recvbuf, recvcount, recvtype),
        comm,
    )
    .await
}

async fn equal_blocks<T: MpiView>(
    call: &mut Call<'_, T>,
    kind: Kind,
    send: Blocks,
    recv: Blocks,
    comm: i32,
) -> Ending {
    let contribution = members(call, comm).and_then(|_| {
        let send = blocks(call, send)?;
        Ok(Contribution::new(kind).send(send).recv(blocks(call, recv)?))
    });
    submit(call, comm, contribution).await
}

async fn allgatherv<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i32,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    displs: GuestAddr,
    recvtype: i32,
    comm: i32,
) -> Ending {
    let contribution = members(call, comm).and_then(|size| {
        let send = blocks(call, (sendbuf, sendcount, sendtype))?;
        let recv = varying(call, size, (recvbuf, recvcounts, displs, recvtype))?;
        Ok(Contribution::new(Kind::Allgatherv).send(send).recv(recv))
    });
    submit(call, comm, contribution).await
}

async fn alltoallv<T: MpiView>(
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
) -> Ending {
    let contribution = members(call, comm).and_then(|size| {
        let send = varying(call, size, (sendbuf, sendcounts, sdispls, sendtype))?;
        let recv = varying(call, size, (recvbuf, recvcounts, rdispls, recvtype))?;
        Ok(Contribution::new(Kind::Alltoallv).send(send).recv(recv))
    });
    submit(call, comm, contribution).await
}

async fn alltoallw<T: MpiView>(
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
) -> Ending {
    let contribution = members(call, comm).and_then(|size| {
        let send = typed(call, size, (sendbuf, sendcounts, sdispls, sendtypes))?;
        let recv = typed(call, size, (recvbuf, recvcounts, rdispls, recvtypes))?;
        Ok(Contribution::new(Kind::Alltoallw).send(send).recv(recv))
    });
    submit(call, comm, contribution).await
}

/// The operator of a reduction on `datatype`, for the engine and for calls into the program.
fn operator<T: MpiView>(
    call: &mut Call<'_, T>,
    op: i32,
    datatype: i32,
) -> Result<(EngineOperator, Option<UserOperator>)> {
    Ok(match call.mpi().op(op)? {
        Operator::Predefined(op) => (EngineOperator::Predefined(op), None),
        Operator::User { function, commutes, handle } => (
            EngineOperator::User { handle, commutative: commutes },
            Some(UserOperator { function, datatype }),
        ),
    })
}

/// Meets the other members for a reduction.
async fn combine<T: MpiView>(
    call: &mut Call<'_, T>,
    (op, datatype, comm): (i32, i32, i32),
    contribution: Result<Contribution>,
) -> Ending {
    let prepared =
        contribution.and_then(|contribution| Ok((contribution, operator(call, op, datatype)?)));
    match prepared {
        Ok((contribution, (op, user))) => collective(call, comm, contribution.op(op), user).await,
        Err(error) => Ok(Err(error)),
    }
}

async fn reduce<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i32,
    datatype: i32,
    op: i32,
    root: i32,
    comm: i32,
) -> Ending {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = blocks(call, (sendbuf, count, datatype))?;
        let recv = match place.is_root {
            true => blocks(call, (recvbuf, count, datatype))?,
            false => Side::Absent,
        };
        Ok(Contribution::new(Kind::Reduce).root(place.root).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution).await
}

/// A reduction whose both sides have `count` elements at every member.
async fn symmetric<T: MpiView>(
    call: &mut Call<'_, T>,
    kind: Kind,
    (sendbuf, recvbuf): (GuestAddr, GuestAddr),
    (count, datatype): (i32, i32),
    (op, comm): (i32, i32),
) -> Ending {
    let contribution = members(call, comm).and_then(|_| {
        let send = blocks(call, (sendbuf, count, datatype))?;
        let recv = blocks(call, (recvbuf, count, datatype))?;
        Ok(Contribution::new(kind).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution).await
}

async fn allreduce<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i32,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Ending {
    symmetric(call, Kind::Allreduce, (sendbuf, recvbuf), (count, datatype), (op, comm)).await
}

async fn scan<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i32,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Ending {
    symmetric(call, Kind::Scan, (sendbuf, recvbuf), (count, datatype), (op, comm)).await
}

async fn exscan<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i32,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Ending {
    symmetric(call, Kind::Exscan, (sendbuf, recvbuf), (count, datatype), (op, comm)).await
}

async fn reduce_scatter_block<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    recvcount: i32,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Ending {
    let contribution = members(call, comm).and_then(|size| {
        let recv = blocks(call, (recvbuf, recvcount, datatype))?;
        let send = scattered(call, sendbuf, i64::from(recvcount) * size as i64, datatype)?;
        Ok(Contribution::new(Kind::ReduceScatterBlock).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution).await
}

async fn reduce_scatter<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Ending {
    let contribution = members(call, comm).and_then(|size| {
        let counts = counts(call, "recvcounts", recvcounts, size)?;
        let send = scattered(call, sendbuf, counts.iter().sum(), datatype)?;
        let recv = Side::Vector(Box::new(VectorBuffer {
            addr: recvbuf.get(),
            counts,
            displacements: Box::default(),
            datatype: call.mpi().datatype(datatype)?,
        }));
        Ok(Contribution::new(Kind::ReduceScatter).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution).await
}

/// The send side of a reduction whose result is scattered: `count` elements for all members.
fn scattered<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    count: i64,
    datatype: i32,
) -> Result<Side> {
    if in_place(sendbuf) {
        return Ok(Side::InPlace);
    }
    let datatype = call.mpi().datatype(datatype)?;
    Ok(Side::buffer(sendbuf.get(), count, datatype))
}
