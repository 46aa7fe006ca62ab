//! A reduction across the groups of an intercommunicator, inside one node: for each group that gets a
//! result, one pass over the operands of the other one, in rank order.

use alloc::vec::Vec;
use core::ops::Range;

use crate::collective::contribution::{Contribution, Operand, Side};
use crate::collective::members::{MemberFault, Members};
use crate::collective::reduction::Reduction;
use crate::error::Result;

/// Numbers of the processes that put operands in, and of those that get a result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::collective) struct Direction {
    pub(in crate::collective) inputs: Range<usize>,
    pub(in crate::collective) outputs: Range<usize>,
}

/// The directions in which a result is wanted.
pub(in crate::collective) fn directions(contributions: &[Contribution]) -> Vec<Direction> {
    let size = contributions.len();
    let low = contributions.first().map_or(0, |first| first.share.low as usize).min(size);
    both(low, size)
        .into_iter()
        .filter(|one| one.outputs.clone().any(|member| wants(&contributions[member])))
        .collect()
}

/// Both directions between a low group of this size and the others.
pub(in crate::collective) fn both(low: usize, size: usize) -> [Direction; 2] {
    let (low, high) = (0..low, low..size);
    [
        Direction { inputs: low.clone(), outputs: high.clone() },
        Direction { inputs: high, outputs: low },
    ]
}

/// Whether a process gets a part of the result.
pub(in crate::collective) const fn wants(this: &Contribution) -> bool {
    matches!(this.recv, Side::Buffer(_))
}

/// Where a process's part of the result goes, and its first element.
pub(in crate::collective) fn output(
    contributions: &[Contribution],
    member: usize,
) -> Option<(i64, Operand<'_>)> {
    let this = &contributions[member];
    let Side::Buffer(buffer) = &this.recv else { return None };
    let (addr, count, datatype) = (buffer.addr, buffer.count, &buffer.datatype);
    Some((this.share.first, Operand { member, addr, count, datatype }))
}

/// One direction with a predefined operator.
#[derive(Debug)]
pub(in crate::collective) struct Across<'a> {
    reduction: Reduction<'a>,
    outputs: Range<usize>,
}

impl<'a> Across<'a> {
    /// Checks the operands of each direction in which a result is wanted.
    pub(in crate::collective) fn all(contributions: &'a [Contribution]) -> Result<Vec<Self>> {
        let checked = |one: Direction| {
            let reduction = Reduction::of(contributions, one.inputs)?;
            for member in one.outputs.clone() {
                if let Some((first, to)) = output(contributions, member) {
                    reduction.check_result(member, first, to)?;
                }
            }
            Ok(Self { reduction, outputs: one.outputs })
        };
        directions(contributions).into_iter().map(checked).collect()
    }

    pub(in crate::collective) fn bytes(&self) -> u64 {
        self.reduction.bytes()
    }

    pub(in crate::collective) const fn elements(&self) -> u64 {
        self.reduction.elements
    }

    /// Reduces a range of elements.
    pub(in crate::collective) fn run<M: Members>(
        &self,
        range: Range<u64>,
        members: &M,
    ) -> core::result::Result<(), MemberFault> {
        let extent = self.reduction.extent as u64;
        self.reduction.fold(range, members, |offset, result| {
            for member in self.outputs.clone() {
                let Some((first, to)) = output(self.reduction.contributions, member) else {
                    continue;
                };
                let low = first.unsigned_abs() * extent;
                let part = clip(low..low + to.count.unsigned_abs() * extent, offset, result.len());
                if part.is_empty() {
                    continue;
                }
                let data = &result[(part.start - offset) as usize..(part.end - offset) as usize];
                self.reduction.write_result(member, part.start - low, data, members)?;
            }
            Ok(())
        })
    }
}

/// The part of `wanted` that lies in the `len` bytes from `start` on.
pub(in crate::collective) fn clip(wanted: Range<u64>, start: u64, len: usize) -> Range<u64> {
    let end = start + len as u64;
    let from = wanted.start.clamp(start, end);
    from..wanted.end.clamp(from, end)
}
