//! Operations that only move data: streams between nodes, and copies between members of this node.
//!
//! A stream is cut into chunks. Of each stream only so many chunks are on their way to a node; it
//! sends a credit for each chunk it has delivered and passed on that lets the sender go on. Streams
//! have separate credits, so that those which go around the ring never wait for each other.
//!
//! ```text
//! chunk:   0: u8 | source: u32 | bytes of the stream
//! credit:  1: u8 | source: u32
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Outside;
use super::announce::Announcement;
use super::block::{Block, Call, For};
use super::select;
use super::stream::{Incoming, Outgoing};
use super::wire::{Reader, Writer, malformed};
use crate::collective::alltoall::exchange;
use crate::collective::contribution::Kind;
use crate::collective::members::{Failures, Members};
use crate::collective::transfer::deliver;
use crate::error::{MpiError, Result};

const CHUNK: u8 = 0;
const CREDIT: u8 = 1;

/// A stream of this node.
struct Own<'a> {
    stream: Outgoing<'a>,
    children: Vec<usize>,
    /// Chunks sent, and how many may be.
    sent: u64,
    allowed: Vec<u64>,
}

/// A stream of another node.
struct Other<M> {
    stream: Incoming,
    parent: usize,
    children: Vec<usize>,
    /// Chunks that were delivered and have to be passed on.
    waiting: VecDeque<M>,
    /// Chunks that have come, were passed on, and for which credit was given.
    came: u64,
    passed: u64,
    credited: u64,
    allowed: Vec<u64>,
}

/// Moves the data of a call that all nodes agree on.
pub(super) async fn run<O: Outside>(
    call: &Call<'_>,
    announced: &[Announcement<O::Message>],
    bytes: u64,
    outside: &mut O,
) -> Result<Failures> {
    let mut failures = Failures::default();
    let mut flows = Flows::new(call, announced, bytes)?;
    flows.pump(call, outside)?;
    copy_locally(call, &outside.members(), &mut failures)?;
    for (source, node) in announced.iter().enumerate() {
        if node.inlined && source != call.spread.here() {
            flows.make_way(call, source, outside)?;
            let mut stream = Incoming::new(inlined_blocks(call, source));
            let data = stream.begin(call, node.data(), &mut failures)?;
            stream.feed(call, data, &outside.members())?;
            if !stream.is_finished() {
                return Err(malformed());
            }
        }
    }
    loop {
        let wanted = flows.wanted();
        if wanted.is_empty() {
            return Ok(failures);
        }
        let (node, message) = outside.receive(&wanted).await;
        flows.take(call, node, message, &mut failures, outside)?;
        flows.pump(call, outside)?;
    }
}

/// The blocks that came with the announcement of `source`.
fn inlined_blocks(call: &Call<'_>, source: usize) -> Vec<Block> {
    let direct = select::is_direct(call.spread.nodes());
    call.blocks(source, direct.then_some(call.spread.here()))
}

/// All streams of one call that this node has to do with.
struct Flows<'a, M> {
    own: Vec<Own<'a>>,
    others: Vec<Option<Other<M>>>,
    ahead: u64,
}

impl<'a, M: AsRef<[u8]> + Clone + From<Vec<u8>>> Flows<'a, M> {
    fn new(call: &Call<'a>, announced: &[Announcement<M>], bytes: u64) -> Result<Self> {
        let (here, nodes) = (call.spread.here(), call.spread.nodes());
        let is_tree = call.kind == Kind::Bcast && select::is_tree(bytes, nodes);
        let mut own = Vec::new();
        let shared = call.is_shared();
        let children = |source| select::children(source, here, nodes, is_tree);
        if !announced[here].inlined && shared {
            own.push((call.blocks(here, None), children(here)));
        } else if !announced[here].inlined {
            let others = (1..nodes).map(|step| (here + step) % nodes);
            own.extend(others.map(|dest| (call.blocks(here, Some(dest)), [dest].into())));
        }
        let other = |source: usize| {
            let streams = source != here && !announced[source].inlined;
            let blocks = streams.then(|| call.blocks(source, (!shared).then_some(here)));
            let blocks = blocks.filter(|blocks| !blocks.is_empty())?;
            let (parent, children) = match shared {
                true => (select::parent(source, here, nodes, is_tree), children(source)),
                false => (source, Vec::new()),
            };
            Some((blocks, parent, children))
        };
        let others: Vec<_> = (0..nodes).map(other).collect();
        own.retain(|(blocks, children)| !blocks.is_empty() && !children.is_empty());
        let ahead = select::chunks_ahead(if call.kind == Kind::Bcast { 1 } else { nodes });
        let own = own.into_iter().map(|(blocks, children): (Vec<Block>, Vec<usize>)| {
            let (stream, allowed) =
                (Outgoing::new(call, &blocks)?, alloc::vec![ahead; children.len()]);
            Ok(Own { stream, children, sent: 0, allowed })
        });
        let others = others.into_iter().map(|other| {
            other.map(|(blocks, parent, children)| Other {
                stream: Incoming::new(blocks),
                parent,
                allowed: alloc::vec![ahead; children.len()],
                children,
                waiting: VecDeque::new(),
                came: 0,
                passed: 0,
                credited: 0,
            })
        });
        Ok(Self { own: own.collect::<Result<_>>()?, others: others.collect(), ahead })
    }

    /// Sends what may be sent, a chunk of each stream in turn.
    fn pump<O: Outside<Message = M>>(&mut self, call: &Call<'_>, outside: &mut O) -> Result<()> {
        let here = call.spread.here();
        let mut progress = true;
        while progress {
            progress = false;
            for own in &mut self.own {
                let may = own.allowed.iter().all(|allowed| own.sent < *allowed);
                if may && !own.stream.is_finished() {
                    own.send(here, outside)?;
                    progress = true;
                }
            }
        }
        for (source, other) in self.others.iter_mut().enumerate() {
            if let Some(other) = other {
                other.pass_on(source, self.ahead, outside);
            }
        }
        Ok(())
    }

    /// The nodes from which something has to come before the operation is over here.
    fn wanted(&self) -> Vec<usize> {
        let mut wanted = Vec::new();
        let mut want = |node: usize| {
            if !wanted.contains(&node) {
                wanted.push(node);
            }
        };
        for own in &self.own {
            let total = chunks(own.stream.total());
            waits_for_credit(&own.children, &own.allowed, total, &mut want);
        }
        for other in self.others.iter().flatten() {
            if !other.stream.is_finished() {
                want(other.parent);
            }
            let total = other.chunks_at_least();
            waits_for_credit(&other.children, &other.allowed, total, &mut want);
        }
        wanted
    }

    fn take<O: Outside<Message = M>>(
        &mut self,
        call: &Call<'_>,
        node: usize,
        message: M,
        failures: &mut Failures,
        outside: &mut O,
    ) -> Result<()> {
        let mut reader = Reader::new(message.as_ref());
        let head = (|| Some((reader.u8()?, reader.u32()? as usize)))();
        let (tag, source) = head.ok_or_else(malformed)?;
        if tag == CREDIT {
            return self.credit(call, node, source);
        }
        let data = reader.rest();
        let other = self.others.get_mut(source).and_then(Option::as_mut);
        let other = other.filter(|other| tag == CHUNK && other.parent == node);
        let other = other.ok_or_else(malformed)?;
        let data = other.stream.begin(call, data, failures)?;
        if call.in_place {
            let reach = other.stream.reach(data.len());
            read_ahead(&mut self.own, call, source, reach, outside)?;
        }
        other.stream.feed(call, data, &outside.members())?;
        other.came += 1;
        if !other.children.is_empty() {
            other.waiting.push_back(message);
        }
        Ok(())
    }

    /// Sends what the data of `source` that came with its announcement will overwrite.
    fn make_way<O: Outside<Message = M>>(
        &mut self,
        call: &Call<'_>,
        source: usize,
        outside: &mut O,
    ) -> Result<()> {
        match call.in_place {
            true => read_ahead(&mut self.own, call, source, (usize::MAX, 0), outside),
            false => Ok(()),
        }
    }

    fn credit(&mut self, call: &Call<'_>, node: usize, source: usize) -> Result<()> {
        if source == call.spread.here() {
            let mut own = self.own.iter_mut();
            let found = own.find_map(|own| {
                let at = own.children.iter().position(|child| *child == node)?;
                own.allowed.get_mut(at)
            });
            *found.ok_or_else(malformed)? += 1;
            return Ok(());
        }
        let other = self.others.get_mut(source).and_then(Option::as_mut).ok_or_else(malformed)?;
        let at = other.children.iter().position(|child| *child == node).ok_or_else(malformed)?;
        other.allowed[at] += 1;
        Ok(())
    }
}

impl Own<'_> {
    fn send<O: Outside>(&mut self, here: usize, outside: &mut O) -> Result<()> {
        let mut out = Writer::new();
        out.u8(CHUNK);
        out.u32(here as u32);
        self.stream.read(select::CHUNK_BYTES, &outside.members(), &mut out)?;
        self.sent += 1;
        let message = O::Message::from(out.into_bytes());
        for child in &self.children {
            outside.send(*child, message.clone());
        }
        Ok(())
    }
}

impl<M: Clone + From<Vec<u8>>> Other<M> {
    /// Passes chunks on as far as there is credit, and gives credit for those that are done with.
    fn pass_on<O: Outside<Message = M>>(&mut self, source: usize, ahead: u64, outside: &mut O) {
        while self.allowed.iter().all(|allowed| self.passed < *allowed) {
            let Some(message) = self.waiting.pop_front() else { break };
            for child in &self.children {
                outside.send(*child, message.clone());
            }
            self.passed += 1;
        }
        let done = if self.children.is_empty() { self.came } else { self.passed };
        let useful = self.chunks_at_least().saturating_sub(ahead);
        while self.credited < done.min(useful) {
            let mut out = Writer::new();
            out.u8(CREDIT);
            out.u32(source as u32);
            outside.send(self.parent, out.into_bytes().into());
            self.credited += 1;
        }
    }

    /// Number of chunks of the stream, as far as that is known.
    fn chunks_at_least(&self) -> u64 {
        chunks(self.stream.total().unwrap_or(self.stream.header_bytes()))
    }
}

/// What goes to a node must have been read before what comes from there overwrites it.
fn read_ahead<O: Outside>(
    own: &mut [Own<'_>],
    call: &Call<'_>,
    node: usize,
    reach: (usize, u64),
    outside: &mut O,
) -> Result<()> {
    let Some(own) = own.iter_mut().find(|own| own.children == [node]) else { return Ok(()) };
    while !own.stream.is_past(reach) && !own.stream.is_finished() {
        own.send(call.spread.here(), outside)?;
    }
    Ok(())
}

/// Chunks of a stream with so many bytes.
const fn chunks(bytes: u64) -> u64 {
    bytes.div_ceil(select::CHUNK_BYTES)
}

/// A child gives credit until all chunks are allowed.
fn waits_for_credit(children: &[usize], allowed: &[u64], total: u64, want: &mut impl FnMut(usize)) {
    for (child, allowed) in children.iter().zip(allowed) {
        if *allowed < total {
            want(*child);
        }
    }
}

/// The part of the operation that stays on this node.
fn copy_locally<M: Members>(call: &Call<'_>, members: &M, failures: &mut Failures) -> Result<()> {
    if call.in_place {
        return exchange_locally(call, members, failures);
    }
    let here = call.spread.here();
    for (from, to) in call.blocks(here, Some(here)) {
        let Some(source) = call.source((from, to)) else { continue };
        for receiver in call.receivers(to) {
            let own = *receiver == from;
            let stays = own
                && call
                    .contribution(from)
                    .is_some_and(|this| this.send.is_in_place() || this.recv.is_in_place());
            let Some(target) = call.target(from, *receiver).filter(|_| !stays) else { continue };
            match deliver(members, source, target) {
                Ok(()) => {}
                Err(Ok(error)) => failures.push(*receiver as usize, error),
                Err(Err(fault)) => return Err(fault.into()),
            }
        }
    }
    Ok(())
}

fn exchange_locally<M: Members>(
    call: &Call<'_>,
    members: &M,
    failures: &mut Failures,
) -> Result<()> {
    let local = call.spread.local();
    for (index, low) in local.iter().enumerate() {
        for high in &local[index + 1..] {
            let operands = call
                .source((*low, For::Member(*high)))
                .zip(call.source((*high, For::Member(*low))));
            let Some((a, b)) = operands else { continue };
            exchange::pair(a, b, members, failures).map_err(MpiError::from)?;
        }
    }
    Ok(())
}
