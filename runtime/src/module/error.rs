//! Why a file does not become a module.

use std::io;
use std::path::PathBuf;

use faasm_vm::rewrite::RewriteError;
use faasm_vm::unwind::UnwindError;

use super::FileFormat;

/// A program that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// There is no such file.
    #[error(
        "{path} does not exist{hint}",
        path = path.display(), hint = hint(similar.as_ref())
    )]
    NotFound {
        /// The file.
        path: PathBuf,
        /// A file that may have been meant.
        similar: Option<PathBuf>,
    },
    /// The path leads to a directory.
    #[error("{path} is a directory; name the program in it", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error(
        "{path} cannot be read: {cause}; check the permissions of the file and of the directories \
         above it",
        path = path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is too long to be a program.
    #[error(
        "{name} is longer than {bytes_max} bytes, more than any module may have; is this the \
         program, or its data?"
    )]
    TooLong {
        /// The program.
        name: String,
        /// The limit.
        bytes_max: u64,
    },
    /// The file is empty.
    #[error("{name} is empty; if a compiler made it, it failed or its disk is full")]
    Empty {
        /// The program.
        name: String,
    },
    /// The file is something else, and it is known what.
    #[error("{name} cannot be run: {format}")]
    Foreign {
        /// The program.
        name: String,
        /// What it is.
        format: FileFormat,
    },
    /// It is WebAssembly, or claims to be, but nothing a Faaslet can be.
    #[error("{name} cannot be run: {cause}")]
    Refused {
        /// The program.
        name: String,
        /// Why not.
        cause: RewriteError,
    },
    /// The compiler refuses it.
    #[error(
        "{name} cannot be compiled: {cause:#}; it is damaged, or uses a feature of WebAssembly \
         that is not served: compile it with faasm-cc"
    )]
    Compile {
        /// The program.
        name: String,
        /// What the compiler said.
        cause: wasmtime::Error,
    },
    /// Its data cannot be made the image that its ranks begin with.
    #[error("{name} cannot be run: the data that its memory begins with cannot be had: {cause}")]
    Data {
        /// The program.
        name: String,
        /// Why not.
        cause: faasm_vm::SnapshotError,
    },
    /// It cannot be made migratable.
    #[error("{name} cannot be made migratable: {cause}")]
    NotMigratable {
        /// The program.
        name: String,
        /// Why not.
        cause: UnwindError,
    },
    /// There is nothing to start in it.
    #[error(
        "{name} is {what}, not a program: it exports no function _start; {remedy}",
        what = if *library { "a library (a reactor)" } else { "a bare module" },
        remedy = if *library {
            "link it without -mexec-model=reactor"
        } else {
            "give it a main function and link it with faasm-cc"
        }
    )]
    NotAProgram {
        /// The program.
        name: String,
        /// Whether it is made to be called function by function.
        library: bool,
    },
}

fn hint(similar: Option<&PathBuf>) -> String {
    similar.map_or_else(
        || "; check the name and the working directory".to_owned(),
        |path| format!("; did you mean {}?", path.display()),
    )
}
