//! Packing data in a form that is the same on every machine (MPI-5.0 section 5.3).

use faasm_mpi_engine::datatype::{external_bytes, pack_external, unpack_external};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::{Packed, put, typed};
use crate::call::{Call, MpiView};
use crate::ctx::{Bytes, fault};
use crate::request::Buffer;
use crate::table::{Count, host_functions};

host_functions! {
    /// Packs typed data in a form for other machines. Section 5.3.
    call fn MPI_Pack_external or MPI_Pack_external_c(datarep: GuestAddr, inbuf: GuestAddr, incount: Count, datatype: i32, outbuf: GuestAddr, outsize: Count, position: GuestAddr) = external_pack;
    /// Unpacks data in a form for other machines. Section 5.3.
    call fn MPI_Unpack_external or MPI_Unpack_external_c(datarep: GuestAddr, inbuf: GuestAddr, insize: Count, position: GuestAddr, outbuf: GuestAddr, outcount: Count, datatype: i32) = external_unpack;
    /// Room that data in the form for other machines needs. Section 5.3.
    call fn MPI_Pack_external_size or MPI_Pack_external_size_c(datarep: GuestAddr, incount: Count, datatype: i32, size: GuestAddr) = external_size;
}

/// The one representation there is besides the native one.
fn check_datarep<T: MpiView>(call: &mut Call<'_, T>, datarep: GuestAddr) -> Result<()> {
    let name = call.read_string("datarep", datarep, DATAREP_BYTES_MAX)?;
    if name == "external32" {
        return Ok(());
    }
    let detail = format!("\"{name}\" is not \"external32\"");
    Err(MpiError::argument(ErrorClass::UnsupportedDatarep, "datarep", detail))
}

/// Longest name of a data representation (`MPI_MAX_DATAREP_STRING`).
const DATAREP_BYTES_MAX: usize = 128;

async fn external_pack<T: MpiView>(
    call: &mut Call<'_, T>,
    datarep: GuestAddr,
    inbuf: GuestAddr,
    incount: i64,
    datatype: i32,
    outbuf: GuestAddr,
    outsize: i64,
    position: GuestAddr,
) -> Result<()> {
    check_datarep(call, datarep)?;
    let to = Packed { buffer: ("outbuf", outbuf), size: ("outsize", outsize), position };
    let typed = typed(call.mpi(), "incount", (inbuf, incount, datatype))?;
    let window = to.window(call, external(&typed)?)?;
    let memory = call.mpi().memory()?;
    let Buffer { addr, count, datatype } = &typed;
    let mut bytes = Vec::new();
    pack_external(&Bytes(memory), *addr, *count, datatype, &mut bytes)?;
    memory.write(GuestAddr::new(window.at), &bytes).map_err(fault("outbuf"))?;
    to.advance(call, &window)
}

async fn external_unpack<T: MpiView>(
    call: &mut Call<'_, T>,
    datarep: GuestAddr,
    inbuf: GuestAddr,
    insize: i64,
    position: GuestAddr,
    outbuf: GuestAddr,
    outcount: i64,
    datatype: i32,
) -> Result<()> {
    check_datarep(call, datarep)?;
    let from = Packed { buffer: ("inbuf", inbuf), size: ("insize", insize), position };
    let typed = typed(call.mpi(), "outcount", (outbuf, outcount, datatype))?;
    let window = from.window(call, external(&typed)?)?;
    let memory = call.mpi().memory()?;
    let at = GuestAddr::new(window.at);
    let bytes = memory.read_vec(at, window.bytes).map_err(fault("inbuf"))?;
    let Buffer { addr, count, datatype } = &typed;
    unpack_external(&Bytes(memory), *addr, *count, datatype, &bytes)?;
    from.advance(call, &window)
}

async fn external_size<T: MpiView>(
    call: &mut Call<'_, T>,
    datarep: GuestAddr,
    incount: i64,
    datatype: i32,
    size: GuestAddr,
) -> Result<()> {
    check_datarep(call, datarep)?;
    let buffer = typed(call.mpi(), "incount", (GuestAddr::new(0), incount, datatype))?;
    let bytes = external(&buffer)?.cast_signed();
    put(call, ("size", size), bytes)
}

/// Bytes that a buffer takes in the external form.
fn external(buffer: &Buffer) -> Result<u64> {
    external_bytes(&buffer.datatype, buffer.count).ok_or_else(|| {
        let detail = format!("{} elements of this type exceed 2^63 bytes", buffer.count);
        MpiError::argument(ErrorClass::Count, "count", detail)
    })
}
