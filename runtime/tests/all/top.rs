//! What `faasm-run top` shows of running jobs, and jobs whose ranks are moved without having been asked for.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ran, Running, build_dir, compile, faasm_run, guests_dir};

/// How long something may take that is to happen.
const LIMIT: Duration = Duration::from_secs(60);

/// The program whose first ranks compute, compiled.
fn uneven() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = build_dir().join("uneven.wasm");
        compile(&guests_dir().join("faasm/uneven.c"), &[], &program).expect("it compiles");
        program
    })
}

/// A job that runs until it is told to end, in a directory of its own.
struct Job {
    dir: tempfile::TempDir,
    running: Running,
}

impl Job {
    fn begin(options: &[&str], busy: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = faasm_run();
        command.env("FAASM_STATE_DIR", dir.path().join("state")).args(options);
        command.arg(uneven()).arg(busy).current_dir(dir.path());
        Self { running: Running::start(&mut command, ""), dir }
    }

    fn process(&self) -> String {
        self.running.id().to_string()
    }

    fn faasm_run(&self, words: &[&str]) -> Ran {
        let mut command = faasm_run();
        command.env("FAASM_STATE_DIR", self.dir.path().join("state")).args(words);
        Running::start(&mut command, "").wait()
    }

    /// Looks until what is seen is right.
    fn await_view(&self, is_right: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let begun = Instant::now();
        loop {
            let ran = self.faasm_run(&["top", &self.process(), "--json", "--interval", "0.3"]);
            assert!(begun.elapsed() < LIMIT && !self.running.has_ended(), "{ran:#?}");
            if let Ok(view) = serde_json::from_str::<serde_json::Value>(&ran.stdout)
                && is_right(&view)
            {
                return view;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tells it to end, and checks that it does so in order.
    fn end(self) -> Ran {
        fs::write(self.dir.path().join("stop"), "").expect("the directory is ours");
        let ran = self.running.wait();
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), "begun\nended well\n"), "{ran:#?}");
        ran
    }
}

/// For each rank of a view, in order, a field.
fn ranks(view: &serde_json::Value, field: &str) -> Vec<u64> {
    let ranks = view["ranks"].as_array().expect("there are ranks");
    ranks.iter().map(|rank| rank[field].as_f64().expect("a number") as u64).collect()
}

#[test]
fn a_job_of_one_process_is_shown() {
    let job = Job::begin(&["-n", "3", "--workers", "1"], "1");
    let view = job.await_view(|view| {
        let busy = ranks(view, "cpu_percent");
        busy.len() == 3 && busy[0] > busy[1].max(busy[2]) && ranks(view, "messages")[2] > 0
    });
    assert_eq!(ranks(&view, "node"), [0, 0, 0]);
    assert!(ranks(&view, "memory_bytes").iter().all(|bytes| *bytes >= 65536), "{view:#}");
    assert_eq!(view["nodes"][0]["workers"], 1);
    // Without a number it is the only job here.
    let ran = job.faasm_run(&["top", "--once"]).expect_status(0);
    assert!(
        ran.stdout.starts_with(&format!("job {}: 3 ranks on 1 node", job.process())),
        "{ran:#?}"
    );
    assert!(ran.stdout.contains("no rank was moved") && ran.stdout.contains("MPI_"), "{ran:#?}");
    let ran = job.faasm_run(&["top", &job.process()]).expect_status(1);
    ran.expect_stderr("no terminal");
    let ran = job.faasm_run(&["migrate", &job.process(), "0", "0"]).expect_status(1);
    ran.expect_stderr("--migratable");
    let socket = job.dir.path().join(format!("state/job-{}.sock", job.process()));
    assert!(socket.exists());
    job.end();
    assert!(!socket.exists(), "nobody listens any more");
}

#[test]
fn nodes_and_moves_are_shown() {
    let options = ["--local-nodes", "2", "--migratable", "-n", "4", "--workers", "1"];
    let job = Job::begin(&options, "1");
    let busiest = |view: &serde_json::Value| {
        let busy = ranks(view, "cpu_percent");
        busy.len() == 4 && busy[0] > 0 && busy[1..].iter().all(|other| *other < busy[0])
    };
    let view = job.await_view(busiest);
    assert_eq!(ranks(&view, "node"), [0, 0, 1, 1]);
    let sent = |view: &serde_json::Value| {
        view["nodes"].as_array().is_some_and(|nodes| {
            nodes.iter().all(|node| node["sent_bytes_per_s"].as_f64() > Some(0.0))
        })
    };
    assert!(sent(&view), "both nodes send to each other: {view:#}");
    let messages = ranks(&view, "messages");
    job.faasm_run(&["migrate", &job.process(), "0", "1"]).expect_status(0);
    let view = job.await_view(|view| busiest(view) && ranks(view, "node") == [1, 0, 1, 1]);
    assert_eq!((&view["moves"]["ranks"], &view["moves"]["orders"]), (&1.into(), &1.into()));
    assert!(view["moves"]["recent"][0]["stopped_us"].as_u64() > Some(0), "{view:#}");
    let grew = ranks(&view, "messages").iter().zip(&messages).all(|(now, then)| now >= then);
    assert!(grew, "what was sent before the move counts: {messages:?} {view:#}");
    let ran = job.faasm_run(&["top", "--once"]).expect_status(0);
    assert!(
        ran.stdout.contains("4 ranks on 2 nodes") && ran.stdout.contains("1 rank moved"),
        "{ran:#?}"
    );
    job.end();
}

#[test]
fn a_node_that_is_told_to_end_has_its_ranks_moved() {
    let options = ["--local-nodes", "2", "--migratable", "-n", "4", "--workers", "1"];
    let job = Job::begin(&options, "1");
    let view = job.await_view(|view| ranks(view, "node") == [0, 0, 1, 1]);
    let node = view["nodes"][1]["process"].as_i64().expect("it has a number") as i32;
    let node = Pid::from_raw(node).expect("it is one");
    kill_process(node, Signal::TERM).expect("the node runs");
    let view = job
        .await_view(|view| ranks(view, "node") == [0; 4] && view["nodes"][1]["note"] == "has left");
    let why = view["moves"]["recent"][0]["why"].as_str();
    assert_eq!(why, Some("its node is about to leave"), "{view:#}");
    job.end();
}

#[test]
fn there_may_be_no_job() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = faasm_run();
    command.env("FAASM_STATE_DIR", dir.path()).args(["top", "--once"]);
    let ran = Running::start(&mut command, "").wait().expect_status(1);
    ran.expect_stderr("no job of yours runs");
}

#[test]
fn ranks_that_compute_are_spread() {
    let options = ["--local-nodes", "2", "-n", "4", "--workers", "1", "-v"];
    let policy = ["--migrate-policy", "balance", "--migrate-every", "600ms"];
    let job = Job::begin(&[&options[..], &policy[..]].concat(), "2");
    // Both that compute begin on the first node.
    let spread = |view: &serde_json::Value| {
        let nodes = ranks(view, "node");
        nodes.len() == 4 && nodes[0] != nodes[1]
    };
    let view = job.await_view(spread);
    let why = view["moves"]["recent"][0]["why"].as_str().expect("it was moved");
    assert!(why.starts_with("balance"), "{view:#}");
    let ran = job.end();
    assert!(ran.stderr.contains("go to node 1"), "it is said with -v: {ran:#?}");
}

#[test]
fn ranks_are_packed() {
    let options = ["--local-nodes", "3", "-n", "3", "--map-by", "node", "--workers", "3"];
    let policy = ["--migrate-policy", "pack", "--migrate-every", "300ms"];
    let job = Job::begin(&[&options[..], &policy[..]].concat(), "0");
    let view = job.await_view(|view| {
        let nodes = ranks(view, "node");
        nodes.len() == 3 && nodes.iter().all(|node| *node == nodes[0])
    });
    assert!(view["moves"]["ranks"].as_u64() >= Some(2), "{view:#}");
    job.end();
}
