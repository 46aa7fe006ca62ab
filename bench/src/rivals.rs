//! Who runs: faasm-run, Open MPI, MPICH, a native OpenMP library, or a plain process; with which compilers,
//! launchers and settings.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::args::{Args, Rival};

/// One of those who are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Runner {
    /// Ours.
    Faasm,
    /// Open MPI of the distribution.
    OpenMpi,
    /// MPICH of the distribution.
    Mpich,
    /// OpenMP, built by gcc.
    Libgomp,
    /// OpenMP, built by clang.
    Libomp,
    /// A native program without MPI, built by gcc.
    Serial,
}

impl Runner {
    /// The name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Faasm => "faasm-run",
            Self::OpenMpi => "Open MPI",
            Self::Mpich => "MPICH",
            Self::Libgomp => "gcc libgomp",
            Self::Libomp => "clang libomp",
            Self::Serial => "gcc",
        }
    }

    /// The name for folders.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Faasm => "faasm",
            Self::OpenMpi => "openmpi",
            Self::Mpich => "mpich",
            Self::Libgomp => "libgomp",
            Self::Libomp => "libomp",
            Self::Serial => "gcc",
        }
    }

    /// The settings worth trying at `np` ranks on `cores` cores, its defaults first. The best is kept for each point.
    pub(crate) fn variants(self, np: u32, cores: u32) -> Vec<&'static Variant> {
        let all: &'static [Variant] = match self {
            Self::OpenMpi => OPEN_MPI,
            Self::Mpich => MPICH,
            Self::Libgomp | Self::Libomp => OPENMP,
            Self::Faasm | Self::Serial => DEFAULTS,
        };
        all.iter().filter(|variant| variant.suits(np, cores)).collect()
    }
}

impl Variant {
    /// Whether it is worth trying with `np` ranks on `cores` cores.
    pub(crate) fn suits(&self, np: u32, cores: u32) -> bool {
        match self.when {
            When::Always => true,
            When::Oversubscribed => np > cores,
            When::Fits => np <= cores,
        }
    }
}

/// Settings of a launcher.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// What it changes, in words; empty for the defaults.
    pub(crate) name: &'static str,
    /// Arguments of the launcher.
    pub(crate) arguments: &'static [&'static str],
    /// The environment of launcher and ranks.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Where it is worth trying.
    pub(crate) when: When,
}

/// Where settings are worth trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Everywhere.
    Always,
    /// With more ranks than cores.
    Oversubscribed,
    /// With a core for each rank.
    Fits,
}

pub(crate) const DEFAULT: Variant =
    Variant { name: "", arguments: &[], environment: &[], when: When::Always };

const DEFAULTS: &[Variant] = &[DEFAULT];

const OPEN_MPI: &[Variant] = &[
    DEFAULT,
    Variant {
        name: "mpi_yield_when_idle 1",
        arguments: &["--mca", "mpi_yield_when_idle", "1"],
        environment: &[],
        when: When::Oversubscribed,
    },
    Variant {
        name: "bind-to core",
        arguments: &["--bind-to", "core"],
        environment: &[],
        when: When::Fits,
    },
];

const MPICH: &[Variant] = &[
    DEFAULT,
    Variant {
        name: "shared memory only, yields after each poll",
        arguments: &[],
        environment: &[("UCX_TLS", "sm,self"), ("MPIR_CVAR_POLLS_BEFORE_YIELD", "1")],
        when: When::Oversubscribed,
    },
    Variant {
        name: "bind-to core",
        arguments: &["-bind-to", "core"],
        environment: &[],
        when: When::Fits,
    },
];

const OPENMP: &[Variant] = &[
    DEFAULT,
    Variant {
        name: "OMP_WAIT_POLICY=passive",
        arguments: &[],
        environment: &[("OMP_WAIT_POLICY", "passive")],
        when: When::Oversubscribed,
    },
    Variant {
        name: "OMP_WAIT_POLICY=active OMP_PROC_BIND=true",
        arguments: &[],
        environment: &[("OMP_WAIT_POLICY", "active"), ("OMP_PROC_BIND", "true")],
        when: When::Fits,
    },
];

/// A source language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// C.
    C,
    /// C++.
    Cxx,
}

/// The programs that compile and launch, found before anything is measured.
#[derive(Clone, Debug)]
pub(crate) struct Toolbox {
    /// Who takes part, ours first.
    pub(crate) runners: Vec<Runner>,
    /// Ours, if it takes part.
    pub(crate) faasm_run: PathBuf,
    faasm_cc: PathBuf,
    faasm_cxx: PathBuf,
}

impl Toolbox {
    /// Finds all the programs that `args` ask for.
    ///
    /// # Errors
    /// Names the first one that is missing and says how to get it.
    pub(crate) fn find(args: &Args) -> Result<Self> {
        let mut runners = Vec::new();
        if !args.without_ours {
            runners.push(Runner::Faasm);
        }
        if !args.without_rivals {
            runners.extend(args.rivals()?.iter().map(|rival| match rival {
                Rival::OpenMpi => Runner::OpenMpi,
                Rival::Mpich => Runner::Mpich,
                Rival::Libgomp => Runner::Libgomp,
                Rival::Libomp => Runner::Libomp,
            }));
        }
        ensure!(
            !runners.is_empty(),
            "nobody takes part: leave out --without-ours or name --rivals"
        );
        let faasm_cc = sibling(args.faasm_cc.as_deref(), "faasm-cc");
        let faasm_cxx =
            args.faasm_cxx.clone().unwrap_or_else(|| faasm_cc.with_file_name("faasm-c++"));
        let faasm_run = sibling(args.faasm_run.as_deref(), "faasm-run");
        let tools = Self {
            runners,
            faasm_run: absolute(faasm_run),
            faasm_cc: absolute(faasm_cc),
            faasm_cxx: absolute(faasm_cxx),
        };
        tools.check()?;
        Ok(tools)
    }

    /// The compiler of a runner.
    pub(crate) fn compiler(&self, runner: Runner, language: Language) -> &OsStr {
        match (runner, language) {
            (Runner::Faasm, Language::C) => self.faasm_cc.as_os_str(),
            (Runner::Faasm, Language::Cxx) => self.faasm_cxx.as_os_str(),
            (Runner::OpenMpi, Language::C) => OsStr::new("mpicc.openmpi"),
            (Runner::OpenMpi, Language::Cxx) => OsStr::new("mpicxx.openmpi"),
            (Runner::Mpich, Language::C) => OsStr::new("mpicc.mpich"),
            (Runner::Mpich, Language::Cxx) => OsStr::new("mpicxx.mpich"),
            (Runner::Libomp, Language::C) => OsStr::new("clang"),
            (Runner::Libomp, Language::Cxx) => OsStr::new("clang++"),
            (Runner::Serial | Runner::Libgomp, Language::C) => OsStr::new("gcc"),
            (Runner::Serial | Runner::Libgomp, Language::Cxx) => OsStr::new("g++"),
        }
    }

    /// The command that runs `program` with `np` ranks.
    pub(crate) fn launch(
        &self,
        runner: Runner,
        variant: &Variant,
        np: u32,
        program: &Path,
    ) -> Command {
        let np = np.to_string();
        let mut command = match runner {
            Runner::Serial | Runner::Libgomp | Runner::Libomp => return Command::new(program),
            Runner::Faasm => Command::new(&self.faasm_run),
            Runner::Mpich => Command::new("mpirun.mpich"),
            Runner::OpenMpi => {
                let mut command = Command::new("mpirun.openmpi");
                command.args(["--allow-run-as-root", "--oversubscribe"]);
                command
            }
        };
        command.args(variant.arguments).envs(variant.environment.iter().copied());
        command.args(["-n", &np]).arg(program);
        command
    }

    /// The command that runs `program` as one process with `threads` threads.
    pub(crate) fn launch_threads(
        &self,
        runner: Runner,
        variant: &Variant,
        threads: u32,
        program: &Path,
    ) -> Command {
        let mut command = self.launch(runner, variant, 1, program);
        command.envs(variant.environment.iter().copied());
        command.env("OMP_NUM_THREADS", threads.to_string());
        command
    }

    /// What each runner says its version is.
    pub(crate) fn versions(&self) -> BTreeMap<&'static str, String> {
        let version = |runner: &Runner| {
            let program = match runner {
                Runner::Faasm => self.faasm_run.as_os_str(),
                Runner::OpenMpi => OsStr::new("mpirun.openmpi"),
                Runner::Mpich => OsStr::new("mpirun.mpich"),
                Runner::Libomp => OsStr::new("clang"),
                Runner::Serial | Runner::Libgomp => OsStr::new("gcc"),
            };
            (runner.title(), version_of(program))
        };
        self.runners.iter().chain(&[Runner::Serial]).map(version).collect()
    }

    fn check(&self) -> Result<()> {
        for runner in &self.runners {
            match runner {
                Runner::Faasm => {
                    for tool in [&self.faasm_run, &self.faasm_cc] {
                        ensure!(
                            tool.is_file(),
                            "{} does not exist: run `cargo build --release`, or pass --faasm-run and --faasm-cc, \
                             or --without-ours",
                            tool.display()
                        );
                    }
                }
                Runner::OpenMpi => check_rival("mpirun.openmpi", "openmpi")?,
                Runner::Mpich => check_rival("mpirun.mpich", "mpich")?,
                Runner::Libgomp | Runner::Libomp => {
                    check_compiler(self.compiler(*runner, Language::C))?
                }
                Runner::Serial => {}
            }
        }
        Ok(())
    }
}

fn check_rival(launcher: &str, name: &str) -> Result<()> {
    let other = if name == "mpich" { "openmpi" } else { "mpich" };
    ensure!(
        in_path(launcher) && in_path(&launcher.replace("mpirun", "mpicc")),
        "{launcher} is not installed: run bench/rivals.sh, or leave it out with --rivals {other} or --without-rivals"
    );
    Ok(())
}

fn check_compiler(compiler: &OsStr) -> Result<()> {
    let name = compiler.to_string_lossy();
    ensure!(
        in_path(&name),
        "{name} is not installed: run bench/rivals.sh omp, or leave it out with --rivals or --without-rivals"
    );
    Ok(())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn sibling(given: Option<&Path>, name: &str) -> PathBuf {
    if let Some(given) = given {
        return given.to_owned();
    }
    std::env::current_exe().map_or_else(|_| PathBuf::from(name), |exe| exe.with_file_name(name))
}

/// Programs are started from other folders, so a relative path must not stay one.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn version_of(program: &OsStr) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let numbered = |line: &&str| line.contains(|c: char| c.is_ascii_digit());
    text.lines().find(numbered).unwrap_or("unknown").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolbox() -> Toolbox {
        Toolbox {
            runners: vec![Runner::Faasm],
            faasm_run: "/x/faasm-run".into(),
            faasm_cc: "/x/faasm-cc".into(),
            faasm_cxx: "/x/faasm-c++".into(),
        }
    }

    fn words(command: &Command) -> Vec<String> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn defaults_come_first_and_settings_fit_the_machine() {
        for runner in [Runner::OpenMpi, Runner::Mpich] {
            for np in [2, 64] {
                let variants = runner.variants(np, 2);
                assert_eq!(variants[0].name, "");
                let bound = variants.iter().any(|variant| variant.name == "bind-to core");
                assert_eq!(bound, np == 2, "binding only helps where each rank has a core");
            }
        }
        assert_eq!(Runner::Faasm.variants(64, 2).len(), 1);
    }

    #[test]
    fn launch_lines_are_those_of_each_launcher() {
        let line = |runner, variant| {
            words(&toolbox().launch(runner, variant, 4, Path::new("/p"))).join(" ")
        };
        assert_eq!(line(Runner::Faasm, &DEFAULT), "/x/faasm-run -n 4 /p");
        assert_eq!(line(Runner::Serial, &DEFAULT), "/p");
        let threads = |runner| toolbox().launch_threads(runner, &OPENMP[1], 4, Path::new("/p"));
        assert_eq!(words(&threads(Runner::Libomp)).join(" "), "/p");
        assert_eq!(words(&threads(Runner::Faasm)).join(" "), "/x/faasm-run -n 1 /p");
        let set: Vec<_> = threads(Runner::Libgomp)
            .get_envs()
            .map(|(k, v)| (k.to_owned(), v.map(OsStr::to_owned)))
            .collect();
        let has = |key: &str, value: &str| set.contains(&(key.into(), Some(value.into())));
        assert!(has("OMP_NUM_THREADS", "4") && has("OMP_WAIT_POLICY", "passive"), "{set:?}");
        assert_eq!(
            line(Runner::OpenMpi, &OPEN_MPI[1]),
            "mpirun.openmpi --allow-run-as-root --oversubscribe --mca mpi_yield_when_idle 1 -n 4 /p"
        );
        let mpich = toolbox().launch(Runner::Mpich, &MPICH[1], 4, Path::new("/p"));
        assert_eq!(words(&mpich).join(" "), "mpirun.mpich -n 4 /p");
        assert_eq!(mpich.get_envs().count(), 2);
    }

    #[test]
    fn a_missing_tool_is_named_with_its_remedy() {
        let error = toolbox().check().expect_err("nothing is there");
        assert!(error.to_string().contains("cargo build --release"), "{error}");
        let error = check_rival("mpirun.nosuch", "nosuch").expect_err("nothing is there");
        assert!(error.to_string().contains("bench/rivals.sh"), "{error}");
    }
}
