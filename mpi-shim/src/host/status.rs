//! What a status tells (MPI-5.0 sections 3.2.5, 3.8.4, 5.1.11 and 13.3).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi::{self, Status};
use crate::call::{Call, MpiView, check_pointer};
use crate::table::{Count, host_functions};

host_functions! {
    /// Number of elements received. Section 3.2.5.
    call fn MPI_Get_count or MPI_Get_count_c(status: GuestAddr, datatype: i32, count: GuestAddr) = get_count, at_once;
    /// Number of basic elements received. Section 5.1.11.
    call fn MPI_Get_elements or MPI_Get_elements_x or MPI_Get_elements_c(status: GuestAddr, datatype: i32, count: GuestAddr) = get_elements;
    /// Sets the number of basic elements. Section 13.3.
    call fn MPI_Status_set_elements or MPI_Status_set_elements_x or MPI_Status_set_elements_c(status: GuestAddr, datatype: i32, count: Count) = set_elements;
    /// Sets whether the operation was cancelled. Section 13.3.
    call fn MPI_Status_set_cancelled(status: GuestAddr, flag: i32) = set_cancelled;
    /// Sets the source. Section 3.2.5.
    call fn MPI_Status_set_source(status: GuestAddr, source: i32) = set_source;
    /// Sets the tag. Section 3.2.5.
    call fn MPI_Status_set_tag(status: GuestAddr, tag: i32) = set_tag;
    /// Sets the error. Section 3.2.5.
    call fn MPI_Status_set_error(status: GuestAddr, error: i32) = set_error;
    /// The source. Section 3.2.5.
    call fn MPI_Status_get_source(status: GuestAddr, source: GuestAddr) = source_of;
    /// The tag. Section 3.2.5.
    call fn MPI_Status_get_tag(status: GuestAddr, tag: GuestAddr) = tag_of;
    /// The error. Section 3.2.5.
    call fn MPI_Status_get_error(status: GuestAddr, error: GuestAddr) = error_of;
    /// Whether the operation was cancelled. Section 3.8.4.
    call fn MPI_Test_cancelled(status: GuestAddr, flag: GuestAddr) = test_cancelled;
}

/// Reads a status of the guest.
fn read<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr) -> Result<Status> {
    check_pointer("status", addr, Status::SIZE_BYTES)?;
    let wrong = |fault: faasm_vm::GuestFault| {
        MpiError::argument(ErrorClass::Arg, "status", fault.to_string())
    };
    let bytes = call.mpi().memory()?.read_array(addr).map_err(wrong)?;
    Ok(Status::from_bytes(&bytes))
}

/// Changes a status of the guest.
fn update<T: MpiView>(
    call: &mut Call<'_, T>,
    addr: GuestAddr,
    change: impl FnOnce(&mut Status),
) -> Result<()> {
    let mut status = read(call, addr)?;
    change(&mut status);
    call.write("status", addr, &status.to_bytes())
}

/// Bytes received; a status the guest filled with rubbish has none.
fn bytes(status: &Status) -> u64 {
    u64::try_from(status.count_bytes).unwrap_or(0)
}

/// Writes the number, `MPI_UNDEFINED` where there is none.
fn write_count<T: MpiView>(
    call: &mut Call<'_, T>,
    addr: GuestAddr,
    number: Option<u64>,
) -> Result<()> {
    let number = number.and_then(|number| i64::try_from(number).ok());
    call.write_number("count", addr, number.unwrap_or_else(|| abi::MPI_UNDEFINED.into()))
}

async fn get_count<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    datatype: i32,
    count: GuestAddr,
) -> Result<()> {
    let received = bytes(&read(call, status)?);
    let number = call.mpi().any_datatype(datatype)?.count_in(received);
    write_count(call, count, number)
}

async fn get_elements<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    datatype: i32,
    count: GuestAddr,
) -> Result<()> {
    let received = bytes(&read(call, status)?);
    let number = call.mpi().any_datatype(datatype)?.elements_in(received);
    write_count(call, count, number)
}

async fn set_elements<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    datatype: i32,
    count: i64,
) -> Result<()> {
    let wrong = |detail: String| MpiError::argument(ErrorClass::Count, "count", detail);
    let elements = u64::try_from(count).map_err(|_| wrong(format!("{count} is negative")))?;
    let bytes = call.mpi().any_datatype(datatype)?.bytes_of_elements(elements);
    let bytes = bytes
        .and_then(|bytes| i64::try_from(bytes).ok())
        .ok_or_else(|| wrong(format!("no message of this type has {count} basic elements")))?;
    update(call, status, |status| status.count_bytes = bytes)
}

async fn set_cancelled<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    flag: i32,
) -> Result<()> {
    update(call, status, |status| status.cancelled = flag != 0)
}

async fn set_source<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    source: i32,
) -> Result<()> {
    update(call, status, |status| status.source = source)
}

async fn set_tag<T: MpiView>(call: &mut Call<'_, T>, status: GuestAddr, tag: i32) -> Result<()> {
    update(call, status, |status| status.tag = tag)
}

async fn set_error<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    error: i32,
) -> Result<()> {
    update(call, status, |status| status.error = error)
}

async fn source_of<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    source: GuestAddr,
) -> Result<()> {
    let value = read(call, status)?.source;
    call.write_i32("source", source, value)
}

async fn tag_of<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    tag: GuestAddr,
) -> Result<()> {
    let value = read(call, status)?.tag;
    call.write_i32("tag", tag, value)
}

async fn error_of<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    error: GuestAddr,
) -> Result<()> {
    let value = read(call, status)?.error;
    call.write_i32("error", error, value)
}

async fn test_cancelled<T: MpiView>(
    call: &mut Call<'_, T>,
    status: GuestAddr,
    flag: GuestAddr,
) -> Result<()> {
    let cancelled = read(call, status)?.cancelled;
    call.write_i32("flag", flag, i32::from(cancelled))
}
