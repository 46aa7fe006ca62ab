//! Conversations of two sessions.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::{Envelope, NodeId, config::Limits, frame::Encoded};

fn session(name: u64) -> Session {
    Session::new(name, Limits { unacknowledged_bytes_max: 1000, drained_bytes: 500 })
}

fn hello(session: &mut Session) -> Hello {
    session.hello(1, NodeId(0))
}

/// Two sessions whose connection stands.
fn pair() -> (Session, Session) {
    let (mut a, mut b) = (session(1), session(2));
    connect(&mut a, &mut b);
    (a, b)
}

fn connect(a: &mut Session, b: &mut Session) {
    let (from_a, from_b) = (hello(a), hello(b));
    a.handle_hello(&from_b).expect("b is known");
    b.handle_hello(&from_a).expect("a is known");
}

fn send(session: &mut Session, lane: Lane, count: usize) {
    (0..count).for_each(|_| session.send(lane, &Envelope::default(), Bytes::from_static(&[7; 40])));
}

fn transmit(session: &mut Session, lane: Lane) -> Vec<Encoded> {
    std::iter::from_fn(|| session.poll_transmit(lane)).collect()
}

fn number(frame: &Encoded) -> u64 {
    u64::from_le_bytes(frame.head[4..12].try_into().expect("8 bytes"))
}

fn receive(session: &mut Session, lane: Lane, frames: &[Encoded], now: Instant) -> usize {
    let receive = |frame: &Encoded| {
        session.handle_frame(lane, number(frame), frame.payload_bytes(), now).expect("no gap")
    };
    frames.iter().map(receive).filter(|received| *received == Received::Deliver).count()
}

#[test]
fn what_a_broken_connection_lost_is_written_again() {
    let now = Instant::now();
    let (mut a, mut b) = pair();
    send(&mut a, Lane::Message, 3);
    let frames = transmit(&mut a, Lane::Message);
    assert_eq!(frames.iter().map(number).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(receive(&mut b, Lane::Message, &frames[..1], now), 1);
    a.handle_disconnected();
    b.handle_disconnected();
    send(&mut a, Lane::Message, 1);
    assert_eq!(a.poll_transmit(Lane::Message), None);
    assert_eq!(b.handle_frame(Lane::Message, 1, 0, now), Err(LaneError::NoHello));
    connect(&mut a, &mut b);
    let again = transmit(&mut a, Lane::Message);
    assert_eq!(again.iter().map(number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(receive(&mut b, Lane::Message, &again, now), 3);
    assert_eq!(receive(&mut b, Lane::Message, &again, now), 0);
    let later = now + Duration::from_millis(25);
    assert_eq!(b.poll_signal(now), None);
    assert_eq!(b.timeout(), Some(later));
    assert_eq!(b.poll_signal(later), Some(Signal::Ack([0, 4, 0])));
    assert_eq!((b.poll_signal(later), b.timeout()), (None, None));
    a.handle_ack([0, 4, 0]).expect("they were sent");
    assert!(a.is_settled());
    a.handle_ack([0, 2, 0]).expect("an old one changes nothing");
    a.check_invariants();
    b.check_invariants();
}

#[test]
fn a_missing_message_is_an_error_of_the_connection() {
    let (_, mut b) = pair();
    let error = b.handle_frame(Lane::Bulk, 1, 0, Instant::now());
    assert_eq!(error, Err(LaneError::Gap { lane: Lane::Bulk, number: 1, expected: 0 }));
    assert!(error.is_err_and(|error| error.is_resumable()));
    let received = b.handle_frame(Lane::Bulk, 0, 0, Instant::now());
    assert_eq!(received, Ok(Received::Deliver));
}

#[test]
fn a_sender_waits_for_a_slow_receiver_and_hears_when_it_may_go_on() {
    let (mut a, _) = pair();
    send(&mut a, Lane::Bulk, 15);
    assert_eq!(a.backlog_bytes(Lane::Bulk), 1500);
    assert_eq!(transmit(&mut a, Lane::Bulk).len(), 10);
    a.handle_ack([0, 0, 4]).expect("they were sent");
    assert_eq!(transmit(&mut a, Lane::Bulk).len(), 4);
    assert_eq!(a.poll_drained(), None);
    a.handle_ack([0, 0, 11]).expect("they were sent");
    assert_eq!(a.poll_drained(), Some(Lane::Bulk));
    assert_eq!(a.poll_drained(), None);
    a.check_invariants();
}

#[test]
fn much_is_acknowledged_at_once() {
    let now = Instant::now();
    let (_, mut b) = pair();
    b.handle_frame(Lane::Bulk, 0, 1 << 20, now).expect("the first");
    assert_eq!(b.poll_signal(now), Some(Signal::Ack([0, 0, 1])));
}

#[test]
fn liars_and_strangers_are_given_up() {
    let (mut a, mut b) = pair();
    send(&mut a, Lane::Message, 2);
    let lane = Lane::Message;
    let never = LaneError::NeverSent { lane, acknowledged: 1, sent: 0 };
    assert_eq!(a.handle_ack([0, 1, 0]), Err(never));
    transmit(&mut a, lane);
    a.handle_ack([0, 2, 0]).expect("they were sent");
    let forgotten = LaneError::Forgotten { lane, asked: 0 };
    assert_eq!(a.handle_hello(&hello(&mut b)), Err(forgotten));
    assert_eq!(a.handle_hello(&hello(&mut session(9))), Err(LaneError::OtherSession));
    let stranger = Hello { peer_session: 9, ..hello(&mut b) };
    assert_eq!(a.handle_hello(&stranger), Err(LaneError::OtherSession));
    assert_eq!(session(3).handle_hello(&hello(&mut b)), Err(LaneError::FormerSession));
    let (_, mut b) = pair();
    b.handle_frame(lane, 0, 0, Instant::now()).expect("the first");
    let earlier = LaneError::LeftEarlier { lane, said: 0, received: 1 };
    assert_eq!(b.handle_leave([0; 3]), Err(earlier));
}

#[test]
fn who_leaves_delivers_first_and_says_so_again_after_a_break() {
    let now = Instant::now();
    let (mut a, mut b) = pair();
    send(&mut a, Lane::Control, 1);
    a.leave();
    assert_eq!(a.poll_signal(now), None);
    let frames = transmit(&mut a, Lane::Control);
    assert_eq!(a.poll_signal(now), Some(Signal::Leave([1, 0, 0])));
    connect(&mut a, &mut b);
    assert_eq!(a.poll_signal(now), None);
    assert_eq!(transmit(&mut a, Lane::Control), frames);
    assert_eq!(a.poll_signal(now), Some(Signal::Leave([1, 0, 0])));
    b.handle_leave([1, 0, 0]).expect("nothing came after");
    assert!(!b.has_peer_left() && !a.has_left());
    receive(&mut b, Lane::Control, &frames, now);
    assert!(b.has_peer_left());
    a.handle_ack([1, 0, 0]).expect("it was sent");
    assert!(a.has_left());
}

#[test]
fn signals_survive_every_cut() {
    let hello = Hello { cluster: 5, node: NodeId(3), session: 8, peer_session: 0, next: [1, 2, 3] };
    let signals = [Signal::Hello(hello), Signal::Ack([4, 5, u64::MAX]), Signal::Leave([7, 8, 9])];
    let wire: Vec<u8> = signals.iter().flat_map(Signal::to_bytes).collect();
    for size in 1..wire.len() {
        let (mut decoder, mut found) = (SignalDecoder::default(), Vec::new());
        for chunk in wire.chunks(size) {
            decoder.push(chunk);
            while let Some(signal) = decoder.poll().expect("they are signals") {
                found.push(signal);
            }
        }
        assert_eq!(found, signals);
    }
    let mut decoder = SignalDecoder::default();
    decoder.push(&[9]);
    assert_eq!(decoder.poll(), Err(SignalError::Kind(9)));
    let mut decoder = SignalDecoder::default();
    decoder.push(&[vec![1], vec![0; 60]].concat());
    for _ in 0..2 {
        assert_eq!(decoder.poll(), Err(SignalError::NoSession));
        decoder.push(&Signal::Ack([0; 3]).to_bytes());
    }
}
