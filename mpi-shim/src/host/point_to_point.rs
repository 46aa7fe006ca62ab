//! Point-to-point communication (MPI-5.0 chapter 3): starting sends and receives.

use faasm_mpi_engine::datatype::{Datatype, Predefined};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, MpiView};
use crate::ctx::{Arrived, Interrupted, MpiCtx, bad_handle};
use crate::host::buffer::check_room;
use crate::host::collective;
use crate::host::completion::{put_status, wait_both, wait_own};
use crate::port::{MpiPort, Pending};
use crate::progress::{Received, for_good, pattern};
use crate::request::{Buffer, Completion, Operation, Request, SendMode, State, too_many};
use crate::table::{Count, host_functions};

host_functions! {
    /// Standard-mode blocking send. Section 3.2.1.
    call fn MPI_Send or MPI_Send_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = send;
    /// Buffered-mode blocking send. Section 3.4.
    call fn MPI_Bsend or MPI_Bsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = bsend;
    /// Synchronous-mode blocking send. Section 3.4.
    call fn MPI_Ssend or MPI_Ssend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = ssend;
    /// Ready-mode blocking send. Section 3.4.
    call fn MPI_Rsend or MPI_Rsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32) = rsend;
    /// Blocking receive. Section 3.2.4.
    call fn MPI_Recv or MPI_Recv_c(buf: GuestAddr, count: Count, datatype: i32, source: i32, tag: i32, comm: i32, status: GuestAddr) = recv;
    /// Send and receive at once. Section 3.11.
    call fn MPI_Sendrecv or MPI_Sendrecv_c(sendbuf: GuestAddr, sendcount: Count, sendtype: i32, dest: i32, sendtag: i32, recvbuf: GuestAddr, recvcount: Count, recvtype: i32, source: i32, recvtag: i32, comm: i32, status: GuestAddr) = sendrecv;
    /// Send and receive in one buffer. Section 3.11.
    call fn MPI_Sendrecv_replace or MPI_Sendrecv_replace_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, sendtag: i32, source: i32, recvtag: i32, comm: i32, status: GuestAddr) = sendrecv_replace;
    /// Standard-mode non-blocking send. Section 3.7.2.
    call fn MPI_Isend or MPI_Isend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = isend;
    /// Buffered-mode non-blocking send. Section 3.7.2.
    call fn MPI_Ibsend or MPI_Ibsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = ibsend;
    /// Synchronous-mode non-blocking send. Section 3.7.2.
    call fn MPI_Issend or MPI_Issend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = issend;
    /// Ready-mode non-blocking send. Section 3.7.2.
    call fn MPI_Irsend or MPI_Irsend_c(buf: GuestAddr, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, request: GuestAddr) = irsend;
    /// Non-blocking receive. Section 3.7.2.
    call fn MPI_Irecv or MPI_Irecv_c(buf: GuestAddr, count: Count, datatype: i32, source: i32, tag: i32, comm: i32, request: GuestAddr) = irecv;
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
    ending fn MPI_Start(request: GuestAddr) = start_persistent;
    /// Starts several persistent requests. Section 3.9.
    ending fn MPI_Startall(count: i32, requests: GuestAddr) = start_all;
}

/// The arguments that most calls share.
#[derive(Copy, Clone, Debug)]
struct Args {
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
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

async fn sendrecv<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    dest: i32,
    sendtag: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    source: i32,
    recvtag: i32,
    comm: i32,
    status: GuestAddr,
) -> Result<()> {
    if let Some(Interrupted::Pair(send, receive)) = call.resume() {
        return finish_both(call, (send, receive), status).await;
    }
    let outgoing =
        Args { buf: sendbuf, count: sendcount, datatype: sendtype, peer: dest, tag: sendtag, comm };
    let incoming = Args {
        buf: recvbuf,
        count: recvcount,
        datatype: recvtype,
        peer: source,
        tag: recvtag,
        comm,
    };
    let mpi = call.mpi();
    let receive = receive_request(mpi, incoming)?;
    let send = send_request(mpi, SendMode::Standard, outgoing)?;
    let receive = start(mpi, receive)?;
    let send = match start(mpi, send) {
        Ok(send) => send,
        Err(error) => {
            // The receive must not write into the buffer after the call has failed.
            mpi.matching.cancel(receive.cast_unsigned());
            mpi.pulls.forget(receive);
            mpi.requests.remove(receive);
            return Err(error);
        }
    };
    finish_both(call, (send, receive), status).await
}

async fn finish_both<T: MpiView>(
    call: &mut Call<'_, T>,
    (send, receive): (i32, i32),
    status: GuestAddr,
) -> Result<()> {
    let (sent, received) = wait_both(call, (send, receive)).await;
    let received = give_up_pending(call.mpi(), receive, received);
    put_status(call, status, &received.status)?;
    received.error.map_or(Ok(()), Err)?;
    sent.error.map_or(Ok(()), Err)
}

async fn sendrecv_replace<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    dest: i32,
    sendtag: i32,
    source: i32,
    recvtag: i32,
    comm: i32,
    status: GuestAddr,
) -> Result<()> {
    let receive = match call.resume() {
        Some(Interrupted::Request(receive)) => receive,
        _ => replace(call.mpi(), buf, (count, datatype), (dest, sendtag), (source, recvtag, comm))?,
    };
    finish_receive(call, receive, status).await
}

/// Sends a copy of the buffer and posts the receive into it.
fn replace<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    buf: GuestAddr,
    (count, datatype): (i64, i32),
    (dest, sendtag): (i32, i32),
    (source, recvtag, comm): (i32, i32, i32),
) -> Result<i32> {
    let incoming = Args { buf, count, datatype, peer: source, tag: recvtag, comm };
    let receive = receive_request(mpi, incoming)?;
    // Buffered mode copies the data out, so that the receive may overwrite the buffer.
    let outgoing = Args { buf, count, datatype, peer: dest, tag: sendtag, comm };
    let send = checked_send(mpi, SendMode::Buffered, outgoing)?;
    mpi.check_peer(send.context, dest, send.peer)?;
    let eager_bytes_max = mpi.eager_bytes_max(send.peer);
    mpi.start_send(&send, 0, eager_bytes_max)?;
    start(mpi, receive)
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

async fn recv_init<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
    request: GuestAddr,
) -> Result<()> {
    let mut new = receive_request(call.mpi(), Args { buf, count, datatype, peer, tag, comm })?;
    (new.persistent, new.state) = (true, State::Inactive);
    let handle = insert(call.mpi(), new)?;
    call.write_i32("request", request, handle)
}

async fn isendrecv<T: MpiView>(
    call: &mut Call<'_, T>,
    sendbuf: GuestAddr,
    sendcount: i64,
    sendtype: i32,
    dest: i32,
    sendtag: i32,
    recvbuf: GuestAddr,
    recvcount: i64,
    recvtype: i32,
    source: i32,
    recvtag: i32,
    comm: i32,
    request: GuestAddr,
) -> Result<()> {
    let outgoing =
        Args { buf: sendbuf, count: sendcount, datatype: sendtype, peer: dest, tag: sendtag, comm };
    let incoming = Args {
        buf: recvbuf,
        count: recvcount,
        datatype: recvtype,
        peer: source,
        tag: recvtag,
        comm,
    };
    let mpi = call.mpi();
    let mut receive = receive_request(mpi, incoming)?;
    let send = send_request(mpi, SendMode::Standard, outgoing)?;
    receive.also = Some(start(mpi, send)?);
    let handle = start(mpi, receive)?;
    call.write_i32("request", request, handle)
}

async fn isendrecv_replace<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    dest: i32,
    sendtag: i32,
    source: i32,
    recvtag: i32,
    comm: i32,
    request: GuestAddr,
) -> Result<()> {
    let handle =
        replace(call.mpi(), buf, (count, datatype), (dest, sendtag), (source, recvtag, comm))?;
    call.write_i32("request", request, handle)
}

async fn start_persistent<T: MpiView>(call: &mut Call<'_, T>, request: GuestAddr) -> Ending {
    start_requests(call, "request", 1, request).await
}

async fn start_all<T: MpiView>(call: &mut Call<'_, T>, count: i32, requests: GuestAddr) -> Ending {
    start_requests(call, "array_of_requests", count, requests).await
}

async fn start_requests<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    count: i32,
    requests: GuestAddr,
) -> Ending {
    let handles = call
        .require_running()
        .and_then(|()| MpiCtx::<T::Port>::count(count))
        .and_then(|count| call.read_i32s(argument, requests, count as usize));
    let handles = match handles {
        Ok(handles) => handles,
        Err(error) => return Ok(Err(error)),
    };
    for handle in handles {
        let is_started = match restart(call.mpi(), handle) {
            Ok(is_started) => is_started,
            Err(error) => return Ok(Err(error)),
        };
        if !is_started && let Err(error) = collective::begin(call, handle).await? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Starts a persistent request; `false` leaves it to [`collective::begin`].
fn restart<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<bool> {
    let Some(request) = mpi.requests.get_mut(handle) else {
        return Err(bad_handle(ErrorClass::Request, "request", handle, abi::MPI_REQUEST_NULL));
    };
    if !request.persistent || !matches!(request.state, State::Inactive) {
        let detail = "only an inactive persistent request can be started";
        return Err(MpiError::argument(ErrorClass::Request, "request", detail));
    }
    let comm = request.comm;
    mpi.error_comm = comm;
    if matches!(request.operation, Operation::Collective(_)) {
        return Ok(false);
    }
    if matches!(request.operation, Operation::Partitioned(_)) {
        request.state = State::Active;
        mpi.start_partitioned(handle);
        if mpi.faults.is_active() {
            mpi.settle(handle);
        }
        return Ok(true);
    }
    if let Operation::Send { mode: SendMode::Buffered, dest } = request.operation
        && dest != abi::MPI_PROC_NULL
    {
        let buffer = request.buffer.clone();
        check_room(mpi, comm, &buffer)?;
    }
    if let Some(request) = mpi.requests.get_mut(handle) {
        request.state = State::Active;
        request.cancelling = false;
    }
    begin(mpi, handle).map(|()| true)
}

pub(super) const fn pending(function: &'static str, peer: i32, tag: i32, context: u32) -> Pending {
    Pending { function, peer: Some(peer), tag: Some(tag), context }
}

fn start_new_send<P: MpiPort>(mpi: &mut MpiCtx<P>, mode: SendMode, args: Args) -> Result<i32> {
    let request = send_request(mpi, mode, args)?;
    start(mpi, request)
}

/// Checks the arguments of a send, and that the program has provided the buffer that it needs.
#[inline]
fn send_request<P: MpiPort>(mpi: &mut MpiCtx<P>, mode: SendMode, args: Args) -> Result<Request> {
    let request = checked_send(mpi, mode, args)?;
    if mode == SendMode::Buffered && args.peer != abi::MPI_PROC_NULL {
        check_room(mpi, args.comm, &request.buffer)?;
    }
    Ok(request)
}

/// Checks the arguments of a send.
#[inline]
fn checked_send<P: MpiPort>(mpi: &mut MpiCtx<P>, mode: SendMode, args: Args) -> Result<Request> {
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
fn receive_request<P: MpiPort>(mpi: &mut MpiCtx<P>, args: Args) -> Result<Request> {
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

/// An active request with its other fields empty.
pub(super) const fn request(operation: Operation, buffer: Buffer, comm: i32) -> Request {
    Request {
        operation,
        buffer,
        tag: 0,
        comm,
        context: 0,
        peer: 0,
        state: State::Active,
        persistent: false,
        freed: false,
        cancelling: false,
        also: None,
    }
}

/// Enters a request into the table and starts it.
fn start<P: MpiPort>(mpi: &mut MpiCtx<P>, request: Request) -> Result<i32> {
    let handle = insert(mpi, request)?;
    match begin(mpi, handle) {
        Ok(()) => Ok(handle),
        Err(error) => {
            mpi.requests.remove(handle);
            Err(error)
        }
    }
}

pub(super) fn insert<P: MpiPort>(mpi: &mut MpiCtx<P>, request: Request) -> Result<i32> {
    mpi.requests.insert(request).ok_or_else(too_many)
}

/// Starts the operation of a request that is in the table.
fn begin<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<()> {
    if mpi.faults.is_active() {
        return begin_carefully(mpi, handle);
    }
    begin_safely(mpi, handle)?;
    // A failure that was heard of meanwhile did not find the operation under way.
    if mpi.faults.is_active() {
        mpi.settle(handle);
    }
    Ok(())
}

/// As [`begin`] when processes have failed or communicators are revoked: what can never end ends at once.
#[cold]
fn begin_carefully<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<()> {
    let Some(request) = mpi.requests.get(handle) else { return Ok(()) };
    let is_receive = matches!(request.operation, Operation::Receive { .. });
    if let Err(error) = mpi.faults.known.check_context(request.context) {
        mpi.complete(handle, Completion { status: abi::Status::EMPTY, error: Some(error) });
        return Ok(());
    }
    if !is_receive {
        mpi.settle(handle);
        let is_over = mpi.requests.get(handle).is_none_or(Request::is_done);
        return if is_over { Ok(()) } else { begin_safely(mpi, handle) };
    }
    // What was sent before the failure is received.
    begin_safely(mpi, handle)?;
    mpi.settle(handle);
    Ok(())
}

fn begin_safely<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<()> {
    let Some(request) = mpi.requests.get(handle) else { return Ok(()) };
    match request.operation {
        Operation::Receive { .. } => mpi.start_receive(handle),
        Operation::Collective(_)
        | Operation::Generalized(_)
        | Operation::Partitioned(_)
        | Operation::Agreement(_) => {}
        Operation::Send { .. } => {
            let request = request.clone();
            let eager_bytes_max = mpi.eager_bytes_max(request.peer);
            if mpi.start_send(&request, handle, eager_bytes_max)? {
                mpi.complete(handle, Completion::SENT);
            }
        }
    }
    Ok(())
}

/// A request for something that is complete already.
pub(crate) fn insert_complete<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32) -> Result<i32> {
    let operation = Operation::Send { mode: SendMode::Buffered, dest: abi::MPI_PROC_NULL };
    let buffer = Buffer { addr: 0, count: 0, datatype: Predefined::Byte.into() };
    let mut new = request(operation, buffer, comm);
    new.state = State::Complete(Completion::SENT);
    insert(mpi, new)
}

/// A request of an operation that has failed.
pub(crate) fn insert_failed<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    comm: i32,
    error: MpiError,
) -> Result<i32> {
    let handle = insert_complete(mpi, comm)?;
    if let Some(request) = mpi.requests.get_mut(handle) {
        let error = Some(error);
        request.state = State::Complete(Completion { status: abi::Status::EMPTY, error });
    }
    Ok(handle)
}

#[inline]
pub(super) fn check_tag(tag: i32, any: bool) -> Result<()> {
    if tag >= 0 || (any && tag == abi::MPI_ANY_TAG) {
        return Ok(());
    }
    let detail = format!("{tag} is not between 0 and MPI_TAG_UB ({})", i32::MAX);
    Err(MpiError::argument(ErrorClass::Tag, "tag", detail))
}

#[inline]
pub(super) fn check_rank(argument: &'static str, rank: i32, size: u32, any: bool) -> Result<()> {
    let is_sentinel = rank == abi::MPI_PROC_NULL || (any && rank == abi::MPI_ANY_SOURCE);
    if is_sentinel || (rank >= 0 && rank.cast_unsigned() < size) {
        return Ok(());
    }
    let detail = format!("{rank} is not a rank of the communicator, which has {size}");
    Err(MpiError::argument(ErrorClass::Rank, argument, detail))
}
