//! Random traffic over a network with faults: whatever happens, each message arrives once, in the
//! order of its lane, at a peer that was not lost; and a lost peer is noticed in time.
//!
//! `FAASM_SIM_SEEDS=10000 cargo test -p faasm-transport seeds` tries that many seeds, and
//! `FAASM_SIM_SEED=17` one of them alone.

mod traffic;

use std::{env, ops::Range};

use traffic::Traffic;

use super::*;

/// Seeds that an ordinary test run tries.
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn seeds() -> Range<u64> {
    match number("FAASM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FAASM_SIM_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn all_seeds_deliver_once_and_in_order() {
    let mut totals = traffic::Totals::default();
    for seed in seeds() {
        let run = || Traffic::new(seed).run();
        match std::panic::catch_unwind(run) {
            Ok(run) => totals += run,
            Err(_) => {
                panic!("FAASM_SIM_SEED={seed} cargo test -p faasm-transport seeds repeats it")
            }
        }
    }
    println!("{totals:?}");
    // The faults have to have happened for the rest to mean something.
    if number("FAASM_SIM_SEED").is_none() {
        assert!(totals.delivered > 0 && totals.lost > 0 && totals.left > 0, "{totals:?}");
        assert!(totals.resumed > 0 && totals.anew > 0 && totals.restarted > 0, "{totals:?}");
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in [1, 2, 3] {
        assert_eq!(Traffic::new(seed).run(), Traffic::new(seed).run());
    }
}
