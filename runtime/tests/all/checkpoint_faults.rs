//! Checkpoints where the disk is full or cannot be written, writers are killed, and ranks have ended before.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    checkpoint::{Steps, cuts, restart},
    support::{Ran, Running, build_dir, compile, faasm_run, guests_dir},
};

/// How long it may take until something has happened.
const PATIENCE: Duration = Duration::from_secs(60);

fn await_that(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_job_goes_on_without_a_directory_that_can_be_written() {
    let steps = Steps::new();
    let file = steps.dir.path().join("file");
    fs::write(&file, "").expect("written");
    let mut command = faasm_run();
    command.arg("--checkpoint-dir").arg(file.join("below")).args(["-n", "4"]);
    let ran = Running::start(command.arg(crate::checkpoint::steps()), "").wait();
    let place = file.join("below").display().to_string();
    assert!(ran.status == Some(1) && ran.stderr.contains(&place), "{ran:#?}");
    // It is gone while the job runs.
    let running = steps.begin(&["--checkpoint-every", "20ms"]);
    steps.await_cut();
    fs::rename(steps.kept(), steps.dir.path().join("aside")).expect("renamed");
    fs::write(steps.kept(), "in its place").expect("written");
    let ran = running.wait();
    assert_eq!((ran.status, &ran.stdout), (Some(0), &steps.expected), "{ran:#?}");
    ran.expect_stderr("no checkpoint was made").expect_stderr("The job goes on");
}

/// Runs a shell in `dir` where `kept` is a small file system that nobody else sees.
fn with_own_disk(dir: &Path, script: &str) -> Ran {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mount = "mkdir kept && mount -t tmpfs -o size=16m none kept || exit 77";
    command.args(["--mount", "sh", "-c", &format!("{mount}\n{script}")]).current_dir(dir);
    command.env("RUN", env!("CARGO_BIN_EXE_faasm-run")).env("RUST_BACKTRACE", "0");
    let ran = Running::start(&mut command, "").wait();
    let remedy = "no file system can be mounted; run the tests as root, or allow user name spaces";
    assert_ne!(ran.status, Some(77), "{remedy}: {ran:#?}");
    ran
}

#[test]
fn a_job_goes_on_from_the_last_cut_before_the_disk_was_full() {
    let steps = Steps::new();
    let program = crate::checkpoint::steps().display();
    let number = Steps::NUMBER;
    let script = format!(
        r#"
        "$RUN" --checkpoint-dir kept --checkpoint-every 20ms -n 4 {program} {number} > first 2> first.log &
        job=$!
        await() {{ while ! sh -c "$1"; do kill -0 $job || exit 78; sleep 0.005; done; }}
        await 'ls kept/cut-*/manifest > /dev/null 2>&1'
        dd if=/dev/zero of=kept/filler bs=1M 2> /dev/null
        await 'grep -q "no checkpoint was made" first.log'
        kill -9 $job
        wait $job
        "$RUN" restart kept
        "#
    );
    let ran = with_own_disk(steps.dir.path(), &script);
    let read = |name: &str| fs::read_to_string(steps.dir.path().join(name)).unwrap_or_default();
    let log = read("first.log");
    assert!(log.contains("No space left") && log.contains("The job goes on"), "{log}: {ran:#?}");
    // There is no room for new ones either.
    ran.stderr.lines().for_each(|line| assert!(!line.contains("damaged"), "{line}"));
    steps.check_end(&read("first"), &ran);
}

#[test]
fn a_job_that_is_killed_while_it_writes_goes_on_from_a_whole_cut() {
    let steps = Steps::new();
    let every = ["--checkpoint-every", "1ms"];
    let mut running = steps.begin(&every);
    for kill_after_ms in [31, 7, 19, 3, 11] {
        let known = cuts(&steps.kept());
        await_that("a newer checkpoint", || cuts(&steps.kept()) != known || running.has_ended());
        std::thread::sleep(Duration::from_millis(kill_after_ms));
        if !running.has_ended() {
            running.signal(Signal::KILL);
        }
        running.wait();
        running = Running::start(&mut restart(&steps.kept(), &every), "");
    }
    let ran = running.wait();
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert!(!ran.stdout.is_empty() && steps.expected.ends_with(&ran.stdout), "{ran:#?}");
}

#[test]
fn ranks_that_have_ended_stay_so_after_a_restart() {
    let program = build_dir().join("early.wasm");
    compile(&guests_dir().join("faasm/early.c"), &[], &program).expect("it compiles");
    let dir = tempfile::tempdir().expect("a directory");
    let kept = dir.path().join("kept");
    let mut command = faasm_run();
    command.args(["--report", "--checkpoint-dir"]).arg(&kept).args(["-n", "3"]).arg(&program);
    let running = Running::start(command.current_dir(dir.path()), "");
    await_that("the end of two ranks", || {
        ["ended-1", "ended-2"].iter().all(|name| dir.path().join(name).exists())
    });
    await_that("a checkpoint without them", || {
        let mut ask = faasm_run();
        ask.args(["checkpoint", &running.id().to_string()]);
        let asked = Running::start(&mut ask, "").wait();
        assert_eq!(asked.status, Some(0), "{asked:#?}");
        std::thread::sleep(Duration::from_millis(50));
        let last = cuts(&kept).last().copied().unwrap_or_default();
        last > 0 && !kept.join(format!("cut-{last:06}/rank-00001")).exists()
    });
    running.signal(Signal::KILL);
    running.wait();
    fs::write(dir.path().join("go"), "").expect("written");
    let ran = Running::start(&mut restart(&kept, &["--report"]), "").wait();
    // The code of a rank that had ended before is the job's.
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(3), "rank 0 ends\n"), "{ran:#?}");
    ran.expect_stderr("3 ranks").expect_stderr("checkpoints were made");
}
