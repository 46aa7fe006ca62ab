//! Putting a rank's system interface together.

use std::fmt;
use std::sync::Arc;

use super::ctx::{Environment, Preopen, WasiCtx, WasiHooks, WasiSetupError};
use super::flags::FdFlags;
use super::output::{OutputSink, Stream};
use super::rights::{self, Rights};
use super::stdin::{StdinReader, StdinSource};
use super::table::{Descriptor, Fd, FileTable, Object, OpenDirectory, Place};

/// Open descriptors a rank may have, as `ulimit -n` gives a process.
const DESCRIPTORS_MAX: usize = 1024;

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
            monotonic_shift_ns: 0,
            shared: None,
        })
    }
}

/// Hooks that do nothing.
#[derive(Debug)]
pub(super) struct NoHooks;

impl WasiHooks for NoHooks {}

/// Output that goes nowhere.
#[derive(Debug)]
struct Discard;

impl OutputSink for Discard {
    fn write(&self, _rank: u32, _stream: Stream, _bytes: &[u8]) {}
    fn close(&self, _rank: u32) {}
}

/// Standard streams and preopened directories.
pub(super) fn initial_files(preopens: &[Preopen]) -> FileTable {
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
