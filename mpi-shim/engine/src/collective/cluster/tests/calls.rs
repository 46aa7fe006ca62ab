//! Random calls that fit together, sometimes with counts that do not, and the operator of a program.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::collective::contribution::{
    Contribution, Kind, Operator, Side, TypedBuffer, VectorBuffer,
};
use crate::collective::{Failures, MemberMemory, Members, check};
use crate::datatype::{Datatype, Predefined, pack, unpack};
use crate::op::Op;

/// A small generator: the same numbers for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    /// A number below `end`.
    pub(super) const fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

const SEND: u64 = 4 << 10;
const RECV: u64 = 36 << 10;

/// An operator of the program, neither associative nor commutative.
pub(super) fn combine(accumulator: &mut [u8], operand: &[u8]) {
    for (a, b) in accumulator.iter_mut().zip(operand) {
        *a = a.wrapping_mul(31).wrapping_add(b.rotate_left(3));
    }
}

pub(super) const fn operator(user: bool) -> Operator {
    match user {
        true => Operator::User { handle: 3, commutative: false },
        false => Operator::Predefined(Op::Sum),
    }
}

/// Types with the same number of data bytes: one for senders, one for receivers.
fn types(random: &mut Random) -> (Datatype, Datatype) {
    let int = Datatype::from(Predefined::Int);
    let gaps = Datatype::vector(2, 1, 3, &Predefined::Short.into()).unwrap();
    let twelve = Datatype::indexed(&[1, 2], &[3, 0], &int).unwrap();
    let pair = Datatype::from(Predefined::DoubleInt);
    match random.below(4) {
        0 => (int.clone(), int),
        1 => (int, gaps),
        2 => (Datatype::resized(&gaps, 0, 12).unwrap(), Predefined::Float.into()),
        _ => (pair, twelve),
    }
}

fn count(random: &mut Random) -> i64 {
    match random.below(4) {
        0 => 0,
        1 => 1,
        2 => random.below(7) as i64,
        _ => random.below(30) as i64,
    }
}

/// Calls of one function by so many members.
pub(super) fn random_calls(members: usize, random: &mut Random) -> Vec<Contribution> {
    let kinds = [
        Kind::Bcast,
        Kind::Gather,
        Kind::Gatherv,
        Kind::Scatter,
        Kind::Scatterv,
        Kind::Allgather,
        Kind::Allgatherv,
        Kind::Alltoall,
        Kind::Alltoallv,
        Kind::Alltoallw,
        Kind::Reduce,
        Kind::Allreduce,
        Kind::ReduceScatter,
        Kind::ReduceScatterBlock,
        Kind::Scan,
        Kind::Exscan,
    ];
    let kind = kinds[random.below(kinds.len())];
    let root = random.below(members);
    let mut calls = match kind.is_reduction() {
        true => reduction(kind, root, members, random),
        false => movement(kind, root, members, random),
    };
    // Sometimes one member expects or sends another amount.
    if random.below(5) == 0 && !kind.is_reduction() {
        let at = random.below(members);
        let side = if random.below(2) == 0 { &mut calls[at].send } else { &mut calls[at].recv };
        match side {
            Side::Buffer(buffer) => buffer.count += 1,
            Side::Vector(vector) => vector.counts[at] += 2,
            Side::Typed(typed) => typed.counts[at] += 2,
            _ => {}
        }
    }
    calls
}

fn movement(kind: Kind, root: usize, n: usize, random: &mut Random) -> Vec<Contribution> {
    let (send, recv) = types(random);
    let in_place = random.below(3) == 0;
    let each = count(random);
    let pairs: Vec<Vec<i64>> =
        (0..n).map(|_| (0..n).map(|_| count(random) % 12).collect()).collect();
    let pair = |from: usize, to: usize| match in_place {
        true => pairs[from.min(to)][from.max(to)],
        false => pairs[from][to],
    };
    let vector = |addr, counts: Vec<i64>, datatype: &Datatype| {
        let places = (0..counts.len() as i64).rev().map(|index| index * 37).collect();
        let datatype = datatype.clone();
        Side::Vector(Box::new(VectorBuffer {
            addr,
            counts: counts.into(),
            displacements: places,
            datatype,
        }))
    };
    let typed = |addr, counts: Vec<i64>, datatype: &Datatype| {
        let places = (0..counts.len() as i64).map(|index| index * 40 * datatype.extent());
        Side::Typed(Box::new(TypedBuffer {
            addr,
            displacements: places.collect(),
            datatypes: vec![datatype.clone(); counts.len()].into(),
            counts: counts.into(),
        }))
    };
    let row = |member: usize| (0..n).map(|to| pair(member, to)).collect::<Vec<_>>();
    let column = |member: usize| (0..n).map(|from| pair(from, member)).collect::<Vec<_>>();
    let own = |member: usize| pairs[member][0];
    let firsts: Vec<i64> = (0..n).map(own).collect();
    let call = |member: usize| {
        let is_root = member == root;
        let leaf = |addr, datatype: &Datatype, count| Side::buffer(addr, count, datatype.clone());
        let (sent, received) = (leaf(SEND, &send, each), leaf(RECV, &recv, each));
        let at_root = |side: Side| if is_root { side } else { Side::Absent };
        let or_in_place = |side: Side| if in_place { Side::InPlace } else { side };
        let root_in_place = |side: Side| if is_root { or_in_place(side) } else { side };
        let (sent, received) = match kind {
            Kind::Bcast => {
                let datatype = if is_root { &send } else { &recv };
                (leaf(SEND, datatype, each), Side::Absent)
            }
            Kind::Gather => (root_in_place(sent), at_root(received)),
            Kind::Scatter => (at_root(sent), root_in_place(received)),
            Kind::Gatherv => {
                let all = vector(RECV, firsts.clone(), &recv);
                (root_in_place(leaf(SEND, &send, own(member))), at_root(all))
            }
            Kind::Scatterv => {
                let all = vector(SEND, firsts.clone(), &send);
                (at_root(all), root_in_place(leaf(RECV, &recv, own(member))))
            }
            Kind::Allgather | Kind::Alltoall => (or_in_place(sent), received),
            Kind::Allgatherv => {
                let all = vector(RECV, firsts.clone(), &recv);
                (or_in_place(leaf(SEND, &send, own(member))), all)
            }
            Kind::Alltoallv => {
                (or_in_place(vector(SEND, row(member), &send)), vector(RECV, column(member), &recv))
            }
            _ => (or_in_place(typed(SEND, row(member), &send)), typed(RECV, column(member), &recv)),
        };
        Contribution::new(kind).root(root as u32).send(sent).recv(received)
    };
    (0..n).map(call).collect()
}

fn reduction(kind: Kind, root: usize, n: usize, random: &mut Random) -> Vec<Contribution> {
    let user = random.below(3) == 0;
    let datatype = match (user, random.below(4)) {
        (true, _) => types(random).0,
        (false, 0) => Predefined::Double.into(),
        (false, 1) => Predefined::Int.into(),
        (false, 2) => Predefined::DoubleInt.into(),
        (false, _) => Predefined::Float.into(),
    };
    let predefined = match datatype.predefined() {
        Some(Predefined::DoubleInt) => Op::Minloc,
        Some(Predefined::Int) => [Op::Sum, Op::Bxor, Op::Land, Op::Max][random.below(4)],
        _ => [Op::Sum, Op::Prod, Op::Max][random.below(3)],
    };
    let op = if user { operator(true) } else { Operator::Predefined(predefined) };
    let each = count(random) * [1, 1, 9][random.below(3)];
    let counts: Vec<i64> = (0..n).map(|_| count(random)).collect();
    let in_place = random.below(3) == 0;
    let call = |member: usize| {
        let is_root = member == root;
        let total = match kind {
            Kind::ReduceScatter => counts.iter().sum(),
            _ => each,
        };
        let each = if kind == Kind::ReduceScatterBlock { each.min(20) } else { total };
        let sent = match kind {
            Kind::ReduceScatterBlock => Side::buffer(SEND, each * n as i64, datatype.clone()),
            _ => Side::buffer(SEND, each, datatype.clone()),
        };
        let received = match kind {
            Kind::ReduceScatter => Side::Vector(Box::new(VectorBuffer {
                addr: RECV,
                counts: counts.clone().into(),
                displacements: Box::default(),
                datatype: datatype.clone(),
            })),
            Kind::Reduce if !is_root => Side::Absent,
            _ => Side::buffer(RECV, each, datatype.clone()),
        };
        let here = in_place && (kind != Kind::Reduce || is_root);
        let sent = if here { Side::InPlace } else { sent };
        Contribution::new(kind).root(root as u32).op(op).send(sent).recv(received)
    };
    (0..n).map(call).collect()
}

/// What the calls do inside one node with the operator [`combine`].
pub(super) fn fold_alone<M: Members>(calls: &[Contribution], members: &M) -> Failures {
    check(calls).unwrap();
    let n = calls.len();
    let operand = |member: usize| {
        let input = super::super::head::input(&calls[member], member, n).unwrap();
        let mut bytes = vec![];
        let memory = MemberMemory { members, member };
        pack(&memory, input.addr, input.count, input.datatype, &mut bytes).unwrap();
        bytes
    };
    let inputs: Vec<Vec<u8>> = (0..n).map(operand).collect();
    let upto = |last: usize| {
        let mut accumulator = inputs[0].clone();
        inputs[1..=last].iter().for_each(|input| combine(&mut accumulator, input));
        accumulator
    };
    let put = |member: usize, data: &[u8]| {
        let (addr, datatype) = match &calls[member].recv {
            Side::Buffer(buffer) => (buffer.addr, &buffer.datatype),
            Side::Vector(vector) => (vector.addr, &vector.datatype),
            _ => panic!("a result has no place"),
        };
        let count = data.len() as i64 / datatype.size();
        unpack(&MemberMemory { members, member }, addr, count, datatype, data).unwrap();
    };
    let mut start = 0;
    for member in 0..n {
        match calls[0].kind {
            Kind::Reduce if member != calls[0].root as usize => {}
            Kind::Exscan if member == 0 => {}
            Kind::Exscan => put(member, &upto(member - 1)),
            Kind::Scan => put(member, &upto(member)),
            Kind::Reduce | Kind::Allreduce => put(member, &upto(n - 1)),
            _ => {
                let (count, size) = match &calls[member].recv {
                    Side::Vector(vector) => (vector.counts[member], vector.datatype.size()),
                    Side::Buffer(buffer) => (buffer.count, buffer.datatype.size()),
                    _ => panic!("a result has no place"),
                };
                let len = (count * size) as usize;
                put(member, &upto(n - 1)[start..start + len]);
                start += len;
            }
        }
    }
    Failures::default()
}
