use std::time::Duration;

use faasm_vm::GuestAddr;

use super::super::descriptor;
use super::super::flags::OFlags;
use super::super::rights;
use super::super::stdin::StdinSource;
use super::super::stream::StdinStream;
use super::super::testing::{READ_ONLY, ROOT, Rig, block_on};
use super::*;

const STDIN: Fd = Fd(0);
const STDOUT: Fd = Fd(1);
const STDERR: Fd = Fd(2);

#[test]
fn writes_and_reads_move_the_offset() {
    let mut rig = Rig::new();
    let fd = rig.create("f");
    assert_eq!(rig.write(fd, b"hello world"), Ok(11));
    assert_eq!(tell(&mut rig.ctx, fd), Ok(11));
    assert_eq!(seek(&mut rig.ctx, fd, -5, 2), Ok(6));
    assert_eq!(rig.read(fd, 100), Ok(b"world".to_vec()));
    assert_eq!(rig.read(fd, 100), Ok(Vec::new()), "the end of the file");
    assert_eq!(seek(&mut rig.ctx, fd, 1, 0), Ok(1));
    assert_eq!(seek(&mut rig.ctx, fd, 2, 1), Ok(3));
    assert_eq!(rig.read(fd, 3), Ok(b"lo ".to_vec()));
    assert_eq!(std::fs::read(rig.host("f")).expect("it is there"), b"hello world");
}

#[test]
fn seeks_outside_the_possible_are_refused() {
    let mut rig = Rig::new();
    let fd = rig.create("f");
    assert_eq!(seek(&mut rig.ctx, fd, -1, 0), Err(Errno::Inval));
    assert_eq!(seek(&mut rig.ctx, fd, 0, 3), Err(Errno::Inval));
    assert_eq!(seek(&mut rig.ctx, fd, i64::MAX, 0), Ok(i64::MAX as u64));
    assert_eq!(seek(&mut rig.ctx, fd, 1, 1), Err(Errno::Overflow));
    assert_eq!(seek(&mut rig.ctx, STDOUT, 0, 1), Err(Errno::Spipe));
    assert_eq!(seek(&mut rig.ctx, ROOT, 0, 1), Err(Errno::Isdir));
    assert_eq!(seek(&mut rig.ctx, Fd(77), 0, 1), Err(Errno::Badf));
}

#[test]
fn positioned_access_leaves_the_offset() {
    let mut rig = Rig::new();
    let fd = rig.create("f");
    let buffers = rig.data(b"abc");
    assert_eq!(pwrite(&mut rig.ctx, &rig.memory, fd, buffers, 4), Ok(3));
    let buffers = rig.buffer(100);
    assert_eq!(pread(&mut rig.ctx, &rig.memory, fd, buffers, 2), Ok(5));
    assert_eq!(rig.got(5), b"\0\0abc");
    assert_eq!(tell(&mut rig.ctx, fd), Ok(0));
    assert_eq!(pread(&mut rig.ctx, &rig.memory, fd, buffers, 1 << 63), Err(Errno::Inval));
    assert_eq!(pread(&mut rig.ctx, &rig.memory, STDIN, buffers, 0), Err(Errno::Spipe));
}

#[test]
fn appending_goes_to_the_end_whoever_moved_it() {
    let mut rig = Rig::new();
    rig.host_file("log", b"one ");
    let rights = Rights::FD_WRITE.or(Rights::FD_TELL).or(Rights::FD_FDSTAT_SET_FLAGS);
    let fd = rig.open_at(ROOT, "log", rights, OFlags::NONE, FdFlags::APPEND).expect("it opens");
    assert_eq!(rig.write(fd, b"two "), Ok(4));
    assert_eq!(tell(&mut rig.ctx, fd), Ok(8));
    rig.host_file("log", b"replaced by somebody ");
    assert_eq!(rig.write(fd, b"three"), Ok(5));
    assert_eq!(std::fs::read(rig.host("log")).expect("it is there"), b"replaced by somebody three");
    descriptor::set_flags(&mut rig.ctx, fd, 0).expect("allowed");
    assert_eq!(seek(&mut rig.ctx, fd, 0, 0), Err(Errno::Notcapable), "only tell was asked for");
    assert_eq!(rig.write(fd, b"!"), Ok(1));
    assert_eq!(tell(&mut rig.ctx, fd), Ok(27));
}

#[test]
fn synchronous_writes_still_write() {
    let mut rig = Rig::new();
    for flags in [FdFlags::DSYNC, FdFlags::SYNC, FdFlags::RSYNC] {
        let fd = rig.open_at(ROOT, "f", Rights::ALL, OFlags::CREAT, flags).expect("it opens");
        assert_eq!(rig.write(fd, b"abc"), Ok(3), "{flags:?}");
        assert_eq!(sync(&mut rig.ctx, fd, false), Ok(()));
        assert_eq!(sync(&mut rig.ctx, fd, true), Ok(()));
    }
    assert_eq!(sync(&mut rig.ctx, ROOT, false), Ok(()), "directories are synchronised too");
}

#[test]
fn output_goes_to_the_sink_in_one_piece() {
    let mut rig = Rig::new();
    assert_eq!(rig.write(STDOUT, b"line\n"), Ok(5));
    assert_eq!(rig.write(STDERR, b"oops"), Ok(4));
    assert_eq!(rig.write(STDOUT, b""), Ok(0));
    assert_eq!(rig.write(STDIN, b"x"), Err(Errno::Notcapable));
    assert_eq!(rig.read(STDOUT, 1), Err(Errno::Notcapable));
    let expected = [(5, Stream::Stdout, b"line\n".to_vec()), (5, Stream::Stderr, b"oops".to_vec())];
    assert_eq!(*rig.output.0.lock(), expected);
}

#[test]
fn stdin_bytes_are_read_to_their_end() {
    let mut rig = Rig::with_stdin(StdinSource::Bytes((*b"some input").into()));
    assert_eq!(rig.read(STDIN, 4), Ok(b"some".to_vec()));
    assert_eq!(rig.read(STDIN, 0), Ok(Vec::new()));
    assert_eq!(rig.read(STDIN, 100), Ok(b" input".to_vec()));
    assert_eq!(rig.read(STDIN, 100), Ok(Vec::new()));
    assert_eq!(Rig::new().read(STDIN, 1), Ok(Vec::new()), "closed input is at its end");
}

#[test]
fn a_read_of_stdin_waits_unless_told_not_to() {
    let (read, write) = std::io::pipe().expect("a pipe");
    let stream = StdinStream::from_fd(read.into()).expect("a stream");
    let mut rig = Rig::with_stdin(StdinSource::Stream(stream));
    descriptor::set_flags(&mut rig.ctx, STDIN, FdFlags::NONBLOCK.raw().into()).expect("allowed");
    assert_eq!(rig.read(STDIN, 9), Err(Errno::Again));
    descriptor::set_flags(&mut rig.ctx, STDIN, 0).expect("allowed");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        rustix::io::write(&write, b"late").expect("somebody reads");
    });
    assert_eq!(rig.read(STDIN, 9), Ok(b"late".to_vec()));
    writer.join().expect("the writer does not fail");
    assert_eq!(rig.read(STDIN, 9), Ok(Vec::new()));
}

#[test]
fn named_pipes_wait_for_their_other_end() {
    let mut rig = Rig::new();
    let path = rig.host("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a named pipe");
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        std::fs::write(&path, b"through the pipe").expect("somebody reads");
        std::thread::sleep(Duration::from_millis(30));
        std::fs::read(&path).expect("somebody writes")
    });
    let fd = rig.open("pipe").expect("it opens to read");
    assert_eq!(seek(&mut rig.ctx, fd, 0, 0), Err(Errno::Spipe));
    assert_eq!(rig.read(fd, 100), Ok(b"through the pipe".to_vec()));
    assert_eq!(rig.read(fd, 100), Ok(Vec::new()), "the writer is gone");
    descriptor::close(&mut rig.ctx, fd).expect("it is open");
    let write = Rights::FD_WRITE;
    let fd = rig.open_at(ROOT, "pipe", write, OFlags::NONE, FdFlags::NONE).expect("it opens");
    assert_eq!(rig.write(fd, b"back"), Ok(4));
    descriptor::close(&mut rig.ctx, fd).expect("it is open");
    assert_eq!(other.join().expect("the other end does not fail"), b"back");
}

#[test]
fn errors_of_the_device_reach_the_guest() {
    let mut rig = Rig::new();
    // The host's device that is always full stands in for a full disk.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it exists");
    let fd = rig.create("f");
    let file = rig.ctx.files.file_mut(fd, Rights::NONE).expect("a file");
    file.file = cap_std::fs::File::from_std(full);
    assert_eq!(rig.write(fd, b"no room"), Err(Errno::Nospc));
    assert_eq!(tell(&mut rig.ctx, fd), Ok(0));
}

#[test]
fn sizes_are_set_and_space_is_allocated() {
    let mut rig = Rig::new();
    let fd = rig.create("f");
    assert_eq!(set_size(&mut rig.ctx, fd, 1000), Ok(()));
    assert_eq!(set_size(&mut rig.ctx, fd, 1 << 63), Err(Errno::Inval));
    assert_eq!(rig.host("f").metadata().expect("it is there").len(), 1000);
    assert_eq!(allocate(&mut rig.ctx, fd, 0, 0), Err(Errno::Inval));
    assert_eq!(allocate(&mut rig.ctx, fd, u64::MAX, 2), Err(Errno::Inval));
    let allocated = allocate(&mut rig.ctx, fd, 1000, 1000);
    assert!(matches!(allocated, Ok(()) | Err(Errno::Notsup)), "{allocated:?}");
    for advice in 0..6 {
        assert_eq!(advise(&mut rig.ctx, fd, 0, 0, advice), Ok(()));
    }
    assert_eq!(advise(&mut rig.ctx, fd, 0, 0, 6), Err(Errno::Inval));
    assert_eq!(advise(&mut rig.ctx, STDIN, 0, 0, 0), Err(Errno::Notcapable));
}

#[test]
fn a_file_opened_to_read_cannot_be_changed() {
    let mut rig = Rig::new();
    rig.host_file("f", b"abc");
    for directory in [ROOT, READ_ONLY] {
        let rights = rights::FILE.without(rights::NEED_WRITE);
        let fd = rig.open_at(directory, "f", rights, OFlags::NONE, FdFlags::NONE);
        let fd = fd.expect("it opens to read");
        assert_eq!(rig.read(fd, 9), Ok(b"abc".to_vec()));
        assert_eq!(rig.write(fd, b"x"), Err(Errno::Notcapable));
        assert_eq!(set_size(&mut rig.ctx, fd, 0), Err(Errno::Notcapable));
        assert_eq!(allocate(&mut rig.ctx, fd, 0, 9), Err(Errno::Notcapable));
    }
}

#[test]
fn bad_buffers_touch_nothing() {
    let mut rig = Rig::new();
    let fd = rig.create("f");
    let outside = Iovecs { addr: GuestAddr::new(u64::from(u32::MAX)), count: 1 };
    let written = block_on(write(&mut rig.ctx, &rig.memory, fd, outside));
    assert_eq!(written, Err(Errno::Fault));
    let many = Iovecs { addr: GuestAddr::new(0), count: 1025 };
    assert_eq!(block_on(read(&mut rig.ctx, &rig.memory, fd, many)), Err(Errno::Inval));
    assert_eq!(rig.read(ROOT, 1), Err(Errno::Isdir));
}

/// Counts how often the owner is told that the thread will wait.
#[derive(Default)]
struct Blocking(std::sync::atomic::AtomicU32);

impl WasiHooks for Blocking {
    fn blocks(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn the_owner_is_told_before_the_thread_waits_for_a_device() {
    let mut rig = Rig::new();
    let hooks = std::sync::Arc::new(Blocking::default());
    rig.ctx.hooks = hooks.clone();
    let told = || hooks.0.swap(0, std::sync::atomic::Ordering::Relaxed);
    let fd = rig.create("f");
    assert_eq!(rig.write(fd, b"short"), Ok(5));
    assert_eq!((rig.write(fd, &[7; 300_000]), told()), (Ok(300_000), 1));
    assert_eq!((sync(&mut rig.ctx, fd, false), told()), (Ok(()), 1));
    assert_eq!(seek(&mut rig.ctx, fd, 0, 0), Ok(0));
    let all = rig.read(fd, 400_000).expect("a file that was just written");
    assert_eq!(
        (all.len(), &all[..6]),
        (300_005, &b"short\x07"[..]),
        "and the end of the file ends the read"
    );
}
