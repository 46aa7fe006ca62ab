//! What a rank keeps of open files (MPI-5.0 chapter 14).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::file::View;
use faasm_mpi_engine::info::Info;

use crate::abi::{self, Status};
use crate::file_port::GuestFile;

/// What all files of a rank share.
#[derive(Debug)]
pub(crate) struct FileDefaults {
    /// Handler of `MPI_FILE_NULL`, which new files get.
    pub(crate) errhandler: i32,
    /// Names given to `MPI_Register_datarep`.
    pub(crate) datareps: BTreeSet<String>,
}

impl Default for FileDefaults {
    fn default() -> Self {
        Self { errhandler: abi::MPI_ERRORS_RETURN, datareps: BTreeSet::new() }
    }
}

/// What the members that opened a file share on their node.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pointer: Mutex<u64>,
    access: Mutex<()>,
}

impl Shared {
    /// The shared pointer, in bytes of the view's stream.
    pub(crate) fn pointer(&self) -> MutexGuard<'_, u64> {
        self.pointer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other accesses out, which atomic mode needs.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How data lies in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Representation {
    /// As in memory, under this name.
    Native(String),
    /// `external32`.
    External32,
}

impl Representation {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Native(name) => name,
            Self::External32 => "external32",
        }
    }
}

/// A type of a view and the handle by which the program gave it.
#[derive(Clone, Debug)]
pub(crate) struct ViewType {
    pub(crate) handle: i32,
    pub(crate) datatype: Datatype,
}

/// A split collective under way. Section 14.4.5.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    pub(crate) flags: u32,
    pub(crate) status: Status,
}

/// An open file as one rank holds it.
#[derive(Clone, Debug)]
pub struct FileEntry {
    pub(crate) file: Arc<dyn GuestFile>,
    pub(crate) path: String,
    pub(crate) amode: i32,
    pub(crate) comm: i32,
    pub(crate) info: Info,
    pub(crate) errhandler: i32,
    pub(crate) view: View,
    pub(crate) etype: ViewType,
    pub(crate) filetype: ViewType,
    pub(crate) representation: Representation,
    /// The individual pointer, in bytes of the view's stream.
    pub(crate) position: u64,
    pub(crate) is_atomic: bool,
    pub(crate) split: Option<Split>,
    pub(crate) shared: Arc<Shared>,
}

impl FileEntry {
    /// Whether it was opened with this mode.
    pub(crate) const fn has(&self, mode: i32) -> bool {
        self.amode & mode != 0
    }

    /// Bytes of the stream that `offset` elementary types are.
    pub(crate) fn stream(&self, argument: &'static str, offset: i64) -> Result<u64> {
        let bytes = u64::try_from(offset).ok();
        let bytes = bytes.and_then(|offset| offset.checked_mul(self.view.etype_bytes()));
        bytes.filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(|| {
            let detail = format!("{offset} is no offset in a file");
            MpiError::argument(ErrorClass::Arg, argument, detail)
        })
    }

    /// Elementary types before a position of the stream.
    pub(crate) const fn etypes(&self, position: u64) -> i64 {
        (position / self.view.etype_bytes()).cast_signed()
    }
}
