//! Moving typed data between one guest memory and packed bytes.

use alloc::vec::Vec;
use core::fmt;

use super::Datatype;
use super::layout::Visit;
use crate::error::{ErrorClass, MpiError};

/// One linear memory; every access is bounds-checked by the implementor.
pub trait Memory {
    /// Copies bytes out of the memory.
    ///
    /// # Errors
    /// [`Fault`] when the range is not inside the memory; then `out` is unspecified.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Fault>;

    /// Copies bytes into the memory.
    ///
    /// # Errors
    /// [`Fault`] when the range is not inside the memory; then nothing is written.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault>;

    /// Copies equal runs out of the memory, from `addr` on and `stride` bytes apart, until `out` is full, whose
    /// length is a multiple of `run`.
    ///
    /// # Errors
    /// [`Fault`] when one is not inside the memory; then `out` is unspecified.
    fn read_row(&self, addr: u64, run: usize, stride: u64, out: &mut [u8]) -> Result<(), Fault> {
        let mut runs = (addr..).step_by(stride as usize).zip(out.chunks_exact_mut(run));
        runs.try_for_each(|(addr, out)| self.read(addr, out))
    }

    /// Copies equal runs into the memory, from `addr` on and `stride` bytes apart.
    ///
    /// # Errors
    /// [`Fault`] when one is not inside the memory; those before it may be written.
    fn write_row(&self, addr: u64, run: usize, stride: u64, data: &[u8]) -> Result<(), Fault> {
        let mut runs = (addr..).step_by(stride as usize).zip(data.chunks_exact(run));
        runs.try_for_each(|(addr, data)| self.write(addr, data))
    }
}

/// An access outside a guest's memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// First byte of the access.
    pub addr: u64,
    /// Bytes accessed.
    pub len: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at address {:#x} are outside the memory", self.len, self.addr)
    }
}

impl core::error::Error for Fault {}

impl From<Fault> for MpiError {
    fn from(fault: Fault) -> Self {
        use alloc::string::ToString;
        Self::new(ErrorClass::Buffer, fault.to_string())
    }
}

/// Appends the packed form of `count` elements at `addr` to `out`.
///
/// # Errors
/// [`Fault`] when an element lies outside the memory; then `out` keeps its length.
pub fn pack<M: Memory + ?Sized>(
    memory: &M,
    addr: u64,
    count: i64,
    datatype: &Datatype,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let total = total_bytes(addr, count, datatype)?;
    if total > PACKED_BYTES_MAX {
        return Err(Fault { addr, len: total });
    }
    // A wrong count is a fault before it is an allocation.
    probe(memory, addr, count, datatype)?;
    let start = out.len();
    out.resize(start + total as usize, 0);
    let packed = pack_window(memory, addr, count, datatype, 0, &mut out[start..]);
    if packed.is_err() {
        out.truncate(start);
    }
    packed
}

/// Fills at most `count` elements at `addr` from packed bytes and returns the bytes consumed:
/// fewer than `packed` when they do not all fit, fewer than the elements hold when `packed` ends
/// earlier.
///
/// # Errors
/// [`Fault`] when an element lies outside the memory; elements before it may be written.
pub fn unpack<M: Memory + ?Sized>(
    memory: &M,
    addr: u64,
    count: i64,
    datatype: &Datatype,
    packed: &[u8],
) -> Result<u64, Fault> {
    let total = total_bytes(addr, count, datatype)?;
    let len = (packed.len() as u64).min(total);
    unpack_window(memory, addr, count, datatype, 0, &packed[..len as usize])?;
    Ok(len)
}

/// Reads the packed bytes from position `start` on, as many as `out` holds. The window must lie
/// inside the `count` elements.
///
/// # Errors
/// [`Fault`] when an element lies outside the memory.
pub fn pack_window<M: Memory + ?Sized>(
    memory: &M,
    addr: u64,
    count: i64,
    datatype: &Datatype,
    start: u64,
    out: &mut [u8],
) -> Result<(), Fault> {
    let window = start..start + out.len() as u64;
    datatype.visit_rows(addr, count, window, &mut Packing { memory, addr, out })
}

/// Copies out of a memory; `out` is what is left to be filled.
struct Packing<'a, M: ?Sized> {
    memory: &'a M,
    addr: u64,
    out: &'a mut [u8],
}

impl<M: Memory + ?Sized> Visit<Fault> for Packing<'_, M> {
    fn run(&mut self, offset: i64, len: u64) -> Result<(), Fault> {
        let (out, rest) = core::mem::take(&mut self.out).split_at_mut(len as usize);
        self.out = rest;
        self.memory.read(address(self.addr, offset), out)
    }

    fn row(&mut self, offset: i64, len: u64, stride: i64, count: u64) -> Result<(), Fault> {
        let Some((at, step)) = row_start(self.addr, offset, stride) else {
            return run_by_run(self, offset, len, stride, count);
        };
        let (out, rest) = core::mem::take(&mut self.out).split_at_mut((len * count) as usize);
        self.out = rest;
        self.memory.read_row(at, len as usize, step, out)
    }
}

/// Address and distance of runs that follow each other upwards without leaving the address space's begin.
fn row_start(addr: u64, offset: i64, stride: i64) -> Option<(u64, u64)> {
    let at = (addr as i64).checked_add(offset).and_then(|at| u64::try_from(at).ok())?;
    Some((at, u64::try_from(stride).ok().filter(|stride| *stride > 0)?))
}

fn run_by_run(
    visit: &mut impl Visit<Fault>,
    offset: i64,
    len: u64,
    stride: i64,
    count: u64,
) -> Result<(), Fault> {
    let mut at = offset;
    for _ in 0..count {
        visit.run(at, len)?;
        at = at.wrapping_add(stride);
    }
    Ok(())
}

/// Writes packed bytes that begin at position `start`. The window must lie inside the `count`
/// elements.
///
/// # Errors
/// [`Fault`] when an element lies outside the memory; bytes before it may be written.
pub fn unpack_window<M: Memory + ?Sized>(
    memory: &M,
    addr: u64,
    count: i64,
    datatype: &Datatype,
    start: u64,
    data: &[u8],
) -> Result<(), Fault> {
    let window = start..start + data.len() as u64;
    datatype.visit_rows(addr, count, window, &mut Unpacking { memory, addr, data })
}

/// Copies into a memory; `data` is what is left.
struct Unpacking<'a, M: ?Sized> {
    memory: &'a M,
    addr: u64,
    data: &'a [u8],
}

impl<M: Memory + ?Sized> Visit<Fault> for Unpacking<'_, M> {
    fn run(&mut self, offset: i64, len: u64) -> Result<(), Fault> {
        let (data, rest) = self.data.split_at(len as usize);
        self.data = rest;
        self.memory.write(address(self.addr, offset), data)
    }

    fn row(&mut self, offset: i64, len: u64, stride: i64, count: u64) -> Result<(), Fault> {
        let Some((at, step)) = row_start(self.addr, offset, stride) else {
            return run_by_run(self, offset, len, stride, count);
        };
        let (data, rest) = self.data.split_at((len * count) as usize);
        self.data = rest;
        self.memory.write_row(at, len as usize, step, data)
    }
}

/// Most bytes one `pack` produces: more than a wasm32 guest holds, unless its datatype reads the
/// same bytes again and again.
const PACKED_BYTES_MAX: u64 = 1 << 32;

/// Address of a byte `offset` bytes away from `base` in a wasm32 guest, whose `MPI_Aint` is signed:
/// an absolute address above 2 GiB used as a displacement from `MPI_BOTTOM` arrives negative.
/// A sum above 4 GiB is kept, so that the memory reports it instead of wrapping to valid bytes.
pub(crate) const fn address(base: u64, offset: i64) -> u64 {
    let sum = (base as i64).wrapping_add(offset);
    if sum < 0 { sum.wrapping_add(1 << 32) as u64 } else { sum as u64 }
}

/// Data bytes of `count` elements, or the fault of a buffer no memory can hold.
pub(crate) fn total_bytes(addr: u64, count: i64, datatype: &Datatype) -> Result<u64, Fault> {
    let too_large = Fault { addr, len: u64::MAX };
    datatype.bytes(count).filter(|&bytes| bytes <= i64::MAX as u64).ok_or(too_large)
}

/// Touches both ends of the buffer: all elements lie between them.
///
/// # Errors
/// [`Fault`] when one is not inside the memory.
pub fn probe<M: Memory + ?Sized>(
    memory: &M,
    addr: u64,
    count: i64,
    datatype: &Datatype,
) -> Result<(), Fault> {
    let Some((low, high)) = datatype.span(count) else { return Ok(()) };
    let mut byte = [0];
    memory.read(address(addr, low), &mut byte)?;
    memory.read(address(addr, high.saturating_sub(1)), &mut byte)
}
