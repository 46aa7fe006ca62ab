//! What a fuzzer feeds the join protocol with.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::{
    Admission, Build, JOIN_MESSAGE_BYTES_MAX, Session, Token,
    admission::Answer,
    joiner::{Joiner, Step},
    message::Message,
};
use crate::tls::Authority;

/// Joining, by the first byte: a coordinator that is told anything, a machine that is told
/// anything, or a right conversation of which bytes are changed on the way, three of `data` for
/// each: two say where, one what. Who does not know the token never becomes a member.
pub fn fuzz_join(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    match mode % 4 {
        0 => tell_coordinator(data),
        1 => tell_joiner(data),
        2 => {
            if let Some(message) = Message::decode(data) {
                assert!(message.encode().len() <= JOIN_MESSAGE_BYTES_MAX + 4);
            }
        }
        _ => converse(data),
    }
}

fn tell_coordinator(data: &[u8]) {
    let (admission, _) = cluster();
    let mut session = session();
    for chunk in data.chunks(usize::from(data.first().copied().unwrap_or(0)) + 1) {
        let answer = session.handle_bytes(admission, chunk, Instant::now());
        assert!(!matches!(answer, Answer::Admit(..)), "admitted without a token");
    }
}

fn tell_joiner(data: &[u8]) {
    let mut joiner = joiner();
    for chunk in data.chunks(usize::from(data.first().copied().unwrap_or(0)) + 1) {
        match joiner.handle_bytes(chunk) {
            Ok(Step::Wait) => {}
            Ok(_) => panic!("it believed who does not know the token"),
            Err(_) => return,
        }
    }
}

fn converse(data: &[u8]) {
    let (admission, _) = cluster();
    let (mut joiner, mut session) = (joiner(), session());
    let mut said = joiner.hello();
    let mut changes = data.chunks_exact(3);
    for _ in 0..4 {
        change(&mut said, changes.next());
        let mut answer = match session.handle_bytes(admission, &said, Instant::now()) {
            Answer::Wait => return,
            Answer::Send(bytes) | Answer::Admit(bytes, _) | Answer::Refuse(bytes, _) => bytes,
        };
        change(&mut answer, changes.next());
        said = match joiner.handle_bytes(&answer) {
            Ok(Step::Send(bytes)) => bytes,
            Ok(Step::Wait | Step::Done(_)) | Err(_) => return,
        };
    }
    panic!("four messages are all that there is to say");
}

fn change(bytes: &mut [u8], change: Option<&[u8]>) {
    if let Some([low, high, value]) = change {
        let at = usize::from(u16::from_le_bytes([*low, *high])) % bytes.len();
        bytes[at] ^= value;
    }
}

fn session() -> Session {
    Session::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), [1; 32])
}

fn joiner() -> Joiner {
    let (_, token) = cluster();
    Joiner::new(token, &build(), "host", [1; 32]).expect("keys and random bytes")
}

fn build() -> Build {
    Build::new("1", "2")
}

fn cluster() -> &'static (Admission, Token) {
    static CLUSTER: OnceLock<(Admission, Token)> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let admission = Admission::new(Authority::new().expect("an authority"), build());
        let year = Duration::from_secs(365 * 24 * 3600);
        let token = admission.issue_token(year, u32::MAX).expect("a token");
        (admission, token)
    })
}
