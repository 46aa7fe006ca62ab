//! Checkpoints and restarts: programs do the same, wherever they were stopped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use faasm_workloads::manifest::Guest;
use rustix::process::Signal;

use crate::{
    guests::compiled,
    suite::{check_all, check_run, manifest},
    support::{Ran, Running, build_dir, compile, faasm_run, guests_dir},
};

/// More ranks than this only take longer.
pub(crate) const RANKS_MAX: u32 = 4;
/// How long it may take until something is there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that others need not wait for one that computes; for a checkpoint they do.
const TIMED: &str = "long_compute";

/// Guests that end well by themselves, without options that concern failing ranks, and without threads.
pub(crate) fn guests() -> Vec<Guest> {
    let ends_well = |guest: &Guest| guest.exit == 0 && guest.expect_stderr.is_empty();
    let mut guests = manifest();
    guests.retain(|guest| {
        let is_special = guest.name.starts_with("ulfm") || guest.name == TIMED;
        ends_well(guest) && !has_threads(guest) && !is_special
    });
    assert!(guests.len() > 60, "only {} guests", guests.len());
    guests
}

/// Whether a guest may have several threads a rank.
pub(crate) fn has_threads(guest: &Guest) -> bool {
    let switches = ["-pthread", "-fopenmp"];
    guest.options.iter().any(|option| switches.contains(&option.as_str()))
}

/// The guests that do the same where their ranks lie on other nodes than at the beginning.
pub(crate) fn movable_guests() -> Vec<Guest> {
    let mut guests = guests();
    // It asks once which ranks share memory, and believes that for ever.
    guests.retain(|guest| guest.name != "rma_shared");
    let tries = guests.iter_mut().find(|guest| guest.name == "collective_nonblocking");
    // Without, each rank tries what can be done only where all ranks share a node.
    tries.expect("it is there").args.push("elsewhere".to_owned());
    guests
}

/// The program of ranks that share memory two by two; with the arguments "1 until" it goes on until there is a file "end".
pub(crate) fn shared_pairs() -> PathBuf {
    program_of("rma_shared_pairs")
}

/// The program of several families of processes, with the same arguments.
pub(crate) fn families() -> PathBuf {
    program_of("dynamic_lives")
}

fn program_of(name: &str) -> PathBuf {
    let guests = manifest();
    let guest = guests.iter().find(|guest| guest.name == name);
    compiled(guest.expect("it is there")).expect("it compiles")
}

/// The numbers of the whole cuts in a directory.
pub(crate) fn cuts(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let whole = paths.filter(|path| path.join("manifest").is_file());
    let mut cuts: Vec<u32> = whole
        .filter_map(|path| path.file_name()?.to_str()?.strip_prefix("cut-")?.parse().ok())
        .collect();
    cuts.sort_unstable();
    cuts
}

pub(crate) fn restart(dir: &Path, options: &[&str]) -> Command {
    let mut command = faasm_run();
    command.arg("restart").arg(dir).args(options);
    command
}

/// Has the guest go on from this cut, with these options.
pub(crate) fn go_on_from(
    guest: &Guest,
    kept: &Path,
    cut: u32,
    options: &[&str],
) -> Result<(), String> {
    let mut command = restart(kept, &["--cut", &cut.to_string(), "--checkpoint-every", "1h"]);
    let ran = Running::start(command.args(options), &guest.stdin).wait();
    // Of what is expected the first lines, or all of them, may have come before the cut.
    let last = guest.expect.lines().last().unwrap_or_default();
    if ran.status != Some(0) || !(ran.stdout.is_empty() || ran.stdout.contains(last)) {
        return Err(format!("from cut {cut}, {options:?}: {ran:#?}"));
    }
    Ok(())
}

/// The same from each cut that is left; counts those that are there, and those from which it went on.
pub(crate) fn go_on_from_all(
    guest: &Guest,
    kept: &Path,
    options: &[&str],
    (made, continued): (&AtomicUsize, &AtomicUsize),
) -> Result<(), String> {
    for cut in cuts(kept) {
        made.fetch_add(1, Ordering::Relaxed);
        // What these have written is gone at their end.
        let is_gone = guest.name.starts_with("file") || guest.name == "dynamic_spawn";
        if !is_gone {
            go_on_from(guest, kept, cut, options)?;
            continued.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

#[test]
fn guests_do_the_same_with_checkpoints_and_go_on_from_them() {
    let (made, continued) = (AtomicUsize::new(0), AtomicUsize::new(0));
    check_all(&guests(), |guest| stop_and_go_on(guest, "1ms", (&made, &continued)));
    let (made, continued) = (made.into_inner(), continued.into_inner());
    assert!(made > 20 && continued > 10, "{made} cuts were left, {continued} went on");
}

/// Runs a guest that is stopped that often, and has it go on from each cut that is left.
pub(crate) fn stop_and_go_on(
    guest: &Guest,
    every: &str,
    counts: (&AtomicUsize, &AtomicUsize),
) -> Result<(), String> {
    let fits = guest.np.iter().copied().filter(|np| *np <= RANKS_MAX).max();
    let np = fits.unwrap_or(guest.np[0]);
    let program = compiled(guest)?;
    let dir = tempfile::tempdir().expect("a directory");
    let kept = dir.path().join("kept");
    let mut command = faasm_run();
    command.args(["--checkpoint-every", every, "--checkpoint-dir"]).arg(&kept);
    command.args(["-n", &np.to_string()]).arg(&program).args(&guest.args);
    command.envs(&guest.env).current_dir(dir.path());
    let ran = Running::start(&mut command, &guest.stdin).wait();
    check_run(guest, &ran).map_err(|wrong| format!("np {np}: {wrong}: {ran:#?}"))?;
    go_on_from_all(guest, &kept, &[], counts).map_err(|wrong| format!("np {np}, {wrong}"))
}

/// The program that computes in steps, compiled.
pub(crate) fn steps() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = build_dir().join("steps.wasm");
        compile(&guests_dir().join("faasm/steps.c"), &[], &program).expect("it compiles");
        program
    })
}

/// A run of that program: where it runs, and its whole output when nothing disturbs it.
pub(crate) struct Steps {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) expected: String,
}

impl Steps {
    pub(crate) const NUMBER: &str = "300";

    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = faasm_run();
        command.args(["-n", "4"]).arg(steps()).arg(Self::NUMBER).current_dir(dir.path());
        let ran = Running::start(&mut command, "").wait();
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        Self { dir, expected: ran.stdout }
    }

    pub(crate) fn kept(&self) -> PathBuf {
        self.dir.path().join("kept")
    }

    pub(crate) fn begin(&self, options: &[&str]) -> Running {
        let mut command = faasm_run();
        command.arg("--checkpoint-dir").arg(self.kept()).args(options).args(["-n", "4"]);
        command.arg(steps()).arg(Self::NUMBER).current_dir(self.dir.path());
        Running::start(&mut command, "")
    }

    pub(crate) fn await_cut(&self) {
        let begun = Instant::now();
        while cuts(&self.kept()).is_empty() {
            assert!(begun.elapsed() < PATIENCE, "no checkpoint");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The output of the restarted job continues that of the first one, from a line on that it had reached.
    pub(crate) fn check_end(&self, first: &str, ran: &Ran) {
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        assert!(!ran.stdout.is_empty() && self.expected.ends_with(&ran.stdout), "{ran:#?}");
        let rest = self.expected.len() - ran.stdout.len();
        assert!(first.len() >= rest && self.expected.starts_with(first), "{first:?} and {ran:#?}");
        let log = fs::read_to_string(self.dir.path().join("steps.log")).expect("it is there");
        let lines = self.expected.lines().filter(|line| line.starts_with("step"));
        assert!(log.lines().eq(lines), "{log}");
    }
}

#[test]
fn a_killed_job_goes_on_from_its_last_checkpoint() {
    let steps = Steps::new();
    let running = steps.begin(&["--checkpoint-every", "30ms"]);
    steps.await_cut();
    std::thread::sleep(Duration::from_millis(50));
    running.signal(Signal::KILL);
    let first = running.wait();
    let ran = Running::start(&mut restart(&steps.kept(), &[]), "").wait();
    steps.check_end(&first.stdout, &ran);
}

#[test]
fn a_job_is_kept_on_request_and_before_it_is_ended() {
    let steps = Steps::new();
    let running = steps.begin(&["--checkpoint-on-term"]);
    std::thread::sleep(Duration::from_millis(100));
    let mut ask = faasm_run();
    ask.args(["checkpoint", &running.id().to_string()]);
    let asked = Running::start(&mut ask, "").wait();
    assert_eq!(asked.status, Some(0), "{asked:#?}");
    steps.await_cut();
    running.signal(Signal::TERM);
    let first = running.wait();
    assert_eq!(first.status, Some(143), "{first:#?}");
    assert!(first.stderr.contains("faasm-run restart"), "{first:#?}");
    let ran = Running::start(&mut restart(&steps.kept(), &["--report"]), "").wait();
    steps.check_end(&first.stdout, &ran);
}

#[test]
fn what_cannot_be_restarted_is_refused_with_the_reason() {
    let steps = Steps::new();
    let ran = steps.begin(&["--checkpoint-every", "20ms"]).wait();
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    let kept = steps.kept();
    let refused = |options: &[&str], reason: &str| {
        let ran = Running::start(&mut restart(&kept, options), "").wait();
        assert!(ran.status == Some(1) && ran.stderr.contains(reason), "{reason}: {ran:#?}");
    };
    refused(&["--cut", "9999"], "there is no whole cut 9999");
    refused(&["-n", "5"], "cannot be changed");
    let last = *cuts(&kept).last().expect("there is one");
    let manifest = kept.join(format!("cut-{last:06}/manifest"));
    let sound = fs::read(&manifest).expect("it is there");
    fs::write(&manifest, &sound[..sound.len() / 2]).expect("written");
    refused(&[], "damaged");
    fs::write(&manifest, &sound).expect("written");
    fs::remove_file(steps.dir.path().join("steps.log")).expect("removed");
    refused(&[], "steps.log");
}
