//! `faasm-ar`: see [`faasm_workloads::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    faasm_workloads::cli::ar(std::env::args_os().skip(1))
}
