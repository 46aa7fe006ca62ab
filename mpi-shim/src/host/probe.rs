//! Probing, and receiving messages that a probe has extracted (MPI-5.0 section 3.8).

use faasm_mpi_engine::error::{ErrorClass, Result};
use faasm_vm::GuestAddr;

use crate::abi::{self, Status};
use crate::call::{Call, MpiView};
use crate::ctx::{Interrupted, MpiCtx, OtherEntry, bad_handle};
use crate::host::completion::put_status;
use crate::host::point_to_point::{
    check_rank, check_tag, finish_receive, insert, pending, request,
};
use crate::port::MpiPort;
use crate::progress::pattern;
use crate::request::{Buffer, Completion, Operation, too_many};
use crate::table::{Count, host_functions};

host_functions! {
    /// Waits for a matching message without receiving it. Section 3.8.1.
    call fn MPI_Probe(source: i32, tag: i32, comm: i32, status: GuestAddr) = probe, at_once;
    /// Looks for a matching message. Section 3.8.1.
    call fn MPI_Iprobe(source: i32, tag: i32, comm: i32, flag: GuestAddr, status: GuestAddr) = iprobe, at_once;
    /// Waits for a matching message and extracts it. Section 3.8.2.
    call fn MPI_Mprobe(source: i32, tag: i32, comm: i32, message: GuestAddr, status: GuestAddr) = mprobe;
    /// Looks for a matching message and extracts it. Section 3.8.2.
    call fn MPI_Improbe(source: i32, tag: i32, comm: i32, flag: GuestAddr, message: GuestAddr, status: GuestAddr) = improbe;
    /// Receives an extracted message. Section 3.8.3.
    call fn MPI_Mrecv or MPI_Mrecv_c(buf: GuestAddr, count: Count, datatype: i32, message: GuestAddr, status: GuestAddr) = mrecv;
    /// Starts to receive an extracted message. Section 3.8.3.
    call fn MPI_Imrecv or MPI_Imrecv_c(buf: GuestAddr, count: Count, datatype: i32, message: GuestAddr, request: GuestAddr) = imrecv;
}

async fn probe<T: MpiView>(
    call: &mut Call<'_, T>,
    source: i32,
    tag: i32,
    comm: i32,
    status: GuestAddr,
) -> Result<()> {
    let (context, found) = probe_target(call.mpi(), source, tag, comm)?;
    let found = match found {
        Some(found) => found,
        None => {
            let pattern = pattern(context, source, tag);
            let pending = pending(call.function, source, tag, context);
            let ready = move |mpi: &mut MpiCtx<T::Port>| match mpi.probe(&pattern) {
                Some(found) => Some(Ok(found)),
                None => mpi.check_source(comm, source).err().map(Err),
            };
            call.wait(&pending, &|| false, ready).await?
        }
    };
    put_status(call, status, &found)
}

async fn iprobe<T: MpiView>(
    call: &mut Call<'_, T>,
    source: i32,
    tag: i32,
    comm: i32,
    flag: GuestAddr,
    status: GuestAddr,
) -> Result<()> {
    let (context, found) = probe_target(call.mpi(), source, tag, comm)?;
    let found = found.or_else(|| call.mpi().probe(&pattern(context, source, tag)));
    call.write_i32("flag", flag, i32::from(found.is_some()))?;
    match found {
        Some(found) => put_status(call, status, &found),
        None => {
            call.mpi().check_source(comm, source)?;
            call.yield_if_due().await;
            Ok(())
        }
    }
}

async fn mprobe<T: MpiView>(
    call: &mut Call<'_, T>,
    source: i32,
    tag: i32,
    comm: i32,
    message: GuestAddr,
    status: GuestAddr,
) -> Result<()> {
    let (context, found) = probe_target(call.mpi(), source, tag, comm)?;
    if let Some(found) = found {
        call.write_i32("message", message, abi::MPI_MESSAGE_NO_PROC)?;
        return put_status(call, status, &found);
    }
    let pattern = pattern(context, source, tag);
    let pending = pending(call.function, source, tag, context);
    let ready = move |mpi: &mut MpiCtx<T::Port>| match mpi.probe(&pattern) {
        Some(_) => Some(Ok(())),
        None => mpi.check_source(comm, source).err().map(Err),
    };
    call.wait(&pending, &|| false, ready).await?;
    extract(call, source, tag, comm, message, status).map(|_| ())
}

async fn improbe<T: MpiView>(
    call: &mut Call<'_, T>,
    source: i32,
    tag: i32,
    comm: i32,
    flag: GuestAddr,
    message: GuestAddr,
    status: GuestAddr,
) -> Result<()> {
    let (_, found) = probe_target(call.mpi(), source, tag, comm)?;
    let done = match found {
        Some(found) => {
            call.write_i32("message", message, abi::MPI_MESSAGE_NO_PROC)?;
            put_status(call, status, &found)?;
            true
        }
        None => {
            call.mpi().progress();
            extract(call, source, tag, comm, message, status)?
        }
    };
    call.write_i32("flag", flag, i32::from(done))?;
    if !done {
        call.mpi().check_source(comm, source)?;
        call.yield_if_due().await;
    }
    Ok(())
}

/// Takes a matching message out of the unexpected queue; returns whether there was one.
fn extract<T: MpiView>(
    call: &mut Call<'_, T>,
    source: i32,
    tag: i32,
    comm: i32,
    message: GuestAddr,
    status: GuestAddr,
) -> Result<bool> {
    let mpi = call.mpi();
    let context = mpi.comm(comm)?.context;
    let Some((envelope, arrived)) = mpi.extract(&pattern(context, source, tag)) else {
        return Ok(false);
    };
    let found = Status {
        source: envelope.source,
        tag: envelope.tag,
        count_bytes: arrived.payload.len().cast_signed(),
        ..Status::EMPTY
    };
    let handle = mpi.others.insert(OtherEntry::Message(arrived, comm)).ok_or_else(too_many)?;
    call.write_i32("message", message, handle)?;
    put_status(call, status, &found)?;
    Ok(true)
}

async fn mrecv<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    message: GuestAddr,
    status: GuestAddr,
) -> Result<()> {
    let handle = match call.resume() {
        Some(Interrupted::Request(handle)) => handle,
        _ => matched_receive(call, buf, count, datatype, message)?,
    };
    finish_receive(call, handle, status).await
}

async fn imrecv<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    message: GuestAddr,
    request: GuestAddr,
) -> Result<()> {
    let handle = matched_receive(call, buf, count, datatype, message)?;
    call.write_i32("request", request, handle)
}

/// Receives an extracted message; the request is complete, unless the data is on another node.
fn matched_receive<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    count: i64,
    datatype: i32,
    message: GuestAddr,
) -> Result<i32> {
    let handle = call.read_i32("message", message)?;
    let mpi = call.mpi();
    let count = MpiCtx::<T::Port>::count(count)?;
    let buffer = Buffer { addr: buf.get(), count, datatype: mpi.datatype(datatype)? };
    let no_process = handle == abi::MPI_MESSAGE_NO_PROC;
    if !no_process && !matches!(mpi.others.get(handle), Some(OtherEntry::Message(..))) {
        return Err(bad_handle(ErrorClass::Request, "message", handle, abi::MPI_MESSAGE_NULL));
    }
    let source = if no_process { abi::MPI_PROC_NULL } else { abi::MPI_ANY_SOURCE };
    let mut request = request(Operation::Receive { source }, buffer, abi::MPI_COMM_SELF);
    let message_entry = mpi.others.remove(handle);
    if let Some(OtherEntry::Message(_, comm)) = &message_entry {
        request.comm = *comm;
        mpi.error_comm = *comm;
    }
    let name = insert(mpi, request)?;
    match message_entry {
        Some(OtherEntry::Message(arrived, _)) => mpi.deliver(name, &arrived),
        _ => mpi.complete(name, Completion { status: Status::PROC_NULL, error: None }),
    }
    call.write_i32("message", message, abi::MPI_MESSAGE_NULL)?;
    Ok(name)
}

/// Checks a probe's arguments; gives the context, and the status where the source is `MPI_PROC_NULL`.
fn probe_target<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    source: i32,
    tag: i32,
    comm: i32,
) -> Result<(u32, Option<Status>)> {
    let communicator = mpi.comm(comm)?;
    let context = communicator.context;
    check_tag(tag, true)?;
    check_rank("source", source, communicator.peer_count(), true)?;
    Ok((context, (source == abi::MPI_PROC_NULL).then_some(Status::PROC_NULL)))
}
