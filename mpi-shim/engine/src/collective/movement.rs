//! Collectives that only move data: a list of independent transfers, named by index.
//!
//! Cost: one copy of each byte that must move.

use super::contribution::{Contribution, Operand};
use super::members::{Failures, Members};
use super::transfer::deliver;

/// A transfer from the first operand to the second; `None` where data is already in place.
pub(super) type Transfer<'a> = Option<(Operand<'a>, Operand<'a>)>;

/// An algorithm: how many transfers there are, and which one an index means.
#[derive(Copy, Clone, Debug)]
pub(super) struct Movement {
    /// Number of transfers among this many members.
    pub(super) transfers: fn(members: usize) -> usize,
    /// The transfer with an index below that number.
    pub(super) transfer: for<'a> fn(&'a [Contribution], usize) -> Transfer<'a>,
}

impl Movement {
    /// Runs the transfers `from..to`.
    pub(super) fn run<M: Members>(
        &self,
        contributions: &[Contribution],
        range: core::ops::Range<usize>,
        members: &M,
    ) -> Result<(), Failures> {
        let mut failures = Failures::default();
        for index in range {
            let Some((from, to)) = (self.transfer)(contributions, index) else { continue };
            match deliver(members, from, to) {
                Ok(()) => {}
                Err(Ok(error)) => failures.push(to.member, error),
                Err(Err(fault)) => return Err(fault.everywhere(contributions.len())),
            }
        }
        failures.into_result()
    }
}

/// One transfer a member.
pub(super) const fn linear(members: usize) -> usize {
    members
}

/// One transfer for each ordered pair of members.
pub(super) const fn all_pairs(members: usize) -> usize {
    members * members
}
