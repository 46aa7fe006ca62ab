//! Random orders of proposals and failures: whoever is left hears the same.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::*;
use crate::error::ErrorClass;
use crate::group::Group;

/// A small generator of numbers, so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

const TOPIC: Topic = Topic { context: 7, number: 1 };

fn proposal(flag: u32, context: u32) -> Proposal {
    Proposal { flags: [flag; 2], context, ..Proposal::default() }
}

#[test]
fn a_topic_is_decided_when_every_member_has_proposed_or_failed() {
    let mut council = Council::default();
    let members = [4, 2, 9];
    council.handle_proposal(TOPIC, &members, 2, proposal(0b110, 22)).unwrap();
    council.handle_proposal(TOPIC, &members, 4, proposal(0b011, 44)).unwrap();
    assert_eq!(council.poll_decided(), None);
    council.handle_failure(9);
    let decision = Decision { flags: [0b010; 2], context: 44, is_news: true, failed: [9].into() };
    assert_eq!(Decision::from_bytes(&decision.to_bytes()), Some(decision.clone()));
    let expected = Decided { topic: TOPIC, decision, members: [4, 2].into() };
    assert_eq!(council.poll_decided(), Some(expected));
    assert_eq!((council.poll_decided(), council.open_len()), (None, 0));
}

#[test]
fn acknowledged_failures_are_no_news() {
    let mut council = Council::default();
    council.handle_failure(1);
    let acked = Proposal { failed: [1].into(), acked: 1, ..proposal(1, 5) };
    council.handle_proposal(TOPIC, &[0, 1, 2], 0, acked.clone()).unwrap();
    council.handle_proposal(TOPIC, &[0, 1, 2], 2, acked.clone()).unwrap();
    assert!(!council.poll_decided().unwrap().decision.is_news);
    let next = Topic { number: 2, ..TOPIC };
    council.handle_proposal(next, &[0, 1, 2], 0, acked.clone()).unwrap();
    council.handle_proposal(next, &[0, 1, 2], 2, Proposal { acked: 0, ..acked }).unwrap();
    assert!(council.poll_decided().unwrap().decision.is_news, "one has not acknowledged it");
}

#[test]
fn what_a_member_knows_is_waited_for() {
    let mut council = Council::default();
    // Rank 1 has proposed and then failed, which rank 0 heard of before the council.
    council.handle_proposal(TOPIC, &[0, 1], 1, proposal(1, 11)).unwrap();
    let knowing = Proposal { failed: [1].into(), ..proposal(3, 10) };
    council.handle_proposal(TOPIC, &[0, 1], 0, knowing).unwrap();
    assert_eq!(council.poll_decided(), None);
    council.handle_failure(1);
    let decided = council.poll_decided().unwrap();
    assert_eq!((decided.decision.failed, decided.members), ([1].into(), [0].into()));
    assert_eq!((decided.decision.flags, decided.decision.context), ([1; 2], 10));
}

#[test]
fn each_group_hears_the_flag_of_the_other() {
    let mut council = Council::default();
    let members = [0, 1, 5, 6];
    let says = |flags, context| Proposal { flags, context, ..Proposal::default() };
    for (rank, flags) in [(0, [!0, 0b110]), (1, [!0, 0b011]), (5, [0b101, !0])] {
        council.handle_proposal(TOPIC, &members, rank, says(flags, rank)).unwrap();
    }
    council.handle_failure(6);
    let decision = council.poll_decided().unwrap().decision;
    assert_eq!((decision.flags, decision.failed), ([0b101, 0b010], [6].into()));
}

#[test]
fn what_breaks_the_rules_changes_nothing() {
    let mut council = Council::default();
    let mut say = |members: &[u32], member| {
        council.handle_proposal(TOPIC, members, member, Proposal::default())
    };
    assert_eq!(say(&[0, 1], 5), Err(Refused::Member));
    assert_eq!(say(&[0, 1], 0), Ok(()));
    assert_eq!(say(&[0, 1], 0), Err(Refused::Twice));
    assert_eq!(say(&[1, 0], 1), Err(Refused::Member), "other members than the first one gave");
    council.handle_failure(0);
    assert_eq!(council.handle_proposal(TOPIC, &[0, 1], 0, Proposal::default()), Ok(()));
    assert_eq!(council.poll_decided(), None);
    for bytes in [&[][..], &[0; 12], &[0; 17], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]] {
        assert_eq!(Decision::from_bytes(bytes), None);
    }
}

#[test]
fn nobody_is_left_to_hear() {
    let mut council = Council::default();
    council.handle_proposal(TOPIC, &[0, 1], 0, proposal(1, 1)).unwrap();
    council.handle_failure(0);
    council.handle_failure(1);
    assert_eq!((council.poll_decided(), council.open_len()), (None, 0));
}

#[test]
fn all_survivors_hear_the_same_whatever_the_order() {
    for seed in 0..2000 {
        let mut random = Random(seed);
        let size = 1 + random.below(7);
        let members: Vec<u32> = (0..size as u32).map(|rank| rank * 3).collect();
        let topics = 1 + random.below(3) as u32;
        let mut council = Council::default();
        let mut failed = Vec::new();
        let mut next: BTreeMap<u32, u32> = members.iter().map(|rank| (*rank, 0)).collect();
        let mut heard: BTreeMap<Topic, Decided> = BTreeMap::new();
        loop {
            let able: Vec<u32> = next
                .iter()
                .filter(|(rank, number)| **number < topics && !failed.contains(*rank))
                .map(|(rank, _)| *rank)
                .collect();
            if able.is_empty() {
                break;
            }
            let who = able[random.below(able.len())];
            if random.below(6) == 0 {
                failed.push(who);
                council.handle_failure(who);
            } else {
                let number = next[&who];
                next.insert(who, number + 1);
                let topic = Topic { context: 3, number };
                let flag = !(1 << who);
                let proposal = Proposal { failed: failed.clone(), ..proposal(flag, 100 + who) };
                council.handle_proposal(topic, &members, who, proposal).unwrap();
            }
            while let Some(decided) = council.poll_decided() {
                let living = members.iter().filter(|rank| !failed.contains(rank)).copied();
                assert_eq!(decided.members, living.collect::<Vec<_>>(), "seed {seed}");
                for rank in &decided.members {
                    assert_eq!(
                        decided.decision.flags[0] & (1 << rank),
                        0,
                        "seed {seed}: all have spoken"
                    );
                    assert!(next[rank] > decided.topic.number, "seed {seed}");
                }
                assert_eq!(decided.decision.context, 100 + decided.members[0], "seed {seed}");
                assert!(
                    heard.insert(decided.topic, decided).is_none(),
                    "seed {seed}: decided twice"
                );
            }
        }
        if failed.len() < size {
            assert_eq!((heard.len() as u32, council.open_len()), (topics, 0), "seed {seed}");
        }
    }
}

#[test]
fn errors_follow_from_what_is_known() {
    let mut known = Known::default();
    let group = Group::new([5, 3, 8].into()).unwrap();
    assert!(known.is_quiet() && known.check_all(1, &group).is_ok());
    assert!(known.learn_failure(8, false) && !known.learn_failure(8, false));
    assert!(known.learn_failure(4, true) && known.learn_failure(5, false));
    let class = |result: crate::error::Result<()>| result.err().map(|error| error.class);
    assert_eq!(
        known.failed_of(&group).collect::<Vec<_>>(),
        [8, 5],
        "in the order they became known"
    );
    assert_eq!(class(known.check_peer(1, 1, 3)), None);
    assert_eq!(class(known.check_peer(1, 2, 8)), Some(ErrorClass::ProcFailed));
    assert_eq!(class(known.check_all(1, &group)), Some(ErrorClass::ProcFailed));
    assert_eq!(class(known.check_any(1, (&group, &group), 0)), Some(ErrorClass::ProcFailedPending));
    assert_eq!(class(known.check_any(1, (&group, &group), 1)), Some(ErrorClass::ProcFailedPending));
    assert_eq!(class(known.check_any(1, (&group, &group), 2)), None);
    let (low, high) = (Group::new([8].into()).unwrap(), Group::new([5, 3].into()).unwrap());
    let across = |senders, acked| class(known.check_any(1, (&group, senders), acked));
    assert_eq!((across(&low, 1), across(&high, 1)), (None, Some(ErrorClass::ProcFailedPending)));
    assert_eq!(known.unreachable().collect::<Vec<_>>(), [4]);
    assert!(known.is_unreachable(4) && !known.is_unreachable(8));
    assert!(known.learn_revocation(1, 3) && !known.learn_revocation(1, 5));
    assert_eq!((known.revoked_by(3), known.revoked_by(5)), ([1].into(), Vec::new()));
    assert_eq!(class(known.check_any(1, (&group, &group), 2)), Some(ErrorClass::Revoked));
    assert_eq!(class(known.check_peer(2, 1, 3)), None, "another communicator");
}
