//! Frames over every cut, and bytes that are none.

use super::*;
use crate::random::Random;

fn envelope(tag: i32) -> Envelope {
    let service = Service::Message as u16;
    Envelope {
        job: 7,
        service,
        kind: 2,
        to: 1,
        tag,
        source: -1,
        addr: u64::MAX,
        len: 9,
        ..Default::default()
    }
}

fn wire(messages: &[(i32, usize)]) -> Bytes {
    let mut encoder = Encoder::default();
    let mut wire = BytesMut::new();
    for (number, (tag, bytes)) in (0..).zip(messages) {
        let payload: Vec<u8> = (0..*bytes).map(|at| (at * 31) as u8).collect();
        let encoded = encoder.encode(number, &envelope(*tag), payload.into());
        assert_eq!(encoded.payload_bytes(), *bytes);
        wire.extend_from_slice(&encoded.head);
        wire.extend_from_slice(&encoded.payload);
    }
    wire.freeze()
}

/// Tag and length of each frame, numbered as they come; the payloads are those of [`wire`].
fn drain(decoder: &mut Decoder, found: &mut Vec<(i32, usize)>) -> Result<(), FrameError> {
    while let Some(frame) = decoder.poll()? {
        assert_eq!(frame.number, found.len() as u64);
        assert_eq!(frame.envelope, envelope(frame.envelope.tag));
        let chunks: Vec<u8> = frame.payload.chunks().flatten().copied().collect();
        assert!(frame.payload.iter().zip(0..).all(|(byte, at)| *byte == (at * 31) as u8));
        assert_eq!(chunks, *frame.payload);
        found.push((frame.envelope.tag, frame.payload.into_bytes().len()));
    }
    Ok(())
}

#[test]
fn the_format_is_as_drawn() {
    let wire = wire(&[(-2, 3)]);
    assert_eq!(wire.len(), FRAME_HEAD_BYTES + 3);
    assert_eq!(wire[..12], [59, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(wire[12..20], [7, 0, 0, 0, 1, 0, 2, 0]);
    assert_eq!(wire[12 + 20..12 + 28], [255, 255, 255, 255, 254, 255, 255, 255]);
    assert_eq!(wire[60..], [0, 31, 62]);
}

#[test]
fn frames_are_found_over_every_cut() {
    let messages = [(1, 0), (2, 1), (3, 100), (4, 0), (5, INLINE_BYTES_MAX + 1)];
    let wire = wire(&messages);
    for size in (1..200).chain([4095, 4096, 4097, wire.len()]) {
        let (mut decoder, mut found) = (Decoder::default(), Vec::new());
        for at in (0..wire.len()).step_by(size) {
            decoder.push(wire.slice(at..wire.len().min(at + size)));
            drain(&mut decoder, &mut found).expect("they are frames");
        }
        assert_eq!(found, messages, "in chunks of {size}");
        assert_eq!(decoder.buffered_bytes(), 0);
    }
}

#[test]
fn a_payload_in_one_chunk_is_not_copied() {
    let wire = wire(&[(1, 10), (2, 100_000)]);
    let mut decoder = Decoder::default();
    decoder.push(wire.clone());
    for start in [FRAME_HEAD_BYTES, 2 * FRAME_HEAD_BYTES + 10] {
        let frame = decoder.poll().expect("a frame").expect("a whole one");
        assert_eq!(frame.payload.as_ptr(), wire[start..].as_ptr());
    }
}

#[test]
fn single_bytes_do_not_cost_many_times_their_memory() {
    let wire = wire(&[(1, FRAME_PAYLOAD_BYTES_MAX)]);
    let mut decoder = Decoder::default();
    for at in 0..100_000 {
        decoder.push(wire.slice(at..at + 1));
        assert!(decoder.poll().expect("the start of a frame").is_none());
        assert!(decoder.chunks.len() <= PIECES_MAX);
    }
    decoder.push(wire.slice(100_000..));
    let mut found = Vec::new();
    drain(&mut decoder, &mut found).expect("a frame");
    assert_eq!(found, [(1, FRAME_PAYLOAD_BYTES_MAX)]);
}

#[test]
fn what_is_no_frame_is_named() {
    let largest = (COUNTED_HEAD_BYTES + FRAME_PAYLOAD_BYTES_MAX) as u32;
    for length in [0, 55, largest + 1, u32::MAX] {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::copy_from_slice(&length.to_le_bytes()));
        for _ in 0..2 {
            assert_eq!(decoder.poll().err(), Some(FrameError::Length { length }));
        }
        decoder.push(wire(&[(1, 1)]));
        assert_eq!(decoder.buffered_bytes(), 0);
    }
    let mut wrong = BytesMut::from(&wire(&[(1, 1)])[..]);
    wrong[16] = 99;
    let mut decoder = Decoder::default();
    decoder.push(wrong.freeze());
    let error = decoder.poll().expect_err("there is no such service");
    assert_eq!(error.to_string(), "frame 0 is for service 99, which there is not");
}

/// Frames with some bytes changed, cut anywhere: frames or an error, never a panic or more memory
/// than was fed.
#[test]
fn mutated_bytes_never_panic() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let messages: Vec<(i32, usize)> = (0..8).map(|tag| (tag, random.below(300))).collect();
        let mut bytes = BytesMut::from(&wire(&messages)[..]);
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        let bytes = bytes.freeze();
        let (mut decoder, mut rest) = (Decoder::default(), bytes.clone());
        while !rest.is_empty() {
            decoder.push(rest.split_to(1 + random.below(rest.len().min(200))));
            assert!(decoder.buffered_bytes() <= bytes.len());
            while let Ok(Some(frame)) = decoder.poll() {
                assert!(frame.payload.len() <= bytes.len());
            }
        }
    }
}
