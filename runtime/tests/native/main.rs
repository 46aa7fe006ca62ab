//! What native libraries do with the guests of `workloads/guests/manifest.toml`. Those of `mpi/` are run by MPICH, those of
//! `omp/` are compiled by gcc with its own OpenMP and threads: a test that a native library fails is wrong.
//!
//! This is a program of its own because native ranks poll, and so take the processors from whatever runs beside them.

#[path = "../all/suite.rs"]
mod suite;
#[expect(dead_code, reason = "the tests of `faasm-run` use the rest")]
#[path = "../all/support.rs"]
mod support;

use std::{path::Path, process::Command};

use faasm_workloads::manifest::Guest;

use crate::suite::{check_all, check_runs, manifest};
use crate::support::{build_dir, finish, guests_dir};

/// Programs that MPICH is not asked about: erroneous ones whose members call different things, where
/// the standard leaves open what happens and MPICH waits for ever; and those that spawn or connect,
/// which MPICH as Debian builds it (over UCX) cannot; and one with a session beyond `MPI_Finalize`, whose
/// ranks MPICH's launcher now and then kills at their end; and those of ULFM, which MPICH 4.0 declares and does not
/// implement; and one with data representations of its own, which neither MPICH nor Open MPI can use.
const NOT_PORTABLE: [&str; 8] = [
    "collective_disagreement",
    "communicator_misuse",
    "dynamic_connect",
    "dynamic_lives",
    "dynamic_spawn",
    "file_datarep",
    "session_beside_init",
    "ulfm_calls",
];
/// Asks for teams that only our runtime makes.
const OF_THE_RUNTIME: &str = "omp_elastic";
/// More ranks than this only make a native MPI slow: they poll, each on its own core if there is
/// one.
const NATIVE_RANKS_MAX: u32 = 4;
/// A guest takes seconds where there are fewer cores than ranks: each of its operations takes a turn of the scheduler.
const NATIVE_SECONDS_MAX: u32 = 100;

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

fn is_c(guest: &Guest) -> bool {
    guest.source.extension().is_some_and(|extension| extension == "c")
}

fn compile_natively(guest: &Guest, program: &Path) -> Result<(), String> {
    let mut command = Command::new(if is_c(guest) { "mpicc.mpich" } else { "mpicxx.mpich" });
    command.arg(guests_dir().join(&guest.source)).args(["-O1", "-o"]).arg(program);
    finish(command.args(&guest.options).arg("-lm"))
        .map_err(|error| format!("{error}\n(bench/rivals.sh installs MPICH)"))
}
