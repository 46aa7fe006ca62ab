//! From bytes to a module: check, look up, else rewrite, compile and keep.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_vm::rewrite::{
    self, ATOMICS_VERSION, DATA_VERSION, ModuleFacts, RewriteError, THREAD_MODULE,
};
use faasm_vm::unwind::{self, UNWIND_VERSION};
use faasm_vm::{ArtifactCache, CacheTrouble, ContentHash, VmEngine};

use super::progress::Subject;
use super::{Beginning, FileFormat, Inner, Module, ModuleError, Progress};

/// Loads modules for one engine; clones share engine and cache.
#[derive(Clone, Debug)]
pub(crate) struct ModuleLoader {
    engine: VmEngine,
    cache: ArtifactCache,
    progress: Progress,
    migratable: bool,
    forwards: bool,
}

impl ModuleLoader {
    /// A loader that is silent while it compiles.
    pub(crate) fn new(engine: VmEngine, cache: ArtifactCache) -> Self {
        Self { engine, cache, progress: Progress::default(), migratable: false, forwards: false }
    }

    /// The same loader, with compilation announced as `progress` says.
    #[must_use]
    pub(crate) fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// The same loader; with `migratable` it makes the variant of each program whose stack can be taken.
    #[must_use]
    pub(crate) fn with_migratable(self, migratable: bool) -> Self {
        Self { migratable, ..self }
    }

    /// The same loader; with `forwards` it makes the variant of each program whose atomic operations are another node's.
    #[must_use]
    pub(crate) fn with_forwarding(self, forwards: bool) -> Self {
        Self { forwards, ..self }
    }

    /// Loads the program in the file `path`.
    ///
    /// # Errors
    /// When the file cannot be read, or is no program that can be run.
    pub(crate) fn load_file(&self, path: &Path) -> Result<Module, ModuleError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let bytes = read(path, &name)?;
        self.load_bytes(&name, &bytes)
    }

    /// Loads the program in `bytes`, to be called `name` in messages.
    ///
    /// # Errors
    /// When the bytes are no program that can be run.
    pub(crate) fn load_bytes(&self, name: &str, bytes: &[u8]) -> Result<Module, ModuleError> {
        let facts = inspect(name, bytes)?;
        let content = ContentHash::of(bytes);
        let beginning = Beginning::of(name, bytes, &facts)?;
        let mut kept_as = content;
        if self.migratable {
            kept_as = kept_as.variant("migratable", UNWIND_VERSION);
            kept_as = kept_as.variant("switch points", faasm_mpi_shim::switch::VERSION);
            if facts.memory.shared {
                kept_as = kept_as.variant("waits of threads", THREAD_WAITS_VERSION);
            }
        }
        if self.forwards {
            kept_as = kept_as.variant("forwarded atomics", ATOMICS_VERSION);
        }
        let has_data = !matches!(beginning, Some(Beginning::Once(_)));
        if !has_data {
            kept_as = kept_as.variant("without data", DATA_VERSION);
        }
        let found = self.cache.lookup(self.engine.engine(), &kept_as);
        warn(found.trouble);
        let (code, compile_time) = match found.module {
            Some(code) => (code, None),
            None => {
                let (code, took) = self.compile(name, bytes, &facts, has_data)?;
                warn(self.cache.store(self.engine.engine(), &kept_as, &code));
                (code, Some(took))
            }
        };
        let (name, migratable) = (name.to_owned(), self.migratable);
        let inner = Inner { name, content, code, facts, compile_time, migratable, beginning };
        Ok(Module { inner: Arc::new(inner) })
    }

    fn compile(
        &self,
        name: &str,
        bytes: &[u8],
        facts: &ModuleFacts,
        has_data: bool,
    ) -> Result<(wasmtime::Module, Duration), ModuleError> {
        let start = Instant::now();
        let mut rewritten = rewrite::rewrite(bytes)
            .map_err(|cause| ModuleError::Refused { name: name.to_owned(), cause })?;
        if self.migratable {
            let made = unwind::make_migratable(&rewritten.bytes, &is_switch_point)
                .map_err(|cause| ModuleError::NotMigratable { name: name.to_owned(), cause })?;
            tracing::info!(program = name, report = ?made.report, "made migratable");
            rewritten.bytes = made.bytes;
        }
        if self.forwards {
            rewritten.bytes = rewrite::forward_atomics(&rewritten.bytes)
                .map_err(|cause| ModuleError::Refused { name: name.to_owned(), cause })?;
        }
        if !has_data {
            let variant = rewrite::without_data(&rewritten.bytes)
                .map_err(|cause| ModuleError::Refused { name: name.to_owned(), cause })?;
            // The passes before add neither data nor what uses it.
            rewritten.bytes = variant.map_or(rewritten.bytes, |variant| variant.bytes);
        }
        let subject = Subject { name, bytes: bytes.len(), functions: facts.functions };
        let compile = || wasmtime::Module::new(self.engine.engine(), &rewritten.bytes);
        let code = self
            .progress
            .during(&subject, compile)
            .map_err(|cause| ModuleError::Compile { name: name.to_owned(), cause })?;
        Ok((code, start.elapsed()))
    }
}

/// Where a program's stack may be taken.
fn is_switch_point(module: &str, name: &str) -> bool {
    match module {
        crate::host::MPI => faasm_mpi_shim::switch::is_switch_point(name),
        THREAD_MODULE => THREAD_WAITS.contains(&name),
        faasm_omp_shim::MODULE => name == "wait",
        _ => false,
    }
}

/// Functions in which a thread waits for others, or looks again and again.
const THREAD_WAITS: [&str; 7] =
    ["wait32", "wait64", "atomic_wait32", "atomic_wait64", "exit", "yield", "poll"];

/// Version of that list; raised whenever it changes.
const THREAD_WAITS_VERSION: u32 = 1;

pub(super) fn read(path: &Path, name: &str) -> Result<Vec<u8>, ModuleError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => {
            ModuleError::NotFound { path: path.to_owned(), similar: similar(path) }
        }
        io::ErrorKind::IsADirectory => ModuleError::Directory { path: path.to_owned() },
        _ => ModuleError::Unreadable { path: path.to_owned(), cause },
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    // The length is a hint: a pipe has none, and a file may grow.
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(MODULE_BYTES_MAX)).unwrap_or(0));
    file.take(MODULE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MODULE_BYTES_MAX {
        return Err(ModuleError::TooLong { name: name.to_owned(), bytes_max: MODULE_BYTES_MAX });
    }
    Ok(bytes)
}

/// The file with `.wasm` after its name, if that is there.
fn similar(path: &Path) -> Option<PathBuf> {
    let mut with_suffix = path.to_owned().into_os_string();
    with_suffix.push(".wasm");
    let with_suffix = PathBuf::from(with_suffix);
    with_suffix.is_file().then_some(with_suffix)
}

pub(super) fn inspect(name: &str, bytes: &[u8]) -> Result<ModuleFacts, ModuleError> {
    let name = || name.to_owned();
    rewrite::inspect(bytes).map_err(|cause| match (cause, FileFormat::detect(bytes)) {
        _ if bytes.is_empty() => ModuleError::Empty { name: name() },
        (RewriteError::NotWasm, Some(format)) => ModuleError::Foreign { name: name(), format },
        (cause, _) => ModuleError::Refused { name: name(), cause },
    })
}

fn warn(trouble: Option<CacheTrouble>) {
    if let Some(trouble) = trouble {
        tracing::warn!("{trouble}");
    }
}

/// Longest module that is read; compilers make none of a tenth of this.
const MODULE_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
#[path = "loader_tests.rs"]
mod tests;
