//! `faasm-cxx`, which is also `faasm-c++`: see [`faasm_workloads::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    faasm_workloads::cli::cxx(std::env::args_os().skip(1))
}
