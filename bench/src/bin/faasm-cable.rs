//! The program `faasm-cable`: forwards frames between TAP devices, late and with losses.

use std::process::ExitCode;

use faasm_bench::cable;

fn main() -> ExitCode {
    let options = cable::Options::parse(std::env::args().skip(1));
    match options.and_then(|options| cable::run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faasm-cable: {error:#}");
            ExitCode::FAILURE
        }
    }
}
