//! Collectives of a communicator whose members run on several nodes.
//!
//! On each node the last member to arrive leads: [`run`] is its part. First every node *announces*
//! what its members called, with small data; all nodes look at the same heads, so all find the same
//! error or none, and nothing moves before that. Then data goes from node to node as
//! [`select`](self) says, each node serves its own members, and the results are bit for bit those of
//! a communicator inside one node: operators are applied in rank order.
//!
//! [`run`] is written as one `async` function a step, for that is the shortest way to write a state
//! machine whose next step depends on what comes first; it has no clock, no I/O and no thread, and
//! reaches everything through [`Outside`]. What is sent to a node is received there in that order.
//!
//! A failure of one node ends the job; nothing here waits for a node that is gone.

mod across;
mod agree;
mod announce;
mod block;
mod chain;
mod head;
mod movement;
mod reduction;
mod select;
mod spread;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::Future;

pub use spread::Spread;
pub use wire::{Reader, Writer};

use super::contribution::{Contribution, Kind};
use super::members::{Failures, Members};
use crate::error::{MpiError, Result};
use announce::{Announcement, announce, by_rank};
use block::Call;
use head::{Groups, Head, grouped, write_groups};
use reduction::{Reduction, Shape};
use stream::Outgoing;

/// What a node's leader needs of its surroundings. Nodes are given by their index in the [`Spread`].
pub trait Outside: Send {
    /// A message; cheap to clone.
    type Message: AsRef<[u8]> + From<Vec<u8>> + Clone + Send + Sync;
    /// Why the program ends inside its operator.
    type End: Send;

    /// Sends a message. Never waits.
    fn send(&mut self, node: usize, message: Self::Message);

    /// Waits for the next message of this operation from any of these nodes. Messages of a node come
    /// in the order in which it sent them.
    fn receive(&mut self, from: &[usize]) -> impl Future<Output = (usize, Self::Message)> + Send;

    /// The memories of this node's members, by rank in the communicator.
    fn members(&mut self) -> impl Members;

    /// `accumulator = accumulator op operand` with the program's own operator, on `count` elements
    /// in packed form.
    fn combine(
        &mut self,
        accumulator: &mut [u8],
        operand: &mut [u8],
        count: u64,
    ) -> impl Future<Output = core::result::Result<Result<()>, Self::End>> + Send;
}

/// What a member of this node brings.
#[derive(Clone, Debug)]
pub enum Brought {
    /// A collective call.
    Call(Contribution),
    /// Another function, whose inputs all nodes need: its name, and the input or the member's error.
    Input(&'static str, Result<Box<[u8]>>),
}

/// How an operation ended on this node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Concluded {
    /// A collective call is over; the members of this node at which it failed, by rank.
    Done(Failures),
    /// The inputs of all members, by rank.
    Inputs(Vec<Box<[u8]>>),
}

/// Does this node's part in an operation to which its members `brought` this, in rank order.
///
/// # Errors
/// When the program ends inside its own operator.
pub async fn run<O: Outside>(
    spread: &Spread,
    brought: Vec<Brought>,
    outside: &mut O,
) -> core::result::Result<Concluded, O::End> {
    let failed = |error: MpiError| {
        let errors = spread.local().iter().map(|member| (*member as usize, error.clone()));
        Concluded::Done(Failures { errors: errors.collect() })
    };
    let concluded = conclude(spread, brought, outside).await?;
    Ok(concluded.unwrap_or_else(failed))
}

async fn conclude<O: Outside>(
    spread: &Spread,
    brought: Vec<Brought>,
    outside: &mut O,
) -> core::result::Result<Result<Concluded>, O::End> {
    let groups = heads(spread, &brought, &outside.members());
    let (mut local, mut inputs) = (Vec::new(), Vec::new());
    for one in brought {
        match one {
            Brought::Call(contribution) => local.push(contribution),
            Brought::Input(_, input) => inputs.push(input),
        }
    }
    let own = prepare(spread, groups, &local, &inputs, outside);
    let announcement = Announcement::own(own.groups, own.inlined, own.operands);
    let announced = match announce(spread, announcement, own.messages, outside).await {
        Ok(announced) => announced,
        Err(error) => return Ok(Err(error)),
    };
    let groups = announced.iter().map(|node| &node.groups);
    let mut heads = Vec::new();
    let agreed = agree::agree_at_once(groups, spread.size()).unwrap_or_else(|| {
        heads = by_rank(spread, &announced);
        agree::agree(&heads)
    });
    if let Err(error) = agreed {
        return Ok(Err(error));
    }
    // Rank 0 is the first member of the first node.
    let Some((_, head)) = announced[0].groups.first() else { return Ok(Err(wire::malformed())) };
    let head = head.clone();
    if head.function == head::Function::Collective(Kind::Across) {
        let call = call(spread, Kind::Across, &head, &local);
        let reduced = across::run(&call, &heads, outside).await?;
        return Ok(reduced.map(|()| Concluded::Done(Failures::default())));
    }
    drop(heads);
    let head::Function::Collective(kind) = head.function else {
        return Ok(all_inputs(spread, &announced, inputs).map(Concluded::Inputs));
    };
    let call = call(spread, kind, &head, &local);
    if kind == Kind::Barrier {
        return Ok(Ok(Concluded::Done(Failures::default())));
    }
    if !kind.is_reduction() {
        let moved = movement::run(&call, &announced, head.bytes(), outside).await;
        return Ok(moved.map(Concluded::Done));
    }
    let Some(shape) = Shape::of(&head, kind) else { return Ok(Err(wire::malformed())) };
    let reduced = Reduction::new(call, shape).run(&announced, outside).await?;
    Ok(reduced.map(|()| Concluded::Done(Failures::default())))
}

const fn call<'a>(
    spread: &'a Spread,
    kind: Kind,
    head: &Head,
    local: &'a [Contribution],
) -> Call<'a> {
    let exchanges = matches!(kind, Kind::Alltoall | Kind::Alltoallv | Kind::Alltoallw);
    Call { kind, root: head.root, in_place: exchanges && head.in_place, spread, local }
}

/// The heads of this node's members.
fn heads<M: Members>(spread: &Spread, brought: &[Brought], members: &M) -> Groups {
    let heads = spread.local().iter().zip(brought).map(|(member, one)| match one {
        Brought::Call(this) => Head::of(this, *member as usize, spread.size(), members),
        Brought::Input(name, input) => Head::other(name, input.as_ref().err().cloned()),
    });
    grouped(heads)
}

/// What this node announces.
struct Own {
    groups: Groups,
    /// Data comes along.
    inlined: bool,
    /// A message for each other node in their order, or one for all.
    messages: Vec<Vec<u8>>,
    /// The operands of a reduction that come along, which this node needs as well.
    operands: Vec<u8>,
}

/// Announcements with data.
struct WithData {
    inlined: bool,
    messages: Vec<Vec<u8>>,
    operands: Vec<u8>,
}

fn prepare<O: Outside>(
    spread: &Spread,
    mut groups: Groups,
    local: &[Contribution],
    inputs: &[Result<Box<[u8]>>],
    outside: &mut O,
) -> Own {
    let nodes = spread.nodes();
    let dests: Vec<Option<usize>> = match select::is_direct(nodes) {
        true => (1..nodes).map(|step| Some((spread.here() + step) % nodes)).collect(),
        false => [None].into(),
    };
    // Data comes along only where this node sees nothing that fails the call.
    let heads: Vec<&Head> = groups.iter().map(|(_, head)| head).collect();
    let agreed = agree::agree_locally(&heads).then(|| &groups[0].1);
    let data = match agreed {
        Some(Head { function: head::Function::Collective(kind), .. }) if *kind != Kind::Barrier => {
            let head = &groups[0].1;
            with_data(&call(spread, *kind, head, local), head, &groups, &dests, outside)
        }
        Some(_) | None => Ok(None),
    };
    match data {
        Ok(Some(WithData { inlined, messages, operands })) => {
            Own { groups, inlined, messages, operands }
        }
        Ok(None) => {
            let mut out = announcing(&groups, true);
            if local.is_empty() {
                add_inputs(&mut out, inputs);
            }
            let messages = dests.iter().map(|_| out.clone().into_bytes()).collect();
            Own { groups, inlined: true, messages, operands: Vec::new() }
        }
        // Memory that could be read a moment ago no longer can: the call fails everywhere.
        Err(error) => {
            for (_, head) in &mut groups {
                head.wrong = Some(head::Wrong::Memory(error.clone()));
            }
            let out = announcing(&groups, true);
            let messages = dests.iter().map(|_| out.clone().into_bytes()).collect();
            Own { groups, inlined: true, messages, operands: Vec::new() }
        }
    }
}

/// The beginning of an announcement.
fn announcing(groups: &Groups, inlined: bool) -> Writer {
    let mut out = Writer::new();
    write_groups(groups, &mut out);
    out.u8(u8::from(inlined));
    out
}

/// The announcements of a collective with the data that is small enough to come along.
fn with_data<O: Outside>(
    call: &Call<'_>,
    head: &Head,
    groups: &Groups,
    dests: &[Option<usize>],
    outside: &mut O,
) -> Result<Option<WithData>> {
    let members = outside.members();
    let mut all = Vec::new();
    if call.kind == Kind::Across {
        all.extend(dests.iter().map(|_| announcing(groups, false).into_bytes()));
        return Ok(Some(WithData { inlined: false, messages: all, operands: Vec::new() }));
    }
    if call.kind.is_reduction() {
        let Some(shape) = Shape::of(head, call.kind) else { return Ok(None) };
        let (inlined, root) = (shape.is_gathered(call), call.spread.node(call.root));
        let mut operands = Writer::new();
        if inlined {
            shape.gather(call, &members, &mut operands)?;
        }
        let operands = operands.into_bytes();
        for dest in dests {
            let mut out = announcing(groups, inlined);
            if call.kind != Kind::Reduce || dest.is_none() || *dest == root {
                out.raw(&operands);
            }
            all.push(out.into_bytes());
        }
        return Ok(Some(WithData { inlined, messages: all, operands }));
    }
    let stream =
        |dest: &Option<usize>| Outgoing::new(call, &call.blocks(call.spread.here(), *dest));
    let mut streams = dests.iter().map(stream).collect::<Result<Vec<_>>>()?;
    let room = select::inline_bytes_max(call.spread.nodes());
    let inlined = streams.iter().all(|stream| stream.total() <= room);
    for stream in &mut streams {
        let mut out = announcing(groups, inlined);
        if inlined {
            stream.read(room, &members, &mut out)?;
        }
        all.push(out.into_bytes());
    }
    Ok(Some(WithData { inlined, messages: all, operands: Vec::new() }))
}

/// Adds the members' inputs, each that is like the one before as such.
fn add_inputs(out: &mut Writer, inputs: &[Result<Box<[u8]>>]) {
    let mut before: &[u8] = &[];
    for (index, one) in inputs.iter().enumerate() {
        let input = one.as_deref().unwrap_or_default();
        let is_same = index > 0 && input == before;
        out.u8(u8::from(is_same));
        if !is_same {
            out.bytes(input);
        }
        before = input;
    }
}

/// The inputs of all members.
fn all_inputs<M: AsRef<[u8]>>(
    spread: &Spread,
    announced: &[Announcement<M>],
    own: Vec<Result<Box<[u8]>>>,
) -> Result<Vec<Box<[u8]>>> {
    let mut all: Vec<Box<[u8]>> = Vec::new();
    all.resize_with(spread.size(), Box::default);
    for (node, one) in announced.iter().enumerate() {
        if node == spread.here() {
            continue;
        }
        let mut reader = Reader::new(one.data());
        let mut before: &[u8] = &[];
        for member in spread.members(node) {
            let input = match reader.u8().ok_or_else(wire::malformed)? {
                0 => reader.bytes().ok_or_else(wire::malformed)?,
                _ => before,
            };
            all[*member as usize] = input.into();
            before = input;
        }
    }
    for (member, input) in spread.local().iter().zip(own) {
        all[*member as usize] = input.unwrap_or_default();
    }
    Ok(all)
}
