//! The blocks of operations that only move data: which member's block goes to whom, and where it
//! lies at both ends.

use alloc::vec::Vec;

use super::spread::Spread;
use crate::collective::contribution::{Contribution, Kind, Operand};

/// Whom a block is for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum For {
    /// One member.
    Member(u32),
    /// Every member but, in a broadcast, the root.
    All,
}

/// A block: its sender and whom it is for.
pub(super) type Block = (u32, For);

/// What is common to the calls of all members.
#[derive(Copy, Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) kind: Kind,
    pub(super) root: u32,
    /// Blocks are exchanged where they lie (all-to-all).
    pub(super) in_place: bool,
    pub(super) spread: &'a Spread,
    /// What the members of this node brought, by seat.
    pub(super) local: &'a [Contribution],
}

impl<'a> Call<'a> {
    /// Whether each member's block is for all: it goes around once, instead of to each by itself.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Bcast | Kind::Allgather | Kind::Allgatherv)
            || self.kind.is_reduction()
    }

    /// The blocks that go from `source` to `dest`, in the order in which they travel; for `None`
    /// those that go to any other node.
    pub(super) fn blocks(&self, source: usize, dest: Option<usize>) -> Vec<Block> {
        let (from, root) = (self.spread.members(source), self.root);
        let root_node = self.spread.node(root);
        let is_meant = dest.is_none_or(|dest| root_node == Some(dest));
        match self.kind {
            Kind::Barrier => Vec::new(),
            Kind::Bcast if root_node != Some(source) => Vec::new(),
            Kind::Bcast => [(root, For::All)].into(),
            Kind::Gather | Kind::Gatherv | Kind::Reduce if !is_meant => Vec::new(),
            Kind::Gather | Kind::Gatherv => {
                from.iter().map(|from| (*from, For::Member(root))).collect()
            }
            Kind::Scatter | Kind::Scatterv if root_node != Some(source) => Vec::new(),
            Kind::Scatter | Kind::Scatterv => {
                self.others(source, dest).map(|to| (root, For::Member(to))).collect()
            }
            Kind::Alltoall | Kind::Alltoallv | Kind::Alltoallw => self.pairs(source, dest),
            _ => from.iter().map(|from| (*from, For::All)).collect(),
        }
    }

    /// The members of `dest`, or of all nodes but `source`.
    fn others(&self, source: usize, dest: Option<usize>) -> impl Iterator<Item = u32> + Clone {
        let nodes = 0..self.spread.nodes();
        let meant = nodes.filter(move |node| match dest {
            Some(dest) => *node == dest,
            None => *node != source,
        });
        meant.flat_map(|node| self.spread.members(node).iter().copied())
    }

    /// In place the order is the same in both directions, so that a block is overwritten in the
    /// order in which it was sent.
    fn pairs(&self, source: usize, dest: Option<usize>) -> Vec<Block> {
        let from = self.spread.members(source);
        match dest {
            Some(dest) if self.in_place && dest < source => {
                let to = self.spread.members(dest).iter();
                to.flat_map(|to| from.iter().map(|from| (*from, For::Member(*to)))).collect()
            }
            _ => {
                let to = self.others(source, dest);
                from.iter().flat_map(|from| to.clone().map(|to| (*from, For::Member(to)))).collect()
            }
        }
    }

    /// Where a block lies at its sender, who is a member of this node.
    pub(super) fn source(&self, (from, to): Block) -> Option<Operand<'a>> {
        let this = self.contribution(from)?;
        let member = from as usize;
        match (self.kind, to) {
            (Kind::Scatter | Kind::Scatterv, For::Member(to)) => {
                this.send.block(member, to as usize)
            }
            (Kind::Alltoall | Kind::Alltoallv | Kind::Alltoallw, For::Member(to)) => {
                let side = if self.in_place { &this.recv } else { &this.send };
                side.block(member, to as usize)
            }
            (Kind::Allgather | Kind::Allgatherv, _) if this.send.is_in_place() => {
                this.recv.block(member, member)
            }
            _ => this.send.block(member, 0),
        }
    }

    /// Where the block of `from` goes at `to`, who is a member of this node.
    pub(super) fn target(&self, from: u32, to: u32) -> Option<Operand<'a>> {
        let this = self.contribution(to)?;
        let member = to as usize;
        match self.kind {
            Kind::Bcast => (to != self.root).then(|| this.send.block(member, 0))?,
            Kind::Scatter | Kind::Scatterv => this.recv.block(member, 0),
            _ => this.recv.block(member, from as usize),
        }
    }

    /// The members of this node that a block is for.
    pub(super) fn receivers(&self, to: For) -> &'a [u32] {
        let local = self.spread.local();
        match to {
            For::All => local,
            For::Member(to) => match self.contribution(to) {
                Some(_) => {
                    let seat = self.spread.seat(to).unwrap_or(0) as usize;
                    &local[seat..=seat]
                }
                None => &[],
            },
        }
    }

    /// What a member of this node brought.
    pub(super) fn contribution(&self, rank: u32) -> Option<&'a Contribution> {
        if !self.spread.is_local(rank) {
            return None;
        }
        self.local.get(self.spread.seat(rank)? as usize)
    }
}
