//! Gives `faasm-cxx` its second name `faasm-c++`, which cargo accepts for a file but not for a program.

use std::{env, fs, io, os::unix::fs::symlink, path::Path, process::ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    match link_second_name() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot create the link faasm-c++ beside faasm-cxx: {error}");
            ExitCode::FAILURE
        }
    }
}

fn link_second_name() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    // OUT_DIR is <profile>/build/<package>/out; programs are put into <profile>.
    let profile = Path::new(&out).ancestors().nth(3).ok_or(io::ErrorKind::NotFound)?;
    let link = profile.join("faasm-c++");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink("faasm-cxx", &link),
    }
}
