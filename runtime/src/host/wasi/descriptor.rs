//! What a descriptor is, and changing that: `fd_fdstat_*`, `fd_filestat_*`, `fd_prestat_*`,
//! `fd_close` and `fd_renumber`.

use cap_fs_ext::SystemTimeSpec;
use cap_std::time::SystemTime;
use faasm_vm::{GuestAddr, GuestMemory};
use rustix::fs::{OFlags as HostFlags, Timespec, Timestamps};

use super::ctx::WasiCtx;
use super::errno::Errno;
use super::flags::{FdFlags, FstFlags};
use super::rights::Rights;
use super::table::{Fd, Object};
use super::types::{Filestat, Filetype, encode_fdstat, encode_prestat};

/// `fd_close`.
pub(crate) fn close(ctx: &mut WasiCtx, fd: Fd) -> Result<(), Errno> {
    ctx.files.remove(fd).map(drop)
}

/// `fd_renumber`.
pub(crate) fn renumber(ctx: &mut WasiCtx, from: Fd, to: Fd) -> Result<(), Errno> {
    ctx.files.renumber(from, to)
}

/// What `fd` is, for its C library.
fn filetype(ctx: &WasiCtx, fd: Fd) -> Result<Filetype, Errno> {
    Ok(match &ctx.files.get(fd)?.object {
        // Preview1 has no number for a pipe, which standard input is unless it is a terminal.
        Object::Stdin if !ctx.stdin.is_terminal() => Filetype::Unknown,
        // Output looks like a terminal, as under mpirun, so that C libraries flush every line and
        // a program that aborts has shown what it printed.
        Object::Stdin | Object::Stdout | Object::Stderr => Filetype::CharacterDevice,
        Object::File(file) => file.filetype,
        Object::Directory(_) => Filetype::Directory,
    })
}

/// `fd_fdstat_get`.
pub(crate) fn fdstat(ctx: &WasiCtx, fd: Fd) -> Result<[u8; 24], Errno> {
    let descriptor = ctx.files.get(fd)?;
    let (base, inheriting) = (descriptor.rights.raw(), descriptor.inheriting.raw());
    Ok(encode_fdstat(filetype(ctx, fd)?, descriptor.flags, base, inheriting))
}

/// `fd_fdstat_set_flags`.
pub(crate) fn set_flags(ctx: &mut WasiCtx, fd: Fd, flags: u32) -> Result<(), Errno> {
    let flags = FdFlags::from_abi(flags)?;
    let descriptor = ctx.files.get_mut(fd, Rights::FD_FDSTAT_SET_FLAGS)?;
    if let Object::File(file) = &descriptor.object {
        set_append(&file.file, flags)?;
    }
    descriptor.flags = flags;
    Ok(())
}

/// Makes the host append, or not. Waiting is decided here, so the host never waits; the flags that
/// synchronise are honoured after each write.
pub(crate) fn set_append(file: &cap_std::fs::File, flags: FdFlags) -> Result<(), Errno> {
    let append = if flags.has(FdFlags::APPEND) { HostFlags::APPEND } else { HostFlags::empty() };
    Ok(rustix::fs::fcntl_setfl(file, append | HostFlags::NONBLOCK)?)
}

/// `fd_fdstat_set_rights`: rights can only be given up.
pub(crate) fn set_rights(
    ctx: &mut WasiCtx,
    fd: Fd,
    base: u64,
    inheriting: u64,
) -> Result<(), Errno> {
    let descriptor = ctx.files.get_mut(fd, Rights::NONE)?;
    let base = Rights::from_raw(base).ok_or(Errno::Notcapable)?;
    let inheriting = Rights::from_raw(inheriting).ok_or(Errno::Notcapable)?;
    if !descriptor.rights.has(base) || !descriptor.inheriting.has(inheriting) {
        return Err(Errno::Notcapable);
    }
    descriptor.rights = base;
    descriptor.inheriting = inheriting;
    Ok(())
}

/// `fd_filestat_get`.
pub(crate) fn filestat(ctx: &mut WasiCtx, fd: Fd) -> Result<Filestat, Errno> {
    let kind = filetype(ctx, fd)?;
    match &ctx.files.get_mut(fd, Rights::FD_FILESTAT_GET)?.object {
        Object::File(file) => Ok(Filestat::from_metadata(&file.file.metadata()?)),
        Object::Directory(directory) => Ok(Filestat::from_metadata(&directory.dir.dir_metadata()?)),
        Object::Stdin | Object::Stdout | Object::Stderr => Ok(Filestat::stream(kind)),
    }
}

/// Times to give a file; `None` leaves one as it is.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct NewTimes {
    accessed: Option<NewTime>,
    modified: Option<NewTime>,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum NewTime {
    Now,
    SinceEpochNs(u64),
}

impl NewTimes {
    /// Decodes the arguments of `*_filestat_set_times`.
    pub(crate) fn decode(accessed_ns: u64, modified_ns: u64, flags: u32) -> Result<Self, Errno> {
        let flags = FstFlags::from_abi(flags)?;
        let pick = |given, now, ns| match (flags.has(given), flags.has(now)) {
            (true, true) => Err(Errno::Inval),
            (true, false) => Ok(Some(NewTime::SinceEpochNs(ns))),
            (false, true) => Ok(Some(NewTime::Now)),
            (false, false) => Ok(None),
        };
        Ok(Self {
            accessed: pick(FstFlags::ATIM, FstFlags::ATIM_NOW, accessed_ns)?,
            modified: pick(FstFlags::MTIM, FstFlags::MTIM_NOW, modified_ns)?,
        })
    }

    /// Access and modification time as cap-std takes them.
    pub(crate) fn specs(self) -> (Option<SystemTimeSpec>, Option<SystemTimeSpec>) {
        let spec = |time| match time {
            NewTime::Now => SystemTimeSpec::SymbolicNow,
            NewTime::SinceEpochNs(ns) => {
                let since = std::time::Duration::from_nanos(ns);
                SystemTimeSpec::Absolute(SystemTime::from_std(std::time::UNIX_EPOCH + since))
            }
        };
        (self.accessed.map(spec), self.modified.map(spec))
    }

    fn timestamps(self) -> Timestamps {
        let spec = |time: Option<NewTime>| match time {
            None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            Some(NewTime::Now) => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
            Some(NewTime::SinceEpochNs(ns)) => Timespec {
                tv_sec: (ns / 1_000_000_000).cast_signed(),
                tv_nsec: (ns % 1_000_000_000).cast_signed(),
            },
        };
        Timestamps { last_access: spec(self.accessed), last_modification: spec(self.modified) }
    }
}

/// `fd_filestat_set_times`.
pub(crate) fn set_times(ctx: &mut WasiCtx, fd: Fd, times: NewTimes) -> Result<(), Errno> {
    let descriptor = ctx.files.get_mut(fd, Rights::FD_FILESTAT_SET_TIMES)?;
    let place = match &descriptor.object {
        Object::File(file) => file.place.clone(),
        Object::Directory(directory) => directory.place.clone(),
        Object::Stdin | Object::Stdout | Object::Stderr => return Err(Errno::Inval),
    };
    if ctx.is_read_only(&place) {
        return Err(Errno::Rofs);
    }
    let times = times.timestamps();
    match &ctx.files.get(fd)?.object {
        Object::File(file) => rustix::fs::futimens(&file.file, &times)?,
        Object::Directory(directory) => {
            rustix::fs::futimens(super::dir::readable(&directory.dir)?, &times)?;
        }
        Object::Stdin | Object::Stdout | Object::Stderr => {}
    }
    Ok(())
}

/// Guest path of the preopened directory `fd`.
fn preopen_name(ctx: &WasiCtx, fd: Fd) -> Result<&str, Errno> {
    match &ctx.files.get(fd)?.object {
        Object::Directory(directory) if directory.preopened => {
            Ok(&ctx.preopens.get(directory.place.preopen).ok_or(Errno::Badf)?.guest)
        }
        _ => Err(Errno::Badf),
    }
}

/// `fd_prestat_get`.
pub(crate) fn prestat(ctx: &WasiCtx, fd: Fd) -> Result<[u8; 8], Errno> {
    let len = u32::try_from(preopen_name(ctx, fd)?.len()).map_err(|_| Errno::Overflow)?;
    Ok(encode_prestat(len))
}

/// `fd_prestat_dir_name`.
pub(crate) fn prestat_name(
    ctx: &WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    out: GuestAddr,
    out_len: u32,
) -> Result<(), Errno> {
    let name = preopen_name(ctx, fd)?;
    if name.len() > out_len as usize {
        return Err(Errno::Nametoolong);
    }
    Ok(memory.write(out, name.as_bytes())?)
}
