//! `faasm-cc`: see [`faasm_workloads::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    faasm_workloads::cli::cc(std::env::args_os().skip(1))
}
