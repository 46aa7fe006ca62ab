//! OpenMP's part inside the guest under random interleavings: `omp-shim/tests/interleave` runs a program with that
//! library so that any access of memory may be followed by another thread's turn.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::support::{Running, build_dir, compile, faasm_run};

/// How many interleavings of each kind are run.
const SEEDS: u32 = 120;

/// What has clang call the simulation before each load and each store.
const TRACED: [&str; 3] = [
    "-fsanitize-coverage-type=3",
    "-fsanitize-coverage-trace-loads",
    "-fsanitize-coverage-trace-stores",
];

#[test]
fn constructs_hold_whatever_the_interleaving() {
    let program = build();
    let said = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for policy in ["passive", "active"] {
            let (program, said) = (&program, &said);
            scope.spawn(move || {
                for seed in 1..=SEEDS {
                    let stdout = interleaving(program, policy, seed);
                    said.lock().expect("nobody panics with it").push(stdout);
                }
            });
        }
    });
    // The program says whether additions that are not synchronised were lost.
    let said = said.into_inner().expect("nobody panics with it");
    assert_eq!(said.len(), 2 * SEEDS as usize);
    for text in ["whole\nok\n", "torn\nok\n"] {
        assert!(said.iter().any(|stdout| stdout == text), "no run said {text:?}");
    }
}

fn interleaving(program: &Path, policy: &str, seed: u32) -> String {
    let threads = 2 + seed % 4;
    let mut command = faasm_run();
    command.args(["-n", "1", "--timeout", "60"]).arg(program).arg(threads.to_string());
    command.env("SIM_SEED", seed.to_string());
    command.envs([("OMP_WAIT_POLICY", policy), ("OMP_CANCELLATION", "true")]);
    let ran = Running::start(&mut command, "").wait();
    assert_eq!(ran.status, Some(0), "seed {seed}, {policy}, {threads} threads: {ran:#?}");
    ran.stdout
}

/// The program with its own library: the simulation stands for some of the host's functions.
fn build() -> PathBuf {
    let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join("../omp-shim");
    let (library, here) = (shim.join("guest"), shim.join("tests/interleave"));
    let include = |directory: &Path| format!("-I{}", directory.display());
    let threads = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/libc/threads");
    let common = ["-fopenmp".to_owned(), "-O1".to_owned(), include(&library), include(&threads)];

    let simulation = build_dir().join("interleave.o");
    let options = [&common[..], &["-c".to_owned()]].concat();
    compile(&here.join("interleave.c"), &options, &simulation).unwrap_or_else(|e| panic!("{e}"));

    let mut options = common.to_vec();
    options.extend(["-fno-strict-aliasing", "-include"].map(str::to_owned));
    options.push(here.join("interleave.h").display().to_string());
    options.extend(TRACED.iter().flat_map(|option| ["-Xclang".to_owned(), (*option).to_owned()]));
    let sources = fs::read_dir(&library).expect("the library is there");
    let sources = sources.map(|entry| entry.expect("it can be read").path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "c");
    options.extend(sources.filter(is_source).map(|path| path.display().to_string()));
    options.push(simulation.display().to_string());
    let program = build_dir().join("interleave.wasm");
    compile(&here.join("program.c"), &options, &program).unwrap_or_else(|e| panic!("{e}"));
    program
}
