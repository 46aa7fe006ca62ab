//! Runs an MPI program inside another program: `cargo run --example embed -- ring.wasm 64 [args]`.

use std::sync::Arc;

use faasm_runtime::{Multiplexer, MultiplexerOptions, Outcome, Runtime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let program = args.next().ok_or("usage: embed PROGRAM.wasm [RANKS [ARGS...]]")?;
    let ranks = args.next().map_or(Ok(4), |ranks| ranks.parse())?;
    let runtime = Runtime::builder().build()?;
    let module = runtime.load_file(&program)?;
    let options = MultiplexerOptions { ranks, ..MultiplexerOptions::default() };
    let output = Arc::new(Multiplexer::new(options, |failure| eprintln!("{failure}"))?);
    let job = runtime.job(&module).ranks(ranks).args(args).output(output.clone()).spawn()?;
    let report = job.wait();
    output.finish();
    if let Outcome::Deadlock { states } = &report.outcome {
        eprintln!("deadlock: the ranks wait for each other");
        states.iter().for_each(|state| eprintln!("  {state}"));
    }
    for (rank, exit) in report.ranks.iter().enumerate() {
        if let Some(reason) = exit.reason() {
            eprintln!("rank {rank} {reason}");
        }
    }
    println!("exit code {} after {:?}", report.exit_code(), report.wall);
    std::process::exit(report.exit_code());
}
