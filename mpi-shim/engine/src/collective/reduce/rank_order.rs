//! `MPI_Reduce`: the result of one pass over all inputs goes to the root.

use core::ops::Range;

use crate::collective::members::{MemberFault, Members};
use crate::collective::reduction::Reduction;

/// Reduces a range of elements.
pub(in crate::collective) fn run<M: Members>(
    reduction: &Reduction<'_>,
    range: Range<u64>,
    members: &M,
) -> Result<(), MemberFault> {
    let root = reduction.contributions[0].root as usize;
    reduction.fold(range, members, |offset, result| {
        reduction.write_result(root, offset, result, members)
    })
}
