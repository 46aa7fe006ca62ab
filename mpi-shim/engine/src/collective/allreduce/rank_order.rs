//! `MPI_Allreduce`: the result of one pass over all inputs goes to every member. Every input chunk
//! is read before its place is written, so members may be in place.

use core::ops::Range;

use crate::collective::members::{MemberFault, Members};
use crate::collective::reduction::Reduction;

/// Reduces a range of elements.
pub(in crate::collective) fn run<M: Members>(
    reduction: &Reduction<'_>,
    range: Range<u64>,
    members: &M,
) -> Result<(), MemberFault> {
    reduction.fold(range, members, |offset, result| {
        for member in 0..reduction.contributions.len() {
            reduction.write_result(member, offset, result, members)?;
        }
        Ok(())
    })
}
