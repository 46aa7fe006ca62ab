//! Sends and blocking receives of adjacent elements of a predefined type, made at once.
//!
//! A message of a few bytes takes hardly longer than the checks of its arguments, so these are made here without the request
//! that longer ones need.

use faasm_mpi_engine::datatype::Predefined;
use faasm_mpi_engine::error::Result;
use faasm_vm::GuestAddr;

use super::arguments::{Args, check_rank, check_tag, receive_request};
use super::finish_at_once;
use crate::call::{Call, MpiView};
use crate::ctx::{MpiCtx, fault};
use crate::host::completion::put_status;
use crate::port::{Header, Kind, MpiPort, Payload, SMALL_BYTES_MAX};
use crate::progress::{pattern, status};

/// Bytes of the buffer that the arguments describe, if its elements are adjacent and of a predefined type.
#[inline]
pub(super) fn plain_bytes(args: &Args) -> Option<u64> {
    Predefined::run_bytes(args.datatype, args.count).filter(|_| !args.buf.is_null())
}

/// Longest message that is sent so.
const BYTES_MAX: usize = 256;

/// Sends to a rank of this node what is copied at once. `None`, and nothing has happened, where anything is otherwise or
/// wrong.
#[inline]
pub(super) fn send<P: MpiPort>(mpi: &mut MpiCtx<P>, args: &Args) -> Option<()> {
    let bytes = plain_bytes(args).filter(|bytes| *bytes <= BYTES_MAX as u64)?;
    let dest = usize::try_from(args.peer).ok()?;
    if args.tag < 0 || mpi.faults.is_active() {
        return None;
    }
    let communicator = mpi.comm(args.comm).ok()?;
    let (context, source) = (communicator.context, communicator.rank.cast_signed());
    let peer = communicator.peers().world_rank(dest)?;
    if mpi.is_far(peer) || mpi.port.is_full(peer) {
        return None;
    }
    let (kind, sender) = (Kind::Eager, mpi.port.rank());
    let header = Header { kind, context, source, tag: args.tag, sender, request: 0 };
    match bytes as usize {
        // Room for longer ones would take longer to clear than the rest.
        len @ ..=SMALL_BYTES_MAX => copy::<_, SMALL_BYTES_MAX>(mpi, args, (peer, header), len)?,
        len => copy::<_, BYTES_MAX>(mpi, args, (peer, header), len)?,
    }
    mpi.owes_turn = mpi.port.is_congested(peer);
    Some(())
}

/// Sends a copy of `len` bytes, of at most `MAX`.
fn copy<P: MpiPort, const MAX: usize>(
    mpi: &mut MpiCtx<P>,
    args: &Args,
    (peer, header): (u32, Header),
    len: usize,
) -> Option<()> {
    let mut data = [0; MAX];
    let data = &mut data[..len];
    mpi.memory().ok()?.read(args.buf, data).ok()?;
    mpi.count_sent(peer, len as u64);
    mpi.port.send(peer, header, data);
    Some(())
}

/// Receives into a buffer of `room` bytes. No other receive is posted.
#[inline]
pub(super) fn receive<T: MpiView>(
    call: &mut Call<'_, T>,
    args: Args,
    room: u64,
    status_addr: GuestAddr,
) -> Option<Result<()>> {
    let mpi = call.mpi();
    let communicator = mpi.comm(args.comm).ok()?;
    let (context, size) = (communicator.context, communicator.peer_count());
    check_rank("source", args.peer, size, true).and(check_tag(args.tag, true)).ok()?;
    let arrived = mpi.take_soon(&pattern(context, args.peer, args.tag))?;
    mpi.error_comm = args.comm;
    let is_whole = arrived.header.kind == Kind::Eager && arrived.payload.len() <= room;
    if let (Payload::Small(..) | Payload::Owned(_), true) = (&arrived.payload, is_whole) {
        let memory = mpi.memory();
        let bytes = arrived.payload.bytes();
        let written = memory.and_then(|it| it.write(args.buf, bytes).map_err(fault("buf")));
        let told = put_status(call, status_addr, &status(&arrived));
        return Some(written.and(told));
    }
    let request = match receive_request(mpi, args) {
        Ok(request) => request,
        Err(error) => return Some(Err(error)),
    };
    let received = mpi.take_over(&request.buffer, arrived);
    finish_at_once(call, request, received, status_addr)
}
