//! Compiles what is measured: our guests, and copies of the real programs with their own makefiles.
//!
//! Everything is built under the output folder; a source folder that a person brings is only read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::args::Args;
use crate::process;
use crate::rivals::{Language, Runner, Toolbox};
use crate::scenario::{Program, Suite};

/// A compiler that takes longer than this hangs; the first use of faasm-cc installs its toolchain.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

/// Builds programs, each once.
#[derive(Debug)]
pub(crate) struct Workshop<'a> {
    tools: &'a Toolbox,
    guests: PathBuf,
    out: PathBuf,
    suites: BTreeMap<Suite, PathBuf>,
    data_set: &'static str,
    copied: RefCell<BTreeSet<PathBuf>>,
    built: RefCell<BTreeSet<PathBuf>>,
}

/// One PolyBench kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its name, which is that of its source file.
    pub(crate) name: String,
    source: PathBuf,
}

impl<'a> Workshop<'a> {
    /// A workshop for the folders that `args` name.
    ///
    /// # Errors
    /// If one of them is not what it should be.
    pub(crate) fn open(args: &Args, tools: &'a Toolbox) -> Result<Self> {
        let guests = args.root.join("workloads/guests/bench");
        ensure!(
            guests.join("bench.h").is_file(),
            "{} has no bench.h: start in the repository's root or pass --root",
            guests.display()
        );
        let out = args.out.clone().unwrap_or_else(|| args.root.join("bench/out"));
        std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        let out = out.canonicalize().with_context(|| format!("cannot use {}", out.display()))?;
        Ok(Self {
            tools,
            guests,
            out,
            suites: suites(args)?,
            data_set: args.polybench_size.macro_name(),
            copied: RefCell::default(),
            built: RefCell::default(),
        })
    }

    /// Whether the person brought this suite.
    pub(crate) fn has(&self, suite: Suite) -> bool {
        self.suites.contains_key(&suite)
    }

    /// An empty folder to run in.
    pub(crate) fn run_folder(&self, scenario: &str, runner: Runner) -> Result<PathBuf> {
        let folder = self.out.join("run").join(scenario).join(runner.slug());
        empty_folder(&folder)?;
        Ok(folder)
    }

    /// Compiles one of our guests, with OpenMP if it has `threads`.
    pub(crate) fn guest(&self, runner: Runner, name: &str, threads: bool) -> Result<PathBuf> {
        let output = self.folder(runner, "guests")?.join(name);
        let mut command = Command::new(self.tools.compiler(runner, Language::C));
        command.args(threads.then_some("-fopenmp"));
        command.args(["-O3", "-o"]).arg(&output).arg(self.guests.join(name).with_extension("c"));
        self.once(&output, command)?;
        Ok(output)
    }

    /// Builds a real MPI program in a copy of its source.
    pub(crate) fn program(&self, runner: Runner, program: &Program) -> Result<PathBuf> {
        let copy = self.copy(runner, program)?;
        let binary = copy.join(&program.binary);
        let mut command = Command::new("make");
        command.current_dir(&copy).args(program.make.iter().map(|text| self.fill(runner, text)));
        self.once(&binary, command)?;
        Ok(binary)
    }

    /// The kernels of the PolyBench that the person brought, in the order of its own list.
    pub(crate) fn kernels(&self) -> Result<Vec<Kernel>> {
        let root = self.suite(Suite::Polybench)?;
        let list = root.join("utilities/benchmark_list");
        let text = std::fs::read_to_string(&list)
            .with_context(|| format!("cannot read {}: is it PolyBench/C 4.2?", list.display()))?;
        let kernels: Vec<Kernel> =
            text.lines().filter_map(|line| kernel_of(root, line.trim())).collect();
        ensure!(!kernels.is_empty(), "{} names no kernel", list.display());
        Ok(kernels)
    }

    /// Compiles a PolyBench kernel that prints its seconds.
    pub(crate) fn kernel(&self, runner: Runner, kernel: &Kernel) -> Result<PathBuf> {
        let utilities = self.suite(Suite::Polybench)?.join("utilities");
        let folder = self.folder(runner, &format!("polybench-{}", self.data_set.to_lowercase()))?;
        let output = folder.join(&kernel.name);
        let mut command = Command::new(self.tools.compiler(runner, Language::C));
        command.args(["-O3", "-march=native", "-DPOLYBENCH_TIME"]);
        command.arg(format!("-D{}", self.data_set)).arg("-I").arg(&utilities);
        command.arg(utilities.join("polybench.c")).arg(&kernel.source);
        command.arg("-o").arg(&output).arg("-lm");
        self.once(&output, command)?;
        Ok(output)
    }

    fn suite(&self, suite: Suite) -> Result<&PathBuf> {
        self.suites.get(&suite).with_context(|| format!("the source of {suite:?} was not given"))
    }

    fn folder(&self, runner: Runner, name: &str) -> Result<PathBuf> {
        let folder = self.out.join("build").join(runner.slug()).join(name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// A fresh copy of a suite for one compiler, made once in the life of this program.
    fn copy(&self, runner: Runner, program: &Program) -> Result<PathBuf> {
        let source = self.suite(program.suite)?;
        let name = format!("{:?}", program.suite).to_lowercase();
        let copy = self.out.join("build").join(runner.slug()).join(name);
        if !self.copied.borrow_mut().insert(copy.clone()) {
            return Ok(copy);
        }
        empty_folder(&copy)?;
        let parts: Vec<&str> = program.copy.iter().map(String::as_str).collect();
        for part in if parts.is_empty() { vec![""] } else { parts } {
            copy_tree(&source.join(part), &copy.join(part))?;
        }
        for (path, text) in &program.write {
            let path = copy.join(path);
            std::fs::write(&path, self.fill(runner, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(copy)
    }

    fn fill(&self, runner: Runner, text: &str) -> String {
        let compiler = |language| self.tools.compiler(runner, language).to_string_lossy();
        text.replace("{cc}", &compiler(Language::C)).replace("{cxx}", &compiler(Language::Cxx))
    }

    fn once(&self, output: &Path, command: Command) -> Result<()> {
        if self.built.borrow().contains(output) {
            return Ok(());
        }
        compile(command)?;
        ensure!(output.is_file(), "the build succeeded without making {}", output.display());
        self.built.borrow_mut().insert(output.to_owned());
        Ok(())
    }
}

fn suites(args: &Args) -> Result<BTreeMap<Suite, PathBuf>> {
    let given = [
        (Suite::Parres, &args.parres, "MPI1/Stencil/stencil.c", "--parres"),
        (Suite::Lulesh, &args.lulesh, "lulesh.cc", "--lulesh"),
        (Suite::Hpcg, &args.hpcg, "src/CG.cpp", "--hpcg"),
        (Suite::Polybench, &args.polybench, "utilities/polybench.c", "--polybench"),
        (Suite::Npb, &args.npb, "EP/ep.c", "--npb"),
        (Suite::Bots, &args.bots, "omp-tasks/fib/fib.c", "--bots"),
    ];
    let mut suites = BTreeMap::new();
    for (suite, path, evidence, option) in given {
        let Some(path) = path else { continue };
        ensure!(
            path.join(evidence).is_file(),
            "{option}: {} has no {evidence}; bench/README.md says what is expected",
            path.display()
        );
        suites.insert(suite, path.canonicalize()?);
    }
    Ok(suites)
}

fn kernel_of(root: &Path, line: &str) -> Option<Kernel> {
    let source = root.join(line.strip_prefix("./").unwrap_or(line));
    let is_source = source.extension() == Some(OsStr::new("c"));
    let name = source.file_stem()?.to_string_lossy().into_owned();
    is_source.then_some(Kernel { name, source })
}

fn compile(command: Command) -> Result<()> {
    let line = format!("{command:?}");
    let output = process::output(command, BUILD_LIMIT)
        .with_context(|| format!("the build failed: {line}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| line.contains("error")).or(said.lines().last());
        bail!("the build failed: {} ({line})", first.unwrap_or("it said nothing").trim());
    }
    Ok(())
}

fn empty_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries =
        std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == OsStr::new(".git") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_the_sources_of_the_list() {
        let root = Path::new("/p");
        let kernel = kernel_of(root, "./stencils/adi/adi.c").expect("a source");
        assert_eq!(kernel.name, "adi");
        assert_eq!(kernel.source, Path::new("/p/stencils/adi/adi.c"));
        assert_eq!(kernel_of(root, ""), None);
    }

    #[test]
    fn a_copy_leaves_out_the_history() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let from = folder.path().join("from");
        for (path, text) in [(".git/HEAD", "x"), ("src/a.c", "int a;"), ("Makefile", "all:")] {
            let path = from.join(path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            std::fs::write(path, text).expect("writable");
        }
        let to = folder.path().join("to");
        copy_tree(&from, &to).expect("readable");
        assert_eq!(std::fs::read_to_string(to.join("src/a.c")).expect("copied"), "int a;");
        assert!(to.join("Makefile").is_file() && !to.join(".git").exists());
    }

    #[test]
    fn a_failing_build_shows_the_compilers_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo note >&2; echo 'x.c:1: error: no' >&2; echo more >&2; exit 1"]);
        let error = compile(command).expect_err("exit 1").to_string();
        assert!(error.contains("x.c:1: error: no"), "{error}");
    }
}
