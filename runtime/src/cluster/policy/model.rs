//! How good a placement is, and what a change costs.
//!
//! The measure is time: how long the job takes for what it does in a second now. The node that has most to compute for each
//! of its workers slows all down, since ranks wait for each other, and none is faster than its own computing; each
//! message between nodes makes somebody wait; the rest stays as it is.

use super::Scene;

/// How long a job stands still for a move, beside the copying.
const STOP_S: f64 = 0.02;
/// How fast memory travels.
const COPY_BYTES_PER_S: f64 = 500e6;
/// Gains are added up over this time: what comes later is not known.
pub(super) const HORIZON_S: f64 = 60.0;
/// So many times its cost a change must bring.
pub(super) const GAIN_FACTOR: f64 = 2.0;
/// So much of its time a job must gain by a change: less is within what is measured wrongly.
pub(super) const GAIN_SHARE_MIN: f64 = 0.1;

/// What it costs to move ranks with so much memory, in seconds.
pub(super) fn cost_s(memory_bytes: u64) -> f64 {
    STOP_S + memory_bytes as f64 / COPY_BYTES_PER_S
}

/// A placement that is being thought about.
#[derive(Clone, Debug)]
pub(super) struct Thought<'a> {
    scene: &'a Scene,
    /// For each rank, by its index, its node.
    pub(super) nodes: Vec<usize>,
    /// For each node its ranks' demand, and their number.
    demand: Vec<f64>,
    pub(super) counts: Vec<u32>,
    /// For each rank its pairs.
    partners: Vec<Vec<(usize, f64)>>,
    /// Waiting that messages between nodes cause.
    waiting: f64,
    /// What the rank takes that computes most: no placement makes that faster.
    floor: f64,
    /// Time that has nothing to do with computing.
    rest: f64,
}

impl<'a> Thought<'a> {
    /// The placement as it is.
    pub(super) fn new(scene: &'a Scene) -> Self {
        let mut thought = Self {
            scene,
            nodes: scene.ranks.iter().map(|rank| rank.node).collect(),
            demand: vec![0.0; scene.nodes.len()],
            counts: vec![0; scene.nodes.len()],
            partners: vec![Vec::new(); scene.ranks.len()],
            waiting: 0.0,
            floor: scene.ranks.iter().map(|rank| rank.demand.min(1.0)).fold(0.0, f64::max),
            rest: 0.0,
        };
        for rank in &scene.ranks {
            thought.demand[rank.node] += rank.demand;
            thought.counts[rank.node] += 1;
        }
        for (a, b, seconds) in &scene.pairs {
            thought.partners[*a].push((*b, *seconds));
            thought.partners[*b].push((*a, *seconds));
            if thought.nodes[*a] != thought.nodes[*b] {
                thought.waiting += seconds;
            }
        }
        let all = scene.ranks.len() as f64;
        let together: f64 = thought.counts.iter().map(|count| f64::from(*count).powi(2)).sum();
        thought.waiting += scene.any_pair * (all * all - together) / 2.0;
        thought.rest = (1.0 - thought.slowdown(None)).max(0.0);
        thought
    }

    /// How much more waiting there is with a rank on another node.
    fn more_waiting(&self, rank: usize, to: usize) -> f64 {
        let from = self.nodes[rank];
        let change = |(other, seconds): &(usize, f64)| match self.nodes[*other] {
            node if node == from => *seconds,
            node if node == to => -seconds,
            _ => 0.0,
        };
        let of_pairs: f64 = self.partners[rank].iter().map(change).sum();
        // Itself does not count.
        let any = f64::from(self.counts[from]) - 1.0 - f64::from(self.counts[to]);
        of_pairs + self.scene.any_pair * any
    }

    /// How much a node is asked for, in parts of what it can do.
    fn load(&self, node: usize, demand: f64) -> f64 {
        demand / f64::from(self.scene.nodes[node].workers.max(1))
    }

    /// Time without what messages cause: the slowest node's load, since the job is no faster, and the rest.
    fn slowdown(&self, changed: Option<(usize, usize, usize)>) -> f64 {
        let demand = |node: usize| match changed {
            Some((rank, from, _)) if from == node => {
                self.demand[node] - self.scene.ranks[rank].demand
            }
            Some((rank, _, to)) if to == node => self.demand[node] + self.scene.ranks[rank].demand,
            _ => self.demand[node],
        };
        let loads = (0..self.demand.len()).map(|node| self.load(node, demand(node)));
        self.rest + loads.fold(self.floor, f64::max)
    }

    /// Time for a second's work, and for waiting in it.
    pub(super) fn time(&self) -> (f64, f64) {
        (self.slowdown(None), self.waiting)
    }

    /// The same with a rank on another node.
    pub(super) fn time_with(&self, rank: usize, to: usize) -> (f64, f64) {
        let slowdown = self.slowdown(Some((rank, self.nodes[rank], to)));
        (slowdown, (self.waiting + self.more_waiting(rank, to)).max(0.0))
    }

    /// How uneven the nodes' loads are: where several are equally slow, one rank less helps none of them yet.
    pub(super) fn unevenness_with(&self, rank: usize, to: usize) -> f64 {
        let from = self.nodes[rank];
        let demand = self.scene.ranks[rank].demand;
        let after = self.load(from, self.demand[from] - demand).powi(2)
            + self.load(to, self.demand[to] + demand).powi(2);
        after - self.load(from, self.demand[from]).powi(2) - self.load(to, self.demand[to]).powi(2)
    }

    /// The node that is asked for most, compared to what it can do.
    pub(super) fn busiest(&self) -> Option<usize> {
        let load = |node: &usize| self.load(*node, self.demand[*node]);
        (0..self.demand.len()).max_by(|a, b| load(a).total_cmp(&load(b)))
    }

    /// Whether a rank may go to a node, as long as its workers suffice.
    pub(super) fn has_room(&self, to: usize) -> bool {
        self.takes(to) && self.counts[to] < self.scene.nodes[to].room
    }

    /// Whether a rank may go to a node at all.
    pub(super) fn takes(&self, to: usize) -> bool {
        let node = &self.scene.nodes[to];
        let is_full = node.limit.is_some_and(|limit| self.counts[to] >= limit);
        node.is_open && node.leaves_in.is_none() && !is_full
    }

    /// Places a rank elsewhere.
    pub(super) fn place(&mut self, rank: usize, to: usize) {
        self.waiting = (self.waiting + self.more_waiting(rank, to)).max(0.0);
        let (from, demand) = (self.nodes[rank], self.scene.ranks[rank].demand);
        self.demand[from] -= demand;
        self.demand[to] += demand;
        self.counts[from] -= 1;
        self.counts[to] += 1;
        self.nodes[rank] = to;
    }

    /// The ranks that are elsewhere now: their numbers and nodes, and the memory that travels.
    pub(super) fn changes(&self) -> (Vec<(u32, usize)>, u64) {
        let all = self.scene.ranks.iter().zip(&self.nodes);
        let moved = || all.clone().filter(|(rank, node)| rank.node != **node);
        let memory = moved().map(|(rank, _)| rank.memory_bytes).sum();
        (moved().map(|(rank, node)| (rank.rank, *node)).collect(), memory)
    }
}
