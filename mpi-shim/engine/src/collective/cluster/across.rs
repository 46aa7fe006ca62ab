//! Reductions across the groups of an intercommunicator.
//!
//! The operands of one group go, a segment at a time, to every node where members of the other group
//! get a result, and each such node combines them in rank order. Before the next segment the receivers
//! tell that they have the last one, so that nobody is flooded.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::Outside;
use super::block::Call;
use super::head::Head;
use super::reduction::Shape;
use super::wire::malformed;
use crate::collective::contribution::Kind;
use crate::collective::intercomm::reduction::{Direction, both, clip, output};
use crate::collective::members::Members;
use crate::error::Result;

/// Bytes of all operands together that travel in one step.
const SEGMENT_BYTES: u64 = if cfg!(test) { 64 } else { 256 << 10 };

/// Combines the operands in each direction in which a result is wanted. All nodes agree on the heads.
pub(super) async fn run<O: Outside>(
    call: &Call<'_>,
    heads: &[&Head],
    outside: &mut O,
) -> core::result::Result<Result<()>, O::End> {
    let low = heads[0].low().min(heads.len());
    for Direction { inputs, outputs } in both(low, heads.len()) {
        if !heads[outputs.clone()].iter().any(|head| head.wants()) {
            continue;
        }
        let Some(shape) = heads.get(inputs.start).and_then(|head| Shape::of(head, Kind::Across))
        else {
            return Ok(Err(malformed()));
        };
        let node = |member: usize| call.spread.node(member as u32).unwrap_or(0);
        let sources = distinct(inputs.clone().map(node));
        let targets = distinct(outputs.clone().filter(|at| heads[*at].wants()).map(node));
        let way = Way { call, shape, inputs, outputs, sources, targets };
        let done = way.run(outside).await?;
        if done.is_err() {
            return Ok(done);
        }
    }
    Ok(Ok(()))
}

fn distinct(nodes: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut all: Vec<usize> = nodes.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// One direction.
struct Way<'a> {
    call: &'a Call<'a>,
    shape: Shape,
    inputs: Range<usize>,
    outputs: Range<usize>,
    /// Nodes with operands.
    sources: Vec<usize>,
    /// Nodes where a result is wanted.
    targets: Vec<usize>,
}

impl Way<'_> {
    async fn run<O: Outside>(&self, outside: &mut O) -> core::result::Result<Result<()>, O::End> {
        let (elements, unit) = (self.shape.elements(), self.shape.unit);
        let each = unit.saturating_mul(self.inputs.len() as u64).max(1);
        let step = if unit == 0 { elements } else { (SEGMENT_BYTES / each).max(1) };
        let mut start = 0;
        while start < elements {
            let len = step.min(elements - start);
            let done = self.segment(start * unit..(start + len) * unit, len, outside).await?;
            if done.is_err() {
                return Ok(done);
            }
            start += len;
            if start < elements {
                self.acknowledge(outside).await;
            }
        }
        Ok(Ok(()))
    }

    fn others<'a>(&self, nodes: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        let here = self.call.spread.here();
        nodes.iter().copied().filter(move |node| *node != here)
    }

    /// Moves and combines `count` elements that lie in this range of bytes.
    async fn segment<O: Outside>(
        &self,
        range: Range<u64>,
        count: u64,
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let here = self.call.spread.here();
        let bytes = (range.end - range.start) as usize;
        let mut received: Vec<Option<O::Message>> = Vec::new();
        received.resize_with(self.call.spread.nodes(), || None);
        if self.sources.contains(&here) {
            let operands = match self.operands(&range, &outside.members()) {
                Ok(operands) => O::Message::from(operands),
                Err(error) => return Ok(Err(error)),
            };
            for node in self.others(&self.targets) {
                outside.send(node, operands.clone());
            }
            received[here] = Some(operands);
        }
        if !self.targets.contains(&here) {
            return Ok(Ok(()));
        }
        let mut missing: Vec<usize> = self.others(&self.sources).collect();
        while !missing.is_empty() {
            let (node, message) = outside.receive(&missing).await;
            missing.retain(|other| *other != node);
            if message.as_ref().len() != bytes * self.members(node).count() {
                return Ok(Err(malformed()));
            }
            received[node] = Some(message);
        }
        self.combine(range, count, &received, outside).await
    }

    /// The members of a node that have operands.
    fn members(&self, node: usize) -> impl Iterator<Item = u32> {
        let all = self.call.spread.members(node).iter().copied();
        all.filter(|member| self.inputs.contains(&(*member as usize)))
    }

    /// A part of the operands of this node's members.
    fn operands<M: Members>(&self, range: &Range<u64>, members: &M) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for member in self.members(self.call.spread.here()) {
            let start = out.len();
            out.resize(start + (range.end - range.start) as usize, 0);
            self.shape.read(self.call, member, range.start, &mut out[start..], members)?;
        }
        Ok(out)
    }

    /// Combines operands that are all here, and delivers the result.
    async fn combine<O: Outside>(
        &self,
        range: Range<u64>,
        count: u64,
        received: &[Option<O::Message>],
        outside: &mut O,
    ) -> core::result::Result<Result<()>, O::End> {
        let bytes = (range.end - range.start) as usize;
        let (mut result, mut operand) = (vec![0; bytes], vec![0; bytes]);
        let mut places = vec![0; received.len()];
        for member in self.inputs.clone() {
            let node = self.call.spread.node(member as u32).unwrap_or(0);
            let at: usize = bytes * places[node];
            places[node] += 1;
            let data = received[node].as_ref().and_then(|data| data.as_ref().get(at..at + bytes));
            let Some(data) = data else { return Ok(Err(malformed())) };
            if member == self.inputs.start {
                result.copy_from_slice(data);
                continue;
            }
            operand.copy_from_slice(data);
            match self.shape.kernel() {
                Some(kernel) => kernel(&mut result, &operand),
                None => {
                    let combined = outside.combine(&mut result, &mut operand, count).await?;
                    if combined.is_err() {
                        return Ok(combined);
                    }
                }
            }
        }
        Ok(self.deliver(range.start, &result, &outside.members()))
    }

    /// Gives each member of this node its part of a stretch of the result.
    fn deliver<M: Members>(&self, start: u64, data: &[u8], members: &M) -> Result<()> {
        let local = self.call.spread.local().iter().copied().enumerate();
        for (seat, member) in local.filter(|(_, at)| self.outputs.contains(&(*at as usize))) {
            let Some((first, to)) = output(self.call.local, seat) else { continue };
            let low = first.unsigned_abs() * self.shape.unit;
            let wanted = low..low + to.count.unsigned_abs() * self.shape.unit;
            let part = clip(wanted, start, data.len());
            let data = &data[(part.start - start) as usize..(part.end - start) as usize];
            self.shape.write(self.call, member, part.start - low.min(part.start), data, members)?;
        }
        Ok(())
    }

    /// The receivers have a segment; the senders wait for that.
    async fn acknowledge<O: Outside>(&self, outside: &mut O) {
        let here = self.call.spread.here();
        if self.targets.contains(&here) {
            self.others(&self.sources).for_each(|node| outside.send(node, Vec::new().into()));
        }
        if self.sources.contains(&here) {
            let mut missing: Vec<usize> = self.others(&self.targets).collect();
            while !missing.is_empty() {
                let (node, _) = outside.receive(&missing).await;
                missing.retain(|other| *other != node);
            }
        }
    }
}
