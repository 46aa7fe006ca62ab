//! What strangers send to a coordinator's port.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
};

use crate::{
    cluster_nodes::{LAUNCHER, free_port},
    support::{Running, faasm_run, peak_bytes, random},
};

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
    let at = format!("127.0.0.1:{}", free_port());
    let mut command = faasm_run();
    command.args(["--await-nodes", "1", "--listen", &at, "--token-file", secret, "-n", "2"]);
    let coordinator = Running::start(command.arg(&*LAUNCHER).arg("hello"), "");

    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let mut seed = 3;
    let bytes: Vec<u8> = (0..1 << 20).map(|_| random(&mut seed) as u8).collect();
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
