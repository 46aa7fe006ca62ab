//! `MPI_Allgather` and `MPI_Allgatherv`: each member's block goes straight to every member.
//! Cost: n^2 copies. A member in place takes its block from its own receive buffer, where nobody
//! else writes.

use crate::collective::contribution::{Contribution, Operand};
use crate::collective::movement::{Movement, Transfer, all_pairs};

/// Transfer `to * n + from`.
pub(in crate::collective) const DIRECT: Movement = Movement { transfers: all_pairs, transfer };

fn transfer(contributions: &[Contribution], index: usize) -> Transfer<'_> {
    let (to, from) = (index / contributions.len(), index % contributions.len());
    if to == from && contributions[to].send.is_in_place() {
        return None;
    }
    Some((own_block(contributions, from)?, contributions[to].recv.block(to, from)?))
}

/// What a member contributes.
pub(super) fn own_block(contributions: &[Contribution], member: usize) -> Option<Operand<'_>> {
    let this = &contributions[member];
    if this.send.is_in_place() {
        return this.recv.block(member, member);
    }
    this.send.block(member, 0)
}
