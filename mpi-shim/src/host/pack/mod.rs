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
use crate::table::host_functions;

host_functions! {
    /// Packs typed data into a buffer. Section 5.2.
    call fn MPI_Pack(inbuf: GuestAddr, incount: i32, datatype: i32, outbuf: GuestAddr, outsize: i32, position: GuestAddr, comm: i32) = pack;
    /// Packs typed data into a buffer. Section 5.2.
    call fn MPI_Pack_c(inbuf: GuestAddr, incount: i64, datatype: i32, outbuf: GuestAddr, outsize: i64, position: GuestAddr, comm: i32) = pack_c;
    /// Unpacks a buffer into typed data. Section 5.2.
    call fn MPI_Unpack(inbuf: GuestAddr, insize: i32, position: GuestAddr, outbuf: GuestAddr, outcount: i32, datatype: i32, comm: i32) = unpack;
    /// Unpacks a buffer into typed data. Section 5.2.
    call fn MPI_Unpack_c(inbuf: GuestAddr, insize: i64, position: GuestAddr, outbuf: GuestAddr, outcount: i64, datatype: i32, comm: i32) = unpack_c;
    /// Room that packed data needs. Section 5.2.
    call fn MPI_Pack_size(incount: i32, datatype: i32, comm: i32, size: GuestAddr) = pack_size;
    /// Room that packed data needs. Section 5.2.
    call fn MPI_Pack_size_c(incount: i64, datatype: i32, comm: i32, size: GuestAddr) = pack_size_c;
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

/// How wide the numbers are that a function takes by address.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Width {
    /// `int` and `MPI_Aint`.
    Word,
    /// `MPI_Count`.
    Count,
}

/// The packed side of a call as the guest gives it.
#[derive(Copy, Clone)]
struct Packed {
    buffer: (&'static str, GuestAddr),
    size: (&'static str, i64),
    position: GuestAddr,
    width: Width,
}

impl Packed {
    /// Finds the `bytes` from the position on, and moves the position behind them.
    fn window<T: MpiView>(&self, call: &mut Call<'_, T>, bytes: u64) -> Result<Window> {
        let start = match self.width {
            Width::Word => call.read_i32s("position", self.position, 1)?[0].into(),
            Width::Count => call.read_i64s("position", self.position, 1)?[0],
        };
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
        put(call, ("position", self.position), self.width, end.cast_signed())
    }
}

/// Writes a number of the width that the function's arguments have.
fn put<T: MpiView>(
    call: &mut Call<'_, T>,
    (name, addr): (&'static str, GuestAddr),
    width: Width,
    value: i64,
) -> Result<()> {
    match width {
        Width::Count => call.write(name, addr, &value.to_le_bytes()),
        Width::Word => {
            let word = i32::try_from(value).map_err(|_| {
                let detail = format!("{value} bytes exceed the 2^31 of an int");
                MpiError::argument(ErrorClass::Count, name, detail)
            })?;
            call.write_i32(name, addr, word)
        }
    }
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
    let size = ("outsize", outsize.into());
    let to = Packed { buffer: ("outbuf", outbuf), size, position, width: Width::Word };
    pack_into(call, (inbuf, incount.into(), datatype), to, comm)
}

async fn pack_c<T: MpiView>(
    call: &mut Call<'_, T>,
    inbuf: GuestAddr,
    incount: i64,
    datatype: i32,
    outbuf: GuestAddr,
    outsize: i64,
    position: GuestAddr,
    comm: i32,
) -> Result<()> {
    let size = ("outsize", outsize);
    let to = Packed { buffer: ("outbuf", outbuf), size, position, width: Width::Count };
    pack_into(call, (inbuf, incount, datatype), to, comm)
}

fn pack_into<T: MpiView>(
    call: &mut Call<'_, T>,
    from: (GuestAddr, i64, i32),
    to: Packed,
    comm: i32,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let typed = typed(call.mpi(), "incount", from)?;
    let window = to.window(call, typed.bytes()?)?;
    copy_out(call.mpi(), &typed, &window)?;
    to.advance(call, &window)
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
    let size = ("insize", insize.into());
    let from = Packed { buffer: ("inbuf", inbuf), size, position, width: Width::Word };
    unpack_from(call, from, (outbuf, outcount.into(), datatype), comm)
}

async fn unpack_c<T: MpiView>(
    call: &mut Call<'_, T>,
    inbuf: GuestAddr,
    insize: i64,
    position: GuestAddr,
    outbuf: GuestAddr,
    outcount: i64,
    datatype: i32,
    comm: i32,
) -> Result<()> {
    let size = ("insize", insize);
    let from = Packed { buffer: ("inbuf", inbuf), size, position, width: Width::Count };
    unpack_from(call, from, (outbuf, outcount, datatype), comm)
}

fn unpack_from<T: MpiView>(
    call: &mut Call<'_, T>,
    from: Packed,
    to: (GuestAddr, i64, i32),
    comm: i32,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let typed = typed(call.mpi(), "outcount", to)?;
    let window = from.window(call, typed.bytes()?)?;
    copy_in(call.mpi(), &typed, &window)?;
    from.advance(call, &window)
}

async fn pack_size<T: MpiView>(
    call: &mut Call<'_, T>,
    incount: i32,
    datatype: i32,
    comm: i32,
    size: GuestAddr,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let buffer = typed(call.mpi(), "incount", (GuestAddr::new(0), incount.into(), datatype))?;
    let bytes = buffer.bytes()?.cast_signed();
    put(call, ("size", size), Width::Word, bytes)
}

async fn pack_size_c<T: MpiView>(
    call: &mut Call<'_, T>,
    incount: i64,
    datatype: i32,
    comm: i32,
    size: GuestAddr,
) -> Result<()> {
    call.mpi().comm(comm)?;
    let buffer = typed(call.mpi(), "incount", (GuestAddr::new(0), incount, datatype))?;
    let bytes = buffer.bytes()?.cast_signed();
    put(call, ("size", size), Width::Count, bytes)
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
