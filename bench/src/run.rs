//! The order of runs: A B C A B C ..., after a trial round that finds each rival's best settings.
//!
//! The trial round also warms caches. A rival that is many times slower than the other one cannot be the best
//! native at that point; its trial is all that is reported of it, since repeating it would only cost minutes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Args;
use crate::cluster;
use crate::measure::{Bench, Observation, Unit};
use crate::results::{Point, Series};
use crate::rivals::{Runner, Variant};
use crate::scenario::{Kind, Metric, Scenario};
use crate::stats::geometric_mean;

/// A rival this many times slower than the other is not measured again.
const HOPELESS: f64 = 8.0;
/// Even a hopeless rival gets this long to show it.
const LIMIT_MIN: Duration = Duration::from_secs(15);

/// Runs all units and returns their points.
pub(crate) fn all(args: &Args, bench: &Bench<'_>, scenarios: &[Scenario]) -> Result<Vec<Point>> {
    let units = units(args, bench, scenarios)?;
    let bar = progress(u64::try_from(units.len())?);
    let mut points = Vec::new();
    for unit in &units {
        let comparison = Comparison::new(args, bench, unit, &bar);
        points.extend(comparison.run());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(points)
}

/// Everything that `args` select and whose source is there.
fn units<'a>(args: &Args, bench: &Bench<'_>, scenarios: &'a [Scenario]) -> Result<Vec<Unit<'a>>> {
    let mut units = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| args.selects(&scenario.name)) {
        if scenario.program.as_ref().is_some_and(|program| !bench.workshop.has(program.suite)) {
            continue;
        }
        let kernels = match scenario.kind {
            Kind::Polybench => bench.workshop.kernels()?.into_iter().map(Some).collect(),
            _ => vec![None],
        };
        for case in scenario.cases.iter().filter(|case| !(case.alone && args.without_ours)) {
            let wanted = |np: &&u32| args.np.is_empty() || args.np.contains(np);
            for &np in case.np.iter().filter(wanted) {
                let unit = |kernel| Unit { scenario, case, np, kernel };
                units.extend(kernels.iter().cloned().map(unit));
            }
        }
    }
    Ok(units)
}

fn progress(units: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {msg}");
    let bar = ProgressBar::new(units);
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// One unit with all who take part.
struct Comparison<'a> {
    bench: &'a Bench<'a>,
    unit: &'a Unit<'a>,
    bar: &'a ProgressBar,
    quick: bool,
    rounds: u32,
    limit: Duration,
    /// The shortest run of a native in this unit so far, and what it cost.
    best_native: Option<(Duration, f64)>,
    entrants: Vec<Entrant>,
}

/// One who takes part, with its values per label and round.
struct Entrant {
    runner: Runner,
    variant: &'static Variant,
    rounds: Vec<Vec<Observation>>,
    problem: Option<String>,
}

/// What a trial found: the settings, their values, and how long the command took.
struct Trial {
    variant: &'static Variant,
    observations: Vec<Observation>,
    wall: Duration,
    cost: f64,
}

impl<'a> Comparison<'a> {
    fn new(args: &Args, bench: &'a Bench<'a>, unit: &'a Unit<'a>, bar: &'a ProgressBar) -> Self {
        let rounds = unit.scenario.runs.unwrap_or(u32::MAX).min(args.rounds());
        let limit = Duration::from_secs(unit.scenario.timeout_s.unwrap_or(0).max(args.timeout));
        let entrants = entrants(bench, unit);
        Self { bench, unit, bar, quick: args.quick, rounds, limit, best_native: None, entrants }
    }

    fn run(mut self) -> Vec<Point> {
        self.build();
        self.trials();
        for round in 1..=self.rounds {
            for index in 0..self.entrants.len() {
                self.round(index, round);
            }
        }
        self.points()
    }

    fn build(&mut self) {
        for entrant in &mut self.entrants {
            self.bar.set_message(format!(
                "build {} for {}",
                self.unit.title(),
                entrant.runner.title()
            ));
            entrant.check(self.bench.build(self.unit, entrant.runner).map(|_: PathBuf| ()));
        }
    }

    fn trials(&mut self) {
        let warm_up = self.unit.scenario.kind == Kind::Wall;
        for index in 0..self.entrants.len() {
            let variants = self.variants(index);
            if self.entrants[index].problem.is_some() || (variants.len() == 1 && !warm_up) {
                continue;
            }
            match self.best_trial(index, &variants) {
                Err(error) => self.entrants[index].check(Err(error)),
                Ok(trial) => self.accept(index, trial),
            }
        }
    }

    /// Takes over the settings that a trial found best, or gives up on a hopeless rival.
    fn accept(&mut self, index: usize, trial: Trial) {
        let best_cost = self.best_native.map_or(f64::INFINITY, |(_, cost)| cost);
        let entrant = &mut self.entrants[index];
        entrant.variant = trial.variant;
        if entrant.runner == Runner::Faasm {
            return;
        }
        if trial.cost > best_cost * HOPELESS {
            entrant.rounds = vec![trial.observations];
            entrant.problem = Some(format!("over {HOPELESS} times slower: run once"));
        } else if trial.cost < best_cost {
            self.best_native = Some((trial.wall, trial.cost));
        }
    }

    /// How long a run may take: for a native, not many times what the best one needed.
    fn limit_of(&self, runner: Runner) -> Duration {
        match self.best_native {
            Some((wall, _)) if runner != Runner::Faasm => {
                wall.mul_f64(HOPELESS).clamp(LIMIT_MIN.min(self.limit), self.limit)
            }
            _ => self.limit,
        }
    }

    fn variants(&self, index: usize) -> Vec<&'static Variant> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        let (runner, np) = (self.entrants[index].runner, self.unit.np);
        let mut variants = match &self.unit.scenario.network {
            Some(_) => cluster::variants(runner, np, cores),
            None => runner.variants(np, cores),
        };
        if self.quick || self.rounds == 1 {
            variants.truncate(1);
        }
        variants
    }

    fn best_trial(&self, index: usize, variants: &[&'static Variant]) -> Result<Trial> {
        let runner = self.entrants[index].runner;
        let limit = self.limit_of(runner);
        let mut best: Option<Trial> = None;
        let mut problem: Option<Error> = None;
        for &variant in variants {
            self.bar.set_message(format!("try {}, {}", self.unit.title(), runner.title()));
            let start = Instant::now();
            match self.bench.once(self.unit, runner, variant, limit) {
                Err(error) => problem = Some(error),
                Ok(observations) => {
                    let cost = cost(self.unit.scenario.metric, &observations);
                    if best.as_ref().is_none_or(|best| cost < best.cost) {
                        best = Some(Trial { variant, observations, wall: start.elapsed(), cost });
                    }
                }
            }
        }
        match (best, problem) {
            (Some(best), _) => Ok(best),
            (None, Some(problem)) => Err(problem),
            (None, None) => Err(Error::msg("there is nothing to try")),
        }
    }

    fn round(&mut self, index: usize, round: u32) {
        let entrant = &self.entrants[index];
        if entrant.problem.is_some() {
            return;
        }
        let who = entrant.runner.title();
        self.bar.set_message(format!("{}, {who}, {round}/{}", self.unit.title(), self.rounds));
        let (runner, variant, start) = (entrant.runner, entrant.variant, Instant::now());
        let result = self.bench.once(self.unit, runner, variant, self.limit_of(runner));
        let entrant = &mut self.entrants[index];
        match result {
            Err(error) => entrant.check(Err(error)),
            Ok(observations) => {
                if runner != Runner::Faasm && self.best_native.is_none() {
                    let cost = cost(self.unit.scenario.metric, &observations);
                    self.best_native = Some((start.elapsed(), cost));
                }
                entrant.rounds.push(observations);
            }
        }
    }

    fn points(mut self) -> Vec<Point> {
        self.compare_lines();
        let labels = self.unit.labels();
        let metric_unit = self.unit.scenario.metric.unit();
        let point = |(label, bytes): (String, Option<u64>)| Point {
            scenario: self.unit.scenario.name.clone(),
            title: self.unit.scenario.title.clone(),
            np: self.unit.np,
            series: self.entrants.iter().map(|entrant| entrant.series(&label)).collect(),
            metric: self.unit.scenario.metric,
            unit: self.unit.scenario.unit.clone().unwrap_or_else(|| metric_unit.to_owned()),
            label,
            bytes,
        };
        labels.into_iter().map(point).collect()
    }

    /// Lines that all builds must print alike: ours against the first native that has any.
    fn compare_lines(&mut self) {
        let native = self.entrants.iter().filter(|entrant| entrant.runner != Runner::Faasm);
        let Some(expected) = native.filter_map(Entrant::same).next() else {
            return;
        };
        for entrant in &mut self.entrants {
            let got = entrant.same();
            if let Some(got) = got.filter(|got| *got != expected) {
                entrant.problem = Some(format!(
                    "results differ: {} instead of {}",
                    got.join("; "),
                    expected.join("; ")
                ));
            }
        }
    }
}

impl Entrant {
    fn check(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.problem = Some(format!("{error:#}"));
        }
    }

    fn same(&self) -> Option<Vec<String>> {
        let first = self.rounds.first()?.first()?;
        (!first.same.is_empty()).then(|| first.same.clone())
    }

    fn series(&self, label: &str) -> Series {
        let of_label = |round: &Vec<Observation>| {
            round.iter().find(|observation| observation.label == label).cloned()
        };
        let observations: Vec<Option<Observation>> = self.rounds.iter().map(of_label).collect();
        let mut latencies_ns = None;
        for histogram in observations.iter().flatten().filter_map(|o| o.latencies_ns.as_ref()) {
            let all = latencies_ns.get_or_insert_with(|| {
                let mut empty = histogram.clone();
                empty.reset();
                empty
            });
            // Histograms that grow by themselves can always take each other's values.
            all.add(histogram).ok();
        }
        Series {
            runner: self.runner,
            variant: self.variant.name.to_owned(),
            values: observations.iter().map(|o| o.as_ref().map(|o| o.value)).collect(),
            problem: self.problem.clone(),
            latencies_ns,
        }
    }
}

fn entrants(bench: &Bench<'_>, unit: &Unit<'_>) -> Vec<Entrant> {
    let ours = |runner: &&Runner| **runner == Runner::Faasm;
    let runners = &bench.tools.runners;
    let chosen: Vec<Runner> = match unit.scenario.kind {
        Kind::Polybench => runners.iter().filter(ours).copied().chain([Runner::Serial]).collect(),
        _ if unit.case.alone => runners.iter().filter(ours).copied().collect(),
        _ => runners.clone(),
    };
    let entrant = |runner: Runner| Entrant {
        runner,
        variant: runner.variants(unit.np, 1)[0],
        rounds: Vec::new(),
        problem: None,
    };
    chosen.into_iter().map(entrant).collect()
}

/// One number for all points of a run, smaller is better.
fn cost(metric: Metric, observations: &[Observation]) -> f64 {
    let values: Vec<f64> = observations.iter().map(|observation| observation.value).collect();
    let mean = geometric_mean(&values).unwrap_or(f64::INFINITY);
    if metric.more_is_better() { 1.0 / mean } else { mean }
}
