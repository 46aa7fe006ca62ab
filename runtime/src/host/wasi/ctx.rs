//! The system interface of one rank, and what it is made of.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;

use super::builder::WasiCtxBuilder;
use super::output::OutputSink;
use super::shared::SharedWasi;
use super::stdin::StdinReader;
use super::table::{FileTable, Place};

/// A host directory that guests may use under a path of theirs; clones share one descriptor.
#[derive(Clone, Debug)]
pub struct Preopen {
    pub(crate) dir: Arc<Dir>,
    pub(crate) guest: Arc<str>,
    pub(crate) read_only: bool,
}

impl Preopen {
    /// Opens `host`, to be known to guests as `guest`.
    ///
    /// # Errors
    /// [`WasiSetupError::Preopen`] when the directory cannot be opened.
    pub fn open(host: &Path, guest: &str, read_only: bool) -> Result<Self, WasiSetupError> {
        if guest.is_empty() || guest.contains('\0') {
            return Err(WasiSetupError::GuestPath { guest: guest.into() });
        }
        let dir = Dir::open_ambient_dir(host, cap_std::ambient_authority())
            .map_err(|source| WasiSetupError::Preopen { host: host.into(), source })?;
        Ok(Self { dir: Arc::new(dir), guest: guest.into(), read_only })
    }
}

/// A configuration that a rank cannot have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WasiSetupError {
    /// A preopened directory cannot be opened.
    #[error("cannot open directory {} for the guest: {source}; create it or name another with --dir", host.display())]
    Preopen {
        /// The directory of the host.
        host: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A guest path is empty or holds a zero byte.
    #[error("{guest:?} cannot be a guest's path: it must be non-empty and free of zero bytes")]
    GuestPath {
        /// The path.
        guest: String,
    },
    /// An argument or environment variable holds a zero byte, which C ends strings with.
    #[error("{text:?} holds a zero byte and cannot be passed to a program")]
    ZeroByte {
        /// The argument or variable.
        text: String,
    },
}

/// Why a rank waits for the world outside its job.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum WasiWait {
    /// Input on standard input.
    Stdin,
    /// A time.
    Clock,
    /// A pipe or device.
    Descriptor,
}

impl fmt::Display for WasiWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdin => "standard input",
            Self::Clock => "a timer",
            Self::Descriptor => "a pipe or device",
        })
    }
}

/// What the owner of a rank is told, and asked, by its system calls.
///
/// A rank that waits here is woken from outside the job, so a search for deadlocks must not count
/// it as stuck.
pub(crate) trait WasiHooks: Send + Sync {
    /// The rank starts to wait.
    fn wait_begins(&self, _on: WasiWait) {}

    /// The rank goes on, or is gone.
    fn wait_ends(&self) {}

    /// The calling thread is about to wait inside a system call.
    fn blocks(&self) {}

    /// Processor time the rank has used; without an answer the process's time is reported.
    fn cpu_time(&self) -> Option<Duration> {
        None
    }
}

/// The system interface of one rank.
pub(crate) struct WasiCtx {
    pub(crate) args: Arc<[String]>,
    pub(crate) env: Environment,
    pub(crate) files: FileTable,
    pub(crate) preopens: Arc<[Preopen]>,
    pub(crate) stdin: StdinReader,
    pub(crate) output: Arc<dyn OutputSink>,
    pub(crate) rank: u32,
    pub(crate) hooks: Arc<dyn WasiHooks>,
    /// What its monotonic clock shows more than the host's, modulo 2^64.
    pub(crate) monotonic_shift_ns: u64,
    /// What the rank's threads share, if it has any.
    pub(crate) shared: Option<SharedWasi>,
}

impl fmt::Debug for WasiCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiCtx").field("rank", &self.rank).field("files", &self.files).finish()
    }
}

impl WasiCtx {
    /// Starts a configuration: no arguments, environment, directories or input; output is dropped.
    pub(crate) fn builder() -> WasiCtxBuilder {
        WasiCtxBuilder::default()
    }

    /// Tells the owner of the rank that it waits, until the result is dropped.
    pub(crate) fn waiting(&self, on: WasiWait) -> Waiting {
        Waiting::begin(&self.hooks, on)
    }

    /// Whether nothing below the preopen of `place` may be changed.
    pub(crate) fn is_read_only(&self, place: &Place) -> bool {
        self.preopens.get(place.preopen).is_none_or(|preopen| preopen.read_only)
    }
}

/// A wait in progress.
pub(crate) struct Waiting {
    hooks: Arc<dyn WasiHooks>,
}

impl Waiting {
    fn begin(hooks: &Arc<dyn WasiHooks>, on: WasiWait) -> Self {
        hooks.wait_begins(on);
        Self { hooks: Arc::clone(hooks) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.hooks.wait_ends();
    }
}

/// Environment variables: those all ranks share, and this rank's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) shared: Arc<[(String, String)]>,
    pub(crate) own: Vec<(String, String)>,
}

impl Environment {
    /// Every variable once; the rank's own value wins, and of several the last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut seen = HashSet::new();
        let all = self.own.iter().rev().chain(self.shared.iter().rev());
        all.filter(move |(key, _)| seen.insert(key.as_str()))
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_variables_hide_shared_ones() {
        let shared = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())];
        let env = Environment { shared: Arc::new(shared), own: vec![("A".into(), "3".into())] };
        let mut all: Vec<_> = env.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [("A", "3"), ("B", "2")]);
    }

    #[test]
    fn a_zero_byte_is_refused_by_name() {
        let error = WasiCtx::builder().env("KEY", "a\0b").build().expect_err("a zero byte");
        assert!(error.to_string().contains(r#""a\0b""#), "{error}");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Preopen::open(Path::new("/no/such/dir"), "/x", false).expect_err("missing");
        assert!(error.to_string().contains("/no/such/dir"), "{error}");
    }
}
