//! Calls of an intercommunicator against what the standard says of each, on plain integers.

use alloc::vec;
use alloc::vec::Vec;
use std::sync::Mutex;

use super::*;
use crate::collective::contribution::{Operator, VectorBuffer};
use crate::collective::{Failures, Members, execute};
use crate::datatype::Fault;
use crate::op::Op;

/// Elements of a block, and where the two buffers begin.
const BLOCK: i64 = 3;
const SEND: u64 = 0;
const RECV: u64 = 4096;
const MEMORY: usize = 8192;

struct Memories(Vec<Mutex<Vec<u8>>>);

impl Memories {
    fn new(processes: u32) -> Self {
        let memory = |process: u32| {
            let mut bytes = vec![0xee; MEMORY];
            for element in 0..256 {
                let at = SEND as usize + 4 * element as usize;
                bytes[at..at + 4].copy_from_slice(&value(process, element).to_le_bytes());
            }
            Mutex::new(bytes)
        };
        Self((0..processes).map(memory).collect())
    }

    fn received(&self, process: u32, elements: usize) -> Vec<i32> {
        let bytes = self.0[process as usize].lock().unwrap();
        let start = RECV as usize;
        let (words, _) = bytes[start..start + 4 * elements].as_chunks::<4>();
        words.iter().map(|word| i32::from_le_bytes(*word)).collect()
    }
}

impl Members for Memories {
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> core::result::Result<(), Fault> {
        let bytes = self.0[member].lock().unwrap();
        out.copy_from_slice(&bytes[addr as usize..addr as usize + out.len()]);
        Ok(())
    }

    fn write(&self, member: usize, addr: u64, data: &[u8]) -> core::result::Result<(), Fault> {
        let mut bytes = self.0[member].lock().unwrap();
        bytes[addr as usize..addr as usize + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn copy(
        &self,
        from: (usize, u64),
        to: (usize, u64),
        len: u64,
    ) -> core::result::Result<(), Fault> {
        let mut bytes = vec![0; len as usize];
        self.read(from.0, from.1, &mut bytes)?;
        self.write(to.0, to.1, &bytes)
    }
}

/// What process `process` has as element `element` of its send buffer.
fn value(process: u32, element: i64) -> i32 {
    (process as i32 + 1) * 1000 + element as i32
}

fn ints(addr: u64, count: i64) -> Side {
    Side::buffer(addr, count, Predefined::Int)
}

/// The call that a process makes; `root` is the number of the root in the row.
fn call(kind: Kind, at: Position, root: u32) -> Contribution {
    let (local, remote) = (i64::from(at.local().end - at.local().start), at.remote());
    let role = match () {
        () if at.number == root => ROOT,
        () if at.local().contains(&root) => SILENT,
        () => root - remote.start,
    };
    let this = Contribution::new(kind).root(role);
    let sum = |this: Contribution| this.op(Operator::Predefined(Op::Sum));
    match kind {
        Kind::Bcast if role == ROOT => this.send(ints(SEND, BLOCK)),
        Kind::Bcast => this.send(ints(RECV, BLOCK)),
        Kind::Reduce => sum(this).send(ints(SEND, BLOCK)).recv(ints(RECV, BLOCK)),
        Kind::Allreduce => sum(this).send(ints(SEND, BLOCK)).recv(ints(RECV, BLOCK)),
        Kind::ReduceScatterBlock => {
            let each = i64::from(at.size) * 6 / local;
            sum(this).send(ints(SEND, each * local)).recv(ints(RECV, each))
        }
        Kind::ReduceScatter => {
            let mut counts = vec![2; local as usize];
            counts[0] = i64::from(at.size) * 6 - 2 * (local - 1);
            let vector = VectorBuffer {
                addr: RECV,
                counts: counts.into(),
                displacements: Box::default(),
                datatype: Predefined::Int.into(),
            };
            let send = ints(SEND, i64::from(at.size) * 6);
            sum(this).send(send).recv(Side::Vector(Box::new(vector)))
        }
        _ => this.send(ints(SEND, BLOCK)).recv(ints(RECV, BLOCK)),
    }
}

/// What a process has received after the call.
fn expected(kind: Kind, at: Position, root: u32) -> Vec<i32> {
    let (local, remote) = (at.local(), at.remote());
    let block = |process: u32, first: i64, count: i64| {
        (first..first + count).map(move |element| value(process, element))
    };
    let sums = |first: i64, count: i64| {
        let sum = |element| remote.clone().map(|process| value(process, element)).sum();
        (first..first + count).map(sum).collect::<Vec<i32>>()
    };
    let (is_root, is_remote) = (at.number == root, remote.contains(&root));
    let rank = i64::from(at.number - local.start);
    let len = i64::from(local.end - local.start);
    match kind {
        Kind::Bcast if is_remote => block(root, 0, BLOCK).collect(),
        Kind::Gather if is_root => remote.flat_map(|from| block(from, 0, BLOCK)).collect(),
        Kind::Scatter if is_remote => block(root, rank * BLOCK, BLOCK).collect(),
        Kind::Reduce if is_root => sums(0, BLOCK),
        Kind::Allgather => remote.flat_map(|from| block(from, 0, BLOCK)).collect(),
        Kind::Alltoall => remote.flat_map(|from| block(from, rank * BLOCK, BLOCK)).collect(),
        Kind::Allreduce => sums(0, BLOCK),
        Kind::ReduceScatterBlock => {
            let each = i64::from(at.size) * 6 / len;
            sums(rank * each, each)
        }
        Kind::ReduceScatter => {
            let first = i64::from(at.size) * 6 - 2 * (len - 1);
            if rank == 0 { sums(0, first) } else { sums(first + 2 * (rank - 1), 2) }
        }
        _ => Vec::new(),
    }
}

const KINDS: [Kind; 9] = [
    Kind::Bcast,
    Kind::Gather,
    Kind::Scatter,
    Kind::Allgather,
    Kind::Alltoall,
    Kind::Reduce,
    Kind::Allreduce,
    Kind::ReduceScatter,
    Kind::ReduceScatterBlock,
];

fn positions(low: u32, size: u32) -> impl Iterator<Item = Position> {
    (0..size).map(move |number| Position { low, size, number })
}

#[test]
fn every_process_gets_what_the_other_group_sent() {
    for (low, high) in [(1, 1), (1, 3), (3, 1), (2, 3), (6, 2)] {
        let size = low + high;
        for (kind, root) in KINDS.into_iter().flat_map(|kind| (0..size).map(move |r| (kind, r))) {
            let calls: Vec<_> = positions(low, size)
                .map(|at| across(call(kind, at, root), at).expect("a correct call"))
                .collect();
            let memories = Memories::new(size);
            let what = std::format!("{} of {low} and {high}, root {root}", kind.name());
            execute(&calls, &memories).unwrap_or_else(|failures| panic!("{what}: {failures:?}"));
            for at in positions(low, size) {
                let wanted = expected(kind, at, root);
                let got = memories.received(at.number, wanted.len());
                assert_eq!(got, wanted, "{what}, process {}", at.number);
                let untouched = memories.received(at.number, wanted.len() + 1)[wanted.len()];
                assert_eq!(untouched, i32::from_le_bytes([0xee; 4]), "{what}: no more");
            }
        }
    }
}

fn failures(calls: impl Iterator<Item = Contribution>) -> Failures {
    let calls: Vec<_> = calls.collect();
    let memories = Memories::new(calls.len() as u32);
    execute(&calls, &memories).expect_err("the call is wrong")
}

#[test]
fn calls_that_do_not_fit_together_fail() {
    let class = |failures: Failures| failures.errors[0].1.class;
    let mixed = |first: Kind, other: Kind| {
        positions(2, 4).map(move |at| {
            let kind = if at.is_low() { first } else { other };
            across(call(kind, at, 0), at).expect("correct by itself")
        })
    };
    let different = ErrorClass::NotSame;
    assert_eq!(class(failures(mixed(Kind::Allgather, Kind::Alltoall))), different);
    assert_eq!(class(failures(mixed(Kind::Allreduce, Kind::Reduce))), different);
    assert_eq!(class(failures(mixed(Kind::Bcast, Kind::Allreduce))), different);
    let uneven = positions(1, 3).map(|at| {
        let mut this = call(Kind::Allreduce, at, 0);
        if at.number == 2 {
            this.send = ints(SEND, BLOCK + 1);
        }
        across(this, at).expect("correct by itself")
    });
    assert_eq!(class(failures(uneven)), ErrorClass::Count);
    let greedy = positions(1, 2).map(|at| {
        let mut this = call(Kind::Allreduce, at, 0);
        if at.is_low() {
            this.recv = ints(RECV, BLOCK + 1);
        }
        across(this, at).expect("correct by itself")
    });
    assert_eq!(class(failures(greedy)), ErrorClass::Count);
}

#[test]
fn what_intercommunicators_do_not_have_is_refused() {
    let at = Position { low: 1, size: 2, number: 0 };
    let class = |this| across(this, at).err().map(|error| error.class);
    assert_eq!(class(call(Kind::Scan, at, 0)), Some(ErrorClass::Comm));
    assert_eq!(class(call(Kind::Exscan, at, 0)), Some(ErrorClass::Comm));
    let in_place = call(Kind::Allgather, at, 0).send(Side::InPlace);
    assert_eq!(class(in_place), Some(ErrorClass::Buffer));
    assert_eq!(class(Contribution::new(Kind::Barrier)), None);
}
