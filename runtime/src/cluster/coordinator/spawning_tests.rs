//! Conversations about processes that are spawned.

use super::super::core::tests::{A, B, Conversation, DONE, submission};
use super::super::core::{Command, Submission};
use super::*;
use crate::cluster::message::{Exit, ToCoordinator};
use crate::cluster::offer::{Newborn, Offer};
use crate::cluster::spawn::{Germ, Nest, Tribe};
use crate::job::Outcome;

const CALL: u32 = 3;

/// Brings a job to run that may spawn processes on both nodes.
fn run(talk: &mut Conversation, blocks: &[(NodeId, u32)], slots: &[(NodeId, u32)]) -> u32 {
    let (spawns, slots, is_tolerant) = (true, slots.to_vec(), talk.is_tolerant);
    let submission = Submission { spawns, slots, is_tolerant, spares: 9, ..submission(blocks) };
    let job = talk.core.submit(submission).expect("both nodes are there");
    for node in [A, B] {
        talk.tell(node, ToCoordinator::Ready { job });
    }
    let told: Vec<Command> = std::iter::from_fn(|| talk.core.poll()).collect();
    let prepared = told.iter().filter(|command| match command {
        Command::Send { message: ToNode::Prepare(prepare), .. } => prepare.spawns,
        _ => false,
    });
    assert_eq!(prepared.count(), 2, "{told:?}");
    job
}

fn germ() -> Germ {
    let (args, dirs) = Default::default();
    Germ { name: "w.wasm".to_owned(), program: Offer { hash: [4; 32], bytes: 50 }, args, dirs }
}

fn ask(processes: u32, host: Option<&str>) -> SpawnAsk {
    let hosts = host.map(|host| vec![(host.to_owned(), None)]);
    let programs = vec![Wanted { germ: germ(), processes, hosts }];
    let (here, contexts, parents) = ("machine".to_owned(), [7, 9], vec![0]);
    SpawnAsk { call: CALL, here, contexts, parents, programs }
}

fn tell(talk: &mut Conversation, from: NodeId, job: u32, news: SpawnNews) {
    talk.tell(from, ToCoordinator::Spawn { job, news });
}

fn order(talk: &mut Conversation, to: NodeId, job: u32, order: SpawnOrder) {
    talk.sent(to, ToNode::Spawn { job, order });
}

/// A rank of the first node asks for processes, of which so many come to each node. Gives their name.
fn begin(talk: &mut Conversation, job: u32, asked: SpawnAsk, counts: &[(NodeId, u32)]) -> u32 {
    tell(talk, A, job, SpawnNews::Ask(Box::new(asked)));
    let mut names = Vec::new();
    for (node, count) in counts {
        let Command::Send { to, message: ToNode::Spawn { order, .. } } = talk.next() else {
            panic!("it is told to get ready")
        };
        let SpawnOrder::Prepare { birth, nest } = order else { panic!("{order:?}") };
        assert_eq!(to, *node);
        assert_eq!(*nest, Nest { asker: (0, CALL), programs: vec![(0, germ(), *count)] });
        names.push(birth);
    }
    talk.silence();
    names.dedup();
    assert_eq!(names.len(), 1);
    names[0]
}

fn able(talk: &mut Conversation, job: u32, birth: u32, nodes: &[NodeId]) {
    for node in nodes {
        talk.silence();
        tell(talk, *node, job, SpawnNews::Able { birth });
    }
}

/// The call fails with this reason, and who was to have processes forgets them.
fn fails(talk: &mut Conversation, job: u32, birth: u32, nodes: &[NodeId], why: &str) {
    for node in nodes {
        order(talk, *node, job, SpawnOrder::Drop { birth });
    }
    order(talk, A, job, SpawnOrder::Failed { call: CALL, why: why.to_owned() });
    talk.silence();
}

fn newborn(rank: u32) -> Newborn {
    Newborn { rank, program: germ().program, birth: vec![1] }
}

#[test]
fn processes_come_to_all_nodes_also_to_those_without_ranks() {
    let mut talk = Conversation::new();
    let job = run(&mut talk, &[(A, 2)], &[]);
    let birth = begin(&mut talk, job, ask(3, None), &[(A, 1), (B, 2)]);
    let busy = talk.core.stop(job, None, talk.now);
    assert!(busy.is_err_and(|(_, is_busy)| is_busy), "births are not left half done");
    able(&mut talk, job, birth, &[B, A]);
    // Of two ranks on two nodes; the next numbers are of the first node and the second by turns.
    let (group, apps) = (vec![2, 3, 5], vec![0; 3]);
    let tribe = Tribe { contexts: [7, 9], parents: vec![0], group: group.clone(), apps };
    for node in [A, B] {
        order(&mut talk, node, job, SpawnOrder::Settle { birth, tribe: Box::new(tribe.clone()) });
    }
    able(&mut talk, job, birth, &[A, B]);
    order(&mut talk, A, job, SpawnOrder::Begin { birth });
    order(&mut talk, B, job, SpawnOrder::Begin { birth });
    order(&mut talk, A, job, SpawnOrder::Done { call: CALL, group });
    talk.silence();
    assert_eq!(talk.core.places(job).ranks, [0, 0, 0, 1, 0, 1]);
    assert_eq!(talk.core.places(job).ended, [false, false, false, false, true, false]);
    // All ranks but those that were spawned end before these have been told of.
    talk.ends(A, job, 0, DONE).ends(A, job, 1, DONE).silence();
    talk.tell(B, ToCoordinator::Born { job, born: vec![newborn(3), newborn(5)] });
    talk.tell(A, ToCoordinator::Born { job, born: vec![newborn(2)] });
    talk.ends(A, job, 2, DONE).ends(B, job, 3, DONE).silence();
    talk.ends(B, job, 5, DONE).sent(A, ToNode::End { job }).sent(B, ToNode::End { job });
    talk.over(A, job).over(B, job);
    let report = talk.report(&[A, B], job);
    assert_eq!((&report.outcome, report.nodes), (&Outcome::Success, 2));
}

#[test]
fn nodes_that_are_empty_again_have_processes_again() {
    let mut talk = Conversation::new();
    let job = run(&mut talk, &[(A, 2), (B, 1)], &[(A, 1), (B, 8)]);
    talk.ends(B, job, 2, DONE).silence();
    for number in [4, 6] {
        let birth = begin(&mut talk, job, ask(1, None), &[(B, 1)]);
        able(&mut talk, job, birth, &[B]);
        let Command::Send { to: B, message: ToNode::Spawn { order: settle, .. } } = talk.next()
        else {
            panic!("it has slots")
        };
        assert!(matches!(settle, SpawnOrder::Settle { tribe, .. } if tribe.group == [number]));
        able(&mut talk, job, birth, &[B]);
        order(&mut talk, B, job, SpawnOrder::Begin { birth });
        order(&mut talk, A, job, SpawnOrder::Done { call: CALL, group: vec![number] });
        talk.tell(B, ToCoordinator::Born { job, born: vec![newborn(number)] });
        talk.ends(B, job, number, DONE).silence();
    }
}

#[test]
fn all_come_or_none() {
    let mut talk = Conversation::new();
    let job = run(&mut talk, &[(A, 2), (B, 2)], &[]);
    let birth = begin(&mut talk, job, ask(2, None), &[(A, 1), (B, 1)]);
    let why = "no memory".to_owned();
    tell(&mut talk, B, job, SpawnNews::Unable { birth, why });
    fails(&mut talk, job, birth, &[A, B], "b: no memory");
    able(&mut talk, job, birth, &[A]);
    talk.silence();
    let places = talk.core.places(job);
    assert_eq!((places.ranks.len(), places.births.len()), (4, 0));
    let birth = begin(&mut talk, job, ask(2, None), &[(A, 1), (B, 1)]);
    able(&mut talk, job, birth, &[A, B]);
    while talk.core.poll().is_some() {}
    talk.over(B, job);
    fails(&mut talk, job, birth, &[A], "b: its part of the job is over");
    talk.core.stop(job, None, talk.now).expect("nothing is under way any more");
}

#[test]
fn a_node_that_is_lost_takes_no_call_with_it() {
    let mut talk = Conversation { is_tolerant: true, ..Conversation::new() };
    let job = run(&mut talk, &[(A, 2)], &[]);
    let birth = begin(&mut talk, job, ask(3, None), &[(A, 1), (B, 2)]);
    talk.core.handle_lost(B, "silence", talk.now);
    order(&mut talk, A, job, SpawnOrder::Drop { birth });
    let why = "b: it is lost: silence".to_owned();
    order(&mut talk, A, job, SpawnOrder::Failed { call: CALL, why });
    talk.sent(A, ToNode::Departed { job, node: B.0 });
    assert!(matches!(talk.next(), Command::Forget { node: B, .. }));
    talk.silence();
    let birth = begin(&mut talk, job, ask(3, None), &[(A, 3)]);
    able(&mut talk, job, birth, &[A]);
}

#[test]
fn hosts_restrict_the_nodes() {
    let mut talk = Conversation::new();
    let job = run(&mut talk, &[(A, 2), (B, 2)], &[]);
    begin(&mut talk, job, ask(3, Some("b")), &[(B, 3)]);
    begin(&mut talk, job, ask(2, Some("machine")), &[(A, 2)]);
    tell(&mut talk, A, job, SpawnNews::Ask(Box::new(ask(2, Some("c")))));
    let why = "the job has no node c, which the key host names; it has a, b".to_owned();
    order(&mut talk, A, job, SpawnOrder::Failed { call: CALL, why });
    // Who goes away soon takes none.
    talk.core.drain(B, talk.now).expect("it is there");
    talk.sent(B, ToNode::Drain);
    begin(&mut talk, job, ask(3, None), &[(A, 3)]);
}

#[test]
fn who_asks_in_a_way_that_cannot_be_is_cut_off() {
    let wrong: [fn(&mut SpawnAsk); 5] = [
        |ask| ask.parents = vec![4],
        |ask| ask.parents.clear(),
        |ask| ask.programs.clear(),
        |ask| ask.contexts = [7, 7],
        |ask| ask.programs[0].germ.program.bytes = u64::MAX,
    ];
    for spoil in wrong {
        let mut talk = Conversation::new();
        let job = run(&mut talk, &[(A, 2), (B, 2)], &[]);
        let mut asked = ask(2, None);
        spoil(&mut asked);
        tell(&mut talk, A, job, SpawnNews::Ask(Box::new(asked)));
        let told: Vec<Command> = std::iter::from_fn(|| talk.core.poll()).collect();
        let is_cut_off = |command: &Command| matches!(command, Command::Forget { node: A, .. });
        assert!(told.iter().any(is_cut_off), "{told:?}");
    }
    let mut talk = Conversation::new();
    let job = talk.run();
    tell(&mut talk, A, job, SpawnNews::Ask(Box::new(ask(1, None))));
    let why = "the programs that the job began with do not spawn processes".to_owned();
    order(&mut talk, A, job, SpawnOrder::Failed { call: CALL, why });
    tell(&mut talk, A, job, SpawnNews::Able { birth: 1 });
    tell(&mut talk, A, job + 1, SpawnNews::Able { birth: 1 });
    talk.silence();
}

#[test]
fn a_part_without_ranks_goes_with_its_node() {
    let mut talk = Conversation::new();
    let job = run(&mut talk, &[(A, 2), (B, 1)], &[]);
    talk.ends(B, job, 2, DONE).silence();
    talk.core.drain(B, talk.now).expect("it is there");
    talk.sent(B, ToNode::End { job }).sent(B, ToNode::Drain).silence();
    talk.over(B, job).tell(B, ToCoordinator::Leaving);
    talk.sent(A, ToNode::Departed { job, node: B.0 });
    let mut talk = Conversation::new();
    let job = run(&mut talk, &[(A, 2), (B, 1)], &[]);
    talk.core.drain(B, talk.now).expect("it is there");
    talk.sent(B, ToNode::Drain).silence();
    talk.ends(B, job, 2, DONE).sent(B, ToNode::End { job }).silence();
    let mut talk = Conversation::new();
    let job = run(&mut talk, &[(A, 2), (B, 1)], &[]);
    talk.ends(B, job, 2, Exit::Completed { code: 0 });
    talk.core.handle_lost(B, "silence", talk.now);
    talk.sent(A, ToNode::Departed { job, node: B.0 });
    assert!(matches!(talk.next(), Command::Forget { node: B, .. }));
    talk.ends(A, job, 0, DONE).ends(A, job, 1, DONE).sent(A, ToNode::End { job }).over(A, job);
    assert_eq!(talk.report(&[A], job).outcome, Outcome::Success);
}
