//! As few nodes as have room for all ranks.

use super::model::{GAIN_FACTOR, HORIZON_S, Thought, cost_s};
use super::{Plan, Scene};

/// So much of its time a node is worth that is not needed any more.
const NODE_WORTH: f64 = 0.1;

/// Empties nodes, those with the fewest ranks first, each wholly or not at all.
pub(super) fn plan(scene: &Scene) -> Option<Plan> {
    let mut thought = Thought::new(scene);
    let mut emptied = 0;
    let mut nodes: Vec<usize> =
        (0..scene.nodes.len()).filter(|at| thought.counts[*at] > 0).collect();
    nodes.sort_by_key(|node| thought.counts[*node]);
    for (at, node) in nodes.iter().enumerate() {
        let kept = &nodes[at + 1..];
        if let Some(without) = empty(scene, &thought, *node, kept) {
            thought = without;
            emptied += 1;
        }
    }
    let (moves, memory) = thought.changes();
    let (gain_s, cost_s) = (f64::from(emptied) * NODE_WORTH * HORIZON_S, cost_s(memory));
    if moves.is_empty() || gain_s < GAIN_FACTOR * cost_s {
        return None;
    }
    let nodes = if emptied == 1 { "a node is".to_owned() } else { format!("{emptied} nodes are") };
    let why = format!("pack: {nodes} not needed any more");
    Some(Plan { moves, why, gain_s, cost_s })
}

/// The placement without ranks on `node`, all of which go to nodes of `kept`, the fullest first; `None` if they cannot.
fn empty<'a>(
    scene: &Scene,
    thought: &Thought<'a>,
    node: usize,
    kept: &[usize],
) -> Option<Thought<'a>> {
    let mut without = thought.clone();
    let here = |rank: &usize| thought.nodes[*rank] == node;
    for rank in (0..scene.ranks.len()).filter(here) {
        let has_moved = scene.ranks[rank].node != node;
        if scene.ranks[rank].rests || has_moved {
            return None;
        }
        let to = kept.iter().rev().copied().find(|to| without.has_room(*to))?;
        without.place(rank, to);
    }
    Some(without)
}
