//! Jobs that go on when ranks fail (`--with-ft ulfm`): on one node, over several, and when a node is killed.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal};

use crate::support::{Ran, Running, build_dir, compile, faasm_run, guests_dir};

/// One of the guests `mpi/ulfm_*.c`.
fn program(name: &str, options: &[&str]) -> PathBuf {
    let program = build_dir().join(format!("{name}.wasm"));
    let source = guests_dir().join(format!("mpi/{name}.c"));
    let options: Vec<String> = ["-O1"].iter().chain(options).map(|one| (*one).into()).collect();
    compile(&source, &options, &program).unwrap_or_else(|error| panic!("{error}"));
    program
}

static MESSAGES: LazyLock<PathBuf> = LazyLock::new(|| program("ulfm_messages", &[]));
static COLLECTIVES: LazyLock<PathBuf> = LazyLock::new(|| program("ulfm_collectives", &[]));
static HEAT: LazyLock<PathBuf> = LazyLock::new(|| program("ulfm_heat", &[]));
static CONNECT: LazyLock<PathBuf> = LazyLock::new(|| program("ulfm_connect", &["-pthread"]));
static SPREAD: LazyLock<PathBuf> = LazyLock::new(|| program("ulfm_spread", &[]));
static SPAWN: LazyLock<PathBuf> = LazyLock::new(|| program("ulfm_spawn", &["-pthread"]));

fn start(options: &[&str], program: &PathBuf, arguments: &[&str]) -> Running {
    let mut command = faasm_run();
    command.args(["--timeout", "100"]).args(options).arg(program).args(arguments);
    command.current_dir(build_dir());
    Running::start(&mut command, "")
}

/// Runs a guest whose job goes on.
fn survive(options: &[&str], program: &PathBuf, arguments: &[&str]) -> Ran {
    let options = [&["--with-ft", "ulfm"], options].concat();
    start(&options, program, arguments).wait().expect_status(0)
}

const PLACES: [&[&str]; 6] = [
    &["-n", "2"],
    &["-n", "3"],
    &["-n", "4"],
    &["-n", "8"],
    &["-n", "4", "--local-nodes", "2"],
    &["-n", "7", "--local-nodes", "2"],
];

#[test]
fn messages_of_failed_ranks_are_errors_and_what_was_sent_before_arrives() {
    for place in PLACES {
        let ran = survive(place, &MESSAGES, &[]);
        assert_eq!(ran.stdout, "ok ulfm_messages\n", "{place:?}: {ran:?}");
        let ran = ran.expect_stderr("trapped").expect_stderr("the others went on without it");
        assert!(ran.stderr.contains("faasm-run: rank 1"), "{place:?}: {ran:?}");
    }
}

#[test]
fn collectives_without_a_member_end_with_errors_and_the_others_go_on() {
    let cases = [
        "barrier",
        "allreduce",
        "nonblocking",
        "constructors",
        "window",
        "window_free",
        "shared",
        "file",
        "two",
        "revoke",
    ];
    for case in cases {
        for place in PLACES {
            let ran = survive(place, &COLLECTIVES, &[case]);
            let line = format!("ok ulfm_collectives {case}\n");
            let ranks: usize = place[1].parse().expect("a number");
            let failed = match case {
                "revoke" => 0,
                "two" if ranks > 2 => 2,
                _ => 1,
            };
            assert_eq!(ran.stdout, line.repeat(ranks - failed), "{place:?}: {ran:?}");
        }
    }
}

#[test]
fn a_member_that_fails_while_it_works_for_all_is_missed_by_all() {
    for ranks in ["2", "5"] {
        let ran = survive(&["-n", ranks], &COLLECTIVES, &["operator"]);
        assert!(ran.stdout.contains("ok ulfm_collectives operator"), "{ran:?}");
    }
}

/// For groups of two ranks and more.
const HALVES: [&[&str]; 4] = [
    &["-n", "4"],
    &["-n", "7"],
    &["-n", "4", "--local-nodes", "2"],
    &["-n", "9", "--local-nodes", "2"],
];

#[test]
fn who_waits_for_another_group_hears_of_failures_and_the_groups_that_are_left_connect() {
    let cases = [
        "create_leader",
        "create_member",
        "create_inside",
        "create_revoked",
        "create_race",
        "accept_member",
        "accept_revoked",
        "connect_member",
        "connect_root",
        "connect_other",
        "connect_revoked",
        "connect_race",
        "opener_gone",
        "connected",
    ];
    for case in cases {
        for place in HALVES {
            let ran = survive(place, &CONNECT, &[case]);
            let ranks: usize = place[1].parse().expect("a number");
            let left = ranks - usize::from(!case.ends_with("revoked"));
            let line = format!("ok ulfm_connect {case}\n");
            assert_eq!(ran.stdout, line.repeat(left), "{place:?}: {ran:?}");
        }
    }
}

#[test]
fn processes_that_were_spawned_and_their_parents_go_on_without_each_other() {
    const CHILDREN: usize = 3;
    for case in ["child", "parent", "merged child", "merged parent", "missing", "late", "revoked"] {
        for place in PLACES {
            let ran = survive(place, &SPAWN, &[case]);
            let ranks: usize = place[1].parse().expect("a number");
            let (failed, children) = match case {
                "missing" => (1, 0),
                "revoked" => (0, 0),
                _ => (1, CHILDREN),
            };
            let line = format!("ok ulfm_spawn {case}\n");
            assert_eq!(ran.stdout, line.repeat(ranks + children - failed), "{place:?}: {ran:?}");
        }
    }
}

#[test]
fn a_solver_loses_two_ranks_and_finds_the_result() {
    for place in [&["-n", "4"][..], &["-n", "8"], &["-n", "6", "--local-nodes", "2"]] {
        let ran = survive(place, &HEAT, &[]);
        assert_eq!(ran.stdout, "ok ulfm_heat\n", "{place:?}: {ran:?}");
    }
}

#[test]
fn without_the_option_the_first_failure_ends_the_job() {
    let ran = start(&["-n", "3"], &MESSAGES, &[]).wait();
    assert!(ran.status != Some(0) && ran.stdout.is_empty(), "{ran:?}");
    ran.expect_stderr("2 ranks ended with it");
}

#[test]
fn a_job_goes_on_without_a_killed_node() {
    // The ranks of the second node wait for messages that never come.
    let ran = lose_node(1, "ulfm_node.ready", &COLLECTIVES, "node");
    assert_eq!(ran.stdout, "ok ulfm_collectives node\n".repeat(2), "{ran:?}");
}

#[test]
fn who_waits_for_a_group_on_a_killed_node_or_for_its_ports_gets_an_error() {
    for (node, case) in [(1, "node"), (0, "first_node")] {
        let ran = lose_node(node, "ulfm_connect.ready", &CONNECT, case);
        assert_eq!(ran.stdout, format!("ok ulfm_connect {case}\n").repeat(2), "{ran:?}");
    }
}

#[test]
fn spawned_processes_on_a_killed_node_fail_and_others_are_spawned_elsewhere() {
    let ran = lose_node(1, "ulfm_spread.ready", &SPREAD, "");
    assert_eq!(ran.stdout, "ok ulfm_spread\n".repeat(2), "{ran:?}");
}

/// Runs a guest on two nodes, of which one is killed as soon as there is the file `ready`.
fn lose_node(node: usize, ready: &str, program: &PathBuf, case: &str) -> Ran {
    let options = ["--with-ft", "ulfm", "-n", "4", "--local-nodes", "2"];
    let ready = build_dir().join(ready);
    // Of an earlier run; there need not be one.
    let _ = fs::remove_file(&ready);
    let running = start(&options, program, &[case]);
    let end = Instant::now() + Duration::from_secs(60);
    while !ready.exists() {
        assert!(Instant::now() < end, "the ranks do not come so far");
        thread::sleep(Duration::from_millis(20));
    }
    // The second node was started last.
    let mut nodes = children(running.id());
    nodes.sort_by_key(|pid| pid.as_raw_nonzero());
    rustix::process::kill_process(nodes[node], Signal::KILL).expect("it runs");
    let ran = running.wait().expect_status(0);
    ran.expect_stderr("is lost").expect_stderr("the others went on without it")
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
