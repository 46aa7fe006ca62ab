//! `MPI_Alltoall` of small contiguous blocks: every send buffer is read once, and every receive
//! buffer is assembled in one place and written once. Cost: 2n copies of n blocks each and n^2
//! moves inside one buffer.

use alloc::vec;

use crate::collective::contribution::Contribution;
use crate::collective::members::{Failures, MemberFault, Members};

/// Whether this algorithm applies to equal contiguous blocks of so many bytes.
pub(in crate::collective) fn applies(contributions: &[Contribution], block: u64) -> bool {
    let n = contributions.len() as u64;
    block.checked_mul(n * n).is_some_and(|total| total <= TRANSPOSED_BYTES_MAX)
}

/// Runs it with blocks of this many bytes.
pub(in crate::collective) fn run<M: Members>(
    contributions: &[Contribution],
    block: u64,
    members: &M,
) -> Result<(), Failures> {
    let n = contributions.len();
    let block = block as usize;
    let row = n * block;
    let everywhere = |fault: MemberFault| fault.everywhere(n);
    let mut all = vec![0; n * row];
    for (member, out) in all.chunks_exact_mut(row).enumerate() {
        let addr = contributions[member].send.addr().unwrap_or(0);
        members
            .read(member, addr, out)
            .map_err(|fault| everywhere(MemberFault { member, fault }))?;
    }
    let mut assembled = vec![0; row];
    for (member, this) in contributions.iter().enumerate() {
        match block {
            4 => assemble::<4>(&all, &mut assembled, member),
            8 => assemble::<8>(&all, &mut assembled, member),
            _ => assemble_any(&all, &mut assembled, member, block),
        }
        let addr = this.recv.addr().unwrap_or(0);
        members
            .write(member, addr, &assembled)
            .map_err(|fault| everywhere(MemberFault { member, fault }))?;
    }
    Ok(())
}

/// Column `member` of a matrix of blocks whose size the compiler knows.
fn assemble<const N: usize>(all: &[u8], assembled: &mut [u8], member: usize) {
    let (rows, _) = all.as_chunks::<N>();
    let (out, _) = assembled.as_chunks_mut::<N>();
    let n = out.len();
    for (block, source) in out.iter_mut().zip(rows[member..].iter().step_by(n)) {
        *block = *source;
    }
}

fn assemble_any(all: &[u8], assembled: &mut [u8], member: usize, block: usize) {
    let row = assembled.len();
    let sources = all.chunks_exact(row).map(|row| &row[member * block..(member + 1) * block]);
    for (out, source) in assembled.chunks_exact_mut(block).zip(sources) {
        out.copy_from_slice(source);
    }
}

/// Above this the matrix leaves the second-level cache and direct copies cost less.
const TRANSPOSED_BYTES_MAX: u64 = 512 << 10;
