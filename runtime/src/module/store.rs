//! Programs that came from elsewhere, on disk under their hashes.
//!
//! ```text
//! <dir>/programs-1/            mode 0700
//!   <hash>.wasm                bytes that hash to this name; checked whenever they are read
//!   <hash>.lock                locked by the one who is compiling it
//!   .new-<process>-<hash>      a program that is being written
//! ```
//! Like the cache of compiled code it is never needed: without it a program is fetched again.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use faasm_vm::ContentHash;

/// Bytes that all programs together may take on disk.
const PROGRAMS_BYTES_MAX: u64 = 1 << 30;
/// Name of the directory; carries the version of the layout.
const FORMAT: &str = "programs-1";

/// Where programs are kept; `None` keeps nothing.
#[derive(Clone, Debug)]
pub(crate) struct ProgramStore {
    dir: Option<PathBuf>,
}

/// Only one process has it at a time, for one program.
#[derive(Debug)]
pub(crate) struct CompileLock {
    _file: File,
}

impl ProgramStore {
    /// The store below a cache directory.
    pub(crate) fn new(cache: Option<&Path>) -> Self {
        Self { dir: cache.map(|dir| dir.join(FORMAT)) }
    }

    /// The program that hashes to `content`, if it is here undamaged.
    pub(crate) fn read(&self, content: &[u8; 32]) -> Option<Bytes> {
        let path = self.path(content, "wasm")?;
        let bytes = fs::read(&path).ok()?;
        if ContentHash::of(&bytes).as_bytes() != content {
            tracing::warn!("{} is damaged and is fetched again", path.display());
            return None;
        }
        // The time of last use decides who goes first; it is no loss if it cannot be set.
        let _ = File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes.into())
    }

    /// Keeps a program.
    ///
    /// # Errors
    /// What the system said, for example that the disk is full.
    pub(crate) fn write(&self, content: &[u8; 32], bytes: &[u8]) -> io::Result<()> {
        let (Some(dir), Some(path)) = (&self.dir, self.path(content, "wasm")) else {
            return Ok(());
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let new = dir.join(format!(".new-{}-{}", std::process::id(), hex(content)));
        let written = File::create(&new)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written?;
        evict(dir)
    }

    /// Waits until no other process on this machine compiles the program; without a store at once.
    pub(crate) fn lock(&self, content: &[u8; 32]) -> Option<CompileLock> {
        let dir = self.dir.as_ref()?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).ok()?;
        let file = File::create(self.path(content, "lock")?).ok()?;
        file.lock().ok()?;
        Some(CompileLock { _file: file })
    }

    fn path(&self, content: &[u8; 32], suffix: &str) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(format!("{}.{suffix}", hex(content))))
    }
}

/// Removes the programs that were not used for longest, as far as there are too many.
fn evict(dir: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Another process may be done with its file, or have removed it, in between.
        let about = match entry.metadata() {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
            about => about?,
        };
        if about.is_file() {
            files.push((about.modified()?, about.len(), entry.path()));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if total <= PROGRAMS_BYTES_MAX {
            break;
        }
        match fs::remove_file(path) {
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        total -= len;
    }
    Ok(())
}

fn hex(content: &[u8; 32]) -> String {
    content.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_kept_and_a_damaged_one_is_not_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = ProgramStore::new(Some(dir.path()));
        let content = *ContentHash::of(b"program").as_bytes();
        assert!(store.read(&content).is_none());
        store.write(&content, b"program").expect("there is room");
        assert_eq!(store.read(&content).as_deref(), Some(&b"program"[..]));
        let path = store.path(&content, "wasm").expect("it has a directory");
        fs::write(path, b"pr0gram").expect("it is ours");
        assert!(store.read(&content).is_none());
    }

    #[test]
    fn without_a_directory_nothing_is_kept() {
        let store = ProgramStore::new(None);
        let content = *ContentHash::of(b"program").as_bytes();
        store.write(&content, b"program").expect("nothing is written");
        assert!(store.read(&content).is_none() && store.lock(&content).is_none());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("there is room");
        let store = ProgramStore::new(Some(&file));
        assert!(store.write(ContentHash::of(b"a").as_bytes(), b"a").is_err());
    }
}
