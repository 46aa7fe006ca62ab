//! The output of all ranks of a job on one standard output and one standard error.
//!
//! Bytes are written by the worker that runs the rank, under the stream's lock, in one system call
//! for each guest write: output needs no thread and is visible when the guest's call returns. A
//! reader that does not read stops whoever prints, as it stops a native program.

use std::{
    fmt,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    line::{Limits, LineMerger, Tags},
    rank_files::RankFiles,
};
use crate::host::wasi::{OutputSink, Stream};

/// How a job's output is brought together.
#[derive(Clone, Debug, Default)]
pub struct MultiplexerOptions {
    /// Number of ranks of the job.
    pub ranks: u32,
    /// Whether each line begins with its rank and stream.
    pub tagged: bool,
    /// The host of each rank, to stand in the tags; empty for a job of one node.
    pub hosts: Vec<Arc<str>>,
    /// Whether standard error of the ranks goes to standard output.
    pub merge_stderr: bool,
    /// A directory for one file for each rank and stream, if they are wanted.
    pub files: Option<PathBuf>,
    /// Whether output goes to nothing but the files.
    pub only_files: bool,
}

/// Why output was lost. The job it belongs to should end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputFailure {
    /// Whoever read our standard output or error has gone, as `head` does.
    #[error("nobody reads our {0} any more")]
    Closed(Stream),
    /// A stream or file cannot be written.
    #[error("cannot write {target}: {source}")]
    Write {
        /// What was to be written.
        target: String,
        /// Why it could not be.
        source: io::Error,
    },
}

/// Writes the output of all ranks to our standard output and error, lines whole.
pub struct Multiplexer {
    shared: Arc<Shared>,
    clock_thread: Once,
}

struct Shared {
    options: MultiplexerOptions,
    /// Standard output and standard error; one if they are the same.
    ports: Vec<Port>,
    files: Option<RankFiles>,
    failed: AtomicBool,
    on_failure: Box<dyn Fn(OutputFailure) + Send + Sync>,
    clock: Mutex<Clock>,
    clock_changed: Condvar,
}

/// What the thread that waits for prompts has been told.
#[derive(Default)]
struct Clock {
    armed: bool,
    stop: bool,
}

struct Port {
    stream: Stream,
    state: Mutex<PortState>,
}

struct PortState {
    target: File,
    merger: LineMerger,
    /// What is to be written; kept for its memory.
    out: Vec<u8>,
    /// Whether the clock knows that a line is unfinished.
    clock_armed: bool,
}

impl Multiplexer {
    /// Writes to the standard output and error of this process. `on_failure` is called at most
    /// once, from the thread that was writing.
    ///
    /// # Errors
    /// Files were asked for and cannot be created, or a standard stream is closed.
    pub fn new(
        options: MultiplexerOptions,
        on_failure: impl Fn(OutputFailure) + Send + Sync + 'static,
    ) -> Result<Self, OutputFailure> {
        Self::with_targets(options, [io::stdout().as_fd(), io::stderr().as_fd()], on_failure)
    }

    fn with_targets(
        options: MultiplexerOptions,
        targets: [BorrowedFd<'_>; 2],
        on_failure: impl Fn(OutputFailure) + Send + Sync + 'static,
    ) -> Result<Self, OutputFailure> {
        let mut ports = vec![Port::new(Stream::Stdout, targets[0], &options)?];
        if !is_same_file(targets) {
            ports.push(Port::new(Stream::Stderr, targets[1], &options)?);
        }
        let streams: &[Stream] = if options.merge_stderr {
            &[Stream::Stdout]
        } else {
            &[Stream::Stdout, Stream::Stderr]
        };
        let files = match &options.files {
            Some(dir) => {
                Some(RankFiles::create(dir, options.ranks, streams).map_err(file_failure)?)
            }
            None => None,
        };
        let shared = Shared {
            options,
            ports,
            files,
            failed: AtomicBool::new(false),
            on_failure: Box::new(on_failure),
            clock: Mutex::default(),
            clock_changed: Condvar::new(),
        };
        Ok(Self { shared: Arc::new(shared), clock_thread: Once::new() })
    }

    /// Prints lines of the launcher itself on standard error, between those of the ranks. Gives up
    /// when nobody has read our output for a while: a launcher that is to end a job must not wait
    /// for it.
    pub fn message(&self, lines: &str) {
        if lines.is_empty() {
            return;
        }
        let port = self.shared.port(Stream::Stderr);
        if let Some(mut state) = port.state.try_lock_for(MESSAGE_PATIENCE) {
            let PortState { merger, out, .. } = &mut *state;
            merger.message(lines.as_bytes(), out);
            self.shared.flush(port, &mut state);
        }
    }

    /// Writes what is still kept, after the last rank has ended. A stream on which a rank that was
    /// left behind is stuck is left alone.
    pub fn finish(&self) {
        for port in &self.shared.ports {
            let Some(mut state) = port.state.try_lock_for(MESSAGE_PATIENCE) else { continue };
            let PortState { merger, out, .. } = &mut *state;
            merger.finish(out);
            self.shared.flush(port, &mut state);
        }
    }

    /// Makes sure that an unfinished line appears after a while.
    fn arm_clock(&self) {
        self.shared.clock.lock().armed = true;
        self.shared.clock_changed.notify_one();
        self.clock_thread.call_once(|| {
            let shared = Arc::clone(&self.shared);
            std::thread::Builder::new()
                .name("faasm-prompt".to_owned())
                .spawn(move || shared.run_clock())
                .expect("a process that runs a job can start one more thread");
        });
    }
}

impl OutputSink for Multiplexer {
    fn write(&self, rank: u32, stream: Stream, bytes: &[u8]) {
        let shared = &self.shared;
        let stream = if shared.options.merge_stderr { Stream::Stdout } else { stream };
        if let Some(Err(failure)) =
            shared.files.as_ref().map(|files| files.write((rank, stream), bytes))
        {
            shared.fail(file_failure(failure));
        }
        if shared.options.only_files {
            return;
        }
        let port = shared.port(stream);
        let mut state = port.state.lock();
        let PortState { merger, out, .. } = &mut *state;
        merger.write((rank, stream), bytes, Instant::now(), out);
        shared.flush(port, &mut state);
        let arm = state.merger.wants_tick() && !std::mem::replace(&mut state.clock_armed, true);
        drop(state);
        if arm {
            self.arm_clock();
        }
    }

    fn close(&self, rank: u32) {
        for port in &self.shared.ports {
            let mut state = port.state.lock();
            let PortState { merger, out, .. } = &mut *state;
            for stream in [Stream::Stdout, Stream::Stderr] {
                merger.close((rank, stream), out);
            }
            self.shared.flush(port, &mut state);
        }
    }

    fn moved(&self, rank: u32, host: &str) {
        for port in &self.shared.ports {
            port.state.lock().merger.moved(rank, host);
        }
    }
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        self.finish();
        self.shared.clock.lock().stop = true;
        self.shared.clock_changed.notify_one();
    }
}

impl fmt::Debug for Multiplexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multiplexer").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Shared {
    fn port(&self, stream: Stream) -> &Port {
        self.ports.iter().find(|port| port.stream == stream).unwrap_or(&self.ports[0])
    }

    fn flush(&self, port: &Port, state: &mut PortState) {
        if state.out.is_empty() {
            return;
        }
        if !self.failed.load(Ordering::Relaxed)
            && let Err(error) = write_all(&mut state.target, &state.out)
        {
            self.fail(match error.kind() {
                io::ErrorKind::BrokenPipe => OutputFailure::Closed(port.stream),
                _ => OutputFailure::Write { target: port.stream.to_string(), source: error },
            });
        }
        state.out.clear();
        state.out.shrink_to(OUT_BYTES_KEPT);
    }

    fn fail(&self, failure: OutputFailure) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            (self.on_failure)(failure);
        }
    }

    fn run_clock(&self) {
        let mut clock = self.clock.lock();
        while !clock.stop {
            if !std::mem::take(&mut clock.armed) {
                self.clock_changed.wait(&mut clock);
                continue;
            }
            let due = parking_lot::MutexGuard::unlocked(&mut clock, || self.tick());
            if let (Some(due), false) = (due, clock.stop) {
                clock.armed = true;
                self.clock_changed.wait_until(&mut clock, due);
            }
        }
    }

    /// Passes on the prompts that have waited long enough; returns when the next one will have.
    fn tick(&self) -> Option<Instant> {
        let tick_port = |port: &Port| {
            let mut state = port.state.lock();
            let PortState { merger, out, .. } = &mut *state;
            let due = merger.tick(Instant::now(), out);
            self.flush(port, &mut state);
            state.clock_armed = due.is_some();
            due
        };
        self.ports.iter().filter_map(tick_port).min()
    }
}

impl Port {
    fn new(
        stream: Stream,
        target: BorrowedFd<'_>,
        options: &MultiplexerOptions,
    ) -> Result<Self, OutputFailure> {
        let line_bytes_max = LINES_BYTES_MAX / options.ranks.max(1) as usize;
        let limits = Limits {
            line_bytes_max: line_bytes_max.clamp(LINE_BYTES_MIN, LINE_BYTES_MAX),
            deferred_bytes_max: if target.is_terminal() { 0 } else { DEFERRED_BYTES_MAX },
        };
        let target = target
            .try_clone_to_owned()
            .map_err(|source| OutputFailure::Write { target: stream.to_string(), source })?;
        let state = PortState {
            target: File::from(target),
            merger: LineMerger::new(limits, tags(options)),
            out: Vec::new(),
            clock_armed: false,
        };
        Ok(Self { stream, state: Mutex::new(state) })
    }
}

fn tags(options: &MultiplexerOptions) -> Tags {
    match (options.tagged, options.hosts.is_empty()) {
        (false, _) => Tags::None,
        (true, true) => Tags::Rank,
        (true, false) => Tags::RankAndHost(options.hosts.clone().into()),
    }
}

/// Whether both are the same terminal, pipe or file (`2>&1`): lines must then stay whole between
/// the two as well.
fn is_same_file(targets: [BorrowedFd<'_>; 2]) -> bool {
    match targets.map(rustix::fs::fstat) {
        [Ok(a), Ok(b)] => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// Writes everything, even to a terminal that another program has made non-blocking.
fn write_all(target: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let writable = rustix::event::PollFd::new(target, rustix::event::PollFlags::OUT);
                rustix::event::poll(&mut [writable], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn file_failure((path, source): (PathBuf, io::Error)) -> OutputFailure {
    OutputFailure::Write { target: path.display().to_string(), source }
}

/// Most memory for the unfinished lines of all ranks together; a single one gets a share between
/// the next two.
const LINES_BYTES_MAX: usize = 64 << 20;
const LINE_BYTES_MIN: usize = 4 << 10;
const LINE_BYTES_MAX: usize = 64 << 10;
/// Most output that waits for the end of another rank's line.
const DEFERRED_BYTES_MAX: usize = 1 << 20;
/// Memory kept from one write to the next.
const OUT_BYTES_KEPT: usize = 64 << 10;
/// How long a message of ours waits for the stream.
const MESSAGE_PATIENCE: Duration = Duration::from_millis(200);

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
