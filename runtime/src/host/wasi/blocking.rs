//! Reads and writes of regular files, which may keep the calling thread waiting for a device.
//!
//! A file has no readiness to wait for, so the thread waits in the system call. The owner of the rank is told
//! before ([`WasiHooks::blocks`]), and has other threads run what this one cannot.

use std::io::IoSliceMut;

use cap_std::fs::File;
use rustix::io::{Errno as System, ReadWriteFlags, pread, preadv2, retry_on_intr};

use super::ctx::WasiHooks;
use super::errno::Errno;

/// Bytes of one read or write from which on it is taken to wait where that cannot be known.
pub(crate) const LONG_BYTES: usize = 64 * 1024;
/// Bytes of a call that writes from which on it is taken to wait for older ones to reach the device.
const LONG_WRITE_BYTES: u64 = 256 * 1024;

/// Reads from `offset` on as one call of the system would, and tells `hooks` if a device has to be waited for.
pub(crate) fn read_at(
    file: &File,
    out: &mut [u8],
    offset: u64,
    hooks: &dyn WasiHooks,
) -> Result<usize, Errno> {
    let mut done = 0;
    let is_long = out.len() >= LONG_BYTES;
    while done < out.len() {
        let mut rest = [IoSliceMut::new(&mut out[done..])];
        match preadv2(file, &mut rest, offset + done as u64, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Ok(done),
            Ok(read) => done += read,
            Err(System::INTR) => {}
            // The rest is not in memory, or this kind of file cannot tell.
            Err(error) => {
                if error == System::AGAIN || is_long {
                    hooks.blocks();
                }
                let read = retry_on_intr(|| pread(file, &mut out[done..], offset + done as u64));
                return match read {
                    Ok(read) => Ok(done + read),
                    Err(_) if done > 0 => Ok(done),
                    Err(error) => Err(error.into()),
                };
            }
        }
    }
    Ok(done)
}

/// Called before `bytes` are written: what was written before may have filled the memory for it.
pub(crate) fn before_write(bytes: u64, hooks: &dyn WasiHooks) {
    if bytes >= LONG_WRITE_BYTES {
        hooks.blocks();
    }
}
