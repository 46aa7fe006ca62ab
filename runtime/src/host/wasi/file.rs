//! Reading, writing and other operations on open files.

use std::os::fd::AsFd;

use faasm_vm::GuestMemory;
use rustix::fs::{Advice, FallocateFlags};
use rustix::io::retry_on_intr;

use super::blocking::{self, before_write};
use super::ctx::{WasiCtx, WasiHooks, WasiWait};
use super::errno::Errno;
use super::flags::FdFlags;
use super::iovec::{CHUNK_BYTES, Iovecs};
use super::output::Stream;
use super::ready::{self, Interest};
use super::rights::Rights;
use super::stream::StdinReady;
use super::table::{Fd, Object, OpenFile};

/// Bytes appended by one system call, which the kernel keeps together among several writers.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// `fd_read`.
pub(crate) async fn read(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    buffers: Iovecs,
) -> Result<u32, Errno> {
    let total = buffers.check(memory)?;
    let is_directory = matches!(ctx.files.get(fd)?.object, Object::Directory(_));
    if is_directory {
        return Err(Errno::Isdir);
    }
    let descriptor = ctx.files.get_mut(fd, Rights::FD_READ)?;
    let wait = !descriptor.flags.has(FdFlags::NONBLOCK);
    match &mut descriptor.object {
        Object::Stdin if total == 0 => Ok(0),
        Object::Stdin => read_stdin(ctx, memory, buffers, wait).await,
        Object::File(file) if file.is_seekable() => {
            let read = read_at(file, memory, buffers, file.offset, &*ctx.hooks)?;
            file.offset += u64::from(read);
            Ok(read)
        }
        Object::File(_) if total == 0 => Ok(0),
        Object::File(_) => {
            until_ready(ctx, fd, false, wait).await?;
            let file = ctx.files.file_mut(fd, Rights::FD_READ)?;
            buffers.read_in(memory, |out| {
                Ok(retry_on_intr(|| rustix::io::read(&file.file, &mut *out))?)
            })
        }
        Object::Stdout | Object::Stderr | Object::Directory(_) => Err(Errno::Badf),
    }
}

async fn read_stdin(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    buffers: Iovecs,
    wait: bool,
) -> Result<u32, Errno> {
    loop {
        match ctx.stdin.ready()? {
            StdinReady::Bytes(_) => break,
            StdinReady::End => return Ok(0),
            StdinReady::Empty if !wait => return Err(Errno::Again),
            StdinReady::Empty => {
                let _waiting = ctx.waiting(WasiWait::Stdin);
                ctx.stdin.readable().await;
            }
        }
    }
    buffers.read_in(memory, |out| Ok(ctx.stdin.take(out)))
}

/// Waits until the stream behind `fd` can be read or written; without `wait` fails with `AGAIN`.
async fn until_ready(ctx: &WasiCtx, fd: Fd, write: bool, wait: bool) -> Result<(), Errno> {
    loop {
        let Object::File(file) = &ctx.files.get(fd)?.object else { return Err(Errno::Badf) };
        if ready::is_ready(&file.file, write)? {
            return Ok(());
        }
        if !wait {
            return Err(Errno::Again);
        }
        let fd = file.file.as_fd().try_clone_to_owned()?;
        let _waiting = ctx.waiting(WasiWait::Descriptor);
        ready::any_ready(vec![Interest { fd, write }]).await?;
    }
}

/// `fd_pread`.
pub(crate) fn pread(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    buffers: Iovecs,
    offset: u64,
) -> Result<u32, Errno> {
    let hooks = ctx.hooks.clone();
    let file = positioned(ctx, fd, Rights::FD_READ.or(Rights::FD_SEEK), offset)?;
    read_at(file, memory, buffers, offset, &*hooks)
}

/// The file `fd`, for access at `offset`.
fn positioned(
    ctx: &mut WasiCtx,
    fd: Fd,
    rights: Rights,
    offset: u64,
) -> Result<&mut OpenFile, Errno> {
    let file = ctx.files.file_mut(fd, rights)?;
    if !file.is_seekable() {
        return Err(Errno::Spipe);
    }
    i64::try_from(offset).map_err(|_| Errno::Inval)?;
    Ok(file)
}

fn read_at(
    file: &OpenFile,
    memory: &GuestMemory,
    buffers: Iovecs,
    mut offset: u64,
    hooks: &dyn WasiHooks,
) -> Result<u32, Errno> {
    buffers.read_in(memory, |out| {
        let read = blocking::read_at(&file.file, out, offset, hooks)?;
        offset += read as u64;
        Ok(read)
    })
}

/// `fd_write`.
pub(crate) async fn write(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    buffers: Iovecs,
) -> Result<u32, Errno> {
    let total = buffers.check(memory)?;
    let descriptor = ctx.files.get_mut(fd, Rights::FD_WRITE)?;
    let flags = descriptor.flags;
    match &mut descriptor.object {
        Object::Stdout => write_stream(ctx, memory, Stream::Stdout, buffers),
        Object::Stderr => write_stream(ctx, memory, Stream::Stderr, buffers),
        Object::File(file) if file.is_seekable() => {
            before_write(total, &*ctx.hooks);
            let written = if flags.has(FdFlags::APPEND) {
                append(file, memory, buffers)?
            } else {
                let written = write_at(file, memory, buffers, file.offset)?;
                file.offset += u64::from(written);
                written
            };
            synchronise(file, flags, &*ctx.hooks)?;
            Ok(written)
        }
        Object::File(_) if total == 0 => Ok(0),
        Object::File(_) => write_pipe(ctx, memory, fd, buffers, flags).await,
        Object::Stdin | Object::Directory(_) => Err(Errno::Badf),
    }
}

fn write_stream(
    ctx: &WasiCtx,
    memory: &GuestMemory,
    stream: Stream,
    buffers: Iovecs,
) -> Result<u32, Errno> {
    buffers.write_out(memory, CHUNK_BYTES, |bytes| {
        ctx.output.write(ctx.rank, stream, bytes);
        Ok(bytes.len())
    })
}

async fn write_pipe(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    buffers: Iovecs,
    flags: FdFlags,
) -> Result<u32, Errno> {
    until_ready(ctx, fd, true, !flags.has(FdFlags::NONBLOCK)).await?;
    let file = ctx.files.file_mut(fd, Rights::FD_WRITE)?;
    buffers.write_out(memory, CHUNK_BYTES, |bytes| {
        Ok(retry_on_intr(|| rustix::io::write(&file.file, bytes))?)
    })
}

fn write_at(
    file: &OpenFile,
    memory: &GuestMemory,
    buffers: Iovecs,
    mut offset: u64,
) -> Result<u32, Errno> {
    buffers.write_out(memory, CHUNK_BYTES, |bytes| {
        let written = retry_on_intr(|| rustix::io::pwrite(&file.file, bytes, offset))?;
        offset += written as u64;
        Ok(written)
    })
}

/// Writes at the end, wherever other ranks have moved it, and stands there afterwards.
fn append(file: &mut OpenFile, memory: &GuestMemory, buffers: Iovecs) -> Result<u32, Errno> {
    let written = buffers.write_out(memory, APPEND_BYTES_MAX, |bytes| {
        Ok(retry_on_intr(|| rustix::io::write(&file.file, bytes))?)
    })?;
    file.offset = rustix::fs::tell(&file.file)?;
    Ok(written)
}

/// Does after a write what `O_DSYNC` and `O_SYNC` ask for; Linux cannot switch them on later.
fn synchronise(file: &OpenFile, flags: FdFlags, hooks: &dyn WasiHooks) -> Result<(), Errno> {
    if flags.has_any(FdFlags::SYNC.or(FdFlags::RSYNC)) {
        hooks.blocks();
        file.file.sync_all()?;
    } else if flags.has(FdFlags::DSYNC) {
        hooks.blocks();
        file.file.sync_data()?;
    }
    Ok(())
}

/// `fd_pwrite`.
pub(crate) fn pwrite(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    buffers: Iovecs,
    offset: u64,
) -> Result<u32, Errno> {
    let (total, hooks) = (buffers.check(memory)?, ctx.hooks.clone());
    let file = positioned(ctx, fd, Rights::FD_WRITE.or(Rights::FD_SEEK), offset)?;
    before_write(total, &*hooks);
    let written = write_at(file, memory, buffers, offset)?;
    let flags = ctx.files.get(fd)?.flags;
    synchronise(ctx.files.file_mut(fd, Rights::FD_WRITE)?, flags, &*hooks)?;
    Ok(written)
}

/// `fd_seek`. A seek that stays where it is needs only the right to tell.
pub(crate) fn seek(ctx: &mut WasiCtx, fd: Fd, offset: i64, whence: u32) -> Result<u64, Errno> {
    let tell_only = offset == 0 && whence == 1;
    let rights = if tell_only { Rights::FD_TELL } else { Rights::FD_SEEK };
    let file = ctx.files.file_mut(fd, rights)?;
    if !file.is_seekable() {
        return Err(Errno::Spipe);
    }
    let base = match whence {
        0 => 0,
        1 => file.offset,
        2 => file.file.metadata()?.len(),
        _ => return Err(Errno::Inval),
    };
    let target = base.checked_add_signed(offset).ok_or(Errno::Inval)?;
    i64::try_from(target).map_err(|_| Errno::Overflow)?;
    file.offset = target;
    Ok(target)
}

/// `fd_tell`.
pub(crate) fn tell(ctx: &mut WasiCtx, fd: Fd) -> Result<u64, Errno> {
    seek(ctx, fd, 0, 1)
}

/// `fd_sync`, and `fd_datasync` with `data_only`.
pub(crate) fn sync(ctx: &mut WasiCtx, fd: Fd, data_only: bool) -> Result<(), Errno> {
    let rights = if data_only { Rights::FD_DATASYNC } else { Rights::FD_SYNC };
    let hooks = ctx.hooks.clone();
    let object = &ctx.files.get_mut(fd, rights)?.object;
    if matches!(object, Object::File(_) | Object::Directory(_)) {
        hooks.blocks();
    }
    match object {
        Object::File(file) if data_only => file.file.sync_data()?,
        Object::File(file) => file.file.sync_all()?,
        Object::Directory(directory) => rustix::fs::fsync(super::dir::readable(&directory.dir)?)?,
        // As for a pipe: what was written is out already.
        Object::Stdin | Object::Stdout | Object::Stderr => return Err(Errno::Inval),
    }
    Ok(())
}

/// `fd_advise`.
pub(crate) fn advise(
    ctx: &mut WasiCtx,
    fd: Fd,
    offset: u64,
    len: u64,
    advice: u32,
) -> Result<(), Errno> {
    let advice = match advice {
        0 => Advice::Normal,
        1 => Advice::Sequential,
        2 => Advice::Random,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return Err(Errno::Inval),
    };
    i64::try_from(offset).and(i64::try_from(len)).map_err(|_| Errno::Inval)?;
    match &ctx.files.get_mut(fd, Rights::FD_ADVISE)?.object {
        Object::File(file) => {
            Ok(rustix::fs::fadvise(&file.file, offset, std::num::NonZero::new(len), advice)?)
        }
        // Advice on a directory is taken and has no effect.
        Object::Directory(_) => Ok(()),
        Object::Stdin | Object::Stdout | Object::Stderr => Err(Errno::Spipe),
    }
}

/// `fd_allocate`.
pub(crate) fn allocate(ctx: &mut WasiCtx, fd: Fd, offset: u64, len: u64) -> Result<(), Errno> {
    if len == 0 || offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
        return Err(Errno::Inval);
    }
    let file = ctx.files.file_mut(fd, Rights::FD_ALLOCATE)?;
    let (host, flags) = (&file.file, FallocateFlags::empty());
    Ok(retry_on_intr(|| rustix::fs::fallocate(host, flags, offset, len))?)
}

/// `fd_filestat_set_size`.
pub(crate) fn set_size(ctx: &mut WasiCtx, fd: Fd, size_bytes: u64) -> Result<(), Errno> {
    i64::try_from(size_bytes).map_err(|_| Errno::Inval)?;
    let file = ctx.files.file_mut(fd, Rights::FD_FILESTAT_SET_SIZE)?;
    Ok(file.file.set_len(size_bytes)?)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
