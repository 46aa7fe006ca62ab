//! Scatter and gather lists of guest buffers.
//!
//! Bytes go between guest memory and the system through a buffer that each worker thread keeps, so
//! that small reads and writes allocate nothing and an idle rank holds no buffer.

use std::cell::Cell;

use faasm_vm::{GuestAddr, GuestMemory};

use super::errno::Errno;

/// Buffers one call may name, as `IOV_MAX` of Linux.
const BUFFERS_MAX: u32 = 1024;

/// Bytes one call moves at most, as `MAX_RW_COUNT` of Linux; longer lists are served in part.
const BYTES_MAX: u64 = 0x7fff_f000;

/// Bytes that go through the buffer at once.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of the structure `iovec`.
const IOVEC_BYTES: u64 = 8;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `body` with a buffer of `len` bytes, of any content.
pub(crate) fn with_scratch<R>(len: usize, body: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = SCRATCH.take();
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let result = body(&mut buffer[..len]);
    if buffer.len() > CHUNK_BYTES {
        buffer = Vec::new();
    }
    SCRATCH.set(buffer);
    result
}

/// A list of buffers in guest memory.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Iovecs {
    /// Where the list is.
    pub(crate) addr: GuestAddr,
    /// How many buffers it names.
    pub(crate) count: u32,
}

impl Iovecs {
    /// Checks the list and every buffer; gives the bytes they hold together, at most `BYTES_MAX`.
    pub(crate) fn check(self, memory: &GuestMemory) -> Result<u64, Errno> {
        if self.count > BUFFERS_MAX {
            return Err(Errno::Inval);
        }
        let mut total = 0_u64;
        for index in 0..self.count {
            let (addr, len) = self.buffer(memory, index)?;
            memory.check(addr, u64::from(len))?;
            total += u64::from(len);
        }
        Ok(total.min(BYTES_MAX))
    }

    fn buffer(self, memory: &GuestMemory, index: u32) -> Result<(GuestAddr, u32), Errno> {
        let at = self.addr.checked_add(u64::from(index) * IOVEC_BYTES).ok_or(Errno::Fault)?;
        let bytes: [u8; 8] = memory.read_array(at)?;
        let [a, b, c, d, e, f, g, h] = bytes;
        let addr = u32::from_le_bytes([a, b, c, d]);
        Ok((GuestAddr::from(addr), u32::from_le_bytes([e, f, g, h])))
    }

    /// Gives the buffers' bytes to `put`, in pieces of at most `chunk` bytes, until it takes less
    /// than it was given. Returns the bytes taken; an error only if there are none.
    pub(crate) fn write_out(
        self,
        memory: &GuestMemory,
        chunk: usize,
        mut put: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<u32, Errno> {
        let mut cursor = Cursor::new(self, memory)?;
        let len = cursor.left.min(chunk as u64) as usize;
        with_scratch(len, |buffer| {
            transfer(|| {
                let len = cursor.gather(buffer)?;
                Ok((len, if len == 0 { 0 } else { put(&buffer[..len])? }))
            })
        })
    }

    /// Fills the buffers from `get`, in pieces of at most `CHUNK_BYTES`, until it gives less than
    /// asked for. Returns the bytes given; an error only if there are none.
    pub(crate) fn read_in(
        self,
        memory: &GuestMemory,
        mut get: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<u32, Errno> {
        let mut cursor = Cursor::new(self, memory)?;
        with_scratch(cursor.left.min(CHUNK_BYTES as u64) as usize, |buffer| {
            transfer(|| {
                let asked = cursor.left.min(buffer.len() as u64) as usize;
                let got = if asked == 0 { 0 } else { get(&mut buffer[..asked])? };
                cursor.scatter(&buffer[..got])?;
                Ok((asked, got))
            })
        })
    }
}

/// Repeats `step`, which tells the bytes it tried and the bytes it moved, to the first short move.
fn transfer(mut step: impl FnMut() -> Result<(usize, usize), Errno>) -> Result<u32, Errno> {
    let mut total = 0_usize;
    loop {
        match step() {
            Ok((asked, moved)) => {
                total += moved;
                if asked == 0 || moved < asked {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            // What was moved counts; the error comes again with the guest's next call.
            Err(_) => break,
        }
    }
    u32::try_from(total).map_err(|_| Errno::Overflow)
}

/// A place in a list of buffers.
struct Cursor<'a> {
    memory: &'a GuestMemory,
    list: Iovecs,
    next: u32,
    addr: GuestAddr,
    len: u64,
    /// Bytes to the end of the call.
    left: u64,
}

impl<'a> Cursor<'a> {
    fn new(list: Iovecs, memory: &'a GuestMemory) -> Result<Self, Errno> {
        let left = list.check(memory)?;
        Ok(Self { memory, list, next: 0, addr: GuestAddr::default(), len: 0, left })
    }

    /// The next run of at most `max` bytes in one buffer, of length 0 at the end.
    fn run(&mut self, max: usize) -> Result<(GuestAddr, usize), Errno> {
        let max = self.left.min(max as u64);
        while self.len == 0 && self.next < self.list.count && max > 0 {
            let (addr, len) = self.list.buffer(self.memory, self.next)?;
            (self.addr, self.len) = (addr, u64::from(len));
            self.next += 1;
        }
        let len = self.len.min(max);
        let at = self.addr;
        self.addr = at.checked_add(len).ok_or(Errno::Fault)?;
        self.len -= len;
        self.left -= len;
        Ok((at, len as usize))
    }

    /// Fills `out` from the buffers; gives the bytes filled.
    fn gather(&mut self, out: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < out.len() {
            let (at, len) = self.run(out.len() - done)?;
            if len == 0 {
                break;
            }
            self.memory.read(at, &mut out[done..done + len])?;
            done += len;
        }
        Ok(done)
    }

    /// Puts `data` into the buffers.
    fn scatter(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            let (at, len) = self.run(data.len())?;
            if len == 0 {
                break;
            }
            let (now, later) = data.split_at(len);
            self.memory.write(at, now)?;
            data = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory with the buffers `(addr, len)` listed at address 0.
    fn listed(buffers: &[(u32, u32)]) -> (GuestMemory, Iovecs) {
        let memory = GuestMemory::for_test(256 * 1024);
        for (index, (addr, len)) in buffers.iter().enumerate() {
            let at = index as u64 * IOVEC_BYTES;
            memory.write_u32(GuestAddr::new(at), *addr).expect("in bounds");
            memory.write_u32(GuestAddr::new(at + 4), *len).expect("in bounds");
        }
        (memory, Iovecs { addr: GuestAddr::new(0), count: buffers.len() as u32 })
    }

    #[test]
    fn buffers_are_gathered_into_one_write() {
        let (memory, list) = listed(&[(100, 3), (0, 0), (200, 2)]);
        memory.write(GuestAddr::new(100), b"abc").expect("in bounds");
        memory.write(GuestAddr::new(200), b"de").expect("in bounds");
        let mut writes = Vec::new();
        let written = list.write_out(&memory, CHUNK_BYTES, |bytes| {
            writes.push(bytes.to_vec());
            Ok(bytes.len())
        });
        assert_eq!(written, Ok(5));
        assert_eq!(writes, [b"abcde"]);
    }

    #[test]
    fn long_reads_come_in_chunks_and_stop_when_short() {
        let (memory, list) = listed(&[(1000, 70_000), (100_000, 70_000)]);
        let mut given = 0_usize;
        let read = list.read_in(&memory, |out| {
            let len = out.len().min(100_000 - given);
            out[..len].fill(7);
            given += len;
            Ok(len)
        });
        assert_eq!(read, Ok(100_000));
        assert_eq!(memory.read_u8(GuestAddr::new(129_999)), Ok(7));
        assert_eq!(memory.read_u8(GuestAddr::new(130_000)), Ok(0));
    }

    #[test]
    fn lists_and_buffers_outside_memory_fault() {
        let (memory, list) = listed(&[(100, 3), (u32::MAX, 2)]);
        assert_eq!(list.check(&memory), Err(Errno::Fault));
        let far = Iovecs { addr: GuestAddr::new(256 * 1024 - 4), count: 1 };
        assert_eq!(far.check(&memory), Err(Errno::Fault));
        assert_eq!(Iovecs { count: 1025, ..list }.check(&memory), Err(Errno::Inval));
    }

    #[test]
    fn an_error_after_some_bytes_reports_the_bytes() {
        let (memory, list) = listed(&[(0, 100_000)]);
        let mut calls = 0;
        let written = list.write_out(&memory, CHUNK_BYTES, |bytes| {
            calls += 1;
            if calls == 1 { Ok(bytes.len()) } else { Err(Errno::Nospc) }
        });
        assert_eq!(written, Ok(CHUNK_BYTES as u32));
        let none = list.write_out(&memory, CHUNK_BYTES, |_| Err(Errno::Nospc));
        assert_eq!(none, Err(Errno::Nospc));
    }
}
