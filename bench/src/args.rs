//! Command-line options.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

/// Measures faasm-run beside the MPI libraries of this machine, in alternating runs.
///
/// Examples:
///   faasm-bench                                  everything that needs no foreign source
///   faasm-bench --quick --only ring,pingpong     a look in a minute
///   faasm-bench --np 64 --html report.html       one number of ranks, with plots
///   faasm-bench --parres ~/Kernels --lulesh ~/LULESH
///   faasm-bench --cluster --only cluster-latency two hosts, against TCP
///   faasm-bench --omp --np 2                     OpenMP with two threads
///   faasm-bench --snapshot --only calls          making and resetting instances
#[derive(Clone, Debug, Parser)]
#[command(version, verbatim_doc_comment)]
pub struct Args {
    /// One short run of each instead of a measurement
    #[arg(long)]
    pub quick: bool,

    /// Only these scenarios (names as --list shows them, or a name's beginning such as parres)
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<String>,

    /// Only these numbers of ranks (of threads with --omp)
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    pub np: Vec<u32>,

    /// Alternating runs of each point
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,

    /// Seconds a guest repeats each operation
    #[arg(long, default_value_t = 0.3, value_name = "SECONDS")]
    pub seconds: f64,

    /// Seconds after which a run is given up
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,

    /// Native libraries to compare with [default: openmpi,mpich; with --omp libgomp,libomp]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub rivals: Vec<Rival>,

    /// Measure the native libraries only
    #[arg(long)]
    pub without_ours: bool,

    /// Measure faasm-run only
    #[arg(long, conflicts_with = "without_ours")]
    pub without_rivals: bool,

    /// Measure OpenMP with threads instead of MPI with ranks, beside gcc's and clang's libraries
    #[arg(long, conflicts_with = "cluster")]
    pub omp: bool,

    /// Measure two hosts in network namespaces instead of one machine; needs root
    #[arg(long)]
    pub cluster: bool,

    /// Measure how instances are made, reset and restored, beside wasmtime's own ways
    #[arg(long, conflicts_with_all = ["cluster", "omp"])]
    pub snapshot: bool,

    /// A part of that which has a process of its own.
    #[arg(long, hide = true, requires = "snapshot", value_name = "PART")]
    pub snapshot_part: Option<String>,

    /// The faasm-run to measure [default: beside this program]
    #[arg(long, value_name = "PATH")]
    pub faasm_run: Option<PathBuf>,

    /// The C compiler driver for guests [default: beside this program]
    #[arg(long, value_name = "PATH")]
    pub faasm_cc: Option<PathBuf>,

    /// The C++ compiler driver for guests [default: faasm-c++ beside faasm-cc]
    #[arg(long, value_name = "PATH")]
    pub faasm_cxx: Option<PathBuf>,

    /// Source folder of the Parallel Research Kernels
    #[arg(long, value_name = "DIR")]
    pub parres: Option<PathBuf>,

    /// Source folder of LULESH
    #[arg(long, value_name = "DIR")]
    pub lulesh: Option<PathBuf>,

    /// Source folder of HPCG
    #[arg(long, value_name = "DIR")]
    pub hpcg: Option<PathBuf>,

    /// Source folder of PolyBench/C
    #[arg(long, value_name = "DIR")]
    pub polybench: Option<PathBuf>,

    /// Source folder of NPB 3.0 in C with OpenMP
    #[arg(long, value_name = "DIR")]
    pub npb: Option<PathBuf>,

    /// Source folder of the Barcelona OpenMP Tasks Suite
    #[arg(long, value_name = "DIR")]
    pub bots: Option<PathBuf>,

    /// Data set of the PolyBench kernels
    #[arg(long, value_enum, default_value_t = DataSet::Medium)]
    pub polybench_size: DataSet,

    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a report with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// The repository's root
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub root: PathBuf,

    /// Where programs are built and run [default: bench/out in the root]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Show the scenarios and stop
    #[arg(long)]
    pub list: bool,

    /// Exit with 1 if a claim is missed, not only if a run of ours fails
    #[arg(long)]
    pub strict: bool,
}

/// A native library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// Open MPI.
    #[value(name = "openmpi")]
    OpenMpi,
    /// MPICH.
    #[value(name = "mpich")]
    Mpich,
    /// OpenMP of gcc.
    #[value(name = "libgomp")]
    Libgomp,
    /// OpenMP of clang.
    #[value(name = "libomp")]
    Libomp,
}

/// Size of the PolyBench problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataSet {
    /// Milliseconds a kernel.
    Small,
    /// Tens of milliseconds a kernel.
    Medium,
    /// Seconds a kernel.
    Large,
}

impl DataSet {
    /// The macro that selects it.
    pub(crate) fn macro_name(self) -> &'static str {
        match self {
            Self::Small => "SMALL_DATASET",
            Self::Medium => "MEDIUM_DATASET",
            Self::Large => "LARGE_DATASET",
        }
    }
}

impl Args {
    /// Whom to compare with.
    ///
    /// # Errors
    /// If a library of the wrong kind was named.
    pub(crate) fn rivals(&self) -> Result<Vec<Rival>> {
        let fitting: &[Rival] = if self.omp {
            &[Rival::Libgomp, Rival::Libomp]
        } else {
            &[Rival::OpenMpi, Rival::Mpich]
        };
        if self.rivals.is_empty() {
            return Ok(fitting.to_vec());
        }
        let wrong = self.rivals.iter().find(|rival| !fitting.contains(rival));
        if let Some(wrong) = wrong.and_then(Rival::to_possible_value) {
            bail!(
                "--rivals {}: libgomp and libomp go with --omp, openmpi and mpich without it",
                wrong.get_name()
            );
        }
        Ok(self.rivals.clone())
    }

    /// Seconds a guest repeats each operation, shorter with `--quick`.
    pub(crate) fn seconds_each(&self) -> f64 {
        if self.quick { self.seconds.min(0.05) } else { self.seconds }
    }

    /// Alternating runs of each point, one with `--quick`.
    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.runs }
    }

    /// Whether `--only` selects the scenario of this name.
    pub(crate) fn selects(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| is_beginning(only, name))
    }
}

/// `parres` stands for `parres-stencil`, but `all` does not for `allreduce`.
fn is_beginning(only: &str, name: &str) -> bool {
    name.strip_prefix(only).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn options_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn only_selects_names_and_families() {
        let args = Args::parse_from(["faasm-bench", "--only", "ring,parres"]);
        assert!(args.selects("ring") && args.selects("parres-dgemm"));
        assert!(!args.selects("rate") && !args.selects("ringing"));
    }

    #[test]
    fn rivals_are_of_the_kind_that_is_measured() {
        let rivals = |words: &[&str]| {
            Args::parse_from([&["faasm-bench"], words].concat()).rivals().map_err(|e| e.to_string())
        };
        assert_eq!(rivals(&[]), Ok(vec![Rival::OpenMpi, Rival::Mpich]));
        assert_eq!(rivals(&["--omp"]), Ok(vec![Rival::Libgomp, Rival::Libomp]));
        assert_eq!(rivals(&["--omp", "--rivals", "libomp"]), Ok(vec![Rival::Libomp]));
        let error = rivals(&["--rivals", "libgomp"]).expect_err("no MPI library");
        assert!(error.contains("--omp"), "{error}");
        assert!(rivals(&["--omp", "--rivals", "mpich"]).is_err());
    }

    #[test]
    fn quick_is_one_short_round() {
        let args = Args::parse_from(["faasm-bench", "--quick"]);
        assert_eq!(args.rounds(), 1);
        assert!(args.seconds_each() <= 0.05);
    }
}
