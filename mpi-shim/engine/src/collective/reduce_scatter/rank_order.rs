//! `MPI_Reduce_scatter` and `MPI_Reduce_scatter_block`: each result chunk goes to the member whose
//! share it is.
//!
//! Members in place: the result for element `e` lands at or before element `e` of a receive buffer,
//! so running through the elements in order has always consumed an input before its place is
//! written. That holds only for one part; see `Plan::new`.

use core::ops::Range;

use crate::collective::members::{MemberFault, Members};
use crate::collective::reduction::Reduction;

/// Reduces a range of elements; `shares` holds first element and length of each member's share.
pub(in crate::collective) fn run<M: Members>(
    reduction: &Reduction<'_>,
    shares: &[(u64, u64)],
    range: Range<u64>,
    members: &M,
) -> Result<(), MemberFault> {
    let first = shares.partition_point(|&(start, count)| start + count <= range.start);
    for (member, &(start, count)) in shares.iter().enumerate().skip(first) {
        let part = start.max(range.start)..(start + count).min(range.end);
        if start >= range.end {
            break;
        }
        if part.is_empty() {
            continue;
        }
        let origin = start * reduction.extent as u64;
        reduction.fold(part, members, |offset, result| {
            reduction.write_result(member, offset - origin, result, members)
        })?;
    }
    Ok(())
}
