use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::ctx::WasiHooks;
use super::super::stdin::StdinSource;
use super::super::stream::StdinStream;
use super::super::testing::{ROOT, Rig, block_on};
use super::*;

const INPUT: GuestAddr = GuestAddr::new(1024);
const OUTPUT: GuestAddr = GuestAddr::new(8192);

fn clock(userdata: u64, timeout: Duration) -> [u8; Subscription::SIZE] {
    timer(userdata, 1, timeout.as_nanos() as u64, false)
}

fn timer(userdata: u64, clock: u32, ns: u64, absolute: bool) -> [u8; Subscription::SIZE] {
    let mut bytes = [0; Subscription::SIZE];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[16..20].copy_from_slice(&clock.to_le_bytes());
    bytes[24..32].copy_from_slice(&ns.to_le_bytes());
    bytes[40] = u8::from(absolute);
    bytes
}

fn descriptor(userdata: u64, tag: u8, fd: Fd) -> [u8; Subscription::SIZE] {
    let mut bytes = [0; Subscription::SIZE];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = tag;
    bytes[16..20].copy_from_slice(&fd.0.to_le_bytes());
    bytes
}

/// An event as (userdata, error, kind, bytes, hang-up).
type Seen = (u64, u16, u8, u64, bool);

fn poll(rig: &mut Rig, subscriptions: &[[u8; Subscription::SIZE]]) -> Result<Vec<Seen>, Errno> {
    rig.memory.write(INPUT, &subscriptions.concat()).expect("in bounds");
    let count = subscriptions.len() as u32;
    let happened = block_on(poll_oneoff(&mut rig.ctx, &rig.memory, INPUT, OUTPUT, count))?;
    let bytes = rig.memory.read_vec(OUTPUT, u64::from(happened) * 32).expect("in bounds");
    let word =
        |event: &[u8], at: usize| u64::from_le_bytes(event[at..at + 8].try_into().expect("8"));
    Ok(bytes
        .chunks(32)
        .map(|event| {
            let error = u16::from_le_bytes([event[8], event[9]]);
            (word(event, 0), error, event[10], word(event, 16), event[24] != 0)
        })
        .collect())
}

#[test]
fn the_earliest_timer_ends_the_wait() {
    let mut rig = Rig::new();
    let start = Instant::now();
    let timers = [clock(1, Duration::from_secs(60)), clock(2, Duration::from_millis(30))];
    assert_eq!(poll(&mut rig, &timers), Ok(vec![(2, 0, 0, 0, false)]));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(30) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn short_and_absolute_and_passed_times_work() {
    let mut rig = Rig::new();
    let now = rig.ctx.now_ns(super::super::types::ClockId::Monotonic);
    for timer in [
        clock(7, Duration::ZERO),
        clock(7, Duration::from_micros(20)),
        timer(7, 0, 5, true),
        timer(7, 1, now, true),
    ] {
        assert_eq!(poll(&mut rig, &[timer]), Ok(vec![(7, 0, 0, 0, false)]));
    }
    let far = [timer(1, 1, u64::MAX, false), timer(2, 0, u64::MAX, true), clock(3, Duration::ZERO)];
    assert_eq!(poll(&mut rig, &far), Ok(vec![(3, 0, 0, 0, false)]));
}

#[test]
fn bad_subscriptions_are_events_with_errors() {
    let mut rig = Rig::new();
    let bad = [
        timer(1, 9, 0, false),
        timer(2, 2, 0, false),
        descriptor(3, 1, Fd(50)),
        descriptor(4, 1, ROOT),
        descriptor(5, 2, Fd(0)),
        descriptor(6, 9, Fd(0)),
    ];
    let badf = Errno::Badf.raw();
    let expected = vec![
        (1, Errno::Inval.raw(), 0, 0, false),
        (2, Errno::Notsup.raw(), 0, 0, false),
        (3, badf, 1, 0, false),
        (4, Errno::Notcapable.raw(), 1, 0, false),
        (5, badf, 2, 0, false),
        (6, Errno::Inval.raw(), 9, 0, false),
    ];
    assert_eq!(poll(&mut rig, &bad), Ok(expected));
    assert_eq!(poll(&mut rig, &[]), Err(Errno::Inval));
    let outside = GuestAddr::new(1 << 30);
    let call = block_on(poll_oneoff(&mut rig.ctx, &rig.memory, outside, OUTPUT, 1));
    assert_eq!(call, Err(Errno::Fault));
    let call = block_on(poll_oneoff(&mut rig.ctx, &rig.memory, INPUT, outside, 1));
    assert_eq!(call, Err(Errno::Fault));
    let call = block_on(poll_oneoff(&mut rig.ctx, &rig.memory, INPUT, OUTPUT, 4097));
    assert_eq!(call, Err(Errno::Inval));
}

#[test]
fn files_and_output_are_ready_at_once() {
    let mut rig = Rig::new();
    rig.host_file("f", b"12345");
    let fd = rig.open("f").expect("it opens");
    rig.read(fd, 2).expect("it can be read");
    let wanted = [
        descriptor(1, 1, fd),
        descriptor(2, 2, Fd(1)),
        descriptor(3, 2, Fd(2)),
        clock(4, Duration::from_secs(60)),
    ];
    let ready = vec![(1, 0, 1, 3, false), (2, 0, 2, 0, false), (3, 0, 2, 0, false)];
    assert_eq!(poll(&mut rig, &wanted), Ok(ready));
}

#[test]
fn stdin_is_ready_with_bytes_and_at_its_end() {
    let (read, write) = std::io::pipe().expect("a pipe");
    let stream = StdinStream::from_fd(read.into()).expect("a stream");
    let mut rig = Rig::with_stdin(StdinSource::Stream(stream));
    let nothing = [descriptor(1, 1, Fd(0)), clock(2, Duration::from_millis(20))];
    assert_eq!(poll(&mut rig, &nothing), Ok(vec![(2, 0, 0, 0, false)]));
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        rustix::io::write(&write, b"abc").expect("somebody reads");
    });
    let wanted = [descriptor(1, 1, Fd(0)), clock(2, Duration::from_secs(60))];
    assert_eq!(poll(&mut rig, &wanted), Ok(vec![(1, 0, 1, 3, false)]));
    assert_eq!(rig.read(Fd(0), 9), Ok(b"abc".to_vec()));
    writer.join().expect("the writer does not fail");
    assert_eq!(poll(&mut rig, &wanted), Ok(vec![(1, 0, 1, 0, true)]));
}

#[test]
fn pipes_are_waited_for() {
    let mut rig = Rig::new();
    let path = rig.host("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a named pipe");
    let fd = rig.open("pipe").expect("it opens");
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        std::fs::write(&path, b"x").expect("somebody reads");
    });
    let wanted = [descriptor(1, 1, fd), clock(2, Duration::from_secs(60))];
    assert_eq!(poll(&mut rig, &wanted), Ok(vec![(1, 0, 1, 1, false)]));
    writer.join().expect("the writer does not fail");
}

#[derive(Default)]
struct Counting {
    begun: AtomicU32,
    ended: AtomicU32,
}

impl WasiHooks for Counting {
    fn wait_begins(&self, on: WasiWait) {
        assert_eq!(on, WasiWait::Clock);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn wait_ends(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_owner_is_told_of_waits() {
    let mut rig = Rig::new();
    let hooks = Arc::new(Counting::default());
    rig.ctx.hooks = hooks.clone();
    poll(&mut rig, &[clock(1, Duration::from_millis(5))]).expect("a timer");
    poll(&mut rig, &[clock(1, Duration::ZERO)]).expect("a timer");
    let counts = [&hooks.begun, &hooks.ended].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 1]);
}
