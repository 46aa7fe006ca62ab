//! Reductions: the members' elements are combined in rank order, as inside one node.
//!
//! Small operands have come with the announcements, and every node that needs the result combines
//! them all. Larger ones travel along a chain.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::Outside;
use super::announce::Announcement;
use super::block::Call;
use super::chain::Chain;
use super::head::{Element, Head, input};
use super::select;
use super::wire::{Writer, malformed};
use crate::collective::contribution::{Contribution, Kind, Operand, Operator, Side};
use crate::collective::members::{MemberFault, MemberMemory, Members};
use crate::datatype::{BasicKind, address, pack_window, unpack_window};
use crate::error::Result;
use crate::op::{Kernel, Op};

/// Bytes combined at a time: two such buffers stay in the first-level cache.
const PIECE_BYTES: usize = 16 << 10;

/// How the elements of a call are combined, as far as each node knows by itself.
#[derive(Copy, Clone, Debug)]
pub(super) struct Shape {
    /// The code of a predefined operator; elements are then moved with what lies between them.
    kernel: Option<Kernel>,
    /// Bytes of an element as it travels.
    pub(super) unit: u64,
    elements: u64,
    /// The order of the nodes does not matter.
    is_exact: bool,
}

/// What has come with the announcements, or nothing.
pub(super) type Inlined<'a, M> = Option<&'a [Announcement<M>]>;

impl Shape {
    /// The shape of a call; `None` when its operator is not defined on its type.
    pub(super) fn of(head: &Head, kind: Kind) -> Option<Self> {
        let elements = u64::try_from(head.count).unwrap_or(0);
        match head.op? {
            Operator::User { .. } => {
                Some(Self { kernel: None, unit: head.element.size(), elements, is_exact: false })
            }
            Operator::Predefined(op) => {
                let Element::Predefined(predefined) = head.element else { return None };
                let (_, kernel) = op.reduction(&predefined.into()).ok()?;
                let unit = predefined.extent() as u64;
                let total = !matches!(kind, Kind::Scan | Kind::Exscan);
                let is_exact = total && is_exact(op, predefined.kind());
                Some(Self { kernel: Some(kernel), unit, elements, is_exact })
            }
        }
    }

    /// Bytes of a member's operand, saturating.
    pub(super) const fn bytes(&self) -> u64 {
        self.elements.saturating_mul(self.unit)
    }

    /// Whether all operands go to all nodes that need the result.
    pub(super) fn is_gathered(&self, call: &Call<'_>) -> bool {
        let total = self.bytes().saturating_mul(call.spread.size() as u64);
        select::gathers_operands(total, self.runs(call), call.spread.nodes())
    }

    /// Appends the operands of this node's members.
    pub(super) fn gather<M: Members>(
        &self,
        call: &Call<'_>,
        members: &M,
        out: &mut Writer,
    ) -> Result<()> {
        for member in call.spread.local() {
            let room = out.room(self.bytes() as usize);
            self.read(call, *member, 0, room, members)?;
        }
        Ok(())
    }

    pub(super) fn runs(&self, call: &Call<'_>) -> usize {
        if self.is_exact { call.spread.nodes() } else { call.spread.runs() }
    }

    /// Node and members of a stretch of the chain.
    pub(super) fn run<'a>(&self, call: &Call<'a>, index: usize) -> (usize, &'a [u32]) {
        match self.is_exact {
            true => (index, call.spread.members(index)),
            false => call.spread.run(index),
        }
    }

    /// Elements of a member's operand.
    pub(super) const fn elements(&self) -> u64 {
        self.elements
    }

    /// The code of a predefined operator.
    pub(super) const fn kernel(&self) -> Option<Kernel> {
        self.kernel
    }

    /// Reads a part of a local member's operand that begins at byte `offset`.
    pub(super) fn read<M: Members>(
        &self,
        call: &Call<'_>,
        member: u32,
        offset: u64,
        out: &mut [u8],
        members: &M,
    ) -> Result<()> {
        let this = call.contribution(member).ok_or_else(malformed)?;
        let member = member as usize;
        let operand = input(this, member, call.spread.size())?;
        let read = match self.kernel {
            Some(_) => members.read(member, address(operand.addr, offset as i64), out),
            None => {
                let memory = MemberMemory { members, member };
                let (addr, count) = (operand.addr, operand.count);
                pack_window(&memory, addr, count, operand.datatype, offset, out)
            }
        };
        read.map_err(|fault| MemberFault { member, fault }.into())
    }

    /// Writes a part of a local member's result that begins at byte `offset` of it.
    pub(super) fn write<M: Members>(
        &self,
        call: &Call<'_>,
        member: u32,
        offset: u64,
        data: &[u8],
        members: &M,
    ) -> Result<()> {
        // A share of a reduce-scatter may have no part of a segment.
        let Some(this) = call.contribution(member).filter(|_| !data.is_empty()) else {
            return Ok(());
        };
        let member = member as usize;
        let Some(result) = result(this, member) else { return Ok(()) };
        let written = match self.kernel {
            Some(_) => members.write(member, address(result.addr, offset as i64), data),
            None => {
                let memory = MemberMemory { members, member };
                let (addr, count) = (result.addr, result.count);
                unpack_window(&memory, addr, count, result.datatype, offset, data)
            }
        };
        written.map_err(|fault| MemberFault { member, fault }.into())
    }
}

/// Where a member's result goes.
fn result(this: &Contribution, member: usize) -> Option<Operand<'_>> {
    let (addr, count, datatype) = match &this.recv {
        Side::Buffer(buffer) => (buffer.addr, buffer.count, &buffer.datatype),
        Side::Vector(vector) => (vector.addr, *vector.counts.get(member)?, &vector.datatype),
        Side::Absent | Side::InPlace | Side::Typed(_) => return None,
    };
    Some(Operand { member, addr, count, datatype })
}

/// Whether the operator gives the same bits in any order on this type.
const fn is_exact(op: Op, kind: BasicKind) -> bool {
    match (op, kind) {
        (Op::Minloc | Op::Maxloc | Op::Replace | Op::NoOp, _) => false,
        (_, BasicKind::Integer(_) | BasicKind::Byte | BasicKind::Logical(_)) => true,
        _ => false,
    }
}

/// A reduction that all nodes agree on.
#[derive(Clone, Debug)]
pub(super) struct Reduction<'a> {
    pub(super) call: Call<'a>,
    pub(super) shape: Shape,
    /// For a reduce-scatter, the first element of each member's share and the end of the last one.
    shares: Vec<u64>,
}

impl<'a> Reduction<'a> {
    pub(super) fn new(call: Call<'a>, shape: Shape) -> Self {
        let size = call.spread.size();
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let counts = |member: usize| match call.local.first().map(|this| &this.recv) {
            Some(Side::Vector(vector)) => vector.counts.get(member).map_or(0, |each| count(*each)),
            Some(Side::Buffer(buffer)) => count(buffer.count),
            _ => 0,
        };
        let mut shares = Vec::new();
        if matches!(call.kind, Kind::ReduceScatter | Kind::ReduceScatterBlock) {
            shares.push(0);
            for member in 0..size {
                shares.push(shares[member] + counts(member));
            }
        }
        Self { call, shape, shares }
    }

    /// Combines the elements and delivers the results to this node's members.
    pub(super) async fn run<O: Outside>(
        &self,
        announced: &[Announcement<O::Message>],
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        if self.shape.is_gathered(&self.call) {
            return self.run_gathered(announced, outside).await;
        }
        Chain::new(self).run(outside).await
    }

    /// Combines operands that are all here.
    async fn run_gathered<O: Outside>(
        &self,
        announced: &[Announcement<O::Message>],
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let (call, spread) = (&self.call, self.call.spread);
        if call.kind == Kind::Reduce && !spread.is_local(call.root) {
            return Ok(Ok(()));
        }
        let bytes = self.shape.bytes();
        for (node, one) in announced.iter().enumerate() {
            let expected = bytes * spread.members(node).len() as u64;
            if node != spread.here() && one.data().len() as u64 != expected {
                return Ok(Err(malformed()));
            }
        }
        let everyone: Vec<u32> = match call.kind {
            // Nobody here needs what comes after the last member of this node.
            Kind::Scan | Kind::Exscan => {
                (0..=spread.local().last().copied().unwrap_or(0)).collect()
            }
            _ => (0..spread.size() as u32).collect(),
        };
        let ranges: Vec<Range<u64>> = match call.kind {
            Kind::ReduceScatter | Kind::ReduceScatterBlock => {
                let shares = spread.local().iter().map(|member| self.share(*member));
                shares.filter(|share| !share.is_empty()).collect()
            }
            _ => core::iter::once(0..self.shape.elements).collect(),
        };
        for range in ranges {
            let range = range.start * self.shape.unit..range.end * self.shape.unit;
            let mut accumulator = vec![0; (range.end - range.start) as usize];
            let fold = Fold { members: &everyone, range: range.clone(), is_first: true };
            let folded = self.fold(fold, &mut accumulator, Some(announced), outside).await?;
            let delivered =
                folded.and_then(|()| self.deliver(range.start, &accumulator, &outside.members()));
            if delivered.is_err() {
                return Ok(delivered);
            }
        }
        Ok(Ok(()))
    }

    /// The elements of a member's share of a reduce-scatter.
    pub(super) fn share(&self, member: u32) -> Range<u64> {
        let at = |index: u32| self.shares.get(index as usize).copied().unwrap_or(0);
        at(member)..at(member + 1)
    }

    /// Adds the elements of `fold.members` in this order to the accumulator; delivers the running
    /// results of a scan.
    pub(super) async fn fold<O: Outside>(
        &self,
        fold: Fold<'_>,
        accumulator: &mut [u8],
        inlined: Inlined<'_, O::Message>,
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        if let Some(kernel) = self.shape.kernel {
            return Ok(self.fold_here(fold, kernel, accumulator, inlined, &outside.members()));
        }
        let start = fold.range.start;
        let mut operand = vec![0; accumulator.len()];
        let count = accumulator.len() as u64 / self.shape.unit.max(1);
        let count = if self.shape.unit == 0 { self.shape.elements } else { count };
        for (index, member) in fold.members.iter().enumerate() {
            let first = fold.is_first && index == 0;
            let target = if first { &mut *accumulator } else { &mut operand };
            let mut step = self.operand(*member, start, target, inlined, &outside.members());
            if step.is_ok() && !first {
                if self.call.kind == Kind::Exscan {
                    step = self.shape.write(
                        &self.call,
                        *member,
                        start,
                        accumulator,
                        &outside.members(),
                    );
                }
                if step.is_ok() {
                    step = outside.combine(accumulator, &mut operand, count).await?;
                }
            }
            if step.is_ok() && self.call.kind == Kind::Scan {
                step =
                    self.shape.write(&self.call, *member, start, accumulator, &outside.members());
            }
            if step.is_err() {
                return Ok(step);
            }
        }
        Ok(Ok(()))
    }

    fn fold_here<M: Members, R: AsRef<[u8]>>(
        &self,
        fold: Fold<'_>,
        kernel: Kernel,
        accumulator: &mut [u8],
        inlined: Inlined<'_, R>,
        members: &M,
    ) -> Result<()> {
        let unit = self.shape.unit as usize;
        let piece = (PIECE_BYTES / unit).max(1) * unit;
        let mut buffer = vec![0; accumulator.len().min(piece)];
        let mut start = fold.range.start;
        for target in accumulator.chunks_mut(piece) {
            let operand = &mut buffer[..target.len()];
            for (index, member) in fold.members.iter().enumerate() {
                if fold.is_first && index == 0 {
                    self.operand(*member, start, target, inlined, members)?;
                } else {
                    self.operand(*member, start, operand, inlined, members)?;
                    if self.call.kind == Kind::Exscan {
                        self.shape.write(&self.call, *member, start, target, members)?;
                    }
                    kernel(target, operand);
                }
                if self.call.kind == Kind::Scan {
                    self.shape.write(&self.call, *member, start, target, members)?;
                }
            }
            start += target.len() as u64;
        }
        Ok(())
    }

    /// Part of a member's operand, from its memory or from what its node announced.
    fn operand<M: Members, R: AsRef<[u8]>>(
        &self,
        member: u32,
        offset: u64,
        out: &mut [u8],
        inlined: Inlined<'_, R>,
        members: &M,
    ) -> Result<()> {
        let spread = self.call.spread;
        let find = || {
            let data = inlined?.get(spread.node(member)?)?.data();
            let start = u64::from(spread.seat(member)?) * self.shape.bytes() + offset;
            data.get(start as usize..)?.get(..out.len())
        };
        match find() {
            Some(data) => out.copy_from_slice(data),
            None if spread.is_local(member) => {
                return self.shape.read(&self.call, member, offset, out, members);
            }
            None => return Err(malformed()),
        }
        Ok(())
    }

    /// Gives a part of the result that begins at byte `start` to the members of this node for whom
    /// it is.
    pub(super) fn deliver<M: Members>(&self, start: u64, data: &[u8], members: &M) -> Result<()> {
        let local = self.call.spread.local();
        let write = |member: u32| self.shape.write(&self.call, member, start, data, members);
        match self.call.kind {
            Kind::Reduce => write(self.call.root),
            Kind::Allreduce => local.iter().try_for_each(|member| write(*member)),
            Kind::ReduceScatter | Kind::ReduceScatterBlock => local.iter().try_for_each(|member| {
                let (offset, part) = self.part(*member, start, data.len() as u64);
                let data = &data[(part.start - start) as usize..(part.end - start) as usize];
                self.shape.write(&self.call, *member, offset, data, members)
            }),
            _ => Ok(()),
        }
    }

    /// The bytes of a stretch of the result that are in a member's share, and where they begin there.
    pub(super) fn part(&self, member: u32, start: u64, len: u64) -> (u64, Range<u64>) {
        let share = self.share(member);
        let (low, high) = (share.start * self.shape.unit, share.end * self.shape.unit);
        let from = low.clamp(start, start + len);
        let to = high.clamp(from, start + len);
        (from - low.min(from), from..to)
    }
}

/// Which elements of which members are combined.
#[derive(Clone, Debug)]
pub(super) struct Fold<'a> {
    pub(super) members: &'a [u32],
    /// In bytes of the operand.
    pub(super) range: Range<u64>,
    /// The accumulator holds nothing yet.
    pub(super) is_first: bool,
}
