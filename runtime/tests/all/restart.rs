//! Jobs that go on over other nodes than those they were stopped on, and by themselves when a node is lost.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use faasm_workloads::manifest::Guest;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    checkpoint::{RANKS_MAX, Steps, cuts, go_on_from, movable_guests, restart, steps},
    guests::compiled,
    suite::{check_all, check_run},
    support::{Running, faasm_run},
};

/// How long it may take until something is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Guests whose state is hard to take elsewhere: messages under way, collectives that were started, windows,
/// communicators, requests of all kinds.
const HARD: [&str; 9] = [
    "point_to_point",
    "nonblocking",
    "persistent",
    "partitioned",
    "intercomm",
    "communicator_create",
    "rma_",
    "topology",
    "session",
];

/// The hard ones of the guests; with FAASM_ALL_GUESTS all of them.
fn hard_guests() -> Vec<Guest> {
    let mut guests = movable_guests();
    let all = std::env::var_os("FAASM_ALL_GUESTS").is_some();
    guests.retain(|guest| all || HARD.iter().any(|name| guest.name.contains(name)));
    guests.retain(|guest| guest.np.iter().any(|np| *np > 1));
    // What these have written is gone at their end.
    guests.retain(|guest| !guest.name.starts_with("file"));
    guests
}

/// Makes a cut on one node, about in the middle; gives nothing when the guest is too short for one.
fn cut_once(guest: &Guest, np: u32, program: &Path, dir: &Path) -> Result<Option<u32>, String> {
    let kept = dir.join("kept");
    let mut command = faasm_run();
    command.args(["--checkpoint-every", "1ms", "--checkpoint-dir"]).arg(&kept);
    command.args(["-n", &np.to_string()]).arg(program).args(&guest.args);
    command.envs(&guest.env).current_dir(dir);
    let ran = Running::start(&mut command, &guest.stdin).wait();
    check_run(guest, &ran).map_err(|wrong| format!("np {np}: {wrong}: {ran:#?}"))?;
    Ok(cuts(&kept).first().copied())
}

#[test]
fn guests_go_on_over_several_nodes() {
    let continued = AtomicUsize::new(0);
    check_all(&hard_guests(), |guest| {
        let fits = guest.np.iter().copied().filter(|np| *np <= RANKS_MAX).max();
        let np = fits.unwrap_or(guest.np[0]);
        let program = compiled(guest)?;
        let dir = tempfile::tempdir().expect("a directory");
        let Some(cut) = cut_once(guest, np, &program, dir.path())? else { return Ok(()) };
        let kept = dir.path().join("kept");
        go_on_from(guest, &kept, cut, &["--local-nodes", "2", "--map-by", "node"])
            .map_err(|wrong| format!("np {np}, {wrong}"))?;
        continued.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let continued = continued.into_inner();
    assert!(continued > 5, "only {continued} went on");
}

#[test]
fn a_job_of_one_node_goes_on_over_two_and_four() {
    let steps = Steps::new();
    let running = steps.begin(&["--checkpoint-every", "30ms"]);
    steps.await_cut();
    running.signal(Signal::KILL);
    let first = running.wait();
    let kept = steps.kept();
    let cut = cuts(&kept).first().copied().expect("there is one").to_string();
    let log = fs::read_to_string(steps.dir.path().join("steps.log")).expect("it is there");
    for nodes in ["2", "4"] {
        // Each goes on from the same file.
        fs::write(steps.dir.path().join("steps.log"), &log).expect("written");
        let mut command = restart(&kept, &["--cut", &cut, "--checkpoint-every", "1h"]);
        command.args(["--local-nodes", nodes, "--map-by", "node"]);
        let ran = Running::start(&mut command, "").wait();
        steps.check_end(&first.stdout, &ran);
    }
}

/// The processes of a job's nodes on this machine.
fn nodes_of(process: u32) -> Vec<Pid> {
    let path = format!("/proc/{process}/task");
    let tasks = fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).ok();
    let all: Vec<String> = tasks.flatten().filter_map(children).collect();
    let pids = all.iter().flat_map(|line| line.split_whitespace());
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// A run of the program that computes in steps on three nodes.
fn begin(steps: &Steps, options: &[&str]) -> Running {
    let mut command: Command = faasm_run();
    command.args(["--local-nodes", "3", "--map-by", "node", "-n", "4"]).args(options);
    command.arg(self::steps()).arg(Steps::NUMBER).current_dir(steps.dir.path());
    Running::start(&mut command, "")
}

/// Waits until the program has come to its first steps.
fn await_steps(steps: &Steps) {
    let begun = Instant::now();
    let log = steps.dir.path().join("steps.log");
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("step 10 ")) {
        assert!(begun.elapsed() < PATIENCE, "it does not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn kill_one_node(running: &Running) {
    let nodes = nodes_of(running.id());
    assert_eq!(nodes.len(), 3, "the nodes are processes");
    kill_process(nodes[1], Signal::KILL).expect("it runs");
}

#[test]
fn a_job_without_checkpoints_begins_anew_when_a_node_is_lost() {
    let steps = Steps::new();
    fs::remove_file(steps.dir.path().join("steps.log")).expect("it is there");
    let running = begin(&steps, &["--on-failure", "restart"]);
    await_steps(&steps);
    kill_one_node(&running);
    let ran = running.wait().expect_status(0).expect_stderr("is lost");
    assert!(ran.stderr.contains("the job begins anew"), "{ran:#?}");
    assert!(ran.stdout.ends_with(&steps.expected), "{ran:#?}");
}

#[test]
fn a_job_goes_on_from_its_last_checkpoint_when_a_node_is_lost() {
    let steps = Steps::new();
    fs::remove_file(steps.dir.path().join("steps.log")).expect("it is there");
    let options = ["--on-failure", "restart", "--checkpoint-every", "40ms", "--checkpoint-dir"];
    let kept = steps.kept();
    let kept = kept.to_str().expect("a path of text");
    let running = begin(&steps, &[&options[..], &[kept]].concat());
    steps.await_cut();
    kill_one_node(&running);
    let ran = running.wait().expect_status(0).expect_stderr("is lost");
    assert!(ran.stderr.contains("the job goes on from checkpoint"), "{ran:#?}");
    let result = |text: &str| text.lines().last().map(str::to_owned);
    assert_eq!(result(&ran.stdout), result(&steps.expected), "{ran:#?}");
    let log = fs::read_to_string(steps.dir.path().join("steps.log")).expect("it is there");
    let lines = steps.expected.lines().filter(|line| line.starts_with("step"));
    assert!(log.lines().eq(lines), "each step is there once: {log}");
}

#[test]
fn a_job_ends_when_it_may_not_go_on() {
    let steps = Steps::new();
    for options in [&["--on-failure", "restart:0"][..], &[]] {
        fs::remove_file(steps.dir.path().join("steps.log")).expect("it is there");
        let running = begin(&steps, options);
        await_steps(&steps);
        kill_one_node(&running);
        let ran = running.wait().expect_stderr("is lost");
        assert!(ran.status != Some(0) && !ran.stderr.contains("begins anew"), "{ran:#?}");
    }
    let mut command = faasm_run();
    command.args(["--on-failure", "restart", "-n", "1"]).arg(self::steps());
    Running::start(&mut command, "").wait().expect_status(1).expect_stderr("several nodes");
}
