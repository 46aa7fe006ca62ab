//! Finding the receive for a message, and the message for a receive.

use faasm_mpi_engine::matching::{Envelope, Matching, Pattern};

use crate::Bench;

/// Entries that a search has to pass.
const DEPTHS: [i32; 3] = [0, 16, 256];

pub(crate) fn run(bench: &mut Bench) {
    for depth in DEPTHS {
        let mut posted = Matching::<u64>::default();
        for tag in 0..depth {
            posted.post(pattern(Some(tag + 1)), 1);
        }
        bench.run(&format!("matching: arrive behind {depth} receives"), 0, || {
            posted.post(pattern(Some(0)), 7);
            posted.arrive(envelope(0), 4711)
        });
        let mut unexpected = Matching::<u64>::default();
        for tag in 0..depth {
            unexpected.arrive(envelope(tag + 1), 0);
        }
        bench.run(&format!("matching: receive behind {depth} messages"), 0, || {
            unexpected.arrive(envelope(0), 4711);
            unexpected.post(pattern(Some(0)), 7)
        });
    }
    let mut matching = Matching::<u64>::default();
    bench.run("matching: any source, any tag", 0, || {
        matching.post(Pattern { context: 1, source: None, tag: None }, 7);
        matching.arrive(envelope(5), 4711)
    });
}

fn envelope(tag: i32) -> Envelope {
    Envelope { context: 1, source: 3, tag }
}

fn pattern(tag: Option<i32>) -> Pattern {
    Pattern { context: 1, source: Some(3), tag }
}
