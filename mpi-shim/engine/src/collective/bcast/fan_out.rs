//! `MPI_Bcast`: every member's buffer is filled from the root's. Cost: n copies.

use crate::collective::contribution::Contribution;
use crate::collective::movement::{Movement, Transfer, linear};

/// Transfer `index` goes from the root to that member.
pub(in crate::collective) const FAN_OUT: Movement = Movement { transfers: linear, transfer };

fn transfer(contributions: &[Contribution], index: usize) -> Transfer<'_> {
    let root = contributions[index].root as usize;
    if index == root {
        return None;
    }
    Some((contributions[root].send.block(root, 0)?, contributions[index].send.block(index, 0)?))
}
