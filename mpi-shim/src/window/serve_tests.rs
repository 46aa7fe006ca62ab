//! A window of three members, of whom the first two are on this node.

use faasm_mpi_engine::datatype::Predefined;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::rma::LockKind;

use super::super::Part;
use super::*;
use crate::world::told;

fn shared(is_dynamic: bool) -> Shared {
    let part = Part { base: 64, size: 32, unit: 1 };
    Shared::new(Group::world(3), &[part; 3], is_dynamic)
}

fn ask(shared: &Shared, memory: &GuestMemory, asked: Asked<'_>) -> Option<Vec<Effect>> {
    let bytes = asked.into_bytes();
    shared.serve(Question { from: 2, name: 5, bytes: &bytes }, &|rank| (rank < 2).then_some(memory))
}

/// The class of the error, or the data, of the one answer.
fn answered(effects: Option<Vec<Effect>>) -> std::result::Result<Vec<u8>, ErrorClass> {
    let effects = effects.expect("no rule was broken");
    let [Effect::Answer { rank: 2, name: 5, data }] = effects.as_slice() else {
        panic!("one answer for rank 2: {effects:?}");
    };
    let said = told(data).expect("well formed");
    said.map(<[u8]>::to_vec).map_err(|error| error.class)
}

const fn access(op: Op, runs: Vec<(u64, u64)>, data: &[u8]) -> Access<'_> {
    Access { target: 1, op, basic: Some(Predefined::Int32), reads: true, runs, data }
}

#[test]
fn data_is_written_combined_and_read() {
    let (shared, memory) = (shared(false), GuestMemory::for_test(128));
    let put = access(Op::Replace, vec![(64, 4), (72, 4)], &[1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(answered(ask(&shared, &memory, Asked::Access(put))), Ok(vec![0; 8]));
    let add = access(Op::Sum, vec![(64, 12)], &[10, 0, 0, 0]);
    let before = vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(answered(ask(&shared, &memory, Asked::Access(add))), Ok(before));
    let get = access(Op::NoOp, vec![(64, 1), (72, 1)], &[]);
    assert_eq!(answered(ask(&shared, &memory, Asked::Access(get))), Ok(vec![11, 2]));
    let swap = |expected| Asked::Swap { target: 0, addr: 64, expected, new: &[7] };
    assert_eq!(answered(ask(&shared, &memory, swap(&[12]))), Ok(vec![11]));
    assert_eq!(answered(ask(&shared, &memory, swap(&[11]))), Ok(vec![11]));
    assert_eq!(memory.read_u8(GuestAddr::new(64)), Ok(7));
}

#[test]
fn only_memory_of_the_window_is_reached() {
    let (shared_, memory) = (shared(false), GuestMemory::for_test(128));
    for run in [(63, 1), (64, 33), (96, 1), (u64::MAX, 2)] {
        let get = Asked::Access(access(Op::NoOp, vec![run], &[]));
        assert_eq!(answered(ask(&shared_, &memory, get)), Err(ErrorClass::RmaRange), "{run:?}");
    }
    let dynamic = shared(true);
    let get = || Asked::Access(access(Op::NoOp, vec![(10, 4)], &[]));
    assert_eq!(answered(ask(&dynamic, &memory, get())), Err(ErrorClass::RmaRange));
    dynamic.member(1).regions().insert(8, 8);
    assert_eq!(answered(ask(&dynamic, &memory, get())), Ok(vec![0; 4]));
    let far = Access { target: 2, ..access(Op::NoOp, vec![(64, 1)], &[]) };
    assert_eq!(answered(ask(&shared_, &memory, Asked::Access(far))), Err(ErrorClass::Rank));
    let none = Access { target: 3, ..access(Op::NoOp, vec![(64, 1)], &[]) };
    assert_eq!(ask(&shared_, &memory, Asked::Access(none)), None);
    let huge = access(Op::NoOp, vec![(64, BYTES_MAX + 1)], &[]);
    assert_eq!(ask(&shared_, &memory, Asked::Access(huge)), None);
}

#[test]
fn locks_are_answered_when_they_are_had_and_only_holders_give_them_up() {
    let (shared, memory) = (shared(false), GuestMemory::for_test(128));
    let by = |rank: u32, asked: Asked<'_>| {
        let bytes = asked.into_bytes();
        shared.serve(Question { from: rank, name: rank + 10, bytes: &bytes }, &|_| Some(&memory))
    };
    let one = Wanted::One(0, LockKind::Exclusive);
    let answer_to =
        |rank: u32| Effect::Answer { rank, name: rank + 10, data: answer(Ok(Vec::new())) };
    assert_eq!(by(1, Asked::Lock(1, one)), Some(vec![answer_to(1)]));
    assert_eq!(by(2, Asked::Lock(2, one)), Some(vec![]));
    assert_eq!(by(2, Asked::Lock(2, one)), None, "it waits already");
    assert_eq!(by(2, Asked::Unlock(2, one)), None, "it has nothing");
    assert_eq!(by(2, Asked::Unlock(1, one)), None, "in the name of another");
    assert_eq!(by(0, Asked::Lock(0, Wanted::One(3, LockKind::Shared))), None, "no such target");
    assert_eq!(by(1, Asked::Unlock(1, one)), Some(vec![answer_to(2), answer_to(1)]));
    assert_eq!(by(2, Asked::Unlock(2, one)), Some(vec![answer_to(2)]));
}

#[test]
fn posts_and_completions_wake_the_rank_that_they_are_for() {
    let (shared, memory) = (shared(false), GuestMemory::for_test(128));
    let effects = ask(&shared, &memory, Asked::Post(2, 1)).expect("good");
    assert_eq!(effects[0], Effect::Wake(1));
    assert_eq!(shared.member(1).posts().get(&2), Some(&1));
    assert!(ask(&shared, &memory, Asked::Complete(2, 0)).is_some());
    assert_eq!(shared.member(0).completions().get(&2), Some(&1));
    assert_eq!(ask(&shared, &memory, Asked::Post(1, 0)), None, "in the name of another");
}
