//! Each operation against a naive sequential oracle: all sizes 1..=17, several roots, counts 0, 1
//! and odd, in place, contiguous and derived types, split and whole.

mod reductions;

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::*;
use crate::datatype::{Datatype, Fault, Predefined, pack};
use crate::error::ErrorClass;
use crate::op::Op;

const SEND: u64 = 1 << 10;
const RECV: u64 = 8 << 10;
const MEMORY: usize = 16 << 10;
const COUNTS: [i64; 4] = [0, 1, 2, 7];

fn reduction(kind: Kind, send: Side, recv: Side) -> Contribution {
    Contribution::new(kind).op(Operator::Predefined(Op::Sum)).send(send).recv(recv)
}

/// Separate memories, as guests have.
struct World(Vec<RefCell<Vec<u8>>>);

impl World {
    fn new(members: usize) -> Self {
        Self::with_memories(members, MEMORY)
    }

    fn with_memories(members: usize, len: usize) -> Self {
        let bytes =
            |member: usize| (0..len).map(move |at| (at * 31 + member * 97 + at / 251) as u8);
        Self((0..members).map(|member| RefCell::new(bytes(member).collect())).collect())
    }

    fn slice(&self, member: usize, addr: u64, len: u64) -> Result<core::ops::Range<usize>, Fault> {
        let end = addr.checked_add(len).filter(|&end| end <= self.0[member].borrow().len() as u64);
        end.map(|end| addr as usize..end as usize).ok_or(Fault { addr, len })
    }

    fn snapshot(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|memory| memory.borrow().clone()).collect()
    }

    /// Packed bytes of elements.
    fn packed(&self, member: usize, addr: u64, count: i64, datatype: &Datatype) -> Vec<u8> {
        let mut out = vec![];
        pack(&MemberMemory { members: self, member }, addr, count, datatype, &mut out).unwrap();
        out
    }

    fn restore(&self, snapshot: &[Vec<u8>]) {
        for (memory, bytes) in self.0.iter().zip(snapshot) {
            memory.borrow_mut().clone_from(bytes);
        }
    }
}

impl Members for World {
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        let range = self.slice(member, addr, out.len() as u64)?;
        out.copy_from_slice(&self.0[member].borrow()[range]);
        Ok(())
    }

    fn write(&self, member: usize, addr: u64, data: &[u8]) -> Result<(), Fault> {
        let range = self.slice(member, addr, data.len() as u64)?;
        self.0[member].borrow_mut()[range].copy_from_slice(data);
        Ok(())
    }

    fn copy(&self, from: (usize, u64), to: (usize, u64), len: u64) -> Result<(), Fault> {
        let source = self.slice(from.0, from.1, len)?;
        let target = self.slice(to.0, to.1, len)?;
        let bytes = self.0[from.0].borrow()[source].to_vec();
        self.0[to.0].borrow_mut()[target].copy_from_slice(&bytes);
        Ok(())
    }
}

/// `double` twice with a gap, `int` three times, and the plain types they move as.
fn types() -> Vec<Datatype> {
    let int = Datatype::from(Predefined::Int);
    let strided = Datatype::vector(2, 1, 2, &Predefined::Short.into()).unwrap();
    let spread = Datatype::indexed(&[1, 2], &[3, 0], &int).unwrap();
    vec![int, Predefined::DoubleInt.into(), strided, Datatype::resized(&spread, -4, 20).unwrap()]
}

/// A receive type with another layout and the same data size as each of [`types`].
fn receive_types() -> Vec<Datatype> {
    let bytes = Datatype::vector(2, 2, 3, &Predefined::Byte.into()).unwrap();
    vec![
        bytes.clone(),
        Datatype::contiguous(3, &Predefined::Int.into()).unwrap(),
        bytes,
        Datatype::hvector(3, 1, 5, &Predefined::Int.into()).unwrap(),
    ]
}

fn roots(n: usize) -> Vec<usize> {
    let mut roots = vec![0, n / 2, n - 1];
    roots.dedup();
    roots
}

/// Where block `index` of a buffer of equal blocks lies.
fn block(base: u64, index: usize, count: i64, datatype: &Datatype) -> u64 {
    base.checked_add_signed(index as i64 * count * datatype.extent()).unwrap()
}

/// Runs a call; whatever it may not touch must be as before: `expected` lists (member, address,
/// count, type, packed bytes) of all that changes.
type Change = (usize, u64, i64, Datatype, Vec<u8>);

fn run_and_compare(world: &World, calls: &[Contribution], expected: Vec<Change>, what: &str) {
    let before = world.snapshot();
    for (member, addr, count, datatype, data) in expected {
        let memory = MemberMemory { members: world, member };
        crate::datatype::unpack(&memory, addr, count, &datatype, &data).unwrap();
    }
    let wanted = world.snapshot();
    world.restore(&before);
    execute(calls, world).unwrap_or_else(|failures| panic!("{what}: {failures:?}"));
    assert!(world.snapshot() == wanted, "{what}");
    world.restore(&before);
}

#[test]
fn barriers_move_nothing() {
    for n in 1..=17 {
        let calls = vec![Contribution::new(Kind::Barrier); n];
        run_and_compare(&World::new(n), &calls, vec![], "barrier");
    }
}

/// Runs `test(members, root, count, send type, receive type)` for all combinations.
fn each_movement(test: impl Fn(usize, usize, i64, &Datatype, &Datatype)) {
    for n in 1..=17 {
        for (send, recv) in types().iter().zip(&receive_types()) {
            for count in COUNTS {
                for root in roots(n) {
                    test(n, root, count, send, recv);
                    test(n, root, count, recv, send);
                    test(n, root, count, send, send);
                }
            }
        }
    }
}

#[test]
fn bcast() {
    each_movement(|n, root, count, send, recv| {
        let world = World::new(n);
        let calls: Vec<_> = (0..n)
            .map(|member| {
                let datatype = if member == root { send } else { recv };
                let side = Side::buffer(SEND, count, datatype.clone());
                Contribution::new(Kind::Bcast).root(root as u32).send(side)
            })
            .collect();
        let data = world.packed(root, SEND, count, send);
        let others = (0..n).filter(|&member| member != root);
        let expected = others.map(|to| (to, SEND, count, recv.clone(), data.clone())).collect();
        run_and_compare(&world, &calls, expected, "bcast");
    });
}

#[test]
fn gather_and_scatter() {
    each_movement(|n, root, count, send, recv| {
        let world = World::new(n);
        for in_place in [false, true] {
            let call = |kind, member: usize, leaf: Side, all: Side, all_recv: bool| {
                let (leaf, all) = match (member == root, in_place) {
                    (true, true) => (Side::InPlace, all),
                    (true, false) => (leaf, all),
                    _ => (leaf, Side::Absent),
                };
                let (send, recv) = if all_recv { (leaf, all) } else { (all, leaf) };
                Contribution::new(kind).root(root as u32).send(send).recv(recv)
            };
            let gather: Vec<_> = (0..n)
                .map(|member| {
                    let leaf = Side::buffer(SEND, count, send.clone());
                    let all = Side::buffer(RECV, count, recv.clone());
                    call(Kind::Gather, member, leaf, all, true)
                })
                .collect();
            let moved = || (0..n).filter(|&member| !(in_place && member == root));
            let expected = moved()
                .map(|from| {
                    let data = world.packed(from, SEND, count, send);
                    (root, block(RECV, from, count, recv), count, recv.clone(), data)
                })
                .collect();
            run_and_compare(&world, &gather, expected, "gather");

            let scatter: Vec<_> = (0..n)
                .map(|member| {
                    let leaf = Side::buffer(RECV, count, recv.clone());
                    let all = Side::buffer(SEND, count, send.clone());
                    call(Kind::Scatter, member, leaf, all, false)
                })
                .collect();
            let expected = moved()
                .map(|to| {
                    let data = world.packed(root, block(SEND, to, count, send), count, send);
                    (to, RECV, count, recv.clone(), data)
                })
                .collect();
            run_and_compare(&world, &scatter, expected, "scatter");
        }
    });
}

#[test]
fn allgather_and_alltoall() {
    each_movement(|n, root, count, send, recv| {
        if root != 0 {
            return;
        }
        let world = World::new(n);
        let call = |kind, send: Side| {
            let recv = Side::buffer(RECV, count, recv.clone());
            vec![Contribution::new(kind).send(send).recv(recv); n]
        };
        let pairs = || (0..n).flat_map(|to| (0..n).map(move |from| (from, to)));
        let at = |from| block(RECV, from, count, recv);

        let buffer = Side::buffer(SEND, count, send.clone());
        let expected = pairs().map(|(from, to)| {
            (to, at(from), count, recv.clone(), world.packed(from, SEND, count, send))
        });
        let calls = call(Kind::Allgather, buffer.clone());
        run_and_compare(&world, &calls, expected.collect(), "allgather");

        let expected = pairs().map(|(from, to)| {
            (to, at(from), count, recv.clone(), world.packed(from, at(from), count, recv))
        });
        let calls = call(Kind::Allgather, Side::InPlace);
        run_and_compare(&world, &calls, expected.collect(), "allgather in place");

        let expected = pairs().map(|(from, to)| {
            let data = world.packed(from, block(SEND, to, count, send), count, send);
            (to, at(from), count, recv.clone(), data)
        });
        let calls = call(Kind::Alltoall, buffer);
        run_and_compare(&world, &calls, expected.collect(), "alltoall");

        let expected = pairs().map(|(from, to)| {
            (to, at(from), count, recv.clone(), world.packed(from, at(to), count, recv))
        });
        let calls = call(Kind::Alltoall, Side::InPlace);
        run_and_compare(&world, &calls, expected.collect(), "alltoall in place");
    });
}

/// Blocks that are too many bytes for one buffer, in several parts.
#[test]
fn alltoall_of_large_equal_blocks() {
    const BLOCK: usize = 120 << 10;
    let n = 3;
    let world = World::with_memories(n, 2 * n * BLOCK);
    let (send, recv) = (0, (n * BLOCK) as u64);
    let byte = Datatype::from(Predefined::Byte);
    let call = |recv| {
        let side = |addr| Side::buffer(addr, BLOCK as i64, byte.clone());
        Contribution::new(Kind::Alltoall).send(side(send)).recv(side(recv))
    };
    let pairs = (0..n).flat_map(|to| (0..n).map(move |from| (from, to)));
    let count = BLOCK as i64;
    let expected = pairs.map(|(from, to)| {
        let data = world.packed(from, block(send, to, count, &byte), count, &byte);
        (to, block(recv, from, count, &byte), count, byte.clone(), data)
    });
    let calls = vec![call(recv); n];
    assert!(Plan::new(&calls).unwrap().parts() > 1);
    run_and_compare(&world, &calls, expected.collect(), "alltoall of large blocks");

    let calls = [call(recv), call(recv + 1), call(recv)];
    let failures = execute(&calls, &world).expect_err("the second buffer ends beyond its memory");
    assert!(
        failures.errors.iter().any(|(_, error)| error.class == ErrorClass::Buffer),
        "{failures:?}"
    );
}

/// Elements that `from` sends to `to` in the calls with varying counts.
fn varying(from: usize, to: usize) -> i64 {
    ((from * 5 + to * 3) % 4) as i64
}

/// Blocks with a gap after each, in descending order: (counts, displacements in elements).
fn layout(counts: Vec<i64>) -> (Vec<i64>, Vec<i64>) {
    let last = counts.len() as i64 - 1;
    let places = (0..counts.len() as i64).map(|index| (last - index) * 5).collect();
    (counts, places)
}

fn vector(addr: u64, counts: Vec<i64>, datatype: &Datatype) -> Side {
    let (counts, displacements) = layout(counts);
    Side::Vector(alloc::boxed::Box::new(VectorBuffer {
        addr,
        counts: counts.into(),
        displacements: displacements.into(),
        datatype: datatype.clone(),
    }))
}

fn typed(addr: u64, counts: Vec<i64>, datatype: &Datatype) -> Side {
    let (counts, mut displacements) = layout(counts);
    displacements.iter_mut().for_each(|at| *at *= datatype.extent());
    Side::Typed(alloc::boxed::Box::new(TypedBuffer {
        addr,
        datatypes: vec![datatype.clone(); counts.len()].into(),
        counts: counts.into(),
        displacements: displacements.into(),
    }))
}

fn place(base: u64, index: usize, n: usize, datatype: &Datatype) -> u64 {
    base + (n - 1 - index) as u64 * 5 * datatype.extent() as u64
}

#[test]
fn rooted_operations_with_varying_counts() {
    let (send, recv) = (Datatype::from(Predefined::Int), &receive_types()[0]);
    for n in 1..=17 {
        for root in roots(n) {
            let world = World::new(n);
            let counts: Vec<i64> = (0..n).map(|member| varying(member, 0)).collect();
            let call =
                |kind, send, recv| Contribution::new(kind).root(root as u32).send(send).recv(recv);
            let gather: Vec<_> = (0..n)
                .map(|member| {
                    let leaf = Side::buffer(SEND, counts[member], send.clone());
                    let all = vector(RECV, counts.clone(), recv);
                    call(Kind::Gatherv, leaf, if member == root { all } else { Side::Absent })
                })
                .collect();
            let expected = (0..n).map(|from| {
                let data = world.packed(from, SEND, counts[from], &send);
                (root, place(RECV, from, n, recv), counts[from], recv.clone(), data)
            });
            run_and_compare(&world, &gather, expected.collect(), "gatherv");

            let scatter: Vec<_> = (0..n)
                .map(|member| {
                    let leaf = Side::buffer(RECV, counts[member], recv.clone());
                    let all = vector(SEND, counts.clone(), &send);
                    call(Kind::Scatterv, if member == root { all } else { Side::Absent }, leaf)
                })
                .collect();
            let expected = (0..n).map(|to| {
                let data = world.packed(root, place(SEND, to, n, &send), counts[to], &send);
                (to, RECV, counts[to], recv.clone(), data)
            });
            run_and_compare(&world, &scatter, expected.collect(), "scatterv");
        }
    }
}

#[test]
fn all_operations_with_varying_counts() {
    let (send, recv) = (Datatype::from(Predefined::Int), &receive_types()[0]);
    for n in 1..=17 {
        let world = World::new(n);
        let pairs = || (0..n).flat_map(|to| (0..n).map(move |from| (from, to)));
        let own: Vec<i64> = (0..n).map(|member| varying(member, 0)).collect();
        let calls: Vec<_> = (0..n)
            .map(|member| {
                Contribution::new(Kind::Allgatherv)
                    .send(Side::buffer(SEND, own[member], send.clone()))
                    .recv(vector(RECV, own.clone(), recv))
            })
            .collect();
        let expected = pairs().map(|(from, to)| {
            let data = world.packed(from, SEND, own[from], &send);
            (to, place(RECV, from, n, recv), own[from], recv.clone(), data)
        });
        run_and_compare(&world, &calls, expected.collect(), "allgatherv");

        type Make = fn(u64, Vec<i64>, &Datatype) -> Side;
        let kinds: [(Kind, Make); 2] = [(Kind::Alltoallv, vector), (Kind::Alltoallw, typed)];
        for (kind, make) in kinds {
            let calls: Vec<_> = (0..n)
                .map(|member| {
                    let sent = (0..n).map(|to| varying(member, to)).collect();
                    let received = (0..n).map(|from| varying(from, member)).collect();
                    Contribution::new(kind)
                        .send(make(SEND, sent, &send))
                        .recv(make(RECV, received, recv))
                })
                .collect();
            let expected = pairs().map(|(from, to)| {
                let count = varying(from, to);
                let data = world.packed(from, place(SEND, to, n, &send), count, &send);
                (to, place(RECV, from, n, recv), count, recv.clone(), data)
            });
            run_and_compare(&world, &calls, expected.collect(), kind.name());

            // In place the counts of a pair are equal.
            let count = |a: usize, b: usize| varying(a.min(b), a.max(b));
            let calls: Vec<_> = (0..n)
                .map(|member| {
                    let counts = (0..n).map(|peer| count(member, peer)).collect();
                    Contribution::new(kind).send(Side::InPlace).recv(make(RECV, counts, recv))
                })
                .collect();
            let expected = pairs().map(|(from, to)| {
                let data = world.packed(from, place(RECV, to, n, recv), count(from, to), recv);
                (to, place(RECV, from, n, recv), count(from, to), recv.clone(), data)
            });
            run_and_compare(&world, &calls, expected.collect(), kind.name());
        }
    }
}

fn failure(calls: &[Contribution]) -> crate::error::MpiError {
    let world = World::new(calls.len());
    let before = world.snapshot();
    let failures = execute(calls, &world).unwrap_err();
    assert_eq!(failures.errors.len(), calls.len(), "everybody learns of it");
    assert!(world.snapshot() == before, "nothing was written");
    failures.errors[0].1.clone()
}

#[test]
fn mismatches_name_both_ranks() {
    let int = |count| Side::buffer(SEND, count, Predefined::Int);
    let out = |count| Side::buffer(RECV, count, Predefined::Int);
    let good = reduction(Kind::Allreduce, int(2), out(2));
    let cases = [
        (Contribution::new(Kind::Barrier), ErrorClass::NotSame),
        (good.clone().op(Operator::Predefined(Op::Max)), ErrorClass::Op),
        (reduction(Kind::Allreduce, int(3), out(3)), ErrorClass::Count),
        (
            reduction(Kind::Allreduce, Side::buffer(SEND, 2, Predefined::Float), out(2)),
            ErrorClass::Type,
        ),
    ];
    for (bad, class) in cases {
        let error = failure(&[good.clone(), good.clone(), bad]);
        assert_eq!(error.class, class, "{error}");
        assert!(error.detail.contains("rank 0") && error.detail.contains("rank 2"), "{error}");
    }
    let bcast = |root| Contribution::new(Kind::Bcast).root(root).send(int(1));
    let error = failure(&[bcast(0), bcast(1)]);
    assert_eq!((error.class, error.argument), (ErrorClass::Root, Some("root")));
    assert_eq!(failure(&[bcast(2), bcast(2)]).class, ErrorClass::Root);
    let nowhere = Contribution::new(Kind::Bcast).root(0);
    assert_eq!(failure(&[bcast(0), nowhere]).class, ErrorClass::Buffer);
    let in_place = reduction(Kind::Reduce, Side::InPlace, out(1)).root(0);
    assert_eq!(failure(&[in_place.clone(), in_place]).class, ErrorClass::Buffer);
    let derived = Datatype::contiguous(2, &Predefined::Int.into()).unwrap();
    let sum = reduction(Kind::Allreduce, Side::buffer(SEND, 1, derived), out(1));
    assert_eq!(failure(&[sum.clone(), sum]).class, ErrorClass::Op);
    let exchange = |send| Contribution::new(Kind::Alltoall).send(send).recv(out(1));
    let error = failure(&[exchange(int(1)), exchange(Side::InPlace)]);
    assert_eq!(error.class, ErrorClass::NotSame);
    let short = Contribution::new(Kind::Alltoallv)
        .send(vector(SEND, vec![1], &Predefined::Int.into()))
        .recv(vector(RECV, vec![1, 1], &Predefined::Int.into()));
    assert_eq!(failure(&[short.clone(), short]).class, ErrorClass::Arg);
}

#[test]
fn truncation_fails_only_the_receiver() {
    let world = World::new(3);
    let calls: Vec<_> = [3, 2, 4]
        .map(|count| {
            Contribution::new(Kind::Bcast).send(Side::buffer(SEND, count, Predefined::Int))
        })
        .into();
    let beyond = world.packed(1, SEND + 8, 4, &Predefined::Byte.into());
    let failures = execute(&calls, &world).unwrap_err();
    let classes: Vec<_> = failures.errors.iter().map(|(at, error)| (*at, error.class)).collect();
    assert_eq!(classes, [(1, ErrorClass::Truncate), (2, ErrorClass::Count)]);
    assert!(failures.at(1).unwrap().detail.contains("rank 0 sent 12 bytes where rank 1 expects 8"));
    assert!(failures.at(0).is_none());
    let int = Predefined::Int.into();
    assert_eq!(world.packed(1, SEND, 2, &int), world.packed(0, SEND, 2, &int), "what fits");
    assert_eq!(world.packed(1, SEND + 8, 4, &Predefined::Byte.into()), beyond);
}

#[test]
fn invalid_buffers_are_blamed_on_their_rank() {
    let outside = MEMORY as u64 - 2;
    for kind in [Kind::Allreduce, Kind::Allgather, Kind::Alltoall, Kind::Scan] {
        for bad_send in [false, true] {
            let addr = |bad: bool, good: u64| if bad { outside } else { good };
            let calls: Vec<_> = (0..3)
                .map(|member| {
                    let bad = member == 1;
                    let send = Side::buffer(addr(bad && bad_send, SEND), 1, Predefined::Int);
                    let recv = Side::buffer(addr(bad && !bad_send, RECV), 1, Predefined::Int);
                    reduction(kind, send, recv)
                })
                .collect();
            let failures = execute(&calls, &World::new(3)).unwrap_err();
            assert_eq!(failures.errors.len(), 3);
            let error = failures.at(2).unwrap();
            assert_eq!(error.class, ErrorClass::Buffer);
            assert!(error.detail.contains("rank 1"), "{} {error}", kind.name());
        }
    }
}
