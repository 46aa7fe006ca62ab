//! Buffers for buffered sends (MPI-5.0 section 3.6).
//!
//! A buffered send hands a copy of its data to the transport before it returns, so that a message
//! never occupies the attached buffer after the call: the buffer's size is only a promise to check,
//! and flushing has nothing to wait for.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView};
use crate::communicator::AttachedBuffer;
use crate::ctx::{MpiCtx, OtherEntry};
use crate::host::point_to_point::insert_complete;
use crate::port::MpiPort;
use crate::request::Buffer;
use crate::table::{Count, host_functions};

host_functions! {
    /// Provides the buffer of the process. Section 3.6.
    call fn MPI_Buffer_attach or MPI_Buffer_attach_c(buffer: GuestAddr, size: Count) = attach;
    /// Takes the buffer of the process back. Section 3.6.
    call fn MPI_Buffer_detach or MPI_Buffer_detach_c(buffer_addr: GuestAddr, size: GuestAddr) = detach;
    /// Waits until the buffer of the process is empty. Section 3.6.
    call fn MPI_Buffer_flush() = flush;
    /// Starts to wait until the buffer of the process is empty. Section 3.6.
    call fn MPI_Buffer_iflush(request: GuestAddr) = iflush;
    /// Provides the buffer of a communicator. Section 3.6.
    call fn MPI_Comm_attach_buffer or MPI_Comm_attach_buffer_c(comm: i32, buffer: GuestAddr, size: Count) = comm_attach;
    /// Takes the buffer of a communicator back. Section 3.6.
    call fn MPI_Comm_detach_buffer or MPI_Comm_detach_buffer_c(comm: i32, buffer_addr: GuestAddr, size: GuestAddr) = comm_detach;
    /// Waits until the buffer of a communicator is empty. Section 3.6.
    call fn MPI_Comm_flush_buffer(comm: i32) = comm_flush;
    /// Starts to wait until the buffer of a communicator is empty. Section 3.6.
    call fn MPI_Comm_iflush_buffer(comm: i32, request: GuestAddr) = comm_iflush;
}

/// Refuses a buffered send on `comm` that does not fit the communicator's buffer, or else that of
/// the process.
///
/// # Errors
/// `MPI_ERR_BUFFER` when there is no buffer or it is too small.
pub(crate) fn check_room<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    comm: i32,
    message: &Buffer,
) -> Result<()> {
    let communicator = mpi.comm(comm)?;
    let (of_comm, session) = (communicator.attached, communicator.session);
    let of_session = match mpi.others.get(session) {
        Some(OtherEntry::Session(session)) => session.attached,
        _ => None,
    };
    let attached = of_comm.or(of_session).or(mpi.attached);
    let needed = message.bytes()?.saturating_add(OVERHEAD_BYTES);
    match attached {
        Some(buffer) if is_automatic(buffer) || needed <= u64::from(buffer.size_bytes) => Ok(()),
        Some(buffer) => Err(wrong(format!(
            "the message needs {needed} bytes with MPI_BSEND_OVERHEAD, the attached buffer has {}; \
             attach a larger one",
            buffer.size_bytes
        ))),
        None => Err(wrong(format!(
            "no buffer is attached; call MPI_Buffer_attach with {needed} bytes or more"
        ))),
    }
}

const OVERHEAD_BYTES: u64 = abi::MPI_BSEND_OVERHEAD as u64;

const fn is_automatic(buffer: AttachedBuffer) -> bool {
    buffer.addr == abi::MPI_BUFFER_AUTOMATIC.cast_unsigned()
}

fn wrong(detail: impl Into<String>) -> MpiError {
    MpiError::argument(ErrorClass::Buffer, "buffer", detail)
}

/// The buffer that an attaching call describes, checked.
pub(super) fn described<P: MpiPort>(
    mpi: &MpiCtx<P>,
    buffer: GuestAddr,
    size: i64,
) -> Result<AttachedBuffer> {
    let attached = |size_bytes| AttachedBuffer { addr: buffer.get() as u32, size_bytes };
    if is_automatic(attached(0)) {
        return Ok(attached(0));
    }
    let Ok(size_bytes) = u32::try_from(size) else {
        let detail = format!("{size} is not the size of a buffer in the program's memory");
        return Err(MpiError::argument(ErrorClass::Arg, "size", detail));
    };
    if buffer.is_null() && size_bytes > 0 {
        return Err(wrong("it is a null pointer"));
    }
    mpi.memory()?.check(buffer, u64::from(size_bytes)).map_err(crate::ctx::fault("buffer"))?;
    Ok(attached(size_bytes))
}

/// Puts `new` where no buffer is attached yet.
pub(super) fn put(slot: &mut Option<AttachedBuffer>, new: AttachedBuffer) -> Result<()> {
    if slot.is_some() {
        return Err(wrong("a buffer is attached already; detach it first"));
    }
    *slot = Some(new);
    Ok(())
}

/// Takes a buffer back and tells the guest which one it was.
pub(super) fn give<T: MpiView>(
    call: &mut Call<'_, T>,
    attached: Option<AttachedBuffer>,
    (buffer_addr, size): (GuestAddr, GuestAddr),
) -> Result<()> {
    let buffer = attached.ok_or_else(|| wrong("no buffer is attached"))?;
    call.write_i32("buffer_addr", buffer_addr, buffer.addr.cast_signed())?;
    call.write_number("size", size, buffer.size_bytes.into())
}

async fn attach<T: MpiView>(call: &mut Call<'_, T>, buffer: GuestAddr, size: i64) -> Result<()> {
    let mpi = call.mpi();
    let new = described(mpi, buffer, size)?;
    put(&mut mpi.attached, new)
}

async fn detach<T: MpiView>(
    call: &mut Call<'_, T>,
    buffer_addr: GuestAddr,
    size: GuestAddr,
) -> Result<()> {
    let attached = call.mpi().attached;
    give(call, attached, (buffer_addr, size))?;
    call.mpi().attached = None;
    Ok(())
}

async fn flush<T: MpiView>(_call: &mut Call<'_, T>) -> Result<()> {
    Ok(())
}

async fn iflush<T: MpiView>(call: &mut Call<'_, T>, request: GuestAddr) -> Result<()> {
    let handle = insert_complete(call.mpi(), abi::MPI_COMM_SELF)?;
    call.write_i32("request", request, handle)
}

async fn comm_attach<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    buffer: GuestAddr,
    size: i64,
) -> Result<()> {
    let mpi = call.mpi();
    mpi.comm(comm)?;
    let new = described(mpi, buffer, size)?;
    put(&mut mpi.comm_mut(comm)?.attached, new)
}

async fn comm_detach<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    buffer_addr: GuestAddr,
    size: GuestAddr,
) -> Result<()> {
    let attached = call.mpi().comm(comm)?.attached;
    give(call, attached, (buffer_addr, size))?;
    call.mpi().comm_mut(comm)?.attached = None;
    Ok(())
}

async fn comm_flush<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<()> {
    call.mpi().comm(comm).map(|_| ())
}

async fn comm_iflush<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    request: GuestAddr,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let handle = insert_complete(call.mpi(), comm)?;
    call.write_i32("request", request, handle)
}
