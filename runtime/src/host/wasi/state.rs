//! The file table and the monotonic clock as a value, for checkpoints and for moving a rank.
//!
//! A descriptor is saved as preopen, path, flags, rights and offset; restoring opens the path
//! again below the preopen of the same guest path, without creating or cutting anything. A file
//! whose name is gone cannot be restored so, and says so. Directory listings are read again.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ctx::WasiCtx;
use super::errno::Errno;
use super::flags::{FdFlags, LookupFlags, OFlags};
use super::open::{self, OpenArgs};
use super::rights::{self, Rights};
use super::table::{Descriptor, Fd, FileTable, Object, OpenDirectory, OpenFile, Place};
use super::types::ClockId;

/// Version of the saved form.
const VERSION: u32 = 3;

/// Descriptors a saved table may have; above what a rank can open, and a bound for foreign bytes.
const DESCRIPTORS_MAX: usize = 65_536;

/// The open descriptors of one rank, and its clock.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileTableState {
    version: u32,
    /// Guest paths of the preopened directories, by index.
    preopens: Vec<String>,
    /// Bytes of standard input that were read.
    stdin_bytes: u64,
    descriptors: Vec<DescriptorState>,
    /// What its monotonic clock shows.
    monotonic_ns: u64,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct DescriptorState {
    fd: u32,
    rights: Rights,
    inheriting: Rights,
    flags: FdFlags,
    object: ObjectState,
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
enum ObjectState {
    Stdin,
    Stdout,
    Stderr,
    /// With the file's length, if it has one.
    File {
        place: PlaceState,
        offset: u64,
        bytes: Option<u64>,
    },
    Directory {
        place: PlaceState,
        preopened: bool,
    },
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct PlaceState {
    preopen: usize,
    path: String,
    unlinked: bool,
}

/// A saved file table that cannot be restored here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RestoreError {
    /// It was saved by a version with another form.
    #[error("the file table has version {found}, this program reads version {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// It is damaged.
    #[error("the file table is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// A directory that was preopened is not.
    #[error("the guest's directory {guest:?} is not there; add it with --dir HOST::{guest}")]
    Preopen {
        /// The guest path.
        guest: String,
    },
    /// An open file has no name any more.
    #[error("descriptor {fd} is the removed file {path:?}, which cannot be opened again")]
    Unlinked {
        /// The descriptor.
        fd: u32,
        /// Its last path below the preopened directory.
        path: String,
    },
    /// An open file cannot be opened again.
    #[error("descriptor {fd}: cannot open {path:?} again (WASI error {errno})")]
    Open {
        /// The descriptor.
        fd: u32,
        /// Path below the preopened directory.
        path: String,
        /// The error number of WASI.
        errno: u16,
    },
    /// An open file has lost its end.
    #[error("descriptor {fd}: {path:?} has {found} bytes, and had {bytes}; put the file back")]
    Shorter {
        /// The descriptor.
        fd: u32,
        /// Path below the preopened directory.
        path: String,
        /// Bytes that it had.
        bytes: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Standard input cannot be read again from where the rank was.
    #[error("standard input before byte {0} was read and is gone from there on")]
    Stdin(u64),
}

impl WasiCtx {
    /// The open descriptors as a value, and the clock.
    pub(crate) fn save_files(&self) -> FileTableState {
        if let Some(shared) = &self.shared {
            return shared.now(|ctx| ctx.save_files());
        }
        FileTableState {
            version: VERSION,
            preopens: self.preopens.iter().map(|preopen| preopen.guest.to_string()).collect(),
            stdin_bytes: self.stdin.position(),
            descriptors: self.files.iter().map(|(fd, open)| save_descriptor(fd, open)).collect(),
            monotonic_ns: self.now_ns(ClockId::Monotonic),
        }
    }

    /// Replaces the open descriptors by the saved ones; the monotonic clock goes on from where it was.
    ///
    /// # Errors
    /// [`RestoreError`] when a descriptor cannot be had again; the present ones are kept then.
    pub(crate) fn restore_files(&mut self, state: &FileTableState) -> Result<(), RestoreError> {
        if let Some(shared) = &self.shared {
            self.monotonic_shift_ns = shared.now(|ctx| {
                ctx.restore_files(state)?;
                Ok::<_, RestoreError>(ctx.monotonic_shift_ns)
            })?;
            return Ok(());
        }
        state.check()?;
        let preopens = self.match_preopens(state)?;
        let mut files = FileTable::new(self.files.descriptors_max());
        for saved in &state.descriptors {
            let descriptor = self.restore_descriptor(saved, &preopens)?;
            let too_high = RestoreError::Damaged { what: "a descriptor's number is too high" };
            files.insert_at(Fd(saved.fd), descriptor).map_err(|_| too_high)?;
        }
        if !self.stdin.resume_at(state.stdin_bytes) {
            return Err(RestoreError::Stdin(state.stdin_bytes));
        }
        self.files = files;
        self.resume_monotonic(state.monotonic_ns);
        Ok(())
    }

    /// For each saved preopen the index of the present one with the same guest path.
    fn match_preopens(&self, state: &FileTableState) -> Result<Vec<usize>, RestoreError> {
        let find = |guest: &String| {
            let index = self.preopens.iter().position(|preopen| *preopen.guest == **guest);
            index.ok_or_else(|| RestoreError::Preopen { guest: guest.clone() })
        };
        state.preopens.iter().map(find).collect()
    }

    fn restore_descriptor(
        &self,
        saved: &DescriptorState,
        preopens: &[usize],
    ) -> Result<Descriptor, RestoreError> {
        let stream = |object| Descriptor {
            object,
            rights: saved.rights,
            inheriting: saved.inheriting,
            flags: saved.flags,
        };
        match &saved.object {
            ObjectState::Stdin => Ok(stream(Object::Stdin)),
            ObjectState::Stdout => Ok(stream(Object::Stdout)),
            ObjectState::Stderr => Ok(stream(Object::Stderr)),
            ObjectState::Directory { place, preopened: true } => {
                let index = preopen_index(place, preopens)?;
                let dir = Arc::clone(&self.preopens[index].dir);
                let place = Place::root(index);
                let listing = None;
                let directory = OpenDirectory { dir, place, preopened: true, listing };
                Ok(stream(Object::Directory(directory)))
            }
            ObjectState::Directory { place, .. } => self.reopen(saved, place, preopens),
            ObjectState::File { place, offset, bytes } => {
                let mut descriptor = self.reopen(saved, place, preopens)?;
                if let Object::File(file) = &mut descriptor.object {
                    file.offset = *offset;
                    cut_back(file, saved, *bytes)?;
                }
                Ok(descriptor)
            }
        }
    }

    fn reopen(
        &self,
        saved: &DescriptorState,
        place: &PlaceState,
        preopens: &[usize],
    ) -> Result<Descriptor, RestoreError> {
        let (fd, path) = (saved.fd, place.path.clone());
        if place.unlinked {
            return Err(RestoreError::Unlinked { fd, path });
        }
        let index = preopen_index(place, preopens)?;
        let preopen = &self.preopens[index];
        let is_directory = matches!(saved.object, ObjectState::Directory { .. });
        let args = OpenArgs {
            lookup: LookupFlags::SYMLINK_FOLLOW,
            oflags: if is_directory { OFlags::DIRECTORY } else { OFlags::NONE },
            rights: saved.rights,
            inheriting: saved.inheriting,
            flags: saved.flags,
        };
        let place = Place { preopen: index, path: path.clone(), unlinked: false };
        let opened = open::reopen(&preopen.dir, place, &args, preopen.read_only);
        let matches =
            |opened: &Descriptor| matches!(opened.object, Object::Directory(_)) == is_directory;
        opened
            .and_then(|opened| if matches(&opened) { Ok(opened) } else { Err(Errno::Isdir) })
            .map_err(|errno| RestoreError::Open { fd, path, errno: errno.raw() })
    }
}

/// Takes what was written behind the end that the file had off it again, if the rank may write to it.
fn cut_back(
    file: &OpenFile,
    saved: &DescriptorState,
    bytes: Option<u64>,
) -> Result<(), RestoreError> {
    let Some(bytes) = bytes else { return Ok(()) };
    let (fd, path) = (saved.fd, file.place.path.clone());
    let failed = |error: std::io::Error| {
        let errno = Errno::from(error).raw();
        RestoreError::Open { fd, path: file.place.path.clone(), errno }
    };
    let found = file.file.metadata().map_err(failed)?.len();
    if found < bytes {
        return Err(RestoreError::Shorter { fd, path, bytes, found });
    }
    if found > bytes && saved.rights.has(Rights::FD_WRITE) {
        file.file.set_len(bytes).map_err(failed)?;
    }
    Ok(())
}

fn preopen_index(place: &PlaceState, preopens: &[usize]) -> Result<usize, RestoreError> {
    let index = preopens.get(place.preopen).copied();
    index.ok_or(RestoreError::Damaged { what: "a descriptor names no preopened directory" })
}

fn save_descriptor(fd: Fd, descriptor: &Descriptor) -> DescriptorState {
    let save = |place: &Place| PlaceState {
        preopen: place.preopen,
        path: place.path.clone(),
        unlinked: place.unlinked,
    };
    let object = match &descriptor.object {
        Object::Stdin => ObjectState::Stdin,
        Object::Stdout => ObjectState::Stdout,
        Object::Stderr => ObjectState::Stderr,
        Object::File(file) => {
            let length = || file.file.metadata().ok().map(|metadata| metadata.len());
            let bytes = if file.is_seekable() { length() } else { None };
            ObjectState::File { place: save(&file.place), offset: file.offset, bytes }
        }
        Object::Directory(directory) => {
            ObjectState::Directory { place: save(&directory.place), preopened: directory.preopened }
        }
    };
    let (rights, inheriting, flags) = (descriptor.rights, descriptor.inheriting, descriptor.flags);
    DescriptorState { fd: fd.0, rights, inheriting, flags, object }
}

impl FileTableState {
    /// Checks what came from a file or another node.
    fn check(&self) -> Result<(), RestoreError> {
        if self.version != VERSION {
            return Err(RestoreError::Version { found: self.version });
        }
        if self.descriptors.len() > DESCRIPTORS_MAX {
            return Err(RestoreError::Damaged { what: "it has too many descriptors" });
        }
        let mut seen = HashSet::new();
        if !self.descriptors.iter().all(|descriptor| seen.insert(descriptor.fd)) {
            return Err(RestoreError::Damaged { what: "a descriptor appears twice" });
        }
        if !self.descriptors.iter().all(DescriptorState::is_possible) {
            return Err(RestoreError::Damaged { what: "a descriptor has impossible rights" });
        }
        Ok(())
    }
}

impl DescriptorState {
    /// Whether rights, flags and offset are of the kind's own.
    fn is_possible(&self) -> bool {
        let (possible, offset) = match &self.object {
            ObjectState::Stdin => (rights::STDIN, 0),
            ObjectState::Stdout | ObjectState::Stderr => (rights::STDOUT, 0),
            ObjectState::File { offset, .. } => (rights::FILE, *offset),
            ObjectState::Directory { .. } => (rights::DIRECTORY, 0),
        };
        possible.has(self.rights)
            && rights::INHERITED.has(self.inheriting)
            && FdFlags::ALL.has(self.flags)
            && i64::try_from(offset).is_ok()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
