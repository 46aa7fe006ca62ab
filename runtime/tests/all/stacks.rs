//! Call stacks as values: guests do the same when theirs are taken down and built up again.

use faasm_workloads::manifest::Guest;

use crate::{
    checkpoint::has_threads,
    guests::compiled,
    suite::{check_all, check_run, manifest},
    support::{Running, build_dir, compile, faasm_run},
};

/// More ranks than this only take longer.
const RANKS_MAX: u32 = 4;

#[test]
fn guests_do_the_same_with_rebuilt_stacks() {
    let guests: Vec<Guest> = manifest().into_iter().filter(|guest| !has_threads(guest)).collect();
    assert!(guests.len() > 60, "only {} guests", guests.len());
    do_the_same(&guests);
}

#[test]
fn guests_with_threads_do_the_same_with_rebuilt_stacks() {
    let guests: Vec<Guest> = manifest().into_iter().filter(has_threads).collect();
    assert!(guests.len() > 15, "only {} guests", guests.len());
    do_the_same(&guests);
}

fn do_the_same(guests: &[Guest]) {
    check_all(guests, |guest| {
        let fits = guest.np.iter().copied().filter(|np| *np <= RANKS_MAX).max();
        let np = fits.unwrap_or(guest.np[0]);
        let program = compiled(guest)?;
        // At every call, and at some.
        for every in ["1", "3"] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut command = faasm_run();
            command.args(["--rebuild-stack", every, "-n", &np.to_string()]);
            command.arg(&program).args(&guest.args).envs(&guest.env).current_dir(dir.path());
            let ran = Running::start(&mut command, &guest.stdin).wait();
            check_run(guest, &ran)
                .map_err(|wrong| format!("np {np}, every {every}: {wrong}: {ran:#?}"))?;
        }
        Ok(())
    });
}

/// An exception that passes frames which were taken down, and objects whose destructors call MPI.
const EXCEPTIONS: &str = r#"
#include <mpi.h>
#include <cstdio>
#include <stdexcept>
#include <string>
struct Guard { int *sum; ~Guard() { int one = 1, all = 0; MPI_Allreduce(&one, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD); *sum += all; } };
static int sum = 0;
struct Shape { virtual ~Shape() = default; virtual int area(int n) = 0; };
struct Square : Shape { int area(int n) override { int v = n * n, r = 0; MPI_Allreduce(&v, &r, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD); return r; } };
struct Empty : Shape { int area(int n) override { if (n > 2) throw std::runtime_error("too " + std::to_string(n)); return -n; } };
static int descend(Shape &shape, int n) { Guard guard{&sum}; double x = n * 0.5; int a = shape.area(n); if (n < 6) a += descend(shape, n + 1); return a + (int)(x * 2); }
int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  Square square; Empty empty; std::string seen;
  int total = descend(square, 1);
  for (int i = 0; i < 3; i++) try { total += descend(empty, i); } catch (const std::exception &e) { seen += e.what(); MPI_Barrier(MPI_COMM_WORLD); }
  std::printf("%d %d %s\n", total, sum, seen.c_str());
  MPI_Finalize();
}
"#;

#[test]
fn exceptions_and_virtual_functions_survive() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = dir.path().join("exceptions.cpp");
    std::fs::write(&source, EXCEPTIONS).expect("a file");
    let program = build_dir().join("stacks_exceptions.wasm");
    compile(&source, &["-fexceptions".into()], &program).expect("it compiles");
    let output = |options: &[&str]| {
        let mut command = faasm_run();
        command.args(["-n", "3"]).args(options).arg(&program);
        let ran = Running::start(&mut command, "").wait();
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        ran.stdout
    };
    let expected = output(&[]);
    assert!(expected.contains("too 3too 3too 3"), "{expected}");
    for every in ["1", "2", "5"] {
        assert_eq!(output(&["--rebuild-stack", every]), expected, "every {every}");
    }
}
