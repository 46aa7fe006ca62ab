//! The system interface of one rank, and how it is put together.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;

use super::output::{OutputSink, Stream};
use super::rights;
use super::rights::Rights;
use super::stdin::{StdinReader, StdinSource};
use super::table::{Descriptor, Fd, FileTable, Object, OpenDirectory, Place};
use super::types::FdFlags;

/// Open descriptors a rank may have, as `ulimit -n` gives a process.
const DESCRIPTORS_MAX: usize = 1024;

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

    /// Processor time the rank has used; without an answer the process's time is reported.
    fn cpu_time(&self) -> Option<Duration> {
        None
    }
}

/// Hooks that do nothing.
#[derive(Debug)]
struct NoHooks;

impl WasiHooks for NoHooks {}

/// Output that goes nowhere.
#[derive(Debug)]
struct Discard;

impl OutputSink for Discard {
    fn write(&self, _rank: u32, _stream: Stream, _bytes: &[u8]) {}
    fn close(&self, _rank: u32) {}
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
    shared: Arc<[(String, String)]>,
    own: Vec<(String, String)>,
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

/// Puts a [`WasiCtx`] together.
#[derive(Default)]
pub(crate) struct WasiCtxBuilder {
    args: Option<Arc<[String]>>,
    env: Environment,
    preopens: Option<Arc<[Preopen]>>,
    stdin: StdinSource,
    output: Option<Arc<dyn OutputSink>>,
    rank: u32,
    hooks: Option<Arc<dyn WasiHooks>>,
}

impl fmt::Debug for WasiCtxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiCtxBuilder").field("rank", &self.rank).finish_non_exhaustive()
    }
}

impl WasiCtxBuilder {
    /// Program name and arguments; share one list among the ranks of a program.
    #[must_use]
    pub(crate) fn args(mut self, args: Arc<[String]>) -> Self {
        self.args = Some(args);
        self
    }

    /// Variables of all ranks; share one list among them.
    #[must_use]
    pub(crate) fn shared_env(mut self, variables: Arc<[(String, String)]>) -> Self {
        self.env.shared = variables;
        self
    }

    /// A variable of this rank; it hides a shared one of the same name.
    #[must_use]
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.own.push((key.into(), value.into()));
        self
    }

    /// Directories the guest may use, as descriptors 3 and up in this order.
    #[must_use]
    pub(crate) fn preopens(mut self, preopens: Arc<[Preopen]>) -> Self {
        self.preopens = Some(preopens);
        self
    }

    /// Where standard input comes from. Build all ranks that share a stream before one reads it.
    #[must_use]
    pub(crate) fn stdin(mut self, source: StdinSource) -> Self {
        self.stdin = source;
        self
    }

    /// Where standard output and error go.
    #[must_use]
    pub(crate) fn output(mut self, sink: Arc<dyn OutputSink>) -> Self {
        self.output = Some(sink);
        self
    }

    /// The number the sink knows this rank by; 0 unless set.
    #[must_use]
    pub(crate) fn rank(mut self, rank: u32) -> Self {
        self.rank = rank;
        self
    }

    /// Who is told of waits and asked for processor time.
    #[must_use]
    pub(crate) fn hooks(mut self, hooks: Arc<dyn WasiHooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// The finished interface.
    ///
    /// # Errors
    /// [`WasiSetupError::ZeroByte`] when an argument or variable cannot be a C string.
    pub(crate) fn build(self) -> Result<WasiCtx, WasiSetupError> {
        let args = self.args.unwrap_or_default();
        let variables = self.env.iter().flat_map(|(key, value)| [key, value]);
        if let Some(text) =
            args.iter().map(String::as_str).chain(variables).find(|s| s.contains('\0'))
        {
            return Err(WasiSetupError::ZeroByte { text: text.into() });
        }
        let preopens = self.preopens.unwrap_or_default();
        Ok(WasiCtx {
            args,
            env: self.env,
            files: initial_files(&preopens),
            preopens,
            stdin: StdinReader::new(self.stdin),
            output: self.output.unwrap_or_else(|| Arc::new(Discard)),
            rank: self.rank,
            hooks: self.hooks.unwrap_or_else(|| Arc::new(NoHooks)),
        })
    }
}

/// Standard streams and preopened directories.
fn initial_files(preopens: &[Preopen]) -> FileTable {
    // Directories of the command line come on top of what the guest may open itself.
    let mut files = FileTable::new(DESCRIPTORS_MAX + preopens.len());
    let streams = [
        (Object::Stdin, rights::STDIN),
        (Object::Stdout, rights::STDOUT),
        (Object::Stderr, rights::STDOUT),
    ];
    let streams = streams.into_iter().map(|(object, rights)| (object, rights, Rights::NONE));
    let directories = preopens.iter().enumerate().map(|(index, preopen)| {
        let directory = OpenDirectory {
            dir: Arc::clone(&preopen.dir),
            place: Place::root(index),
            preopened: true,
            listing: None,
        };
        (Object::Directory(directory), rights::DIRECTORY, rights::INHERITED)
    });
    for (fd, (object, rights, inheriting)) in (0..).zip(streams.chain(directories)) {
        let descriptor = Descriptor { object, rights, inheriting, flags: FdFlags::NONE };
        files.insert_at(Fd(fd), descriptor).expect("the limit lies above the preopens");
    }
    files
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
