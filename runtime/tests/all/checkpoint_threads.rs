//! Checkpoints of programs with threads: each rank is stopped with all its threads, and goes on with them.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use faasm_workloads::manifest::Guest;
use rustix::process::Signal;

use crate::{
    checkpoint::{cuts, has_threads, restart, stop_and_go_on},
    suite::{check_all, manifest},
    support::{Ran, Running, build_dir, compile, faasm_run, guests_dir},
};

/// How long it may take until something is there.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program runs that is given orders meanwhile, at least, when nothing disturbs it.
const LASTS: Duration = Duration::from_secs(2);
/// Ranks of the programs here, each with several threads.
const RANKS: &str = "2";

#[test]
fn guests_with_threads_do_the_same_and_go_on() {
    let (made, continued) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ends_well = |guest: &Guest| guest.exit == 0 && guest.expect_stderr.is_empty();
    let mut guests = manifest();
    guests.retain(|guest| has_threads(guest) && ends_well(guest));
    assert!(guests.len() > 10, "only {} guests", guests.len());
    check_all(&guests, |guest| stop_and_go_on(guest, "1ms", (&made, &continued)));
    let (made, continued) = (made.into_inner(), continued.into_inner());
    assert!(made > 10 && continued > 10, "{made} cuts were left, {continued} went on");
}

/// A program that computes in steps, and its whole output when nothing disturbs it.
struct Program {
    wasm: PathBuf,
    dir: tempfile::TempDir,
    steps: u32,
    expected: String,
}

impl Program {
    fn new(name: &str, option: &str) -> Self {
        let wasm = build_dir().join(format!("{name}.wasm"));
        compile(&guests_dir().join(format!("faasm/{name}.c")), &[option.to_owned()], &wasm)
            .expect("it compiles");
        let dir = tempfile::tempdir().expect("a directory");
        Self { wasm, dir, steps: 200, expected: String::new() }.lasting(Duration::ZERO)
    }

    /// The same with so many steps that it runs at least so long.
    fn lasting(mut self, least: Duration) -> Self {
        loop {
            let ran = self.begin(&[]).wait();
            assert_eq!(ran.status, Some(0), "{ran:#?}");
            if ran.took >= least {
                return Self { expected: ran.stdout, ..self };
            }
            self.steps *= 2;
        }
    }

    fn threads() -> Self {
        Self::new("thread_steps", "-pthread")
    }

    fn team() -> Self {
        Self::new("team_steps", "-fopenmp")
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("kept")
    }

    /// Where it takes orders.
    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn begin(&self, options: &[&str]) -> Running {
        let mut command = faasm_run();
        command.env("FAASM_STATE_DIR", self.state());
        command.args(options).args(["-n", RANKS]).arg(&self.wasm).arg(self.steps.to_string());
        command.env("OMP_NUM_THREADS", "3").current_dir(self.dir.path());
        Running::start(&mut command, "")
    }

    fn begin_kept(&self, options: &[&str]) -> Running {
        let kept = self.kept();
        let kept = ["--checkpoint-dir", kept.to_str().expect("a path in ASCII")];
        self.begin(&[&kept, options].concat())
    }

    fn order(&self, words: &[&str]) -> Ran {
        let mut command = faasm_run();
        command.env("FAASM_STATE_DIR", self.state()).args(words);
        Running::start(&mut command, "").wait()
    }

    fn await_cut(&self) {
        let begun = Instant::now();
        while cuts(&self.kept()).is_empty() {
            assert!(begun.elapsed() < PATIENCE, "no checkpoint");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The output of the restarted job continues that of the first one, from a line on that it had reached.
    fn check_end(&self, first: &str, ran: &Ran) {
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        assert!(!ran.stdout.is_empty() && self.expected.ends_with(&ran.stdout), "{ran:#?}");
        let rest = self.expected.len() - ran.stdout.len();
        assert!(first.len() >= rest && self.expected.starts_with(first), "{first:?} and {ran:#?}");
    }

    /// It is killed after its first checkpoint, and goes on from the last.
    fn is_killed_and_goes_on(&self, (before, after): (&[&str], &[&str])) {
        let running = self.begin_kept(&[&["--checkpoint-every", "20ms"], before].concat());
        self.await_cut();
        std::thread::sleep(Duration::from_millis(50));
        running.signal(Signal::KILL);
        let first = running.wait();
        let ran = go_on(&self.kept(), after);
        self.check_end(&first.stdout, &ran);
    }
}

fn go_on(kept: &Path, options: &[&str]) -> Ran {
    Running::start(&mut restart(kept, options), "").wait()
}

#[test]
fn a_killed_job_goes_on_with_its_threads() {
    Program::threads().is_killed_and_goes_on((&[], &[]));
}

#[test]
fn a_killed_job_goes_on_with_its_teams() {
    Program::team().is_killed_and_goes_on((&[], &[]));
}

#[test]
fn ranks_with_threads_go_on_on_more_nodes_and_on_fewer() {
    let nodes = |number: &'static str| ["--local-nodes", number];
    Program::threads().is_killed_and_goes_on((&[], &nodes("2")));
    Program::team().is_killed_and_goes_on((&nodes("2"), &[]));
}

#[test]
fn a_job_with_threads_is_kept_on_request_and_before_it_is_ended() {
    let program = Program::threads();
    let running = program.begin_kept(&["--checkpoint-on-term"]);
    std::thread::sleep(Duration::from_millis(50));
    let asked = program.order(&["checkpoint", &running.id().to_string()]);
    assert_eq!(asked.status, Some(0), "{asked:#?}");
    program.await_cut();
    running.signal(Signal::TERM);
    let first = running.wait();
    assert_eq!(first.status, Some(143), "{first:#?}");
    program.check_end(&first.stdout, &go_on(&program.kept(), &[]));
}

#[test]
fn each_cut_of_a_job_with_threads_can_be_gone_on_from() {
    for program in [Program::threads(), Program::team()] {
        let ran =
            program.begin_kept(&["--checkpoint-every", "10ms", "--checkpoint-keep", "4"]).wait();
        assert_eq!((ran.status, &ran.stdout), (Some(0), &program.expected), "{ran:#?}");
        let went_on = AtomicUsize::new(0);
        for cut in cuts(&program.kept()) {
            let ran =
                go_on(&program.kept(), &["--cut", &cut.to_string(), "--checkpoint-every", "1h"]);
            // The last one may have been made when all was printed.
            match ran.stdout.is_empty() {
                true => assert_eq!(ran.status, Some(0), "{ran:#?}"),
                false => program.check_end(&program.expected, &ran),
            }
            went_on.fetch_add(1, Ordering::Relaxed);
        }
        assert!(went_on.into_inner() > 0, "no cut was left");
    }
}

#[test]
fn ranks_move_with_their_threads() {
    for program in [Program::threads().lasting(LASTS), Program::team().lasting(LASTS)] {
        let running = program.begin(&["--local-nodes", "2", "--migratable"]);
        let process = running.id().to_string();
        let mut moved = 0;
        for turn in 0_u32.. {
            if running.has_ended() {
                break;
            }
            let (rank, node) = ((turn % 2).to_string(), (turn / 2 % 2).to_string());
            let ran = program.order(&["migrate", &process, &rank, &node]);
            moved += u32::from(ran.stdout.contains("stopped for"));
            if ran.status != Some(0) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let ran = running.wait();
        assert_eq!((ran.status, &ran.stdout), (Some(0), &program.expected), "{ran:#?}");
        assert!(moved > 1, "only {moved} ranks moved");
    }
}
