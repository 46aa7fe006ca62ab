use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::super::stdin::{StdinReader, StdinSource};
use super::super::testing::block_on;
use super::*;

fn pipe() -> (StdinStream, OwnedFd) {
    let (read, write) = std::io::pipe().expect("a pipe");
    (StdinStream::from_fd(read.into()).expect("a stream"), write.into())
}

fn reader(stream: &StdinStream) -> StdinReader {
    StdinReader::new(StdinSource::Stream(stream.clone()))
}

fn write(pipe: &OwnedFd, bytes: &[u8]) {
    assert_eq!(rustix::io::write(pipe, bytes), Ok(bytes.len()));
}

fn read_all(reader: &mut StdinReader) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 7];
    loop {
        block_on(reader.readable());
        match reader.take(&mut buffer) {
            0 => return all,
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

#[test]
fn nothing_is_taken_before_somebody_reads() {
    let (stream, input) = pipe();
    let _reader = reader(&stream);
    write(&input, b"for the shell");
    std::thread::sleep(Duration::from_millis(20));
    let state = stream.shared.state.lock();
    let is_untouched = matches!(state.source, Source::Descriptor { input: Some(_), .. });
    assert!(is_untouched, "no thread was started");
    assert_eq!(state.end, 0);
}

#[test]
fn a_waiting_reader_is_pending_and_then_gets_the_bytes() {
    let (stream, input) = pipe();
    let mut reader = reader(&stream);
    {
        let mut waiting = pin!(reader.readable());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
        write(&input, b"hello");
        block_on(waiting);
    }
    let mut buffer = [0; 16];
    assert_eq!(reader.take(&mut buffer), 5);
    assert_eq!(&buffer[..5], b"hello");
    drop(input);
    block_on(reader.readable());
    assert_eq!(reader.ready(), Ok(StdinReady::End));
}

#[test]
fn every_reader_gets_every_byte_and_chunks_are_dropped() {
    let (stream, input) = pipe();
    let mut readers: Vec<_> = (0..3).map(|_| reader(&stream)).collect();
    let abandoned = reader(&stream);
    write(&input, b"the same for all ranks");
    drop(input);
    for reader in &mut readers {
        assert_eq!(read_all(reader), b"the same for all ranks");
    }
    assert_eq!(stream.shared.state.lock().chunks.len(), 1, "one rank has not read");
    drop(abandoned);
    assert!(stream.shared.state.lock().chunks.is_empty());
}

#[test]
fn the_pump_ends_with_the_stream() {
    let (stream, input) = pipe();
    let mut reader = reader(&stream);
    assert_eq!(reader.ready(), Ok(StdinReady::Empty), "this starts the pump");
    let wake = match &stream.shared.state.lock().source {
        Source::Descriptor { wake, .. } => Arc::downgrade(wake),
        other => panic!("{other:?}"),
    };
    drop((reader, stream));
    for _ in 0..200 {
        if wake.upgrade().is_none() {
            return drop(input);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the pump still runs two seconds after its stream");
}

#[test]
fn a_resumed_reader_of_a_stream_drops_what_comes_again() {
    let (stream, input) = pipe();
    let mut reader = reader(&stream);
    assert!(reader.resume_at(4));
    write(&input, b"abc");
    write(&input, b"def");
    drop(input);
    assert_eq!(read_all(&mut reader), b"ef");
    assert!(stream.shared.state.lock().chunks.is_empty());
}

#[test]
fn a_stream_that_is_fed_asks_once_for_each_piece() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let stream = StdinStream::fed(false, move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut reader = reader(&stream);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody has read");
    for _ in 0..3 {
        assert_eq!(reader.ready(), Ok(StdinReady::Empty));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    stream.feed(b"abc");
    assert_eq!(reader.ready(), Ok(StdinReady::Bytes(3)));
    let mut out = [0; 8];
    assert_eq!((reader.take(&mut out), reader.ready()), (3, Ok(StdinReady::Empty)));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    stream.feed(b"");
    assert_eq!(reader.ready(), Ok(StdinReady::End));
}

#[test]
fn a_kept_stream_begins_anew_for_those_who_come_later_until_it_is_too_long() {
    let stream = StdinStream::fed(false, || ());
    stream.keep_up_to(6);
    let mut first = reader(&stream);
    let mut out = [0; 8];
    stream.feed(b"abc");
    assert_eq!((first.take(&mut out), stream.is_whole()), (3, true));
    stream.feed(b"def");
    let mut second = reader(&stream);
    assert_eq!((second.take(&mut out), &out[..6]), (6, &b"abcdef"[..]));
    assert_eq!(first.take(&mut out), 3);
    stream.feed(b"g");
    assert!(!stream.is_whole(), "it is kept no longer");
    assert_eq!((first.take(&mut out), second.take(&mut out)), (1, 1));
    assert!(stream.shared.state.lock().chunks.is_empty());
}
