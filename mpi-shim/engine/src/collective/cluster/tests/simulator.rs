//! Nodes that run on one thread, in an order that a seed decides; messages take their time.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use super::super::{Brought, Concluded, Outside, Spread, run};
use super::calls::{Random, combine};
use crate::collective::Members;
use crate::datatype::Fault;

const MEMORY: usize = 64 << 10;

/// Separate memories of the members, and how many messages were sent.
#[derive(Clone, Debug)]
pub(super) struct Memories(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memories: Vec<Mutex<Vec<u8>>>,
    messages: Mutex<usize>,
}

impl Memories {
    pub(super) fn new(members: usize, seed: u64) -> Self {
        let bytes = |member: usize| {
            let mut random = Random::new(seed * 1000 + member as u64);
            Mutex::new((0..MEMORY).map(|_| random.below(256) as u8).collect())
        };
        let memories = (0..members).map(bytes).collect();
        Self(Arc::new(Inner { memories, messages: Mutex::new(0) }))
    }

    /// An independent copy.
    pub(super) fn copied(&self) -> Self {
        let copy = |memory: &Mutex<Vec<u8>>| Mutex::new(memory.lock().unwrap().clone());
        let memories = self.0.memories.iter().map(copy).collect();
        Self(Arc::new(Inner { memories, messages: Mutex::new(0) }))
    }

    pub(super) fn bytes(&self, member: usize) -> Vec<u8> {
        self.0.memories[member].lock().unwrap().clone()
    }

    pub(super) fn messages(&self) -> usize {
        *self.0.messages.lock().unwrap()
    }

    fn range(addr: u64, len: u64) -> Result<core::ops::Range<usize>, Fault> {
        let end = addr.checked_add(len).filter(|end| *end <= MEMORY as u64);
        end.map(|end| addr as usize..end as usize).ok_or(Fault { addr, len })
    }
}

impl Members for Memories {
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        let range = Self::range(addr, out.len() as u64)?;
        out.copy_from_slice(&self.0.memories[member].lock().unwrap()[range]);
        Ok(())
    }

    fn write(&self, member: usize, addr: u64, data: &[u8]) -> Result<(), Fault> {
        let range = Self::range(addr, data.len() as u64)?;
        self.0.memories[member].lock().unwrap()[range].copy_from_slice(data);
        Ok(())
    }

    fn copy(&self, from: (usize, u64), to: (usize, u64), len: u64) -> Result<(), Fault> {
        let mut bytes = vec![0; Self::range(from.1, len)?.len()];
        self.read(from.0, from.1, &mut bytes)?;
        self.write(to.0, to.1, &bytes)
    }
}

/// The memories as one node may use them.
struct OwnMembers<'a> {
    memories: &'a Memories,
    local: &'a [u32],
}

impl OwnMembers<'_> {
    fn check(&self, member: usize) {
        assert!(self.local.contains(&(member as u32)), "member {member} is on another node");
    }
}

impl Members for OwnMembers<'_> {
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.check(member);
        self.memories.read(member, addr, out)
    }

    fn write(&self, member: usize, addr: u64, data: &[u8]) -> Result<(), Fault> {
        self.check(member);
        self.memories.write(member, addr, data)
    }

    fn copy(&self, from: (usize, u64), to: (usize, u64), len: u64) -> Result<(), Fault> {
        self.check(from.0);
        self.check(to.0);
        self.memories.copy(from, to, len)
    }
}

/// A message of the simulation.
#[derive(Clone, Debug)]
struct Message(Arc<[u8]>);

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// All links: what is under way and what has arrived, by receiver and sender.
struct Net {
    under_way: Vec<Vec<VecDeque<Message>>>,
    arrived: Vec<Vec<VecDeque<Message>>>,
    random: Random,
    damages: bool,
}

struct Node<'a> {
    spread: &'a Spread,
    here: usize,
    net: Arc<Mutex<Net>>,
    memories: Memories,
}

impl Outside for Node<'_> {
    type Message = Message;
    type End = ();

    fn send(&mut self, node: usize, message: Message) {
        assert_ne!(node, self.here, "nobody writes to itself");
        *self.memories.0.messages.lock().unwrap() += 1;
        self.net.lock().unwrap().under_way[node][self.here].push_back(message);
    }

    fn receive(&mut self, from: &[usize]) -> impl Future<Output = (usize, Message)> + Send {
        assert!(!from.is_empty(), "somebody must be waited for");
        let from = from.to_vec();
        poll_fn(move |_| {
            let mut net = self.net.lock().unwrap();
            let start = net.random.below(from.len());
            for index in 0..from.len() {
                let node = from[(start + index) % from.len()];
                if let Some(message) = net.arrived[self.here][node].pop_front() {
                    return Poll::Ready((node, message));
                }
            }
            Poll::Pending
        })
    }

    fn members(&mut self) -> impl Members {
        OwnMembers { memories: &self.memories, local: self.spread.local() }
    }

    async fn combine(
        &mut self,
        accumulator: &mut [u8],
        operand: &mut [u8],
        count: u64,
    ) -> Result<crate::error::Result<()>, ()> {
        assert!(count > 0 || accumulator.is_empty());
        combine(accumulator, operand);
        Ok(Ok(()))
    }
}

impl Net {
    /// Delivers a random message, or one of them damaged; false when none is under way.
    fn deliver(&mut self) -> bool {
        let nodes = self.under_way.len();
        let links: Vec<_> = (0..nodes * nodes)
            .map(|link| (link / nodes, link % nodes))
            .filter(|(to, from)| !self.under_way[*to][*from].is_empty())
            .collect();
        if links.is_empty() {
            return false;
        }
        let (to, from) = links[self.random.below(links.len())];
        let mut message = self.under_way[to][from].pop_front().unwrap();
        if self.damages && self.random.below(4) == 0 {
            message = self.damaged(&message);
        }
        self.arrived[to][from].push_back(message);
        true
    }

    fn damaged(&mut self, message: &Message) -> Message {
        let mut bytes = message.0.to_vec();
        match self.random.below(3) {
            0 => bytes.truncate(self.random.below(bytes.len() + 1)),
            1 => bytes.push(0),
            _ => {
                let at = self.random.below(bytes.len());
                bytes[at] ^= 1 << self.random.below(8);
            }
        }
        bytes.into()
    }
}

/// Runs an operation to its end: what each node concluded, and the memories.
pub(super) fn simulate(
    places: &[u32],
    brought: Vec<Brought>,
    memories: Memories,
    seed: u64,
) -> (Vec<Concluded>, Memories) {
    let (concluded, memories, left) = run_all(places, brought, &memories, seed, false);
    let concluded: Option<Vec<_>> = concluded.into_iter().collect();
    assert_eq!(left, 0, "no message is left over");
    (concluded.expect("every node ends"), memories)
}

/// As [`simulate`] with damaged messages: nodes may wait for ever, but nothing panics.
pub(super) fn simulate_damaged(
    places: &[u32],
    brought: Vec<Brought>,
    memories: Memories,
    seed: u64,
) {
    run_all(places, brought, &memories, seed, true);
}

fn run_all(
    places: &[u32],
    brought: Vec<Brought>,
    memories: &Memories,
    seed: u64,
    damages: bool,
) -> (Vec<Option<Concluded>>, Memories, usize) {
    let memories = memories.copied();
    let first = Spread::new(places.iter().copied(), places[0]).expect("several nodes");
    let nodes = first.nodes();
    let spreads: Vec<_> = (0..nodes)
        .map(|node| Spread::new(places.iter().copied(), first.number(node)).expect("several nodes"))
        .collect();
    let empty = || vec![vec![VecDeque::new(); nodes]; nodes];
    let random = Random::new(seed ^ 0x5eed);
    let net = Net { under_way: empty(), arrived: empty(), random, damages };
    let net = Arc::new(Mutex::new(net));
    let mut outsides: Vec<_> = spreads
        .iter()
        .enumerate()
        .map(|(here, spread)| Node { spread, here, net: net.clone(), memories: memories.clone() })
        .collect();
    type Run<'a> = Pin<alloc::boxed::Box<dyn Future<Output = Result<Concluded, ()>> + Send + 'a>>;
    let mut runs: Vec<Option<Run<'_>>> = Vec::new();
    for outside in &mut outsides {
        let spread = outside.spread;
        let own = spread.local().iter().map(|member| brought[*member as usize].clone()).collect();
        runs.push(Some(alloc::boxed::Box::pin(run(spread, own, outside))));
    }
    let mut concluded = vec![None; nodes];
    let mut context = Context::from_waker(Waker::noop());
    let mut idle = 0;
    while runs.iter().any(Option::is_some) && idle < 2 {
        let moved = net.lock().unwrap().deliver();
        let mut order: Vec<usize> = (0..nodes).collect();
        order.rotate_left(net.lock().unwrap().random.below(nodes));
        // Sometimes several messages come before anybody looks.
        if !moved || net.lock().unwrap().random.below(3) == 0 {
            for node in order {
                let Some(future) = &mut runs[node] else { continue };
                if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                    concluded[node] = Some(result.expect("no operator traps"));
                    runs[node] = None;
                }
            }
        }
        let mut net = net.lock().unwrap();
        let quiet = net.under_way.iter().flatten().all(VecDeque::is_empty);
        idle = if quiet && !moved { idle + 1 } else { 0 };
        if !quiet {
            net.deliver();
        }
    }
    drop(runs);
    let net = net.lock().unwrap();
    let left = net.under_way.iter().chain(&net.arrived).flatten().map(VecDeque::len).sum();
    (concluded, memories, left)
}
