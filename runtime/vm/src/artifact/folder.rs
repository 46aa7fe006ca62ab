//! The directories of the cache, held open so that nobody can exchange them under us.

use std::ffi::CStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::CacheTrouble;
use super::key::Key;

/// The directory of all entries, known to be private.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the cache in `dir`, if there is one.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>, CacheTrouble> {
        let path = dir.join(FORMAT);
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(fd) => {
                let folder = Self { fd, path };
                folder.check_private()?;
                Ok(Some(folder))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(CacheTrouble::directory(dir, cause)),
        }
    }

    /// Opens the cache in `dir`, making it when it is not there.
    pub(super) fn create(dir: &Path) -> Result<Self, CacheTrouble> {
        if let Some(folder) = Self::open(dir)? {
            return Ok(folder);
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir.join(FORMAT));
        made.map_err(|cause| CacheTrouble::directory(dir, cause))?;
        Self::open(dir)?.ok_or_else(|| CacheTrouble::directory(dir, Errno::NOENT))
    }

    /// The folder of `key`, if there is one.
    pub(super) fn shelf(&self, key: &Key) -> Result<Option<Shelf>, CacheTrouble> {
        self.shelf_named(&key.folder_name())
            .map_err(|cause| CacheTrouble::directory(&self.path, cause))
    }

    pub(super) fn shelf_named(&self, name: &str) -> io::Result<Option<Shelf>> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Shelf { fd, path: self.path.join(name) })),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Makes the folder of `key` unless it is there.
    pub(super) fn make_shelf(&self, key: &Key) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.fd, key.folder_name(), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Names of all folders.
    pub(super) fn shelves(&self) -> io::Result<Vec<String>> {
        names(&self.fd)
    }

    /// Removes a folder if it is empty.
    pub(super) fn remove_if_empty(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Whoever can write here can make this user run any code, so nobody else may.
    fn check_private(&self) -> Result<(), CacheTrouble> {
        let stat = rustix::fs::fstat(&self.fd)
            .map_err(|cause| CacheTrouble::directory(&self.path, cause))?;
        let (mode, user) = (stat.st_mode & 0o7777, user());
        if stat.st_uid == user && mode & 0o077 == 0 {
            return Ok(());
        }
        Err(CacheTrouble::NotPrivate { dir: self.path.clone(), owner: stat.st_uid, mode, user })
    }
}

/// The folder of one key.
#[derive(Debug)]
pub(super) struct Shelf {
    fd: OwnedFd,
    path: PathBuf,
}

impl Shelf {
    /// Names of the entries in it, finished or not.
    pub(super) fn files(&self) -> io::Result<Vec<String>> {
        names(&self.fd)
    }

    /// Names of the finished entries in it.
    pub(super) fn entries(&self) -> Result<Vec<String>, CacheTrouble> {
        let mut names = self.files().map_err(|cause| CacheTrouble::directory(&self.path, cause))?;
        names.retain(|name| name.ends_with(SUFFIX));
        Ok(names)
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file that this user owns for reading.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        // Without NONBLOCK, a FIFO put here would hang us before its kind is known.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_uid != user() {
            return Err(io::Error::other("it is not a file of this user"));
        }
        Ok(File::from(fd))
    }

    /// Makes a new file for writing.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(fd))
    }

    /// Puts the file `from` in the place of `to`, in one step.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    pub(super) fn stat(&self, name: &str) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Removes a file; fine if another process did.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }
}

/// Names in a directory. Ours are plain text; others are left alone.
fn names(fd: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        if let Ok(name) = CStr::to_str(entry.file_name())
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Name of the directory; carries the version of the layout.
const FORMAT: &str = "compiled-1";

/// What the names of finished entries end in.
pub(super) const SUFFIX: &str = ".cwasm";

/// What the names of unfinished entries start with.
pub(super) const UNFINISHED: &str = ".new-";
