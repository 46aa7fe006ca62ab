//! Reductions with a user-defined operator, as steps for the caller to take.
//!
//! The operator is a guest function, and calling it may suspend the guest, so the engine cannot
//! run it. It says instead what to do: step after step is a value named by its index alone, and a
//! caller that was suspended goes on with the next index.
//!
//! The caller provides two scratch buffers of [`Schedule::scratch_bytes`] in one guest, the
//! accumulator and the input. The order is the canonical one, `((a0 op a1) op a2) ...`, so
//! operators need not be commutative.

use alloc::format;
use alloc::vec::Vec;

use super::contribution::{Contribution, Kind, Operand, Side};
use super::intercomm::reduction::{Direction, directions, output};
use super::members::Failures;
use super::reduction::{input, shares};
use crate::datatype::{Datatype, address};
use crate::error::{ErrorClass, MpiError, Result};

/// One of the two scratch buffers.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Scratch {
    /// What has been combined so far.
    Accumulator,
    /// What is combined next.
    Input,
}

/// One step of a schedule.
#[derive(Copy, Clone, Debug)]
pub enum Step<'a> {
    /// Copy a member's elements into a scratch buffer.
    Load {
        /// Where the elements are.
        from: Operand<'a>,
        /// Which buffer they go to.
        into: Scratch,
    },
    /// Call the operator with the accumulator as `invec` and the input as `inoutvec`; then the two
    /// buffers change roles.
    Fold,
    /// Copy elements of the accumulator to a member.
    Deliver {
        /// First element of the accumulator.
        first: i64,
        /// Where they go, and how many.
        to: Operand<'a>,
    },
}

/// The steps of one reduction.
#[derive(Debug)]
pub struct Schedule<'a> {
    contributions: &'a [Contribution],
    count: i64,
    datatype: &'a Datatype,
    shares: Vec<(u64, u64)>,
    /// The steps of a reduction across groups.
    listed: Vec<Step<'a>>,
}

impl<'a> Schedule<'a> {
    /// Checks a reduction in which rank `i` brings `contributions[i]`.
    ///
    /// # Errors
    /// As [`super::Plan::new`].
    pub fn new(contributions: &'a [Contribution]) -> core::result::Result<Self, Failures> {
        Self::checked(contributions)
            .map_err(|error| Failures::everywhere(contributions.len(), &error))
    }

    fn checked(contributions: &'a [Contribution]) -> Result<Self> {
        super::check(contributions)?;
        let reduction = contributions.first().is_some_and(|first| first.kind.is_reduction());
        if !reduction {
            let detail = "only reductions have a schedule";
            return Err(MpiError::new(ErrorClass::Intern, detail));
        }
        if contributions[0].kind == Kind::Across {
            return Self::across(contributions);
        }
        let first = input(contributions, 0)?;
        let bytes = |operand: Operand<'_>| operand.datatype.bytes(operand.count);
        for rank in 1..contributions.len() {
            let other = input(contributions, rank)?;
            if other.count != first.count || bytes(other) != bytes(first) {
                let detail = format!(
                    "rank 0 passed {} elements of {} bytes but rank {rank} passed {} of {}",
                    first.count,
                    first.datatype.size(),
                    other.count,
                    other.datatype.size()
                );
                return Err(MpiError::argument(ErrorClass::Count, "count", detail));
            }
        }
        let scattered =
            matches!(contributions[0].kind, Kind::ReduceScatter | Kind::ReduceScatterBlock);
        let shares = if scattered { shares(contributions) } else { Vec::new() };
        let (count, datatype) = (first.count, first.datatype);
        Ok(Self { contributions, count, datatype, shares, listed: Vec::new() })
    }

    /// The steps in each direction: load, fold, and deliver to the other group.
    fn across(contributions: &'a [Contribution]) -> Result<Self> {
        let mut listed = Vec::new();
        let mut like: Option<Operand<'a>> = None;
        for Direction { inputs, outputs } in directions(contributions) {
            for member in inputs.clone() {
                let from = input(contributions, member)?;
                let first = *like.get_or_insert(from);
                let bytes = |operand: Operand<'_>| operand.datatype.bytes(operand.count);
                if from.count != first.count || bytes(from) != bytes(first) {
                    let detail = format!(
                        "process {member} of both groups passed {} elements where another passed {}",
                        from.count, first.count
                    );
                    return Err(MpiError::argument(ErrorClass::Count, "count", detail));
                }
                let is_first = member == inputs.start;
                let into = if is_first { Scratch::Accumulator } else { Scratch::Input };
                listed.push(Step::Load { from, into });
                if !is_first {
                    listed.push(Step::Fold);
                }
            }
            for member in outputs {
                let Some((first, to)) = output(contributions, member) else { continue };
                let elements = like.map_or(0, |like| like.count.unsigned_abs());
                super::reduction::fits(elements, member, first, to.count)?;
                listed.push(Step::Deliver { first, to });
            }
        }
        static NOTHING: Datatype = Datatype::Predefined(crate::datatype::Predefined::Byte);
        let (count, datatype) = like.map_or((0, &NOTHING), |like| (like.count, like.datatype));
        Ok(Self { contributions, count, datatype, shares: Vec::new(), listed })
    }

    /// Elements in each scratch buffer, the `len` of the operator.
    pub const fn count(&self) -> i64 {
        self.count
    }

    /// Type of the elements as rank 0 knows it.
    pub const fn datatype(&self) -> &'a Datatype {
        self.datatype
    }

    /// Bytes of one scratch buffer.
    pub fn scratch_bytes(&self) -> u64 {
        self.datatype.span(self.count).map_or(0, |(low, high)| high.abs_diff(low))
    }

    /// The elements of a scratch buffer whose first byte is at `start` of `member`; the operand's
    /// address is what the operator is called with.
    pub fn scratch(&self, member: usize, start: u64) -> Operand<'a> {
        let low = self.datatype.span(self.count).map_or(0, |(low, _)| low);
        let addr = address(start, low.wrapping_neg());
        Operand { member, addr, count: self.count, datatype: self.datatype }
    }

    /// The part of a scratch operand that a [`Step::Deliver`] copies.
    pub fn part(&self, scratch: Operand<'a>, first: i64, count: i64) -> Operand<'a> {
        let offset = first.wrapping_mul(self.datatype.extent());
        Operand { addr: address(scratch.addr, offset), count, ..scratch }
    }

    /// The step with this index; `None` after the last one.
    pub fn step(&self, index: usize) -> Option<Step<'a>> {
        match self.contributions[0].kind {
            Kind::Scan => self.scan_step(index),
            Kind::Exscan => self.exscan_step(index),
            Kind::Across => self.listed.get(index).copied(),
            _ => self.reduce_step(index),
        }
    }

    /// Load 0, then load and fold each other member, then all deliveries.
    fn reduce_step(&self, index: usize) -> Option<Step<'a>> {
        let folded = 2 * self.contributions.len() - 1;
        match index {
            0 => self.load(0, Scratch::Accumulator),
            _ if index >= folded => self.delivery(index - folded),
            _ if index % 2 == 1 => self.load(index.div_ceil(2), Scratch::Input),
            _ => Some(Step::Fold),
        }
    }

    /// Load and deliver 0, then load, fold and deliver each other member.
    fn scan_step(&self, index: usize) -> Option<Step<'a>> {
        match (index, index.wrapping_sub(2) / 3 + 1, index.wrapping_sub(2) % 3) {
            (0, ..) => self.load(0, Scratch::Accumulator),
            (1, ..) => self.deliver(0, 0, self.count),
            (_, member, 0) => self.load(member, Scratch::Input),
            (_, member, 1) => (member < self.contributions.len()).then_some(Step::Fold),
            (_, member, _) => self.deliver(member, 0, self.count),
        }
    }

    /// Load 0, then load each other member, deliver to it what came before, and fold.
    fn exscan_step(&self, index: usize) -> Option<Step<'a>> {
        match (index, index.wrapping_sub(1) / 3 + 1, index.wrapping_sub(1) % 3) {
            (0, ..) => self.load(0, Scratch::Accumulator),
            (_, member, 0) => self.load(member, Scratch::Input),
            (_, member, 1) => self.deliver(member, 0, self.count),
            (_, member, _) => (member < self.contributions.len()).then_some(Step::Fold),
        }
    }

    fn delivery(&self, index: usize) -> Option<Step<'a>> {
        match self.contributions[0].kind {
            Kind::Reduce if index > 0 => None,
            Kind::Reduce => self.deliver(self.contributions[0].root as usize, 0, self.count),
            Kind::Allreduce => self.deliver(index, 0, self.count),
            _ => {
                let &(first, count) = self.shares.get(index)?;
                self.deliver(index, first as i64, count as i64)
            }
        }
    }

    fn load(&self, member: usize, into: Scratch) -> Option<Step<'a>> {
        if member >= self.contributions.len() {
            return None;
        }
        let from = input(self.contributions, member).ok()?;
        Some(Step::Load { from, into })
    }

    fn deliver(&self, member: usize, first: i64, count: i64) -> Option<Step<'a>> {
        let (addr, datatype) = match &self.contributions.get(member)?.recv {
            Side::Buffer(buffer) => (buffer.addr, &buffer.datatype),
            Side::Vector(vector) => (vector.addr, &vector.datatype),
            _ => return None,
        };
        Some(Step::Deliver { first, to: Operand { member, addr, count, datatype } })
    }
}
