//! `MPI_Exscan`: the running result goes to each member right before its input is added, which is
//! read first because the member may be in place. Rank 0 receives nothing.

use core::ops::Range;

use crate::collective::members::{MemberFault, Members};
use crate::collective::reduction::{Chunks, Reduction};

/// Scans a range of elements.
pub(in crate::collective) fn run<M: Members>(
    reduction: &Reduction<'_>,
    range: Range<u64>,
    members: &M,
) -> Result<(), MemberFault> {
    let mut chunks = Chunks::new(reduction, range);
    while let Some((offset, result, operand)) = chunks.next() {
        reduction.read_input(0, offset, result, members)?;
        for member in 1..reduction.contributions.len() {
            reduction.read_input(member, offset, operand, members)?;
            reduction.write_result(member, offset, result, members)?;
            (reduction.kernel)(result, operand);
        }
    }
    Ok(())
}
