//! A rank with a temporary directory, for tests of system functions.

use std::path::PathBuf;
use std::sync::Arc;

use faasm_vm::{GuestAddr, GuestMemory};
use parking_lot::Mutex;

use super::ctx::{Preopen, WasiCtx};
use super::errno::Errno;
use super::file;
use super::flags::{FdFlags, LookupFlags, OFlags};
use super::iovec::Iovecs;
use super::open::{OpenArgs, path_open};
use super::output::{OutputSink, Stream};
use super::rights::Rights;
use super::stdin::StdinSource;
use super::table::Fd;

/// The writable preopen of a rig.
pub(crate) const ROOT: Fd = Fd(3);
/// The same directory, preopened read-only.
pub(crate) const READ_ONLY: Fd = Fd(4);
/// Guest memory of a rig in bytes.
const MEMORY_BYTES: usize = 1024 * 1024;
/// Where `Rig` puts its list of buffers and its data.
const LIST: GuestAddr = GuestAddr::new(16);
const DATA: GuestAddr = GuestAddr::new(64 * 1024);

/// Runs a future as a worker would, in a runtime with timers.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}

/// Keeps what ranks print.
#[derive(Debug, Default)]
pub(crate) struct Collected(pub(crate) Mutex<Vec<(u32, Stream, Vec<u8>)>>);

impl OutputSink for Collected {
    fn write(&self, rank: u32, stream: Stream, bytes: &[u8]) {
        self.0.lock().push((rank, stream, bytes.to_vec()));
    }

    fn close(&self, _rank: u32) {}
}

/// A rank, its memory and a directory: `dir/inside` is what it may use, `dir` what it may not.
pub(crate) struct Rig {
    pub(crate) ctx: WasiCtx,
    pub(crate) memory: GuestMemory,
    pub(crate) output: Arc<Collected>,
    dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_stdin(StdinSource::Closed)
    }

    pub(crate) fn with_stdin(stdin: StdinSource) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).expect("a directory");
        let preopens = [("/work", false), ("/input", true)]
            .map(|(guest, read_only)| Preopen::open(&inside, guest, read_only).expect("it exists"));
        let output = Arc::new(Collected::default());
        let sink = Arc::clone(&output);
        let builder = WasiCtx::builder().preopens(Arc::new(preopens)).stdin(stdin).rank(5);
        let ctx = builder.output(sink).build().expect("a plain configuration");
        Self { ctx, memory: GuestMemory::for_test(MEMORY_BYTES), output, dir }
    }

    /// Host path of `name` in the rank's directory.
    pub(crate) fn host(&self, name: &str) -> PathBuf {
        self.dir.path().join("inside").join(name)
    }

    /// Writes a file as the host does.
    pub(crate) fn host_file(&self, name: &str, content: &[u8]) {
        std::fs::write(self.host(name), content).expect("a file");
    }

    /// `path_open` below `fd`, following links.
    pub(crate) fn open_at(
        &mut self,
        fd: Fd,
        path: &str,
        rights: Rights,
        oflags: OFlags,
        flags: FdFlags,
    ) -> Result<Fd, Errno> {
        let lookup = LookupFlags::SYMLINK_FOLLOW;
        let args = OpenArgs { lookup, oflags, rights, inheriting: Rights::ALL, flags };
        block_on(path_open(&mut self.ctx, fd, path, args))
    }

    /// Opens an existing file or directory to read.
    pub(crate) fn open(&mut self, path: &str) -> Result<Fd, Errno> {
        let rights = Rights::ALL.without(super::rights::NEED_WRITE);
        self.open_at(ROOT, path, rights, OFlags::NONE, FdFlags::NONE)
    }

    /// Creates a file with all rights.
    pub(crate) fn create(&mut self, path: &str) -> Fd {
        let created = self.open_at(ROOT, path, Rights::ALL, OFlags::CREAT, FdFlags::NONE);
        created.expect("the file can be created")
    }

    /// Lists one buffer of `len` bytes at `DATA`.
    pub(crate) fn buffer(&self, len: u32) -> Iovecs {
        let data = u32::try_from(DATA.get()).expect("a small address");
        self.memory.write_u32(LIST, data).expect("in bounds");
        let at = LIST.checked_add(4).expect("a small address");
        self.memory.write_u32(at, len).expect("in bounds");
        Iovecs { addr: LIST, count: 1 }
    }

    /// Lists one buffer that holds `data`.
    pub(crate) fn data(&self, data: &[u8]) -> Iovecs {
        self.memory.write(DATA, data).expect("in bounds");
        self.buffer(u32::try_from(data.len()).expect("short data"))
    }

    /// What is in the buffer.
    pub(crate) fn got(&self, len: u32) -> Vec<u8> {
        self.memory.read_vec(DATA, u64::from(len)).expect("in bounds")
    }

    /// `fd_write`.
    pub(crate) fn write(&mut self, fd: Fd, data: &[u8]) -> Result<u32, Errno> {
        let buffers = self.data(data);
        block_on(file::write(&mut self.ctx, &self.memory, fd, buffers))
    }

    /// `fd_read`.
    pub(crate) fn read(&mut self, fd: Fd, len: u32) -> Result<Vec<u8>, Errno> {
        let buffers = self.buffer(len);
        let read = block_on(file::read(&mut self.ctx, &self.memory, fd, buffers))?;
        Ok(self.got(read))
    }
}
