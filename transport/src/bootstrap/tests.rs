use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::{
    admission::Answer,
    joiner::{Joiner, Step},
    message::Message,
    *,
};
use crate::{error::Error, id::NodeId, tls::Authority};

const HOUR: Duration = Duration::from_secs(3600);
const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

fn build() -> Build {
    Build::new("0.1.0", "abc")
}

fn admission() -> Admission {
    Admission::new(Authority::new().expect("an authority"), build())
}

/// Runs the protocol without a network, both ends of a TLS session deriving `exporters`.
fn attempt(
    admission: &Admission,
    token: &Token,
    ours: &Build,
    exporters: [Exporter; 2],
    now: Instant,
) -> Result<(Joined, Admitted), Error> {
    let mut joiner = Joiner::new(token, ours, "host", exporters[0])?;
    let mut session = Session::new(ADDR, exporters[1]);
    let mut said = joiner.hello();
    let mut admitted = None;
    for _ in 0..4 {
        // Byte by byte, as a network may deliver.
        let mut answer = Vec::new();
        for byte in said.drain(..) {
            match session.handle_bytes(admission, &[byte], now) {
                Answer::Wait => {}
                Answer::Send(bytes) | Answer::Refuse(bytes, _) => answer = bytes,
                Answer::Admit(bytes, who) => (answer, admitted) = (bytes, Some(who)),
            }
        }
        for byte in answer {
            match joiner.handle_bytes(&[byte])? {
                Step::Wait => {}
                Step::Send(bytes) => said = bytes,
                Step::Done(joined) => return Ok((*joined, admitted.expect("it was admitted"))),
            }
        }
    }
    panic!("the protocol did not end");
}

fn simple(admission: &Admission, token: &Token) -> Result<(Joined, Admitted), Error> {
    attempt(admission, token, &build(), [[1; 32]; 2], Instant::now())
}

#[test]
fn a_machine_with_a_token_becomes_a_node() {
    let admission = admission();
    let token = admission.issue_token(HOUR, 2).expect("a token");
    let token: Token = token.reveal().parse().expect("its text is a token");
    for number in 1..=2 {
        let (joined, admitted) = simple(&admission, &token).expect("it joins");
        assert_eq!(joined.node, NodeId(number));
        assert_eq!(admitted, Admitted { node: NodeId(number), host: "host".into(), addr: ADDR });
        assert_eq!(joined.cluster, admission.authority().cluster());
        assert_eq!(joined.coordinator, build());
        crate::tls::check_own(&joined.identity, joined.node).expect("its certificate is good");
    }
    let error = simple(&admission, &token).expect_err("it was used twice");
    assert!(error.to_string().contains("has been used"), "{error}");
    assert_eq!(admission.refused_count(), 1);
}

#[test]
fn an_expired_token_is_refused() {
    let admission = admission();
    let token = admission.issue_token(HOUR, 1).expect("a token");
    let late = Instant::now() + 2 * HOUR;
    let error = attempt(&admission, &token, &build(), [[1; 32]; 2], late).expect_err("too late");
    assert!(error.to_string().contains("expired"), "{error}");
    simple(&admission, &token).expect("it was not used up");
}

#[test]
fn a_token_of_another_coordinator_is_refused() {
    let token = admission().issue_token(HOUR, 1).expect("a token");
    let error = simple(&admission(), &token).expect_err("it is another's");
    assert!(error.to_string().contains("knows no such token"), "{error}");
}

#[test]
fn another_build_is_refused_with_both_names() {
    let admission = admission();
    let token = admission.issue_token(HOUR, 1).expect("a token");
    let other = Build::new("0.2.0", "xyz");
    let error = attempt(&admission, &token, &other, [[1; 32]; 2], Instant::now())
        .expect_err("it is another build");
    assert_eq!(
        error.to_string(),
        "the coordinator refused this machine: host runs faasm 0.2.0 (build xyz), the coordinator \
         faasm 0.1.0 (build abc); install the same version on both"
    );
}

#[test]
fn a_proof_is_good_for_one_connection_only() {
    let admission = admission();
    let token = admission.issue_token(HOUR, 1).expect("a token");
    let relayed = [[1; 32], [2; 32]];
    let error = attempt(&admission, &token, &build(), relayed, Instant::now())
        .expect_err("somebody is in between");
    assert!(error.to_string().contains("does not know the token"), "{error}");
    simple(&admission, &token).expect("the token was not used up");
}

#[test]
fn a_wrong_proof_is_refused_and_counted() {
    let admission = admission();
    let token = admission.issue_token(HOUR, 1).expect("a token");
    let joiner = Joiner::new(&token, &build(), "host", [1; 32]).expect("a joiner");
    let mut session = Session::new(ADDR, [1; 32]);
    let now = Instant::now();
    assert!(matches!(session.handle_bytes(&admission, &joiner.hello(), now), Answer::Send(_)));
    let guess = Message::Proof { proof: [0; 32], public_key: vec![4; 65] }.encode();
    assert!(matches!(session.handle_bytes(&admission, &guess, now), Answer::Refuse(..)));
    assert!(matches!(session.handle_bytes(&admission, &guess, now), Answer::Refuse(..)));
    assert_eq!(admission.refused_count(), 2);
}

#[test]
fn odd_bytes_are_refused() {
    let admission = admission();
    let mut random = 1u64;
    for length in 0..200usize {
        let mut bytes = vec![0; length];
        for byte in &mut bytes {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (random >> 56) as u8;
        }
        // Also with a plausible length in front.
        let mut framed = u32::try_from(length).expect("short").to_le_bytes().to_vec();
        framed.extend_from_slice(&bytes);
        for said in [bytes, framed] {
            let answer =
                Session::new(ADDR, [1; 32]).handle_bytes(&admission, &said, Instant::now());
            assert!(matches!(answer, Answer::Wait | Answer::Refuse(..)), "{answer:?}");
        }
    }
}

#[test]
fn messages_survive_their_encoding_and_no_cut_one_does() {
    let messages = [
        Message::Challenge { build: build(), nonce: [3; 32], proof: [4; 32] },
        Message::Proof { proof: [5; 32], public_key: vec![4; 65] },
        Message::Admitted {
            node: 9,
            valid_ms: 1 << 40,
            certificate: vec![1; 500],
            authority: vec![2; 400],
        },
        Message::Refused { reason: "no".into() },
    ];
    for message in messages {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes[4..]), Some(message));
        for end in 4..bytes.len() {
            let shorter = Message::decode(&bytes[4..end]);
            assert!(!matches!(shorter, Some(Message::Admitted { .. })), "{shorter:?}");
        }
    }
}

#[test]
fn a_token_is_not_printed_and_mistakes_in_it_are_found() {
    let token = admission().issue_token(HOUR, 1).expect("a token");
    assert_eq!(format!("{token:?}"), "Token(..)");
    let text = token.reveal();
    for (at, with) in [(0, "x"), (8, "z"), (text.len() - 1, "")] {
        let mut wrong = text.clone();
        wrong.replace_range(at..=at, with);
        let error = wrong.parse::<Token>().expect_err("it is not the token");
        assert!(!error.to_string().contains(&text[20..40]), "{error}");
    }
    let last = if text.ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{last}", &text[..text.len() - 1]);
    assert!(changed.parse::<Token>().is_err());
}

#[test]
fn a_shared_secret_is_a_token_of_any_coordinator_that_knows_it() {
    let text = "0123456789abcdef".repeat(4);
    let token: Token = text.parse().expect("64 digits are a secret");
    assert_eq!(token.reveal(), text);
    let admission = admission();
    simple(&admission, &token).expect_err("it does not know the secret yet");
    admission.accept(&token, HOUR, 2).expect("there is room");
    for node in [1, 2] {
        let (joined, admitted) = simple(&admission, &token).expect("it is admitted");
        assert_eq!((joined.node, admitted.node), (NodeId(node), NodeId(node)));
    }
    simple(&admission, &token).expect_err("both uses are used up");
    let other: Token = "f".repeat(64).parse().expect("64 digits are a secret");
    simple(&admission, &other).expect_err("another secret");
    for wrong in ["", "0123", &"g".repeat(64), &"0".repeat(63)] {
        assert!(wrong.parse::<Token>().is_err(), "{wrong}");
    }
}

#[test]
fn a_coordinator_in_the_middle_has_another_connection() {
    let token: Token = "0a".repeat(32).parse().expect("64 digits are a secret");
    let admission = admission();
    admission.accept(&token, HOUR, 2).expect("there is room");
    let relayed = attempt(&admission, &token, &build(), [[1; 32], [2; 32]], Instant::now());
    relayed.expect_err("the proofs are of different connections");
}

#[test]
fn nobody_at_the_address_is_an_error_that_says_so() {
    let token = admission().issue_token(HOUR, 1).expect("a token");
    // A socket that never answers.
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let addr = silent.local_addr().expect("its address");
    let error = join(&[addr], &token, &build(), "host", Duration::from_millis(50))
        .expect_err("nobody is there");
    assert!(error.to_string().contains("nobody answered"), "{error}");
}
