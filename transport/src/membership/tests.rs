//! Heartbeats, silence and strangers.

use super::*;

const PEER: NodeId = NodeId(2);

fn members() -> (Membership, Instant) {
    let start = Instant::now();
    let mut members = Membership::new(NodeId(1), 7, Timing::default());
    assert!(members.add(PEER, start));
    (members, start)
}

fn greet(members: &mut Membership, now: Instant) {
    members.handle_hello(&hello(7, PEER), now).expect("it was added");
}

fn hello(cluster: u64, node: NodeId) -> Hello {
    Hello { cluster, node, session: 1, peer_session: 0, next: [0; 3] }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Polls as a driver does, at each timeout until `end`; what was lost, and when.
fn run(members: &mut Membership, start: Instant, end: Instant) -> Vec<(Duration, Action)> {
    let mut found = Vec::new();
    while let Some(now) = members.timeout().filter(|at| *at <= end) {
        while let Some(action) = members.poll(now) {
            found.push((now - start, action));
        }
    }
    found
}

#[test]
fn a_silent_peer_is_asked_and_then_lost_once() {
    let (mut members, start) = members();
    greet(&mut members, start);
    assert_eq!(members.state(PEER), Some(State::Up));
    let found = run(&mut members, start, start + millis(60_000));
    let heartbeat = |second: u64| (millis(1000 * second), Action::Heartbeat(PEER));
    let mut expected: Vec<_> = (1..=4).map(heartbeat).collect();
    expected.push((millis(5000), Action::Lost(PEER, Loss::Silent(millis(5000)))));
    assert_eq!(found, expected);
    assert_eq!((members.state(PEER), members.timeout()), (Some(State::Lost), None));
    assert_eq!(members.handle_hello(&hello(7, PEER), start), Err(Refusal::Gone(PEER)));
    assert!(members.add(PEER, start));
    greet(&mut members, start);
}

#[test]
fn a_peer_that_is_heard_of_stays() {
    let (mut members, start) = members();
    for second in 1..100 {
        let now = start + millis(1000 * second);
        members.handle_heard(PEER, now);
        members.handle_sent(PEER, now);
        assert_eq!(members.poll(now), None);
    }
}

#[test]
fn a_busy_sender_finds_a_dead_peer_as_soon_as_an_idle_one() {
    let (mut members, start) = members();
    greet(&mut members, start);
    (0..49).for_each(|tenth| members.handle_sent(PEER, start + millis(100 * tenth)));
    let found = run(&mut members, start, start + millis(60_000));
    assert_eq!(found, [(millis(5000), Action::Lost(PEER, Loss::Silent(millis(5000))))]);
}

#[test]
fn a_time_without_peers_is_no_pause() {
    let (mut members, start) = members();
    run(&mut members, start, start + millis(5000));
    let later = start + millis(60_000);
    assert!(members.add(PEER, later));
    let found = run(&mut members, start, later + millis(5000));
    let lost = Action::Lost(PEER, Loss::Unreachable(millis(5000)));
    assert_eq!(found.last(), Some(&(millis(65_000), lost)));
}

#[test]
fn a_peer_that_never_came_is_unreachable() {
    let (mut members, start) = members();
    let found = run(&mut members, start, start + millis(5000));
    let lost = Action::Lost(PEER, Loss::Unreachable(millis(5000)));
    assert_eq!(found.last(), Some(&(millis(5000), lost)));
}

#[test]
fn a_process_that_was_stopped_gives_nobody_up_for_it() {
    let (mut members, start) = members();
    greet(&mut members, start);
    members.poll(start);
    let woken = start + millis(3_600_000);
    assert_eq!(members.poll(woken), Some(Action::Heartbeat(PEER)));
    assert_eq!(members.poll(woken), None);
    let lost = run(&mut members, woken, woken + millis(60_000)).pop();
    let (after, _) = lost.expect("it is lost if it stays silent");
    assert!(after > millis(3000) && after <= millis(5000), "{after:?}");
}

#[test]
fn a_process_that_is_always_late_still_finds_a_dead_peer() {
    let (mut members, start) = members();
    greet(&mut members, start);
    let is_lost = |members: &mut Membership, now| {
        std::iter::from_fn(|| members.poll(now)).any(|action| matches!(action, Action::Lost(..)))
    };
    let late = (1..).find(|call| is_lost(&mut members, start + millis(3000 * call)));
    assert_eq!(late, Some(5));
}

#[test]
fn strangers_and_other_clusters_are_refused() {
    let (mut members, start) = members();
    let other = members.handle_hello(&hello(8, PEER), start).expect_err("another cluster");
    assert!(other.to_string().contains("two coordinators"), "{other}");
    let stranger = NodeId(9);
    assert_eq!(members.handle_hello(&hello(7, stranger), start), Err(Refusal::Unknown(stranger)));
    let own = NodeId(1);
    assert_eq!(members.handle_hello(&hello(7, own), start), Err(Refusal::OwnName(own)));
    assert!(!members.add(own, start));
    assert_eq!(members.view(), View { epoch: 1, peers: vec![(PEER, State::Joining)] });
}

#[test]
fn each_change_is_a_new_epoch() {
    let (mut members, start) = members();
    let mut seen = vec![members.view()];
    greet(&mut members, start);
    seen.push(members.view());
    assert!(members.drain(PEER));
    seen.push(members.view());
    members.handle_left(PEER);
    assert!(!members.drain(PEER));
    seen.push(members.view());
    members.remove(PEER);
    seen.push(members.view());
    let states: Vec<Option<State>> =
        seen.iter().map(|view| view.peers.first().map(|(_, state)| *state)).collect();
    let expected = [State::Joining, State::Up, State::Draining, State::Left];
    assert_eq!(states[..4], expected.map(Some));
    assert_eq!(states[4], None);
    assert!(seen.is_sorted_by(|one, next| one.epoch < next.epoch));
}
