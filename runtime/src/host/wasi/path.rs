//! `path_*` except `path_open`: names below an open directory.
//!
//! cap-std resolves each path component by component below its directory, or has the kernel do so:
//! neither `..`, an absolute path nor a symbolic link leads out.

use std::path::Path;

use cap_fs_ext::DirExt;
use cap_std::fs::Dir;
use faasm_vm::{GuestAddr, GuestMemory};

use super::ctx::WasiCtx;
use super::descriptor::NewTimes;
use super::errno::Errno;
use super::flags::LookupFlags;
use super::rights::Rights;
use super::table::{Fd, Place};
use super::types::Filestat;

/// Bytes of a path at most, as `PATH_MAX` of Linux.
const PATH_BYTES_MAX: u32 = 4096;

/// A string in guest memory.
#[derive(Copy, Clone, Debug)]
pub(crate) struct GuestPath {
    pub(crate) addr: GuestAddr,
    pub(crate) len: u32,
}

impl GuestPath {
    /// The path, as UTF-8 without zero bytes.
    pub(crate) fn read(self, memory: &GuestMemory) -> Result<String, Errno> {
        match self.len {
            0 => return Err(Errno::Noent),
            len if len > PATH_BYTES_MAX => return Err(Errno::Nametoolong),
            len => memory.check(self.addr, u64::from(len))?,
        }
        let bytes = memory.read_vec(self.addr, u64::from(self.len))?;
        let path = String::from_utf8(bytes).map_err(|_| Errno::Ilseq)?;
        if path.contains('\0') { Err(Errno::Inval) } else { Ok(path) }
    }
}

/// The directory `fd`, to look something up below it.
fn directory(ctx: &WasiCtx, fd: Fd, rights: Rights) -> Result<&Dir, Errno> {
    Ok(&ctx.files.directory(fd, rights)?.0.dir)
}

/// The directory `fd`, to change something below it, and the place of `path`.
fn writable<'a>(
    ctx: &'a WasiCtx,
    fd: Fd,
    rights: Rights,
    path: &str,
) -> Result<(&'a Dir, Place), Errno> {
    let (directory, _) = ctx.files.directory(fd, rights)?;
    if ctx.is_read_only(&directory.place) {
        return Err(Errno::Rofs);
    }
    Ok((&directory.dir, directory.place.join(path)))
}

/// `path_create_directory`.
pub(crate) fn create_directory(ctx: &WasiCtx, fd: Fd, path: &str) -> Result<(), Errno> {
    let (dir, _) = writable(ctx, fd, Rights::PATH_CREATE_DIRECTORY, path)?;
    Ok(dir.create_dir(path)?)
}

/// `path_filestat_get`.
pub(crate) fn filestat(ctx: &WasiCtx, fd: Fd, lookup: u32, path: &str) -> Result<Filestat, Errno> {
    let follow = LookupFlags::from_abi(lookup)?.has(LookupFlags::SYMLINK_FOLLOW);
    let dir = directory(ctx, fd, Rights::PATH_FILESTAT_GET)?;
    let metadata = if follow { dir.metadata(path) } else { dir.symlink_metadata(path) }?;
    Ok(Filestat::from_metadata(&metadata))
}

/// `path_filestat_set_times`.
pub(crate) fn set_times(
    ctx: &WasiCtx,
    fd: Fd,
    lookup: u32,
    path: &str,
    times: NewTimes,
) -> Result<(), Errno> {
    let follow = LookupFlags::from_abi(lookup)?.has(LookupFlags::SYMLINK_FOLLOW);
    let (dir, _) = writable(ctx, fd, Rights::PATH_FILESTAT_SET_TIMES, path)?;
    let (accessed, modified) = times.specs();
    Ok(if follow {
        DirExt::set_times(dir, path, accessed, modified)
    } else {
        dir.set_symlink_times(path, accessed, modified)
    }?)
}

/// A name below an open directory.
#[derive(Copy, Clone, Debug)]
pub(crate) struct NameAt<'a> {
    pub(crate) fd: Fd,
    pub(crate) path: &'a str,
}

/// `path_link`: gives `old` the further name `new`.
pub(crate) fn link(
    ctx: &WasiCtx,
    lookup: u32,
    old: NameAt<'_>,
    new: NameAt<'_>,
) -> Result<(), Errno> {
    let follow = LookupFlags::from_abi(lookup)?.has(LookupFlags::SYMLINK_FOLLOW);
    // A link inside a read-only directory's file would let it be written elsewhere.
    let (from, _) = writable(ctx, old.fd, Rights::PATH_LINK_SOURCE, old.path)?;
    let (to, _) = writable(ctx, new.fd, Rights::PATH_LINK_TARGET, new.path)?;
    if follow {
        return Ok(from.hard_link(from.canonicalize(old.path)?, to, new.path)?);
    }
    Ok(from.hard_link(old.path, to, new.path)?)
}

/// `path_readlink`: gives the bytes of the link's target that fit.
pub(crate) fn readlink(
    ctx: &WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    path: &str,
    (out, out_len): (GuestAddr, u32),
) -> Result<u32, Errno> {
    let dir = directory(ctx, fd, Rights::PATH_READLINK)?;
    let target = dir.read_link(path)?;
    let bytes = target.as_os_str().as_encoded_bytes();
    let shown = &bytes[..bytes.len().min(out_len as usize)];
    memory.write(out, shown)?;
    u32::try_from(shown.len()).map_err(|_| Errno::Overflow)
}

/// `path_remove_directory`.
pub(crate) fn remove_directory(ctx: &mut WasiCtx, fd: Fd, path: &str) -> Result<(), Errno> {
    let (dir, place) = writable(ctx, fd, Rights::PATH_REMOVE_DIRECTORY, path)?;
    dir.remove_dir(path)?;
    ctx.files.unlinked(&place);
    Ok(())
}

/// `path_rename`.
pub(crate) fn rename(ctx: &mut WasiCtx, old: NameAt<'_>, new: NameAt<'_>) -> Result<(), Errno> {
    let (from, from_place) = writable(ctx, old.fd, Rights::PATH_RENAME_SOURCE, old.path)?;
    let (to, to_place) = writable(ctx, new.fd, Rights::PATH_RENAME_TARGET, new.path)?;
    from.rename(old.path, to, new.path)?;
    if from_place != to_place {
        ctx.files.renamed(&from_place, &to_place);
    }
    Ok(())
}

/// `path_symlink`: makes `path` a link to `target`, which must not be absolute.
pub(crate) fn symlink(ctx: &WasiCtx, target: &str, fd: Fd, path: &str) -> Result<(), Errno> {
    let (dir, _) = writable(ctx, fd, Rights::PATH_SYMLINK, path)?;
    if Path::new(target).is_absolute() {
        return Err(Errno::Notcapable);
    }
    Ok(DirExt::symlink(dir, target, path)?)
}

/// `path_unlink_file`.
pub(crate) fn unlink_file(ctx: &mut WasiCtx, fd: Fd, path: &str) -> Result<(), Errno> {
    let (dir, place) = writable(ctx, fd, Rights::PATH_UNLINK_FILE, path)?;
    dir.remove_file(path)?;
    ctx.files.unlinked(&place);
    Ok(())
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
