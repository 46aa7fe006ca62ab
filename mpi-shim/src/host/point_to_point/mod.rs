//! Point-to-point communication (MPI-5.0 chapter 3): starting sends and receives.

mod arguments;
mod begin;
mod exchange;
mod persistent;
mod plain;

use faasm_mpi_engine::error::{ErrorClass, Result};
use faasm_vm::GuestAddr;

use self::arguments::{Args, checked_send, receive_request, send_request};
pub(super) use self::arguments::{check_rank, check_tag};
use self::begin::start;
pub(super) use self::begin::{insert, request};
pub(crate) use self::begin::{insert_complete, insert_failed};
use self::exchange::{isendrecv, isendrecv_replace, sendrecv, sendrecv_replace};
use self::persistent::{recv_init, start_all, start_persistent};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::{Arrived, Interrupted, MpiCtx};
use crate::host::completion::{put_status, wait_own};
use crate::port::{MpiPort, Pending};
use crate::progress::{Received, for_good, pattern};
use crate::request::{Completion, Request, SendMode, State};
use crate::table::{Count, host_functions};

host_functions! {
    /// Standard-mode blocking send. Section 3.2.1.
    call fn MPI_Send or MPI_Send_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = send, at_once send_at_once;
    /// Buffered-mode blocking send. Section 3.4.
    call fn MPI_Bsend or MPI_Bsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = bsend;
    /// Synchronous-mode blocking send. Section 3.4.
    call fn MPI_Ssend or MPI_Ssend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = ssend;
    /// Ready-mode blocking send. Section 3.4.
    call fn MPI_Rsend or MPI_Rsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = rsend;
    /// Blocking receive. Section 3.2.4.
    call fn MPI_Recv or MPI_Recv_c(buf: GuestAddr, count: Count, datatype: i32, source: i32, tag: i32, comm: i32, status: GuestAddr) = recv, at_once recv_at_once;
    /// Send and receive at once. Section 3.11.
    call fn MPI_Sendrecv or MPI_Sendrecv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, dest: i32, sendtag: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, source: i32, recvtag: i32, comm: i32, status: GuestAddr) = sendrecv;
    /// Send and receive in one buffer. Section 3.11.
    call fn MPI_Sendrecv_replace or MPI_Sendrecv_replace_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, sendtag: i32, source: i32, recvtag: i32, comm: i32, status: GuestAddr) = sendrecv_replace;
    /// Standard-mode non-blocking send. Section 3.7.2.
    call fn MPI_Isend or MPI_Isend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = isend, at_once isend_at_once;
    /// Buffered-mode non-blocking send. Section 3.7.2.
    call fn MPI_Ibsend or MPI_Ibsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = ibsend, at_once;
    /// Synchronous-mode non-blocking send. Section 3.7.2.
    call fn MPI_Issend or MPI_Issend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = issend, at_once;
    /// Ready-mode non-blocking send. Section 3.7.2.
    call fn MPI_Irsend or MPI_Irsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = irsend, at_once;
    /// Non-blocking receive. Section 3.7.2.
    call fn MPI_Irecv or MPI_Irecv_c(buf: GuestAddr, count: Count, datatype: i32, source: i32, tag: i32, comm: i32, request: GuestAddr) = irecv, at_once irecv_at_once;
    /// Non-blocking send and receive at once. Section 3.11.
    call fn MPI_Isendrecv or MPI_Isendrecv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, dest: i32, sendtag: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, source: i32, recvtag: i32, comm: i32, request: GuestAddr) = isendrecv;
    /// Non-blocking send and receive in one buffer. Section 3.11.
    call fn MPI_Isendrecv_replace or MPI_Isendrecv_replace_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, sendtag: i32, source: i32, recvtag: i32, comm: i32, request: GuestAddr) = isendrecv_replace;
    /// Persistent standard-mode send. Section 3.9.
    call fn MPI_Send_init or MPI_Send_init_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = send_init;
    /// Persistent buffered-mode send. Section 3.9.
    call fn MPI_Bsend_init or MPI_Bsend_init_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = bsend_init;
    /// Persistent synchronous-mode send. Section 3.9.
    call fn MPI_Ssend_init or MPI_Ssend_init_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = ssend_init;
    /// Persistent ready-mode send. Section 3.9.
    call fn MPI_Rsend_init or MPI_Rsend_init_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = rsend_init;
    /// Persistent receive. Section 3.9.
    call fn MPI_Recv_init or MPI_Recv_init_c(buf: GuestAddr, count: Count, datatype: i32, source: i32, tag: i32, comm: i32, request: GuestAddr) = recv_init;
    /// Starts a persistent request. Section 3.9.
    ending fn MPI_Start(request: GuestAddr) = start_persistent, at_once;
    /// Starts several persistent requests. Section 3.9.
    ending fn MPI_Startall(count: i32, requests: GuestAddr) = start_all, at_once;
}

macro_rules! send_modes {
    ($($mode:ident: $blocking:ident $nonblocking:ident $persistent:ident;)*) => {$(
        async fn $blocking<T: MpiView>(call: &mut Call<'_, T>, buf: GuestAddr, count: i64, datatype: i32, peer: i32, tag: i32, comm: i32) -> Result<()> {
            let args = Args { buf, count, datatype, peer, tag, comm };
            blocking_send(call, SendMode::$mode, args).await
        }

        async fn $nonblocking<T: MpiView>(call: &mut Call<'_, T>, buf: GuestAddr, count: i64, datatype: i32, peer: i32, tag: i32, comm: i32, request: GuestAddr) -> Result<()> {
            let args = Args { buf, count, datatype, peer, tag, comm };
            let handle = start_new_send(call.mpi(), SendMode::$mode, args)?;
            call.write_i32("request", request, handle)
        }

        async fn $persistent<T: MpiView>(call: &mut Call<'_, T>, buf: GuestAddr, count: i64, datatype: i32, peer: i32, tag: i32, comm: i32, request: GuestAddr) -> Result<()> {
            let args = Args { buf, count, datatype, peer, tag, comm };
            // The buffer of a buffered send is needed from its start on only.
            let mut new = checked_send(call.mpi(), SendMode::$mode, args)?;
            (new.persistent, new.state) = (true, State::Inactive);
            let handle = insert(call.mpi(), new)?;
            call.write_i32("request", request, handle)
        }
    )*};
}

send_modes! {
    Standard: send isend send_init;
    Buffered: bsend ibsend bsend_init;
    Synchronous: ssend issend ssend_init;
    Ready: rsend irsend rsend_init;
}

async fn blocking_send<T: MpiView>(
    call: &mut Call<'_, T>,
    mode: SendMode,
    args: Args,
) -> Result<()> {
    if let Some(Interrupted::Request(handle)) = call.resume() {
        return Box::pin(finish_send(call, handle)).await;
    }
    call.mpi().owes_turn = false;
    let request = send_request(call.mpi(), mode, args)?;
    call.mpi().check_peer(request.context, args.peer, request.peer)?;
    // Only a send that has to wait needs an entry in the table, for the answer to find.
    let mpi = call.mpi();
    let eager_bytes_max = mpi.eager_bytes_max(request.peer);
    if mode != SendMode::Synchronous && request.is_eager(eager_bytes_max) {
        mpi.start_send(&request, 0, eager_bytes_max)?;
        if call.mpi().port.is_congested(request.peer) {
            call.commit();
            Box::pin(let_drain(call, request.peer)).await;
        }
        return Ok(());
    }
    Box::pin(send_and_wait(call, request)).await
}

/// The usual case: the message is copied away.
fn send_at_once<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
) -> Option<Result<()>> {
    let mpi = call.mpi();
    if mpi.owes_turn {
        return None;
    }
    let args = Args { buf, count, datatype, peer, tag, comm };
    if plain::send(mpi, &args).is_some() {
        return Some(Ok(()));
    }
    let request = send_request(mpi, SendMode::Standard, args).ok()?;
    mpi.check_peer(request.context, peer, request.peer).ok()?;
    let eager_bytes_max = mpi.eager_bytes_max(request.peer);
    if !request.is_eager(eager_bytes_max) {
        return None;
    }
    let sent = mpi.start_send(&request, 0, eager_bytes_max);
    mpi.owes_turn = mpi.port.is_congested(request.peer);
    Some(sent.map(|_| ()))
}

/// Lets others run while much is queued for `peer`: for a neighbour one turn, so that it can receive;
/// for a rank of another node until the links have taken some, but not for ever.
async fn let_drain<T: MpiView>(call: &mut Call<'_, T>, peer: u32) {
    const TURNS_MAX: u32 = 1000;
    let turns = if call.mpi().is_far(peer) { TURNS_MAX } else { 1 };
    for _ in 0..turns {
        call.yield_now().await;
        if !call.mpi().port.is_congested(peer) {
            return;
        }
    }
}

/// Sends what the receiver has to answer.
async fn send_and_wait<T: MpiView>(call: &mut Call<'_, T>, request: Request) -> Result<()> {
    let handle = start(call.mpi(), request)?;
    finish_send(call, handle).await
}

async fn finish_send<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Result<()> {
    let sent = wait_own(call, handle).await;
    sent.error.map_or(Ok(()), Err)
}

async fn recv<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
    status: GuestAddr,
) -> Result<()> {
    if let Some(Interrupted::Request(handle)) = call.resume() {
        return Box::pin(finish_receive(call, handle, status)).await;
    }
    let request = receive_request(call.mpi(), Args { buf, count, datatype, peer, tag, comm })?;
    let is_posted = call.is_threaded() || call.mpi().matching.posted_len() > 0;
    if peer == abi::MPI_PROC_NULL || is_posted {
        // Boxed, to keep the future of the common case small.
        return Box::pin(receive_posted(call, request, status)).await;
    }
    // A partitioned receive waits for messages without having posted a receive.
    if !call.mpi().partitioned.is_empty() {
        return Box::pin(receive_posted(call, request, status)).await;
    }
    if call.mpi().faults.is_active() {
        call.mpi().faults.known.check_context(request.context)?;
    }
    let pattern = pattern(request.context, peer, tag);
    let received = match call.mpi().receive_directly(&pattern, &request.buffer) {
        Some(received) => received,
        None => {
            call.mpi().check_source(comm, peer)?;
            let pending = pending(call.function, peer, tag, request.context);
            let buffer = &request.buffer;
            call.wait_directly(&pending, |mpi| {
                let received = mpi.receive_directly(&pattern, buffer);
                received.or_else(|| mpi.check_source(comm, peer).err().map(Received::Refused))
            })
            .await
        }
    };
    let completion = match received {
        Received::Here(completion) => completion,
        Received::Refused(error) => {
            call.mpi().error_comm = comm;
            return Err(error);
        }
        Received::Far(arrived) => {
            return Box::pin(receive_far(call, request, arrived, status)).await;
        }
    };
    call.mpi().error_comm = comm;
    put_status(call, status, &completion.status)?;
    completion.error.map_or(Ok(()), Err)
}

/// The usual case: no other receive is posted.
fn recv_at_once<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
    status: GuestAddr,
) -> Option<Result<()>> {
    let mpi = call.mpi();
    let is_usual = mpi.matching.posted_len() == 0 && mpi.partitioned.is_empty();
    if !is_usual || peer == abi::MPI_PROC_NULL || mpi.faults.is_active() || !mpi.has_luck() {
        return None;
    }
    let args = Args { buf, count, datatype, peer, tag, comm };
    if let Some(room) = plain::plain_bytes(&args) {
        return plain::receive(call, args, room, status);
    }
    let request = receive_request(mpi, args).ok()?;
    let arrived = mpi.take_soon(&pattern(request.context, peer, tag))?;
    mpi.error_comm = comm;
    let received = mpi.take_over(&request.buffer, arrived);
    finish_at_once(call, request, received, status)
}

/// Ends a receive that has its message.
fn finish_at_once<T: MpiView>(
    call: &mut Call<'_, T>,
    request: Request,
    received: Received,
    status: GuestAddr,
) -> Option<Result<()>> {
    let completion = match received {
        Received::Here(completion) => completion,
        Received::Refused(error) => return Some(Err(error)),
        Received::Far(arrived) => {
            // It is matched, and the call that is made instead waits for its data.
            let mpi = call.mpi();
            let handle = match insert(mpi, request) {
                Ok(handle) => handle,
                Err(error) => return Some(Err(error)),
            };
            mpi.deliver(handle, &arrived);
            mpi.interrupted = Some(Interrupted::Request(handle));
            return None;
        }
    };
    let told = put_status(call, status, &completion.status);
    Some(told.and(completion.error.map_or(Ok(()), Err)))
}

/// Receives a message that was matched and whose data is on another node.
async fn receive_far<T: MpiView>(
    call: &mut Call<'_, T>,
    request: Request,
    arrived: Box<Arrived>,
    status: GuestAddr,
) -> Result<()> {
    let handle = insert(call.mpi(), request)?;
    call.mpi().deliver(handle, &arrived);
    finish_receive(call, handle, status).await
}

/// Receives by way of the table of requests, in the order of the other posted receives.
async fn receive_posted<T: MpiView>(
    call: &mut Call<'_, T>,
    request: Request,
    status: GuestAddr,
) -> Result<()> {
    let handle = start(call.mpi(), request)?;
    finish_receive(call, handle, status).await
}

pub(super) async fn finish_receive<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    status: GuestAddr,
) -> Result<()> {
    let completion = wait_own(call, handle).await;
    let completion = give_up_pending(call.mpi(), handle, completion);
    put_status(call, status, &completion.status)?;
    completion.error.map_or(Ok(()), Err)
}

/// A receive that may wait for ever ends with the call that waits for it.
fn give_up_pending<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    handle: i32,
    completion: Completion,
) -> Completion {
    if completion.error.as_ref().is_none_or(|error| error.class != ErrorClass::ProcFailedPending) {
        return completion;
    }
    mpi.matching.cancel(handle.cast_unsigned());
    mpi.requests.remove(handle);
    Completion { error: completion.error.map(for_good), ..completion }
}

async fn irecv<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
    request: GuestAddr,
) -> Result<()> {
    let new = receive_request(call.mpi(), Args { buf, count, datatype, peer, tag, comm })?;
    let handle = start(call.mpi(), new)?;
    call.write_i32("request", request, handle)
}

/// The usual case: nothing is wrong with the arguments.
fn isend_at_once<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
    request: GuestAddr,
) -> Option<Result<()>> {
    let args = Args { buf, count, datatype, peer, tag, comm };
    let mpi = call.mpi();
    let started = match plain::send(mpi, &args) {
        Some(()) => insert_complete(mpi, comm),
        None => Ok(start_new_send(mpi, SendMode::Standard, args).ok()?),
    };
    Some(started.and_then(|handle| call.write_i32("request", request, handle)))
}

/// The usual case: nothing is wrong with the arguments.
fn irecv_at_once<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
    request: GuestAddr,
) -> Option<Result<()>> {
    let new = receive_request(call.mpi(), Args { buf, count, datatype, peer, tag, comm }).ok()?;
    let handle = start(call.mpi(), new).ok()?;
    Some(call.write_i32("request", request, handle))
}

pub(super) const fn pending(function: &'static str, peer: i32, tag: i32, context: u32) -> Pending {
    Pending { function, peer: Some(peer), tag: Some(tag), context }
}

fn start_new_send<P: MpiPort>(mpi: &mut MpiCtx<P>, mode: SendMode, args: Args) -> Result<i32> {
    let request = send_request(mpi, mode, args)?;
    start(mpi, request)
}
