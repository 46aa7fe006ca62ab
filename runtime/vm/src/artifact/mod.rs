//! The cache of compiled modules on disk.
//!
//! ```text
//! <dir>/compiled-1/              mode 0700, owned by the user
//!   <key>/                       what is compiled, by which engine, for which CPU; 64 hex digits
//!     <checksum>.cwasm           machine code, mapped into memory by those who run it
//!     .new-<process>-<number>    an entry that is being written
//! ```
//!
//! The checksum is a keyed blake3 of the file, with the entry's key as the key: the name that one
//! atomic rename publishes says what the bytes must be, and an entry that was moved to another key
//! is as wrong as a damaged one. Entries are never changed in place, so a reader keeps what it has
//! mapped while others replace or remove it; no lock is needed between processes. The time of last
//! use is the file's modification time, and the least recently used entries go first when the
//! cache outgrows its limit.
//!
//! The cache is never needed: whatever goes wrong with it is a [`CacheTrouble`] to be shown, and
//! the module is compiled in memory instead.

mod entry;
mod error;
mod evict;
mod folder;
mod key;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::{Engine, Module};

pub use error::CacheTrouble;
pub use key::ContentHash;

use folder::Folder;
use key::Key;

/// Where compiled modules are kept, and how many.
#[derive(Clone, Debug)]
pub struct ArtifactConfig {
    /// Directory of the cache, made when it is missing; `None` keeps nothing.
    pub dir: Option<PathBuf>,
    /// Bytes that all entries together may take on disk. Default 2 GiB.
    pub bytes_max: u64,
}

impl Default for ArtifactConfig {
    /// `$FAASM_CACHE_DIR`, else `$XDG_CACHE_HOME/faasm`, else `~/.cache/faasm`.
    fn default() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dir = set("FAASM_CACHE_DIR")
            .map(PathBuf::from)
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| Path::new(&dir).join("faasm")))
            .or_else(|| set("HOME").map(|dir| Path::new(&dir).join(".cache/faasm")));
        Self { dir, bytes_max: 2 << 30 }
    }
}

/// A cache of compiled modules; clones are the same cache.
///
/// Use it as [`lookup`](Self::lookup), and when that finds nothing, compile and
/// [`store`](Self::store).
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ArtifactConfig,
    /// Whether a trouble with the directory was handed out already: one warning is enough.
    directory_reported: AtomicBool,
}

/// What [`ArtifactCache::lookup`] found.
#[derive(Debug)]
pub struct Lookup {
    /// The module, ready to run; `None` when it has to be compiled.
    pub module: Option<Module>,
    /// What was wrong with the cache, to be shown as a warning.
    pub trouble: Option<CacheTrouble>,
}

impl ArtifactCache {
    /// A cache; touches nothing on disk yet.
    pub fn new(config: ArtifactConfig) -> Self {
        Self { inner: Arc::new(Inner { config, directory_reported: AtomicBool::new(false) }) }
    }

    /// A cache that keeps nothing.
    pub fn disabled() -> Self {
        Self::new(ArtifactConfig { dir: None, bytes_max: 0 })
    }

    /// Looks for code that `engine` can run for the module whose original bytes hash to `content`.
    ///
    /// Damaged entries are removed.
    pub fn lookup(&self, engine: &Engine, content: &ContentHash) -> Lookup {
        let Some(dir) = &self.inner.config.dir else {
            return Lookup { module: None, trouble: None };
        };
        match Self::find(dir, engine, content) {
            Ok(lookup) => lookup,
            Err(trouble) => Lookup { module: None, trouble: self.reportable(trouble) },
        }
    }

    /// Keeps `module`, which `engine` compiled from bytes that hash to `content`, and removes the
    /// least recently used entries when there are too many. Hands back what kept it from that.
    pub fn store(
        &self,
        engine: &Engine,
        content: &ContentHash,
        module: &Module,
    ) -> Option<CacheTrouble> {
        let dir = self.inner.config.dir.as_ref()?;
        let stored = self.keep(dir, &Key::new(engine, content), module);
        stored.err().and_then(|trouble| self.reportable(trouble))
    }

    fn find(dir: &Path, engine: &Engine, content: &ContentHash) -> Result<Lookup, CacheTrouble> {
        let key = Key::new(engine, content);
        let mut lookup = Lookup { module: None, trouble: None };
        let Some(folder) = Folder::open(dir)? else { return Ok(lookup) };
        let Some(shelf) = folder.shelf(&key)? else { return Ok(lookup) };
        for name in shelf.entries()? {
            match entry::load(&shelf, &name, &key, engine) {
                Ok(module) => {
                    lookup.module = Some(module);
                    break;
                }
                Err(entry::LoadError::Gone) => {}
                Err(entry::LoadError::Bad(cause)) => {
                    let path = shelf.path_of(&name);
                    let removed = shelf.remove(&name).is_ok();
                    lookup.trouble = Some(CacheTrouble::Entry { path, cause, removed });
                }
            }
        }
        Ok(lookup)
    }

    fn keep(&self, dir: &Path, key: &Key, module: &Module) -> Result<(), CacheTrouble> {
        let bytes_max = self.inner.config.bytes_max;
        let directory = |cause: std::io::Error| CacheTrouble::directory(dir, cause);
        let code = module.serialize().map_err(|cause| directory(std::io::Error::other(cause)))?;
        if code.len() as u64 > bytes_max {
            return Err(CacheTrouble::TooLarge { bytes: code.len() as u64, bytes_max });
        }
        let folder = Folder::create(dir)?;
        entry::store(&folder, key, &code).map_err(directory)?;
        evict::evict(&folder, bytes_max).map_err(directory)
    }

    /// `trouble`, unless it is one with the directory and the user knows about that.
    fn reportable(&self, trouble: CacheTrouble) -> Option<CacheTrouble> {
        let known = trouble.is_about_directory()
            && self.inner.directory_reported.swap(true, Ordering::Relaxed);
        (!known).then_some(trouble)
    }
}
