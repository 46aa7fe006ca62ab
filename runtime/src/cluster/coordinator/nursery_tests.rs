//! Conversations with the nursery.

use super::*;
use crate::cluster::offer::Offer;
use crate::cluster::spawn::Wanted;

const JOB: u32 = 4;

/// A call with this name of so many programs.
fn ask(call: u32, programs: u8) -> SpawnAsk {
    let germ = |number| Germ {
        name: format!("p{number}"),
        program: Offer { hash: [number; 32], bytes: 9 },
        args: Vec::new(),
        dirs: Vec::new(),
    };
    let wanted = |number| Wanted { germ: germ(number), processes: 1, hosts: None };
    let programs = (0..programs).map(wanted).collect();
    let (here, contexts, parents) = ("here".to_owned(), [5, 6], vec![0, 2]);
    SpawnAsk { call, here, contexts, parents, programs }
}

/// Every third number, from 100 on for the first part.
fn numbers(part: usize, count: u32) -> Option<Vec<u32>> {
    (count < 10).then(|| (0..count).map(|at| 100 + 3 * at + part as u32).collect())
}

/// The orders by their parts.
fn orders(events: Vec<NurseryEvent>) -> Vec<(usize, SpawnOrder)> {
    let order = |event| match event {
        NurseryEvent::Order { job, part, order } => {
            assert_eq!(job, JOB);
            (part, order)
        }
        NurseryEvent::Born { .. } => panic!("nobody is born: {event:?}"),
    };
    events.into_iter().map(order).collect()
}

/// Begins a call of the third part, which wants a process on the first and one and two on the second.
fn begin(nursery: &mut Nursery, call: u32) -> u32 {
    let counts = vec![vec![1, 1, 0], vec![0, 2, 0]];
    let told = orders(nursery.begin(JOB, (2, ask(call, 2)), counts).expect("there is room"));
    let nests: Vec<_> = told
        .into_iter()
        .map(|(part, order)| match order {
            SpawnOrder::Prepare { birth, nest } => {
                assert_eq!(nest.asker, (2, call));
                let programs = nest.programs.iter();
                let programs: Vec<_> =
                    programs.map(|(app, germ, count)| (*app, &*germ.name, *count)).collect();
                assert_eq!(programs, [(0, "p0", 1), (1, "p1", 2)][..=part]);
                birth
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(nests.len() == 2 && nests[0] == nests[1]);
    nests[0]
}

#[test]
fn all_are_able_and_then_all_run() {
    let mut nursery = Nursery::default();
    let birth = begin(&mut nursery, 7);
    assert!(nursery.is_busy(JOB) && !nursery.is_busy(JOB + 1));
    assert_eq!([0, 1, 2].map(|part| nursery.count(JOB, part)), [1, 3, 0]);
    let mut able = |job, part| nursery.handle_answer(job, (part, birth), Ok(()), numbers);
    assert_eq!(able(JOB, 2), [], "nobody has asked it");
    assert_eq!(able(JOB + 1, 0), [], "it is of another job");
    assert_eq!(able(JOB, 1), []);
    assert_eq!(able(JOB, 1), [], "it has said so");
    let (group, apps) = (vec![100, 101, 104, 107], vec![0, 0, 1, 1]);
    let tribe = Tribe { contexts: [5, 6], parents: vec![0, 2], group: group.clone(), apps };
    let settle = SpawnOrder::Settle { birth, tribe: Box::new(tribe) };
    assert_eq!(orders(able(JOB, 0)), [(0, settle.clone()), (1, settle)]);
    assert_eq!(able(JOB, 0), []);
    let order = |part, order| NurseryEvent::Order { job: JOB, part, order };
    let events = [
        NurseryEvent::Born { job: JOB, group: group.clone() },
        order(0, SpawnOrder::Begin { birth }),
        order(1, SpawnOrder::Begin { birth }),
        order(2, SpawnOrder::Done { call: 7, group }),
    ];
    assert_eq!(able(JOB, 1), events);
    assert_eq!(able(JOB, 1), []);
    assert!(!nursery.is_busy(JOB));
}

#[test]
fn if_one_is_not_able_none_comes() {
    for settled in [false, true] {
        let mut nursery = Nursery::default();
        let birth = begin(&mut nursery, 7);
        let mut told = |part, answer| nursery.handle_answer(JOB, (part, birth), answer, numbers);
        if settled {
            told(0, Ok(()));
            told(1, Ok(()));
        }
        let events = told(1, Err("b: no memory".to_owned()));
        let failed = SpawnOrder::Failed { call: 7, why: "b: no memory".to_owned() };
        let dropped = SpawnOrder::Drop { birth };
        assert_eq!(orders(events), [(0, dropped.clone()), (1, dropped), (2, failed)]);
        assert_eq!(told(0, Ok(())), [], "it is too late");
        assert!(!nursery.is_busy(JOB));
    }
}

#[test]
fn who_is_gone_is_told_nothing_and_hinders_the_others() {
    let mut nursery = Nursery::default();
    let [first, second] = [7, 8].map(|call| begin(&mut nursery, call));
    assert_ne!(first, second);
    assert_eq!(nursery.handle_gone(JOB + 1, 0, "silence"), []);
    let failed = |call| SpawnOrder::Failed { call, why: "silence".to_owned() };
    let dropped = |birth| SpawnOrder::Drop { birth };
    let told = orders(nursery.handle_gone(JOB, 1, "silence"));
    let expected = [(0, dropped(first)), (2, failed(7)), (0, dropped(second)), (2, failed(8))];
    assert_eq!(told, expected);
    let third = begin(&mut nursery, 9);
    let told = orders(nursery.handle_gone(JOB, 2, "silence"));
    assert_eq!(told, [(0, dropped(third)), (1, dropped(third))], "nobody is left to hear of it");
}

#[test]
fn there_are_no_more_than_there_can_be() {
    let mut nursery = Nursery::default();
    let counts = vec![vec![10, 1]];
    nursery.begin(JOB, (0, ask(1, 1)), counts).expect("there is room");
    assert_eq!(nursery.handle_answer(JOB, (0, 1), Ok(()), numbers), []);
    let told = orders(nursery.handle_answer(JOB, (1, 1), Ok(()), numbers));
    let why = "more processes than there can be".to_owned();
    assert_eq!(told.last(), Some(&(0, SpawnOrder::Failed { call: 1, why })));
    for call in 0..CALLS_MAX as u32 {
        begin(&mut nursery, call);
    }
    assert!(nursery.begin(JOB, (0, ask(1, 1)), vec![vec![1]]).is_err());
    nursery.forget(JOB);
    assert!(!nursery.is_busy(JOB));
}
