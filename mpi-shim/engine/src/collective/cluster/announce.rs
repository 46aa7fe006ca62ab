//! Every node learns what the members of all nodes called, and small data with it.
//!
//! Cost: one message to each other node (direct), or log2(nodes) messages of growing size.

use alloc::vec;
use alloc::vec::Vec;

use super::Outside;
use super::head::{Groups, Head, read_groups};
use super::select;
use super::spread::Spread;
use super::wire::{Reader, Writer, malformed};
use crate::error::Result;

/// What a node announced.
#[derive(Debug)]
pub(super) struct Announcement<M> {
    pub(super) groups: Groups,
    /// Its data came along: lengths and then the blocks.
    pub(super) inlined: bool,
    message: Option<M>,
    /// Where in the message the data is.
    data: (usize, usize),
}

impl<M: AsRef<[u8]>> Announcement<M> {
    /// That of this node: nobody sends it, and its data is `data` or nothing.
    pub(super) fn own(groups: Groups, inlined: bool, data: Vec<u8>) -> Self
    where
        M: From<Vec<u8>>,
    {
        let range = (0, data.len());
        let message = (!data.is_empty()).then(|| data.into());
        Self { groups, inlined, message, data: range }
    }

    /// The data that came along.
    pub(super) fn data(&self) -> &[u8] {
        match &self.message {
            Some(message) => &message.as_ref()[self.data.0..self.data.1],
            None => &[],
        }
    }

    fn read(message: M, (start, end): (usize, usize), members: usize) -> Result<Self> {
        let bytes = message.as_ref().get(start..end).ok_or_else(malformed)?;
        let mut reader = Reader::new(bytes);
        let groups = read_groups(&mut reader, members).ok_or_else(malformed)?;
        let inlined = reader.u8().ok_or_else(malformed)? != 0;
        let data = (end - reader.rest().len(), end);
        Ok(Self { groups, inlined, message: Some(message), data })
    }
}

/// Tells all other nodes, and is told by them. `messages` are those for the next nodes in their order
/// when direct, else the one for all.
pub(super) async fn announce<O: Outside>(
    spread: &Spread,
    own: Announcement<O::Message>,
    mut messages: Vec<Vec<u8>>,
    outside: &mut O,
) -> Result<Vec<Announcement<O::Message>>> {
    let mut all: Vec<Option<Announcement<O::Message>>> = Vec::new();
    all.resize_with(spread.nodes(), || None);
    all[spread.here()] = Some(own);
    if select::is_direct(spread.nodes()) {
        direct(spread, &mut all, messages, outside).await?;
    } else {
        disseminate(spread, &mut all, messages.pop().unwrap_or_default(), outside).await?;
    }
    all.into_iter().map(|one| one.ok_or_else(malformed)).collect()
}

async fn direct<O: Outside>(
    spread: &Spread,
    all: &mut [Option<Announcement<O::Message>>],
    messages: Vec<Vec<u8>>,
    outside: &mut O,
) -> Result<()> {
    let (here, nodes) = (spread.here(), spread.nodes());
    let mut others: Vec<usize> = (1..nodes).map(|step| (here + step) % nodes).collect();
    for (node, message) in others.iter().zip(messages) {
        outside.send(*node, message.into());
    }
    while !others.is_empty() {
        let (node, message) = outside.receive(&others).await;
        others.retain(|other| *other != node);
        let range = (0, message.as_ref().len());
        all[node] = Some(Announcement::read(message, range, spread.members(node).len())?);
    }
    Ok(())
}

/// After the round of distance d every node knows the 2d nodes that end with itself. A message is a
/// list of node, length and announcement.
async fn disseminate<O: Outside>(
    spread: &Spread,
    all: &mut [Option<Announcement<O::Message>>],
    own: Vec<u8>,
    outside: &mut O,
) -> Result<()> {
    let (here, nodes) = (spread.here(), spread.nodes());
    // Messages that announcements lie in, so that they are passed on as they came.
    let len = own.len();
    let mut known: Vec<(usize, O::Message, (usize, usize))> = vec![(here, own.into(), (0, len))];
    let mut distance = 1;
    while distance < nodes {
        let mut out = Writer::new();
        for (node, message, (start, end)) in &known[..distance.min(nodes - distance)] {
            out.u32(*node as u32);
            out.bytes(&message.as_ref()[*start..*end]);
        }
        outside.send((here + distance) % nodes, out.into_bytes().into());
        let from = (here + nodes - distance) % nodes;
        let (_, message) = outside.receive(&[from]).await;
        let mut at = 0;
        for step in 0..distance.min(nodes - distance) {
            let mut reader = Reader::new(&message.as_ref()[at..]);
            let (node, len) = reader
                .u32()
                .and_then(|node| Some((node as usize, reader.bytes()?.len())))
                .ok_or_else(malformed)?;
            if node != (from + nodes - step) % nodes {
                return Err(malformed());
            }
            let range = (at + 8, at + 8 + len);
            at = range.1;
            let members = spread.members(node).len();
            all[node] = Some(Announcement::read(message.clone(), range, members)?);
            known.push((node, message.clone(), range));
        }
        distance *= 2;
    }
    Ok(())
}

/// The heads of all members in rank order.
pub(super) fn by_rank<'a, M>(spread: &Spread, all: &'a [Announcement<M>]) -> Vec<&'a Head> {
    let mut cursors: Vec<_> = all
        .iter()
        .map(|node| {
            let repeated = |(count, head): &'a (u32, Head)| (0..*count).map(move |_| head);
            node.groups.iter().flat_map(repeated)
        })
        .collect();
    let node = |rank| spread.node(rank);
    (0..spread.size() as u32).filter_map(|rank| cursors[node(rank)?].next()).collect()
}
