//! The guests of `workloads/guests/manifest.toml`: each is compiled once and run at each of its
//! numbers of ranks. What native libraries say of them is asked by `tests/native`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use faasm_workloads::manifest::Guest;

use crate::suite::{check_all, check_runs, manifest};
use crate::support::{build_dir, compile, faasm_run, guests_dir};

/// Guests that other tests run: `checkpoint.rs`, `checkpoint_faults.rs`, `checkpoint_threads.rs`, `cli.rs`, `cluster_jobs.rs`, `cluster_network.rs`, `cluster_nodes.rs`, `launchers.rs`, `omp_nodes.rs`, `top.rs`, `wasi.rs`, and for
/// `bench/` the scenarios of the benchmarks.
const CLAIMED_ELSEWHERE: [&str; 21] = [
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
    "faasm/uneven.c",
    "faasm/omp_nodes.c",
    "apps/endless.c",
    "faasm/wasi.c",
    "mpi/ulfm_collectives.c",
    "mpi/ulfm_connect.c",
    "mpi/ulfm_heat.c",
    "mpi/ulfm_messages.c",
    "mpi/ulfm_spawn.c",
    "mpi/ulfm_spread.c",
    "bench/",
];
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
