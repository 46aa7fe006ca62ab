//! Operations over several simulated nodes against the same calls inside one node: same memory,
//! bit for bit, and the same errors.

mod across;
mod calls;
mod simulator;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use self::calls::{Random, operator, random_calls};
use self::simulator::{Memories, simulate};
use super::*;
use crate::collective::contribution::Operator;
use crate::collective::{Side, execute};
use crate::datatype::Predefined;
use crate::error::ErrorClass;
use crate::op::Op;

/// Where each of `members` runs, on at most `nodes` nodes.
fn placement(members: usize, nodes: usize, random: &mut Random) -> Vec<u32> {
    let nodes = nodes.min(members);
    let way = random.below(3);
    let place = |member: usize| match way {
        0 => member * nodes / members,
        1 => member % nodes,
        _ => random.below(nodes),
    };
    let mut places: Vec<u32> = (0..members).map(place).map(|node| 10 + node as u32).collect();
    if places.iter().all(|node| *node == places[0]) {
        places[members - 1] += 1;
    }
    places
}

/// Runs the calls on one node and on these nodes, and compares.
fn compare(calls: &[Contribution], places: &[u32], seed: u64, what: &str) {
    let start = Memories::new(calls.len(), seed);
    let expected = start.copied();
    let errors = alone(calls, &expected);
    let brought = calls.iter().cloned().map(Brought::Call).collect();
    let (concluded, memories) = simulate(places, brought, start, seed);
    let mut failures = Failures::default();
    for one in concluded {
        match one {
            Concluded::Done(failed) => failures.merge(failed),
            Concluded::Inputs(_) => panic!("{what}: inputs of a collective call"),
        }
    }
    // Which of several senders a receiver names depends on who came first.
    let sorted = |failures: &Failures| {
        let mut classes: Vec<_> =
            failures.errors.iter().map(|(member, error)| (*member, error.class)).collect();
        classes.sort_unstable();
        classes
    };
    assert_eq!(sorted(&failures), sorted(&errors), "{what}");
    for member in 0..calls.len() {
        assert!(memories.bytes(member) == expected.bytes(member), "{what}: member {member}");
    }
}

/// The same calls inside one node.
fn alone(calls: &[Contribution], memories: &Memories) -> Failures {
    match calls.first().and_then(|call| call.op) {
        Some(Operator::User { .. }) => calls::fold_alone(calls, memories),
        _ => execute(calls, memories).err().unwrap_or_default(),
    }
}

#[test]
fn any_call_over_any_nodes_gives_the_result_of_one() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let members = 2 + random.below(11);
        let nodes = 2 + random.below(7);
        let places = placement(members, nodes, &mut random);
        let calls = random_calls(members, &mut random);
        let call = &calls[0];
        let what = format!("seed {seed}: {} on {places:?}: {call:?}", call.kind.name());
        compare(&calls, &places, seed, &what);
    }
}

#[test]
fn a_barrier_is_a_message_to_each_of_few_nodes() {
    for nodes in 2..=9_usize {
        let places: Vec<u32> = (0..nodes as u32).collect();
        let brought = vec![Brought::Call(Contribution::new(Kind::Barrier)); nodes];
        let memories = Memories::new(nodes, 1);
        let (concluded, memories) = simulate(&places, brought, memories, 7);
        assert!(concluded.iter().all(|one| *one == Concluded::Done(Failures::default())));
        let rounds = nodes.next_power_of_two().trailing_zeros() as usize;
        let each = if select::is_direct(nodes) { nodes - 1 } else { rounds };
        assert_eq!(memories.messages(), nodes * each);
    }
}

#[test]
fn inputs_of_all_members_come_to_all_nodes() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let members = 2 + random.below(9);
        let places = placement(members, 2 + random.below(6), &mut random);
        let input = |random: &mut Random| {
            let len = random.below(40);
            (0..len).map(|_| random.below(3) as u8).collect::<Vec<_>>().into_boxed_slice()
        };
        let inputs: Vec<_> = (0..members).map(|_| input(&mut random)).collect();
        let mut brought: Vec<_> = inputs
            .iter()
            .map(|input| Brought::Input("MPI_Comm_split", Ok(input.clone())))
            .collect();
        let memories = Memories::new(members, 1);
        let (concluded, _) = simulate(&places, brought.clone(), memories.clone(), seed);
        assert!(concluded.iter().all(|one| *one == Concluded::Inputs(inputs.clone())));

        let bad = random.below(members);
        let error = MpiError::argument(ErrorClass::Arg, "color", "it is negative");
        brought[bad] = Brought::Input("MPI_Comm_split", Err(error));
        let wanted = format!(
            "rank {bad} failed in MPI_Comm_split: MPI_ERR_ARG (argument color): it is negative"
        );
        fails_everywhere(&places, brought, ErrorClass::Arg, &wanted);
    }
}

/// Checks that a call fails at all members with the same error.
fn fails_everywhere(places: &[u32], brought: Vec<Brought>, class: ErrorClass, detail: &str) {
    let members = brought.len();
    let (concluded, _) = simulate(places, brought, Memories::new(members, 3), 5);
    let mut failures = Failures::default();
    for one in concluded {
        let Concluded::Done(failed) = one else { panic!("{detail}: it did not fail") };
        failures.merge(failed);
    }
    assert_eq!(failures.errors.len(), members, "{detail}: everybody learns of it");
    for (_, error) in failures.errors {
        assert_eq!(error.class, class, "{error}");
        assert!(error.detail.contains(detail), "{error} has no {detail}");
    }
}

#[test]
fn other_functions_on_other_nodes_fail_everywhere() {
    let barrier = Brought::Call(Contribution::new(Kind::Barrier));
    let int = |count| Side::buffer(64, count, Predefined::Int);
    let bcast = Brought::Call(Contribution::new(Kind::Bcast).send(int(2)));
    let input = Brought::Input("MPI_Comm_dup", Ok([1, 2].into()));
    let places = [3, 3, 5, 5];
    let class = ErrorClass::NotSame;
    let cases = [
        (&barrier, &bcast, "rank 0 called MPI_Barrier but rank 2 called MPI_Bcast"),
        (&bcast, &barrier, "rank 0 called MPI_Bcast but rank 2 called MPI_Barrier"),
        (&input, &barrier, "rank 0 called MPI_Comm_dup but rank 2 called MPI_Barrier"),
        (&bcast, &input, "rank 0 called MPI_Bcast but rank 2 called MPI_Comm_dup"),
    ];
    for (ours, theirs, detail) in cases {
        let brought = vec![ours.clone(), ours.clone(), theirs.clone(), theirs.clone()];
        fails_everywhere(&places, brought, class, detail);
    }
    let mixed = vec![barrier.clone(), barrier.clone(), barrier, input];
    fails_everywhere(&places, mixed, class, "rank 3 called MPI_Comm_dup");
}

#[test]
fn arguments_that_do_not_fit_together_fail_as_on_one_node() {
    let int = |count| Side::buffer(64, count, Predefined::Int);
    let out = |count| Side::buffer(1024, count, Predefined::Int);
    let reduce = |count| {
        let call = Contribution::new(Kind::Allreduce).send(int(count)).recv(out(count));
        call.op(Operator::Predefined(Op::Sum))
    };
    let bcast = |root| Contribution::new(Kind::Bcast).root(root).send(int(2));
    let far = Side::buffer(1 << 40, 2, Predefined::Int);
    let float = Side::buffer(64, 2, Predefined::Float);
    let cases = [
        (reduce(2), reduce(3)),
        (reduce(200), reduce(300)),
        (reduce(2), reduce(2).op(Operator::Predefined(Op::Max))),
        (reduce(2), reduce(2).send(float)),
        (reduce(2), reduce(2).send(far.clone())),
        (reduce(2), reduce(2).recv(Side::InPlace)),
        (bcast(0), bcast(1)),
        (bcast(9), bcast(9)),
        (bcast(0), bcast(0).send(Side::Absent)),
        (bcast(0), bcast(0).send(far)),
    ];
    for (index, (good, bad)) in cases.iter().enumerate() {
        for places in [[1, 1, 2, 2], [1, 2, 1, 2], [1, 2, 3, 4]] {
            for at in 0..4 {
                let mut calls = vec![good.clone(); 4];
                calls[at] = bad.clone();
                let what = format!("case {index} at {at} on {places:?}");
                let expected = alone(&calls, &Memories::new(4, 1));
                let brought = calls.into_iter().map(Brought::Call).collect();
                let (_, first) = &expected.errors[0];
                let detail: String = match first.class {
                    // The access is described another way.
                    ErrorClass::Buffer => format!("rank {at}"),
                    _ => first.detail.clone(),
                };
                assert_eq!(expected.errors.len(), 4, "{what}");
                fails_everywhere(&places, brought, first.class, &detail);
            }
        }
    }
}

#[test]
fn damaged_messages_are_refused() {
    let operation = |kind| {
        let call = Contribution::new(kind).op(operator(false));
        call.send(Side::buffer(64, 40, Predefined::Int)).recv(Side::buffer(
            2048,
            40,
            Predefined::Int,
        ))
    };
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let kinds = [Kind::Allreduce, Kind::Alltoall, Kind::Allgather, Kind::Bcast, Kind::Scan];
        let call = operation(kinds[random.below(kinds.len())]);
        let brought = vec![Brought::Call(call); 4];
        simulator::simulate_damaged(&[1, 1, 2, 3], brought, Memories::new(4, seed), seed);
    }
}
