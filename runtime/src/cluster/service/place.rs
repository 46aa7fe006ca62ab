//! Where a coordinator that runs on its own keeps its state.
//!
//! ```text
//! <dir>/                 mode 0700: $FAASM_STATE_DIR, else $XDG_STATE_HOME/faasm, else ~/.local/state/faasm
//!   authority.pem        the cluster's authority, mode 0600
//!   lock                 locked by the coordinator that runs
//!   coordinator.sock     where it is spoken to
//!   job-PROCESS.sock     where a job takes orders
//! ```

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::cluster::error::ClusterError;

/// The directory of a coordinator.
#[derive(Clone, Debug)]
pub struct ClusterPlace {
    dir: PathBuf,
}

/// A coordinator's hold on its directory.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) listener: UnixListener,
    socket: PathBuf,
    _lock: File,
}

impl ClusterPlace {
    /// The directory `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// This user's directory.
    ///
    /// # Errors
    /// No variable says where it is.
    pub fn of_user() -> Result<Self, ClusterError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dir = set("FAASM_STATE_DIR")
            .map(PathBuf::from)
            .or_else(|| set("XDG_STATE_HOME").map(|dir| Path::new(&dir).join("faasm")))
            .or_else(|| set("HOME").map(|dir| Path::new(&dir).join(".local/state/faasm")));
        dir.map(Self::new).ok_or(ClusterError::NoStateDirectory)
    }

    /// Where the authority is kept.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("authority.pem")
    }

    /// Where the job of the `faasm-run` with this process number takes orders.
    pub fn job_socket(&self, process: u32) -> PathBuf {
        self.dir.join(format!("job-{process}.sock"))
    }

    /// Processes whose jobs take orders here, or did.
    pub fn jobs(&self) -> Vec<u32> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten().take(ENTRIES_MAX);
        let process = |entry: fs::DirEntry| -> Option<u32> {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("job-")?.strip_suffix(".sock")?.parse().ok()
        };
        let mut jobs: Vec<u32> = entries.filter_map(process).collect();
        jobs.sort_unstable();
        jobs
    }

    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or others may use it.
    pub fn prepare(&self) -> Result<(), ClusterError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.and_then(|()| self.check_private()).map_err(|cause| self.failed(cause))
    }

    /// Takes the directory for the coordinator of this process.
    pub(super) fn hold(&self) -> Result<Hold, ClusterError> {
        self.prepare()?;
        let lock = File::create(self.dir.join("lock")).map_err(|cause| self.failed(cause))?;
        if lock.try_lock().is_err() {
            return Err(ClusterError::SecondCoordinator { dir: self.dir.clone() });
        }
        let socket = self.dir.join(SOCKET);
        // One that is left from a coordinator that was killed; nobody else has the lock.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(|cause| self.failed(cause))?;
        Ok(Hold { listener, socket, _lock: lock })
    }

    /// Speaks to the coordinator that runs.
    pub(super) fn connect(&self) -> Result<UnixStream, ClusterError> {
        let no_coordinator = |cause| ClusterError::NoCoordinator { dir: self.dir.clone(), cause };
        self.check_private().map_err(no_coordinator)?;
        UnixStream::connect(self.dir.join(SOCKET)).map_err(no_coordinator)
    }

    /// Whoever else can write here can pass for the coordinator.
    fn check_private(&self) -> io::Result<()> {
        let about = fs::metadata(&self.dir)?;
        let user = rustix::process::geteuid().as_raw();
        if about.uid() != user || about.mode() & 0o077 != 0 {
            return Err(io::Error::other("others may use this directory: `chmod 700` it"));
        }
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> ClusterError {
        ClusterError::StateDirectory { dir: self.dir.clone(), cause }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // It is of no harm where it cannot be removed.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Entries of the directory that are looked at.
const ENTRIES_MAX: usize = 1 << 16;

/// Name of the socket.
const SOCKET: &str = "coordinator.sock";
