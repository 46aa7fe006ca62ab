//! The core of all reductions: members' elements are combined in rank order, a chunk at a time.
//!
//! `((a0 op a1) op a2) ...` is the order everywhere, so that the result is the same whichever
//! algorithm runs, however the work is split, and at every member.
//!
//! Cost: one read of every input, one write of every result, n-1 operator passes in cache.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::contribution::{Contribution, Kind, Operand, Operator, Side};
use super::members::{MemberFault, Members};
use crate::datatype::{Datatype, address};
use crate::error::{ErrorClass, MpiError, Result};
use crate::op::Kernel;

/// A checked reduction with a predefined operator.
#[derive(Debug)]
pub(super) struct Reduction<'a> {
    pub(super) contributions: &'a [Contribution],
    /// The members whose operands are combined.
    pub(super) inputs: Range<usize>,
    pub(super) kernel: Kernel,
    /// Bytes from one element to the next.
    pub(super) extent: usize,
    /// Elements at each member.
    pub(super) elements: u64,
}

impl<'a> Reduction<'a> {
    /// Checks the operator, the types and the counts of all members.
    pub(super) fn new(contributions: &'a [Contribution]) -> Result<Self> {
        Self::of(contributions, 0..contributions.len())
    }

    /// As [`Reduction::new`], with the operands of these members only.
    pub(super) fn of(contributions: &'a [Contribution], inputs: Range<usize>) -> Result<Self> {
        let first = input(contributions, inputs.start)?;
        let Some(Operator::Predefined(op)) = contributions[0].op else {
            let detail = "a user-defined operator runs in the guest, by a schedule";
            return Err(MpiError::argument(ErrorClass::Intern, "op", detail));
        };
        let (predefined, kernel) = op.reduction(first.datatype)?;
        for rank in inputs.clone().skip(1) {
            let other = input(contributions, rank)?;
            op.reduction(other.datatype)?;
            if other.datatype.operand().map(|p| p.kind()) != Some(predefined.kind()) {
                return Err(different_types(first.datatype, other.datatype, rank));
            }
            same_count(first.count, other.count, rank)?;
        }
        let extent = predefined.extent();
        let elements = first.count.max(0) as u64;
        if elements.checked_mul(extent as u64).is_none_or(|bytes| bytes > i64::MAX as u64) {
            let detail = format!("{elements} elements are more than any memory holds");
            return Err(MpiError::argument(ErrorClass::Count, "count", detail));
        }
        Ok(Self { contributions, inputs, kernel, extent, elements })
    }

    /// Checks a part of the result that a member of another group than the operands' gets.
    pub(super) fn check_result(&self, member: usize, first: i64, to: Operand<'_>) -> Result<()> {
        let from = input(self.contributions, self.inputs.start)?;
        let kind = |datatype: &Datatype| datatype.operand().map(|predefined| predefined.kind());
        if kind(to.datatype) != kind(from.datatype) {
            return Err(different_types(from.datatype, to.datatype, member));
        }
        fits(self.elements, member, first, to.count)
    }

    /// Bytes of all inputs together, saturating.
    pub(super) fn bytes(&self) -> u64 {
        let each = self.elements.saturating_mul(self.extent as u64);
        each.saturating_mul(self.inputs.len() as u64)
    }

    /// Combines a range of elements; `deliver(bytes offset, result)` is called for each chunk.
    pub(super) fn fold<M: Members>(
        &self,
        range: Range<u64>,
        members: &M,
        mut deliver: impl FnMut(u64, &[u8]) -> core::result::Result<(), MemberFault>,
    ) -> core::result::Result<(), MemberFault> {
        let mut chunks = Chunks::new(self, range);
        while let Some((offset, result, operand)) = chunks.next() {
            self.read_input(self.inputs.start, offset, result, members)?;
            for member in self.inputs.clone().skip(1) {
                self.read_input(member, offset, operand, members)?;
                (self.kernel)(result, operand);
            }
            deliver(offset, result)?;
        }
        Ok(())
    }

    /// Reads a chunk of a member's input that begins `offset` bytes into the buffer.
    pub(super) fn read_input<M: Members>(
        &self,
        member: usize,
        offset: u64,
        out: &mut [u8],
        members: &M,
    ) -> core::result::Result<(), MemberFault> {
        let this = &self.contributions[member];
        let addr = this.send.addr().or_else(|| this.recv.addr()).unwrap_or(0);
        members
            .read(member, address(addr, offset as i64), out)
            .map_err(|fault| MemberFault { member, fault })
    }

    /// Writes a chunk of a member's result that begins `offset` bytes into the buffer.
    pub(super) fn write_result<M: Members>(
        &self,
        member: usize,
        offset: u64,
        data: &[u8],
        members: &M,
    ) -> core::result::Result<(), MemberFault> {
        let addr = self.contributions[member].recv.addr().unwrap_or(0);
        members
            .write(member, address(addr, offset as i64), data)
            .map_err(|fault| MemberFault { member, fault })
    }
}

/// Cuts a range of elements into chunks and owns the two buffers they pass through.
pub(super) struct Chunks {
    offset: u64,
    end: u64,
    result: Vec<u8>,
    operand: Vec<u8>,
}

impl Chunks {
    pub(super) fn new(reduction: &Reduction<'_>, range: Range<u64>) -> Self {
        let extent = reduction.extent as u64;
        let (offset, end) = (range.start * extent, range.end * extent);
        let whole = CHUNK_BYTES_MAX / reduction.extent * reduction.extent;
        let len = usize::try_from(end - offset).unwrap_or(whole).min(whole);
        Self { offset, end, result: vec![0; len], operand: vec![0; len] }
    }

    /// Offset in bytes, and the buffers cut to the length of the chunk.
    pub(super) fn next(&mut self) -> Option<(u64, &mut [u8], &mut [u8])> {
        let offset = self.offset;
        let len = usize::try_from(self.end - offset).unwrap_or(usize::MAX).min(self.result.len());
        if len == 0 {
            return None;
        }
        self.offset += len as u64;
        Some((offset, &mut self.result[..len], &mut self.operand[..len]))
    }
}

/// The elements a member puts into a reduction, wherever they lie.
pub(super) fn input(contributions: &[Contribution], member: usize) -> Result<Operand<'_>> {
    let this = &contributions[member];
    let side = if this.send.is_in_place() { &this.recv } else { &this.send };
    let missing = || MpiError::new(ErrorClass::Buffer, format!("rank {member} has no buffer"));
    let addr = side.addr().ok_or_else(missing)?;
    let (count, datatype) = match (this.kind, &this.recv) {
        (Kind::ReduceScatter, Side::Vector(vector)) => {
            (total_count(contributions, member, &vector.counts)?, &vector.datatype)
        }
        (Kind::ReduceScatterBlock, Side::Buffer(buffer)) => {
            let total = buffer.count.checked_mul(contributions.len() as i64);
            (total.ok_or_else(missing)?, &buffer.datatype)
        }
        _ => match side {
            Side::Buffer(buffer) => (buffer.count, &buffer.datatype),
            _ => return Err(missing()),
        },
    };
    Ok(Operand { member, addr, count, datatype })
}

/// First element and number of elements of each member's share of a reduce-scatter.
pub(super) fn shares(contributions: &[Contribution]) -> Vec<(u64, u64)> {
    let mut start = 0_u64;
    let counts = (0..contributions.len()).map(|member| match &contributions[0].recv {
        Side::Vector(vector) => vector.counts.get(member).copied().unwrap_or(0).max(0) as u64,
        Side::Buffer(buffer) => buffer.count.max(0) as u64,
        _ => 0,
    });
    let shares = counts.map(|count| {
        let share = (start, count);
        start += count;
        share
    });
    shares.collect()
}

/// Sum of the receive counts, which must be the same array everywhere.
fn total_count(contributions: &[Contribution], member: usize, counts: &[i64]) -> Result<i64> {
    if counts.len() != contributions.len() {
        let detail = format!("rank {member} has {} entries", counts.len());
        return Err(MpiError::argument(ErrorClass::Arg, "recvcounts", detail));
    }
    if let Side::Vector(first) = &contributions[0].recv
        && let Some(index) = counts.iter().zip(&first.counts).position(|(a, b)| a != b)
    {
        let (ours, theirs) = (first.counts[index], counts[index]);
        let detail = format!("entry {index} is {ours} at rank 0 but {theirs} at rank {member}");
        return Err(MpiError::argument(ErrorClass::NotSame, "recvcounts", detail));
    }
    let sum = counts.iter().try_fold(0_i64, |sum, &count| sum.checked_add(count.max(0)));
    sum.ok_or_else(|| MpiError::argument(ErrorClass::Count, "recvcounts", "their sum overflows"))
}

/// Whether a member's part lies inside a result of `elements` elements; the last one ends with it.
pub(super) fn fits(elements: u64, member: usize, first: i64, count: i64) -> Result<()> {
    let end = first.checked_add(count).and_then(|end| u64::try_from(end).ok());
    if end.is_some_and(|end| end <= elements) {
        return Ok(());
    }
    let detail = format!(
        "process {member} of both groups expects elements up to {} of a result that has {elements}",
        i128::from(first) + i128::from(count)
    );
    Err(MpiError::argument(ErrorClass::Count, "recvcount", detail))
}

fn same_count(ours: i64, theirs: i64, rank: usize) -> Result<()> {
    if ours == theirs {
        return Ok(());
    }
    let detail = format!("rank 0 passed {ours} but rank {rank} passed {theirs}");
    Err(MpiError::argument(ErrorClass::Count, "count", detail))
}

fn different_types(ours: &Datatype, theirs: &Datatype, rank: usize) -> MpiError {
    let name = |datatype: &Datatype| datatype.predefined().map_or("a derived type", |p| p.name());
    let detail = format!("rank 0 passed {} but rank {rank} passed {}", name(ours), name(theirs));
    MpiError::argument(ErrorClass::Type, "datatype", detail)
}

/// Bytes combined at a time: two such buffers stay in the first-level cache.
const CHUNK_BYTES_MAX: usize = 16 << 10;
