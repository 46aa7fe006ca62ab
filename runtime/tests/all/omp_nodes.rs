//! Teams of OpenMP threads that span nodes: what they compute is what they compute on one node, and what they cannot do is
//! said.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::support::{Ran, Running, build_dir, compile, faasm_run, guests_dir};

/// A guest with threads, compiled.
fn program(source: &str, compiled: &'static OnceLock<PathBuf>) -> &'static Path {
    compiled.get_or_init(|| {
        let name = source.replace('/', "-");
        let program = build_dir().join(name).with_extension("nodes.wasm");
        let source = guests_dir().join(source);
        compile(&source, &["-fopenmp".to_owned()], &program)
            .unwrap_or_else(|error| panic!("{error}"));
        program
    })
}

fn constructs() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    program("omp/nodes.c", &PROGRAM)
}

fn special() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    program("faasm/omp_nodes.c", &PROGRAM)
}

fn start(options: &[&str], program: &Path, args: &[&str]) -> Running {
    let mut command = faasm_run();
    command.args(["-q", "--timeout", "120"]).args(options).arg(program).args(args);
    Running::start(&mut command, "")
}

fn run(options: &[&str], program: &Path, args: &[&str]) -> Ran {
    start(options, program, args).wait()
}

const TWO: [&str; 4] = ["--omp-nodes", "2", "--omp-threads", "4"];

#[test]
fn constructs_do_the_same_on_several_nodes() {
    let options: [&[&str]; 5] = [
        &["-n", "1", "--omp-threads", "4"],
        &TWO,
        &["--omp-nodes", "2", "--omp-threads", "2"],
        &["--omp-nodes", "2", "--omp-threads", "5"],
        &["--omp-nodes", "3", "--omp-threads", "4"],
    ];
    for options in options {
        let ran = run(options, constructs(), &[]).expect_status(0);
        assert_eq!(ran.stdout, "ok nodes\n", "{options:?}: {ran:#?}");
    }
}

#[test]
fn atomic_operations_add_up() {
    for threads in ["2", "6"] {
        let ran = run(&["--omp-nodes", "2", "--omp-threads", threads], special(), &["atomic"]);
        assert_eq!(ran.expect_status(0).stdout, "0 wrong\n");
    }
}

#[test]
fn each_thread_can_print() {
    let ran = run(&TWO, special(), &["print"]).expect_status(0);
    let expected: Vec<String> = (0..4).map(|number| format!("thread {number} of 4")).collect();
    let mut lines = ran.sorted_lines();
    assert_eq!(lines.remove(0), "after");
    assert_eq!(lines, expected);
}

#[test]
fn a_data_race_between_nodes_is_an_error() {
    run(&TWO, special(), &["race"])
        .expect_status(1)
        .expect_stderr("without synchronising in between")
        .expect_stderr("without --omp-nodes");
}

#[test]
fn what_cannot_span_nodes_is_refused() {
    run(&TWO, special(), &["doacross"]).expect_status(1).expect_stderr("doacross");
    let cancel = [&["-x", "OMP_CANCELLATION=true"][..], &TWO].concat();
    run(&cancel, special(), &["cancel"]).expect_status(1).expect_stderr("something is cancelled");
}

#[test]
fn any_thread_can_end_the_program() {
    run(&TWO, special(), &["exit"]).expect_status(7);
    run(&TWO, special(), &["trap"]).expect_status(134).expect_stderr("rank 1");
}

#[test]
fn a_program_that_is_none_of_openmp_is_refused() {
    let plain = build_dir().join("plain.nodes.wasm");
    compile(&guests_dir().join("faasm/early.c"), &[], &plain).expect("it compiles");
    run(&TWO, &plain, &[]).expect_status(1).expect_stderr("as one program");
}

/// A node's process that is killed ends the program, which says so.
#[test]
fn a_lost_node_ends_the_program() {
    let running = start(&TWO, special(), &["wait"]);
    let begun = Instant::now();
    let node = loop {
        if let Some(node) = nodes_of(running.id()).last() {
            break *node;
        }
        assert!(begun.elapsed() < Duration::from_secs(60) && !running.has_ended(), "no node comes");
        std::thread::sleep(Duration::from_millis(20));
    };
    // Before it has joined its end is another error.
    std::thread::sleep(Duration::from_millis(1500));
    let node = rustix::process::Pid::from_raw(node).expect("a process");
    rustix::process::kill_process(node, rustix::process::Signal::KILL).expect("it is ours");
    let ran = running.wait();
    assert!(ran.status != Some(0), "{ran:#?}");
    ran.expect_stderr("node");
}

/// The processes that `faasm-run` has started.
fn nodes_of(process: u32) -> Vec<i32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let of_thread = |thread: PathBuf| std::fs::read_to_string(thread.join("children")).ok();
    let mut found = String::new();
    for thread in threads.into_iter().flatten().flatten() {
        found += &of_thread(thread.path()).unwrap_or_default();
    }
    assert!(Path::new(&path).exists() || found.is_empty(), "the kernel tells no children");
    found.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
