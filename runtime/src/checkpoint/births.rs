//! How processes were spawned, as values: enough to begin them again, after a restart or on another node.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use super::directory::{PROGRAMS, program_name};
use super::disk::{self, at, sync_dir, write_durably};

/// What a process was spawned with.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Birth {
    /// What its program is called.
    pub(crate) name: String,
    /// The hash of its program's bytes.
    pub(crate) hash: [u8; 32],
    /// Bytes of its program.
    pub(crate) bytes: u64,
    /// Its arguments after its name.
    pub(crate) args: Vec<String>,
    /// The directories that it can use.
    pub(crate) dirs: Vec<SavedDir>,
    /// Its rank among those that were spawned with it.
    pub(crate) rank: u32,
    /// How many those are.
    pub(crate) of: u32,
    /// What the shim has to know of them ([`World::save_family`](faasm_mpi_shim::world::World::save_family)); empty in checkpoints,
    /// where it is in what all ranks share.
    pub(crate) family: Vec<u8>,
}

/// A directory that a process can use.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedDir {
    /// Its path on the machine.
    pub(crate) host: String,
    /// Its path for the process.
    pub(crate) guest: String,
    /// Whether it may not be written.
    pub(crate) read_only: bool,
}

/// The spawned processes of a job on this node, with the programs that the job did not begin with.
#[derive(Default)]
pub(crate) struct Births {
    births: Mutex<BTreeMap<u32, Arc<Birth>>>,
    programs: Mutex<HashMap<[u8; 32], Bytes>>,
    stiff: Mutex<Vec<u32>>,
    /// Tells the coordinator of them.
    herald: OnceLock<Herald>,
}

/// Told of processes that were spawned, before they run.
type Herald = Box<dyn Fn(&Births, &[(u32, Arc<Birth>)]) + Send + Sync>;

impl Births {
    /// A process was spawned.
    pub(crate) fn add(&self, process: u32, birth: Arc<Birth>) {
        self.births.lock().insert(process, birth);
    }

    /// Tells whoever is to know of processes that were added.
    pub(crate) fn announce(&self, born: &[(u32, Arc<Birth>)]) {
        if let Some(herald) = self.herald.get().filter(|_| !born.is_empty()) {
            herald(self, born);
        }
    }

    /// Those that are there already, and all that come, are told this way; once.
    pub(crate) fn set_herald(
        &self,
        herald: impl Fn(&Self, &[(u32, Arc<Birth>)]) + Send + Sync + 'static,
    ) {
        // A second one would be no better than the first.
        let _ = self.herald.set(Box::new(herald));
        let known = self
            .births
            .lock()
            .iter()
            .map(|(rank, birth)| (*rank, birth.clone()))
            .collect::<Vec<_>>();
        self.announce(&known);
    }

    /// The stack of a spawned process cannot be taken, although those of others can.
    pub(crate) fn add_stiff(&self, process: u32) {
        self.stiff.lock().push(process);
    }

    /// The processes whose stacks cannot be taken.
    pub(crate) fn stiff(&self) -> Vec<u32> {
        self.stiff.lock().clone()
    }

    /// How a process was spawned, if it was.
    pub(crate) fn of(&self, process: u32) -> Option<Arc<Birth>> {
        self.births.lock().get(&process).cloned()
    }

    /// Keeps the bytes of a program.
    pub(crate) fn keep_program(&self, hash: [u8; 32], bytes: Bytes) {
        self.programs.lock().entry(hash).or_insert(bytes);
    }

    /// The bytes of a program that the job did not begin with.
    pub(crate) fn program(&self, hash: &[u8; 32]) -> Option<Bytes> {
        self.programs.lock().get(hash).cloned()
    }

    /// Puts a program into the directory of checkpoints, unless the job began with it: it is there then.
    pub(super) fn keep_program_in(
        &self,
        dir: &Path,
        hash: [u8; 32],
    ) -> Result<(), CheckpointError> {
        self.program(&hash).map_or(Ok(()), |bytes| keep(dir, &hex(hash), &bytes))
    }
}

impl std::fmt::Debug for Births {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Births").field("births", &self.births).finish_non_exhaustive()
    }
}

impl Birth {
    /// As it is kept in checkpoints.
    pub(super) fn to_keep(&self) -> Self {
        Self { family: Vec::new(), ..self.clone() }
    }

    /// The hash of its program as files are named by it.
    pub(crate) fn hex(&self) -> String {
        hex(self.hash)
    }
}

fn hex(hash: [u8; 32]) -> String {
    blake3::Hash::from_bytes(hash).to_hex().to_string()
}

/// Puts a program into the directory of checkpoints, unless it is there.
pub(super) fn keep(dir: &Path, hash: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
    let store = dir.join(PROGRAMS);
    let path = store.join(program_name(hash));
    let is_there = std::fs::read(&path).is_ok_and(|there| there == bytes);
    if is_there {
        return Ok(());
    }
    let temporary = store.join(format!(".{hash}.{}", std::process::id()));
    write_durably(&temporary, bytes).map_err(at(&temporary, "cannot be written"))?;
    disk::rename(&temporary, &path).map_err(at(&path, "cannot be put there"))?;
    sync_dir(&store).map_err(at(&store, "cannot be made durable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_kept_once_and_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join(PROGRAMS)).expect("it can be made");
        let path = dir.path().join(PROGRAMS).join(program_name("ab"));
        for (bytes, is_damaged) in [(b"program", false), (b"program", true)] {
            if is_damaged {
                std::fs::write(&path, b"pro").expect("it can be written");
            }
            keep(dir.path(), "ab", bytes).expect("there is room");
            assert_eq!(std::fs::read(&path).expect("it is there"), bytes);
        }
        let files = std::fs::read_dir(dir.path().join(PROGRAMS)).expect("it is there");
        assert_eq!(files.count(), 1, "nothing else is left");
    }
}
