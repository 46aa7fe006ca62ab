//! Jobs over node processes of this machine: output, input, signals, failures, and that no process is
//! left behind.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::support::{Ran, Running, build_dir, compile, faasm_run, guests_dir, peak_bytes};

/// Nothing takes as long as this, however busy the machine.
const LIMIT: Duration = Duration::from_secs(60);
/// What a lost node may cost: it is known at once when its process was a child of ours.
const LOST_MAX: Duration = Duration::from_secs(6);

pub(crate) static LAUNCHER: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = build_dir().join("launcher.nodes.wasm");
    let source = guests_dir().join("faasm/launcher.c");
    compile(&source, &["-g".into(), "-O1".into()], &program)
        .unwrap_or_else(|error| panic!("{error}"));
    program
});

fn start(options: &[&str], guest: &[&str], input: Option<&str>) -> Running {
    let mut command = faasm_run();
    command.args(options).arg(&*LAUNCHER).args(guest);
    match input {
        Some(input) => Running::start(&mut command, input),
        None => Running::start_waiting(&mut command),
    }
}

fn launch(options: &[&str], guest: &[&str]) -> Ran {
    start(options, guest, Some("")).wait()
}

/// The node processes of a running job.
fn nodes(running: &Running, expected: usize) -> Vec<Pid> {
    let end = Instant::now() + LIMIT;
    loop {
        let found = children(running.id());
        if found.len() == expected {
            return found;
        }
        assert!(Instant::now() < end, "{} nodes instead of {expected}", found.len());
        thread::sleep(Duration::from_millis(10));
    }
}

/// The processes whose parent is this one.
fn children(parent: u32) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("this is Linux").filter_map(Result::ok);
    let is_child = |number: &i32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        fields.split(' ').nth(1).and_then(|field| field.parse().ok()) == Some(parent)
    };
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(is_child).filter_map(Pid::from_raw).collect()
}

/// Waits until none of these processes is left.
fn all_gone(processes: &[Pid]) {
    let end = Instant::now() + LIMIT;
    for process in processes {
        while rustix::process::test_kill_process(*process).is_ok() {
            assert!(Instant::now() < end, "{process:?} is left");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits until every rank has said what it does: then all of them run.
fn settle(running: &Running, nodes_expected: usize) -> Vec<Pid> {
    let processes = nodes(running, nodes_expected);
    thread::sleep(Duration::from_secs(2));
    processes
}

#[test]
fn ranks_on_nodes_are_numbered_and_tagged_with_their_hosts() {
    let ran = launch(&["--local-nodes", "2", "-n", "4", "--tag-output"], &["hello"]);
    let ran = ran.expect_status(0);
    assert_eq!(
        ran.sorted_lines(),
        [
            "[1,0][node1]<stdout>: rank 0 of 4",
            "[1,1][node1]<stdout>: rank 1 of 4",
            "[1,2][node2]<stdout>: rank 2 of 4",
            "[1,3][node2]<stdout>: rank 3 of 4",
        ]
    );
    let ran = launch(&["--local-nodes", "3", "-n", "7", "--report"], &["hello"]);
    ran.expect_status(0).expect_stderr("faasm-run: 7 ranks on 3 nodes (");
}

#[test]
fn failures_on_other_nodes_are_those_of_one_node() {
    let nodes = ["--local-nodes", "2", "-n", "4"];
    let ran = launch(&nodes, &["trap", "3", "0"]).expect_status(134);
    let ran = ran.expect_stderr("rank 3 (node2): trapped");
    assert!(ran.stderr.contains("launcher.c:"), "{}", ran.stderr);
    launch(&nodes, &["exit", "2", "7"])
        .expect_status(7)
        .expect_stderr("rank 2 (node2): exited with code 7");
    launch(&nodes, &["abort", "3", "9"])
        .expect_status(9)
        .expect_stderr("rank 3 (node2): MPI_Abort");
    launch(&nodes, &["leave", "2"]).expect_status(1).expect_stderr("MPI_Finalize");
    let ran = launch(&nodes, &["deadlock"]).expect_status(1).expect_stderr("deadlock");
    assert!(ran.stderr.contains("rank 3 (node2): waits in MPI_Recv (peer 0"), "{}", ran.stderr);
}

#[test]
fn a_time_limit_ends_all_nodes() {
    let options = ["--local-nodes", "2", "-n", "2", "--timeout", "0.5"];
    for mode in ["sleep", "compute"] {
        let ran = launch(&options, &[mode]).expect_status(110).expect_stderr("--timeout");
        assert!(ran.stderr.contains("rank 1 (node2): "), "{}", ran.stderr);
    }
}

#[test]
fn input_goes_to_its_readers_on_their_nodes() {
    for (policy, readers) in [("0", &[0][..]), ("2", &[2]), ("all", &[0, 1, 2]), ("none", &[])] {
        let options = ["--local-nodes", "2", "-n", "3", "--stdin", policy];
        let ran = start(&options, &["read"], Some("a\nb\n")).wait().expect_status(0);
        let mut expected: Vec<String> = (0..3).map(|rank| format!("{rank} end")).collect();
        expected
            .extend(readers.iter().flat_map(|r| [format!("{r} read a"), format!("{r} read b")]));
        expected.sort();
        assert_eq!(ran.sorted_lines(), expected, "--stdin {policy}");
    }
}

#[test]
fn much_output_arrives_whole_and_unmixed() {
    const LINES: usize = 20_000;
    let source = build_dir().join("many_lines.c");
    let text = "#include <mpi.h>\n#include <stdio.h>\nint main(int c, char **v) {\n\
        int rank; MPI_Init(&c, &v); MPI_Comm_rank(MPI_COMM_WORLD, &rank);\n\
        for (int i = 0; i < 20000; i++) printf(\"%d:%d:%.*s\\n\", rank, i, 40 + i % 39,\n\
        \"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\");\n\
        MPI_Finalize(); return 0; }\n";
    fs::write(&source, text).expect("written");
    let mut command = faasm_run();
    command.args(["--local-nodes", "2", "-n", "4"]).arg(&source);
    let ran = Running::start(&mut command, "").wait().expect_status(0);
    let mut next = [0; 4];
    for line in ran.stdout.lines() {
        let parts: Vec<&str> = line.split(':').collect();
        let [rank, number, letters] = parts[..] else { panic!("mixed: {line}") };
        let (rank, number): (usize, usize) =
            (rank.parse().expect("a rank"), number.parse().expect("a number"));
        assert_eq!((number, letters.len()), (next[rank], 40 + number % 39), "{line}");
        next[rank] += 1;
    }
    assert_eq!(next, [LINES; 4]);
}

#[test]
fn signals_end_all_nodes_and_leave_no_process() {
    for (mode, signal, status) in
        [("sleep", Signal::INT, 130), ("sleep", Signal::TERM, 143), ("compute", Signal::INT, 130)]
    {
        let running = start(&["--local-nodes", "3", "-n", "6"], &[mode], None);
        let processes = settle(&running, 3);
        let asked = Instant::now();
        running.signal(signal);
        running.wait().expect_status(status);
        assert!(asked.elapsed() < Duration::from_secs(3), "{mode}: {:?}", asked.elapsed());
        all_gone(&processes);
    }
}

#[test]
fn a_signal_shows_the_ranks_of_all_nodes() {
    let running = start(&["--local-nodes", "2", "-n", "4"], &["sleep"], None);
    settle(&running, 2);
    running.signal(Signal::USR1);
    thread::sleep(Duration::from_secs(1));
    running.signal(Signal::INT);
    let ran = running.wait().expect_status(130);
    for (rank, node) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        let line = format!("  rank {rank} (node{node}): ");
        assert!(ran.stderr.contains(&line), "{line}: {}", ran.stderr);
    }
}

#[test]
fn a_killed_node_ends_the_job_with_its_name_and_ranks() {
    let running = start(&["--local-nodes", "4", "-n", "8"], &["sleep"], None);
    let processes = settle(&running, 4);
    let killed = Instant::now();
    rustix::process::kill_process(processes[1], Signal::KILL).expect("it runs");
    let ran = running.wait().expect_status(205);
    assert!(killed.elapsed() < LOST_MAX, "{:?}", killed.elapsed());
    let ran = ran.expect_stderr("is lost: ").expect_stderr("ran there; 6 ranks on other nodes");
    assert!(ran.stderr.contains("Ranks ") && ran.stderr.contains("(node"), "{}", ran.stderr);
    all_gone(&processes);
}

#[test]
fn a_stopped_node_is_lost_after_the_time_given() {
    let options = ["--local-nodes", "2", "-n", "2", "--node-timeout", "2"];
    let running = start(&options, &["sleep"], None);
    let processes = settle(&running, 2);
    let stopped = Instant::now();
    rustix::process::kill_process(processes[0], Signal::STOP).expect("it runs");
    let ran = running.wait().expect_status(205).expect_stderr("is lost: ");
    assert!(stopped.elapsed() > Duration::from_secs(1), "{:?}", stopped.elapsed());
    assert!(stopped.elapsed() < LOST_MAX, "{:?}: {}", stopped.elapsed(), ran.stderr);
    all_gone(&processes);
}

#[test]
fn nodes_end_with_a_coordinator_that_is_killed() {
    let running = start(&["--local-nodes", "3", "-n", "6"], &["compute"], None);
    let processes = settle(&running, 3);
    running.signal(Signal::KILL);
    running.wait();
    all_gone(&processes);
}

#[test]
fn nodes_that_are_awaited_need_the_right_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    fs::write(&right, "0123456789abcdef".repeat(4)).expect("written");
    fs::write(&wrong, "fedcba9876543210".repeat(4)).expect("written");
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let right = right.to_str().expect("a UTF-8 path");
    let options = ["--await-nodes", "1", "--listen", &at, "--token-file", right, "-n", "2"];
    let running = start(&options, &["hello"], Some(""));
    let node = |token: &str| {
        let mut command = faasm_run();
        command.args(["node", "--once", "--join", &at, "--token-file", token]);
        Running::start(&mut command, "")
    };
    let refused = node(wrong.to_str().expect("a UTF-8 path")).wait().expect_status(1);
    let refused = refused.expect_stderr("refused this machine");
    assert_eq!(refused.stderr.lines().count(), 1, "one paragraph: {}", refused.stderr);
    let member = node(right);
    let ran = running.wait().expect_status(0);
    assert_eq!(ran.sorted_lines(), ["rank 0 of 2", "rank 1 of 2"]);
    assert_eq!(member.wait().expect_status(0).stdout, "");
}

#[test]
fn a_node_without_coordinator_or_token_says_so() {
    let mut command = faasm_run();
    command.args(["node", "--once", "--join", "127.0.0.1:1"]);
    let ran = Running::start(&mut command, "").wait().expect_status(1);
    ran.expect_stderr("there is no token");
    let mut command = faasm_run();
    command.args(["node", "--once", "--join", "127.0.0.1:1"]);
    let ran = Running::start(&mut command, "rubbish\n").wait().expect_status(1);
    ran.expect_stderr("this is not a token");
}

/// A port that nobody uses at the moment.
pub(crate) fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("there are ports");
    socket.local_addr().expect("it is bound").port()
}

/// A coordinator that runs on its own, with its directory.
pub(crate) struct Coordinator {
    dir: tempfile::TempDir,
    running: Option<Running>,
    at: String,
}

impl Coordinator {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = format!("127.0.0.1:{}", free_port());
        let mut coordinator = Self { dir, running: None, at };
        let at = coordinator.at.clone();
        let running = coordinator.command(&["cluster", "init", "--listen", &at]);
        coordinator.running = Some(running);
        let end = Instant::now() + LIMIT;
        while coordinator.command(&["cluster", "status"]).wait().status != Some(0) {
            assert!(Instant::now() < end, "the coordinator does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        coordinator
    }

    /// Starts `faasm-run` for this coordinator's directory.
    fn command(&self, arguments: &[&str]) -> Running {
        self.command_reading(arguments, "")
    }

    fn command_reading(&self, arguments: &[&str], input: &str) -> Running {
        Running::start(self.faasm_run().args(arguments), input)
    }

    /// `faasm-run` for this coordinator's directory.
    pub(crate) fn faasm_run(&self) -> Command {
        let mut command = faasm_run();
        command.env("FAASM_STATE_DIR", self.dir.path().join("state"));
        command
    }

    pub(crate) fn order(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).wait()
    }

    /// Lets a node join that is called so.
    pub(crate) fn join(&self, name: &str) -> Running {
        let before = self.nodes();
        let token = self.order(&["cluster", "token"]).expect_status(0).stdout;
        let arguments = ["node", "--join", &self.at, "--name", name, "--workers", "1"];
        let node = self.command_reading(&arguments, &token);
        self.await_nodes(before + 1);
        node
    }

    fn nodes(&self) -> usize {
        let status = self.order(&["cluster", "status", "--json"]).expect_status(0).stdout;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["nodes"].as_array().expect("a list").len()
    }

    pub(crate) fn await_nodes(&self, nodes: usize) {
        let end = Instant::now() + LIMIT;
        while self.nodes() != nodes {
            assert!(Instant::now() < end, "{} nodes instead of {nodes}", self.nodes());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_cluster_runs_jobs_and_lets_nodes_come_and_go() {
    let mut coordinator = Coordinator::start();
    let launcher = LAUNCHER.to_str().expect("a UTF-8 path");
    let none = coordinator.order(&["--cluster", "-n", "2", launcher, "hello"]).expect_status(1);
    none.expect_stderr("no node");
    let (first, second) = (coordinator.join("one"), coordinator.join("two"));
    let job = ["--cluster", "-n", "4", "--map-by", "node", "--tag-output", launcher];
    let ran = coordinator.order(&[&job[..], &["hello"]].concat()).expect_status(0);
    assert_eq!(ran.stdout.lines().count(), 4, "{ran:#?}");
    assert!(ran.stdout.contains("[1,1][two]<stdout>: rank 1 of 4"), "{ran:#?}");
    let ran =
        coordinator.command_reading(&["--cluster", "-n", "2", launcher, "read"], "a\n").wait();
    assert_eq!(ran.expect_status(0).sorted_lines(), ["0 end", "0 read a", "1 end"]);
    let ran = coordinator.order(&[&job[..], &["trap", "1", "0"]].concat()).expect_status(134);
    ran.expect_stderr("rank 1 (two): trapped").expect_stderr("innermost");
    let running = coordinator.command(&[&job[..], &["sleep"]].concat());
    thread::sleep(Duration::from_secs(2));
    running.signal(Signal::INT);
    running.wait().expect_status(130);
    coordinator.order(&["cluster", "drain", "three"]).expect_status(1).expect_stderr("three");
    coordinator.order(&["cluster", "drain", "one"]).expect_status(0);
    first.wait().expect_status(0);
    coordinator.await_nodes(1);
    let ran = coordinator.order(&["--cluster", "-n", "2", launcher, "hello"]).expect_status(0);
    assert_eq!(ran.sorted_lines(), ["rank 0 of 2", "rank 1 of 2"]);
    coordinator.order(&["cluster", "leave", "two"]).expect_status(0);
    second.wait().expect_status(0);
    let rival = coordinator.order(&["cluster", "init", "--listen", "127.0.0.1:0"]);
    rival.expect_status(1).expect_stderr("a coordinator runs already");
    let daemon = coordinator.running.take().expect("it was started");
    daemon.signal(Signal::TERM);
    daemon.wait().expect_status(0);
    coordinator.order(&["cluster", "status"]).expect_status(1).expect_stderr("cluster init");
}

#[test]
fn a_token_is_good_for_one_node() {
    let mut coordinator = Coordinator::start();
    let token = coordinator.order(&["cluster", "token"]).expect_status(0).stdout;
    let arguments = ["node", "--once", "--join", &coordinator.at, "--workers", "1"];
    let mut command = faasm_run();
    let member = {
        command.args(arguments).env("FAASM_TOKEN", token.trim());
        Running::start_waiting(&mut command)
    };
    coordinator.await_nodes(1);
    let refused = coordinator.command_reading(&arguments, &token).wait().expect_status(1);
    refused.expect_stderr("has been used");
    let daemon = coordinator.running.take().expect("it was started");
    daemon.signal(Signal::TERM);
    daemon.wait().expect_status(0);
    assert!(member.wait().status.is_some(), "it ends with its coordinator");
}

/// Another machine has neither the coordinator's directory nor a shared one.
#[test]
fn a_user_of_another_machine_gives_jobs_and_orders_with_a_token() {
    let mut coordinator = Coordinator::start();
    let launcher = LAUNCHER.to_str().expect("a UTF-8 path");
    let node = coordinator.join("one");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let user = coordinator.order(&["cluster", "token", "--client"]).expect_status(0).stdout;
    let file = elsewhere.path().join("token");
    fs::write(&file, &user).expect("written");
    let file = file.to_str().expect("a UTF-8 path");
    let remote = |arguments: &[&str], input: &str| {
        let mut command = faasm_run();
        command.env("FAASM_STATE_DIR", elsewhere.path()).env_remove("FAASM_TOKEN");
        Running::start(command.args(arguments), input)
    };
    let at = ["--cluster", &coordinator.at, "--token-file", file];
    let ran = remote(&[&["cluster", "status"], &at[..]].concat(), "").wait().expect_status(0);
    assert!(ran.stdout.starts_with("1 nodes, 0 jobs"), "{ran:#?}");
    let job = [&at[..], &["-n", "2", launcher]].concat();
    let ran = remote(&[&job[..], &["read"]].concat(), "a\n").wait().expect_status(0);
    assert_eq!(ran.sorted_lines(), ["0 end", "0 read a", "1 end"]);
    remote(&[&job[..], &["trap", "1", "0"]].concat(), "")
        .wait()
        .expect_status(134)
        .expect_stderr("rank 1 (one): trapped");
    let running = remote(&[&job[..], &["sleep"]].concat(), "");
    let end = Instant::now() + LIMIT;
    while !coordinator.order(&["cluster", "status"]).stdout.contains(" 1 jobs") {
        assert!(Instant::now() < end, "the job does not start");
        thread::sleep(Duration::from_millis(50));
    }
    running.signal(Signal::KILL);
    running.wait();
    while coordinator.order(&["cluster", "status"]).stdout.contains(" 1 jobs") {
        assert!(Instant::now() < end, "the job is left behind");
        thread::sleep(Duration::from_millis(50));
    }
    let more = remote(&[&["cluster", "token", "--client"], &at[..]].concat(), "").wait();
    more.expect_status(1).expect_stderr("on the coordinator's own machine");
    let joined = coordinator.order(&["cluster", "token"]).expect_status(0).stdout;
    fs::write(file, joined).expect("written");
    remote(&job, "").wait().expect_status(1).expect_stderr("with which a node joins");
    let nothing = ["--cluster", &coordinator.at, "-n", "2", launcher, "hello"];
    remote(&nothing, "").wait().expect_status(1).expect_stderr("cluster token --client");
    fs::write(file, user).expect("written");
    let ran = remote(&[&["cluster", "drain", "one"], &at[..]].concat(), "").wait();
    ran.expect_status(0);
    node.wait().expect_status(0);
    let daemon = coordinator.running.take().expect("it was started");
    daemon.signal(Signal::TERM);
    daemon.wait().expect_status(0);
}

/// A receiver would have to keep several times as much as it may.
#[test]
fn a_rank_that_does_not_receive_cannot_be_flooded() {
    let program = build_dir().join("flood.nodes.wasm");
    compile(&guests_dir().join("faasm/flood.c"), &["-O2".into()], &program)
        .unwrap_or_else(|error| panic!("{error}"));
    for (options, messages, bytes) in [
        (&["--local-nodes", "2", "--map-by", "node"][..], "10000", "65536"),
        (&["--local-nodes", "2", "--map-by", "node"], "100000", "4000"),
        (&[], "80000", "8192"),
    ] {
        let mut command = faasm_run();
        command.args(options).args(["-n", "2"]).arg(&program).args([messages, bytes]);
        let running = Running::start(&mut command, "");
        let mut peak = 0;
        // The memory of a process that has ended cannot be asked for any more.
        while !running.has_ended() {
            let own = i32::try_from(running.id()).expect("a process");
            let all = children(running.id()).into_iter().map(Pid::as_raw_pid).chain([own]);
            peak = peak.max(all.map(peak_bytes).max().unwrap_or(0));
            thread::sleep(Duration::from_millis(5));
        }
        let ran = running.wait().expect_status(0);
        assert_eq!(ran.stdout, "ok flood\n", "{messages} x {bytes}");
        assert!(peak > 0 && peak < 250 << 20, "{messages} x {bytes}: {} MiB", peak >> 20);
    }
}

/// Runs a shell command, with the arguments as `$@`.
fn in_shell(script: &str, arguments: &[&str]) -> Ran {
    let program = faasm_run().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(program).args(arguments);
    Running::start(&mut command, "").wait()
}

/// Whatever it is that gets no descriptor, a user is told which limit to raise.
#[test]
fn too_few_descriptors_are_an_error_with_a_remedy() {
    let launcher = LAUNCHER.to_str().expect("a UTF-8 path");
    let job = ["--local-nodes", "3", "-n", "3", launcher, "hello"];
    for limit in [6, 8, 12] {
        let ran = in_shell(&format!("ulimit -n {limit}; exec \"$@\""), &job);
        ran.expect_status(1).expect_stderr("`ulimit -n`");
    }
}

/// What cannot be kept is fetched and compiled for the job all the same, and nothing half written stays.
#[test]
fn a_full_disk_costs_a_node_its_cache_and_no_job() {
    let launcher = LAUNCHER.to_str().expect("a UTF-8 path");
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().to_str().expect("a UTF-8 path");
    let script = format!(
        "mount -t tmpfs -o size=16k tmpfs {dir} || exit 99; FAASM_CACHE_DIR={dir} \"$@\"; code=$?; \
         find {dir} -type f -size +0 >&2; exit $code"
    );
    let is_root = rustix::process::getuid().is_root();
    let unshare =
        format!("unshare {} sh -c '{script}' sh \"$@\"", if is_root { "-m" } else { "-Urm" });
    let job = ["--local-nodes", "2", "-n", "2", launcher, "hello"];
    let ran = in_shell(&unshare, &job).expect_status(0);
    assert_eq!(ran.sorted_lines(), ["rank 0 of 2", "rank 1 of 2"], "{ran:#?}");
    let ran = ran.expect_stderr("the disk is full").expect_stderr("FAASM_CACHE_DIR");
    assert!(!ran.stderr.contains(&format!("\n{dir}/")), "something was left behind: {ran:#?}");
}
