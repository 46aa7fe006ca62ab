//! What native libraries do with the guests of `workloads/guests/manifest.toml`. Those of `mpi/` are run by MPICH and by
//! Open MPI, those of `omp/` are compiled by gcc with its own OpenMP and threads: a test that a native library fails is wrong.
//!
//! This is a program of its own because native ranks poll, and so take the processors from whatever runs beside them.

mod libraries;
#[path = "../all/suite.rs"]
mod suite;
#[expect(dead_code, reason = "the tests of `faasm-run` use the rest")]
#[path = "../all/support.rs"]
mod support;

use std::{path::Path, process::Command};

use faasm_workloads::manifest::Guest;

use crate::libraries::{Library, MPICH, OPEN_MPI};
use crate::suite::{check_all, check_runs, manifest};
use crate::support::{build_dir, finish, guests_dir};

/// Asks for teams that only our runtime makes.
const OF_THE_RUNTIME: &str = "omp_elastic";
/// More ranks than this only make a native MPI slow: they poll, each on its own core if there is
/// one.
const NATIVE_RANKS_MAX: u32 = 4;
/// A guest takes seconds where there are fewer cores than ranks: each of its operations takes a turn of the scheduler.
const NATIVE_SECONDS_MAX: u32 = 100;

#[test]
fn native_mpis_agree() {
    // One after the other: their ranks poll.
    for library in [MPICH, OPEN_MPI] {
        agrees(&library);
    }
}

fn agrees(library: &Library) {
    let guests = manifest();
    for name in library.named() {
        assert!(guests.iter().any(|guest| guest.name == name), "there is no guest {name}");
    }
    let asked: Vec<Guest> = guests
        .into_iter()
        .filter(|guest| guest.exit == 0 && guest.expect_stderr.is_empty())
        .filter(|guest| guest.source.starts_with("mpi") && library.is_asked(&guest.name))
        .collect();
    assert!(!asked.is_empty(), "no guest could be compared");
    check_all(&asked, |guest| {
        let program = build_dir().join(format!("{}.{}", guest.name, library.c_compiler));
        let built = compile_natively(guest, library, &program);
        if let Some(name) = library.lacks(&guest.name) {
            let error = built.err().ok_or_else(|| format!("has {name}: compare it"))?;
            let is_lacking = error.contains(name);
            return if is_lacking { Ok(()) } else { Err(error) };
        }
        built?;
        let largest = guest.np.iter().copied().filter(|np| *np <= NATIVE_RANKS_MAX).max();
        check_runs(guest, &Vec::from_iter(largest), |np| {
            let mut command = (library.launcher)(np, NATIVE_SECONDS_MAX);
            command.arg(&program).args(&guest.args);
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

fn compile_natively(guest: &Guest, library: &Library, program: &Path) -> Result<(), String> {
    let compiler = if is_c(guest) { library.c_compiler } else { library.cxx_compiler };
    let mut command = Command::new(compiler);
    command.arg(guests_dir().join(&guest.source)).args(["-O1", "-w", "-o"]).arg(program);
    finish(command.args(&guest.options).arg("-lm"))
        .map_err(|error| format!("{error}\n(bench/rivals.sh installs MPICH and Open MPI)"))
}
