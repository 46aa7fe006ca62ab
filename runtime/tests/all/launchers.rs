//! Jobs that are started by ssh, in Slurm and as Kubernetes' pods: scripts with real servers.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::support::{build_dir, compile, guests_dir};

#[test]
fn nodes_are_started_by_ssh() {
    run("ssh.sh");
}

#[test]
fn jobs_run_inside_slurm() {
    run("slurm.sh");
}

#[test]
fn the_pods_of_the_manifest_form_a_job() {
    run("kubernetes.sh");
}

/// Runs a script, which installs what it needs, and fails with all that it said.
fn run(script: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut command = Command::new(path);
    command.arg(env!("CARGO_BIN_EXE_faasm-run")).arg(guest());
    let output = command.output().unwrap_or_else(|error| panic!("{script}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&said));
}

fn guest() -> &'static Path {
    static GUEST: OnceLock<PathBuf> = OnceLock::new();
    GUEST.get_or_init(|| {
        let program = build_dir().join("where.wasm");
        let compiled = compile(&guests_dir().join("faasm/where.c"), &[], &program);
        compiled.unwrap_or_else(|error| panic!("{error}"));
        program
    })
}
