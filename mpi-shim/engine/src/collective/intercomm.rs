//! Collectives of an intercommunicator (MPI-5.0 sections 6.2.2 and 6.2.3), as operations on all its
//! processes.
//!
//! The processes of both groups are numbered in one row, those of the *low* group first. Operations
//! that only move data become an all-to-all exchange in which most blocks are empty; reductions become
//! a [`Kind::Across`]: one pass over the operands of a group, whose result goes to the other group.

pub(super) mod reduction;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::contribution::{Contribution, Kind, Operand, Side, TypedBuffer};
use crate::datatype::{Datatype, Predefined};
use crate::error::{ErrorClass, MpiError, Result};

/// The root of a rooted call by the root itself (`MPI_ROOT`).
pub const ROOT: u32 = u32::MAX;
/// The root of a rooted call by a member of the root's group that takes no part (`MPI_PROC_NULL`).
pub const SILENT: u32 = u32::MAX - 1;

/// Where a process stands in the row of all processes of an intercommunicator.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// Size of the low group.
    pub low: u32,
    /// Number of processes of both groups.
    pub size: u32,
    /// Its number in the row.
    pub number: u32,
}

impl Position {
    /// Whether it is of the low group.
    pub const fn is_low(&self) -> bool {
        self.number < self.low
    }

    /// Numbers of its own group.
    pub const fn local(&self) -> Range<u32> {
        if self.is_low() { 0..self.low } else { self.low..self.size }
    }

    /// Numbers of the other group.
    pub const fn remote(&self) -> Range<u32> {
        if self.is_low() { self.low..self.size } else { 0..self.low }
    }
}

/// What a process adds to a reduction across groups beside its buffers.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Share {
    /// Size of the low group.
    pub low: u32,
    /// First element of the result that this process gets.
    pub first: i64,
}

/// The call `this`, as its operation on all processes of the intercommunicator.
///
/// Its root is [`ROOT`], [`SILENT`] or a rank of the other group.
///
/// # Errors
/// `MPI_ERR_COMM` for an operation that intercommunicators do not have; `MPI_ERR_BUFFER` for
/// `MPI_IN_PLACE`; `MPI_ERR_COUNT` when counts overflow.
pub fn across(this: Contribution, at: Position) -> Result<Contribution> {
    for (side, argument) in [(&this.send, "sendbuf"), (&this.recv, "recvbuf")] {
        if side.is_in_place() {
            let detail = "MPI_IN_PLACE has no meaning on an intercommunicator, where data comes from \
                          the other group";
            return Err(MpiError::argument(ErrorClass::Buffer, argument, detail));
        }
    }
    match this.kind {
        Kind::Barrier => Ok(this),
        Kind::Scan | Kind::Exscan | Kind::Across => {
            let name = this.kind.name();
            let detail = format!("{name} is not defined on an intercommunicator; merge its groups");
            Err(MpiError::argument(ErrorClass::Comm, "comm", detail))
        }
        kind if kind.is_reduction() => reduction(this, at),
        _ => Ok(movement(&this, at)),
    }
}

/// An all-to-all exchange in which this process has the blocks that the call moves.
fn movement(this: &Contribution, at: Position) -> Contribution {
    let size = at.size as usize;
    let (mut send, mut recv) = (Blocks::new(size), Blocks::new(size));
    let mut to = |index: u32, block: Option<Operand<'_>>| send.set(at, index, block);
    let mut from = |index: u32, block: Option<Operand<'_>>| recv.set(at, index, block);
    let peers = 0..at.remote().end - at.remote().start;
    let (sent, got) = (&this.send, &this.recv);
    match (this.kind, this.root) {
        (Kind::Bcast | Kind::Gather | Kind::Gatherv | Kind::Scatter | Kind::Scatterv, SILENT) => {}
        (Kind::Bcast, ROOT) => peers.for_each(|peer| to(peer, sent.block(0, 0))),
        (Kind::Bcast, root) => from(root, sent.block(0, 0)),
        (Kind::Gather | Kind::Gatherv, ROOT) => {
            peers.for_each(|peer| from(peer, got.block(0, peer as usize)));
        }
        (Kind::Gather | Kind::Gatherv, root) => to(root, sent.block(0, 0)),
        (Kind::Scatter | Kind::Scatterv, ROOT) => {
            peers.for_each(|peer| to(peer, sent.block(0, peer as usize)));
        }
        (Kind::Scatter | Kind::Scatterv, root) => from(root, got.block(0, 0)),
        (Kind::Allgather | Kind::Allgatherv, _) => peers.for_each(|peer| {
            to(peer, sent.block(0, 0));
            from(peer, got.block(0, peer as usize));
        }),
        _ => peers.for_each(|peer| {
            to(peer, sent.block(0, peer as usize));
            from(peer, got.block(0, peer as usize));
        }),
    }
    let called = Contribution::new(Kind::Alltoallw).root(this.kind as u32);
    called.send(send.side()).recv(recv.side())
}

/// Blocks for all processes, empty where nothing was set.
struct Blocks {
    counts: Vec<i64>,
    displacements: Vec<i64>,
    datatypes: Vec<Datatype>,
}

impl Blocks {
    fn new(size: usize) -> Self {
        let datatypes = vec![Predefined::Byte.into(); size];
        Self { counts: vec![0; size], displacements: vec![0; size], datatypes }
    }

    /// Sets the block for rank `peer` of the other group.
    fn set(&mut self, at: Position, peer: u32, block: Option<Operand<'_>>) {
        let index = (at.remote().start + peer) as usize;
        let Some(block) = block.filter(|_| index < self.counts.len()) else { return };
        self.counts[index] = block.count;
        self.displacements[index] = block.addr.cast_signed();
        self.datatypes[index] = block.datatype.clone();
    }

    fn side(self) -> Side {
        Side::Typed(Box::new(TypedBuffer {
            addr: 0,
            counts: self.counts.into(),
            displacements: self.displacements.into(),
            datatypes: self.datatypes.into(),
        }))
    }
}

/// A reduction whose operands come from one group and whose result goes to the other.
fn reduction(this: Contribution, at: Position) -> Result<Contribution> {
    let place = (at.number - at.local().start) as usize;
    let overflow = || MpiError::argument(ErrorClass::Count, "recvcounts", "their sum overflows");
    let (mut send, mut first) = (this.send, 0);
    let recv = match (this.kind, this.recv) {
        (Kind::Reduce, recv) if this.root == ROOT => {
            send = Side::Absent;
            recv
        }
        (Kind::Reduce, _) if this.root == SILENT => {
            send = Side::Absent;
            Side::Absent
        }
        (Kind::Reduce, _) => Side::Absent,
        (Kind::ReduceScatterBlock, Side::Buffer(buffer)) => {
            let start = buffer.count.checked_mul(place as i64);
            first = start.ok_or_else(overflow)?;
            Side::Buffer(buffer)
        }
        (Kind::ReduceScatter, Side::Vector(vector)) => {
            let mut counts = vector.counts.iter().take(place);
            let start = counts.try_fold(0_i64, |sum, count| sum.checked_add(*count));
            first = start.ok_or_else(overflow)?;
            let count = vector.counts.get(place).copied().unwrap_or(0);
            Side::buffer(vector.addr, count, vector.datatype)
        }
        (_, recv) => recv,
    };
    let share = Share { low: at.low, first };
    let called = Contribution::new(Kind::Across).root(this.kind as u32);
    Ok(Contribution { op: this.op, share, ..called }.send(send).recv(recv))
}
