//! The files of the ranks of one node.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use super::CheckpointError;
use super::births::{Birth, Births};
use super::blocks::{self, BlockRef};
use super::directory::rank_name;
use super::disk::{Syncers, at};
use super::format::{RankFile, RankIndex, SavedRank};
use super::image::Tombstone;
use super::round::Deposit;
use super::writer::Unfinished;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A rank of a cut that is being written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct WrittenRank {
    pub(crate) rank: u32,
    pub(super) saved: SavedRank,
    /// As its [`Deposit`] has them.
    pub(super) bonds: Vec<Vec<u32>>,
    /// How it was spawned, if it was.
    pub(super) birth: Option<Birth>,
}

impl WrittenRank {
    /// A rank that needs no file.
    pub(crate) const fn ended(stone: Tombstone) -> Self {
        Self { rank: stone.rank, saved: SavedRank::Ended(stone), bonds: Vec::new(), birth: None }
    }
}

/// Writes the files of the ranks of one node, cut after cut.
#[derive(Debug, Default)]
pub(crate) struct RanksWriter {
    /// For the last cuts that were written, whole or not, the blocks of each rank.
    known: HashMap<u32, HashMap<u32, Blocks>>,
    /// The programs of spawned processes that are in the directory.
    kept: HashSet<[u8; 32]>,
}

/// Where each block of a memory lies.
type Blocks = HashMap<u32, BlockRef>;

impl RanksWriter {
    /// Writes what ranks have left behind; those that have ended need no file. After an error some of it may be there.
    pub(crate) fn write(
        &mut self,
        unfinished: &Unfinished,
        (deposits, ended): (&[Deposit], &[Tombstone]),
        births: &Births,
    ) -> Result<Vec<WrittenRank>, CheckpointError> {
        let (dir, cut) = (unfinished.path(), unfinished.cut);
        self.known.retain(|known, _| Some(*known) == unfinished.base);
        let none = HashMap::new();
        let base = unfinished.base.and_then(|base| self.known.get(&base));
        let ranks = Syncers::with(|syncers| {
            let write = |deposit: &Deposit| {
                let known = base.and_then(|base| base.get(&deposit.rank)).unwrap_or(&none);
                let path = dir.join(rank_name(deposit.rank));
                write_rank(syncers, &path, (cut, known), deposit)
                    .map_err(at(&path, "cannot be written"))
            };
            deposits.par_iter().map(write).collect::<Result<Vec<_>, _>>()
        })?;
        let spawned: Vec<_> = deposits.iter().map(|deposit| births.of(deposit.rank)).collect();
        for birth in spawned.iter().flatten() {
            if !self.kept.contains(&birth.hash) {
                births.keep_program_in(&unfinished.dir, birth.hash)?;
                self.kept.insert(birth.hash);
            }
        }
        let mut written: Vec<_> = ended.iter().copied().map(WrittenRank::ended).collect();
        let mut known = HashMap::new();
        for ((deposit, birth), (file, blocks)) in deposits.iter().zip(spawned).zip(ranks) {
            let (rank, bonds) = (deposit.rank, deposit.bonds.clone());
            let birth = birth.map(|birth| birth.to_keep());
            written.push(WrittenRank { rank, saved: SavedRank::File(file), bonds, birth });
            let blocks = blocks.into_iter().map(|block| (block.number, block));
            known.insert(deposit.rank, blocks.collect());
        }
        self.known.insert(cut, known);
        Ok(written)
    }
}

fn write_rank(
    syncers: &Syncers,
    path: &Path,
    (cut, known): (u32, &Blocks),
    deposit: &Deposit,
) -> io::Result<(RankFile, Vec<BlockRef>)> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, syncers.create(path)?);
    let mut offset = 0;
    let memory = (&deposit.memory, deposit.image.memory_bytes);
    let blocks = blocks::write(memory, cut, known, &mut out, &mut offset)?;
    let index = RankIndex { image: deposit.image.clone(), blocks };
    let encoded = postcard::to_stdvec(&index).map_err(io::Error::other)?;
    out.write_all(&encoded)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    let hash = *blake3::hash(&encoded).as_bytes();
    Ok((RankFile { offset, bytes: encoded.len() as u64, hash }, index.blocks))
}
