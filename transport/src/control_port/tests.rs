use std::net::{Ipv4Addr, Shutdown};

use parking_lot::Mutex;

use super::*;
use crate::{NodeId, bootstrap::Build, config::Identity, tls::Authority};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Who was served.
type Names = Arc<Mutex<Vec<String>>>;

/// A port that sends back what it is told.
fn echo(admission: &Admission) -> (Arc<ControlPort>, SocketAddr, Names) {
    let port = ControlPort::bind((Ipv4Addr::LOCALHOST, 0).into(), admission.clone());
    let port = port.expect("a port");
    let (port, names) = (Arc::new(port), Names::default());
    let addr = port.local_addr().expect("it listens");
    let (serving, told) = (Arc::clone(&port), Arc::clone(&names));
    thread::spawn(move || {
        serving.serve(move |user: User| {
            told.lock().push(user.name);
            let mut sink = user.stream.try_clone().expect("a descriptor");
            let mut stream = user.stream;
            // The other side ends it.
            let _ = io::copy(&mut stream, &mut sink);
        })
    });
    (port, addr, names)
}

fn admission(lifetime: Duration) -> Admission {
    let authority = Authority::new().expect("an authority");
    let build = Build { version: "1".to_owned(), build: "test".to_owned() };
    Admission::with_lifetime(authority, build, lifetime)
}

fn user(authority: &Authority) -> UserToken {
    authority.issue_user(HOUR).expect("a token")
}

fn refusal(addr: SocketAddr, token: &UserToken) -> String {
    let error = connect(&[addr], token, PATIENCE).expect_err("it is refused");
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_user_is_told_all_that_is_said_and_both_sides_see_the_end() {
    let admission = admission(HOUR);
    let authority = admission.authority();
    let (port, addr, names) = echo(&admission);
    let mut stream = connect(&[addr], &user(authority), PATIENCE).expect("it is let in");
    let data: Vec<u8> = (0..5_000_000_u32).map(|n| (n * 7 / 3) as u8).collect();
    let (mut sender, sent) = (stream.try_clone().expect("a descriptor"), data.clone());
    let writer = thread::spawn(move || sender.write_all(&sent).expect("it is taken"));
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).expect("it comes back");
    assert!(back == data);
    assert!(names.lock()[0].starts_with("user-"));
    writer.join().expect("the writer ends");
    stream.shutdown(Shutdown::Both).expect("it is open");
    drop(stream);
    let give_up = Instant::now() + PATIENCE;
    while port.shared.connections.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < give_up, "the coordinator's side has not ended");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((port.refused_count(), port.shared.handshakes.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn who_is_no_user_of_this_cluster_is_refused_with_the_reason() {
    let admission = admission(HOUR);
    let authority = admission.authority();
    let (port, addr, names) = echo(&admission);
    let node = authority.issue(NodeId(4), HOUR).expect("an identity");
    let node = UserToken::of(node);
    assert!(refusal(addr, &node).contains("not that of a user"));
    let other = Authority::new().expect("an authority");
    let stranger = UserToken::of(Identity {
        authority: authority.certificate().to_vec(),
        ..user(&other).into_identity()
    });
    let reason = refusal(addr, &stranger);
    assert!(reason.contains("another cluster"), "{reason}");
    // Its own authority is not the one that it meets.
    assert!(refusal(addr, &user(&other)).contains("another cluster"));
    let (key, public_key) = tls::node_key().expect("a key");
    let before = std::time::SystemTime::now() - 2 * HOUR;
    let certificate =
        authority.certify_user("user-old", &public_key, before, HOUR).expect("a certificate");
    let old = UserToken::of(Identity { certificate, key, ..user(authority).into_identity() });
    let reason = refusal(addr, &old);
    assert!(reason.contains("has run out") && reason.contains("new token"), "{reason}");
    let mut rubbish = TcpStream::connect(addr).expect("it listens");
    rubbish.write_all(&[0x5a; 100_000]).unwrap_or_default();
    let mut answer = Vec::new();
    // It is closed, with an alert or without.
    let _ = rubbish.read_to_end(&mut answer);
    assert!(answer.len() < 100, "{answer:?}");
    let give_up = Instant::now() + PATIENCE;
    while port.refused_count() < 4 {
        assert!(Instant::now() < give_up, "{} refused", port.refused_count());
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(*names.lock(), Vec::<String>::new());
    drop(connect(&[addr], &user(authority), PATIENCE).expect("a user is let in all the same"));
}

/// The certificate that it began with has run out by then.
#[test]
fn a_port_that_is_open_for_long_has_a_certificate_that_is_valid() {
    let lifetime = Duration::from_secs(2);
    let admission = admission(lifetime);
    let (port, addr, _) = echo(&admission);
    let before = Arc::clone(&port.shared.own.lock().tls);
    let token = user(admission.authority());
    drop(connect(&[addr], &token, PATIENCE).expect("it is let in"));
    thread::sleep(lifetime + Duration::from_secs(1));
    drop(connect(&[addr], &token, PATIENCE).expect("it is let in"));
    assert!(!Arc::ptr_eq(&before, &port.shared.own.lock().tls));
}

#[test]
fn machines_that_say_nothing_are_few_and_leave_room_again() {
    let admission = admission(HOUR);
    let authority = admission.authority();
    let (port, addr, _) = echo(&admission);
    let silent: Vec<TcpStream> =
        (0..HANDSHAKES_MAX + 10).map(|_| TcpStream::connect(addr).expect("it listens")).collect();
    let give_up = Instant::now() + PATIENCE;
    while port.refused_count() < 10 {
        assert!(Instant::now() < give_up, "{} refused", port.refused_count());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(port.shared.handshakes.load(Ordering::SeqCst) <= HANDSHAKES_MAX);
    drop(silent);
    while port.shared.handshakes.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < give_up, "handshakes are left");
        thread::sleep(Duration::from_millis(5));
    }
    drop(connect(&[addr], &user(authority), PATIENCE).expect("there is room again"));
}

#[test]
fn where_nobody_listens_the_error_says_what_to_look_at() {
    let authority = Authority::new().expect("an authority");
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = unused.local_addr().expect("it listens");
    drop(unused);
    let error = connect(&[addr], &user(&authority), PATIENCE).expect_err("nobody is there");
    let text = error.to_string();
    assert!(text.contains("cluster init") && text.contains("firewall"), "{text}");
}
