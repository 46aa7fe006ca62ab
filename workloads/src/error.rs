//! What can go wrong between a command line and a wasm file.

use std::{io, path::PathBuf, process::ExitStatus};

/// An error of the guest toolchain, worded for the person who typed the command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option asks for something that guests cannot have.
    #[error("{option}: {reason}")]
    Refused {
        /// The option as it was written.
        option: String,
        /// Why it is refused and what to do instead.
        reason: String,
    },
    /// An option that needs a value stands at the end of the command line.
    #[error("{option}: a value must follow this option")]
    MissingValue {
        /// The option as it was written.
        option: String,
    },
    /// A command-line argument is not valid UTF-8.
    #[error("argument {argument:?} is not UTF-8; rename the file or option")]
    NotUtf8 {
        /// The argument with its invalid bytes replaced.
        argument: String,
    },
    /// A response file includes itself, directly or through others.
    #[error("@{path}: response files are nested more than {depth_max} deep", path = path.display())]
    ResponseTooDeep {
        /// The response file that went too far.
        path: PathBuf,
        /// The deepest nesting that is accepted.
        depth_max: usize,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program's name or path.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A program of the toolchain ended with an error while something was being installed.
    #[error("{what} failed ({status}): {output}")]
    Step {
        /// What was being done.
        what: String,
        /// How the program ended.
        status: ExitStatus,
        /// The last lines it printed.
        output: String,
    },
    /// The compiler rejected the guest program; its own messages are in `diagnostics`.
    #[error("the compiler rejected the program ({status}):\n{diagnostics}")]
    Rejected {
        /// How the compiler ended.
        status: ExitStatus,
        /// What it printed.
        diagnostics: String,
    },
    /// A downloaded package is not the one that is pinned.
    #[error(
        "{package} has checksum {found}, but {expected} is pinned; \
         the download is damaged or was tampered with, and was deleted: try again"
    )]
    Checksum {
        /// The package's name and version.
        package: String,
        /// The checksum of what came.
        found: String,
        /// The checksums that are accepted.
        expected: String,
    },
    /// Nothing on this machine can fetch a package the toolchain needs.
    #[error("cannot fetch {package}: {reason}. {remedy}")]
    NoClient {
        /// The package's name and version.
        package: String,
        /// What is missing.
        reason: String,
        /// What the user can do.
        remedy: String,
    },
    /// A compiler or sysroot named by an environment variable cannot be used.
    #[error("{variable}={value}: {reason}")]
    Environment {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The manifest of the guests is not understood.
    #[error("{path}: {reason}", path = path.display())]
    Manifest {
        /// The manifest file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Builds a [`Error::File`] from an I/O error, for use with `map_err`.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;
