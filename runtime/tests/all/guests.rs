//! The guests of `workloads/guests/manifest.toml`: each is compiled once and run at each of its
//! numbers of ranks. Those of `mpi/` are run by MPICH as well, those of `omp/` are compiled by gcc with
//! its own OpenMP and threads: a test that a native library fails is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use faasm_workloads::manifest::{Guest, Manifest};

use crate::support::{Ran, Running, build_dir, compile, faasm_run, finish, guests_dir};

/// Guests that other tests run: `checkpoint.rs`, `checkpoint_faults.rs`, `checkpoint_threads.rs`, `cli.rs`, `cluster_jobs.rs`, `cluster_network.rs`, `cluster_nodes.rs`, `launchers.rs`, `wasi.rs`, and for
/// `bench/` the scenarios of the benchmarks.
const CLAIMED_ELSEWHERE: [&str; 16] = [
    "faasm/launcher.c",
    "faasm/early.c",
    "faasm/rounds.c",
    "faasm/locked.c",
    "faasm/steps.c",
    "faasm/thread_steps.c",
    "faasm/team_steps.c",
    "faasm/flood.c",
    "faasm/traffic.c",
    "faasm/where.c",
    "apps/endless.c",
    "faasm/wasi.c",
    "mpi/ulfm_collectives.c",
    "mpi/ulfm_heat.c",
    "mpi/ulfm_messages.c",
    "bench/",
];
/// Programs that MPICH is not asked about: erroneous ones whose members call different things, where
/// the standard leaves open what happens and MPICH waits for ever; and those that spawn or connect,
/// which MPICH as Debian builds it (over UCX) cannot; and one with a session beyond `MPI_Finalize`, whose
/// ranks MPICH's launcher now and then kills at their end; and those of ULFM, which MPICH 4.0 declares and does not
/// implement.
const NOT_PORTABLE: [&str; 6] = [
    "collective_disagreement",
    "communicator_misuse",
    "dynamic_connect",
    "dynamic_spawn",
    "session_beside_init",
    "ulfm_calls",
];
/// Asks for teams that only our runtime makes.
const OF_THE_RUNTIME: &str = "omp_elastic";
/// More ranks than this only make a native MPI slow: they poll, each on its own core if there is
/// one.
const NATIVE_RANKS_MAX: u32 = 4;
/// A guest takes a fraction of a second; the machine may be busy with other tests.
const NATIVE_SECONDS_MAX: u32 = 100;

pub(crate) fn manifest() -> Vec<Guest> {
    let path = guests_dir().join("manifest.toml");
    Manifest::read(&path).unwrap_or_else(|error| panic!("{error}")).guests
}

/// A guest's program, which several tests run and the first of them compiles.
pub(crate) fn compiled(guest: &Guest) -> Result<PathBuf, String> {
    type Program = Arc<OnceLock<Result<PathBuf, String>>>;
    static PROGRAMS: Mutex<BTreeMap<String, Program>> = Mutex::new(BTreeMap::new());
    let mut programs = PROGRAMS.lock().expect("nobody panics while he holds this");
    let program = Arc::clone(programs.entry(guest.name.clone()).or_default());
    drop(programs);
    let compile = || {
        let program = build_dir().join(format!("{}.wasm", guest.name));
        compile(&guests_dir().join(&guest.source), &guest.options, &program)?;
        Ok(program)
    };
    program.get_or_init(compile).clone()
}

#[test]
fn guests_do_what_the_manifest_says() {
    check_all(&manifest(), |guest| {
        let program = compiled(guest)?;
        check_runs(guest, &guest.np, |np| {
            let mut command = faasm_run();
            command.args(["-n", &np.to_string()]).arg(&program).args(&guest.args);
            command
        })
    });
}

#[test]
fn a_native_mpi_agrees() {
    let portable: Vec<Guest> = manifest()
        .into_iter()
        .filter(|guest| guest.exit == 0 && guest.expect_stderr.is_empty())
        .filter(|guest| guest.source.starts_with("mpi"))
        .filter(|guest| !NOT_PORTABLE.contains(&&*guest.name))
        .collect();
    assert!(!portable.is_empty(), "no guest could be compared");
    check_all(&portable, |guest| {
        let program = build_dir().join(format!("{}.native", guest.name));
        compile_natively(guest, &program)?;
        let largest = guest.np.iter().copied().filter(|np| *np <= NATIVE_RANKS_MAX).max();
        check_runs(guest, &Vec::from_iter(largest), |np| {
            let mut command = Command::new("mpiexec.mpich");
            // Killed from outside, it would leave its ranks behind.
            command.env("MPIEXEC_TIMEOUT", NATIVE_SECONDS_MAX.to_string());
            command.args(["-n", &np.to_string()]).arg(&program).args(&guest.args);
            command
        })
    });
}

#[test]
fn a_native_openmp_agrees() {
    let portable: Vec<Guest> = manifest()
        .into_iter()
        .filter(|guest| guest.exit == 0 && guest.source.starts_with("omp"))
        .filter(|guest| guest.name != OF_THE_RUNTIME)
        .collect();
    assert!(!portable.is_empty(), "no guest could be compared");
    check_all(&portable, |guest| {
        let program = build_dir().join(format!("{}.native", guest.name));
        // gcc warns of pragmas that it does not take, and the guests say where that is so.
        let mut command = Command::new(if is_c(guest) { "gcc" } else { "g++" });
        command.arg(guests_dir().join(&guest.source)).args(["-O1", "-w", "-o"]).arg(&program);
        finish(command.args(&guest.options).arg("-lm"))?;
        check_runs(guest, &[1], |_| {
            let mut command = Command::new("timeout");
            command.arg(NATIVE_SECONDS_MAX.to_string()).arg(&program).args(&guest.args);
            command
        })
    });
}

#[test]
fn every_guest_is_claimed() {
    let listed: BTreeSet<PathBuf> = manifest().into_iter().map(|guest| guest.source).collect();
    let unclaimed: Vec<PathBuf> = sources(&guests_dir())
        .into_iter()
        .map(|path| path.strip_prefix(guests_dir()).expect("it is below").to_owned())
        .filter(|path| !listed.contains(path))
        .filter(|path| !CLAIMED_ELSEWHERE.iter().any(|claimed| path.starts_with(claimed)))
        .collect();
    assert!(
        unclaimed.is_empty(),
        "guests that no test runs; add them to manifest.toml: {unclaimed:#?}"
    );
}

/// Runs the check of every guest, two at a time, and shows all failures.
pub(crate) fn check_all(guests: &[Guest], check: impl Fn(&Guest) -> Result<(), String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(guest) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = check(guest) {
                failures
                    .lock()
                    .expect("no check panics while it holds this")
                    .push(format!("== {}: {failure}", guest.name));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures = failures.into_inner().expect("no check panics while it holds this");
    assert!(
        failures.is_empty(),
        "{} of {} guests failed\n{}",
        failures.len(),
        guests.len(),
        failures.join("\n")
    );
}

fn check_runs(guest: &Guest, np: &[u32], command: impl Fn(u32) -> Command) -> Result<(), String> {
    for &np in np {
        let mut command = command(np);
        let dir = tempfile::tempdir().expect("a directory");
        command.envs(&guest.env).current_dir(dir.path());
        let ran = Running::start(&mut command, &guest.stdin).wait();
        check_run(guest, &ran).map_err(|wrong| format!("np {np}: {wrong}: {ran:#?}"))?;
    }
    Ok(())
}

pub(crate) fn check_run(guest: &Guest, ran: &Ran) -> Result<(), String> {
    if ran.status != Some(guest.exit) {
        return Err(format!("exit status {:?} instead of {}", ran.status, guest.exit));
    }
    if !ran.stdout.contains(&guest.expect) {
        return Err(format!("standard output lacks {:?}", guest.expect));
    }
    if !ran.stderr.contains(&guest.expect_stderr) {
        return Err(format!("standard error lacks {:?}", guest.expect_stderr));
    }
    Ok(())
}

fn is_c(guest: &Guest) -> bool {
    guest.source.extension().is_some_and(|extension| extension == "c")
}

fn compile_natively(guest: &Guest, program: &Path) -> Result<(), String> {
    let mut command = Command::new(if is_c(guest) { "mpicc.mpich" } else { "mpicxx.mpich" });
    command.arg(guests_dir().join(&guest.source)).args(["-O1", "-o"]).arg(program);
    finish(command.args(&guest.options).arg("-lm"))
        .map_err(|error| format!("{error}\n(bench/rivals.sh installs MPICH)"))
}

/// All C and C++ files below `dir`.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "c" || extension == "cpp") {
            found.push(path);
        }
    }
    found
}
