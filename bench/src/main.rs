//! The program `faasm-bench`: parse the options, run, turn the verdict into an exit status.

use std::process::ExitCode;

use clap::Parser as _;

/// The allocator of `faasm-run`, for everybody who makes instances here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match faasm_bench::run(&faasm_bench::Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faasm-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}
