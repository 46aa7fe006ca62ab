//! Jobs on a cluster that runs on its own: they are checkpointed, moved and restarted as others are, and a node that is
//! drained is left by its ranks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    checkpoint::{Steps, cuts, steps},
    cluster_nodes::Coordinator,
    support::{Ran, Running, build_dir, compile, guests_dir},
};

/// How long it may take until something is there.
const PATIENCE: Duration = Duration::from_secs(60);

fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A guest in C, compiled.
fn program(name: &str, compiled: &'static OnceLock<PathBuf>) -> &'static Path {
    compiled.get_or_init(|| {
        let program = build_dir().join(name).with_extension("jobs.wasm");
        let source = guests_dir().join("faasm").join(name).with_extension("c");
        compile(&source, &[], &program).unwrap_or_else(|error| panic!("{error}"));
        program
    })
}

/// The program that goes on until it is told to end.
fn rounds() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    program("rounds", &PROGRAM)
}

/// A cluster of two nodes, and a directory for one job.
struct Scene {
    coordinator: Coordinator,
    nodes: [Option<Running>; 2],
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let coordinator = Coordinator::start();
        let nodes = ["one", "two"].map(|name| Some(coordinator.join(name)));
        Self { coordinator, nodes, dir: tempfile::tempdir().expect("a directory") }
    }

    /// A job whose ranks alternate between the nodes.
    fn begin(&self, dir: &Path, input: &str, words: &[&str]) -> Running {
        let mut command = self.command(dir);
        Running::start(command.args(["--cluster", "--map-by", "node"]).args(words), input)
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = self.coordinator.faasm_run();
        command.current_dir(dir);
        command
    }

    fn order(&self, words: &[&str]) -> Ran {
        self.coordinator.order(words)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A job of four ranks that goes on until it is told to end.
    fn begin_rounds(&self, options: &[&str], words: &[&str], input: &str) -> Running {
        let program = [rounds().to_str().expect("a path of text")];
        let words = [&["-n", "4"], options, &program, words].concat();
        let running = self.begin(self.dir.path(), input, &words);
        await_that("its beginning", || self.path("begun").exists() || running.has_ended());
        running
    }

    /// Lets that job end.
    fn end_rounds(&self, running: Running) -> Ran {
        fs::write(self.path("go"), "").expect("written");
        let ran = running.wait().expect_status(0);
        let fine: Vec<String> = (0..4).map(|rank| format!("rank {rank} is fine")).collect();
        let untagged = |line: &str| line.rsplit(": ").next().unwrap_or_default().to_owned();
        let mut lines: Vec<String> = ran.stdout.lines().map(untagged).collect();
        lines.retain(|line| line.starts_with("rank"));
        lines.sort_unstable();
        assert_eq!(lines, fine, "{ran:#?}");
        ran
    }
}

#[test]
fn a_job_is_kept_on_a_cluster_and_goes_on_there_or_elsewhere() {
    let scene = Scene::new();
    let steps = Steps::new();
    let kept = steps.kept();
    let at = steps.dir.path();
    let program = self::steps().to_str().expect("a path of text");
    // The directory is the user's, wherever the coordinator was started.
    let words = ["--checkpoint-dir", "kept", "--checkpoint-on-term", "-n", "4", program, "600"];
    fs::remove_file(at.join("steps.log")).expect("it is there");
    let running = scene.begin(at, "", &words);
    await_that("the first step", || at.join("steps.log").exists());
    scene.order(&["checkpoint", &running.id().to_string()]).expect_status(0);
    await_that("a checkpoint", || !cuts(&kept).is_empty());
    running.signal(Signal::TERM);
    let first = running.wait().expect_status(143).expect_stderr("checkpoint 1 is in");
    let first = first.expect_stderr("the job ends after checkpoint 2");
    let log = fs::read_to_string(at.join("steps.log")).expect("it is there");
    let kept = kept.to_str().expect("a path of text");
    let mut outputs = Vec::new();
    for nodes in [&["--cut", "2"][..], &["--cut", "2", "--local-nodes", "3"]] {
        fs::write(at.join("steps.log"), &log).expect("written");
        let mut command = scene.command(Path::new("/"));
        command.args(["restart", kept]).args(nodes);
        let ran = Running::start(&mut command, "").wait().expect_status(0);
        let last = ran.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with("result ") && !first.stdout.contains("result"), "{ran:#?}");
        outputs.push(first.stdout.clone() + &ran.stdout);
    }
    let mut alone = crate::support::faasm_run();
    alone.args(["-n", "4", program, "600"]).current_dir(at);
    let alone = Running::start(&mut alone, "").wait().expect_status(0);
    assert_eq!(outputs, [alone.stdout.clone(), alone.stdout]);
}

#[test]
fn ranks_leave_a_node_that_is_drained_and_the_job_goes_on_without_it() {
    let mut scene = Scene::new();
    let options = ["--checkpoint-dir", "kept", "--tag-output"];
    let running = scene.begin_rounds(&options, &["read"], "a line\n");
    let process = running.id().to_string();
    let ran = scene.order(&["migrate", &process, "0", "two"]).expect_status(0);
    assert!(ran.stdout.contains("rank 0 runs on two"), "{ran:#?}");
    scene.order(&["migrate", &process, "0", "one"]).expect_status(0);
    let ran = scene.order(&["cluster", "drain", "one"]).expect_status(0);
    assert!(ran.stdout.starts_with("job 1: 2 ranks run on two"), "{ran:#?}");
    let drained = scene.nodes[0].take().expect("it runs");
    drained.wait().expect_status(0);
    assert!(!running.has_ended(), "{:#?}", running.wait());
    // The job is whole without it: it can be stopped, and goes on when a node has left.
    scene.order(&["checkpoint", &process]).expect_status(0);
    await_that("a checkpoint", || !cuts(&scene.path("kept")).is_empty() || running.has_ended());
    let ran = scene.order(&["migrate", &process, "0", "one"]);
    ran.expect_status(1).expect_stderr("takes no ranks");
    let ran = scene.order(&["cluster", "drain", "two"]).expect_status(0);
    assert!(
        ran.stdout.contains("stays there until it ends: the job has no other node"),
        "{ran:#?}"
    );
    let ran = scene.end_rounds(running);
    // Input and tags have followed.
    assert!(ran.stdout.contains("[1,0][two]<stdout>: read a line\n"), "{ran:#?}");
    let last = scene.nodes[1].take().expect("it runs");
    last.wait().expect_status(0);
}

#[test]
fn a_job_goes_on_when_a_node_of_the_cluster_is_lost() {
    let scene = Scene::new();
    let options =
        ["--on-failure", "restart", "--checkpoint-dir", "kept", "--checkpoint-every", "50ms"];
    let running = scene.begin_rounds(&options, &[], "");
    await_that("a checkpoint", || !cuts(&scene.path("kept")).is_empty() || running.has_ended());
    let lost = scene.nodes[1].as_ref().expect("it runs");
    lost.signal(Signal::KILL);
    scene.coordinator.await_nodes(1);
    let ran = scene.end_rounds(running).expect_stderr("is lost");
    assert!(ran.stderr.contains("the job goes on from checkpoint"), "{ran:#?}");
}

#[test]
fn ranks_that_ended_on_a_node_that_left_are_in_checkpoints() {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut scene = Scene::new();
    let early = program("early", &PROGRAM).to_str().expect("a path of text");
    // Rank 0 is on the first node, and the other one on the second.
    let words = ["--checkpoint-dir", "kept", "-n", "2", early];
    let running = scene.begin(scene.dir.path(), "", &words);
    await_that("the end of a rank", || scene.path("ended-1").exists() || running.has_ended());
    scene.order(&["cluster", "drain", "two"]).expect_status(0);
    scene.nodes[1].take().expect("it runs").wait().expect_status(0);
    scene.order(&["checkpoint", &running.id().to_string()]).expect_status(0);
    await_that("a checkpoint", || !cuts(&scene.path("kept")).is_empty() || running.has_ended());
    running.signal(Signal::KILL);
    running.wait();
    fs::write(scene.path("go"), "").expect("written");
    let kept = scene.path("kept");
    let mut command = scene.command(Path::new("/"));
    let ran = Running::start(command.arg("restart").arg(kept), "").wait();
    // The code of a rank that had ended before is the job's.
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(3), "rank 0 ends\n"), "{ran:#?}");
}

#[test]
fn a_rank_that_waits_for_a_lock_of_another_node_is_kept_and_moved() {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let scene = Scene::new();
    let locked = program("locked", &PROGRAM).to_str().expect("a path of text");
    let words = ["--checkpoint-dir", "kept", "-n", "2", locked];
    let running = scene.begin(scene.dir.path(), "", &words);
    await_that("its beginning", || scene.path("begun").exists() || running.has_ended());
    let process = running.id().to_string();
    scene.order(&["checkpoint", &process]).expect_status(0);
    await_that("a checkpoint", || !cuts(&scene.path("kept")).is_empty() || running.has_ended());
    for (rank, node) in [("1", "one"), ("1", "two"), ("0", "two"), ("1", "one")] {
        scene.order(&["migrate", &process, rank, node]).expect_status(0);
    }
    fs::write(scene.path("go"), "").expect("written");
    assert_eq!(running.wait().expect_status(0).stdout, "rank 1 found 7\n");
}

#[test]
fn a_job_on_one_node_goes_to_another_one_when_that_is_drained() {
    let mut scene = Scene::new();
    let program = rounds().to_str().expect("a path of text");
    let mut command = scene.command(scene.dir.path());
    command.args(["--cluster", "--report", "-n", "1", program]);
    let running = Running::start(&mut command, "");
    await_that("its beginning", || scene.path("begun").exists() || running.has_ended());
    let ran = scene.order(&["cluster", "drain", "one"]).expect_status(0);
    assert!(ran.stdout.starts_with("job 1: rank 0 runs on two"), "{ran:#?}");
    scene.nodes[0].take().expect("it runs").wait().expect_status(0);
    fs::write(scene.path("go"), "").expect("written");
    let ran = running.wait().expect_status(0);
    assert_eq!(ran.stdout, "rank 0 is fine\n", "{ran:#?}");
}
