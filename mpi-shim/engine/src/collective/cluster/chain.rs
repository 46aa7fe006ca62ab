//! Large reductions: a segment of the operands travels along the members in rank order. Each node
//! adds its own members' elements to what the nodes before it have combined, and the last one
//! distributes the result. Several segments are on their way at once, so all nodes are busy.
//!
//! Operators that give the same bits in any order may take each node's members together. With other
//! operators, and members of different nodes in turn, a segment goes back and forth.
//!
//! Cost: (runs - 1) messages of a segment, and the result's way back, for each segment.
//!
//! ```text
//! partial:  2: u8 | run: u32 | segment: u64 | combined elements
//! result:   3: u8 | 0: u32   | segment: u64 | elements, in a reduce-scatter only those for the node
//! done:     4: u8 | 0: u32   | segment: u64
//! ```
//!
//! Elements are combined where they lie in the message, which is then sent on.

use alloc::vec::Vec;
use core::ops::Range;

use super::Outside;
use super::reduction::{Fold, Reduction};
use super::select;
use super::wire::{Reader, Writer, malformed};
use crate::collective::contribution::Kind;
use crate::error::Result;

const PARTIAL: u8 = 2;
const RESULT: u8 = 3;
const DONE: u8 = 4;

/// Bytes of a message before its elements.
const HEADER_BYTES: usize = 13;

/// A reduction in segments that travel from node to node.
pub(super) struct Chain<'a> {
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
    pub(super) fn new(reduction: &'a Reduction<'a>) -> Self {
        let (shape, call) = (&reduction.shape, &reduction.call);
        let unit = shape.unit.max(1);
        let step = (select::segment_bytes(shape.bytes()) / unit).max(1) * unit;
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

    pub(super) async fn run<O: Outside>(
        &self,
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let here = self.here();
        let spread = self.reduction.call.spread;
        let others: Vec<usize> = (0..spread.nodes()).filter(|node| *node != here).collect();
        let mut progress = self.all_there_is();
        loop {
            while progress.started < self.segments
                && progress.started < progress.completed + select::SEGMENTS_AHEAD
            {
                let segment = progress.started;
                progress.started += 1;
                let range = self.range(segment);
                let mut message = header(PARTIAL, 0, segment);
                message.resize(HEADER_BYTES + (range.end - range.start) as usize, 0);
                if let Err(error) = self.step(0, segment, message, &mut progress, outside).await? {
                    return Ok(Err(error));
                }
            }
            if progress.is_over(self.segments) {
                return Ok(Ok(()));
            }
            let (_, message) = outside.receive(&others).await;
            let taken = self.take(message, &mut progress, outside).await?;
            if taken.is_err() {
                return Ok(taken);
            }
        }
    }

    /// Everything that this node has to do.
    fn all_there_is(&self) -> Progress {
        let here = self.here();
        let own_runs = (1..self.runs).filter(|run| self.node(*run) == here).count() as u64;
        let receives = |segment: &u64| here != self.last && self.receives(here, *segment);
        let begun = if here == self.first { 0 } else { self.segments };
        Progress {
            started: begun,
            completed: begun,
            partials: own_runs * self.segments,
            results: (0..self.segments).filter(receives).count() as u64,
        }
    }

    async fn take<O: Outside>(
        &self,
        message: O::Message,
        progress: &mut Progress,
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let mut reader = Reader::new(message.as_ref());
        let mut head = || {
            let (tag, run) = (reader.u8()?, reader.u32()? as usize);
            Some((tag, run, reader.u64().filter(|segment| *segment < self.segments)?))
        };
        let Some((tag, run, segment)) = head() else { return Ok(Err(malformed())) };
        let range = self.range(segment);
        match tag {
            PARTIAL if run > 0 && run < self.runs && self.node(run) == self.here() => {
                let left = progress.partials.checked_sub(1);
                let fits = reader.rest().len() as u64 == range.end - range.start;
                let Some(left) = left.filter(|_| fits) else { return Ok(Err(malformed())) };
                progress.partials = left;
                self.step(run, segment, message.as_ref().to_vec(), progress, outside).await
            }
            RESULT => {
                let Some(left) = progress.results.checked_sub(1) else {
                    return Ok(Err(malformed()));
                };
                progress.results = left;
                if self.here() == self.first {
                    progress.completed += 1;
                }
                Ok(self.accept(segment, &message, outside))
            }
            DONE => {
                progress.completed += 1;
                Ok(Ok(()))
            }
            _ => Ok(Err(malformed())),
        }
    }

    /// Adds the members of a run to the segment in `message` and hands it on.
    async fn step<O: Outside>(
        &self,
        run: usize,
        segment: u64,
        mut message: Vec<u8>,
        progress: &mut Progress,
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let (_, members) = self.reduction.shape.run(&self.reduction.call, run);
        let fold = Fold { members, range: self.range(segment), is_first: run == 0 };
        let accumulator = &mut message[HEADER_BYTES..];
        let folded = self.reduction.fold(fold, accumulator, None, outside).await?;
        if folded.is_err() {
            return Ok(folded);
        }
        if run + 1 < self.runs {
            message[..HEADER_BYTES].copy_from_slice(&header(PARTIAL, run as u32 + 1, segment));
            outside.send(self.node(run + 1), message.into());
            return Ok(Ok(()));
        }
        if self.here() == self.first {
            progress.completed += 1;
        }
        Ok(self.distribute(segment, message, outside))
    }

    /// The last run's node hands out the result of a segment.
    fn distribute<O: Outside>(
        &self,
        segment: u64,
        mut message: Vec<u8>,
        outside: &mut O,
    ) -> Result<()> {
        let start = self.range(segment).start;
        let call = &self.reduction.call;
        message[..HEADER_BYTES].copy_from_slice(&header(RESULT, 0, segment));
        let message = O::Message::from(message);
        let data = &message.as_ref()[HEADER_BYTES..];
        for node in self.next_for(segment) {
            if !self.is_scattered() {
                outside.send(node, message.clone());
                continue;
            }
            let mut shares = header(RESULT, 0, segment);
            for member in call.spread.members(node) {
                let part = self.reduction.part(*member, start, data.len() as u64).1;
                let range = (part.start - start) as usize..(part.end - start) as usize;
                shares.extend_from_slice(&data[range]);
            }
            outside.send(node, shares.into());
        }
        if self.first != self.here() && !self.receives(self.first, segment) {
            outside.send(self.first, header(DONE, 0, segment).into());
        }
        self.reduction.deliver(start, data, &outside.members())
    }

    /// A result has come.
    fn accept<O: Outside>(
        &self,
        segment: u64,
        message: &O::Message,
        outside: &mut O,
    ) -> Result<()> {
        let (call, range) = (&self.reduction.call, self.range(segment));
        let mut data = &message.as_ref()[HEADER_BYTES..];
        if self.is_scattered() {
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
            outside.send(node, message.clone());
        }
        self.reduction.deliver(range.start, data, &outside.members())
    }

    const fn is_scattered(&self) -> bool {
        matches!(self.reduction.call.kind, Kind::ReduceScatter | Kind::ReduceScatterBlock)
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

/// The beginning of a message.
fn header(tag: u8, run: u32, segment: u64) -> Vec<u8> {
    let mut out = Writer::new();
    out.u8(tag);
    out.u32(run);
    out.u64(segment);
    out.into_bytes()
}

impl Progress {
    const fn is_over(&self, segments: u64) -> bool {
        self.started == segments
            && self.completed >= segments
            && self.partials == 0
            && self.results == 0
    }
}
