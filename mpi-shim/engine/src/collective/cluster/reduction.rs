//! Reductions: the members' elements are combined in rank order, as inside one node.
//!
//! Small operands have come with the announcements, and every node that needs the result combines
//! them all. Larger ones are cut into segments. A segment travels along the members in rank order:
//! each node adds its own members' elements to what the nodes before it have combined. The last one
//! distributes the result. Several segments are on their way at once, so all nodes are busy.
//!
//! Operators that give the same bits in any order may take each node's members together.
//!
//! ```text
//! partial:  2: u8 | run: u32 | segment: u64 | combined elements
//! result:   3: u8 | segment: u64 | elements, in a reduce-scatter only those for the node
//! done:     4: u8 | segment: u64
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::Outside;
use super::announce::Announcement;
use super::block::Call;
use super::head::{Element, Head, input};
use super::select;
use super::wire::{Reader, Writer, malformed};
use crate::collective::contribution::{Contribution, Kind, Operand, Operator, Side};
use crate::collective::members::{MemberFault, MemberMemory, Members};
use crate::datatype::{BasicKind, address, pack_window, unpack_window};
use crate::error::Result;
use crate::op::{Kernel, Op};

const PARTIAL: u8 = 2;
const RESULT: u8 = 3;
const DONE: u8 = 4;

/// Bytes combined at a time: two such buffers stay in the first-level cache.
const PIECE_BYTES: usize = 16 << 10;

/// How the elements of a call are combined, as far as each node knows by itself.
#[derive(Copy, Clone, Debug)]
pub(super) struct Shape {
    /// The code of a predefined operator; elements are then moved with what lies between them.
    kernel: Option<Kernel>,
    /// Bytes of an element as it travels.
    unit: u64,
    elements: u64,
    /// The order of the nodes does not matter.
    is_exact: bool,
}

/// What has come with the announcements, or nothing.
type Inlined<'a, M> = Option<&'a [Announcement<M>]>;

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

    fn runs(&self, call: &Call<'_>) -> usize {
        if self.is_exact { call.spread.nodes() } else { call.spread.runs() }
    }

    /// Node and members of a stretch of the chain.
    fn run<'a>(&self, call: &Call<'a>, index: usize) -> (usize, &'a [u32]) {
        match self.is_exact {
            true => (index, call.spread.members(index)),
            false => call.spread.run(index),
        }
    }

    /// Reads a part of a local member's operand that begins at byte `offset`.
    fn read<M: Members>(
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
    fn write<M: Members>(
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
    call: Call<'a>,
    shape: Shape,
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
    fn share(&self, member: u32) -> Range<u64> {
        let at = |index: u32| self.shares.get(index as usize).copied().unwrap_or(0);
        at(member)..at(member + 1)
    }

    /// Adds the elements of `fold.members` in this order to the accumulator; delivers the running
    /// results of a scan.
    async fn fold<O: Outside>(
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
        if spread.is_local(member) {
            return self.shape.read(&self.call, member, offset, out, members);
        }
        let find = || {
            let data = inlined?.get(spread.node(member)?)?.data();
            let start = u64::from(spread.seat(member)?) * self.shape.bytes() + offset;
            data.get(start as usize..)?.get(..out.len())
        };
        out.copy_from_slice(find().ok_or_else(malformed)?);
        Ok(())
    }

    /// Gives a part of the result that begins at byte `start` to the members of this node for whom
    /// it is.
    fn deliver<M: Members>(&self, start: u64, data: &[u8], members: &M) -> Result<()> {
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
    fn part(&self, member: u32, start: u64, len: u64) -> (u64, Range<u64>) {
        let share = self.share(member);
        let (low, high) = (share.start * self.shape.unit, share.end * self.shape.unit);
        let from = low.clamp(start, start + len);
        let to = high.clamp(from, start + len);
        (from - low.min(from), from..to)
    }
}

/// Which elements of which members are combined.
#[derive(Clone, Debug)]
struct Fold<'a> {
    members: &'a [u32],
    /// In bytes of the operand.
    range: Range<u64>,
    /// The accumulator holds nothing yet.
    is_first: bool,
}

/// A reduction in segments that travel from node to node.
struct Chain<'a> {
    reduction: &'a Reduction<'a>,
    /// Bytes of a segment.
    step: u64,
    segments: u64,
    runs: usize,
    /// Nodes of the first and of the last run.
    first: usize,
    last: usize,
}

/// What a node still has to do.
struct Progress {
    started: u64,
    completed: u64,
    partials: u64,
    results: u64,
}

impl<'a> Chain<'a> {
    fn new(reduction: &'a Reduction<'a>) -> Self {
        let (shape, call) = (&reduction.shape, &reduction.call);
        let unit = shape.unit.max(1);
        let step = (select::SEGMENT_BYTES / unit).max(1) * unit;
        let runs = shape.runs(call);
        Self {
            reduction,
            step,
            segments: shape.bytes().div_ceil(step),
            runs,
            first: shape.run(call, 0).0,
            last: shape.run(call, runs - 1).0,
        }
    }

    async fn run<O: Outside>(&self, outside: &mut O) -> core::result::Result<Result<()>, O::End> {
        let here = self.here();
        let spread = self.reduction.call.spread;
        let others: Vec<usize> = (0..spread.nodes()).filter(|node| *node != here).collect();
        let own_runs = (1..self.runs).filter(|run| self.node(*run) == here).count() as u64;
        let receives = |segment: &u64| here != self.last && self.receives(here, *segment);
        let mut progress = Progress {
            started: if here == self.first { 0 } else { self.segments },
            completed: if here == self.first { 0 } else { self.segments },
            partials: own_runs * self.segments,
            results: (0..self.segments).filter(receives).count() as u64,
        };
        loop {
            while progress.started < self.segments
                && progress.started < progress.completed + select::SEGMENTS_AHEAD
            {
                let segment = progress.started;
                progress.started += 1;
                let range = self.range(segment);
                let accumulator = vec![0; (range.end - range.start) as usize];
                if let Err(error) =
                    self.step(0, segment, accumulator, &mut progress, outside).await?
                {
                    return Ok(Err(error));
                }
            }
            if progress.is_over(self.segments) {
                return Ok(Ok(()));
            }
            let (node, message) = outside.receive(&others).await;
            let taken = self.take(node, message.as_ref(), &mut progress, outside).await?;
            if taken.is_err() {
                return Ok(taken);
            }
        }
    }

    async fn take<O: Outside>(
        &self,
        _from: usize,
        message: &[u8],
        progress: &mut Progress,
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let mut reader = Reader::new(message);
        let mut head = || {
            let tag = reader.u8()?;
            let run = if tag == PARTIAL { reader.u32()? as usize } else { 0 };
            let segment = reader.u64().filter(|segment| *segment < self.segments)?;
            Some((tag, run, segment))
        };
        let Some((tag, run, segment)) = head() else { return Ok(Err(malformed())) };
        let (range, data) = (self.range(segment), reader.rest());
        match tag {
            PARTIAL if run > 0 && run < self.runs && self.node(run) == self.here() => {
                let left = progress.partials.checked_sub(1);
                let fits = data.len() as u64 == range.end - range.start;
                let Some(left) = left.filter(|_| fits) else { return Ok(Err(malformed())) };
                progress.partials = left;
                self.step(run, segment, data.to_vec(), progress, outside).await
            }
            RESULT => {
                let Some(left) = progress.results.checked_sub(1) else {
                    return Ok(Err(malformed()));
                };
                progress.results = left;
                if self.here() == self.first {
                    progress.completed += 1;
                }
                Ok(self.accept(segment, message, data, outside))
            }
            DONE => {
                progress.completed += 1;
                Ok(Ok(()))
            }
            _ => Ok(Err(malformed())),
        }
    }

    /// Adds the members of a run to a segment and hands it on.
    async fn step<O: Outside>(
        &self,
        run: usize,
        segment: u64,
        mut accumulator: Vec<u8>,
        progress: &mut Progress,
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let (_, members) = self.reduction.shape.run(&self.reduction.call, run);
        let fold = Fold { members, range: self.range(segment), is_first: run == 0 };
        let folded = self.reduction.fold(fold, &mut accumulator, None, outside).await?;
        if folded.is_err() {
            return Ok(folded);
        }
        if run + 1 < self.runs {
            let mut out = Writer::new();
            out.u8(PARTIAL);
            out.u32(run as u32 + 1);
            out.u64(segment);
            out.raw(&accumulator);
            outside.send(self.node(run + 1), out.into_bytes().into());
            return Ok(Ok(()));
        }
        if self.here() == self.first {
            progress.completed += 1;
        }
        Ok(self.distribute(segment, &accumulator, outside))
    }

    /// The last run's node hands out the result of a segment.
    fn distribute<O: Outside>(&self, segment: u64, data: &[u8], outside: &mut O) -> Result<()> {
        let start = self.range(segment).start;
        let (call, here) = (&self.reduction.call, self.here());
        for node in self.next_for(segment) {
            let mut out = Writer::new();
            out.u8(RESULT);
            out.u64(segment);
            match call.kind {
                Kind::ReduceScatter | Kind::ReduceScatterBlock => {
                    for member in call.spread.members(node) {
                        let part = self.reduction.part(*member, start, data.len() as u64).1;
                        let range = (part.start - start) as usize..(part.end - start) as usize;
                        out.raw(&data[range]);
                    }
                }
                _ => out.raw(data),
            }
            outside.send(node, out.into_bytes().into());
        }
        if self.first != here && !self.receives(self.first, segment) {
            let mut out = Writer::new();
            out.u8(DONE);
            out.u64(segment);
            outside.send(self.first, out.into_bytes().into());
        }
        self.reduction.deliver(start, data, &outside.members())
    }

    /// A result has come.
    fn accept<O: Outside>(
        &self,
        segment: u64,
        message: &[u8],
        mut data: &[u8],
        outside: &mut O,
    ) -> Result<()> {
        let (call, range) = (&self.reduction.call, self.range(segment));
        if matches!(call.kind, Kind::ReduceScatter | Kind::ReduceScatterBlock) {
            for member in call.spread.local() {
                let len = range.end - range.start;
                let (offset, part) = self.reduction.part(*member, range.start, len);
                let len = (part.end - part.start) as usize;
                let (first, rest) = data.split_at_checked(len).ok_or_else(malformed)?;
                let members = outside.members();
                self.reduction.shape.write(call, *member, offset, first, &members)?;
                data = rest;
            }
            return Ok(());
        }
        if data.len() as u64 != range.end - range.start {
            return Err(malformed());
        }
        for node in self.next_for(segment) {
            outside.send(node, message.to_vec().into());
        }
        self.reduction.deliver(range.start, data, &outside.members())
    }

    /// The nodes to which this one sends the result of a segment.
    fn next_for(&self, segment: u64) -> Vec<usize> {
        let (call, here) = (&self.reduction.call, self.here());
        match call.kind {
            Kind::Allreduce => select::children(self.last, here, call.spread.nodes(), false),
            _ if here != self.last => Vec::new(),
            _ => {
                let nodes = 0..call.spread.nodes();
                nodes.filter(|node| *node != here && self.receives(*node, segment)).collect()
            }
        }
    }

    /// Whether a node, if it is not the last one, gets the result of a segment.
    fn receives(&self, node: usize, segment: u64) -> bool {
        let call = &self.reduction.call;
        match call.kind {
            Kind::Reduce => call.spread.node(call.root) == Some(node),
            Kind::Allreduce => true,
            Kind::ReduceScatter | Kind::ReduceScatterBlock => {
                let range = self.range(segment);
                let part = |member: &u32| {
                    self.reduction.part(*member, range.start, range.end - range.start).1
                };
                call.spread.members(node).iter().any(|member| !part(member).is_empty())
            }
            _ => false,
        }
    }

    fn node(&self, run: usize) -> usize {
        self.reduction.shape.run(&self.reduction.call, run).0
    }

    const fn here(&self) -> usize {
        self.reduction.call.spread.here()
    }

    /// The bytes of a segment.
    fn range(&self, segment: u64) -> Range<u64> {
        let total = self.reduction.shape.bytes();
        let start = (segment * self.step).min(total);
        start..(start + self.step).min(total)
    }
}

impl Progress {
    const fn is_over(&self, segments: u64) -> bool {
        self.started == segments
            && self.completed >= segments
            && self.partials == 0
            && self.results == 0
    }
}
