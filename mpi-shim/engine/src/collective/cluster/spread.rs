//! Which node each member of a communicator runs on, as one of these nodes sees it.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// The nodes of a communicator whose members run on several.
///
/// Nodes have an index here: 0 is the node of rank 0, and so on in the order of their lowest member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spread {
    /// For each node, its number in the job.
    numbers: Box<[u32]>,
    /// For each member, the index of its node and its place among the members there.
    places: Box<[(u32, u32)]>,
    /// For each node, its members in rank order.
    members: Box<[Box<[u32]>]>,
    /// Members in rank order, cut where the node changes: node, first rank, number of ranks.
    runs: Box<[(u32, u32, u32)]>,
    here: usize,
}

impl Spread {
    /// The spread of members whose nodes have these numbers, seen from node `this`; `None` when all
    /// of them run there, or none does.
    pub fn new(nodes: impl Iterator<Item = u32>, this: u32) -> Option<Self> {
        let mut numbers: Vec<u32> = Vec::new();
        let mut members: Vec<Vec<u32>> = Vec::new();
        let mut places = Vec::new();
        let mut runs: Vec<(u32, u32, u32)> = Vec::new();
        for (rank, number) in (0..).zip(nodes) {
            let node = numbers.iter().rposition(|other| *other == number).unwrap_or_else(|| {
                numbers.push(number);
                members.push(Vec::new());
                numbers.len() - 1
            });
            match runs.last_mut() {
                Some((last, _, len)) if *last == node as u32 => *len += 1,
                _ => runs.push((node as u32, rank, 1)),
            }
            places.push((node as u32, members[node].len() as u32));
            members[node].push(rank);
        }
        let here = numbers.iter().position(|number| *number == this)?;
        (numbers.len() > 1).then(|| Self {
            numbers: numbers.into(),
            places: places.into(),
            members: members.into_iter().map(Vec::into_boxed_slice).collect(),
            runs: runs.into(),
            here,
        })
    }

    /// Number of members on all nodes.
    pub const fn size(&self) -> usize {
        self.places.len()
    }

    /// Number of nodes.
    pub const fn nodes(&self) -> usize {
        self.numbers.len()
    }

    /// Index of this node.
    pub const fn here(&self) -> usize {
        self.here
    }

    /// Number in the job of the node with this index.
    pub fn number(&self, node: usize) -> u32 {
        self.numbers[node]
    }

    /// Index of the node that `rank` runs on; `None` when there is no such rank.
    pub fn node(&self, rank: u32) -> Option<usize> {
        self.places.get(rank as usize).map(|(node, _)| *node as usize)
    }

    /// The place of `rank` among the members of its node.
    pub fn seat(&self, rank: u32) -> Option<u32> {
        self.places.get(rank as usize).map(|(_, seat)| *seat)
    }

    /// The members of a node in rank order.
    pub fn members(&self, node: usize) -> &[u32] {
        &self.members[node]
    }

    /// The members of this node in rank order.
    pub fn local(&self) -> &[u32] {
        &self.members[self.here]
    }

    /// Number of pieces that the members in rank order fall into, each of one node.
    pub(super) const fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Node and members of such a piece.
    pub(super) fn run(&self, index: usize) -> (usize, &[u32]) {
        let (node, first, len) = self.runs[index];
        let seat = self.places[first as usize].1 as usize;
        (node as usize, &self.members[node as usize][seat..seat + len as usize])
    }

    /// Whether `rank` runs on this node.
    pub(super) fn is_local(&self, rank: u32) -> bool {
        self.node(rank) == Some(self.here)
    }
}
