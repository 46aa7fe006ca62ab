//! One run of one program: start it, read what it says, return the values.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;

use crate::build::{Kernel, Workshop};
use crate::cluster;
use crate::lab::Labs;
use crate::output;
use crate::process::{self, Finished};
use crate::results::size_label;
use crate::rivals::{Runner, Toolbox, Variant};
use crate::scenario::{Case, Kind, Metric, Program, Scenario};

/// What is run: a scenario at a number of ranks, for PolyBench one kernel of it.
#[derive(Clone, Debug)]
pub(crate) struct Unit<'a> {
    /// The scenario.
    pub(crate) scenario: &'a Scenario,
    /// The case of the scenario.
    pub(crate) case: &'a Case,
    /// The number of ranks.
    pub(crate) np: u32,
    /// The kernel, for kind `polybench`.
    pub(crate) kernel: Option<Kernel>,
}

/// One value of one run.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// Which point of the unit it belongs to.
    pub(crate) label: String,
    /// The value in the scenario's metric.
    pub(crate) value: f64,
    /// The distribution behind it, where the program reports one.
    pub(crate) latencies_ns: Option<Histogram<u64>>,
    /// Lines that every build of the program must print alike.
    pub(crate) same: Vec<String>,
}

/// How a program is run.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    /// Compilers and launchers.
    pub(crate) tools: &'a Toolbox,
    /// Where programs come from.
    pub(crate) workshop: &'a Workshop<'a>,
    /// The hosts of scenarios that need several.
    pub(crate) labs: &'a Labs,
    /// Seconds a guest repeats each operation.
    pub(crate) seconds: f64,
}

impl Unit<'_> {
    /// The labels of its points with their payload bytes.
    pub(crate) fn labels(&self) -> Vec<(String, Option<u64>)> {
        match (&self.kernel, self.scenario.kind) {
            (Some(kernel), _) => vec![(kernel.name.clone(), None)],
            (None, Kind::Guest) => {
                let sizes = self.case.sizes.iter();
                sizes.map(|&bytes| (size_label(bytes), Some(bytes))).collect()
            }
            _ => vec![(String::new(), None)],
        }
    }

    /// For people: "ring, 64 ranks".
    pub(crate) fn title(&self) -> String {
        match &self.kernel {
            Some(kernel) => format!("{} {}", self.scenario.name, kernel.name),
            None => {
                let what = if self.scenario.threads { "threads" } else { "ranks" };
                format!("{}, {} {what}", self.scenario.name, self.np)
            }
        }
    }
}

impl Bench<'_> {
    /// Builds the unit's program for a runner.
    pub(crate) fn build(&self, unit: &Unit<'_>, runner: Runner) -> Result<PathBuf> {
        match (&unit.kernel, &unit.scenario.program) {
            (Some(kernel), _) => self.workshop.kernel(runner, kernel),
            (None, Some(program)) => self.workshop.program(runner, program),
            (None, None) => {
                self.workshop.guest(runner, &unit.scenario.guest, unit.scenario.threads)
            }
        }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// If the program does not end well within `limit`, or its own verification fails.
    pub(crate) fn once(
        &self,
        unit: &Unit<'_>,
        runner: Runner,
        variant: &Variant,
        limit: Duration,
    ) -> Result<Vec<Observation>> {
        let binary = self.build(unit, runner)?;
        let folder = self.workshop.run_folder(&unit.scenario.name, runner)?;
        let network = unit.scenario.network.as_ref();
        let lab = network.map(|network| self.labs.with(network)).transpose()?;
        let mut command = match &lab {
            Some(lab) => cluster::launch(self.tools, lab, runner, variant, unit.np, &binary),
            None if unit.scenario.threads => {
                self.tools.launch_threads(runner, variant, unit.np, &binary)
            }
            None => self.tools.launch(runner, variant, unit.np, &binary),
        };
        let np = unit.np.to_string();
        let arguments = unit.scenario.args.iter().chain(&unit.case.args);
        command.current_dir(&folder).args(arguments.map(|text| text.replace("{np}", &np)));
        let kind = unit.scenario.kind;
        if kind == Kind::Guest {
            let sizes: Vec<String> = unit.case.sizes.iter().map(u64::to_string).collect();
            command.arg(self.seconds.to_string()).arg(sizes.join(","));
        }
        if matches!(kind, Kind::Idle | Kind::Resident) {
            let usage = process::observe(command, "HOLDING", SAMPLE, limit)?;
            let value = match kind {
                Kind::Idle => usage.cpu_percent,
                _ => usage.peak_kib / f64::from(unit.np),
            };
            return Ok(vec![single(value)]);
        }
        let finished = process::finish(command, limit);
        // Whatever a launcher left behind must not disturb the next run.
        lab.map_or(Ok(()), |lab| lab.settle())?;
        read(unit, &finished?, &folder)
    }
}

/// How long a job whose ranks all wait is looked at.
const SAMPLE: Duration = Duration::from_secs(2);

fn read(unit: &Unit<'_>, finished: &Finished, folder: &Path) -> Result<Vec<Observation>> {
    match (unit.scenario.kind, &unit.scenario.program) {
        (Kind::Guest, _) => guest_values(unit, &finished.stdout),
        (Kind::Program, Some(program)) => {
            Ok(vec![program_value(program, &finished.stdout, folder)?])
        }
        (Kind::Polybench, _) => {
            let text = finished.stdout.trim();
            let value = text.parse().with_context(|| format!("{text:?} is not a time"))?;
            let label = unit.kernel.as_ref().map(|kernel| kernel.name.clone());
            Ok(vec![Observation { label: label.unwrap_or_default(), ..single(value) }])
        }
        _ => Ok(vec![single(finished.wall.as_secs_f64() * 1000.0)]),
    }
}

fn guest_values(unit: &Unit<'_>, stdout: &str) -> Result<Vec<Observation>> {
    let measured = output::measurements(stdout, unit.np)?;
    let bytes: Vec<u64> = measured.iter().map(|measured| measured.bytes).collect();
    ensure!(bytes == unit.case.sizes, "asked for sizes {:?}, got {bytes:?}", unit.case.sizes);
    let observation = |measured: output::Measured| Observation {
        label: size_label(measured.bytes),
        value: guest_value(unit.scenario.metric, &measured),
        latencies_ns: Some(measured.latencies_ns),
        same: Vec::new(),
    };
    Ok(measured.into_iter().map(observation).collect())
}

fn guest_value(metric: Metric, measured: &output::Measured) -> f64 {
    match metric {
        // Bytes a microsecond are megabytes a second.
        Metric::Mbps => u32::try_from(measured.bytes).map_or(f64::NAN, f64::from) / measured.usec,
        Metric::Mmsgs => 1.0 / measured.usec,
        _ => measured.usec,
    }
}

fn program_value(program: &Program, stdout: &str, folder: &Path) -> Result<Observation> {
    let text = match program.results_file.as_str() {
        "" => stdout.to_owned(),
        beginning => results_file(folder, beginning)?,
    };
    ensure!(
        text.contains(&program.verify),
        "its own verification did not pass: {:?} is missing",
        program.verify
    );
    let value = output::figure_after(&text, &program.figure)?;
    Ok(Observation { same: output::lines_with(&text, &program.same), ..single(value) })
}

fn results_file(folder: &Path, beginning: &str) -> Result<String> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            return Ok(std::fs::read_to_string(entry.path())?);
        }
    }
    anyhow::bail!("the program left no file whose name begins with {beginning:?}")
}

fn single(value: f64) -> Observation {
    Observation { label: String::new(), value, latencies_ns: None, same: Vec::new() }
}
