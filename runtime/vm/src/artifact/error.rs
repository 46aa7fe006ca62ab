//! What can be wrong with the cache.

use std::io;
use std::path::{Path, PathBuf};

/// Something that keeps compiled code from being reused; the module runs all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheTrouble {
    /// The directory cannot be used.
    #[error(
        "compiled code cannot be kept in {dir}, so programs are compiled anew at every start: \
         {cause}; {remedy}",
        dir = dir.display(), remedy = remedy(cause)
    )]
    Directory {
        /// The directory of the cache.
        dir: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The directory could be changed by others, who could make this user run their code.
    #[error(
        "compiled code in {dir} is not used, so programs are compiled anew at every start: the \
         directory belongs to user {owner} with mode {mode:o}, and it must belong to user {user} \
         with mode 700; change that, or set FAASM_CACHE_DIR to another directory",
        dir = dir.display()
    )]
    NotPrivate {
        /// The directory of the entries.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permissions.
        mode: u32,
        /// The user of this process.
        user: u32,
    },
    /// An entry is not what its name says, or the engine refuses it.
    #[error(
        "the compiled code in {path} cannot be used, so the program is compiled again: {cause}{fate}",
        path = path.display(), fate = if *removed { "" } else { "; it cannot be removed either" }
    )]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// Whether it is gone now.
        removed: bool,
    },
    /// The code alone is larger than the whole cache may be.
    #[error(
        "the compiled code of {bytes} bytes is not kept, because the cache may hold {bytes_max} \
         bytes in all; raise that limit to have it start faster"
    )]
    TooLarge {
        /// Size of the code.
        bytes: u64,
        /// Limit of the cache.
        bytes_max: u64,
    },
}

impl CacheTrouble {
    pub(super) fn directory(dir: &Path, cause: impl Into<io::Error>) -> Self {
        Self::Directory { dir: dir.to_owned(), cause: cause.into() }
    }

    pub(super) const fn is_about_directory(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::NotPrivate { .. })
    }
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "make room there, or set FAASM_CACHE_DIR to a directory on another disk"
        }
        _ => "make it writable, or set FAASM_CACHE_DIR to a directory that is",
    }
}
