//! `faasm-run`: runs MPI programs, compiled to WebAssembly, as Faaslets of one process.

mod args;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(args::Request::Help(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(args::Request::Version) => {
            println!("faasm-run {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(args::Request::Run(job)) => {
            println!("{job:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("faasm-run: {error}");
            ExitCode::FAILURE
        }
    }
}
