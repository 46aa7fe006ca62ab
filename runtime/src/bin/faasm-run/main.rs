//! `faasm-run`: runs MPI programs, compiled to WebAssembly, as Faaslets of one process.
//!
//! It speaks as mpirun does and uses the library through its public face only.

mod args;
mod commands;

use std::{io::Write as _, time::Instant};

/// Each MPI call allocates and frees a small future; this allocator does it in half the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let begun = Instant::now();
    // The allocator refuses huge pages for the whole process: clearing its own took a quarter of the
    // time of a short job. Guests may have them. A kernel without huge pages has nothing to allow.
    let _ = rustix::thread::disable_transparent_huge_pages(false);
    let status = match args::parse(std::env::args_os().skip(1)) {
        Ok(args::Request::Help(text)) => print(&text),
        Ok(args::Request::Version) => print(&format!("faasm-run {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(args::Request::Run(job)) => commands::run::run(&job, begun),
        Ok(args::Request::Node(args)) => commands::node::run(&args),
        Ok(args::Request::Checkpoint(process)) => commands::restart::ask(process),
        Ok(args::Request::Migrate(args)) => commands::migrate::order(&args),
        Ok(args::Request::Top(args)) => commands::top::run(&args),
        Ok(args::Request::Restart(args)) => commands::restart::restart(args, begun),
        Ok(args::Request::Cluster(args)) => commands::cluster::run(&args),
        Err(error) => {
            eprintln!("faasm-run: {error}");
            1
        }
    };
    // Ranks that still compute and threads that wait end with the process; nothing is worth waiting
    // for.
    std::process::exit(status);
}

/// Prints to whoever still reads.
fn print(text: &str) -> i32 {
    i32::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}
