//! The lab of network namespaces (`bench/netns.sh`) and the cable that delays and loses frames in it.
//!
//! These tests need root, of the machine or of a user namespace, in which they start themselves again.

use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A datagram that has not arrived by then never will.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a datagram to arrive, if it did.
const MOMENT: Duration = Duration::from_millis(300);

#[test]
fn a_plain_lab_connects_its_hosts() {
    in_root("a_plain_lab_connects_its_hosts", || {
        let lab = Lab::up("plain", &["3"]);
        let [one, three] = lab.sockets(["1", "3"]);
        assert!(arrives(&one, &three, PATIENCE), "nothing came through a whole cable");
        lab.done(&["cut", "n3"]);
        assert!(!arrives(&one, &three, MOMENT), "the cable is cut");
        lab.done(&["restore", "n3"]);
        assert!(arrives(&three, &one, PATIENCE), "the cable is whole again");
        lab.done(&["down"]);
        assert!(!lab.is_listed(), "down leaves nothing");
        lab.done(&["down"]);
    });
}

#[test]
fn hosts_have_names_and_a_launcher() {
    in_root("hosts_have_names_and_a_launcher", || {
        let lab = Lab::up("names", &["2"]);
        let agent = lab.done(&["path", "agent"]);
        let mut ssh = Command::new(agent.trim());
        let said = ssh.args(["-x", "-o", "BatchMode=yes", "me@n2", "hostname;", "echo", "'a  b'"]);
        assert_eq!(text(&said.output().expect("the agent starts").stdout), "n2\na  b\n");
        let status = lab.script(&["run", "n1", "sh", "-c", "exit 7"]).status;
        assert_eq!(status.code(), Some(7));
        let unknown = lab.script(&["run", "n9", "true"]);
        assert!(!unknown.status.success() && text(&unknown.stderr).contains("no host n9"));
    });
}

#[test]
fn a_cable_delays_loses_and_can_be_cut() {
    in_root("a_cable_delays_loses_and_can_be_cut", || {
        let device = File::options().read(true).write(true).open("/dev/net/tun");
        if let Err(error) = device {
            return println!("SKIPPED: a cable takes /dev/net/tun: {error}");
        }
        let lab = Lab::up("cable", &["2", "delay", "20ms"]);
        let [one, two] = lab.sockets(["1", "2"]);
        assert!(arrives(&one, &two, PATIENCE), "nothing came through");
        let start = Instant::now();
        assert!(
            arrives(&one, &two, PATIENCE) && arrives(&two, &one, PATIENCE),
            "nothing came through"
        );
        assert!(start.elapsed() >= Duration::from_millis(40), "it came at once");
        lab.done(&["cut", "n1"]);
        assert!(!arrives(&one, &two, MOMENT), "the cable is cut");
        drop(lab);
        let lab = Lab::up("cable", &["2", "loss", "100%"]);
        let [one, two] = lab.sockets(["1", "2"]);
        assert!(!arrives(&one, &two, MOMENT), "everything is lost");
    });
}

#[test]
fn with_cleans_up_after_a_command_that_is_interrupted() {
    in_root("with_cleans_up_after_a_command_that_is_interrupted", || {
        let lab = Lab { name: "with", socket_folder: tempfile::tempdir().expect("a folder") };
        let mut command = Command::new("timeout");
        command.args(["--signal", "TERM", "--kill-after", "20", "2"]).arg(script());
        command.args(["--lab", lab.name, "with", "2", "--", "sleep", "60"]);
        assert!(!command.status().expect("timeout starts").success());
        assert!(!lab.is_listed(), "the lab outlived its command");
    });
}

#[test]
fn refuses_what_it_does_not_understand() {
    in_root("refuses_what_it_does_not_understand", || {
        let lab = Lab { name: "wrong", socket_folder: tempfile::tempdir().expect("a folder") };
        for words in [
            &["up"][..],
            &["up", "0"],
            &["up", "65"],
            &["up", "2", "delay", "soon"],
            &["up", "2", "loss", "0.1"],
            &["up", "2", "jitter", "1ms"],
            &["up", "2", "cores", "4"],
            &["up", "2", "tcp", "no_such_control"],
            &["run", "n1", "true"],
            &["fly"],
        ] {
            assert!(!lab.script(words).status.success(), "{words:?} was accepted");
            assert!(!lab.is_listed(), "{words:?} left a lab behind");
        }
    });
}

/// Some hosts, removed at the end.
struct Lab {
    name: &'static str,
    socket_folder: tempfile::TempDir,
}

impl Lab {
    fn up(name: &'static str, wire: &[&str]) -> Self {
        let lab = Self { name, socket_folder: tempfile::tempdir().expect("a folder") };
        lab.done(&[&["up"], wire].concat());
        lab
    }

    fn script(&self, words: &[&str]) -> Output {
        let mut command = Command::new(script());
        command.args(["--lab", self.name]).args(words);
        // Its background processes must not keep our pipes open.
        let (out, err) =
            (self.socket_folder.path().join("out"), self.socket_folder.path().join("err"));
        command.stdout(File::create(&out).expect("a file"));
        command.stderr(File::create(&err).expect("a file"));
        let status = command
            .env("FAASM_NETNS_CABLE", "1")
            .env("FAASM_CABLE", env!("CARGO_BIN_EXE_faasm-cable"))
            .status()
            .expect("bash starts");
        let read = |path: &Path| std::fs::read(path).expect("a file");
        Output { status, stdout: read(&out), stderr: read(&err) }
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.script(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn is_listed(&self) -> bool {
        self.done(&["list"]).lines().any(|name| name == self.name)
    }

    fn sockets(&self, hosts: [&str; 2]) -> [UdpSocket; 2] {
        let sockets =
            hosts.map(|host| socket_in(format!("faasm-{}-{host}", self.name), host.to_owned()));
        let [one, two] = &sockets;
        one.connect(two.local_addr().expect("bound")).expect("a route");
        two.connect(one.local_addr().expect("bound")).expect("a route");
        sockets
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.script(&["down"]);
    }
}

/// A socket stays in the namespace of the thread that made it.
fn socket_in(namespace: String, host: String) -> UdpSocket {
    let bind = move || {
        let file = File::open(format!("/run/netns/{namespace}")).expect("a namespace");
        move_into_link_name_space(
            std::os::fd::AsFd::as_fd(&file),
            Some(LinkNameSpaceType::Network),
        )
        .expect("root may enter it");
        UdpSocket::bind(format!("10.77.0.{host}:0")).expect("its address")
    };
    std::thread::spawn(bind).join().expect("the thread ended well")
}

/// Whether a datagram comes through, of several, because the first may wait for an address.
fn arrives(from: &UdpSocket, to: &UdpSocket, patience: Duration) -> bool {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    to.set_read_timeout(Some(MOMENT / 3)).expect("not zero");
    let start = Instant::now();
    while start.elapsed() < patience {
        // While the cable is cut there may be no route.
        from.send(&number).ok();
        let mut received = [0; 4];
        // Datagrams of an earlier question are not the answer to this one.
        while to.recv(&mut received).is_ok() {
            if received == number {
                return true;
            }
        }
    }
    false
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("netns.sh")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a test as root: as it is, or again in a user namespace where this user is root.
fn in_root(name: &str, test: impl FnOnce()) {
    if rustix::process::getuid().is_root() {
        return test();
    }
    let allowed = Command::new("unshare").args(["-Urnm", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return println!("SKIPPED: {name} needs root, and this user may not make user namespaces");
    }
    let output = Command::new("unshare")
        .args(["-Urnm", "sh", "-c", "mount -t tmpfs run /run && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture"])
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
