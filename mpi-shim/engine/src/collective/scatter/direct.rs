//! `MPI_Scatter` and `MPI_Scatterv`: each block of the root goes straight to its member.
//! Cost: n copies.

use crate::collective::contribution::Contribution;
use crate::collective::movement::{Movement, Transfer, linear};

/// Transfer `index` goes from the root to that member.
pub(in crate::collective) const DIRECT: Movement = Movement { transfers: linear, transfer };

fn transfer(contributions: &[Contribution], index: usize) -> Transfer<'_> {
    let root = contributions[index].root as usize;
    Some((contributions[root].send.block(root, index)?, contributions[index].recv.block(index, 0)?))
}
