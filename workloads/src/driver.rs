//! Turns an understood command line into clang's command line and runs it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use crate::{
    args::{Plan, Show, Stage},
    error::{Error, Result},
    process::{capture, start_error},
    progress, response,
    toolchain::{
        Toolchain,
        cxx_runtime::{self, CxxRuntime},
        guest_library::GuestLibrary,
        thread_library::ThreadLibrary,
    },
};

/// Compiles and links `sources` into the wasm file `output`, as `faasm-c++` would.
///
/// `options` are gcc-style options and archives. The language of each source follows from its suffix, and
/// C sources alone do not bring in the C++ runtime.
///
/// # Errors
/// Fails when the toolchain cannot be installed, when an option is refused, or when the compiler rejects
/// the program; its messages are then part of the error.
pub fn compile(sources: &[PathBuf], options: &[String], output: &Path) -> Result<()> {
    let text = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::NotUtf8 { argument: path.to_string_lossy().into_owned() })
    };
    let mut arguments = sources.iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?;
    arguments.extend_from_slice(options);
    arguments.extend(["-o".to_owned(), text(output)?]);
    let plan = Plan::parse(arguments, false)?;
    let invocation = Invocation::prepare(&plan)?;
    let (mut command, _response_file) = invocation.command()?;
    let result = capture(&mut command)?;
    if result.status.success() {
        return Ok(());
    }
    let diagnostics = String::from_utf8_lossy(&result.stderr).into_owned();
    Err(Error::Rejected { status: result.status, diagnostics })
}

/// Carries out the command line `arguments` and returns how clang ended.
///
/// # Errors
/// Fails when the command line is refused or clang cannot be installed or started.
pub(crate) fn run(arguments: Vec<String>, cxx: bool) -> Result<Option<ExitStatus>> {
    let plan = Plan::parse(response::expand(arguments)?, cxx)?;
    for note in &plan.notes {
        progress::say(&format!("note: {note}"));
    }
    let invocation = Invocation::prepare(&plan)?;
    if let Some(show) = plan.show {
        println!("{}", invocation.show(show));
        return Ok(None);
    }
    let (mut command, _response_file) = invocation.command()?;
    let status = command.status().map_err(|source| start_error(command.get_program(), source))?;
    Ok(Some(status))
}

/// clang's command line in its parts.
struct Invocation<'p> {
    plan: &'p Plan,
    clang: Command,
    compile: Vec<String>,
    link_before: Vec<String>,
    link_after: Vec<String>,
    include: PathBuf,
    library: PathBuf,
}

impl<'p> Invocation<'p> {
    fn prepare(plan: &'p Plan) -> Result<Self> {
        let toolchain = Toolchain::locate()?;
        let guest = GuestLibrary::locate(&toolchain)?;
        let mut compile: Vec<String> = COMPILE.iter().map(|&option| option.to_owned()).collect();
        compile.push("-isystem".to_owned());
        compile.push(guest.include.display().to_string());
        let mut link_before: Vec<String> = LINK_BEFORE.iter().map(|&o| o.to_owned()).collect();
        link_before.push(format!("-L{}", guest.directory.display()));
        let mut link_after = vec![guest.archive.display().to_string()];
        link_after.extend(LINK_AFTER.iter().map(|&option| option.to_owned()));
        let mut clang = toolchain.clang();
        if plan.cxx_driver {
            clang.arg("--driver-mode=g++");
        } else if plan.cxx {
            link_after.extend(["-lc++".to_owned(), "-lc++abi".to_owned()]);
        }
        let exceptions = plan.cxx && plan.exceptions;
        if exceptions {
            compile.push("-fwasm-exceptions".to_owned());
        }
        let links = (plan.stage == Stage::Link || plan.show.is_some()) && !plan.bare;
        let mode = Mode::of(plan, links);
        if mode.threads {
            compile.extend(THREADS_COMPILE.iter().map(|&option| option.to_owned()));
        }
        if mode.threads && links {
            let threads = ThreadLibrary::locate(&toolchain, &guest)?;
            link_before.extend(THREADS_LINK.iter().map(|&option| option.to_owned()));
            link_before.push(format!("-L{}", threads.directory.display()));
            link_after[0] = threads.archive.display().to_string();
            if mode.openmp {
                link_after.insert(0, threads.openmp.display().to_string());
            }
        }
        // The sysroot's own libc++ is compiled for one thread.
        if (exceptions || (plan.cxx && mode.threads)) && links {
            let runtime = CxxRuntime::locate(&toolchain, &guest, mode.threads)?;
            link_before.push(format!("-L{}", runtime.directory.display()));
            link_after.push("-lunwind".to_owned());
            if !plan.reactor {
                link_before.push(cxx_runtime::MAIN_GUARD.to_owned());
            }
        }
        if plan.lto {
            link_before.extend(lto_options(exceptions));
        }
        let library = toolchain.sysroot().join("lib").join(crate::toolchain::TARGET);
        Ok(Self { plan, clang, compile, link_before, link_after, include: guest.include, library })
    }

    /// The command, and the response file it needs where the command line is long.
    fn command(mut self) -> Result<(Command, Option<tempfile::NamedTempFile>)> {
        let words = self.words();
        let size: usize = words.iter().map(|word| word.len() + 1).sum();
        if size <= COMMAND_LINE_BYTES_MAX {
            self.clang.args(words);
            return Ok((self.clang, None));
        }
        let directory = std::env::temp_dir();
        let mut file = tempfile::Builder::new()
            .prefix("faasm-cc.")
            .tempfile()
            .map_err(Error::file("create a file in", directory))?;
        file.write_all(response::join(&words).as_bytes())
            .map_err(Error::file("write", file.path()))?;
        self.clang.arg(format!("@{}", file.path().display()));
        Ok((self.clang, Some(file)))
    }

    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.plan.stage == Stage::Query && self.plan.show.is_none() {
            words.extend(self.plan.forwarded.iter().cloned());
            return words;
        }
        words.extend(self.compile.iter().cloned());
        let links = self.plan.stage == Stage::Link && !self.plan.bare;
        if links {
            words.extend(self.link_before.iter().cloned());
        }
        words.extend(self.plan.forwarded.iter().cloned());
        if links {
            // A preceding `-x c` must not make sources of the libraries.
            words.extend(["-x".to_owned(), "none".to_owned()]);
            words.extend(self.link_after.iter().cloned());
        }
        words
    }

    fn show(&self, show: Show) -> String {
        let target = self.clang.get_args().map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = match show {
            Show::Command => {
                let program = self.clang.get_program().to_string_lossy().into_owned();
                std::iter::once(program).chain(target).chain(self.words()).collect()
            }
            Show::Compile => self.compile.clone(),
            Show::Link => self.link_before.iter().chain(&self.link_after).cloned().collect(),
            Show::IncludeDirectories => vec![self.include.display().to_string()],
            Show::LibraryDirectories => vec![self.library.display().to_string()],
            Show::Libraries => vec!["faasm".to_owned()],
        };
        words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ")
    }
}

/// What kind of program is compiled or linked.
struct Mode {
    threads: bool,
    openmp: bool,
}

impl Mode {
    /// The options decide, and where a program is linked the objects, too: makefiles often name `-fopenmp`
    /// only where they compile.
    fn of(plan: &Plan, links: bool) -> Self {
        let asked = std::env::var_os("FAASM_THREADS").is_some_and(|value| value == "1");
        let mut mode = Self { threads: plan.threads || asked, openmp: plan.openmp };
        let objects = if links {
            plan.forwarded.iter().filter_map(|word| Object::read(word)).collect()
        } else {
            vec![]
        };
        mode.openmp |= objects.iter().any(|object: &Object| object.openmp);
        mode.threads |= mode.openmp || objects.iter().any(|object| object.threads);
        if mode.threads {
            for object in objects.iter().filter(|object| !object.threads) {
                progress::say(&format!(
                    "note: {} was compiled without -pthread or -fopenmp, but is linked into a program with \
                     threads: its atomic operations are plain ones and its thread-local variables those of all threads. \
                     Compile every file with -pthread, or set FAASM_THREADS=1 while building",
                    object.name
                ));
            }
        }
        mode
    }
}

/// What an object or archive of the user's says about itself.
struct Object {
    name: String,
    threads: bool,
    openmp: bool,
}

impl Object {
    fn read(word: &str) -> Option<Self> {
        if word.starts_with('-')
            || !(word.ends_with(".o") || word.ends_with(".a") || word.ends_with(".obj"))
        {
            return None;
        }
        let bytes = std::fs::read(word).ok()?;
        let contains = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        // The record of used features: a plus sign, the length of the name, the name.
        let threads = contains(b"+\x07atomics");
        // An archive may be empty, and an object may be no WebAssembly; the linker speaks about those.
        if !contains(b"\0asm") {
            return None;
        }
        Some(Self { name: word.to_owned(), threads, openmp: threads && contains(b"__kmpc_") })
    }
}

/// Optimisation at link time runs in the linker, which must be told what the compiler was.
fn lto_options(exceptions: bool) -> Vec<String> {
    let mut options = vec!["-wasm-enable-sjlj", "-wasm-use-legacy-eh=false"];
    if exceptions {
        options.push("-wasm-enable-eh");
    }
    options.push("-exception-model=wasm");
    options.into_iter().map(|option| format!("-Wl,-mllvm,{option}")).collect()
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+/.,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Options for compiling, before the user's so that his win.
const COMPILE: &[&str] = &[
    "-O2",
    "-msimd128",
    // setjmp and exceptions both use the exception instructions of the standard, not the older ones.
    "-mexception-handling",
    "-mllvm",
    "-wasm-enable-sjlj",
    "-mllvm",
    "-wasm-use-legacy-eh=false",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-D_WASI_EMULATED_MMAN",
    "-D_WASI_EMULATED_GETPID",
    // Old C that gcc accepts with a warning.
    "-Wno-error=implicit-function-declaration",
    "-Wno-error=implicit-int",
    "-Wno-error=int-conversion",
    "-Wno-error=incompatible-function-pointer-types",
    // gcc is silent about options without effect and about warnings that only clang has.
    "-Qunused-arguments",
    "-Wno-unknown-warning-option",
    "-Wno-ignored-optimization-argument",
    // clang would run any wasm-opt it finds after linking, and that one may be old.
    "--no-wasm-opt",
];

/// Options for linking, before the user's so that his win.
const LINK_BEFORE: &[&str] = &[
    "-Wl,--export-table,--growable-table",
    "-Wl,--export=malloc,--export=free,--export=__stack_pointer",
    // The stack comes first: an overflow traps instead of overwriting data.
    "-Wl,--stack-first,-z,stack-size=8388608",
];

/// Options for compiling programs with threads.
const THREADS_COMPILE: &[&str] = &["-pthread", "-matomics", "-mbulk-memory"];

/// Options for linking programs with threads.
const THREADS_LINK: &[&str] = &[
    "-Wl,--shared-memory,--import-memory,--export-memory,--max-memory=4294901760",
    "-Wl,--export=__wasm_init_tls,--export=__tls_base,--export=__tls_size,--export=__tls_align",
    "-Wl,--export=__faasm_thread_main",
];

/// Libraries, after everything of the user's.
const LINK_AFTER: &[&str] = &[
    "-lwasi-emulated-signal",
    "-lwasi-emulated-process-clocks",
    "-lwasi-emulated-mman",
    "-lwasi-emulated-getpid",
    "-lc-printscan-long-double",
    "-lsetjmp",
];

/// Beyond this a command line is handed over in a file; one argument may have 128 KiB on Linux.
const COMMAND_LINE_BYTES_MAX: usize = 96 << 10;
