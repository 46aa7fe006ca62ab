//! What strangers send to a coordinator's port.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    sync::LazyLock,
};

use crate::support::{Running, build_dir, compile, faasm_run, guests_dir, peak_bytes};

static HELLO: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
    let program = build_dir().join("hello.strangers.wasm");
    compile(&guests_dir().join("faasm/launcher.c"), &["-O1".into()], &program)
        .unwrap_or_else(|error| panic!("{error}"));
    program
});

const SENT_BYTES: usize = 1 << 30;
const DATAGRAM_BYTES: usize = 1400;
/// Far above what a coordinator needs, and far below what it is sent.
const PEAK_BYTES_MAX: u64 = 256 << 20;

#[test]
fn a_gibibyte_of_random_bytes_at_the_port_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let secret = dir.path().join("secret");
    fs::write(&secret, "0123456789abcdef".repeat(4)).expect("written");
    let secret = secret.to_str().expect("a UTF-8 path");
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let at = port.expect("a free port").to_string();
    let mut command = faasm_run();
    command.args(["--await-nodes", "1", "--listen", &at, "--token-file", secret, "-n", "2"]);
    let coordinator = Running::start(command.arg(&*HELLO).arg("hello"), "");

    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let bytes = random_bytes(1 << 20);
    for number in 0..SENT_BYTES / DATAGRAM_BYTES {
        let start = number * 37 % (bytes.len() - DATAGRAM_BYTES);
        // What does not fit into the receiver's buffer is lost.
        let _ = stranger.send_to(&bytes[start..start + DATAGRAM_BYTES], &at);
    }
    let peak = peak_bytes(coordinator.id().cast_signed());
    assert!(peak > 0 && peak < PEAK_BYTES_MAX, "the coordinator took {peak} bytes");

    let mut command = faasm_run();
    command.args(["node", "--once", "--join", &at, "--token-file", secret]);
    let node = Running::start(&mut command, "");
    let ran = coordinator.wait().expect_status(0).expect_stderr("were ignored");
    assert_eq!(ran.sorted_lines(), ["rank 0 of 2", "rank 1 of 2"]);
    assert!(ran.stderr.lines().count() < 24, "it is not told of each: {}", ran.stderr);
    node.wait().expect_status(0);
}

fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 3_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}
