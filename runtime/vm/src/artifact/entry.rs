//! One entry: checked and mapped, or written and published.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use wasmtime::{Engine, Module};

use super::folder::{Folder, SUFFIX, Shelf, UNFINISHED};
use super::key::Key;

/// Why an entry did not become a module.
#[derive(Debug)]
pub(super) enum LoadError {
    /// Another process removed it meanwhile.
    Gone,
    /// It must not be used.
    Bad(String),
}

/// Maps the entry `name`, after its bytes were checked.
pub(super) fn load(
    shelf: &Shelf,
    name: &str,
    key: &Key,
    engine: &Engine,
) -> Result<Module, LoadError> {
    let bad = |cause: io::Error| LoadError::Bad(format!("it cannot be read: {cause}"));
    let file = shelf.open(name).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => LoadError::Gone,
        _ => bad(cause),
    })?;
    let mut checksum = key.checksum();
    checksum.update_reader(&file).map_err(bad)?;
    if name != entry_name(&checksum) {
        return Err(LoadError::Bad(
            "it is damaged, or belongs to another program: its checksum is wrong".to_owned(),
        ));
    }
    mark_used(&file);
    // SAFETY: the contract is that the file holds what `Module::serialize` made, unmodified, and
    // that it does not change while it is mapped.
    // - Origin: its checksum, just computed over this very open file, equals the one in its name,
    //   which only `store` gives, under the key of this engine, for bytes from `Module::serialize`.
    //   Nobody else can place such a file: the folder was opened, and then found to be owned by this
    //   user without permissions for anyone else; the file is this user's too.
    // - Stability: entries are written under another name, and renamed when they are complete;
    //   nothing in this crate opens a published one for writing, and replacing or removing it
    //   leaves the open file as it is.
    let module = unsafe { Module::deserialize_open_file(engine, file) };
    module.map_err(|cause| LoadError::Bad(format!("the engine refuses it: {cause:#}")))
}

/// Writes `code` and publishes it in one step.
pub(super) fn store(folder: &Folder, key: &Key, code: &[u8]) -> io::Result<()> {
    let mut checksum = key.checksum();
    checksum.update(code);
    let name = entry_name(&checksum);
    for _ in 1..STORE_ATTEMPTS_MAX {
        match store_once(folder, key, &name, code) {
            // Another process cleaned up the still empty folder, or has our process id elsewhere.
            Err(cause)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                ) => {}
            outcome => return outcome,
        }
    }
    store_once(folder, key, &name, code)
}

fn store_once(folder: &Folder, key: &Key, name: &str, code: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    folder.make_shelf(key)?;
    let shelf = folder.shelf_named(&key.folder_name())?.ok_or(io::ErrorKind::NotFound)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let unfinished = format!("{UNFINISHED}{}-{number}", std::process::id());
    let file = shelf.create(&unfinished)?;
    let published = write_durably(file, code).and_then(|()| shelf.rename(&unfinished, name));
    if published.is_err() {
        // The first failure is the one to tell; what stays behind goes with the next clean-up.
        let _ = shelf.remove(&unfinished);
    }
    published
}

fn write_durably(mut file: File, code: &[u8]) -> io::Result<()> {
    file.write_all(code)?;
    file.sync_all()
}

/// Moves the entry to the end of the queue of removal. On a file system that is read-only nothing
/// is removed either, so that it fails there is no loss.
fn mark_used(file: &File) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let _ = rustix::fs::futimens(file, &Timestamps { last_access: now, last_modification: now });
}

fn entry_name(checksum: &blake3::Hasher) -> String {
    format!("{}{SUFFIX}", checksum.finalize().to_hex())
}

const STORE_ATTEMPTS_MAX: u32 = 4;
