//! Whether all members called the same operation with the same root and operator.

use alloc::format;

use super::contribution::{Contribution, Kind, Operator, Side};
use crate::error::{ErrorClass, MpiError, Result};

/// Compares every member with rank 0.
///
/// # Errors
/// An error that names both ranks: `MPI_ERR_NOT_SAME` for different operations, `MPI_ERR_ROOT` for
/// different or invalid roots, `MPI_ERR_OP` for different operators, `MPI_ERR_ARG` for an array of
/// the wrong length, `MPI_ERR_BUFFER` for a missing buffer.
pub fn check(contributions: &[Contribution]) -> Result<()> {
    let Some(first) = contributions.first() else { return Ok(()) };
    for (rank, other) in contributions.iter().enumerate() {
        if other.kind != first.kind {
            return Err(different_kinds(first, other, rank));
        }
        if is_between_groups(first.kind) && other.root != first.root {
            return Err(different_functions(rank));
        }
        if first.kind.is_rooted() && other.root != first.root {
            return Err(different_roots(first, other, rank));
        }
        if first.kind.is_reduction() && !same_operator(first.op, other.op) {
            return Err(different_operators(first, rank));
        }
        if first.kind != Kind::Barrier {
            check_sides(other, rank, contributions.len())?;
        }
    }
    if first.kind.is_rooted() && first.root as usize >= contributions.len() {
        let detail = format!("{} is not a rank of the communicator", first.root);
        return Err(MpiError::argument(ErrorClass::Root, "root", detail));
    }
    Ok(())
}

/// Each side has a block for each peer where the operation needs one.
pub(super) fn check_sides(this: &Contribution, rank: usize, peers: usize) -> Result<()> {
    let sides = [(&this.send, "sendcounts"), (&this.recv, "recvcounts")];
    for (side, argument) in sides {
        let exempt = this.kind == Kind::ReduceScatter;
        if side.blocks().is_some_and(|blocks| blocks < peers && !exempt) {
            let detail = format!("rank {rank} has fewer than {peers} blocks");
            return Err(MpiError::argument(ErrorClass::Arg, argument, detail));
        }
    }
    let (send, recv) = needed(this.kind, this.root as usize == rank);
    check_present(this, rank, &this.send, send, "sendbuf")?;
    check_present(this, rank, &this.recv, recv, "recvbuf")?;
    if this.send.is_in_place() && this.recv.is_in_place() {
        let detail = format!("rank {rank} passed MPI_IN_PLACE on both sides");
        return Err(MpiError::new(ErrorClass::Buffer, detail));
    }
    Ok(())
}

/// How significant a side is at a member.
#[derive(Copy, Clone, Eq, PartialEq)]
enum Need {
    Unused,
    Buffer,
    BufferOrInPlace,
}

/// What the standard wants on the send and on the receive side.
const fn needed(kind: Kind, is_root: bool) -> (Need, Need) {
    use Need::{Buffer, BufferOrInPlace, Unused};
    match kind {
        Kind::Barrier | Kind::Across => (Unused, Unused),
        Kind::Bcast => (Buffer, Unused),
        Kind::Gather | Kind::Gatherv | Kind::Reduce if is_root => (BufferOrInPlace, Buffer),
        Kind::Gather | Kind::Gatherv | Kind::Reduce => (Buffer, Unused),
        Kind::Scatter | Kind::Scatterv if is_root => (Buffer, BufferOrInPlace),
        Kind::Scatter | Kind::Scatterv => (Unused, Buffer),
        Kind::Allgather
        | Kind::Allgatherv
        | Kind::Alltoall
        | Kind::Alltoallv
        | Kind::Alltoallw
        | Kind::Allreduce
        | Kind::ReduceScatter
        | Kind::ReduceScatterBlock
        | Kind::Scan
        | Kind::Exscan => (BufferOrInPlace, Buffer),
    }
}

fn check_present(
    this: &Contribution,
    rank: usize,
    side: &Side,
    need: Need,
    argument: &'static str,
) -> Result<()> {
    let problem = match (need, side) {
        (Need::Buffer, Side::InPlace) => "may not pass MPI_IN_PLACE",
        (Need::Buffer | Need::BufferOrInPlace, Side::Absent) => "passed no buffer",
        _ => return Ok(()),
    };
    let detail = format!("rank {rank} {problem} to {}", this.kind.name());
    Err(MpiError::argument(ErrorClass::Buffer, argument, detail))
}

fn same_operator(a: Option<Operator>, b: Option<Operator>) -> bool {
    match (a, b) {
        (Some(Operator::User { .. }), Some(Operator::User { .. })) => true,
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Whether the operation may be one of an intercommunicator, whose root is the function called.
pub(super) const fn is_between_groups(kind: Kind) -> bool {
    matches!(kind, Kind::Alltoallw | Kind::Across)
}

pub(super) fn different_functions(rank: usize) -> MpiError {
    let detail = format!("process 0 and process {rank} of both groups called different functions");
    MpiError::new(ErrorClass::NotSame, detail)
}

fn different_kinds(first: &Contribution, other: &Contribution, rank: usize) -> MpiError {
    let (ours, theirs) = (first.kind.name(), other.kind.name());
    let detail = format!("rank 0 called {ours} but rank {rank} called {theirs}");
    MpiError::new(ErrorClass::NotSame, detail)
}

fn different_roots(first: &Contribution, other: &Contribution, rank: usize) -> MpiError {
    let (kind, ours, theirs) = (first.kind.name(), first.root, other.root);
    let detail = format!("in {kind} rank 0 passed {ours} but rank {rank} passed {theirs}");
    MpiError::argument(ErrorClass::Root, "root", detail)
}

fn different_operators(first: &Contribution, rank: usize) -> MpiError {
    let kind = first.kind.name();
    let detail = format!("in {kind} rank 0 and rank {rank} passed different operators or none");
    MpiError::argument(ErrorClass::Op, "op", detail)
}
