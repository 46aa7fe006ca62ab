//! The home: what all nodes agree on, and who waits for what.
//!
//! Methods of three kinds: [`Home::changed`] takes what the home's own threads have changed; [`Home::handle`] takes a
//! question of any node and gives the answers that can be given now; the others only tell.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use super::atomic::Atomic;
use super::delta::{Delta, PageChange};
use super::image::{Clash, Image, Private};
use super::message::{ChunkOrder, Outcome, Reply, Request, Wanted};
use super::page::{Content, Mask, PAGE_BYTES};

/// Most locks that are held or waited for at a time.
pub const LOCKS_MAX: usize = 4_096;
/// Most loops of a region that some threads have begun and others have not finished.
pub const LOOPS_MAX: usize = 4_096;
/// Most threads that wait for one lock or one loop.
pub const WAITING_MAX: usize = 65_536;

/// The memory of the home's own program.
pub trait Live {
    /// Copies a page out; `false` where the memory has none.
    fn read(&self, page: u32, out: &mut Content) -> bool;
    /// Writes bytes that lie within a page.
    fn write(&self, address: u32, bytes: &[u8]);
    /// Performs an atomic operation; gives what was there. `None` where the address cannot be.
    fn atomic(&self, operation: u8, address: u32, first: u64, second: u64) -> Option<u64>;
}

/// An answer to a thread's question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The node of the thread.
    pub node: u32,
    /// The name of its question.
    pub name: u32,
    /// What is answered.
    pub reply: Reply,
}

/// Why a program cannot go on over several nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpanError {
    /// A data race between nodes.
    Clash(Clash),
    /// Threads of the team wait in constructs that do not belong together.
    Apart,
    /// A lock is given back by a node that does not hold it.
    NotHeld {
        /// Where the lock is.
        address: u32,
    },
    /// Too many things at once.
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// An atomic operation that cannot be.
    NoAtomic {
        /// Where.
        address: u32,
    },
    /// A question that this node may not ask now.
    Unexpected,
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clash(clash) => clash.fmt(f),
            Self::Apart => f.write_str(
                "the threads of a team that spans nodes have come to different constructs: some wait in a barrier, others at \
                 the end of the region; all threads of a team must come to each barrier",
            ),
            Self::NotHeld { address } => {
                write!(f, "the lock at {address:#x} was given back by a node that does not hold it")
            }
            Self::TooMany { what, max } => {
                write!(f, "a team that spans nodes has more than {max} {what}; run without --omp-nodes")
            }
            Self::NoAtomic { address } => {
                write!(f, "an atomic operation at {address:#x}, which is outside of the memory or not aligned")
            }
            Self::Unexpected => {
                f.write_str("a node asked for what it cannot ask for now: the nodes' programs have come apart")
            }
        }
    }
}

impl core::error::Error for SpanError {}

impl From<Clash> for SpanError {
    fn from(clash: Clash) -> Self {
        Self::Clash(clash)
    }
}

type Masks = BTreeMap<u32, Mask>;
/// A thread that waits: its node, and the name of its question.
type Waiter = (u32, u32);

/// One of the other nodes.
#[derive(Debug, Default)]
struct Peer {
    /// What it has not been told.
    news: Masks,
    /// What it has been told and may not have seen yet.
    told: VecDeque<(u64, Masks)>,
    order: u64,
    /// Its question for the next region.
    idle: Option<u32>,
}

#[derive(Debug)]
struct Lock {
    holder: u32,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug, Default)]
struct Loop {
    next: u64,
    is_shared_out: bool,
    /// Threads that were told that there is no more.
    finished: u32,
    passed: u64,
    waiting: Vec<(u64, Waiter)>,
}

/// See the module.
#[derive(Debug)]
pub struct Home {
    image: Image,
    private: Private,
    peers: Vec<Peer>,
    /// What others have brought into the home's own memory, since the home last heard of all that others did.
    unseen: Masks,
    /// What the home has written there.
    clash: Option<Clash>,
    /// The home's question that begins a region, and the region.
    fork: Option<(u32, u32)>,
    join: Option<u32>,
    is_running: bool,
    barrier: BTreeMap<u32, u32>,
    locks: BTreeMap<u32, Lock>,
    loops: BTreeMap<u32, Loop>,
}

impl Home {
    /// The home of a program on `nodes` nodes, of which it is the first; nobody has written anything yet.
    pub fn new(nodes: u32) -> Self {
        Self {
            image: Image::default(),
            private: Private::default(),
            peers: (1..nodes).map(|_| Peer::default()).collect(),
            unseen: Masks::new(),
            clash: None,
            fork: None,
            join: None,
            is_running: false,
            barrier: BTreeMap::new(),
            locks: BTreeMap::new(),
            loops: BTreeMap::new(),
        }
    }

    /// Keeps a range to each node; `false` if that cannot be.
    pub fn keep_private(&mut self, start: u32, len: u32) -> bool {
        self.private.add(start, len)
    }

    /// The ranges that each node has for itself.
    pub const fn private(&self) -> &Private {
        &self.private
    }

    /// The home's program has `now` in a page.
    pub fn changed(&mut self, page: u32, now: &Content) {
        let unseen = self.unseen.get(&page).map(|mask| (*mask, *self.image.page(page)));
        let mask = self.image.compare(page, now, &self.private, &mut Delta::default());
        if let Some((unseen, before)) = unseen
            && let Some(index) = unseen.intersection(&mask).bytes().next()
        {
            let address = page * PAGE_BYTES as u32 + index as u32;
            self.clash.get_or_insert(Clash { address, one: before[index], other: now[index] });
        }
        if !mask.is_empty() {
            self.peers.iter_mut().for_each(|peer| peer.hears(page, &mask));
        }
    }

    /// Takes a question; gives the answers to this one and to others that waited for it.
    ///
    /// # Errors
    /// The program cannot go on; nothing of this question has changed anything.
    pub fn handle(
        &mut self,
        (node, name): Waiter,
        request: &Request,
        live: &dyn Live,
    ) -> Result<Vec<Answer>, SpanError> {
        if node > 0 {
            self.acknowledge(node, request.acknowledged)?;
            self.merge(node, &request.delta, live)?;
        }
        if let Wanted::Atomic { .. } = request.wanted {
            // A thread of the home may see its result in memory, and with it what was written before.
            self.unseen.clear();
        }
        if let Some(clash) = self.clash.take() {
            return Err(clash.into());
        }
        let mut answers = Vec::new();
        match request.wanted {
            Wanted::Next => self.next(node, name)?,
            Wanted::Fork { region } => self.begin(node, name, region)?,
            Wanted::Join => self.wait_for_end(node, name)?,
            Wanted::Barrier => self.come(node, name)?,
            Wanted::Lock { address } => self.lock((node, name), address, true, &mut answers)?,
            Wanted::TryLock { address } => self.lock((node, name), address, false, &mut answers)?,
            Wanted::Unlock { address } => self.unlock(node, address, &mut answers)?,
            Wanted::Flush => answers.push(self.answer((node, name), Outcome::Go)),
            Wanted::Chunk(order) => answers.push(self.chunk((node, name), &order)?),
            Wanted::Turn { number, iteration } => {
                self.turn((node, name), number, iteration, &mut answers)?;
            }
            Wanted::Pass { number, count } => self.pass(number, count, &mut answers)?,
            Wanted::Atomic { operation, address, first, second } => {
                let old = self.atomic(operation, address, (first, second), live)?;
                answers.push(self.short((node, name), Outcome::Value(old)));
            }
        }
        self.settle(&mut answers);
        Ok(answers)
    }

    fn peer(&mut self, node: u32) -> Result<&mut Peer, SpanError> {
        let index = node.checked_sub(1).ok_or(SpanError::Unexpected)?;
        self.peers.get_mut(index as usize).ok_or(SpanError::Unexpected)
    }

    /// The node has seen replies up to this one.
    fn acknowledge(&mut self, node: u32, order: u64) -> Result<(), SpanError> {
        let peer = self.peer(node)?;
        if order > peer.order {
            return Err(SpanError::Unexpected);
        }
        while peer.told.front().is_some_and(|(told, _)| *told <= order) {
            peer.told.pop_front();
        }
        Ok(())
    }

    /// Brings a node's changes into the image and the home's program, and notes them for the others.
    fn merge(&mut self, node: u32, delta: &Delta, live: &dyn Live) -> Result<(), SpanError> {
        let mut now = [0; PAGE_BYTES];
        for change in delta.pages() {
            self.check_news(node, &change)?;
            if !live.read(change.page, &mut now) {
                return Err(SpanError::Unexpected);
            }
            self.image.check(&change, &now)?;
        }
        for change in delta.pages() {
            change.apply(self.image.page_mut(change.page));
            change.write_to(live);
            self.unseen.entry(change.page).or_insert(Mask::EMPTY).unite(&change.mask);
            for (index, peer) in self.peers.iter_mut().enumerate() {
                if index as u32 + 1 != node {
                    peer.hears(change.page, &change.mask);
                }
            }
        }
        Ok(())
    }

    /// Whether a change is of bytes that others have changed meanwhile, to another value.
    fn check_news(&self, node: u32, change: &PageChange<'_>) -> Result<(), Clash> {
        let Some(peer) = self.peers.get(node as usize - 1) else { return Ok(()) };
        let mut changed = peer.news.get(&change.page).copied().unwrap_or(Mask::EMPTY);
        let told = peer.told.iter().filter_map(|(_, masks)| masks.get(&change.page));
        told.for_each(|mask| changed.unite(mask));
        if changed.intersection(&change.mask).is_empty() {
            return Ok(());
        }
        let agreed = self.image.page(change.page);
        for (index, new) in change.mask.bytes().zip(change.bytes) {
            if changed.has(index) && agreed[index] != *new {
                let address = change.address() + index as u32;
                return Err(Clash { address, one: agreed[index], other: *new });
            }
        }
        Ok(())
    }

    /// An answer with all news for the node.
    fn answer(&mut self, to: Waiter, outcome: Outcome) -> Answer {
        if to.0 == 0 {
            self.unseen.clear();
        }
        let mut answer = self.short(to, outcome);
        if let Some(peer) = to.0.checked_sub(1).and_then(|index| self.peers.get_mut(index as usize))
            && !peer.news.is_empty()
        {
            let news = core::mem::take(&mut peer.news);
            for (page, mask) in &news {
                answer.reply.delta.push(*page, mask, self.image.page(*page));
            }
            peer.order += 1;
            peer.told.push_back((peer.order, news));
            answer.reply.order = peer.order;
        }
        answer
    }

    /// An answer without news.
    fn short(&self, (node, name): Waiter, outcome: Outcome) -> Answer {
        let index = node.checked_sub(1).map(|index| index as usize);
        let order = index.and_then(|index| self.peers.get(index)).map_or(0, |peer| peer.order);
        let reply = Reply { order, outcome, delta: Delta::default() };
        Answer { node, name, reply }
    }

    fn next(&mut self, node: u32, name: u32) -> Result<(), SpanError> {
        if !self.barrier.is_empty() {
            return Err(SpanError::Apart);
        }
        match self.peer(node)?.idle.replace(name) {
            None => Ok(()),
            Some(_) => Err(SpanError::Unexpected),
        }
    }

    fn begin(&mut self, node: u32, name: u32, region: u32) -> Result<(), SpanError> {
        if node != 0 || self.fork.is_some() || self.is_running {
            return Err(SpanError::Unexpected);
        }
        self.fork = Some((name, region));
        Ok(())
    }

    fn wait_for_end(&mut self, node: u32, name: u32) -> Result<(), SpanError> {
        if node != 0 || self.join.is_some() || !self.is_running {
            return Err(SpanError::Unexpected);
        }
        if !self.barrier.is_empty() {
            return Err(SpanError::Apart);
        }
        self.join = Some(name);
        Ok(())
    }

    fn come(&mut self, node: u32, name: u32) -> Result<(), SpanError> {
        if !self.is_running {
            return Err(SpanError::Unexpected);
        }
        if self.join.is_some() || self.peers.iter().any(|peer| peer.idle.is_some()) {
            return Err(SpanError::Apart);
        }
        match self.barrier.insert(node, name) {
            None => Ok(()),
            Some(_) => Err(SpanError::Unexpected),
        }
    }

    /// Lets those go on who waited for all nodes.
    fn settle(&mut self, answers: &mut Vec<Answer>) {
        let all_idle = self.peers.iter().all(|peer| peer.idle.is_some());
        if all_idle && let Some(name) = self.join.take() {
            self.is_running = false;
            self.loops.clear();
            answers.push(self.answer((0, name), Outcome::Go));
        }
        if all_idle && let Some((name, region)) = self.fork.take() {
            self.is_running = true;
            for node in 1..=self.peers.len() as u32 {
                let idle = self.peers[node as usize - 1].idle.take();
                let begin = idle.map(|name| self.answer((node, name), Outcome::Region { region }));
                answers.extend(begin);
            }
            answers.push(self.answer((0, name), Outcome::Go));
        }
        if self.barrier.len() > self.peers.len() {
            let waiting = core::mem::take(&mut self.barrier);
            answers.extend(waiting.into_iter().map(|waiter| self.answer(waiter, Outcome::Go)));
        }
    }

    fn lock(
        &mut self,
        waiter: Waiter,
        address: u32,
        waits: bool,
        answers: &mut Vec<Answer>,
    ) -> Result<(), SpanError> {
        let room = self.locks.len() < LOCKS_MAX;
        match self.locks.get_mut(&address) {
            Some(_) if !waits => answers.push(self.short(waiter, Outcome::Busy)),
            Some(lock) if lock.waiting.len() < WAITING_MAX => lock.waiting.push_back(waiter),
            Some(_) => return Err(too_many("threads that wait for a lock", WAITING_MAX)),
            None if room => {
                self.locks.insert(address, Lock { holder: waiter.0, waiting: VecDeque::new() });
                answers.push(self.answer(waiter, Outcome::Go));
            }
            None => return Err(too_many("locks that are held", LOCKS_MAX)),
        }
        Ok(())
    }

    fn unlock(
        &mut self,
        node: u32,
        address: u32,
        answers: &mut Vec<Answer>,
    ) -> Result<(), SpanError> {
        let held = self.locks.get_mut(&address).filter(|lock| lock.holder == node);
        let lock = held.ok_or(SpanError::NotHeld { address })?;
        match lock.waiting.pop_front() {
            Some(next) => {
                lock.holder = next.0;
                answers.push(self.answer(next, Outcome::Go));
            }
            None => drop(self.locks.remove(&address)),
        }
        Ok(())
    }

    fn loop_of(&mut self, number: u32) -> Result<&mut Loop, SpanError> {
        if self.loops.len() >= LOOPS_MAX && !self.loops.contains_key(&number) {
            return Err(too_many("loops begun at a time", LOOPS_MAX));
        }
        Ok(self.loops.entry(number).or_default())
    }

    fn chunk(&mut self, waiter: Waiter, order: &ChunkOrder) -> Result<Answer, SpanError> {
        let shared = self.loop_of(order.number)?;
        shared.is_shared_out = true;
        let (first, chunk) = (shared.next, order.chunk.max(1));
        let left = order.count.saturating_sub(first);
        let part = left.div_ceil(u64::from(order.threads.max(1)));
        let wanted = match order.guided {
            0 => chunk,
            1 => part.max(chunk),
            _ => part.max(chunk).div_ceil(chunk).saturating_mul(chunk),
        };
        let len = wanted.min(left);
        shared.next = first.saturating_add(len);
        if len == 0 {
            shared.finished += 1;
            if shared.finished >= order.threads {
                self.loops.remove(&order.number);
            }
        }
        Ok(self.short(waiter, Outcome::Chunk { first, len }))
    }

    fn turn(
        &mut self,
        waiter: Waiter,
        number: u32,
        iteration: u64,
        answers: &mut Vec<Answer>,
    ) -> Result<(), SpanError> {
        let shared = self.loop_of(number)?;
        if shared.passed >= iteration {
            answers.push(self.answer(waiter, Outcome::Go));
        } else if shared.waiting.len() < WAITING_MAX {
            shared.waiting.push((iteration, waiter));
        } else {
            return Err(too_many("threads that wait for their turn", WAITING_MAX));
        }
        Ok(())
    }

    fn pass(
        &mut self,
        number: u32,
        count: u64,
        answers: &mut Vec<Answer>,
    ) -> Result<(), SpanError> {
        let shared = self.loop_of(number)?;
        shared.passed += 1;
        let passed = shared.passed;
        let next = shared.waiting.iter().position(|(iteration, _)| *iteration <= passed);
        if let Some(index) = next {
            let (_, waiter) = shared.waiting.swap_remove(index);
            answers.push(self.answer(waiter, Outcome::Go));
        } else if passed == count && !shared.is_shared_out {
            self.loops.remove(&number);
        }
        Ok(())
    }

    /// Performs an operation on the home's memory; the others hear of it.
    fn atomic(
        &mut self,
        operation: u8,
        address: u32,
        operands: (u64, u64),
        live: &dyn Live,
    ) -> Result<u64, SpanError> {
        let known = Atomic::from_number(operation).ok_or(SpanError::NoAtomic { address })?;
        let old = live.atomic(operation, address, operands.0, operands.1);
        let old = old.ok_or(SpanError::NoAtomic { address })?;
        if known.apply(old, operands.0, operands.1).is_some() {
            let page = address / PAGE_BYTES as u32;
            let mut now = [0; PAGE_BYTES];
            if !live.read(page, &mut now) {
                return Err(SpanError::NoAtomic { address });
            }
            let start = address as usize % PAGE_BYTES;
            let mut next = *self.image.page(page);
            let end = start + usize::from(known.bytes);
            next[start..end].copy_from_slice(&now[start..end]);
            self.changed(page, &next);
        }
        Ok(old)
    }
}

impl PageChange<'_> {
    /// Writes the bytes into a memory.
    pub(super) fn write_to(&self, live: &dyn Live) {
        let mut bytes = self.bytes;
        for (start, len) in self.mask.runs() {
            let (run, rest) = bytes.split_at(len);
            live.write(self.address() + start as u32, run);
            bytes = rest;
        }
    }
}

impl Peer {
    fn hears(&mut self, page: u32, mask: &Mask) {
        self.news.entry(page).or_insert(Mask::EMPTY).unite(mask);
    }
}

const fn too_many(what: &'static str, max: usize) -> SpanError {
    SpanError::TooMany { what, max }
}
