//! Looks for a better placement, one rank after the other.

use super::model::{GAIN_FACTOR, GAIN_SHARE_MIN, HORIZON_S, Thought, cost_s};
use super::{Plan, Scene};

/// What is wanted.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Aim {
    /// Little waiting for messages between nodes, as far as there is room.
    Together,
    /// Little time in all: computing is spread evenly, unless that causes more waiting.
    Even,
}

/// Ranks that one plan moves.
const MOVES_MAX: usize = 1024;
/// Ranks that are looked at for each of them.
const CANDIDATES_MAX: usize = 256;
/// Ranks of them for which another one is looked for that takes their place.
const SWAPS_MAX: usize = 64;
/// Smaller differences are none.
const EPSILON: f64 = 1e-9;

/// A better placement, if one is worth the move.
///
/// Takes at most [`MOVES_MAX`] steps, each of [`CANDIDATES_MAX`] times the number of nodes times the rank's partners.
pub(super) fn plan(scene: &Scene, aim: Aim) -> Option<Plan> {
    let mut thought = Thought::new(scene);
    let before = aim.time(thought.time());
    for _ in 0..MOVES_MAX {
        let change = match best(scene, &thought, aim) {
            Some(one) => vec![one],
            None => swap(scene, &thought, aim),
        };
        if change.is_empty() {
            break;
        }
        change.into_iter().for_each(|(rank, to)| thought.place(rank, to));
    }
    let (moves, memory) = thought.changes();
    if moves.is_empty() {
        return None;
    }
    let after = aim.time(thought.time());
    let share = (before - after) / before;
    let (gain_s, cost_s) = (share * HORIZON_S, cost_s(memory));
    if share < GAIN_SHARE_MIN || gain_s < GAIN_FACTOR * cost_s {
        return None;
    }
    let percent = share * 100.0;
    let why = match aim {
        Aim::Together => {
            format!("compact: {percent:.0} % less time with fewer messages between nodes")
        }
        Aim::Even => format!("balance: {percent:.0} % less time"),
    };
    Some(Plan { moves, why, gain_s, cost_s })
}

/// The move of one rank that brings most, if one brings anything.
fn best(scene: &Scene, thought: &Thought<'_>, aim: Aim) -> Option<(usize, usize)> {
    let mut best = None;
    let mut best_change = (-EPSILON, 0.0);
    let now = aim.time(thought.time());
    for rank in candidates(scene, thought, aim) {
        for to in (0..scene.nodes.len()).filter(|to| *to != thought.nodes[rank]) {
            let has_room = match aim {
                Aim::Together => thought.has_room(to),
                // Whether its workers suffice is weighed.
                Aim::Even => thought.takes(to),
            };
            if !has_room {
                continue;
            }
            let change = aim.time(thought.time_with(rank, to)) - now;
            let unevenness = match aim {
                Aim::Together => 0.0,
                Aim::Even => thought.unevenness_with(rank, to),
            };
            // Of moves that bring nothing yet, only those count that bring the nodes' loads together.
            let is_step = aim == Aim::Even && change.abs() <= EPSILON && unevenness < -EPSILON;
            let is_better = change < best_change.0 - EPSILON
                || ((change - best_change.0).abs() <= EPSILON
                    && unevenness < best_change.1 - EPSILON);
            if (change < -EPSILON || is_step) && (best.is_none() || is_better) {
                (best, best_change) = (Some((rank, to)), (change, unevenness));
            }
        }
    }
    best
}

/// The two ranks that bring most by changing places, if any two bring something: where no single one may or should move.
fn swap(scene: &Scene, thought: &Thought<'_>, aim: Aim) -> Vec<(usize, usize)> {
    let (now, mut best, mut best_time) = (aim.time(thought.time()), Vec::new(), f64::INFINITY);
    let mut tried = thought.clone();
    let may_stay = |node: usize| scene.nodes[node].is_open && scene.nodes[node].leaves_in.is_none();
    let free =
        |rank: &usize| !scene.ranks[*rank].rests && thought.nodes[*rank] == scene.ranks[*rank].node;
    let others: Vec<usize> = (0..scene.ranks.len()).filter(free).take(CANDIDATES_MAX).collect();
    for rank in candidates(scene, thought, aim).into_iter().take(SWAPS_MAX) {
        let from = thought.nodes[rank];
        for to in (0..scene.nodes.len()).filter(|to| *to != from && may_stay(*to) && may_stay(from))
        {
            tried.place(rank, to);
            for other in others.iter().filter(|other| thought.nodes[**other] == to) {
                let time = aim.time(tried.time_with(*other, from));
                if time < now - EPSILON && time < best_time - EPSILON {
                    (best, best_time) = (vec![(rank, to), (*other, from)], time);
                }
            }
            tried.place(rank, from);
        }
    }
    best
}

/// Ranks that may move: for evenness those of the busiest node, to come together those of the smallest ones first.
fn candidates(scene: &Scene, thought: &Thought<'_>, aim: Aim) -> Vec<usize> {
    let busiest = thought.busiest();
    let may = |rank: &usize| {
        let has_moved = thought.nodes[*rank] != scene.ranks[*rank].node;
        let is_meant = aim == Aim::Together || Some(thought.nodes[*rank]) == busiest;
        !scene.ranks[*rank].rests && !has_moved && is_meant
    };
    let mut ranks: Vec<usize> = (0..scene.ranks.len()).filter(may).collect();
    ranks.sort_by_key(|rank| thought.counts[thought.nodes[*rank]]);
    ranks.truncate(CANDIDATES_MAX);
    ranks
}

impl Aim {
    fn time(self, (slowdown, waiting): (f64, f64)) -> f64 {
        match self {
            // The work itself takes the same time wherever there is room.
            Self::Together => 1.0 + waiting,
            Self::Even => slowdown + waiting,
        }
    }
}
