//! Nodes that are about to leave are emptied.

use super::model::{HORIZON_S, Thought, cost_s};
use super::{Plan, Scene};

/// Moves all ranks away from nodes that leave, first from the one that leaves first. They go where there is most room.
/// Where there is none they go all the same to the node that is asked for least: a node with too many ranks is slow, but
/// a rank on a lost node is lost. That is worth any cost.
pub(super) fn plan(scene: &Scene) -> Option<Plan> {
    let mut thought = Thought::new(scene);
    let leaving = |node: &usize| scene.nodes[*node].leaves_in.is_some();
    let mut doomed: Vec<usize> = (0..scene.nodes.len()).filter(leaving).collect();
    doomed.sort_by_key(|node| scene.nodes[*node].leaves_in);
    for node in &doomed {
        for rank in (0..scene.ranks.len()).filter(|rank| scene.ranks[*rank].node == *node) {
            if let Some(to) = refuge(scene, &thought) {
                thought.place(rank, to);
            }
        }
    }
    let (moves, memory) = thought.changes();
    if moves.is_empty() {
        return None;
    }
    let why = "a node is about to leave".to_owned();
    Some(Plan { moves, why, gain_s: HORIZON_S, cost_s: cost_s(memory) })
}

/// Where a rank is safe.
fn refuge(scene: &Scene, thought: &Thought<'_>) -> Option<usize> {
    let stays = |node: &usize| scene.nodes[*node].is_open && scene.nodes[*node].leaves_in.is_none();
    let share = |node: &usize| {
        f64::from(thought.counts[*node] + 1) / f64::from(scene.nodes[*node].room.max(1))
    };
    (0..scene.nodes.len()).filter(stays).min_by(|a, b| share(a).total_cmp(&share(b)))
}
