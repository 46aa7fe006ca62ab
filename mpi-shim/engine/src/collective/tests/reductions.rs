//! Reductions, whose results depend on the order in which they are computed, and the schedules of their parts.

use super::*;

/// Sum of doubles in rank order over the members `0..=last`, from packed inputs.
fn sum(inputs: &[Vec<u8>]) -> Vec<u8> {
    let numbers = |bytes: &[u8]| -> Vec<f64> {
        bytes.chunks(8).map(|number| f64::from_le_bytes(number.try_into().unwrap())).collect()
    };
    let mut total = numbers(&inputs[0]);
    for input in &inputs[1..] {
        total.iter_mut().zip(numbers(input)).for_each(|(total, number)| *total += number);
    }
    total.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Fills the buffers with numbers whose sum depends on the order.
fn numbered(n: usize, count: usize) -> World {
    let world = World::new(n);
    for member in 0..n {
        for base in [SEND, RECV] {
            for index in 0..count {
                let number = 1.0 / (member * 37 + index * 11 + base as usize + 3) as f64;
                let number = if (member + index) % 5 == 0 { number * 1e15 } else { number };
                world.write(member, base + 8 * index as u64, &number.to_le_bytes()).unwrap();
            }
        }
    }
    world
}

#[test]
fn reductions_to_one_and_to_all() {
    let double = Datatype::from(Predefined::Double);
    for n in 1..=17 {
        for count in [0_i64, 1, 3, 9, 200] {
            let world = numbered(n, count as usize);
            let inputs = |base| -> Vec<Vec<u8>> {
                (0..n).map(|member| world.packed(member, base, count, &double)).collect()
            };
            let buffer = |base| Side::buffer(base, count, Predefined::Double);
            let change = |to, data: &Vec<u8>| (to, RECV, count, double.clone(), data.clone());

            let total = sum(&inputs(SEND));
            let calls = vec![reduction(Kind::Allreduce, buffer(SEND), buffer(RECV)); n];
            let expected = (0..n).map(|to| change(to, &total)).collect();
            run_and_compare(&world, &calls, expected, "allreduce");

            let total = sum(&inputs(RECV));
            let calls = vec![reduction(Kind::Allreduce, Side::InPlace, buffer(RECV)); n];
            let expected = (0..n).map(|to| change(to, &total)).collect();
            run_and_compare(&world, &calls, expected, "allreduce in place");

            for root in roots(n) {
                for in_place in [false, true] {
                    let calls: Vec<_> = (0..n)
                        .map(|member| {
                            let (send, recv) = match (member == root, in_place) {
                                (true, true) => (Side::InPlace, buffer(RECV)),
                                (true, false) => (buffer(SEND), buffer(RECV)),
                                _ => (buffer(SEND), Side::Absent),
                            };
                            reduction(Kind::Reduce, send, recv).root(root as u32)
                        })
                        .collect();
                    let mut inputs = inputs(SEND);
                    if in_place {
                        inputs[root] = world.packed(root, RECV, count, &double);
                    }
                    let expected = vec![change(root, &sum(&inputs))];
                    run_and_compare(&world, &calls, expected, "reduce");
                }
            }
        }
    }
}

#[test]
fn scans() {
    let double = Datatype::from(Predefined::Double);
    for n in 1..=17 {
        for count in [0_i64, 1, 3, 9] {
            let world = numbered(n, count as usize);
            for in_place in [false, true] {
                let base = if in_place { RECV } else { SEND };
                let inputs: Vec<Vec<u8>> =
                    (0..n).map(|member| world.packed(member, base, count, &double)).collect();
                let buffer = |base| Side::buffer(base, count, Predefined::Double);
                let send = if in_place { Side::InPlace } else { buffer(SEND) };
                let change =
                    |to, inputs: &[Vec<u8>]| (to, RECV, count, double.clone(), sum(inputs));
                let calls = vec![reduction(Kind::Scan, send.clone(), buffer(RECV)); n];
                let expected = (0..n).map(|to| change(to, &inputs[..=to])).collect();
                run_and_compare(&world, &calls, expected, "scan");
                let calls = vec![reduction(Kind::Exscan, send, buffer(RECV)); n];
                let expected = (1..n).map(|to| change(to, &inputs[..to])).collect();
                run_and_compare(&world, &calls, expected, "exscan");
            }
        }
    }
}

#[test]
fn reduce_scatters() {
    let double = Datatype::from(Predefined::Double);
    for n in 1..=17 {
        for equal in [false, true] {
            let counts: Vec<i64> =
                (0..n).map(|member| if equal { 3 } else { varying(member, 1) }).collect();
            let total: i64 = counts.iter().sum();
            let world = numbered(n, total as usize);
            for in_place in [false, true] {
                let base = if in_place { RECV } else { SEND };
                let inputs: Vec<Vec<u8>> =
                    (0..n).map(|member| world.packed(member, base, total, &double)).collect();
                let result = sum(&inputs);
                let send = match in_place {
                    true => Side::InPlace,
                    false => Side::buffer(SEND, if equal { 3 } else { total }, Predefined::Double),
                };
                let call = match equal {
                    true => {
                        let recv = Side::buffer(RECV, 3, Predefined::Double);
                        reduction(Kind::ReduceScatterBlock, send, recv)
                    }
                    false => {
                        let recv = Side::Vector(alloc::boxed::Box::new(VectorBuffer {
                            addr: RECV,
                            counts: counts.clone().into(),
                            displacements: [].into(),
                            datatype: double.clone(),
                        }));
                        reduction(Kind::ReduceScatter, send, recv)
                    }
                };
                let mut start = 0;
                let expected = (0..n).map(|to| {
                    let len = counts[to] as usize * 8;
                    start += len;
                    let share = result[start - len..start].to_vec();
                    (to, RECV, counts[to], double.clone(), share)
                });
                let expected = expected.collect();
                run_and_compare(&world, &vec![call; n], expected, "reduce_scatter");
            }
        }
    }
}

/// Runs a schedule with a scratch area in member 0's memory and an operator that is associative
/// but not commutative: `a op b` is `a` unless it is 0.
fn run_schedule(world: &World, calls: &[Contribution]) {
    let schedule = Schedule::new(calls).unwrap();
    let bytes = schedule.scratch_bytes();
    let mut scratch = [schedule.scratch(0, 12_000), schedule.scratch(0, 12_000 + bytes)];
    let mut index = 0;
    while let Some(step) = schedule.step(index) {
        index += 1;
        match step {
            Step::Load { from, into: Scratch::Accumulator } => {
                typed_copy(world, from, scratch[0]).unwrap();
            }
            Step::Load { from, into: Scratch::Input } => {
                typed_copy(world, from, scratch[1]).unwrap();
            }
            Step::Fold => {
                let count = schedule.count();
                let left = world.packed(0, scratch[0].addr, count, schedule.datatype());
                let mut right = world.packed(0, scratch[1].addr, count, schedule.datatype());
                right.iter_mut().zip(left).for_each(|(b, a)| *b = if a == 0 { *b } else { a });
                let memory = MemberMemory { members: world, member: 0 };
                let datatype = schedule.datatype();
                crate::datatype::unpack(&memory, scratch[1].addr, count, datatype, &right).unwrap();
                scratch.swap(0, 1);
            }
            Step::Deliver { first, to } => {
                typed_copy(world, schedule.part(scratch[0], first, to.count), to).unwrap();
            }
        }
    }
}

#[test]
fn schedules_fold_in_rank_order() {
    let datatype = Datatype::resized(&types()[2], -2, 10).unwrap();
    let user = Operator::User { handle: 1, commutative: false };
    let fold = |inputs: &[Vec<u8>]| -> Vec<u8> {
        let first = |at: usize| inputs.iter().map(|input| input[at]).find(|&byte| byte != 0);
        (0..inputs[0].len()).map(|at| first(at).unwrap_or(0)).collect()
    };
    for n in 1..=7_usize {
        let world = World::new(n);
        for memory in &world.0 {
            memory
                .borrow_mut()
                .iter_mut()
                .for_each(|byte| *byte = if *byte < 128 { 0 } else { *byte });
        }
        let count = n as i64;
        let inputs: Vec<_> =
            (0..n).map(|member| world.packed(member, SEND, count, &datatype)).collect();
        let kinds =
            [Kind::Reduce, Kind::Allreduce, Kind::Scan, Kind::Exscan, Kind::ReduceScatterBlock];
        for kind in kinds {
            let shared = kind == Kind::ReduceScatterBlock;
            let each = if shared { 1 } else { count };
            let call = reduction(
                kind,
                Side::buffer(SEND, each, datatype.clone()),
                Side::buffer(RECV, each, datatype.clone()),
            )
            .root(n as u32 - 1)
            .op(user);
            let before = world.snapshot();
            run_schedule(&world, &vec![call; n]);
            for member in 0..n {
                let expected = match kind {
                    Kind::Reduce if member + 1 < n => continue,
                    Kind::Exscan if member == 0 => continue,
                    Kind::Scan => fold(&inputs[..=member]),
                    Kind::Exscan => fold(&inputs[..member]),
                    Kind::ReduceScatterBlock => {
                        let size = datatype.size() as usize;
                        fold(&inputs)[member * size..(member + 1) * size].to_vec()
                    }
                    _ => fold(&inputs),
                };
                let ours = world.packed(member, RECV, each, &datatype);
                assert_eq!(ours, expected, "{} at {member} of {n}", kind.name());
            }
            world.restore(&before);
        }
    }
}

/// Several megabytes, cut into parts that run in another order.
#[test]
fn parts_may_run_in_any_order() {
    const COUNT: i64 = 300_001;
    let world = |n: usize| {
        let world = World(vec![]);
        let bytes = COUNT as usize * 8 * 2 + MEMORY;
        let memories = (0..n).map(|member| {
            let numbers = (0..bytes / 8).map(move |at| 1.0 / (at * 7 + member + 1) as f64);
            RefCell::new(numbers.flat_map(f64::to_le_bytes).collect())
        });
        World(world.0.into_iter().chain(memories).collect())
    };
    let far = 8 * COUNT as u64;
    for kind in [Kind::Allreduce, Kind::Reduce, Kind::Scan, Kind::Exscan, Kind::Bcast] {
        let (send, recv) = (
            Side::buffer(0, COUNT, Predefined::Double),
            Side::buffer(far, COUNT, Predefined::Double),
        );
        let calls = vec![reduction(kind, send, recv).root(1); 3];
        let plan = Plan::new(&calls).unwrap();
        assert!(plan.parts() > 2, "{} is large", kind.name());
        let (forwards, backwards) = (world(3), world(3));
        plan.run(&forwards).unwrap();
        for part in (0..plan.parts()).rev() {
            plan.run_part(part, &backwards).unwrap();
        }
        assert!(forwards.snapshot() == backwards.snapshot(), "{}", kind.name());
    }
    let in_place = Side::buffer(0, COUNT / 3, Predefined::Double);
    let calls = vec![reduction(Kind::ReduceScatterBlock, Side::InPlace, in_place); 3];
    assert_eq!(Plan::new(&calls).unwrap().parts(), 1, "in place the order matters");
}
