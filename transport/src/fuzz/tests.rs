//! The fuzzed functions with bytes that a seed decides: random ones, and right ones with some
//! changed.

use super::*;
use crate::{
    Service,
    lane::{Hello, Signal},
    random::Random,
};

const SEEDS: u64 = 2000;

/// Calls a function with random bytes, and with `right` ones of which some are changed.
fn fuzz(function: fn(&[u8]), right: impl Fn(&mut Random) -> Vec<u8>) {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let length = random.below(400);
        let mut noise: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        function(&noise);
        // Small numbers get further than large ones.
        noise.iter_mut().for_each(|byte| *byte %= 9);
        function(&noise);
        let mut data = right(&mut random);
        function(&data);
        mutate(&mut data, &mut random);
        function(&data);
    }
}

fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(data.len());
        match random.below(4) {
            0 => data.truncate(at),
            1 => data.insert(at, random.next() as u8),
            2 if at < data.len() => data[at] ^= 1 << random.below(8),
            _ if at < data.len() => data[at] = random.next() as u8,
            _ => {}
        }
    }
}

#[test]
fn frames_keep_their_promises() {
    fuzz(frames, |random| {
        let mut data = vec![random.next() as u8];
        let mut encoder = Encoder::default();
        for number in 0..4 {
            let service = Service::Part as u16;
            let envelope = Envelope { service, addr: random.next(), ..Envelope::default() };
            let bytes = random.below(300);
            let encoded = encoder.encode_copied(number, &envelope, &vec![number as u8; bytes]);
            data.extend_from_slice(&encoded.head);
        }
        data
    });
}

#[test]
fn envelopes_keep_their_promises() {
    fuzz(envelope, |random| {
        Envelope { addr: random.next(), tag: -1, ..Envelope::default() }.to_bytes().to_vec()
    });
}

#[test]
fn signals_keep_their_promises() {
    fuzz(signals, |random| {
        let next = [random.next(), 0, 7];
        let hello = Hello { cluster: 1, node: NodeId(2), session: 3, peer_session: 0, next };
        let said = [Signal::Ack(next), Signal::Hello(hello), Signal::Leave(next)];
        let mut data = vec![random.next() as u8];
        data.extend(said.iter().flat_map(Signal::to_bytes));
        data
    });
}

#[test]
fn sessions_keep_their_promises() {
    fuzz(session, |random| {
        let greeting = [2, 0, 0, 0, 0, 1, 0, 0];
        let events = (0..100).flat_map(|_| {
            let mut event = random.next().to_le_bytes();
            event[2..5].iter_mut().for_each(|byte| *byte %= 12);
            event
        });
        greeting.into_iter().chain(events).collect()
    });
}

#[test]
fn joining_keeps_its_promises() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let length = random.below(300);
        let mut data: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        join(&data);
        data.iter_mut().skip(1).for_each(|byte| *byte %= 6);
        join(&data);
    }
}
