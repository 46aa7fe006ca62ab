//! How it fails: with a non-zero status, nothing left behind, and a message that names cause and remedy.

use std::process::Command;

use crate::workplace::{Workplace, source};

#[test]
fn another_openmp_library_is_refused_before_anything_is_compiled() {
    let place = Workplace::new();
    let errors =
        place.fail("faasm-cc", &format!("-fopenmp=libgomp {} -o hello", source("hello.c")));
    assert!(errors.contains("-fopenmp") && errors.contains("OpenMP"), "{errors}");
    assert!(!place.path("hello").exists());
}

#[test]
fn a_missing_file_a_syntax_error_and_a_misspelt_function_are_errors() {
    let place = Workplace::new();
    assert!(place.fail("faasm-cc", "nowhere.c -o a").contains("nowhere.c"));
    place.write("bad.c", "int main(void) { return 0 }");
    assert!(place.fail("faasm-cc", "bad.c -o a").contains("bad.c:1"));
    place.write(
        "typo.c",
        "#include <mpi.h>\nint MPI_Fnalize(void);\nint main(void) { return MPI_Fnalize(); }",
    );
    assert!(place.fail("faasm-cc", "typo.c -o a").contains("undefined symbol: MPI_Fnalize"));
    assert!(!place.path("a").exists());
}

#[test]
fn an_option_without_its_value_is_an_error() {
    let place = Workplace::new();
    assert!(place.fail("faasm-cc", "a.c -o").contains("-o: a value must follow"));
}

#[test]
fn unusable_environment_variables_are_named() {
    for (variable, value, word) in [
        ("WASI_SDK_PATH", "/nowhere", "bin/clang"),
        ("FAASM_CLANG", "no-such-clang", "no such program"),
        ("FAASM_SYSROOT", "/nowhere", "libc.a"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_faasm-cc"))
            .args(["--version"])
            .env(variable, value)
            .output()
            .expect("started");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{variable}");
        assert!(errors.contains(variable) && errors.contains(word), "{errors}");
    }
}

#[test]
fn a_machine_without_pip_is_told_what_to_install() {
    let place = Workplace::new();
    let output = Command::new(env!("CARGO_BIN_EXE_faasm-cc"))
        .args(["--faasm-install"])
        .env("FAASM_CACHE_DIR", place.path("cache"))
        .env("PATH", "")
        .output()
        .expect("started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("python3-pip") && errors.contains("WASI_SDK_PATH"), "{errors}");
}

#[test]
fn the_library_reports_what_the_compiler_says() {
    let place = Workplace::new();
    place.write("bad.c", "int main(void) { return nothing; }");
    let output = place.path("bad.wasm");
    let error =
        faasm_workloads::compile(&[place.path("bad.c")], &[], &output).expect_err("rejected");
    assert!(error.to_string().contains("nothing"), "{error}");
    let sources = [std::path::PathBuf::from(source("hello.c"))];
    faasm_workloads::compile(&sources, &["-O1".into()], &place.path("good.wasm"))
        .expect("compiled");
    assert!(place.module("good.wasm").exports.contains("_start"));
}
