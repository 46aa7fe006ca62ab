//! Packing data into plain bytes and back (MPI-5.0 section 5.2).
//!
//! The packed form is the data without gaps, in the order of the type map, which is also how a
//! message travels: packed data may be received as typed data and the other way round.

pub(super) mod external;

use faasm_mpi_engine::datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::call::{Call, MpiView};
use crate::ctx::{Bytes, MpiCtx, fault};
use crate::port::MpiPort;
use crate::request::Buffer;
use crate::table::{Count, host_functions};

host_functions! {
    /// Packs typed data into a buffer. Section 5.2.
    call fn MPI_Pack or MPI_Pack_c(inbuf: GuestAddr, incount: Count, datatype: i32, outbuf: GuestAddr, outsize: Count, position: GuestAddr, comm: i32) = pack;
    /// Unpacks a buffer into typed data. Section 5.2.
    call fn MPI_Unpack or MPI_Unpack_c(inbuf: GuestAddr, insize: Count, position: GuestAddr, outbuf: GuestAddr, outcount: Count, datatype: i32, comm: i32) = unpack;
    /// Room that packed data needs. Section 5.2.
    call fn MPI_Pack_size or MPI_Pack_size_c(incount: Count, datatype: i32, comm: i32, size: GuestAddr) = pack_size;
}

/// Bytes moved at a time.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The packed bytes that a call works on.
struct Window {
    /// Where they begin in the guest's memory.
    at: u64,
    /// How many there are.
    bytes: u64,
}

/// The packed side of a call as the guest gives it.
#[derive(Copy, Clone)]
struct Packed {
    buffer: (&'static str, GuestAddr),
    size: (&'static str, i64),
    position: GuestAddr,
}

impl Packed {
    /// Finds the `bytes` from the position on, and moves the position behind them.
    fn window<T: MpiView>(&self, call: &mut Call<'_, T>, bytes: u64) -> Result<Window> {
        let start = call.read_numbers("position", self.position, 1)?[0];
        let ((size_name, size), (buffer_name, buffer)) = (self.size, self.buffer);
        if size < 0 {
            let detail = format!("{size} is negative");
            return Err(MpiError::argument(ErrorClass::Arg, size_name, detail));
        }
        if !(0..=size).contains(&start) {
            let detail = format!("{start} is not inside the buffer of {size} bytes");
            return Err(MpiError::argument(ErrorClass::Arg, "position", detail));
        }
        if bytes > (size - start) as u64 {
            let detail = format!(
                "{bytes} bytes from position {start} on do not fit a buffer of {size} bytes"
            );
            return Err(MpiError::argument(ErrorClass::Truncate, size_name, detail));
        }
        if buffer.is_null() && bytes > 0 {
            let detail = "it is a null pointer";
            return Err(MpiError::argument(ErrorClass::Buffer, buffer_name, detail));
        }
        let at = buffer.get().checked_add(start as u64).ok_or_else(|| {
            MpiError::argument(ErrorClass::Buffer, buffer_name, "it leaves the address space")
        })?;
        Ok(Window { at, bytes })
    }

    /// Moves the position behind the `bytes` that were packed or unpacked.
    fn advance<T: MpiView>(&self, call: &mut Call<'_, T>, window: &Window) -> Result<()> {
        let end = window.at - self.buffer.1.get() + window.bytes;
        put(call, ("position", self.position), end.cast_signed())
    }
}

/// Writes a number as wide as the function has it.
fn put<T: MpiView>(
    call: &mut Call<'_, T>,
    (name, addr): (&'static str, GuestAddr),
    value: i64,
) -> Result<()> {
    if !call.large && i32::try_from(value).is_err() {
        let detail = format!("{value} bytes exceed the 2^31 of an int");
        return Err(MpiError::argument(ErrorClass::Count, name, detail));
    }
    call.write_number(name, addr, value)
}

async fn pack<T: MpiView>(
    call: &mut Call<'_, T>,
    inbuf: GuestAddr,
    incount: i64,
    datatype: i32,
    outbuf: GuestAddr,
    outsize: i64,
    position: GuestAddr,
    comm: i32,
) -> Result<()> {
    let to = Packed { buffer: ("outbuf", outbuf), size: ("outsize", outsize), position };
    call.mpi().comm(comm)?;
    let typed = typed(call.mpi(), "incount", (inbuf, incount, datatype))?;
    let window = to.window(call, typed.bytes()?)?;
    copy_out(call.mpi(), &typed, &window)?;
    to.advance(call, &window)
}

async fn unpack<T: MpiView>(
    call: &mut Call<'_, T>,
    inbuf: GuestAddr,
    insize: i64,
    position: GuestAddr,
    outbuf: GuestAddr,
    outcount: i64,
    datatype: i32,
    comm: i32,
) -> Result<()> {
    let from = Packed { buffer: ("inbuf", inbuf), size: ("insize", insize), position };
    call.mpi().comm(comm)?;
    let typed = typed(call.mpi(), "outcount", (outbuf, outcount, datatype))?;
    let window = from.window(call, typed.bytes()?)?;
    copy_in(call.mpi(), &typed, &window)?;
    from.advance(call, &window)
}

async fn pack_size<T: MpiView>(
    call: &mut Call<'_, T>,
    incount: i64,
    datatype: i32,
    comm: i32,
    size: GuestAddr,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let buffer = typed(call.mpi(), "incount", (GuestAddr::new(0), incount, datatype))?;
    let bytes = buffer.bytes()?.cast_signed();
    put(call, ("size", size), bytes)
}

/// The typed side of the call.
fn typed<P: MpiPort>(
    mpi: &MpiCtx<P>,
    name: &'static str,
    (buf, count, datatype): (GuestAddr, i64, i32),
) -> Result<Buffer> {
    if count < 0 {
        let detail = format!("{count} is negative");
        return Err(MpiError::argument(ErrorClass::Count, name, detail));
    }
    Ok(Buffer { addr: buf.get(), count, datatype: mpi.datatype(datatype)? })
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
