//! Programs that initialise themselves before `_start`: once, whatever the number of ranks.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use faasm_runtime::{JobReport, Outcome, OutputSink, Program, Runtime, Stream};

use crate::cluster::{cluster, job, report, spawn};

#[derive(Debug, Default)]
struct Collected(Mutex<String>);

impl OutputSink for Collected {
    fn write(&self, _: u32, _: Stream, bytes: &[u8]) {
        self.0.lock().expect("no writer panics").push_str(&String::from_utf8_lossy(bytes));
    }

    fn close(&self, _: u32) {}
}

/// A program with these further definitions, in which `$say` prints a letter, `_start` first checks that it is
/// the first one of its rank to do so, and then this.
fn program(more: &str, start: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
            (memory (export "memory") 2 20)
            (data (i32.const 16) "data")
            (global $computed (mut i32) (i32.const 1))
            (func $say (param $letter i32)
                (i32.store8 (i32.const 64) (local.get $letter))
                (i32.store8 (i32.const 65) (i32.const 10))
                (i32.store (i32.const 72) (i32.const 64))
                (i32.store (i32.const 76) (i32.const 2))
                (drop (call $fd_write (i32.const 1) (i32.const 72) (i32.const 1) (i32.const 80))))
            (func $check (param $is i32) (param $code i32)
                (if (i32.eqz (local.get $is)) (then (call $proc_exit (local.get $code)))))
            {more}
            (func (export "_start")
                (call $check (i32.eqz (i32.load (i32.const 200))) (i32.const 9))
                (i32.store (i32.const 200) (i32.const 1))
                (call $check (i32.eq (i32.load (i32.const 16)) (i32.const 0x61746164)) (i32.const 8))
                {start}))"#
    );
    wat::parse_str(&text).expect("a good module")
}

/// Runs such a program.
fn run(ranks: u32, more: &str, start: &str) -> (Arc<JobReport>, String) {
    let bytes = program(more, start);
    let runtime = Runtime::builder().workers(2).no_cache().build().expect("a runtime");
    let module = runtime.load_bytes("test", &bytes).expect("a program");
    let mut last = None;
    // The second job begins where the first one's ranks did.
    for _ in 0..2 {
        let output = Arc::new(Collected::default());
        let job = runtime.job(&module).ranks(ranks).timeout(Duration::from_secs(60));
        let report = job.output(output.clone()).spawn().expect("it starts").wait();
        let text = output.0.lock().expect("no writer panics").clone();
        let printed = last.map_or_else(String::new, |(_, printed): (_, String)| printed);
        last = Some((report, printed + &text));
    }
    last.expect("two jobs ran")
}

/// Prints, computes, and makes the memory larger.
const ZYGOTE: &str = r#"(func (export "faasm_zygote")
    (call $say (i32.const 90))
    (call $check (i32.eq (memory.grow (i32.const 3)) (i32.const 2)) (i32.const 7))
    (i32.store (i32.const 300000) (i32.const 4711))
    (global.set $computed (i32.const 42)))"#;

const CHECKS: &str = r#"
    (call $check (i32.eq (memory.size) (i32.const 5)) (i32.const 6))
    (call $check (i32.eq (i32.load (i32.const 300000)) (i32.const 4711)) (i32.const 5))
    (call $check (i32.eq (global.get $computed) (i32.const 42)) (i32.const 4))
    ;; What one rank writes, no other one sees.
    (global.set $computed (i32.const 43))
    (i32.store (i32.const 300000) (i32.const 1))
    (i32.store (i32.const 16) (i32.const 0))"#;

#[test]
fn a_zygote_runs_once_for_all_ranks_of_all_jobs() {
    let (report, printed) = run(40, ZYGOTE, CHECKS);
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    assert_eq!(printed, "Z\n");
}

#[test]
fn initialize_runs_before_the_zygote() {
    let more = format!(
        r#"{ZYGOTE} (func (export "_initialize") (call $say (i32.const 73)) (global.set $computed (i32.const 7)))"#
    );
    let (report, printed) = run(3, &more, CHECKS);
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    assert_eq!(printed, "I\nZ\n");
}

#[test]
fn where_instances_cannot_begin_alike_each_rank_runs_it() {
    let more = format!("{ZYGOTE} (func $nothing) (start $nothing)");
    let (report, printed) = run(3, &more, CHECKS);
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    assert_eq!(printed, "Z\n".repeat(6));
}

#[test]
fn a_zygote_that_fails_ends_the_job() {
    let (report, _) = run(5, r#"(func (export "faasm_zygote") unreachable)"#, "");
    assert_ne!(report.outcome, Outcome::Success);
    assert_ne!(report.exit_code(), 0);
}

/// A program that no machine has a proto of: its zygote leaves a number of its own.
fn unseen(more: &str, start: &str) -> Program {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock that goes forward");
    let number = since.subsec_nanos() as i32;
    let bytes = program(&format!("{more} (data (i32.const 400) \"{number}\")"), start);
    Program::from_bytes("unseen", bytes).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_zygote_runs_once_for_all_nodes() {
    let cluster = cluster(3);
    let program = unseen(ZYGOTE, CHECKS);
    let mut letters = String::new();
    for _ in 0..2 {
        let (job, printed) = job(&program, &[], &[2, 3, 1]);
        let report = report(&spawn(&cluster, job));
        assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
        letters.extend((0..6).map(|rank| printed.of(rank)));
    }
    assert_eq!(letters, "Z\n", "one rank of one node of one job ran it");
}

#[test]
fn a_zygote_that_fails_ends_a_job_on_all_nodes() {
    let cluster = cluster(2);
    let program = unseen(r#"(func (export "faasm_zygote") unreachable)"#, "");
    for _ in 0..2 {
        let (job, _) = job(&program, &[], &[2, 2]);
        let report = report(&spawn(&cluster, job));
        assert_eq!(report.exit_code(), 134, "{report:#?}");
    }
}
