//! How the shim reaches files: the runtime opens them below the rank's directories.

use std::fmt::Debug;
use std::sync::Arc;

use faasm_mpi_engine::error::Result;

use crate::spawn_port::Surroundings;

/// How to open a file.
#[derive(Copy, Clone, Debug)]
pub struct FileAccess {
    /// It will be read.
    pub reads: bool,
    /// It will be written.
    pub writes: bool,
    /// It is made if it does not exist.
    pub creates: bool,
    /// It must not exist yet.
    pub is_exclusive: bool,
}

/// The files that a rank can reach.
pub trait Files {
    /// Opens the regular file that the program knows as `path`.
    ///
    /// # Errors
    /// An error of the class that the standard has for the cause.
    fn open(&self, path: &str, access: FileAccess) -> Result<Arc<dyn GuestFile>>;

    /// Removes the name `path`.
    ///
    /// # Errors
    /// An error of the class that the standard has for the cause.
    fn delete(&self, path: &str) -> Result<()>;

    /// The directories of the rank for a process that it spawns, whose working directory is
    /// `directory` where given.
    ///
    /// # Errors
    /// An error of the class that the standard has for the cause.
    fn surroundings(&self, directory: Option<&str>) -> Result<Surroundings>;
}

/// An open file.
pub trait GuestFile: Debug + Send + Sync {
    /// Reads from `offset` on; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// As the system reports it.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize>;

    /// Writes all of `data` from `offset` on.
    ///
    /// # Errors
    /// As the system reports it.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()>;

    /// Bytes in the file.
    ///
    /// # Errors
    /// As the system reports it.
    fn size(&self) -> Result<u64>;

    /// Cuts the file or lengthens it with zeros.
    ///
    /// # Errors
    /// As the system reports it.
    fn set_size(&self, bytes: u64) -> Result<()>;

    /// Reserves room for the first `bytes`; the file grows to them if it is shorter.
    ///
    /// # Errors
    /// As the system reports it.
    fn preallocate(&self, bytes: u64) -> Result<()>;

    /// Brings what was written to the device.
    ///
    /// # Errors
    /// As the system reports it.
    fn sync(&self) -> Result<()>;
}
