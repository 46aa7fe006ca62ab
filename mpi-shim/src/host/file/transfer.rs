//! Moving typed data between a rank's memory and the bytes of a view.

use faasm_mpi_engine::datatype::{
    external_bytes, pack_external, pack_window, unpack_external, unpack_window,
};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestMemory;

use crate::ctx::Bytes;
use crate::file::{FileEntry, Representation};
use crate::request::Buffer;

/// Bytes moved at a time.
const CHUNK_BYTES: u64 = 4 << 20;

/// Bytes that the buffer's data takes in a file, if no function of the program has to be asked for that.
pub(super) fn file_bytes(representation: &Representation, buffer: &Buffer) -> Result<u64> {
    match representation {
        Representation::Native(_) | Representation::Converted(_) => buffer.bytes(),
        Representation::External32 => {
            external_bytes(&buffer.datatype, buffer.count).ok_or_else(too_far)
        }
    }
}

fn too_far() -> MpiError {
    MpiError::argument(ErrorClass::Arg, "count", "the data would lie beyond any file")
}

/// Writes `bytes` of the view's stream from `position` on; gives the bytes of memory written.
pub(super) fn write(
    memory: &GuestMemory,
    entry: &FileEntry,
    position: u64,
    buffer: &Buffer,
    bytes: u64,
) -> Result<u64> {
    let Buffer { addr, count, datatype } = buffer;
    if entry.representation == Representation::External32 {
        let mut data = Vec::new();
        pack_external(&Bytes(memory), *addr, *count, datatype, &mut data)?;
        write_stream(entry, position, &data)?;
        return buffer.bytes();
    }
    let mut chunk = vec![0; bytes.min(CHUNK_BYTES) as usize];
    let mut done = 0;
    while done < bytes {
        let len = (bytes - done).min(CHUNK_BYTES) as usize;
        pack_window(&Bytes(memory), *addr, *count, datatype, done, &mut chunk[..len])?;
        write_stream(entry, position.checked_add(done).ok_or_else(too_far)?, &chunk[..len])?;
        done += len as u64;
    }
    Ok(done)
}

/// Writes bytes of the view's stream from `position` on.
pub(super) fn write_stream(entry: &FileEntry, position: u64, data: &[u8]) -> Result<()> {
    let (mut rest, mut result) = (data, Ok(()));
    let visited = entry.view.runs(position, data.len() as u64, &mut |at, len| {
        let (run, behind) = rest.split_at(len as usize);
        rest = behind;
        result = entry.file.write_at(at, run);
        result.is_ok()
    });
    visited.ok_or_else(too_far).and(result)
}

/// Reads up to `bytes` of the view's stream from `position` on; gives the bytes of memory filled, fewer
/// at the end of the file.
pub(super) fn read(
    memory: &GuestMemory,
    entry: &FileEntry,
    position: u64,
    buffer: &Buffer,
    bytes: u64,
) -> Result<u64> {
    let Buffer { addr, count, datatype } = buffer;
    // A count far beyond the end of the file must not become an allocation.
    let there = entry.view.bytes_in(entry.file.size()?).saturating_sub(position);
    let bytes = bytes.min(there);
    if entry.representation == Representation::External32 {
        let one = external_bytes(datatype, 1).filter(|one| *one > 0);
        let Some(one) = one else { return Ok(0) };
        let mut data = vec![0; usize::try_from(bytes).map_err(|_| too_far())?];
        let elements = read_stream(entry, position, &mut data)? / one;
        let data = &data[..(elements * one) as usize];
        let elements = elements.cast_signed().min(*count);
        unpack_external(&Bytes(memory), *addr, elements, datatype, data)?;
        return Ok(datatype.bytes(elements).unwrap_or(0));
    }
    let mut chunk = vec![0; bytes.min(CHUNK_BYTES) as usize];
    let mut done = 0;
    while done < bytes {
        let len = (bytes - done).min(CHUNK_BYTES) as usize;
        let from = position.checked_add(done).ok_or_else(too_far)?;
        let got = read_stream(entry, from, &mut chunk[..len])?;
        let data = &chunk[..got as usize];
        unpack_window(&Bytes(memory), *addr, *count, datatype, done, data)?;
        done += got;
        if got < len as u64 {
            break;
        }
    }
    Ok(done)
}

/// Reads bytes of the view's stream from `position` on; gives how many there are.
pub(super) fn read_stream(entry: &FileEntry, position: u64, out: &mut [u8]) -> Result<u64> {
    let (mut done, mut result) = (0, Ok(()));
    let visited = entry.view.runs(position, out.len() as u64, &mut |at, len| {
        let run = &mut out[done..done + len as usize];
        match entry.file.read_at(at, run) {
            Ok(got) => {
                done += got;
                got == len as usize
            }
            Err(error) => {
                result = Err(error);
                false
            }
        }
    });
    visited.ok_or_else(too_far).and(result)?;
    Ok(done as u64)
}
