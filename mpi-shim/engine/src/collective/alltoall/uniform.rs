//! `MPI_Alltoall` of equal contiguous blocks: each goes straight to its member, and what all blocks have in common is found
//! out once. Cost: n^2 copies.

use alloc::vec::Vec;
use core::ops::Range;

use crate::collective::contribution::{Contribution, Kind, Side};
use crate::collective::members::{Failures, Members};
use crate::collective::transfer::blame;

/// Bytes of one block, if all are equal and contiguous.
pub(in crate::collective) fn block_bytes(contributions: &[Contribution]) -> Option<u64> {
    if contributions.first()?.kind != Kind::Alltoall {
        return None;
    }
    let expected = contiguous_bytes(&contributions[0].recv).filter(|bytes| *bytes > 0)?;
    let equal = |this: &Contribution| {
        contiguous_bytes(&this.send) == Some(expected)
            && contiguous_bytes(&this.recv) == Some(expected)
    };
    contributions.iter().all(equal).then_some(expected)
}

/// Fills the receive buffers of the members `range` with blocks of this many bytes.
pub(in crate::collective) fn run<M: Members>(
    contributions: &[Contribution],
    block: u64,
    range: Range<usize>,
    members: &M,
) -> Result<(), Failures> {
    let n = contributions.len();
    let sources: Vec<u64> =
        contributions.iter().map(|this| this.send.addr().unwrap_or(0)).collect();
    let at = |base: u64, index: usize| base.saturating_add(block.saturating_mul(index as u64));
    for to in range {
        let base = contributions[to].recv.addr().unwrap_or(0);
        for (from, source) in sources.iter().enumerate() {
            let (source, target) = ((from, at(*source, to)), (to, at(base, from)));
            let copied = members.copy(source, target, block);
            copied.map_err(|_| blame(members, source, target, block).everywhere(n))?;
        }
    }
    Ok(())
}

fn contiguous_bytes(side: &Side) -> Option<u64> {
    let Side::Buffer(buffer) = side else { return None };
    buffer.datatype.bytes(buffer.count).filter(|_| buffer.datatype.is_contiguous())
}
