//! Programs with several threads a rank, written against the runtime's own functions for threads.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use faasm_runtime::{JobReport, Outcome, OutputSink, RankExit, RankStatus, Runtime, Stream};

/// What every program here begins with. Threads get a stack of 4 KiB from 64 KiB on, below which
/// lies a guarded KiB; words 1024 and up are for the tests.
const PRELUDE: &str = r#"
    (import "faasm_thread" "spawn" (func $spawn (param i32 i32 i32) (result i32)))
    (import "faasm_thread" "exit" (func $exit))
    (import "faasm_thread" "self" (func $self (result i32)))
    (import "faasm_thread" "yield" (func $yield))
    (import "faasm_thread" "guard" (func $guard (param i32 i32) (result i32)))
    (import "faasm_thread" "wait32" (func $wait32 (param i32 i32 i64) (result i32)))
    (import "faasm_thread" "processors" (func $processors (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "env" "memory" (memory 100 1000 shared))
    (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 65536))
    (global $tls (mut i32) (i32.const 0))
    (func (export "__wasm_init_tls") (param i32) (global.set $tls (local.get 0)))
    ;; Starts thread number $n of the test.
    (func $start (param $n i32) (result i32)
        (local $base i32)
        (local.set $base (i32.add (i32.const 65536) (i32.mul (local.get $n) (i32.const 5120))))
        (drop (call $guard (local.get $base) (i32.const 1024)))
        (call $spawn (local.get $n) (i32.add (local.get $base) (i32.const 5120)) (i32.add (local.get $n) (i32.const 7))))
    ;; Ends the program unless $is.
    (func $check (param $is i32) (param $code i32)
        (if (i32.eqz (local.get $is)) (then (call $proc_exit (local.get $code)))))
    ;; Counts at 1024, and tells whoever waits there.
    (func $count
        (drop (i32.atomic.rmw.add (i32.const 1024) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 1024) (i32.const -1))))
    ;; Waits until $n have counted.
    (func $await (param $n i32)
        (local $seen i32)
        (loop $again
            (local.set $seen (i32.atomic.load (i32.const 1024)))
            (if (i32.lt_u (local.get $seen) (local.get $n)) (then
                (drop (memory.atomic.wait32 (i32.const 1024) (local.get $seen) (i64.const -1)))
                (br $again)))))
    (func $start_all (param $n i32)
        (local $i i32)
        (loop $next
            (call $check (i32.gt_s (call $start (local.get $i)) (i32.const 0)) (i32.const 90))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (local.get $n)))))
"#;

#[derive(Debug, Default)]
struct Collected(Mutex<String>);

impl OutputSink for Collected {
    fn write(&self, _: u32, _: Stream, bytes: &[u8]) {
        self.0.lock().expect("no writer panics").push_str(&String::from_utf8_lossy(bytes));
    }

    fn close(&self, _: u32) {}
}

/// Runs a program with this main function and this function of its threads.
fn run(workers: u32, ranks: u32, main: &str, thread: &str) -> (Arc<JobReport>, String) {
    let text = format!(
        r#"(module {PRELUDE}
            (func (export "_start") {main})
            (func $thread (export "__faasm_thread_main") (param $id i32) (param $n i32) {thread}))"#
    );
    let bytes = wat::parse_str(&text).expect("a good module");
    let runtime = Runtime::builder().workers(workers).no_cache().build().expect("a runtime");
    let module = runtime.load_bytes("test", &bytes).expect("a program");
    let output = Arc::new(Collected::default());
    let job = runtime.job(&module).ranks(ranks).timeout(Duration::from_secs(60));
    let report = job.output(output.clone()).spawn().expect("it starts").wait();
    let text = output.0.lock().expect("no writer panics").clone();
    (report, text)
}

/// As [`run`] on one worker and on two, for programs that end well.
fn runs(main: &str, thread: &str) {
    for workers in [1, 2] {
        let (report, _) = run(workers, 2, main, thread);
        assert_eq!(report.outcome, Outcome::Success, "{workers} workers: {report:#?}");
    }
}

#[test]
fn threads_start_and_are_waited_for() {
    runs(
        "(call $start_all (i32.const 8)) (call $await (i32.const 8))
         (call $check (i32.eq (i32.atomic.load (i32.const 1028)) (i32.const 36)) (i32.const 1))
         (call $check (i32.eqz (call $self)) (i32.const 2))",
        "(call $check (i32.eq (call $self) (local.get $id)) (i32.const 3))
         (call $check (i32.eq (global.get $tls) (i32.add (local.get $n) (i32.const 7))) (i32.const 4))
         (drop (i32.atomic.rmw.add (i32.const 1028) (local.get $id)))
         (call $count)",
    );
}

#[test]
fn a_thousand_threads_are_alive_at_once() {
    runs(
        "(call $start_all (i32.const 1000)) (call $await (i32.const 1000))
         (i32.atomic.store (i32.const 1028) (i32.const 1))
         (call $check (i32.gt_u (memory.atomic.notify (i32.const 1028) (i32.const -1)) (i32.const 0)) (i32.const 1))
         (call $await (i32.const 2000))",
        "(call $count)
         (drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1)))
         (call $count)",
    );
}

#[test]
fn more_threads_than_allowed_are_refused_with_eagain() {
    runs(
        "(local $i i32)
         (loop $next
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.gt_s (call $spawn (i32.const 0) (i32.const 131072) (i32.const 0)) (i32.const 0))))
         (call $check (i32.eq (local.get $i) (i32.const 4096)) (i32.const 1))
         (call $check (i32.eq (call $spawn (i32.const 0) (i32.const 131072) (i32.const 0)) (i32.const -6)) (i32.const 2))",
        "(drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1)))",
    );
}

#[test]
fn a_store_is_seen_by_loops_that_poll_without_atomics() {
    // Both loops read addresses that the compiler could take for unchanged, the second one right
    // after it was read already; with one worker the thread runs only if the loops let it.
    runs(
        "(drop (call $start (i32.const 0)))
         (block $seen (loop $again (br_if $seen (i32.load (i32.const 1032))) (br $again)))
         (i32.store (i32.const 1036) (i32.const 1))
         (if (i32.eqz (i32.load (i32.const 1040))) (then
            (loop $again (br_if $again (i32.eqz (i32.load (i32.const 1040)))))))",
        "(i32.store (i32.const 1032) (i32.const 1))
         (if (i32.eqz (i32.load (i32.const 1036))) (then
            (loop $again (br_if $again (i32.eqz (i32.load (i32.const 1036)))))))
         (i32.store (i32.const 1040) (i32.const 1))",
    );
}

#[test]
fn a_host_call_is_a_barrier() {
    runs(
        "(drop (call $start (i32.const 0)))
         (loop $again
            (i32.store (i32.const 2048) (i32.const 0))
            (call $yield)
            (br_if $again (i32.eqz (i32.load (i32.const 1032)))))",
        "(i32.store (i32.const 1032) (i32.const 1))",
    );
}

#[test]
fn threads_beyond_the_workers_that_all_poll_do_not_starve_the_one_that_stores() {
    // The last thread to start stores; those before it wait for it by polling.
    runs(
        "(call $start_all (i32.const 40)) (call $await (i32.const 40))",
        "(if (i32.eq (local.get $n) (i32.const 39))
            (then (i32.store (i32.const 1032) (i32.const 1)))
            (else (loop $again (br_if $again (i32.eqz (i32.load (i32.const 1032)))))))
         (call $count)",
    );
}

#[test]
fn a_wait_ends_after_its_time_and_at_once_where_the_word_differs() {
    runs(
        "(call $check (i32.eq (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const 5000000)) (i32.const 2)) (i32.const 1))
         (call $check (i32.eq (memory.atomic.wait32 (i32.const 1028) (i32.const 1) (i64.const -1)) (i32.const 1)) (i32.const 2))
         (call $check (i32.eq (memory.atomic.wait64 (i32.const 1048) (i64.const 0) (i64.const 0)) (i32.const 2)) (i32.const 3))
         (call $check (i32.eq (call $wait32 (i32.const 1028) (i32.const 7) (i64.const -1)) (i32.const 1)) (i32.const 4))
         (call $check (i32.eqz (memory.atomic.notify (i32.const 1028) (i32.const 9))) (i32.const 5))",
        "",
    );
}

#[test]
fn memory_grows_for_all_threads() {
    runs(
        "(call $check (i32.eq (memory.grow (i32.const 5)) (i32.const 100)) (i32.const 1))
         (i32.store (i32.const 6881276) (i32.const 77))
         (drop (call $start (i32.const 0))) (call $await (i32.const 1))
         (call $check (i32.eq (memory.size) (i32.const 1000)) (i32.const 2))
         (call $check (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (i32.const 3))",
        "(call $check (i32.eq (memory.size) (i32.const 105)) (i32.const 4))
         (call $check (i32.eq (i32.load (i32.const 6881276)) (i32.const 77)) (i32.const 5))
         (call $check (i32.eq (memory.grow (i32.const 895)) (i32.const 105)) (i32.const 6))
         (call $count)",
    );
}

#[test]
fn main_may_leave_before_its_threads() {
    runs(
        "(call $start_all (i32.const 3)) (call $exit) unreachable",
        "(drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const 2000000)))
         (if (i32.eq (local.get $n) (i32.const 1)) (then (call $exit)))",
    );
}

#[test]
fn the_rank_ends_with_its_main_thread() {
    runs(
        "(call $start_all (i32.const 4)) (call $await (i32.const 4))",
        "(call $count)
         (if (i32.and (local.get $n) (i32.const 1))
            (then (drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1))))
            (else (loop $for_ever (br_if $for_ever (i32.eqz (i32.load (i32.const 1028)))))))",
    );
}

#[test]
fn a_thread_that_exits_ends_the_rank_with_its_code() {
    for workers in [1, 2] {
        let main = "(drop (call $start (i32.const 0)))
            (drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1)))";
        let (report, _) = run(workers, 1, main, "(call $proc_exit (i32.const 7))");
        assert_eq!(report.ranks, [RankExit::Completed { code: 7 }]);
        assert_eq!(report.exit_code(), 7);
    }
}

#[test]
fn a_trap_of_a_thread_names_it_and_ends_all() {
    let main = "(call $start_all (i32.const 3))
        (drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1)))";
    let thread = "(if (i32.eq (local.get $n) (i32.const 1)) (then unreachable))
        (drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1)))";
    let (report, _) = run(2, 1, main, thread);
    let RankExit::Trapped { reason, .. } = &report.ranks[0] else { panic!("{report:#?}") };
    assert!(reason.contains("thread 2: trapped: "), "{reason}");
}

#[test]
fn a_stack_that_is_full_is_a_trap_that_names_the_thread() {
    let main = "(call $start_all (i32.const 2))
        (drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1)))";
    let thread = "(if (i32.eqz (local.get $n)) (then (return)))
        (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 256)))
        (call $thread (local.get $id) (local.get $n))
        (global.set $__stack_pointer (i32.add (global.get $__stack_pointer) (i32.const 256)))";
    let (report, _) = run(2, 1, main, thread);
    let RankExit::Trapped { code: 139, reason } = &report.ranks[0] else { panic!("{report:#?}") };
    assert!(reason.contains("stack overflow in thread 2"), "{reason}");
}

#[test]
fn threads_that_wait_for_each_other_are_a_deadlock_with_names() {
    for workers in [1, 2] {
        let main = "(call $start_all (i32.const 2))
            (drop (memory.atomic.wait32 (i32.const 1028) (i32.const 0) (i64.const -1)))";
        let thread = "(drop (memory.atomic.wait32 (i32.const 1032) (i32.const 0) (i64.const -1)))";
        let (report, _) = run(workers, 2, main, thread);
        let Outcome::Deadlock { states } = &report.outcome else { panic!("{report:#?}") };
        let RankStatus::Outside(Some(text)) = &states[1].status else { panic!("{states:#?}") };
        assert!(text.contains("thread 0 waits at address 0x404"), "{text}");
        assert!(text.contains("thread 2 waits at address 0x408"), "{text}");
    }
}

#[test]
fn a_thread_that_sleeps_is_no_deadlock() {
    runs(
        "(drop (call $start (i32.const 0))) (call $await (i32.const 1))",
        // A relative clock subscription of 300 ms at 3000.
        "(i32.store (i32.const 3016) (i32.const 1))
         (i64.store (i32.const 3024) (i64.const 300000000))
         (call $check (i32.eqz (call $poll_oneoff (i32.const 3000) (i32.const 3100) (i32.const 1) (i32.const 3200))) (i32.const 1))
         (call $count)",
    );
}

#[test]
fn threads_write_to_one_output() {
    let main = r#"(call $start_all (i32.const 10)) (call $await (i32.const 10))"#;
    let thread = r#"
        (local $at i32)
        (local.set $at (i32.add (i32.const 4096) (i32.mul (local.get $n) (i32.const 64))))
        (i32.store (local.get $at) (i32.add (local.get $at) (i32.const 16)))
        (i32.store offset=4 (local.get $at) (i32.const 2))
        (i32.store offset=16 (local.get $at) (i32.or (i32.const 0xa30) (local.get $n)))
        (call $check (i32.eqz (call $fd_write (i32.const 1) (local.get $at) (i32.const 1)
            (i32.add (local.get $at) (i32.const 8)))) (i32.const 1))
        (call $check (i32.eq (i32.load offset=8 (local.get $at)) (i32.const 2)) (i32.const 2))
        (call $count)"#;
    let (report, text) = run(2, 1, main, thread);
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn a_time_limit_ends_threads_that_poll_for_ever() {
    let text = format!(
        r#"(module {PRELUDE} (func (export "_start") (drop (call $start (i32.const 0))) (call $thread (i32.const 0) (i32.const 0)))
        (func $thread (export "__faasm_thread_main") (param i32 i32)
            (loop $again (br_if $again (i32.eqz (i32.load (i32.const 1032)))))))"#
    );
    let bytes = wat::parse_str(&text).expect("a good module");
    let runtime = Runtime::builder().workers(2).no_cache().build().expect("a runtime");
    let module = runtime.load_bytes("test", &bytes).expect("a program");
    let job = runtime.job(&module).timeout(Duration::from_millis(300)).spawn().expect("it starts");
    let report = job.wait();
    assert!(matches!(report.outcome, Outcome::TimedOut { .. }), "{report:#?}");
    assert_eq!(report.left_running, 0);
}

#[test]
fn a_program_without_shared_memory_cannot_start_threads() {
    let text = r#"(module
        (import "faasm_thread" "spawn" (func $spawn (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (call $spawn (i32.const 0) (i32.const 0) (i32.const 0)))))"#;
    let bytes = wat::parse_str(text).expect("a good module");
    let runtime = Runtime::builder().workers(1).no_cache().build().expect("a runtime");
    let module = runtime.load_bytes("test", &bytes).expect("a program");
    let report = runtime.job(&module).spawn().expect("it starts").wait();
    let RankExit::Failed { reason } = &report.ranks[0] else { panic!("{report:#?}") };
    assert!(reason.contains("-pthread"), "{reason}");
}
