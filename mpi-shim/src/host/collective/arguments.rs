//! C arguments of the collective functions to what a member brings.

use faasm_mpi_engine::collective::{
    Contribution, Kind, Operator as EngineOperator, Side, TypedBuffer, VectorBuffer,
    check_distinct, intercomm,
};
use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::{MpiCtx, Operator};
use crate::request::UserOperator;

/// A checked call, ready to meet the other members.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) comm: i32,
    pub(super) contribution: Contribution,
    pub(super) user: Option<UserOperator>,
}

/// `(buffer, count, datatype)` of a call with equal blocks.
type Blocks = (GuestAddr, i64, i32);
/// `(buffer, counts, displacements, datatype)` of a call with blocks of varying counts.
type Varying = (GuestAddr, GuestAddr, GuestAddr, i32);

impl Described {
    /// The same call as its operation on all processes, if the communicator is an intercommunicator; otherwise its
    /// buffers are compared.
    pub(super) fn across<T: MpiView>(self, call: &mut Call<'_, T>) -> Result<Self> {
        let comm = call.mpi().comm(self.comm)?;
        let Some(between) = &comm.between else {
            check_distinct(&self.contribution, comm.rank as usize, comm.size() as usize)?;
            return Ok(self);
        };
        let contribution = intercomm::across(self.contribution, between.position)?;
        Ok(Self { contribution, ..self })
    }
}

/// Where a rank stands in a rooted operation.
#[derive(Copy, Clone)]
struct Place {
    root: u32,
    is_root: bool,
    size: usize,
    /// What it gives to the operation or gets beside the root's part: of an intercommunicator only
    /// those of the group without the root have any.
    has_part: bool,
}

/// Checks communicator and root before anything else is looked at.
fn place<T: MpiView>(call: &mut Call<'_, T>, comm: i32, root: i32) -> Result<Place> {
    call.require_running()?;
    let communicator = call.mpi().comm(comm)?;
    let size = communicator.peer_count();
    if communicator.between.is_some() && matches!(root, abi::MPI_ROOT | abi::MPI_PROC_NULL) {
        let is_root = root == abi::MPI_ROOT;
        let root = if is_root { intercomm::ROOT } else { intercomm::SILENT };
        return Ok(Place { root, is_root, size: size as usize, has_part: false });
    }
    let is_intra = communicator.between.is_none();
    let Some(valid) = u32::try_from(root).ok().filter(|root| *root < size) else {
        let detail = format!("{root} is not a rank of the communicator, which has {size}");
        return Err(MpiError::argument(ErrorClass::Root, "root", detail));
    };
    let is_root = is_intra && communicator.rank == valid;
    Ok(Place { root: valid, is_root, size: size as usize, has_part: true })
}

/// As [`place`], for an operation without a root.
pub(super) fn members<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<usize> {
    call.require_running()?;
    Ok(call.mpi().comm(comm)?.peer_count() as usize)
}

/// Number of members of the local group.
fn local_members<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<usize> {
    call.require_running()?;
    Ok(call.mpi().comm(comm)?.size() as usize)
}

pub(super) fn in_place(addr: GuestAddr) -> bool {
    addr == GuestAddr::from(abi::MPI_IN_PLACE)
}

/// A side of equal blocks.
pub(super) fn blocks<T: MpiView>(
    call: &mut Call<'_, T>,
    (addr, count, datatype): Blocks,
) -> Result<Side> {
    if in_place(addr) {
        return Ok(Side::InPlace);
    }
    let count = MpiCtx::<T::Port>::count(count)?;
    let datatype = call.mpi().datatype(datatype)?;
    Ok(Side::buffer(addr.get(), count, datatype))
}

/// The side of a rooted operation that every rank with a part in it has.
fn part<T: MpiView>(call: &mut Call<'_, T>, place: Place, given: Blocks) -> Result<Side> {
    if place.has_part { blocks(call, given) } else { Ok(Side::Absent) }
}

fn counts<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    size: usize,
) -> Result<Box<[i64]>> {
    let counts = call.read_numbers(argument, addr, size)?;
    if let Some(rank) = counts.iter().position(|count| *count < 0) {
        let detail = format!("the count {} for rank {rank} is negative", counts[rank]);
        return Err(MpiError::argument(ErrorClass::Count, argument, detail));
    }
    Ok(counts.into_boxed_slice())
}

/// A side of blocks of varying counts.
pub(super) fn varying<T: MpiView>(
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
pub(super) fn typed<T: MpiView>(
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

fn described(comm: i32, contribution: Result<Contribution>) -> Result<Described> {
    contribution.map(|contribution| Described { comm, contribution, user: None })
}

/// `MPI_Barrier`.
pub(super) fn barrier<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<Described> {
    let contribution = members(call, comm).map(|_| Contribution::new(Kind::Barrier));
    described(comm, contribution)
}

/// `MPI_Bcast`.
pub(super) fn bcast<T: MpiView>(
    call: &mut Call<'_, T>,
    buffer: GuestAddr,
    count: i64,
    datatype: i32,
    root: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = match place.has_part || place.is_root {
            true => blocks(call, (buffer, count, datatype))?,
            false => Side::Absent,
        };
        Ok(Contribution::new(Kind::Bcast).root(place.root).send(send))
    });
    described(comm, contribution)
}

/// `MPI_Gather`.
pub(super) fn gather<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = part(call, place, (sendbuf, sendcount, sendtype))?;
        let recv = match place.is_root {
            true => blocks(call, (recvbuf, recvcount, recvtype))?,
            false => Side::Absent,
        };
        Ok(Contribution::new(Kind::Gather).root(place.root).send(send).recv(recv))
    });
    described(comm, contribution)
}

/// `MPI_Gatherv`.
pub(super) fn gatherv<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    displs: GuestAddr,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = part(call, place, (sendbuf, sendcount, sendtype))?;
        let recv = match place.is_root {
            true => varying(call, place.size, (recvbuf, recvcounts, displs, recvtype))?,
            false => Side::Absent,
        };
        Ok(Contribution::new(Kind::Gatherv).root(place.root).send(send).recv(recv))
    });
    described(comm, contribution)
}

/// `MPI_Scatter`.
pub(super) fn scatter<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = match place.is_root {
            true => blocks(call, (sendbuf, sendcount, sendtype))?,
            false => Side::Absent,
        };
        let recv = part(call, place, (recvbuf, recvcount, recvtype))?;
        Ok(Contribution::new(Kind::Scatter).root(place.root).send(send).recv(recv))
    });
    described(comm, contribution)
}

/// `MPI_Scatterv`.
pub(super) fn scatterv<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcounts: GuestAddr,
    displs: GuestAddr,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    root: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = match place.is_root {
            true => varying(call, place.size, (sendbuf, sendcounts, displs, sendtype))?,
            false => Side::Absent,
        };
        let recv = part(call, place, (recvbuf, recvcount, recvtype))?;
        Ok(Contribution::new(Kind::Scatterv).root(place.root).send(send).recv(recv))
    });
    described(comm, contribution)
}

/// `MPI_Allgather`.
pub(super) fn allgather<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    comm: i32,
) -> Result<Described> {
    equal_blocks(
        call,
        Kind::Allgather,
        (sendbuf, sendcount, sendtype),
        (recvbuf, recvcount, recvtype),
        comm,
    )
}

/// `MPI_Alltoall`.
pub(super) fn alltoall<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    comm: i32,
) -> Result<Described> {
    equal_blocks(
        call,
        Kind::Alltoall,
        (sendbuf, sendcount, sendtype),
        (recvbuf, recvcount, recvtype),
        comm,
    )
}

fn equal_blocks<T: MpiView>(
    call: &mut Call<'_, T>,
    kind: Kind,
    send: Blocks,
    recv: Blocks,
    comm: i32,
) -> Result<Described> {
    let contribution = members(call, comm).and_then(|_| {
        let send = blocks(call, send)?;
        Ok(Contribution::new(kind).send(send).recv(blocks(call, recv)?))
    });
    described(comm, contribution)
}

/// `MPI_Allgatherv`.
pub(super) fn allgatherv<T: MpiView>(
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
    let contribution = members(call, comm).and_then(|size| {
        let send = blocks(call, (sendbuf, sendcount, sendtype))?;
        let recv = varying(call, size, (recvbuf, recvcounts, displs, recvtype))?;
        Ok(Contribution::new(Kind::Allgatherv).send(send).recv(recv))
    });
    described(comm, contribution)
}

/// `MPI_Alltoallv`.
pub(super) fn alltoallv<T: MpiView>(
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
    let contribution = members(call, comm).and_then(|size| {
        let send = varying(call, size, (sendbuf, sendcounts, sdispls, sendtype))?;
        let recv = varying(call, size, (recvbuf, recvcounts, rdispls, recvtype))?;
        Ok(Contribution::new(Kind::Alltoallv).send(send).recv(recv))
    });
    described(comm, contribution)
}

/// `MPI_Alltoallw`.
pub(super) fn alltoallw<T: MpiView>(
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
    let contribution = members(call, comm).and_then(|size| {
        let send = typed(call, size, (sendbuf, sendcounts, sdispls, sendtypes))?;
        let recv = typed(call, size, (recvbuf, recvcounts, rdispls, recvtypes))?;
        Ok(Contribution::new(Kind::Alltoallw).send(send).recv(recv))
    });
    described(comm, contribution)
}

/// The operator of a reduction on `datatype`, for the engine and for calls into the program.
fn operator<T: MpiView>(
    call: &mut Call<'_, T>,
    op: i32,
    datatype: i32,
) -> Result<(EngineOperator, Option<UserOperator>)> {
    Ok(match call.mpi().op(op)? {
        Operator::Predefined(op) => (EngineOperator::Predefined(op), None),
        Operator::User { function, commutes, handle, large } => (
            EngineOperator::User { handle, commutative: commutes },
            Some(UserOperator { function, datatype, large }),
        ),
    })
}

/// A reduction with the operator `op`.
fn combine<T: MpiView>(
    call: &mut Call<'_, T>,
    (op, datatype, comm): (i32, i32, i32),
    contribution: Result<Contribution>,
) -> Result<Described> {
    let contribution = contribution?;
    let (op, user) = operator(call, op, datatype)?;
    Ok(Described { comm, contribution: contribution.op(op), user })
}

/// `MPI_Reduce`.
pub(super) fn reduce<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i64,
    datatype: i32,
    op: i32,
    root: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = place(call, comm, root).and_then(|place| {
        let send = part(call, place, (sendbuf, count, datatype))?;
        let recv = match place.is_root {
            true => blocks(call, (recvbuf, count, datatype))?,
            false => Side::Absent,
        };
        Ok(Contribution::new(Kind::Reduce).root(place.root).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution)
}

/// A reduction whose both sides have `count` elements at every member.
fn symmetric<T: MpiView>(
    call: &mut Call<'_, T>,
    kind: Kind,
    (sendbuf, recvbuf): (GuestAddr, GuestAddr),
    (count, datatype): (i64, i32),
    (op, comm): (i32, i32),
) -> Result<Described> {
    let contribution = members(call, comm).and_then(|_| {
        let send = blocks(call, (sendbuf, count, datatype))?;
        let recv = blocks(call, (recvbuf, count, datatype))?;
        Ok(Contribution::new(kind).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution)
}

/// `MPI_Allreduce`.
pub(super) fn allreduce<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i64,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Result<Described> {
    symmetric(call, Kind::Allreduce, (sendbuf, recvbuf), (count, datatype), (op, comm))
}

/// `MPI_Scan`.
pub(super) fn scan<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i64,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Result<Described> {
    symmetric(call, Kind::Scan, (sendbuf, recvbuf), (count, datatype), (op, comm))
}

/// `MPI_Exscan`.
pub(super) fn exscan<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    count: i64,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Result<Described> {
    symmetric(call, Kind::Exscan, (sendbuf, recvbuf), (count, datatype), (op, comm))
}

/// `MPI_Reduce_scatter_block`.
pub(super) fn reduce_scatter_block<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    recvcount: i64,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = local_members(call, comm).and_then(|size| {
        let recv = blocks(call, (recvbuf, recvcount, datatype))?;
        let total = recvcount.checked_mul(size as i64).ok_or_else(too_many)?;
        let send = scattered(call, sendbuf, total, datatype)?;
        Ok(Contribution::new(Kind::ReduceScatterBlock).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution)
}

/// `MPI_Reduce_scatter`.
pub(super) fn reduce_scatter<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    recvbuf: GuestAddr,
    recvcounts: GuestAddr,
    datatype: i32,
    op: i32,
    comm: i32,
) -> Result<Described> {
    let contribution = local_members(call, comm).and_then(|size| {
        let counts = counts(call, "recvcounts", recvcounts, size)?;
        let total = counts.iter().try_fold(0, |sum: i64, count| sum.checked_add(*count));
        let send = scattered(call, sendbuf, total.ok_or_else(too_many)?, datatype)?;
        let recv = Side::Vector(Box::new(VectorBuffer {
            addr: recvbuf.get(),
            counts,
            displacements: Box::default(),
            datatype: call.mpi().datatype(datatype)?,
        }));
        Ok(Contribution::new(Kind::ReduceScatter).send(send).recv(recv))
    });
    combine(call, (op, datatype, comm), contribution)
}

fn too_many() -> MpiError {
    let detail = "the counts of all members together are more than MPI_Count holds";
    MpiError::argument(ErrorClass::Count, "recvcounts", detail)
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
