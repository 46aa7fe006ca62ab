//! Packing data into plain bytes and back (MPI-5.0 section 5.2).
//!
//! The packed form is the data without gaps, in the order of the type map, which is also how a
//! message travels: packed data may be received as typed data and the other way round.

use faasm_mpi_engine::datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::call::{Call, MpiView};
use crate::ctx::{Bytes, MpiCtx, fault};
use crate::port::MpiPort;
use crate::request::Buffer;
use crate::table::host_functions;

host_functions! {
    /// Packs typed data into a buffer. Section 5.2.
    call fn MPI_Pack(inbuf: GuestAddr, incount: i32, datatype: i32, outbuf: GuestAddr, outsize: i32, position: GuestAddr, comm: i32) = pack;
    /// Unpacks a buffer into typed data. Section 5.2.
    call fn MPI_Unpack(inbuf: GuestAddr, insize: i32, position: GuestAddr, outbuf: GuestAddr, outcount: i32, datatype: i32, comm: i32) = unpack;
    /// Room that packed data needs. Section 5.2.
    call fn MPI_Pack_size(incount: i32, datatype: i32, comm: i32, size: GuestAddr) = pack_size;
}

/// Bytes moved at a time.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The packed bytes that a call works on.
struct Window {
    /// Where they begin in the guest's memory.
    at: u64,
    /// How many there are.
    bytes: u64,
    /// Position after them.
    end: i32,
}

async fn pack<T: MpiView>(
    call: &mut Call<'_, T>,
    inbuf: GuestAddr,
    incount: i32,
    datatype: i32,
    outbuf: GuestAddr,
    outsize: i32,
    position: GuestAddr,
    comm: i32,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let typed = typed(call.mpi(), "incount", (inbuf, incount, datatype))?;
    let packed = (("outbuf", outbuf), ("outsize", outsize));
    let window = window(call, packed, position, &typed)?;
    copy_out(call.mpi(), &typed, &window)?;
    call.write_i32("position", position, window.end)
}

async fn unpack<T: MpiView>(
    call: &mut Call<'_, T>,
    inbuf: GuestAddr,
    insize: i32,
    position: GuestAddr,
    outbuf: GuestAddr,
    outcount: i32,
    datatype: i32,
    comm: i32,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let typed = typed(call.mpi(), "outcount", (outbuf, outcount, datatype))?;
    let packed = (("inbuf", inbuf), ("insize", insize));
    let window = window(call, packed, position, &typed)?;
    copy_in(call.mpi(), &typed, &window)?;
    call.write_i32("position", position, window.end)
}

async fn pack_size<T: MpiView>(
    call: &mut Call<'_, T>,
    incount: i32,
    datatype: i32,
    comm: i32,
    size: GuestAddr,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let buffer = typed(call.mpi(), "incount", (GuestAddr::new(0), incount, datatype))?;
    let bytes = i32::try_from(buffer.bytes()?).map_err(|_| {
        let detail = format!("{incount} elements of this type exceed the 2^31 bytes of an int");
        MpiError::argument(ErrorClass::Count, "incount", detail)
    })?;
    call.write_i32("size", size, bytes)
}

/// The typed side of the call.
fn typed<P: MpiPort>(
    mpi: &MpiCtx<P>,
    name: &'static str,
    (buf, count, datatype): (GuestAddr, i32, i32),
) -> Result<Buffer> {
    let count =
        MpiCtx::<P>::count(count).map_err(|error| MpiError { argument: Some(name), ..error })?;
    Ok(Buffer { addr: buf.get(), count, datatype: mpi.datatype(datatype)? })
}

/// The packed side of the call: as many bytes from the position on as `typed` holds.
fn window<T: MpiView>(
    call: &mut Call<'_, T>,
    ((buffer_name, buffer), (size_name, size)): ((&'static str, GuestAddr), (&'static str, i32)),
    position: GuestAddr,
    typed: &Buffer,
) -> Result<Window> {
    let start = call.read_i32s("position", position, 1)?[0];
    if size < 0 {
        let detail = format!("{size} is negative");
        return Err(MpiError::argument(ErrorClass::Arg, size_name, detail));
    }
    if !(0..=size).contains(&start) {
        let detail = format!("{start} is not inside the buffer of {size} bytes");
        return Err(MpiError::argument(ErrorClass::Arg, "position", detail));
    }
    let (bytes, room) = (typed.bytes()?, size - start);
    if bytes > room as u64 {
        let detail =
            format!("{bytes} bytes from position {start} on do not fit a buffer of {size} bytes");
        return Err(MpiError::argument(ErrorClass::Truncate, size_name, detail));
    }
    if buffer.is_null() && bytes > 0 {
        return Err(MpiError::argument(ErrorClass::Buffer, buffer_name, "it is a null pointer"));
    }
    Ok(Window { at: buffer.get() + start as u64, bytes, end: start + bytes as i32 })
}

fn copy_out<P: MpiPort>(mpi: &MpiCtx<P>, typed: &Buffer, window: &Window) -> Result<()> {
    let memory = mpi.memory()?;
    if let Some(from) = typed.run() {
        let (to, from) = (GuestAddr::new(window.at), GuestAddr::new(from));
        return memory.copy_from(to, memory, from, window.bytes).map_err(fault("inbuf"));
    }
    chunks(window, |done, at, chunk| {
        let Buffer { addr, count, datatype } = typed;
        datatype::pack_window(&Bytes(memory), *addr, *count, datatype, done, chunk)?;
        memory.write(at, chunk).map_err(fault("outbuf"))
    })
}

fn copy_in<P: MpiPort>(mpi: &MpiCtx<P>, typed: &Buffer, window: &Window) -> Result<()> {
    let memory = mpi.memory()?;
    if let Some(to) = typed.run() {
        let (to, from) = (GuestAddr::new(to), GuestAddr::new(window.at));
        return memory.copy_from(to, memory, from, window.bytes).map_err(fault("outbuf"));
    }
    chunks(window, |done, at, chunk| {
        let Buffer { addr, count, datatype } = typed;
        memory.read(at, chunk).map_err(fault("inbuf"))?;
        datatype::unpack_window(&Bytes(memory), *addr, *count, datatype, done, chunk)
            .map_err(MpiError::from)
    })
}

/// Calls `f(packed position, address, chunk)` until the window is done.
fn chunks(
    window: &Window,
    mut f: impl FnMut(u64, GuestAddr, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut chunk = vec![0; window.bytes.min(CHUNK_BYTES) as usize];
    let mut done = 0;
    while done < window.bytes {
        let part = &mut chunk[..(window.bytes - done).min(CHUNK_BYTES) as usize];
        f(done, GuestAddr::new(window.at + done), part)?;
        done += part.len() as u64;
    }
    Ok(())
}
