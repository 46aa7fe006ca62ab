//! What OpenMP programs import of the host, called by programs that have no OpenMP.

use std::sync::Arc;
use std::time::Duration;

use faasm_runtime::{JobHandle, JobReport, Outcome, RankStatus, Runtime};

const LIMIT: Duration = Duration::from_secs(60);

/// A program with this main function and this function of its threads; the text at 2048 is for faults.
fn program(main: &str, thread: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "omp" "team_size" (func $team_size (param i32 i32) (result i32)))
            (import "omp" "wait" (func $wait (param i32 i32 i32) (result i32)))
            (import "omp" "fault" (func $fault (param i32 i32 i32)))
            (import "faasm_thread" "spawn" (func $spawn (param i32 i32 i32) (result i32)))
            (import "faasm_thread" "yield" (func $yield))
            (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
            (import "env" "memory" (memory 4 4 shared))
            (global (export "__stack_pointer") (mut i32) (i32.const 65536))
            (data $text "the lock\0ais not held")
            (func $check (param $is i32) (param $code i32)
                (if (i32.eqz (local.get $is)) (then (call $proc_exit (local.get $code)))))
            (func $start (drop (call $spawn (i32.const 0) (i32.const 131072) (i32.const 0))))
            (func (export "_start") {main})
            (func (export "__faasm_thread_main") (param i32 i32) {thread}))"#
    );
    wat::parse_str(&text).expect("a good module")
}

fn runtime(workers: u32) -> Runtime {
    Runtime::builder().workers(workers).no_cache().build().expect("a runtime")
}

fn spawn(runtime: &Runtime, ranks: u32, main: &str, thread: &str) -> JobHandle {
    let module = runtime.load_bytes("test", &program(main, thread)).expect("a program");
    runtime.job(&module).ranks(ranks).timeout(LIMIT).spawn().expect("it starts")
}

fn run(main: &str, thread: &str) -> Arc<JobReport> {
    spawn(&runtime(2), 1, main, thread).wait()
}

/// What is said of rank 0.
fn reason(main: &str, thread: &str) -> String {
    let report = run(main, thread);
    assert_eq!(report.outcome, Outcome::RankFailed { rank: 0 }, "{report:#?}");
    report.ranks[0].reason().expect("it failed")
}

/// Ends well as soon as `condition` holds for the size that a team of 2 would have.
fn until(condition: &str) -> String {
    format!(
        "(loop $again (call $yield)
            (br_if $again (i32.eqz ({condition} (call $team_size (i32.const 2) (i32.const 0)) (i32.const 2)))))"
    )
}

#[test]
fn a_program_that_is_alone_gets_every_worker_it_does_not_use_itself() {
    let main = "
        (call $check (i32.eq (call $team_size (i32.const 100) (i32.const 0)) (i32.const 2)) (i32.const 1))
        (call $check (i32.eq (call $team_size (i32.const 1) (i32.const 0)) (i32.const 1)) (i32.const 2))
        (call $check (i32.eq (call $team_size (i32.const 100) (i32.const 1)) (i32.const 1)) (i32.const 3))
        (call $check (i32.eq (call $team_size (i32.const -5) (i32.const -5)) (i32.const 1)) (i32.const 4))";
    let report = run(main, "");
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
}

#[test]
fn two_programs_share_the_workers_and_one_gets_all_when_the_other_ends() {
    let runtime = runtime(2);
    let busy = spawn(&runtime, 2, "(loop $for_ever (call $yield) (br $for_ever))", "");
    let squeezed = spawn(&runtime, 1, &until("i32.lt_s"), "").wait();
    assert_eq!(squeezed.outcome, Outcome::Success, "{squeezed:#?}");
    busy.kill(9);
    busy.wait();
    let relieved = spawn(&runtime, 1, &until("i32.eq"), "").wait();
    assert_eq!(relieved.outcome, Outcome::Success, "{relieved:#?}");
}

#[test]
fn a_deadlock_tells_the_construct_of_each_thread() {
    let main = "(call $start) (drop (call $wait (i32.const 1) (i32.const 1024) (i32.const 0)))";
    let thread = "(drop (call $wait (i32.const 4) (i32.const 1028) (i32.const 0)))";
    let report = run(main, thread);
    let Outcome::Deadlock { states } = &report.outcome else { panic!("{report:#?}") };
    let RankStatus::Outside(Some(text)) = &states[0].status else { panic!("{states:#?}") };
    assert!(text.contains("thread 0 waits in an OpenMP barrier"), "{text}");
    assert!(text.contains("thread 1 waits in an OpenMP critical region"), "{text}");
}

#[test]
fn a_wait_ends_with_a_notification_and_does_not_begin_when_the_word_has_changed() {
    let main = "
        (call $check (i32.eq (call $wait (i32.const 1) (i32.const 1024) (i32.const 7)) (i32.const 1)) (i32.const 1))
        (call $start)
        (if (i32.eqz (call $wait (i32.const 1) (i32.const 1024) (i32.const 0))) (then
            (call $check (i32.atomic.load (i32.const 1024)) (i32.const 2))))";
    let thread = "
        (i32.atomic.store (i32.const 1024) (i32.const 1))
        (drop (memory.atomic.notify (i32.const 1024) (i32.const -1)))";
    let report = run(main, thread);
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
}

#[test]
fn a_fault_ends_the_rank_with_its_thread_construct_and_cause() {
    let main = "(call $start) (drop (call $wait (i32.const 1) (i32.const 1024) (i32.const 0)))";
    let thread = "
        (memory.init $text (i32.const 2048) (i32.const 0) (i32.const 20))
        (call $fault (i32.const 5) (i32.const 2048) (i32.const 20))";
    let text = reason(main, thread);
    assert!(text.contains("thread 1"), "{text}");
    assert!(text.contains("OpenMP failed in omp_set_lock: the lock is not held"), "{text}");
}

#[test]
fn what_no_program_of_ours_passes_is_refused() {
    for (main, expected) in [
        ("(call $fault (i32.const 99) (i32.const 0) (i32.const 0))", "construct 99"),
        ("(drop (call $wait (i32.const -1) (i32.const 1024) (i32.const 0)))", "construct -1"),
        ("(drop (call $wait (i32.const 1) (i32.const 1025) (i32.const 0)))", "0x401"),
        ("(drop (call $wait (i32.const 1) (i32.const -4) (i32.const 0)))", "0xfffffffc"),
        ("(call $fault (i32.const 1) (i32.const -4) (i32.const -1))", "0xfffffffc"),
    ] {
        let text = reason(main, "");
        assert!(text.contains(expected), "{main}: {text}");
    }
}
