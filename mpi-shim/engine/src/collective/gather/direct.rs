//! `MPI_Gather` and `MPI_Gatherv`: each member's buffer goes straight into the root's block for it.
//! Cost: n copies.

use crate::collective::contribution::Contribution;
use crate::collective::movement::{Movement, Transfer, linear};

/// Transfer `index` goes from that member to the root.
pub(in crate::collective) const DIRECT: Movement = Movement { transfers: linear, transfer };

fn transfer(contributions: &[Contribution], index: usize) -> Transfer<'_> {
    let root = contributions[index].root as usize;
    Some((contributions[index].send.block(index, 0)?, contributions[root].recv.block(root, index)?))
}
