//! Persistent requests are started again and again. Section 3.9.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::arguments::{Args, receive_request};
use super::begin::{begin, insert};
use crate::abi;
use crate::call::{Call, Ending, MpiView};
use crate::ctx::{MpiCtx, bad_handle};
use crate::host::buffer::check_room;
use crate::host::collective;
use crate::port::MpiPort;
use crate::request::{Operation, SendMode, State};

pub(super) async fn recv_init<T: MpiView>(
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

pub(super) async fn start_persistent<T: MpiView>(
    call: &mut Call<'_, T>,
    request: GuestAddr,
) -> Ending {
    start_requests(call, "request", 1, request).await
}

pub(super) async fn start_all<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    requests: GuestAddr,
) -> Ending {
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
    if call.is_at_once() && handles.iter().any(|handle| is_collective(call.mpi(), *handle)) {
        call.later().await;
    }
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

fn is_collective<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> bool {
    let request = mpi.requests.get(handle);
    request.is_some_and(|request| matches!(request.operation, Operation::Collective(_)))
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
