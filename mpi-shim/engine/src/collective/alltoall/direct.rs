//! `MPI_Alltoall`, `MPI_Alltoallv` and `MPI_Alltoallw`: each block goes straight to its member.
//! Cost: n^2 copies.

use crate::collective::contribution::Contribution;
use crate::collective::movement::{Movement, Transfer, all_pairs};

/// Transfer `to * n + from`.
pub(in crate::collective) const DIRECT: Movement = Movement { transfers: all_pairs, transfer };

fn transfer(contributions: &[Contribution], index: usize) -> Transfer<'_> {
    let (to, from) = (index / contributions.len(), index % contributions.len());
    Some((contributions[from].send.block(from, to)?, contributions[to].recv.block(to, from)?))
}
