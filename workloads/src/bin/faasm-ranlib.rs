//! `faasm-ranlib`: see [`faasm_workloads::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    faasm_workloads::cli::ranlib(std::env::args_os().skip(1))
}
