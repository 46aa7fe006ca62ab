//! System calls as a C library makes them, through the whole program.

use std::{fs, time::Duration};

use crate::support::{Running, build_dir, compile, faasm_run, guests_dir};

#[test]
fn a_c_library_gets_what_it_asks_for_and_no_more() {
    let program = build_dir().join("wasi.wasm");
    compile(&guests_dir().join("faasm/wasi.c"), &[], &program)
        .unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir().expect("a directory");
    let work = dir.path().join("work");
    fs::create_dir(&work).expect("a directory");
    let read_only = format!("{}::/ro:ro", work.display());
    let mut command = faasm_run();
    command.args(["-n", "1", "--dir", &read_only, "--wdir"]).arg(&work).arg(&program);
    let ran = Running::start(&mut command, "3 4\n").wait().expect_status(7);
    assert_eq!(ran.stdout, "0 failures\n");
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
    assert_eq!(fs::read_dir(&work).expect("it is there").count(), 0, "the guest removes its files");
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1, "nothing is outside");
}
