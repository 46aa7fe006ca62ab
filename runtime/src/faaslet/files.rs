//! The files of MPI, below the directories that the rank was given.
//!
//! As for the system interface, cap-std keeps every path inside its directory, and nothing below a
//! read-only directory is changed.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use cap_fs_ext::OpenOptionsSyncExt;
use cap_std::fs::OpenOptions;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_shim::file_port::{FileAccess, Files, GuestFile};
use faasm_mpi_shim::spawn_port::Surroundings;
use rustix::fs::FallocateFlags;

use crate::host::wasi::{Preopen, WasiCtx};
use crate::scheduler::LocalQueue;

/// Bytes of one read or write from which on the thread is taken to wait for a device meanwhile.
const LONG_BYTES: usize = 256 * 1024;

impl Files for WasiCtx {
    fn open(&self, path: &str, access: FileAccess) -> Result<Arc<dyn GuestFile>> {
        let (preopen, rest) = resolve(&self.preopens, path)?;
        let exists = preopen.dir.metadata(rest).is_ok();
        if preopen.read_only && (access.writes || (access.creates && !exists)) {
            return Err(read_only(path));
        }
        let mut options = OpenOptions::new();
        options.read(access.reads || !access.writes).write(access.writes).nonblock(true);
        if access.creates && !preopen.read_only {
            options.write(true);
            if access.is_exclusive {
                options.create_new(true)
            } else {
                options.create(true)
            };
        }
        let file = preopen.dir.open_with(rest, &options).map_err(|error| failure(path, &error))?;
        let metadata = file.metadata().map_err(|error| failure(path, &error))?;
        if !metadata.is_file() {
            let detail = format!("{path} is not a regular file");
            return Err(MpiError::argument(ErrorClass::BadFile, "filename", detail));
        }
        Ok(Arc::new(HostFile { file: file.into_std(), path: path.to_owned() }))
    }

    fn delete(&self, path: &str) -> Result<()> {
        let (preopen, rest) = resolve(&self.preopens, path)?;
        if preopen.read_only {
            return Err(read_only(path));
        }
        preopen.dir.remove_file(rest).map_err(|error| failure(path, &error))
    }

    fn surroundings(&self, directory: Option<&str>) -> Result<Surroundings> {
        let Some(path) = directory else {
            return Ok(Surroundings(Arc::new(self.preopens.clone())));
        };
        let path = path.trim_end_matches('/');
        let whole = |preopen: &&Preopen| &*preopen.guest == path;
        let (from, dir) = match self.preopens.iter().find(whole) {
            Some(preopen) => (preopen, preopen.dir.clone()),
            None => {
                let (preopen, rest) = resolve(&self.preopens, path)?;
                let dir = preopen.dir.open_dir(rest).map_err(|error| failure(path, &error))?;
                (preopen, Arc::new(dir))
            }
        };
        let here = Preopen { dir, guest: ".".into(), read_only: from.read_only };
        let others = self.preopens.iter().filter(|preopen| &*preopen.guest != ".").cloned();
        let all: Arc<[Preopen]> = std::iter::once(here).chain(others).collect();
        Ok(Surroundings(Arc::new(all)))
    }
}

fn read_only(path: &str) -> MpiError {
    let detail = format!("{path} lies in a directory that was given read-only");
    MpiError::argument(ErrorClass::ReadOnly, "filename", detail)
}

/// The directory that `path` lies in, the one with the longest name, and the path below it.
fn resolve<'a>(preopens: &'a [Preopen], path: &'a str) -> Result<(&'a Preopen, &'a str)> {
    let below = |preopen: &'a Preopen| Some((preopen, below(&preopen.guest, path)?));
    let found = preopens.iter().filter_map(below).max_by_key(|(preopen, _)| preopen.guest.len());
    found.ok_or_else(|| {
        let detail = format!(
            "{path} is in no directory that the job was given; give it one with --dir, or name a \
             file of the working directory"
        );
        MpiError::argument(ErrorClass::NoSuchFile, "filename", detail)
    })
}

/// The rest of `path` below `directory`, both as the guest knows them.
fn below<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    if matches!(directory, "." | "./") {
        return (!path.starts_with('/')).then_some(path);
    }
    let relative = |text: &'a str| text.strip_prefix("./").unwrap_or(text);
    let directory = directory.strip_prefix("./").unwrap_or(directory).trim_end_matches('/');
    let rest = relative(path).strip_prefix(directory)?.strip_prefix('/')?;
    Some(rest.trim_start_matches('/'))
}

/// The standard's class for an error of the system.
fn failure(path: &str, error: &std::io::Error) -> MpiError {
    use std::io::ErrorKind;
    let class = match error.kind() {
        ErrorKind::NotFound => ErrorClass::NoSuchFile,
        ErrorKind::AlreadyExists => ErrorClass::FileExists,
        ErrorKind::PermissionDenied => ErrorClass::Access,
        ErrorKind::ReadOnlyFilesystem => ErrorClass::ReadOnly,
        ErrorKind::StorageFull | ErrorKind::FileTooLarge => ErrorClass::NoSpace,
        ErrorKind::QuotaExceeded => ErrorClass::Quota,
        ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput => ErrorClass::BadFile,
        _ => ErrorClass::Io,
    };
    MpiError::new(class, format!("{path}: {error}"))
}

/// An open file of the host.
#[derive(Debug)]
struct HostFile {
    file: std::fs::File,
    path: String,
}

impl HostFile {
    fn failure(&self) -> impl Fn(std::io::Error) -> MpiError + '_ {
        |error| failure(&self.path, &error)
    }
}

impl GuestFile for HostFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        if out.len() >= LONG_BYTES {
            LocalQueue::hand_over();
        }
        let mut done = 0;
        while done < out.len() {
            match self.file.read_at(&mut out[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(&self.path, &error)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        if data.len() >= LONG_BYTES {
            LocalQueue::hand_over();
        }
        self.file.write_all_at(data, offset).map_err(self.failure())
    }

    fn size(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(self.failure())?.len())
    }

    fn set_size(&self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes).map_err(self.failure())
    }

    fn preallocate(&self, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let reserved = rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes);
        reserved.map_err(|error| failure(&self.path, &error.into()))
    }

    fn sync(&self) -> Result<()> {
        LocalQueue::hand_over();
        self.file.sync_all().map_err(self.failure())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_below_the_directories() {
        assert_eq!(below(".", "a/b"), Some("a/b"));
        assert_eq!(below(".", "/a/b"), None);
        assert_eq!(below("/", "/a/b"), Some("a/b"));
        assert_eq!(below("/data", "/data/x"), Some("x"));
        assert_eq!(below("/data/", "/data//x"), Some("x"));
        assert_eq!(below("/data", "/database/x"), None);
        assert_eq!(below("out", "./out/x"), Some("x"));
    }
}
