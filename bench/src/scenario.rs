//! What is measured: `bench/scenarios/*.toml`, read at start so that a scenario can be added without building.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// One thing to measure, at several numbers of ranks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The word used by `--only`, in reports and in claims.toml.
    pub(crate) name: String,
    /// One line for people.
    pub(crate) title: String,
    /// How it is measured.
    pub(crate) kind: Kind,
    /// What is reported.
    pub(crate) metric: Metric,
    /// The unit of a figure that a program prints itself; that of the metric if absent.
    pub(crate) unit: Option<String>,
    /// Our guest program (a file of workloads/guests/bench without `.c`), for all kinds but the real programs.
    #[serde(default)]
    pub(crate) guest: String,
    /// Arguments before those the harness adds (seconds and sizes, for kind `guest`); `{np}` is the number of ranks.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// A real program that the person who runs the benchmarks brings.
    pub(crate) program: Option<Program>,
    /// Seconds after which a run is given up, where the default (`--timeout`) is too short.
    pub(crate) timeout_s: Option<u64>,
    /// Number of runs, where more than this would tell nothing new.
    pub(crate) runs: Option<u32>,
    /// It is one process with OpenMP, and `np` are its threads; only with `--omp`.
    #[serde(default)]
    pub(crate) threads: bool,
    /// The hosts it runs on, where they are several; only with `--cluster`.
    pub(crate) network: Option<Network>,
    /// Numbers of ranks, and what differs between them.
    #[serde(rename = "case")]
    pub(crate) cases: Vec<Case>,
}

/// Some hosts of `bench/netns.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    /// How many; the ranks are spread evenly over them.
    pub(crate) hosts: u32,
    /// What is between them, in the script's words: "delay 1ms loss 0.1%".
    #[serde(default)]
    pub(crate) wire: String,
}

/// How a scenario is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A guest of ours measures itself and prints BENCH lines.
    Guest,
    /// Wall time of the whole command.
    Wall,
    /// CPU use of all processes of a job whose ranks all wait.
    Idle,
    /// Peak resident memory of a job, per rank.
    Resident,
    /// A real MPI program prints a figure of its own.
    Program,
    /// The PolyBench kernels, one by one, without MPI.
    Polybench,
}

/// What is reported, which fixes the unit and which direction is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Metric {
    /// Microseconds of one operation.
    Usec,
    /// Megabytes (10^6 bytes) a second.
    Mbps,
    /// Million messages a second.
    Mmsgs,
    /// Milliseconds of wall time.
    WallMs,
    /// Seconds, printed by the program itself.
    Seconds,
    /// A rate printed by the program itself; more is better.
    Rate,
    /// Per cent of one core.
    CpuPercent,
    /// KiB of memory a rank.
    KibPerRank,
}

impl Metric {
    /// The unit, for tables and axes.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Usec => "µs",
            Self::Mbps => "MB/s",
            Self::Mmsgs => "M msg/s",
            Self::WallMs => "ms",
            Self::Seconds => "s",
            Self::Rate => "rate",
            Self::CpuPercent => "% CPU",
            Self::KibPerRank => "KiB/rank",
        }
    }

    /// Whether a larger value is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        matches!(self, Self::Mbps | Self::Mmsgs | Self::Rate)
    }
}

/// Some numbers of ranks that share sizes and arguments.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Numbers of ranks.
    pub(crate) np: Vec<u32>,
    /// Payload sizes in bytes, for kind `guest`.
    #[serde(default)]
    pub(crate) sizes: Vec<u64>,
    /// Only faasm-run takes part: native MPI cannot start so many ranks here, or has nothing to compare.
    #[serde(default)]
    pub(crate) alone: bool,
    /// Arguments of this case, after those of the scenario.
    #[serde(default)]
    pub(crate) args: Vec<String>,
}

/// How a real program is built and read. `{cc}` and `{cxx}` in its texts stand for the compilers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    /// The path option that brings its source: parres, lulesh, hpcg, polybench, npb or bots.
    pub(crate) suite: Suite,
    /// What of the source tree is copied; all of it if empty.
    #[serde(default)]
    pub(crate) copy: Vec<String>,
    /// Files written into the copy before it is built.
    #[serde(default)]
    pub(crate) write: BTreeMap<String, String>,
    /// Arguments of `make`.
    #[serde(default)]
    pub(crate) make: Vec<String>,
    /// The program that `make` leaves in the copy.
    #[serde(default)]
    pub(crate) binary: String,
    /// The figure reported is the number after this text.
    #[serde(default)]
    pub(crate) figure: String,
    /// Text that proves that the program's own verification passed.
    #[serde(default)]
    pub(crate) verify: String,
    /// Lines with one of these texts must be the same in all builds.
    #[serde(default)]
    pub(crate) same: Vec<String>,
    /// The results are in the file whose name begins so, not on standard output.
    #[serde(default)]
    pub(crate) results_file: String,
}

/// A collection of real programs, brought through the path option of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Suite {
    /// Parallel Research Kernels, folder MPI1.
    Parres,
    /// LULESH 2.0.
    Lulesh,
    /// HPCG 3.1.
    Hpcg,
    /// PolyBench/C 4.2.
    Polybench,
    /// NAS Parallel Benchmarks 3.0, C with OpenMP.
    Npb,
    /// Barcelona OpenMP Tasks Suite.
    Bots,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: Vec<Scenario>,
}

/// Reads all scenarios of a folder, in the order of file names.
pub(crate) fn load(folder: &Path) -> Result<Vec<Scenario>> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!("cannot read {}: start in the repository's root or pass --root", folder.display())
    })?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut scenarios: Vec<Scenario> = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        scenarios.extend(parse(&text).with_context(|| format!("in {}", path.display()))?);
    }
    ensure!(!scenarios.is_empty(), "{} holds no scenario", folder.display());
    Ok(scenarios)
}

fn parse(text: &str) -> Result<Vec<Scenario>> {
    let file: File = toml::from_str(text)?;
    for scenario in &file.scenario {
        check(scenario).with_context(|| format!("scenario {:?}", scenario.name))?;
    }
    Ok(file.scenario)
}

fn check(scenario: &Scenario) -> Result<()> {
    let real = matches!(scenario.kind, Kind::Program | Kind::Polybench);
    ensure!(real == scenario.program.is_some(), "a [program] belongs to real programs only");
    ensure!(real == scenario.guest.is_empty(), "either a guest or a [program], not both");
    let has_threads = matches!(scenario.kind, Kind::Guest | Kind::Program);
    ensure!(!scenario.threads || has_threads, "threads belong to guests and programs");
    let hosts = scenario.network.as_ref().map_or(1, |network| network.hosts);
    ensure!(hosts >= 1, "a network has hosts");
    for case in &scenario.cases {
        let even = case.np.iter().all(|np| np.is_multiple_of(hosts));
        ensure!(even, "np must be a multiple of the {hosts} hosts");
        ensure!(!case.np.contains(&0), "np must be at least 1");
        let sized = scenario.kind == Kind::Guest;
        ensure!(sized != case.sizes.is_empty(), "sizes belong to kind guest, at least one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: &str = "[[scenario]]\nname = \"ring\"\ntitle = \"Ring\"\nkind = \"guest\"\nmetric = \"usec\"\n\
                        guest = \"ring\"\n[[scenario.case]]\nnp = [2, 64]\nsizes = [8]\n";

    #[test]
    fn reads_a_scenario() {
        let scenarios = parse(RING).expect("valid");
        assert_eq!(scenarios[0].cases[0].np, [2, 64]);
        assert!(!scenarios[0].cases[0].alone);
    }

    #[test]
    fn refuses_what_cannot_be_measured() {
        for (from, to) in [
            ("sizes = [8]", ""),
            ("np = [2, 64]", "np = [0]"),
            ("guest = \"ring\"", ""),
            ("metric = \"usec\"", "metric = \"furlongs\""),
            ("title", "tittle"),
            ("guest = \"ring\"", "guest = \"ring\"\nnetwork = { hosts = 0 }"),
            ("guest = \"ring\"", "guest = \"ring\"\nnetwork = { hosts = 3 }"),
        ] {
            assert!(parse(&RING.replace(from, to)).is_err(), "{from:?} -> {to:?} was accepted");
        }
    }

    #[test]
    fn the_scenarios_of_this_repository_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let scenarios = load(&folder).expect("valid scenarios");
        let mut names: Vec<_> = scenarios.iter().map(|scenario| &scenario.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), scenarios.len(), "two scenarios share a name");
        for scenario in &scenarios {
            let guest = folder.join("../../workloads/guests/bench").join(&scenario.guest);
            assert!(
                scenario.guest.is_empty() || guest.with_extension("c").is_file(),
                "{} names a guest that does not exist",
                scenario.name
            );
        }
    }
}
