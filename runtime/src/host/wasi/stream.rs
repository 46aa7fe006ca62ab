//! Input that ranks share: the process's standard input, moved by a thread when somebody reads.
//!
//! ```text
//!   process's stdin ── pump thread ──> StdinStream (chunks) ──> StdinReader of rank 0
//!                      (on demand)                         └──> StdinReader of rank 1 ...
//! ```
//! Every reader of a stream gets every byte, so that one stream serves `--stdin 0` and
//! `--stdin all` alike. Input is taken only while a reader waits for it: a job that never reads
//! leaves the terminal's input to the shell. A chunk is dropped once the last reader has passed
//! it; the worst-case memory is what the fastest reader has read and the slowest has not, once for
//! the whole job. A waiting reader is a parked task and a thread in `poll`: no CPU time.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::errno::Errno;

/// Bytes taken from the input at once.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// An input stream that any number of ranks can read, each from its first byte; clones share it.
#[derive(Clone, Debug)]
pub struct StdinStream {
    shared: Arc<Shared>,
}

impl StdinStream {
    /// The standard input of this process. Nothing is read before a rank reads.
    ///
    /// # Errors
    /// When the descriptor is closed or no further one can be had.
    pub fn process() -> std::io::Result<Self> {
        Self::from_fd(std::io::stdin().as_fd().try_clone_to_owned()?)
    }

    /// Reads `input`, in a thread that lives from the first read of a rank to the end of the input
    /// or the last handle of the stream.
    ///
    /// # Errors
    /// When no descriptor is left for waking the thread.
    pub fn from_fd(input: OwnedFd) -> std::io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(rustix::event::eventfd(0, flags)?);
        let terminal = input.is_terminal();
        let source = Source::Descriptor { input: Some(input), wake };
        Ok(Self::new(source, terminal))
    }

    /// A stream that is fed from elsewhere: `ask` is called when a rank waits and nothing is here,
    /// once for each [`StdinStream::feed`].
    pub(crate) fn fed(terminal: bool, ask: impl Fn() + Send + Sync + 'static) -> Self {
        Self::new(Source::Elsewhere(Ask(Box::new(ask))), terminal)
    }

    /// Bytes have arrived for a stream that is fed; none at its end.
    pub(crate) fn feed(&self, bytes: &[u8]) {
        self.shared.arrive(Ok(bytes));
    }

    fn new(source: Source, terminal: bool) -> Self {
        let state = Mutex::new(State { source, ..State::default() });
        Self { shared: Arc::new(Shared { state, arrived: Notify::new(), terminal }) }
    }

    /// Keeps everything that is read from now on for readers that come later, as those of a job that is restarted.
    pub fn keep(&self) {
        // A reader that never reads and never leaves.
        self.join();
    }

    /// Keeps what is read from now on for readers that come later, until it is more than `bytes` in all.
    pub(crate) fn keep_up_to(&self, bytes: u64) {
        let mut state = self.shared.state.lock();
        if state.kept_max.is_none() && state.end <= bytes {
            state.kept_max = Some(bytes);
            state.join();
        }
    }

    /// Whether a reader that comes now begins with the first byte.
    pub(crate) fn is_whole(&self) -> bool {
        self.shared.state.lock().first() == 0
    }

    /// Registers a reader; gives the position it starts at, which is 0 unless bytes were dropped.
    pub(crate) fn join(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.join();
        state.first()
    }

    /// The reader at `position` reads no more.
    pub(crate) fn leave(&self, position: u64) {
        let mut state = self.shared.state.lock();
        state.readers -= 1;
        state.advance(position, u64::MAX);
    }

    /// What the reader at `position` would find; when that is nothing, input is asked for.
    pub(crate) fn ready(&self, position: u64) -> Result<StdinReady, Errno> {
        let mut state = self.shared.state.lock();
        if state.end > position {
            return Ok(StdinReady::Bytes(state.end - position));
        }
        self.shared.demand(&mut state);
        match state.finished {
            Some(result) => result.map(|()| StdinReady::End),
            None => Ok(StdinReady::Empty),
        }
    }

    /// Is done at the next arrival of bytes or of the end.
    pub(crate) fn arrival(&self) -> Notified<'_> {
        self.shared.arrived.notified()
    }

    /// The reader at `from` passes what has arrived before `to`; gives its new position.
    pub(crate) fn skip(&self, from: u64, to: u64) -> u64 {
        let mut state = self.shared.state.lock();
        let to = to.min(state.end);
        state.advance(from, to);
        to
    }

    /// Copies what there is at `position` and lets that reader pass it; gives the bytes copied.
    pub(crate) fn take(&self, position: u64, out: &mut [u8]) -> usize {
        let mut state = self.shared.state.lock();
        let len = state.copy(position, out);
        state.advance(position, position + len as u64);
        len
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.shared.terminal
    }
}

/// What a read that does not wait finds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum StdinReady {
    /// This many bytes are there.
    Bytes(u64),
    /// The end.
    End,
    /// Nothing yet.
    Empty,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified when bytes or the end have arrived.
    arrived: Notify,
    terminal: bool,
}

/// Where bytes come from.
#[derive(Debug, Default)]
enum Source {
    /// Nowhere any more.
    #[default]
    Nothing,
    /// A descriptor of this process, taken by the pump when it starts, and what wakes the pump: a
    /// reader waits, or the stream is gone.
    Descriptor { input: Option<OwnedFd>, wake: Arc<OwnedFd> },
    /// Somebody who is asked.
    Elsewhere(Ask),
}

/// What asks for input.
struct Ask(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ask")
    }
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// Position after the last byte that arrived.
    end: u64,
    /// Set once nothing more arrives; an error other than the plain end is given to the readers.
    finished: Option<Result<(), Errno>>,
    wanted: bool,
    readers: usize,
    /// Beyond so many bytes nothing is kept any more for readers that come later, if anything is.
    kept_max: Option<u64>,
    source: Source,
}

#[derive(Debug)]
struct Chunk {
    start: u64,
    bytes: Vec<u8>,
    /// Readers that have not passed this chunk.
    pending: usize,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl State {
    /// Position of the first byte that is still held.
    fn first(&self) -> u64 {
        self.chunks.front().map_or(self.end, |chunk| chunk.start)
    }

    fn join(&mut self) {
        self.readers += 1;
        self.chunks.iter_mut().for_each(|chunk| chunk.pending += 1);
    }

    fn push(&mut self, bytes: &[u8]) {
        let start = self.end;
        self.end += bytes.len() as u64;
        self.wanted = false;
        if self.readers > 0 {
            self.chunks.push_back(Chunk { start, bytes: bytes.to_vec(), pending: self.readers });
        }
        if self.kept_max.is_some_and(|most| self.end > most) {
            self.kept_max = None;
            self.readers -= 1;
            self.advance(0, u64::MAX);
        }
    }

    /// A reader goes from `from` to `to`; chunks that nobody needs any more are dropped.
    fn advance(&mut self, from: u64, to: u64) {
        for chunk in &mut self.chunks {
            if chunk.end() > from && chunk.end() <= to {
                chunk.pending -= 1;
            }
        }
        while self.chunks.front().is_some_and(|chunk| chunk.pending == 0) {
            self.chunks.pop_front();
        }
    }

    fn copy(&self, position: u64, out: &mut [u8]) -> usize {
        let first = self.chunks.partition_point(|chunk| chunk.end() <= position);
        let mut copied = 0;
        for chunk in self.chunks.iter().skip(first) {
            let skip = (position + copied as u64 - chunk.start) as usize;
            let part = &chunk.bytes[skip..];
            let len = part.len().min(out.len() - copied);
            out[copied..copied + len].copy_from_slice(&part[..len]);
            copied += len;
            if copied == out.len() {
                break;
            }
        }
        copied
    }
}

impl Shared {
    /// Asks for bytes, of the pump or of whoever feeds the stream; starts a pump that never ran.
    fn demand(self: &Arc<Self>, state: &mut State) {
        if state.finished.is_some() || std::mem::replace(&mut state.wanted, true) {
            return;
        }
        let (input, wake) = match &mut state.source {
            Source::Nothing => return,
            Source::Elsewhere(ask) => return ask.0(),
            Source::Descriptor { input, wake } => (input, wake),
        };
        let Some(input) = input.take() else { return signal(wake) };
        let (weak, wake) = (Arc::downgrade(self), Arc::clone(wake));
        let thread = std::thread::Builder::new().name("faasm-stdin".into());
        if let Err(error) = thread.spawn(move || pump(&weak, &wake, &input)) {
            state.finished = Some(Err(error.into()));
            self.arrived.notify_waiters();
        }
    }

    fn arrive(&self, result: Result<&[u8], Errno>) -> bool {
        let mut state = self.state.lock();
        match result {
            Ok([]) => state.finished = Some(Ok(())),
            Ok(bytes) => state.push(bytes),
            Err(error) => state.finished = Some(Err(error)),
        }
        self.arrived.notify_waiters();
        state.finished.is_none()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Source::Descriptor { wake, .. } = &self.state.get_mut().source {
            signal(wake);
        }
    }
}

/// Wakes the pump.
fn signal(wake: &OwnedFd) {
    // It fails only when the counter is full, and then a wake is pending anyway.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

/// Moves input into the stream while somebody wants it; ends with the input or the stream.
fn pump(stream: &Weak<Shared>, wake: &OwnedFd, input: &OwnedFd) {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    loop {
        let Some(wanted) = stream.upgrade().map(|shared| shared.state.lock().wanted) else {
            return;
        };
        if !wait_for_input(wake, wanted.then_some(input)) {
            continue;
        }
        let result = match rustix::io::read(input, &mut buffer) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
            result => result.map(|len| &buffer[..len]).map_err(Errno::from),
        };
        if !stream.upgrade().is_some_and(|shared| shared.arrive(result)) {
            return;
        }
    }
}

/// Waits for a wake or for input; tells whether there is input.
fn wait_for_input(wake: &OwnedFd, input: Option<&OwnedFd>) -> bool {
    let mut fds = [PollFd::new(wake, PollFlags::IN), PollFd::new(wake, PollFlags::empty())];
    if let Some(input) = input {
        fds[1] = PollFd::new(input, PollFlags::IN);
    }
    if rustix::event::poll(&mut fds, None).is_err() {
        return false;
    }
    if fds[0].revents().contains(PollFlags::IN) {
        let _ = rustix::io::read(wake, &mut [0; 8]);
    }
    input.is_some() && !fds[1].revents().is_empty()
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
