//! Where the ranks of a running job should be: policies, as pure functions.
//!
//! A [`Scene`] is what is known of a job, a [`Plan`] what should be done about it. `model` tells how good a placement
//! is and what a change costs, `search` looks for a better one, `pack` and `spot` have aims of their own, `scene` makes a
//! scene of what nodes tell. What must always hold: nothing goes where there is no room (but see `spot`), to a node that
//! goes away, or back and forth: a plan's gain must exceed its cost by far, and who has just moved rests.

mod model;
mod pack;
mod scene;
mod search;
mod spot;

use std::time::Duration;

use search::Aim;

/// What the runtime does about the placement of a running job by itself.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum MovePolicy {
    /// Nothing, unless a node is about to leave.
    #[default]
    None,
    /// Uses as few nodes as have room for all ranks.
    Pack,
    /// Brings ranks together that send much to each other.
    Compact,
    /// Spreads computing evenly, with an eye on what ranks send to each other.
    Balance,
    /// Moves ranks at random, one move after the other, and has each rank stay at some call until it has been moved: so a program
    /// shows that it can be moved at any instant.
    Shuffle,
}

/// How often the placement of a job is looked at, and to what end.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PolicyOptions {
    /// To what end.
    pub policy: MovePolicy,
    /// Time between two looks.
    pub every: Duration,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        Self { policy: MovePolicy::None, every: Duration::from_secs(5) }
    }
}

/// What is known of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scene {
    pub(crate) nodes: Vec<NodeScene>,
    /// The ranks that have not ended.
    pub(crate) ranks: Vec<RankScene>,
    /// For pairs of ranks, by their indices in `ranks`, seconds of waiting that they cause each second if they are on
    /// different nodes; the first index is the smaller one, and no pair is there twice.
    pub(crate) pairs: Vec<(usize, usize, f64)>,
    /// The same for any pair of ranks, beside that.
    pub(crate) any_pair: f64,
}

/// A node of the job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeScene {
    pub(crate) workers: u32,
    /// Ranks that it should have at most, lest its workers be too few.
    pub(crate) room: u32,
    /// Ranks that it may have at most, if somebody has said so.
    pub(crate) limit: Option<u32>,
    /// Whether ranks may come.
    pub(crate) is_open: bool,
    /// When it goes away.
    pub(crate) leaves_in: Option<Duration>,
}

/// A rank that has not ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RankScene {
    pub(crate) rank: u32,
    pub(crate) node: usize,
    /// How many workers it could keep busy.
    pub(crate) demand: f64,
    pub(crate) memory_bytes: u64,
    /// Whether it has just moved.
    pub(crate) rests: bool,
}

/// What should be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Ranks, and the nodes that they should go to.
    pub(crate) moves: Vec<(u32, usize)>,
    /// Why, in words.
    pub(crate) why: String,
    /// What it brings in the time that it is judged by, in seconds.
    pub(crate) gain_s: f64,
    /// What it costs, in seconds for which the job stands still.
    pub(crate) cost_s: f64,
}

/// What should be done about the placement of a job, if anything.
pub(crate) fn decide(policy: MovePolicy, scene: &Scene) -> Option<Plan> {
    if let Some(plan) = spot::plan(scene) {
        return Some(plan);
    }
    match policy {
        // The shuffle asks nobody what is good.
        MovePolicy::None | MovePolicy::Shuffle => None,
        MovePolicy::Pack => pack::plan(scene),
        MovePolicy::Compact => search::plan(scene, Aim::Together),
        MovePolicy::Balance => search::plan(scene, Aim::Even),
    }
}

pub(crate) use scene::{History, scene};

#[cfg(test)]
mod tests;
