//! `MPI_Allgather` of small contiguous blocks: all blocks are read once into one buffer, which is
//! written once to each member. Cost: 2n copies, of which n carry all blocks.

use alloc::vec;

use super::direct::own_block;
use crate::collective::contribution::{Contribution, Kind, Operand, Side};
use crate::collective::members::{Failures, MemberFault, Members};

/// Bytes of one block when this algorithm applies.
pub(in crate::collective) fn block_bytes(contributions: &[Contribution]) -> Option<u64> {
    if contributions.first()?.kind != Kind::Allgather {
        return None;
    }
    let expected = contiguous_bytes(contributions[0].recv.block(0, 0)?)?;
    for (member, this) in contributions.iter().enumerate() {
        let own = contiguous_bytes(own_block(contributions, member)?)?;
        let each = contiguous_bytes(this.recv.block(member, 0)?)?;
        if own != expected || each != expected || !matches!(this.recv, Side::Buffer(_)) {
            return None;
        }
    }
    let total = expected.checked_mul(contributions.len() as u64)?;
    (expected > 0 && total <= GATHERED_BYTES_MAX).then_some(expected)
}

/// Runs it with blocks of this many bytes.
pub(in crate::collective) fn run<M: Members>(
    contributions: &[Contribution],
    block: u64,
    members: &M,
) -> Result<(), Failures> {
    let mut all = vec![0; block as usize * contributions.len()];
    let everywhere = |fault: MemberFault| fault.everywhere(contributions.len());
    for (member, out) in all.chunks_exact_mut(block as usize).enumerate() {
        let Some(own) = own_block(contributions, member) else { continue };
        members
            .read(member, own.addr, out)
            .map_err(|fault| everywhere(MemberFault { member, fault }))?;
    }
    for (member, this) in contributions.iter().enumerate() {
        let Some(addr) = this.recv.addr() else { continue };
        members
            .write(member, addr, &all)
            .map_err(|fault| everywhere(MemberFault { member, fault }))?;
    }
    Ok(())
}

fn contiguous_bytes(operand: Operand<'_>) -> Option<u64> {
    operand.datatype.bytes(operand.count).filter(|_| operand.datatype.is_contiguous())
}

/// Above this, direct copies cost less than passing through a buffer that leaves the cache.
const GATHERED_BYTES_MAX: u64 = 64 << 10;
