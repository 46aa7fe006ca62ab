//! Benchmarks beside native MPI: the same programs, compiled natively and to wasm, in alternating runs.
//!
//! [`cable`] stands alone: a wire with delay and loss between network namespaces.
//!
//! Layers, each importing only those above it: [`Args`], scenario and output (what to measure, what programs
//! print), stats, rivals (who runs), lab (several hosts), cluster (who runs on them), results, claims, process, machine,
//! build, measure (one run), run (their order), report, snapshot (memories and instances, in this process).

pub mod cable;

mod args;

mod scenario;

mod output;

mod stats;

mod rivals;

mod lab;

mod cluster;

mod results;

mod claims;

mod process;

mod machine;

mod build;

mod measure;

mod run;

mod report;

mod snapshot;

use anyhow::{Context as _, Result};

pub use args::{Args, DataSet, Rival};

use build::Workshop;
use claims::{Outcome, Verdict};
use lab::Labs;
use machine::Machine;
use measure::Bench;
use report::Report;
use results::Point;
use rivals::{Runner, Toolbox};

/// Measures what `args` ask for, prints the table, writes the reports.
///
/// Returns whether every run of ours ended well and, with `--strict`, every claim was kept.
///
/// # Errors
/// If something that is needed is missing or a report cannot be written.
pub fn run(args: &Args) -> Result<bool> {
    if args.snapshot {
        return snapshot::run(args).map(|()| true);
    }
    let mut scenarios = scenario::load(&args.root.join("bench/scenarios"))?;
    scenarios.retain(|scenario| scenario.network.is_some() == args.cluster);
    scenarios.retain(|scenario| scenario.threads == args.omp);
    let mut claims = claims::load(&args.root.join("bench/claims.toml"))?;
    claims.retain(|claim| scenarios.iter().any(|scenario| claim.is_measured_by(&scenario.name)));
    check_names(args, &scenarios)?;
    if args.list {
        print!("{}", report::table::scenarios(&scenarios));
        return Ok(true);
    }
    let tools = Toolbox::find(args)?;
    let workshop = Workshop::open(args, &tools)?;
    let machine = Machine::look(&tools);
    let labs = Labs::new(&args.root);
    let bench =
        Bench { tools: &tools, workshop: &workshop, labs: &labs, seconds: args.seconds_each() };
    let points = run::all(args, &bench, &scenarios)?;
    anyhow::ensure!(!points.is_empty(), "--only and --np select nothing: see --list");
    let verdicts: Vec<Verdict> = claims.iter().map(|claim| claim.judge(&points)).collect();
    let good = ours_ended_well(&points) && !(args.strict && missed(&verdicts));
    write(args, &Report { machine, quick: args.quick, rounds: args.rounds(), points, verdicts })?;
    Ok(good)
}

fn write(args: &Args, report: &Report) -> Result<()> {
    print!("{}", report::table::render(report));
    if let Some(path) = &args.json {
        std::fs::write(path, report::json::render(report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, report::html::render(report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn check_names(args: &Args, scenarios: &[scenario::Scenario]) -> Result<()> {
    for only in &args.only {
        let alone = Args { only: vec![only.clone()], ..args.clone() };
        anyhow::ensure!(
            scenarios.iter().any(|scenario| alone.selects(&scenario.name)),
            "--only {only}: there is no such scenario; --list shows all"
        );
    }
    Ok(())
}

fn ours_ended_well(points: &[Point]) -> bool {
    let problem = |point: &Point| {
        point.series_of(Runner::Faasm).is_some_and(|series| series.problem.is_some())
    };
    !points.iter().any(problem)
}

fn missed(verdicts: &[Verdict]) -> bool {
    verdicts.iter().any(|verdict| verdict.outcome == Outcome::Miss)
}
