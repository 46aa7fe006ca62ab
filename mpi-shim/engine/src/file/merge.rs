//! Merging the accesses of several processes into few long ones (MPI-5.0 section 14.4.1).

use alloc::vec::Vec;
use core::ops::Range;

/// A run of bytes of one member that is one run of the file, too.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Piece {
    /// First byte in the file.
    pub file: u64,
    /// Whose it is.
    pub member: u32,
    /// First byte in the member's memory.
    pub memory: u64,
    /// Number of bytes.
    pub len: u64,
}

/// Longest pieces, on average, that are worth being merged: a longer access is quick by itself.
const MERGED_BYTES_MAX: u64 = 128 * 1024;

/// All members' pieces in the order of the file.
#[derive(Clone, Debug)]
pub struct Plan {
    pieces: Vec<Piece>,
}

impl Plan {
    /// A plan for the pieces of all members, each `[file, memory, len]`; `None` when it would not pay.
    ///
    /// Cost: p log p for p pieces.
    pub fn new(members: &[Vec<[u64; 3]>]) -> Option<Self> {
        let count: usize = members.iter().map(Vec::len).sum();
        let bytes = members.iter().flatten().fold(0_u64, |sum, piece| sum.saturating_add(piece[2]));
        if count < 2 * members.len() || bytes > MERGED_BYTES_MAX.saturating_mul(count as u64) {
            return None;
        }
        let mut pieces = Vec::with_capacity(count);
        for (member, list) in (0..).zip(members) {
            let piece = |&[file, memory, len]: &[u64; 3]| Piece { file, member, memory, len };
            pieces.extend(list.iter().map(piece));
        }
        // Stable, so that of pieces at one place the last member's comes last.
        pieces.sort_by_key(|piece| piece.file);
        Some(Self { pieces })
    }

    /// The pieces that member `rank` of `ranks` moves.
    pub fn share(&self, rank: u32, ranks: u32) -> &[Piece] {
        let border = |rank: u32| self.pieces.len() * rank as usize / ranks as usize;
        &self.pieces[border(rank)..border(rank + 1)]
    }
}

/// Splits pieces into stretches that follow each other without a gap, each of at most `bytes_max` where a
/// piece is not longer by itself.
pub fn stretches(pieces: &[Piece], bytes_max: u64) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    core::iter::from_fn(move || {
        let first = pieces.get(start)?;
        let mut end = start + 1;
        let mut at = first.file + first.len;
        while let Some(next) = pieces.get(end)
            && next.file == at
            && at + next.len - first.file <= bytes_max
        {
            at += next.len;
            end += 1;
        }
        let stretch = start..end;
        start = end;
        Some(stretch)
    })
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn interleaved_blocks_become_long_stretches() {
        let member = |rank: u64| (0..4).map(|i| [(4 * i + rank) * 10, i * 10, 10]).collect();
        let members: Vec<Vec<[u64; 3]>> = (0..4).map(member).collect();
        let plan = Plan::new(&members).expect("it pays");
        let mut at = 0;
        for rank in 0..3 {
            for stretch in stretches(plan.share(rank, 3), 1000) {
                let pieces = &plan.share(rank, 3)[stretch];
                assert_eq!(pieces[0].file, at, "nothing is left out");
                at += pieces.iter().map(|piece| piece.len).sum::<u64>();
            }
            assert_eq!(stretches(plan.share(rank, 3), 1000).count(), 1);
        }
        assert_eq!(at, 160);
        assert_eq!(stretches(plan.share(0, 1), 50).count(), 4, "five blocks fit");
    }

    #[test]
    fn gaps_and_overlaps_part_stretches() {
        let members = vec![vec![[0, 0, 10], [20, 10, 10]], vec![[10, 0, 5], [25, 5, 10]]];
        let plan = Plan::new(&members).expect("it pays");
        let found: Vec<_> = stretches(plan.share(0, 1), 100).collect();
        assert_eq!(found, [0..2, 2..3, 3..4]);
    }

    #[test]
    fn long_or_single_pieces_are_left_alone() {
        assert!(Plan::new(&[vec![[0, 0, 10]], vec![[10, 0, 10]]]).is_none());
        let long = MERGED_BYTES_MAX + 1;
        assert!(Plan::new(&[vec![[0, 0, long], [2 * long, 0, long]]]).is_none());
        assert!(Plan::new(&[vec![], vec![]]).is_none_or(|plan| plan.pieces.is_empty()));
    }
}
