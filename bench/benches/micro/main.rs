//! Microbenchmarks of what every message passes: `cargo bench --package faasm-bench [-- NAMES]`.
//!
//! Each line is the time of one operation: the quickest of several batches, and their median, because on a busy
//! machine the quickest says most. Called without `--bench`, as `cargo test` does, everything runs once only.

mod collective;
mod datatype;
mod frame;
mod matching;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Batches that are measured.
const BATCHES: usize = 15;
/// How long a batch takes about.
const BATCH: Duration = Duration::from_millis(20);

fn main() {
    let mut options: Vec<String> = std::env::args().skip(1).collect();
    let measures = options.iter().any(|option| option == "--bench");
    options.retain(|option| !option.starts_with('-'));
    let mut bench = Bench { measures, wanted: options, ran: 0 };
    matching::run(&mut bench);
    datatype::run(&mut bench);
    collective::run(&mut bench);
    frame::run(&mut bench);
    assert!(bench.ran > 0, "no benchmark is called {:?}", bench.wanted);
}

/// Runs what was asked for.
struct Bench {
    /// Otherwise each runs once, to see that it does.
    measures: bool,
    /// Parts of names; all, if there are none.
    wanted: Vec<String>,
    ran: usize,
}

impl Bench {
    /// Measures `operation`, which moves `bytes`.
    fn run<R>(&mut self, name: &str, bytes: u64, mut operation: impl FnMut() -> R) {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|part| name.contains(part.as_str())) {
            return;
        }
        self.ran += 1;
        black_box(operation());
        if !self.measures {
            return;
        }
        let repetitions = repetitions(&mut operation);
        let mut batches: Vec<f64> = (0..BATCHES)
            .map(|_| nanoseconds(repetitions, &mut operation) / f64::from(repetitions))
            .collect();
        batches.sort_by(f64::total_cmp);
        let (best, median) = (batches[0], batches[BATCHES / 2]);
        let rate = match bytes {
            0 => String::new(),
            bytes => format!("{:>9.1} GB/s", bytes as f64 / best),
        };
        println!("{name:<44} {best:>12.1} ns   median {median:>12.1} ns {rate}");
    }
}

/// How often an operation fits a batch.
fn repetitions<R>(operation: &mut impl FnMut() -> R) -> u32 {
    let mut repetitions = 1;
    while repetitions < u32::MAX / 2 {
        let took = nanoseconds(repetitions, operation);
        if took >= BATCH.as_nanos() as f64 {
            break;
        }
        repetitions *= 2;
    }
    repetitions
}

fn nanoseconds<R>(repetitions: u32, operation: &mut impl FnMut() -> R) -> f64 {
    let started = Instant::now();
    for _ in 0..repetitions {
        black_box(operation());
    }
    started.elapsed().as_nanos() as f64
}
