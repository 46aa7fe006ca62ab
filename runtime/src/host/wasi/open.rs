//! `path_open`.

use std::io::ErrorKind;
use std::sync::Arc;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, File, OpenOptions};

use super::ctx::{WasiCtx, WasiWait};
use super::descriptor::set_append;
use super::errno::Errno;
use super::flags::{FdFlags, LookupFlags, OFlags};
use super::ready;
use super::rights::{self, Rights};
use super::table::{Descriptor, Fd, Object, OpenDirectory, OpenFile, Place};
use super::types::{Filestat, Filetype};

/// What to open and how.
#[derive(Copy, Clone, Debug)]
pub(crate) struct OpenArgs {
    pub(crate) lookup: LookupFlags,
    pub(crate) oflags: OFlags,
    pub(crate) rights: Rights,
    pub(crate) inheriting: Rights,
    pub(crate) flags: FdFlags,
}

impl OpenArgs {
    /// Decodes the flags of `path_open`. Rights the standard does not name are left out: C
    /// libraries ask for all bits.
    pub(crate) fn decode(
        lookup: u32,
        oflags: u32,
        (rights, inheriting): (u64, u64),
        flags: u32,
    ) -> Result<Self, Errno> {
        Ok(Self {
            lookup: LookupFlags::from_abi(lookup)?,
            oflags: OFlags::from_abi(oflags)?,
            rights: Rights::from_raw_truncated(rights),
            inheriting: Rights::from_raw_truncated(inheriting),
            flags: FdFlags::from_abi(flags)?,
        })
    }

    /// Rights of the directory that this needs.
    fn directory_rights(&self) -> Rights {
        let mut needed = Rights::PATH_OPEN;
        if self.oflags.has(OFlags::CREAT) {
            needed = needed.or(Rights::PATH_CREATE_FILE);
        }
        if self.oflags.has(OFlags::TRUNC) {
            needed = needed.or(Rights::PATH_FILESTAT_SET_SIZE);
        }
        needed
    }

    fn follow(&self) -> FollowSymlinks {
        if self.lookup.has(LookupFlags::SYMLINK_FOLLOW) {
            FollowSymlinks::Yes
        } else {
            FollowSymlinks::No
        }
    }

    /// Whether the host must open for writing.
    fn writes(&self) -> bool {
        let directory = self.oflags.has(OFlags::DIRECTORY);
        !directory && (self.rights.has_any(rights::NEED_WRITE) || self.oflags.has(OFlags::TRUNC))
    }

    /// Options of the host without creation.
    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        let reads = self.rights.has_any(rights::NEED_READ) || !self.writes();
        options.read(reads).write(self.writes()).follow(self.follow());
        // A host that never waits; whether the guest does is decided at each read and write.
        options.truncate(self.oflags.has(OFlags::TRUNC)).nonblock(true);
        options
    }
}

/// `path_open`: opens `path` below directory `fd`. Waits for a reader when a named pipe is opened
/// for writing.
pub(crate) async fn path_open(
    ctx: &mut WasiCtx,
    fd: Fd,
    path: &str,
    args: OpenArgs,
) -> Result<Fd, Errno> {
    ctx.files.free()?;
    let (directory, descriptor) = ctx.files.directory(fd, args.directory_rights())?;
    let (allowed, dir) = (descriptor.inheriting, Arc::clone(&directory.dir));
    let place = directory.place.join(path);
    let args = OpenArgs {
        rights: args.rights.and(allowed),
        inheriting: args.inheriting.and(allowed),
        ..args
    };
    let read_only = ctx.is_read_only(&place);
    let opened = loop {
        match open(&dir, path, &args, read_only) {
            Err(Errno::Nxio) if !args.flags.has(FdFlags::NONBLOCK) && is_pipe(&dir, path) => {
                let _waiting = ctx.waiting(WasiWait::Descriptor);
                ready::pause().await;
            }
            opened => break opened?,
        }
    };
    ctx.files.insert(describe(opened, place, &args)?)
}

/// A file of the host and what it is.
pub(crate) struct Opened {
    file: File,
    filetype: Filetype,
}

/// Opens `path` below `dir` on the host.
fn open(dir: &Dir, path: &str, args: &OpenArgs, read_only: bool) -> Result<Opened, Errno> {
    if args.oflags.has(OFlags::CREAT.or(OFlags::DIRECTORY)) {
        return Err(Errno::Inval);
    }
    let file = if read_only { open_existing(dir, path, args) } else { open_any(dir, path, args) }?;
    let filetype = Filestat::from_metadata(&file.metadata()?).filetype;
    match filetype {
        Filetype::Directory => {}
        _ if args.oflags.has(OFlags::DIRECTORY) => return Err(Errno::Notdir),
        _ => set_append_if_asked(&file, args.flags)?,
    }
    Ok(Opened { file, filetype })
}

fn set_append_if_asked(file: &File, flags: FdFlags) -> Result<(), Errno> {
    if flags.has(FdFlags::APPEND) { set_append(file, flags) } else { Ok(()) }
}

/// Opens where files may be created.
fn open_any(dir: &Dir, path: &str, args: &OpenArgs) -> Result<File, Errno> {
    let mut options = args.options();
    if !args.oflags.has(OFlags::CREAT) {
        return Ok(dir.open_with(path, &options)?);
    }
    let exclusive = args.oflags.has(OFlags::EXCL);
    if !exclusive && !args.writes() {
        // An existing file need not be writable; the host creates only with write access.
        match dir.open_with(path, &options) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return Ok(opened?),
        }
    }
    options.write(true);
    if exclusive {
        options.create_new(true)
    } else {
        options.create(true)
    };
    Ok(dir.open_with(path, &options)?)
}

/// Opens below a read-only preopen: what exists, to read it.
fn open_existing(dir: &Dir, path: &str, args: &OpenArgs) -> Result<File, Errno> {
    if args.oflags.has(OFlags::CREAT.or(OFlags::EXCL)) {
        let exists = dir.symlink_metadata(path).is_ok();
        return Err(if exists { Errno::Exist } else { Errno::Rofs });
    }
    if args.writes() {
        return Err(Errno::Rofs);
    }
    dir.open_with(path, &args.options()).map_err(|error| {
        let create = args.oflags.has(OFlags::CREAT) && error.kind() == ErrorKind::NotFound;
        if create { Errno::Rofs } else { error.into() }
    })
}

/// Whether `path` is a named pipe, which has no reader then.
fn is_pipe(dir: &Dir, path: &str) -> bool {
    use cap_std::fs::MetadataExt;
    dir.metadata(path).is_ok_and(|metadata| {
        rustix::fs::FileType::from_raw_mode(metadata.mode()) == rustix::fs::FileType::Fifo
    })
}

/// The descriptor for what was opened, with the rights its kind can have.
fn describe(opened: Opened, place: Place, args: &OpenArgs) -> Result<Descriptor, Errno> {
    let Opened { file, filetype } = opened;
    let (object, possible) = if filetype == Filetype::Directory {
        let dir = Arc::new(Dir::from_std_file(file.into_std()));
        let directory = OpenDirectory { dir, place, preopened: false, listing: None };
        (Object::Directory(directory), rights::DIRECTORY)
    } else {
        (Object::File(OpenFile { file, place, filetype, offset: 0 }), rights::FILE)
    };
    Ok(Descriptor {
        object,
        rights: args.rights.and(possible),
        inheriting: args.inheriting,
        flags: args.flags,
    })
}

/// Opens again what a saved descriptor stood for: nothing is created or cut.
pub(crate) fn reopen(
    dir: &Dir,
    place: Place,
    args: &OpenArgs,
    read_only: bool,
) -> Result<Descriptor, Errno> {
    let path = if place.path.is_empty() { "." } else { place.path.as_str() };
    let opened = open(dir, path, args, read_only)?;
    describe(opened, place, args)
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
