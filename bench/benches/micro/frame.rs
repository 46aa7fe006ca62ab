//! What a message between nodes is wrapped in.

use bytes::Bytes;
use faasm_transport::Envelope;
use faasm_transport::frame::{Decoder, Encoder};

use crate::Bench;

/// Bytes that a datagram carries where the network's are the usual ones.
const DATAGRAM_BYTES: usize = 1400;

pub(crate) fn run(bench: &mut Bench) {
    for bytes in [8_usize, 1024, 64 * 1024] {
        let payload = Bytes::from(vec![7; bytes]);
        let mut encoder = Encoder::default();
        let mut number = 0;
        bench.run(&format!("frame: encode {bytes} B"), 0, || {
            number += 1;
            encoder.encode(number, &Envelope::default(), payload.clone())
        });
        let frame = Encoder::default().encode(1, &Envelope::default(), payload.clone());
        let whole = Bytes::from([&frame.head[..], &frame.payload[..]].concat());
        let mut decoder = Decoder::default();
        bench.run(&format!("frame: decode {bytes} B, datagram by datagram"), 0, || {
            let mut rest = whole.clone();
            while !rest.is_empty() {
                decoder.push(rest.split_to(rest.len().min(DATAGRAM_BYTES)));
            }
            let found = decoder.poll().expect("a well-formed frame");
            assert_eq!(found.map(|frame| frame.payload.len()), Some(bytes));
        });
    }
}
