//! What is in the files of a cut.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::births::Birth;
use super::blocks::BlockRef;
use super::image::{RankImage, Tombstone};
use super::{CheckpointError, Description};

/// What a manifest begins with.
const MAGIC: [u8; 8] = *b"FAASMCUT";
/// Version of the format. It changes with every change of what is written.
const VERSION: u32 = 7;

/// The whole cut, but for what is in the ranks' own files.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) cut: u32,
    pub(super) description: Description,
    /// Nanoseconds since the job began.
    pub(super) elapsed_ns: u64,
    pub(super) world: Vec<u8>,
    pub(super) ranks: Vec<SavedRank>,
    /// What the processes that had not ended and were spawned were spawned with, in their order.
    pub(super) births: Vec<(u32, Birth)>,
    /// Ranks that have to be on one node, because they share memory.
    pub(super) bonds: Vec<Vec<u32>>,
}

/// What there is of a rank.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum SavedRank {
    /// A file.
    File(RankFile),
    /// It had ended.
    Ended(Tombstone),
}

/// Where in a rank's file its index lies: behind everything else.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct RankFile {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) hash: [u8; 32],
}

impl SavedRank {
    /// Bytes of its file.
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.offset.saturating_add(file.bytes),
            Self::Ended(_) => 0,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RankIndex {
    pub(super) image: RankImage,
    pub(super) blocks: Vec<BlockRef>,
}

pub(super) fn encode(manifest: &Manifest) -> io::Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    let mut bytes = postcard::to_extend(manifest, bytes).map_err(io::Error::other)?;
    let hash = *blake3::hash(&bytes).as_bytes();
    bytes.extend(hash);
    Ok(bytes)
}

/// The manifest of `cut` from what is in its file.
pub(super) fn decode(path: &Path, cut: u32, bytes: &[u8]) -> Result<Manifest, CheckpointError> {
    let damaged = |why: &str| CheckpointError::damaged(path, why);
    let Some((content, hash)) = bytes.split_last_chunk::<32>() else {
        return Err(damaged("it is too short"));
    };
    let Some(content) = content.strip_prefix(&MAGIC) else {
        return Err(damaged("it is no manifest of a checkpoint"));
    };
    let Some((version, content)) = content.split_first_chunk::<4>() else {
        return Err(damaged("it is too short"));
    };
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(CheckpointError::Version { path: path.to_owned(), found, known: VERSION });
    }
    if blake3::hash(&bytes[..bytes.len() - 32]).as_bytes() != hash {
        return Err(damaged("its checksum is wrong"));
    }
    let manifest: Manifest =
        postcard::from_bytes(content).map_err(|error| damaged(&error.to_string()))?;
    if manifest.is_consistent(cut) { Ok(manifest) } else { Err(damaged("it contradicts itself")) }
}

impl Manifest {
    fn is_consistent(&self, cut: u32) -> bool {
        let first = self.description.apps.iter().map(|app| u64::from(app.ranks)).sum::<u64>();
        let processes = self.ranks.len() as u64;
        let stones = (0..).zip(&self.ranks).all(|(number, rank)| match rank {
            SavedRank::Ended(stone) => stone.rank == number,
            SavedRank::File(_) => true,
        });
        let lives = |rank: &SavedRank| matches!(rank, SavedRank::File(_));
        let somebody = self.ranks.iter().any(lives);
        let known = self.bonds.iter().flatten().all(|rank| u64::from(*rank) < processes);
        let spawned = (0..).zip(&self.ranks).skip(usize::try_from(first).unwrap_or(usize::MAX));
        let spawned = spawned.filter(|(_, rank)| lives(rank)).map(|(number, _)| number);
        let births = self.births.iter().map(|(rank, _)| *rank).eq(spawned);
        self.cut == cut && processes >= first && stones && somebody && known && births
    }
}
