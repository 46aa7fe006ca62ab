//! Moves ranks of a job at random for as long as it runs, so that a program shows that it can be moved at any instant.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Weak;
use std::time::Duration;

use super::Remote;
use super::relocate::Places;
use crate::job::{ENDING, MoveOrder};

/// Pause after ranks could not be moved.
const PAUSE: Duration = Duration::from_millis(1);

/// The first turn is that of one of so many ranks.
const RANKS_SOME: usize = 1 << 16;

/// Moves ranks until the job ends.
pub(super) fn run(job: &Weak<Remote>) {
    // Each rank is to have its turn soon, also where a program is run again and again and soon over.
    let mut turn = random() as usize % RANKS_SOME;
    while let Some(job) = job.upgrade() {
        let places = job.cluster.places(job.job);
        if places.ranks.is_empty() || places.ended.iter().all(|ended| *ended) {
            return;
        }
        let Some(order) = order(&places, turn, random()) else { return };
        turn += 1;
        let (ranks, node) = (&order.ranks, order.to.as_deref().unwrap_or_default());
        match job.carry_out(&order, "shuffle") {
            Ok(report) => tracing::info!("shuffle: ranks {ranks:?} went to node {node}: {report}"),
            Err(why) if why == ENDING => return,
            Err(why) => {
                tracing::info!("shuffle: ranks {ranks:?} do not go to node {node}: {why}");
                std::thread::sleep(PAUSE);
            }
        }
    }
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Some ranks that go to another node: each with the next bit of `bits`, and at least the one whose `turn` it is. `None` where
/// there is no other node.
fn order(places: &Places, turn: usize, bits: u64) -> Option<MoveOrder> {
    let lives = |rank: &u32| !places.ended[*rank as usize];
    let living: Vec<u32> = (0..places.ranks.len() as u32).filter(lives).collect();
    let first = *living.get(turn % living.len().max(1))?;
    let from = places.ranks[first as usize];
    let is_open = |node: u32| places.open.get(node as usize).copied().unwrap_or(false);
    let others: Vec<u32> =
        (0..places.nodes.len() as u32).filter(|node| *node != from && is_open(*node)).collect();
    let to = *others.get((bits >> 32) as usize % others.len().max(1))?;
    let is_chosen = |rank: &u32| *rank == first || bits.rotate_right(*rank) & 1 == 1;
    let goes = |rank: &u32| is_chosen(rank) && places.ranks[*rank as usize] != to;
    let ranks = living.into_iter().filter(goes).collect();
    Some(MoveOrder { ranks, from: None, to: Some(to.to_string()) })
}

#[cfg(test)]
mod tests {
    use faasm_transport::NodeId;

    use super::*;

    fn places(ranks: &[u32], open: &[bool]) -> Places {
        Places {
            ranks: ranks.to_vec(),
            ended: vec![false; ranks.len()],
            nodes: (0..).zip(open).map(|(at, _)| (NodeId(at), String::new())).collect(),
            open: open.to_vec(),
            ..Places::default()
        }
    }

    #[test]
    fn every_rank_has_its_turn_and_goes_elsewhere() {
        let mut places = places(&[0, 0, 1, 2], &[true, true, true]);
        places.ended[1] = true;
        for (turn, rank) in (0..9).zip([0, 2, 3].into_iter().cycle()) {
            for bits in [0, u64::MAX, 0x1234_5678_9abc_def0] {
                let order = order(&places, turn, bits).expect("there are other nodes");
                let to: u32 = order.to.expect("a node").parse().expect("a number");
                assert!(order.ranks.contains(&rank) && !order.ranks.contains(&1), "{bits:x}");
                assert!(order.ranks.iter().all(|rank| places.ranks[*rank as usize] != to));
            }
        }
    }

    #[test]
    fn where_there_is_no_other_node_nobody_goes() {
        assert!(order(&places(&[0, 0], &[true, false]), 0, 5).is_none());
    }
}
