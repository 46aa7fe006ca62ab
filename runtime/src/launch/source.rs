//! C and C++ source files that are run as if they were programs: compiled by `faasm-cc` beside this
//! executable, once for each state of the file and of what it includes.
//!
//! ```text
//! <cache>/programs/<key>/        key: the source's path, and which compiler it is
//!   <name>.wasm                  the program
//!   inputs                       one line for each file that went into it: hash, blank, path
//! ``` A program is up to date when every input still has its hash. Headers of the toolchain are no
//! inputs: they come and change with the compiler. There is one entry for each source file that was
//! ever run.

use std::{
    env, fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::SystemTime,
};

use faasm_vm::{ContentHash, artifact::ArtifactConfig};

/// A source file that can be compiled and run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceFile {
    path: PathBuf,
    driver: &'static str,
}

/// Why a source file did not become a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no compiler.
    #[error(
        "{path} has to be compiled, but {driver} is neither beside faasm-run nor in PATH; build it \
         with `cargo build --release`, or name a compiled program",
        path = path.display()
    )]
    NoCompiler {
        /// The source file.
        path: PathBuf,
        /// The compiler that is needed.
        driver: &'static str,
    },
    /// The compiler refused the program; it has said why on standard error.
    #[error(
        "{path} could not be compiled ({status}); correct it and try again",
        path = path.display()
    )]
    Refused {
        /// The source file.
        path: PathBuf,
        /// How the compiler ended.
        status: ExitStatus,
    },
    /// There is no directory to compile into.
    #[error("there is no directory for compiled programs; set FAASM_CACHE_DIR or HOME")]
    NoCache,
    /// A file could not be used.
    #[error("cannot {action} {path}: {cause}", path = path.display())]
    File {
        /// What was to be done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

type Result<T> = std::result::Result<T, SourceError>;

impl SourceFile {
    /// The source file `path`, if its name ends like one.
    pub fn detect(path: &Path) -> Option<Self> {
        let driver = match path.extension()?.to_str()? {
            "c" => "faasm-cc",
            "cc" | "cpp" | "cxx" | "c++" | "C" => "faasm-c++",
            _ => return None,
        };
        Some(Self { path: path.to_owned(), driver })
    }

    /// Compiles the file unless that was done before; returns the program. The compiler's messages
    /// go to standard error.
    ///
    /// # Errors
    /// When the file cannot be read, there is no compiler, or it refuses the program.
    pub fn compile(&self) -> Result<PathBuf> {
        let source = self.path.canonicalize().map_err(file("read", &self.path))?;
        let compiler = find_beside(self.driver).ok_or_else(|| SourceError::NoCompiler {
            path: self.path.clone(),
            driver: self.driver,
        })?;
        let cache = ArtifactConfig::default().dir.ok_or(SourceError::NoCache)?;
        let entry = Entry::new(&cache, &source, &compiler)?;
        if !entry.is_current() {
            self.compile_into(&entry, &compiler)?;
        }
        Ok(entry.program)
    }

    fn compile_into(&self, entry: &Entry, compiler: &Path) -> Result<()> {
        fs::create_dir_all(&entry.dir).map_err(file("create", &entry.dir))?;
        let scratch = entry.dir.join(format!("new-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(file("create", &scratch))?;
        let done = self.compile_in(&scratch, entry, compiler);
        fs::remove_dir_all(&scratch).map_err(file("remove", &scratch))?;
        done
    }

    /// Writes program and inputs in `scratch`, then moves them to their place.
    fn compile_in(&self, scratch: &Path, entry: &Entry, compiler: &Path) -> Result<()> {
        let (program, rules) = (scratch.join("program"), scratch.join("rules"));
        let started = SystemTime::now();
        let status = Command::new(compiler)
            .arg(&self.path)
            .arg("-o")
            .arg(&program)
            .args(["-lm", "-MMD", "-MF"])
            .arg(&rules)
            .status()
            .map_err(file("start", compiler))?;
        if !status.success() {
            return Err(SourceError::Refused { path: self.path.clone(), status });
        }
        let rules = fs::read_to_string(&rules).map_err(file("read", &rules))?;
        let inputs = describe_inputs(&prerequisites(&rules), started);
        let inputs_file = scratch.join("inputs");
        fs::write(&inputs_file, inputs.unwrap_or_default()).map_err(file("write", &inputs_file))?;
        // Without its inputs a program counts as outdated, so the order keeps the two together.
        let _ = fs::remove_file(&entry.inputs);
        fs::rename(&program, &entry.program).map_err(file("replace", &entry.program))?;
        fs::rename(&inputs_file, &entry.inputs).map_err(file("replace", &entry.inputs))
    }
}

/// Where one source's program is kept.
struct Entry {
    dir: PathBuf,
    program: PathBuf,
    inputs: PathBuf,
}

impl Entry {
    fn new(cache: &Path, source: &Path, compiler: &Path) -> Result<Self> {
        let of_compiler = fs::metadata(compiler).map_err(file("read", compiler))?;
        let mut key = source.as_os_str().as_bytes().to_vec();
        key.push(0);
        key.extend(compiler.as_os_str().as_bytes());
        let state = [of_compiler.mtime(), of_compiler.mtime_nsec()];
        key.extend(state.iter().flat_map(|number| number.to_le_bytes()));
        key.extend(of_compiler.len().to_le_bytes());
        let dir = cache.join("programs").join(ContentHash::of(&key).to_string());
        let name = source.file_stem().unwrap_or(source.as_os_str());
        let program = dir.join(name).with_added_extension("wasm");
        let inputs = dir.join("inputs");
        Ok(Self { dir, program, inputs })
    }

    fn is_current(&self) -> bool {
        let Ok(inputs) = fs::read_to_string(&self.inputs) else { return false };
        let unchanged = |line: &str| {
            line.split_once(' ')
                .is_some_and(|(hash, path)| hash_of(Path::new(path)).as_deref() == Some(hash))
        };
        !inputs.is_empty() && inputs.lines().all(unchanged) && self.program.is_file()
    }
}

/// The lines of an `inputs` file. `None` when an input was changed after `started`: nobody knows
/// then which state was compiled.
fn describe_inputs(paths: &[PathBuf], started: SystemTime) -> Option<String> {
    let line = |path: &PathBuf| {
        let path = path.canonicalize().ok()?;
        let changed = fs::metadata(&path).and_then(|data| data.modified()).ok()?;
        let text = path.to_str().filter(|text| !text.contains('\n'))?;
        (changed < started).then_some(())?;
        Some(format!("{} {text}\n", hash_of(&path)?))
    };
    paths.iter().map(line).collect()
}

fn hash_of(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| ContentHash::of(&bytes).to_string())
}

/// The files that a rule for make, as compilers write it, names after the colon.
fn prerequisites(rule: &str) -> Vec<PathBuf> {
    let joined = rule.replace("\\\n", " ");
    let files = joined.split_once(": ").map_or("", |(_, files)| files);
    let mut words = vec![String::new()];
    let mut characters = files.chars().peekable();
    while let Some(character) = characters.next() {
        let last = words.last_mut().expect("there is always one");
        match (character, characters.peek()) {
            ('\\', Some(' ' | '#' | '\\')) | ('$', Some('$')) => last.extend(characters.next()),
            (blank, _) if blank.is_whitespace() => words.push(String::new()),
            _ => last.push(character),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).map(PathBuf::from).collect()
}

/// A program beside this one, else in PATH.
fn find_beside(name: &str) -> Option<PathBuf> {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    beside.into_iter().chain(dirs).map(|dir| dir.join(name)).find(|program| program.is_file())
}

fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SourceError + 'a {
    move |cause| SourceError::File { action, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_name_tells_the_language() {
        let driver = |name: &str| SourceFile::detect(Path::new(name)).map(|source| source.driver);
        assert_eq!(driver("a/heat.c"), Some("faasm-cc"));
        assert_eq!(driver("heat.cpp"), Some("faasm-c++"));
        assert_eq!(driver("heat.C"), Some("faasm-c++"));
        assert_eq!((driver("heat.wasm"), driver("c"), driver(".c")), (None, None, None));
    }

    #[test]
    fn rules_of_compilers_are_understood() {
        let rule = "out.o: a.c \\\n  dir/b\\ c.h d\\#.h \\\n e$$.h\n";
        let files = ["a.c", "dir/b c.h", "d#.h", "e$.h"].map(PathBuf::from);
        assert_eq!(prerequisites(rule), files);
        assert!(prerequisites("").is_empty());
    }

    #[test]
    fn a_program_is_current_until_an_input_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let header = dir.path().join("a.h");
        fs::write(&header, "1").expect("written");
        let started = SystemTime::now() + Duration::from_secs(1);
        let inputs = describe_inputs(std::slice::from_ref(&header), started).expect("one line");
        let compiler = env::current_exe().expect("this test");
        let entry = Entry::new(dir.path(), &dir.path().join("a.c"), &compiler).expect("an entry");
        assert!(entry.program.ends_with("a.wasm"));
        fs::create_dir_all(&entry.dir).expect("created");
        fs::write(&entry.inputs, inputs).expect("written");
        assert!(!entry.is_current(), "there is no program");
        fs::write(&entry.program, "").expect("written");
        assert!(entry.is_current());
        fs::write(&header, "2").expect("written");
        assert!(!entry.is_current());
    }

    #[test]
    fn an_input_that_changes_while_it_is_compiled_is_not_recorded() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir.path().join("a.c");
        let started = SystemTime::now();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&source, "1").expect("written");
        assert_eq!(describe_inputs(&[source], started), None);
    }
}
