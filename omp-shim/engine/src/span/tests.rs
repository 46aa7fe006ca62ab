use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::atomic::Atomic;
use super::page::{Content, Mask, PAGE_BYTES};
use super::*;

const PAGES: u32 = 6;

/// A program's memory.
struct Memory(RefCell<Vec<u8>>);

impl Memory {
    fn new() -> Self {
        Self(RefCell::new(vec![0; PAGES as usize * PAGE_BYTES]))
    }

    fn set(&self, address: usize, value: u8) {
        self.0.borrow_mut()[address] = value;
    }

    fn all(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

impl Live for Memory {
    fn read(&self, page: u32, out: &mut Content) -> bool {
        let start = page as usize * PAGE_BYTES;
        if page < PAGES {
            out.copy_from_slice(&self.0.borrow()[start..start + PAGE_BYTES]);
        }
        page < PAGES
    }

    fn write(&self, address: u32, bytes: &[u8]) {
        let start = address as usize;
        self.0.borrow_mut()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn atomic(&self, operation: u8, address: u32, first: u64, second: u64) -> Option<u64> {
        let known = Atomic::from_number(operation)?;
        let (start, bytes) = (address as usize, usize::from(known.bytes));
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(self.0.borrow().get(start..start + bytes)?);
        let old = u64::from_le_bytes(word);
        if let Some(new) = known.apply(old, first, second) {
            self.write(address, &new.to_le_bytes()[..bytes]);
        }
        Some(old)
    }
}

/// A program on several nodes; messages travel as bytes.
struct Nodes {
    home: Home,
    members: Vec<Member>,
    memories: Vec<Memory>,
    names: u32,
}

impl Nodes {
    fn new(nodes: u32) -> Self {
        Self {
            home: Home::new(nodes),
            members: (1..nodes).map(|_| Member::default()).collect(),
            memories: (0..nodes).map(|_| Memory::new()).collect(),
            names: 0,
        }
    }

    /// A thread of `node` asks; gives who has an answer now, in order.
    fn ask(&mut self, node: u32, wanted: Wanted) -> Result<Vec<(u32, Outcome)>, SpanError> {
        let mut delta = Delta::default();
        let mut now = [0; PAGE_BYTES];
        for page in 0..PAGES {
            assert!(self.memories[node as usize].read(page, &mut now));
            match node.checked_sub(1) {
                None => self.home.changed(page, &now),
                Some(index) => self.members[index as usize].changed(page, &now, &mut delta),
            }
        }
        let acknowledged =
            node.checked_sub(1).map_or(0, |i| self.members[i as usize].acknowledged());
        let request = Request { acknowledged, wanted, delta };
        let request = Request::from_bytes(&request.to_bytes()).expect("what was written is read");
        self.names += 1;
        let answers = self.home.handle((node, self.names), &request, &self.memories[0])?;
        let mut told = Vec::new();
        for Answer { node, reply, .. } in answers {
            let reply = Reply::from_bytes(&reply.to_bytes()).expect("what was written is read");
            if let Some(index) = node.checked_sub(1) {
                self.members[index as usize].take(&reply, &self.memories[node as usize])?;
            }
            told.push((node, reply.outcome));
        }
        Ok(told)
    }

    fn begin(&mut self) {
        for node in 1..self.memories.len() as u32 {
            assert_eq!(self.ask(node, Wanted::Next), Ok(vec![]));
        }
        let told = self.ask(0, Wanted::Fork { region: 64 }).expect("all wait");
        let region = |node: u32| (node, Outcome::Region { region: 64 });
        let expected: Vec<_> =
            (1..self.memories.len() as u32).map(region).chain([(0, Outcome::Go)]).collect();
        assert_eq!(told, expected);
    }

    fn barrier(&mut self, order: &[u32]) -> Result<(), SpanError> {
        let mut told = Vec::new();
        for node in order {
            assert_eq!(told, [], "nobody goes on before all are there");
            told = self.ask(*node, Wanted::Barrier)?;
        }
        assert_eq!(told.len(), self.memories.len());
        Ok(())
    }
}

/// Random numbers, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn writes_to_different_bytes_come_together_as_in_one_memory() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let count = 2 + random.below(4);
        let mut nodes = Nodes::new(count as u32);
        let oracle = Memory::new();
        for address in 0..200 {
            nodes.memories[0].set(address * 97, 7);
            oracle.set(address * 97, 7);
        }
        nodes.begin();
        for round in 0..10 {
            for _ in 0..random.below(500) {
                let address = random.below(PAGES as usize * PAGE_BYTES);
                // Neighbouring bytes are different nodes'.
                let node = (address + round) % count;
                let value = random.below(256) as u8;
                nodes.memories[node].set(address, value);
                oracle.set(address, value);
            }
            let first = random.below(count);
            let order: Vec<u32> =
                (0..count).map(|index| ((first + index) % count) as u32).collect();
            nodes.barrier(&order).expect("no clash");
            for memory in &nodes.memories {
                assert!(memory.all() == oracle.all(), "seed {seed}, round {round}");
            }
        }
    }
}

#[test]
fn two_nodes_that_write_the_same_byte_are_told() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        for (one, other) in [(0, 1), (1, 2), (2, 0)] {
            let mut nodes = Nodes::new(3);
            nodes.begin();
            nodes.memories[one].set(5000, 1);
            nodes.memories[other].set(5000, 2);
            let clash = nodes.barrier(&order).expect_err("a race");
            let SpanError::Clash(Clash { address, .. }) = clash else { panic!("{clash}") };
            assert_eq!(address, 5000);
        }
    }
}

#[test]
fn what_the_home_writes_over_unseen_is_told() {
    for flushes in [false, true] {
        let mut nodes = Nodes::new(2);
        nodes.begin();
        nodes.memories[1].set(5000, 2);
        assert_eq!(nodes.ask(1, Wanted::Next), Ok(vec![]), "the member is through");
        if flushes {
            assert_eq!(nodes.ask(0, Wanted::Flush), Ok(vec![(0, Outcome::Go)]));
        }
        nodes.memories[0].set(5000, 1);
        let told = nodes.ask(0, Wanted::Join);
        let clash = SpanError::Clash(Clash { address: 5000, one: 2, other: 1 });
        assert_eq!(told, if flushes { Ok(vec![(0, Outcome::Go)]) } else { Err(clash) });
    }
}

#[test]
fn two_nodes_may_write_the_same_value() {
    let mut nodes = Nodes::new(3);
    nodes.begin();
    nodes.memories.iter().for_each(|memory| memory.set(77, 9));
    nodes.barrier(&[1, 0, 2]).expect("they agree");
    assert!(nodes.memories.iter().all(|memory| memory.all()[77] == 9));
}

#[test]
fn private_bytes_stay_where_they_are() {
    let mut nodes = Nodes::new(2);
    assert!(nodes.home.keep_private(100, 5000) && nodes.members[0].keep_private(100, 5000));
    nodes.begin();
    nodes.memories[0].set(4096, 1);
    nodes.memories[1].set(4096, 2);
    nodes.memories[1].set(99, 3);
    nodes.memories[1].set(5100, 4);
    nodes.barrier(&[0, 1]).expect("no clash");
    assert_eq!((nodes.memories[0].all()[4096], nodes.memories[1].all()[4096]), (1, 2));
    assert_eq!((nodes.memories[0].all()[99], nodes.memories[0].all()[5100]), (3, 4));
}

#[test]
fn a_lock_brings_what_was_written_under_it() {
    let mut nodes = Nodes::new(3);
    nodes.begin();
    let (lock, unlock) = (Wanted::Lock { address: 8 }, Wanted::Unlock { address: 8 });
    for turn in 0..9 {
        let node = turn % 3;
        assert_eq!(nodes.ask(node, lock), Ok(vec![(node, Outcome::Go)]));
        let next = (node + 1) % 3;
        assert_eq!(
            nodes.ask(next, Wanted::TryLock { address: 8 }),
            Ok(vec![(next, Outcome::Busy)])
        );
        let value = nodes.memories[node as usize].all()[300];
        assert_eq!(u32::from(value), turn);
        nodes.memories[node as usize].set(300, value + 1);
        assert_eq!(nodes.ask(node, unlock), Ok(vec![]));
    }
    assert_eq!(nodes.ask(1, unlock), Err(SpanError::NotHeld { address: 8 }));
    // Who waits gets it in order.
    assert_eq!(nodes.ask(2, lock), Ok(vec![(2, Outcome::Go)]));
    assert_eq!(nodes.ask(0, lock), Ok(vec![]));
    assert_eq!(nodes.ask(1, lock), Ok(vec![]));
    assert_eq!(nodes.ask(2, unlock), Ok(vec![(0, Outcome::Go)]));
    assert_eq!(nodes.ask(0, unlock), Ok(vec![(1, Outcome::Go)]));
}

#[test]
fn each_iteration_is_handed_out_once() {
    for guided in 0..3 {
        let mut nodes = Nodes::new(2);
        nodes.begin();
        let order = ChunkOrder { number: 3, guided, count: 1000, chunk: 7, threads: 4 };
        let (mut seen, mut finished, mut node) = (0, 0, 0);
        while finished < 4 {
            node = 1 - node;
            let told = nodes.ask(node, Wanted::Chunk(order)).expect("it goes on");
            let [(to, Outcome::Chunk { first, len })] = told[..] else { panic!("{told:?}") };
            assert_eq!((to, first), (node, seen));
            assert!(len == 0 || guided != 0 || len == 7 || seen + len == 1000);
            seen += len;
            finished += u32::from(len == 0);
        }
        assert_eq!(seen, 1000);
    }
}

#[test]
fn turns_come_in_order() {
    let mut nodes = Nodes::new(2);
    nodes.begin();
    let turn = |iteration| Wanted::Turn { number: 0, iteration };
    let pass = Wanted::Pass { number: 0, count: 3 };
    assert_eq!(nodes.ask(1, turn(1)), Ok(vec![]));
    assert_eq!(nodes.ask(1, turn(2)), Ok(vec![]));
    assert_eq!(nodes.ask(0, turn(0)), Ok(vec![(0, Outcome::Go)]));
    nodes.memories[0].set(9, 1);
    assert_eq!(nodes.ask(0, pass), Ok(vec![(1, Outcome::Go)]));
    assert_eq!(nodes.memories[1].all()[9], 1);
    assert_eq!(nodes.ask(1, pass), Ok(vec![(1, Outcome::Go)]));
    assert_eq!(nodes.ask(1, pass), Ok(vec![]));
}

#[test]
fn atomic_operations_are_the_homes() {
    let mut nodes = Nodes::new(3);
    nodes.begin();
    // i32.atomic.rmw.add
    let add = Wanted::Atomic { operation: 0x1e, address: 400, first: 5, second: 0 };
    assert_eq!(nodes.ask(1, add), Ok(vec![(1, Outcome::Value(0))]));
    nodes.memories[0].set(400, nodes.memories[0].all()[400] + 1);
    assert_eq!(nodes.ask(2, add), Ok(vec![(2, Outcome::Value(6))]));
    nodes.barrier(&[0, 1, 2]).expect("no clash");
    assert!(nodes.memories.iter().all(|memory| memory.all()[400] == 11));
    let outside = Wanted::Atomic { operation: 0x1e, address: 1 << 30, first: 5, second: 0 };
    assert!(nodes.ask(1, outside).is_err());
}

#[test]
fn atomic_operations_have_the_numbers_of_their_instructions() {
    let apply =
        |number, old, a, b| Atomic::from_number(number).expect("it is one").apply(old, a, b);
    assert_eq!(apply(0x10, 5, 0, 0), None);
    assert_eq!(apply(0x17, 5, 9, 0), Some(9));
    assert_eq!(apply(0x20, 255, 2, 0), Some(1), "i32.atomic.rmw8.add_u");
    assert_eq!(apply(0x26, 1, 2, 0), Some(u64::MAX), "i64.atomic.rmw.sub");
    assert_eq!(apply(0x33, 6, 3, 0), Some(7), "i32.atomic.rmw.or");
    assert_eq!(apply(0x49, 6, 6, 8), Some(8), "i64.atomic.rmw.cmpxchg");
    assert_eq!(apply(0x49, 6, 7, 8), None);
    assert_eq!(Atomic::from_number(0x4e).map(|a| a.bytes), Some(4));
    assert!(Atomic::from_number(0x4f).is_none() && Atomic::from_number(0x0f).is_none());
}

#[test]
fn threads_that_come_apart_are_told() {
    let mut nodes = Nodes::new(2);
    assert_eq!(nodes.ask(0, Wanted::Barrier), Err(SpanError::Unexpected), "there is no region");
    nodes.begin();
    assert_eq!(nodes.ask(0, Wanted::Join), Ok(vec![]));
    assert_eq!(nodes.ask(1, Wanted::Barrier), Err(SpanError::Apart));
    let mut nodes = Nodes::new(2);
    nodes.begin();
    assert_eq!(nodes.ask(0, Wanted::Barrier), Ok(vec![]));
    assert_eq!(nodes.ask(1, Wanted::Next), Err(SpanError::Apart));
}

#[test]
fn a_region_ends_when_all_are_done_and_another_begins() {
    let mut nodes = Nodes::new(3);
    nodes.begin();
    nodes.memories[2].set(1234, 5);
    assert_eq!(nodes.ask(2, Wanted::Next), Ok(vec![]));
    assert_eq!(nodes.ask(0, Wanted::Join), Ok(vec![]));
    assert_eq!(nodes.ask(1, Wanted::Next), Ok(vec![(0, Outcome::Go)]));
    assert_eq!(nodes.memories[0].all()[1234], 5);
    nodes.memories[0].set(1234, 6);
    let told = nodes.ask(0, Wanted::Fork { region: 8 }).expect("all wait");
    assert_eq!(told.len(), 3);
    assert_eq!((nodes.memories[1].all()[1234], nodes.memories[2].all()[1234]), (6, 6));
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let mut nodes = Nodes::new(2);
    nodes.begin();
    let mut delta = Delta::default();
    let mut mask = Mask::EMPTY;
    [0, 1, 63, 64, 4095].iter().for_each(|index| mask.add(*index));
    delta.push(2, &mask, &[7; PAGE_BYTES]);
    delta.push(3, &mask, &[8; PAGE_BYTES]);
    let request = Request { acknowledged: 0, wanted: Wanted::Barrier, delta: delta.clone() };
    let reply = Reply { order: 1, outcome: Outcome::Go, delta };
    let (request, reply) = (request.to_bytes(), reply.to_bytes());
    let delta_at = request.len() - reply.len() + 25;
    for len in 0..request.len() {
        let whole_pages = [delta_at, delta_at + (request.len() - delta_at) / 2];
        assert_eq!(
            Request::from_bytes(&request[..len]).is_ok(),
            whole_pages.contains(&len),
            "{len}"
        );
    }
    let mut random = Random(3);
    for _ in 0..20_000 {
        let mut bytes = request.clone();
        let at = random.below(bytes.len());
        bytes[at] = random.below(256) as u8;
        // Whatever it says now, it harms nobody.
        if let Ok(request) = Request::from_bytes(&bytes) {
            let _ = nodes.home.handle((1, 1), &request, &nodes.memories[0]);
        }
        let _ = Reply::from_bytes(&bytes);
    }
}

#[test]
fn masks_know_their_runs() {
    let mut random = Random(11);
    for _ in 0..200 {
        let mut mask = Mask::EMPTY;
        let mut bytes = vec![false; PAGE_BYTES];
        for _ in 0..random.below(40) {
            let start = random.below(PAGE_BYTES);
            let run = start..(start + random.below(300)).min(PAGE_BYTES);
            bytes[run.clone()].fill(true);
            run.for_each(|index| mask.add(index));
        }
        let of_runs: Vec<usize> = mask.runs().flat_map(|(start, len)| start..start + len).collect();
        let expected: Vec<usize> = (0..PAGE_BYTES).filter(|index| bytes[*index]).collect();
        assert_eq!(of_runs, expected);
        assert_eq!(mask.bytes().collect::<Vec<_>>(), expected);
        assert_eq!(mask.count(), expected.len());
    }
}
