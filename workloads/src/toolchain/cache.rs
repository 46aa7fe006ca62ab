//! The cache directory: where things are kept, one writer at a time, and nothing half-written in view.
//!
//! Every entry is a directory whose name holds its version or content hash. It is filled under a temporary
//! name and renamed into place, so that an entry that exists is complete. A lock file for each entry makes a
//! second first use wait for the first instead of doing the work twice.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// The directory that holds everything the toolchain installs or builds.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Finds the cache: `$FAASM_CACHE_DIR`, else `$XDG_CACHE_HOME/faasm`, else `~/.cache/faasm`.
    ///
    /// # Errors
    /// Fails when none of these variables is set, for then there is no place to keep anything.
    pub(crate) fn from_environment() -> Result<Self> {
        let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = set("FAASM_CACHE_DIR")
            .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("faasm")))
            .or_else(|| set("HOME").map(|dir| dir.join(".cache/faasm")))
            .ok_or_else(|| Error::Environment {
                variable: "HOME",
                value: String::new(),
                reason:
                    "no home directory; set FAASM_CACHE_DIR to a directory to keep the toolchain in"
                        .into(),
            })?;
        let root = std::path::absolute(&root).map_err(Error::file("resolve", &root))?;
        Ok(Self { root })
    }

    /// The cache's top directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the entry `name`, filling it first with `fill` where it does not exist yet.
    ///
    /// # Errors
    /// Passes on what `fill` reports; the half-filled directory is removed.
    pub(crate) fn entry(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.root.join(name);
        if path.is_dir() {
            return Ok(path);
        }
        fs::create_dir_all(&self.root).map_err(Error::file("create", &self.root))?;
        let _lock = self.lock(name)?;
        if path.is_dir() {
            return Ok(path);
        }
        self.remove_leftovers(name);
        let partial = tempfile::Builder::new()
            .prefix(&format!(".{name}.tmp-"))
            .tempdir_in(&self.root)
            .map_err(Error::file("create a directory in", &self.root))?;
        fill(partial.path())?;
        make_readable(partial.path())?;
        fs::rename(partial.path(), &path).map_err(Error::file("move into place", &path))?;
        // The directory has its final name now, so there is nothing left to delete under the old one.
        let _ = partial.keep();
        Ok(path)
    }

    /// Removes what a killed first use of `name` left behind. The caller holds the entry's lock.
    fn remove_leftovers(&self, name: &str) {
        let prefix = format!(".{name}.tmp-");
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // A leftover that cannot be deleted wastes space and does no other harm.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn lock(&self, name: &str) -> Result<fs::File> {
        let path = self.root.join(format!(".{name}.lock"));
        let file = fs::File::create(&path).map_err(Error::file("create", &path))?;
        file.lock().map_err(Error::file("lock", &path))?;
        Ok(file)
    }
}

/// Temporary directories are private to their owner; a cache may be shared between users.
fn make_readable(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .map_err(Error::file("set permissions of", directory))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache { root: dir.path().join("cache") };
        (dir, cache)
    }

    #[test]
    fn an_entry_is_filled_once_by_concurrent_users() {
        let (_dir, cache) = cache();
        let fills = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let path = cache.entry("thing", |dir| {
                        fills.fetch_add(1, Ordering::SeqCst);
                        fs::write(dir.join("file"), "x").map_err(Error::file("write", dir))
                    });
                    assert!(path.expect("filled").join("file").is_file());
                });
            }
        });
        assert_eq!(fills.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_fill_leaves_no_entry() {
        let (_dir, cache) = cache();
        let failed = cache
            .entry("thing", |_| Err(Error::Refused { option: "x".into(), reason: "y".into() }));
        assert!(failed.is_err());
        assert!(!cache.root().join("thing").exists());
        let left = fs::read_dir(cache.root()).expect("readable").count();
        assert_eq!(left, 1, "only the lock file stays");
    }
}
