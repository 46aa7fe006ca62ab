//! Whether a member's send and receive buffers are the same.
//!
//! No byte may be in both (MPI-5.0 section 6.2), and `MPI_IN_PLACE` is there for the wish. Looking for every
//! overlap would cost more than it is worth: found is what a program does that passes one buffer twice.

use alloc::format;

use super::contribution::{Contribution, Kind, Operand, Side};
use crate::datatype::address;
use crate::error::{ErrorClass, MpiError, Result};

/// Refuses buffers of the member `rank` of `members` that begin with the same byte, or of which one begins with
/// the member's own block of the other.
///
/// Cost: constant; linear in the members where blocks have displacements of their own.
///
/// # Errors
/// `MPI_ERR_BUFFER`.
pub fn check_distinct(this: &Contribution, rank: usize, members: usize) -> Result<()> {
    let (send, recv) = (&this.send, &this.recv);
    let is_same = match this.kind {
        Kind::Barrier | Kind::Bcast | Kind::Across => false,
        Kind::Gather | Kind::Gatherv | Kind::Allgather | Kind::Allgatherv => {
            is_one_of(first(send, 0), recv, rank)
        }
        Kind::Scatter | Kind::Scatterv => is_one_of(first(recv, 0), send, rank),
        Kind::Alltoallv | Kind::Alltoallw => {
            let lowest = |side| (0..members).filter_map(|index| first(side, index)).min();
            is_same(lowest(send), lowest(recv))
        }
        Kind::ReduceScatter => is_same(first(send, 0), shared_out(recv, rank)),
        Kind::Alltoall
        | Kind::Reduce
        | Kind::Allreduce
        | Kind::ReduceScatterBlock
        | Kind::Scan
        | Kind::Exscan => is_same(first(send, 0), first(recv, 0)),
    };
    if is_same {
        let detail = format!(
            "the send and the receive buffer of {} are the same; give MPI_IN_PLACE for one of them where that is \
             meant, or another buffer",
            this.kind.name()
        );
        return Err(MpiError::argument(ErrorClass::Buffer, "recvbuf", detail));
    }
    Ok(())
}

/// Address of the first data byte of the block for peer `index`; none for a block without data.
fn first(side: &Side, index: usize) -> Option<u64> {
    side.block(0, index).and_then(first_of)
}

fn first_of(block: Operand<'_>) -> Option<u64> {
    let Operand { addr, count, datatype, .. } = block;
    (count > 0 && datatype.size() > 0).then(|| address(addr, datatype.true_lb()))
}

/// As [`first`] for what `MPI_Reduce_scatter` gives to this member, which has no displacement.
fn shared_out(side: &Side, rank: usize) -> Option<u64> {
    let Side::Vector(vector) = side else { return first(side, 0) };
    let (count, datatype) = (*vector.counts.get(rank)?, &vector.datatype);
    first_of(Operand { member: 0, addr: vector.addr, count, datatype })
}

fn is_same(one: Option<u64>, other: Option<u64>) -> bool {
    one.is_some() && one == other
}

fn is_one_of(one: Option<u64>, side: &Side, rank: usize) -> bool {
    is_same(one, first(side, 0)) || is_same(one, first(side, rank))
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::super::contribution::VectorBuffer;
    use super::*;
    use crate::datatype::Predefined;

    fn buffer(addr: u64, count: i64) -> Side {
        Side::buffer(addr, count, Predefined::Int)
    }

    fn vector(addr: u64, counts: &[i64], displacements: &[i64]) -> Side {
        Side::Vector(Box::new(VectorBuffer {
            addr,
            counts: counts.into(),
            displacements: displacements.into(),
            datatype: Predefined::Int.into(),
        }))
    }

    fn is_refused(kind: Kind, send: Side, recv: Side, rank: usize) -> bool {
        check_distinct(&Contribution::new(kind).send(send).recv(recv), rank, 3).is_err()
    }

    #[test]
    fn a_buffer_that_is_passed_twice_is_found() {
        for kind in [Kind::Allreduce, Kind::Alltoall, Kind::Reduce, Kind::Scan, Kind::Allgather] {
            assert!(is_refused(kind, buffer(64, 2), buffer(64, 2), 1), "{kind:?}");
            assert!(!is_refused(kind, buffer(64, 2), buffer(128, 2), 1), "{kind:?}");
            assert!(!is_refused(kind, buffer(0, 0), buffer(0, 0), 1), "{kind:?} of nothing");
            assert!(!is_refused(kind, Side::InPlace, buffer(64, 2), 1), "{kind:?}");
        }
    }

    #[test]
    fn so_is_the_own_block_of_the_other_buffer() {
        assert!(is_refused(Kind::Gather, buffer(64 + 8, 2), buffer(64, 2), 1));
        assert!(!is_refused(Kind::Gather, buffer(64 + 8, 2), Side::Absent, 1));
        let blocks = || vector(64, &[1, 2, 1], &[0, 4, 1]);
        assert!(is_refused(Kind::Allgatherv, buffer(64 + 16, 2), blocks(), 1));
        assert!(!is_refused(Kind::Allgatherv, buffer(64 + 16, 2), blocks(), 2));
        assert!(is_refused(Kind::Scatterv, blocks(), buffer(64 + 4, 1), 2));
    }

    #[test]
    fn blocks_without_data_are_nowhere() {
        let nothing_first = || vector(64, &[0, 2, 1], &[0, 4, 1]);
        assert!(is_refused(Kind::Alltoallv, nothing_first(), vector(68, &[1, 0, 0], &[0; 3]), 0));
        assert!(!is_refused(Kind::Alltoallv, nothing_first(), vector(64, &[1, 0, 0], &[0; 3]), 0));
        let share = || vector(64, &[0, 2, 1], &[]);
        assert!(is_refused(Kind::ReduceScatter, buffer(64, 3), share(), 1));
        assert!(!is_refused(Kind::ReduceScatter, buffer(64, 3), share(), 0));
    }
}
