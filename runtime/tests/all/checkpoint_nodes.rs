//! Checkpoints of jobs on several nodes: programs do the same, and go on on one node.

use std::{
    path::Path,
    sync::atomic::AtomicUsize,
    time::{Duration, Instant},
};

use faasm_workloads::manifest::Guest;
use rustix::process::Signal;

use crate::{
    checkpoint::{
        RANKS_MAX, Steps, cuts, families, go_on_from_all, movable_guests, restart, shared_pairs,
    },
    guests::compiled,
    suite::{check_all, check_run},
    support::{Running, faasm_run},
};

/// How long it may take until something is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Guests with collective operations, messages and windows between nodes. All guests with FAASM_ALL_GUESTS.
const SPREAD: [&str; 10] = [
    "collective",
    "communicator",
    "intercomm",
    "nonblocking",
    "persistent",
    "point_to_point",
    "probe",
    "rma",
    "topology",
    "window",
];

/// The largest number of ranks that is no more than there should be here, if it puts some on every node.
fn ranks(guest: &Guest, nodes: u32) -> Option<u32> {
    let fit = guest.np.iter().copied().filter(|np| (nodes..=RANKS_MAX.max(nodes)).contains(np));
    fit.max()
}

fn check_on(nodes: u32) {
    let (made, continued) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let all = std::env::var_os("FAASM_ALL_GUESTS").is_some();
    let mut guests = movable_guests();
    guests.retain(|guest| all || SPREAD.iter().any(|name| guest.name.contains(name)));
    guests.retain(|guest| ranks(guest, nodes).is_some());
    assert!(guests.len() > 10, "only {} guests", guests.len());
    check_all(&guests, |guest| {
        let np = ranks(guest, nodes).unwrap_or(nodes);
        let program = compiled(guest)?;
        let dir = tempfile::tempdir().expect("a directory");
        let kept = dir.path().join("kept");
        let mut command = faasm_run();
        command.args(["--local-nodes", &nodes.to_string(), "--checkpoint-every", "1ms"]);
        command.arg("--checkpoint-dir").arg(&kept).args(["-n", &np.to_string()]);
        command.arg(&program).args(&guest.args).envs(&guest.env).current_dir(dir.path());
        let ran = Running::start(&mut command, &guest.stdin).wait();
        check_run(guest, &ran).map_err(|wrong| format!("np {np}: {wrong}: {ran:#?}"))?;
        go_on_from_all(guest, &kept, &["--launcher", "local"], (&made, &continued))
            .map_err(|wrong| format!("np {np}, {wrong}"))
    });
    let (made, continued) = (made.into_inner(), continued.into_inner());
    assert!(made > 5 && continued > 5, "{made} cuts were left, {continued} went on");
}

#[test]
fn guests_on_two_nodes_do_the_same_with_checkpoints_and_go_on_on_one() {
    check_on(2);
}

#[test]
fn guests_on_four_nodes_do_the_same_with_checkpoints_and_go_on_on_one() {
    check_on(4);
}

#[test]
fn a_killed_job_on_two_nodes_goes_on_on_one_from_its_last_checkpoint() {
    let steps = Steps::new();
    let running = steps.begin(&["--local-nodes", "2", "--checkpoint-every", "30ms"]);
    steps.await_cut();
    std::thread::sleep(Duration::from_millis(50));
    running.signal(Signal::KILL);
    let first = running.wait();
    let ran = Running::start(&mut restart(&steps.kept(), &["--launcher", "local"]), "").wait();
    steps.check_end(&first.stdout, &ran);
}

#[test]
fn a_job_on_two_nodes_is_kept_on_request_and_before_it_is_ended() {
    let steps = Steps::new();
    let log = steps.dir.path().join("steps.log");
    std::fs::remove_file(&log).expect("the run before has left it");
    let running = steps.begin(&["--local-nodes", "2", "--checkpoint-on-term"]);
    // From then on it runs, and its signals are handled.
    let begun = Instant::now();
    while !log.exists() {
        assert!(begun.elapsed() < PATIENCE, "it does not run");
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut ask = faasm_run();
    ask.args(["checkpoint", &running.id().to_string()]);
    let asked = Running::start(&mut ask, "").wait();
    assert_eq!(asked.status, Some(0), "{asked:#?}");
    steps.await_cut();
    running.signal(Signal::TERM);
    let first = running.wait();
    assert_eq!(first.status, Some(143), "{first:#?}");
    assert!(first.stderr.contains("faasm-run restart"), "{first:#?}");
    let ran = Running::start(&mut restart(&steps.kept(), &["--launcher", "local"]), "").wait();
    steps.check_end(&first.stdout, &ran);
}

/// Ranks that share memory are put back on one node, wherever the others are.
#[test]
fn shared_memory_is_put_back_where_its_ranks_are_together() {
    goes_on_elsewhere(&shared_pairs(), &["-n", "4"], "ok rma_shared_pairs");
}

#[test]
fn families_of_processes_go_on_on_one_node_and_on_others() {
    goes_on_elsewhere(&families(), &["-n", "3"], "ok dynamic_lives");
    goes_on_elsewhere(&families(), &["-n", "3", "--local-nodes", "2"], "ok dynamic_lives");
}

/// Kills a job of a program that goes on until there is a file, and has it go on from one checkpoint on several nodes and on one.
fn goes_on_elsewhere(program: &Path, options: &[&str], ok: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let kept = dir.path().join("kept");
    let mut command = faasm_run();
    command.args(options).args(["--checkpoint-every", "20ms", "--checkpoint-dir"]).arg(&kept);
    command.arg(program).args(["1", "until"]).current_dir(dir.path());
    let running = Running::start(&mut command, "");
    let begun = Instant::now();
    while cuts(&kept).is_empty() {
        assert!(begun.elapsed() < PATIENCE && !running.has_ended(), "there is no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::KILL);
    running.wait();
    std::fs::write(dir.path().join("end"), "").expect("a file");
    // Each goes on from the same one, and makes none.
    let cut = cuts(&kept).last().copied().expect("there is one").to_string();
    let again = |options: &[&str]| {
        let mut command = restart(&kept, &["--cut", &cut, "--checkpoint-every", "1h"]);
        Running::start(command.args(options).current_dir(dir.path()), "").wait()
    };
    for options in [
        &["--local-nodes", "4"][..],
        &["--local-nodes", "2", "--map-by", "node"],
        &["--launcher", "local"],
    ] {
        let ran = again(options);
        assert!(ran.status == Some(0) && ran.stdout.contains(ok), "{options:?}: {ran:#?}");
    }
}
