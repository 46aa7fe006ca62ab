//! A rank's MPI state as a value: written at a checkpoint, read at a restart (`MpiCtx::save`, `MpiCtx::restore`).
//!
//! ```text
//! version (4 bytes) | SavedRank in postcard's encoding
//! ```
//! It is taken while the whole job stands still, so no message is under way. Objects come back under the same
//! handles. What members of a communicator share in a node ([`crate::site::Site`], windows) is made anew by the first
//! member that is restored, and the others join it; meetings that had not all their members begin again, because
//! the interrupted calls are called anew. A message whose data is still in its sender's memory has a copy of it, because the
//! two may be on different nodes afterwards; its sender waits as before.
//!
//! A window of shared memory has pages again when the memories of its members are what they were
//! (`MpiCtx::share_windows`); all of them are on one node, as they were.
//!
//! Processes that were spawned keep their numbers, families and ports; the world that they come back to knows them from its beginning.
//!
//! Nothing else of it depends on where ranks ran: the world that they are put back into has its own placement.
//!
//! Nothing that is read is trusted: datatypes are made by their constructors, ranks, lengths and handles are checked.
//!
mod communicator;
mod message;
mod object;
mod rank;
mod request;
#[cfg(test)]
mod tests;
mod types;

use serde::{Deserialize, Serialize};

use crate::world::{SavedFamily, SavedWorld, Unlike, World};

/// Version of what is written. It changes with every change of a saved type.
pub const VERSION: u32 = 9;

/// Why a state cannot be written or read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SaveError {
    /// Something of the rank cannot be written.
    #[error("{0}")]
    Hindered(String),
    /// It was written by another version of this program.
    #[error(
        "the MPI state has version {found}, and this program reads version {VERSION}; restart with \
             the version that wrote it"
    )]
    Version {
        /// The version that was found.
        found: u32,
    },
    /// The bytes are not what was written.
    #[error("the MPI state is damaged: {0}; restart from another checkpoint")]
    Damaged(String),
    /// A file that the program had open cannot be opened again.
    #[error("the file {path} that the program had open: {reason}")]
    File {
        /// Its name.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What saving and restoring gives.
pub(crate) type Saving<T> = Result<T, SaveError>;

pub(crate) fn damaged(what: impl Into<String>) -> SaveError {
    SaveError::Damaged(what.into())
}

impl From<Unlike> for SaveError {
    fn from(_: Unlike) -> Self {
        damaged("ranks disagree about a communicator")
    }
}

fn write(value: &impl Serialize) -> Saving<Vec<u8>> {
    postcard::to_extend(value, VERSION.to_le_bytes().to_vec())
        .map_err(|error| SaveError::Hindered(format!("it cannot be encoded: {error}")))
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Saving<T> {
    let Some((version, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(damaged("it is too short"));
    };
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(SaveError::Version { found });
    }
    let (value, rest) =
        postcard::take_from_bytes(rest).map_err(|error| damaged(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(damaged("something follows it")) }
}

impl World {
    /// What the ranks share, as a value; to be taken while the job stands still.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn save(&self) -> Result<Vec<u8>, SaveError> {
        write(&self.to_saved())
    }

    /// What another node has to know of the family of a process of this one before the process can come there.
    ///
    /// # Errors
    /// When the process was not spawned.
    pub fn save_family(&self, process: u32) -> Result<Vec<u8>, SaveError> {
        let family = self.family_of(process);
        write(&family.ok_or_else(|| damaged(format!("process {process} was not spawned")))?)
    }

    /// Keeps what [`World::save_family`] gave for the job's next life.
    ///
    /// # Errors
    /// When the bytes are damaged.
    pub fn take_family(&self, saved: &[u8]) -> Result<(), SaveError> {
        let is_sound = self.learn_family(read::<SavedFamily>(saved)?);
        is_sound.then_some(()).ok_or_else(|| damaged("a family of processes"))
    }

    /// What the nodes of a job saved, each with [`World::save`], as one value; with it one more than the highest number of a
    /// process.
    ///
    /// # Errors
    /// When one of them is damaged or of another job.
    pub fn merge(saved: &[Vec<u8>]) -> Result<(Vec<u8>, u32), SaveError> {
        let parts = saved.iter().map(|bytes| read(bytes)).collect::<Saving<Vec<SavedWorld>>>()?;
        let merged = SavedWorld::merged(parts);
        let merged = merged.ok_or_else(|| damaged("nodes disagree about the job"))?;
        Ok((write(&merged)?, merged.processes()))
    }

    /// Puts back what [`World::save`] gave, before the first rank is restored. [`World::end_restore`] follows the last one.
    ///
    /// # Errors
    /// When the bytes are damaged or of another job.
    pub fn restore_from(&self, saved: &[u8]) -> Result<(), SaveError> {
        let saved: SavedWorld = read(saved)?;
        let other = || damaged("it is of a job with another number of ranks");
        self.take_saved(saved).ok_or_else(other)
    }
}
