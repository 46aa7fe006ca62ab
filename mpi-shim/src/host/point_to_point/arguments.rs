//! What the arguments of sends and receives say, checked.

use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::begin::request;
use crate::abi;
use crate::ctx::MpiCtx;
use crate::host::buffer::check_room;
use crate::port::MpiPort;
use crate::request::{Buffer, Operation, Request, SendMode};

/// The arguments that most calls share.
#[derive(Copy, Clone, Debug)]
pub(super) struct Args {
    pub(super) buf: GuestAddr,
    pub(super) count: i64,
    pub(super) datatype: i32,
    pub(super) peer: i32,
    pub(super) tag: i32,
    pub(super) comm: i32,
}

impl Args {
    /// A buffer with its count and type, and the peer's rank, tag and communicator.
    #[inline]
    pub(super) const fn new(
        buf: GuestAddr,
        (count, datatype): (i64, i32),
        (peer, tag, comm): (i32, i32, i32),
    ) -> Self {
        Self { buf, count, datatype, peer, tag, comm }
    }
}

/// Checks the arguments of a send, and that the program has provided the buffer that it needs.
#[inline]
pub(super) fn send_request<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    mode: SendMode,
    args: Args,
) -> Result<Request> {
    let request = checked_send(mpi, mode, args)?;
    if mode == SendMode::Buffered && args.peer != abi::MPI_PROC_NULL {
        check_room(mpi, args.comm, &request.buffer)?;
    }
    Ok(request)
}

/// Checks the arguments of a send.
#[inline]
pub(super) fn checked_send<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    mode: SendMode,
    args: Args,
) -> Result<Request> {
    let communicator = mpi.comm(args.comm)?;
    let (context, size) = (communicator.context, communicator.peer_count());
    check_rank("dest", args.peer, size, false)?;
    check_tag(args.tag, false)?;
    let peer =
        if args.peer >= 0 { communicator.peers().world_rank(args.peer as usize) } else { None };
    let buffer = buffer(mpi, args)?;
    let mut new = request(Operation::Send { mode, dest: args.peer }, buffer, args.comm);
    (new.tag, new.context, new.peer) = (args.tag, context, peer.unwrap_or(0));
    Ok(new)
}

/// Checks the arguments of a receive.
#[inline]
pub(super) fn receive_request<P: MpiPort>(mpi: &mut MpiCtx<P>, args: Args) -> Result<Request> {
    let communicator = mpi.comm(args.comm)?;
    let (context, size) = (communicator.context, communicator.peer_count());
    check_rank("source", args.peer, size, true)?;
    check_tag(args.tag, true)?;
    let buffer = buffer(mpi, args)?;
    let mut new = request(Operation::Receive { source: args.peer }, buffer, args.comm);
    (new.tag, new.context) = (args.tag, context);
    if mpi.faults.is_tolerant && args.peer >= 0 {
        // For the case that the sender fails.
        let peer = mpi.comm(args.comm)?.peers().world_rank(args.peer as usize);
        new.peer = peer.unwrap_or(0);
    }
    Ok(new)
}

/// The typed buffer of the arguments, checked as far as the datatype's layout is not needed.
#[inline]
fn buffer<P: MpiPort>(mpi: &MpiCtx<P>, args: Args) -> Result<Buffer> {
    let count = MpiCtx::<P>::count(args.count)?;
    let datatype = mpi.datatype(args.datatype)?;
    // MPI_BOTTOM is for types with absolute displacements; nothing of C lies at address 0 itself.
    let is_relative = matches!(datatype, Datatype::Predefined(_));
    if args.buf.is_null() && is_relative && count > 0 && args.peer != abi::MPI_PROC_NULL {
        let detail = "the buffer is a null pointer; give the address of the data";
        return Err(MpiError::argument(ErrorClass::Buffer, "buf", detail));
    }
    Ok(Buffer { addr: args.buf.get(), count, datatype })
}

#[inline]
pub(in crate::host) fn check_tag(tag: i32, any: bool) -> Result<()> {
    if tag >= 0 || (any && tag == abi::MPI_ANY_TAG) {
        return Ok(());
    }
    let detail = format!("{tag} is not between 0 and MPI_TAG_UB ({})", i32::MAX);
    Err(MpiError::argument(ErrorClass::Tag, "tag", detail))
}

#[inline]
pub(in crate::host) fn check_rank(
    argument: &'static str,
    rank: i32,
    size: u32,
    any: bool,
) -> Result<()> {
    let is_sentinel = rank == abi::MPI_PROC_NULL || (any && rank == abi::MPI_ANY_SOURCE);
    if is_sentinel || (rank >= 0 && rank.cast_unsigned() < size) {
        return Ok(());
    }
    let detail = format!("{rank} is not a rank of the communicator, which has {size}");
    Err(MpiError::argument(ErrorClass::Rank, argument, detail))
}
