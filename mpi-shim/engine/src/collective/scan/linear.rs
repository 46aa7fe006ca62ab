//! `MPI_Scan`: the running result goes to each member right after its input was added.

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
        reduction.write_result(0, offset, result, members)?;
        for member in 1..reduction.contributions.len() {
            reduction.read_input(member, offset, operand, members)?;
            (reduction.kernel)(result, operand);
            reduction.write_result(member, offset, result, members)?;
        }
    }
    Ok(())
}
