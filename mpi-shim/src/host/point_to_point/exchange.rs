//! Sending and receiving at once. Section 3.11.

use faasm_mpi_engine::error::Result;
use faasm_vm::GuestAddr;

use super::arguments::{Args, checked_send, receive_request, send_request};
use super::begin::start;
use super::{finish_receive, give_up_pending};
use crate::call::{Call, MpiView};
use crate::ctx::{Interrupted, MpiCtx};
use crate::host::completion::{put_status, wait_both};
use crate::port::MpiPort;
use crate::request::SendMode;

pub(super) async fn sendrecv<T: MpiView>(
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
    let outgoing = Args::new(sendbuf, (sendcount, sendtype), (dest, sendtag, comm));
    let incoming = Args::new(recvbuf, (recvcount, recvtype), (source, recvtag, comm));
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

pub(super) async fn sendrecv_replace<T: MpiView>(
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
        _ => {
            let (to, from) = ((dest, sendtag, comm), (source, recvtag, comm));
            replace(call.mpi(), buf, (count, datatype), to, from)?
        }
    };
    finish_receive(call, receive, status).await
}

/// Sends a copy of the buffer and posts the receive into it.
fn replace<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    buf: GuestAddr,
    contents: (i64, i32),
    to: (i32, i32, i32),
    from: (i32, i32, i32),
) -> Result<i32> {
    let receive = receive_request(mpi, Args::new(buf, contents, from))?;
    // Buffered mode copies the data out, so that the receive may overwrite the buffer.
    let send = checked_send(mpi, SendMode::Buffered, Args::new(buf, contents, to))?;
    mpi.check_peer(send.context, to.0, send.peer)?;
    let eager_bytes_max = mpi.eager_bytes_max(send.peer);
    mpi.start_send(&send, 0, eager_bytes_max)?;
    start(mpi, receive)
}

pub(super) async fn isendrecv<T: MpiView>(
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
    let outgoing = Args::new(sendbuf, (sendcount, sendtype), (dest, sendtag, comm));
    let incoming = Args::new(recvbuf, (recvcount, recvtype), (source, recvtag, comm));
    let mpi = call.mpi();
    let mut receive = receive_request(mpi, incoming)?;
    let send = send_request(mpi, SendMode::Standard, outgoing)?;
    receive.also = Some(start(mpi, send)?);
    let handle = start(mpi, receive)?;
    call.write_i32("request", request, handle)
}

pub(super) async fn isendrecv_replace<T: MpiView>(
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
    let (to, from) = ((dest, sendtag, comm), (source, recvtag, comm));
    let handle = replace(call.mpi(), buf, (count, datatype), to, from)?;
    call.write_i32("request", request, handle)
}
