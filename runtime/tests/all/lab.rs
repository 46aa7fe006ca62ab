//! Several hosts on this machine for a test, and jobs on them: the network namespaces of `bench/netns.sh`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::Ran;

/// Longest time that a test waits for anything; a hang is a failure, not a stuck test run.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a test as root of network namespaces: as it is, or again in a user namespace of its own where this user is root.
/// A machine that allows neither skips it and says so.
pub(crate) fn in_root(name: &str, test: impl FnOnce()) {
    let may = |options: &str| {
        let tried = Command::new("unshare").args([options, "true"]).output();
        tried.unwrap_or_else(|error| panic!("unshare: {error}; .ci/setup network installs it"))
    };
    if rustix::process::getuid().is_root() && may("-n").status.success() {
        return test();
    }
    let refused = may("-Urnm");
    if !refused.status.success() {
        println!("SKIPPED: {name} makes network namespaces: {}", text(&refused.stderr));
        return;
    }
    let output = Command::new("unshare")
        .args(["-Urnm", "sh", "-c", "mount -t tmpfs run /run && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture"])
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// Hosts n1, n2, ..., removed at the end with everything that runs on them.
pub(crate) struct Lab {
    name: &'static str,
    hosts: u32,
    agent: String,
    dir: TempDir,
    started: AtomicU32,
}

impl Lab {
    /// Makes the hosts; `wire` is what is between them, such as "delay 1ms loss 0.1%".
    pub(crate) fn up(name: &'static str, hosts: u32, wire: &str) -> Self {
        let mut lab = Self::named(name, hosts);
        let count = hosts.to_string();
        let words: Vec<&str> = ["up", &count].into_iter().chain(wire.split_whitespace()).collect();
        lab.done(&words);
        lab.agent = lab.done(&["path", "agent"]).trim().to_owned();
        lab
    }

    /// Whether packets can be delayed here; if not, says why the test is skipped.
    pub(crate) fn can_delay() -> bool {
        let lab = Self::named("none", 0);
        let has_netem = lab.done(&["wires"]).trim() == "netem";
        let device = File::options().read(true).write(true).open("/dev/net/tun");
        match device {
            _ if has_netem => true,
            Err(error) => {
                println!(
                    "SKIPPED: this kernel has no netem, and no cable instead of it: /dev/net/tun: {error}"
                );
                false
            }
            Ok(_) => {
                let cable = cable();
                assert!(
                    cable.is_file(),
                    "this kernel has no netem, and {} is missing: build it with `cargo build -p faasm-bench`",
                    cable.display()
                );
                true
            }
        }
    }

    /// Starts a job from the first host, with this many ranks on each host.
    pub(crate) fn start(
        &self,
        each: u32,
        options: &[&str],
        program: &Path,
        arguments: &[&str],
    ) -> Job {
        let hosts: Vec<String> = (1..=self.hosts).map(|host| format!("n{host}:{each}")).collect();
        let (hosts, np) = (hosts.join(","), (each * self.hosts).to_string());
        let launcher = ["--launcher", "ssh", "--launcher-exec", &self.agent];
        let job = ["--host", &hosts, "-n", &np];
        let program = program.to_str().expect("a UTF-8 path");
        self.faasm_run("n1", &[&launcher, &job, options, &[program], arguments].concat())
    }

    /// Starts `faasm-run` on a host.
    pub(crate) fn faasm_run(&self, host: &str, arguments: &[&str]) -> Job {
        let mut command = self.script(&["run", host]);
        command.arg(env!("CARGO_BIN_EXE_faasm-run")).args(arguments).env("RUST_BACKTRACE", "0");
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Job::start(command, &self.dir.path().join(number.to_string()))
    }

    /// A file with a token that nodes may join with.
    pub(crate) fn token_file(&self) -> String {
        let path = self.dir.path().join("token");
        let secret = "0123456789abcdef".repeat(4);
        fs::write(&path, secret).expect("a file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, private).expect("it is ours");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    /// Pulls a host's cable out.
    pub(crate) fn cut(&self, host: &str) {
        self.done(&["cut", host]);
    }

    /// Puts it back.
    pub(crate) fn restore(&self, host: &str) {
        self.done(&["restore", host]);
    }

    /// Sends a signal to the node process of a host.
    pub(crate) fn signal_node(&self, host: &str, signal: Signal) {
        let is_node = |line: &str| line.contains("faasm-run\0node");
        let nodes: Vec<u32> = self
            .processes(host)
            .into_iter()
            .filter(|(_, line)| is_node(line))
            .map(|(pid, _)| pid)
            .collect();
        let [pid] = nodes[..] else {
            panic!("one node process on {host}: {:?}", self.processes(host));
        };
        let pid =
            rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process has a number");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Waits until nothing runs on any host any more.
    pub(crate) fn expect_empty(&self) {
        let started = Instant::now();
        loop {
            let left: Vec<_> =
                (1..=self.hosts).flat_map(|host| self.processes(&format!("n{host}"))).collect();
            if left.is_empty() {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(15), "processes are left: {left:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The processes of a host with their command lines.
    fn processes(&self, host: &str) -> Vec<(u32, String)> {
        let namespace = format!("faasm-{}-{}", self.name, host.trim_start_matches('n'));
        let output =
            Command::new("ip").args(["netns", "pids", &namespace]).output().expect("ip starts");
        let line =
            |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let pids = text(&output.stdout);
        pids.lines().filter_map(|pid| pid.trim().parse().ok()).map(|pid| (pid, line(pid))).collect()
    }

    fn named(name: &'static str, hosts: u32) -> Self {
        let (agent, dir) = (String::new(), tempfile::tempdir().expect("a directory"));
        Self { name, hosts, agent, dir, started: AtomicU32::new(0) }
    }

    fn done(&self, words: &[&str]) -> String {
        // What it leaves in the background must not keep pipes of ours open.
        let (out, err) = (self.dir.path().join("out"), self.dir.path().join("err"));
        let mut command = self.script(words);
        command
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&err).expect("a file"));
        let status = command.status().expect("bash starts");
        assert!(status.success(), "{words:?}: {}", read(&err));
        read(&out)
    }

    fn script(&self, words: &[&str]) -> Command {
        let mut command =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/netns.sh"));
        command.args(["--lab", self.name]).args(words).stdin(Stdio::null());
        if cable().is_file() {
            command.env("FAASM_CABLE", cable());
        }
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // While a test fails, its own message matters more than this one's.
        let status = self.script(&["down"]).status();
        assert!(std::thread::panicking() || status.is_ok_and(|status| status.success()), "down");
    }
}

/// A job that runs on the hosts of a lab.
pub(crate) struct Job {
    child: Child,
    started: Instant,
    out: PathBuf,
    err: PathBuf,
}

impl Job {
    fn start(mut command: Command, path: &Path) -> Self {
        let (out, err) = (path.with_extension("out"), path.with_extension("err"));
        command
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(&err).expect("a file"));
        let started = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, started, out, err }
    }

    /// Waits until it has printed this.
    pub(crate) fn expect_output(&mut self, wanted: &str) {
        while !read(&self.out).contains(wanted) {
            let ended = self.child.try_wait().expect("it is our child");
            let over = self.started.elapsed() > LIMIT;
            assert!(
                ended.is_none() && !over,
                "it never printed {wanted:?}: {ended:?}\n{}{}",
                read(&self.out),
                read(&self.err)
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end; a job that takes too long is killed and has no status then.
    pub(crate) fn wait(mut self) -> Ran {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status.code();
            }
            if self.started.elapsed() > LIMIT {
                self.child.kill().expect("it is our child");
                self.child.wait().expect("it is our child");
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = self.started.elapsed();
        Ran { status, stdout: read(&self.out), stderr: read(&self.err), took }
    }
}

/// Built by the same `cargo test --workspace`, beside `faasm-run`.
fn cable() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_faasm-run")).with_file_name("faasm-cable")
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| text(&bytes)).unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
