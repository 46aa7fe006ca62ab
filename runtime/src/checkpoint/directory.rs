//! Cuts in a directory, checked when they are read.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use faasm_vm::{GuestAddr, GuestMemory};

use super::births::Birth;
use super::blocks::{self, BLOCK_BYTES, BlockRef};
use super::disk::at;
use super::format::{self, Manifest, RankIndex, SavedRank};
use super::image::{RankImage, Tombstone};
use super::{CheckpointError, Description};

/// Longest manifest and index that are read: far more than the largest job has.
const BYTES_MAX: u64 = 4 << 30;
pub(super) const MANIFEST: &str = "manifest";
pub(super) const PROGRAMS: &str = "programs";

/// A cut that was found whole.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens a cut of the directory: the latest one, or that with this number.
    ///
    /// # Errors
    /// There is none, it is damaged, or it is of another version of this program.
    pub fn open(dir: &Path, number: Option<u32>) -> Result<Self, CheckpointError> {
        let all = cuts(dir)?;
        let found = number.or_else(|| all.last().copied()).filter(|cut| all.contains(cut));
        let Some(cut) = found else {
            return Err(CheckpointError::None { dir: dir.to_owned(), number, there: all });
        };
        let path = cut_dir(dir, cut).join(MANIFEST);
        let bytes = read_bounded(&path, BYTES_MAX).map_err(at(&path, "cannot be read"))?;
        let manifest = format::decode(&path, cut, &bytes)?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        self.manifest.cut
    }

    /// The directory of checkpoints that it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of the job's processes: its ranks, and behind them those that were spawned.
    pub fn ranks(&self) -> u32 {
        self.manifest.ranks.len() as u32
    }

    /// Ranks that have to be on one node, because they share memory (`MPI_Win_allocate_shared`), group by group.
    pub fn bonds(&self) -> &[Vec<u32>] {
        &self.manifest.bonds
    }

    /// What the job was.
    pub const fn description(&self) -> &Description {
        &self.manifest.description
    }

    /// Where the program with this hash is.
    pub fn program(&self, hash: &str) -> PathBuf {
        self.dir.join(PROGRAMS).join(program_name(hash))
    }

    /// The bytes of the program with this hash.
    pub(crate) fn read_program(&self, hash: &str) -> Result<Vec<u8>, CheckpointError> {
        let path = self.program(hash);
        let bytes = read_bounded(&path, BYTES_MAX).map_err(at(&path, "cannot be read"))?;
        if blake3::hash(&bytes).to_hex().as_str() != hash {
            return Err(CheckpointError::damaged(&path, "it is not the program that was kept"));
        }
        Ok(bytes)
    }

    /// How a process was spawned, if it was and had not ended.
    pub(crate) fn birth(&self, rank: u32) -> Option<&Birth> {
        let births = &self.manifest.births;
        let index = births.binary_search_by_key(&rank, |(rank, _)| *rank).ok()?;
        births.get(index).map(|(_, birth)| birth)
    }

    /// Nanoseconds that the job had run.
    pub(crate) const fn elapsed_ns(&self) -> u64 {
        self.manifest.elapsed_ns
    }

    /// What the ranks shared.
    pub(crate) fn world(&self) -> &[u8] {
        &self.manifest.world
    }

    /// Whether a process had ended.
    pub fn has_ended(&self, rank: u32) -> bool {
        self.tombstone(rank).is_some()
    }

    /// How a rank had ended, if it had.
    pub(crate) fn tombstone(&self, rank: u32) -> Option<Tombstone> {
        match self.manifest.ranks.get(rank as usize)? {
            SavedRank::Ended(stone) => Some(*stone),
            SavedRank::File(_) => None,
        }
    }

    /// A rank without the content of its memory.
    pub(crate) fn image(&self, rank: u32) -> Result<RankImage, CheckpointError> {
        Ok(self.index(rank)?.image)
    }

    /// Makes the memory, which is as large as it was, what it was.
    pub(crate) fn fill(&self, rank: u32, memory: &GuestMemory) -> Result<(), CheckpointError> {
        let RankIndex { image, blocks } = self.index(rank)?;
        let path = self.rank_path(self.manifest.cut, rank);
        let damaged = |why: &str| CheckpointError::damaged(&path, why);
        let size = image.memory_bytes;
        if size > memory.len() {
            return Err(damaged("the memory has another size"));
        }
        // What is not written is zero; a new memory has the program's data in it.
        memory.fill(GuestAddr::new(0), 0, size).map_err(|_| damaged("its memory"))?;
        let mut files = HashMap::new();
        for block in &blocks {
            let start = u64::from(block.number) * BLOCK_BYTES;
            let len = size.saturating_sub(start).min(BLOCK_BYTES) as usize;
            let content = self.block(&mut files, rank, block, len)?;
            memory.write(GuestAddr::new(start), &content).map_err(|_| damaged("a block"))?;
        }
        Ok(())
    }

    /// The content of a block; `files` holds the rank's open files by cut.
    fn block(
        &self,
        files: &mut HashMap<u32, File>,
        rank: u32,
        block: &BlockRef,
        len: usize,
    ) -> Result<Vec<u8>, CheckpointError> {
        let path = self.rank_path(block.cut, rank);
        if u64::from(block.stored_bytes) > 2 * BLOCK_BYTES {
            return Err(CheckpointError::damaged(&path, "a block is too long"));
        }
        let file = match files.entry(block.cut) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(File::open(&path).map_err(at(&path, "cannot be opened"))?)
            }
        };
        let stored = read_at(file, block.offset, u64::from(block.stored_bytes));
        let stored = stored.map_err(at(&path, "cannot be read"))?;
        let content = blocks::read(block, stored, len);
        content.ok_or_else(|| {
            CheckpointError::damaged(&path, "a part of the memory is not what was written")
        })
    }

    fn index(&self, rank: u32) -> Result<RankIndex, CheckpointError> {
        let path = self.rank_path(self.manifest.cut, rank);
        let damaged = |why: &str| CheckpointError::damaged(&path, why);
        let Some(SavedRank::File(known)) = self.manifest.ranks.get(rank as usize) else {
            return Err(damaged("the rank had ended"));
        };
        if known.bytes > BYTES_MAX {
            return Err(damaged("its index is too long"));
        }
        let file = File::open(&path).map_err(at(&path, "cannot be opened"))?;
        let bytes = read_at(&file, known.offset, known.bytes);
        let bytes = bytes.map_err(at(&path, "cannot be read"))?;
        if *blake3::hash(&bytes).as_bytes() != known.hash {
            return Err(damaged("its index is not what was written"));
        }
        postcard::from_bytes(&bytes).map_err(|error| damaged(&error.to_string()))
    }

    /// All files of ranks that it needs, as cut and rank.
    pub(super) fn files(&self) -> Result<BTreeSet<(u32, u32)>, CheckpointError> {
        let mut needed = BTreeSet::new();
        for rank in (0..self.ranks()).filter(|rank| self.tombstone(*rank).is_none()) {
            needed.extend(self.index(rank)?.blocks.iter().map(|block| (block.cut, rank)));
        }
        Ok(needed)
    }

    fn rank_path(&self, cut: u32, rank: u32) -> PathBuf {
        cut_dir(&self.dir, cut).join(rank_name(rank))
    }
}

pub(super) fn program_name(hash: &str) -> String {
    format!("{hash}.wasm")
}

pub(super) fn cut_dir(dir: &Path, cut: u32) -> PathBuf {
    dir.join(format!("cut-{cut:06}"))
}

pub(super) fn rank_name(rank: u32) -> String {
    format!("rank-{rank:05}")
}

/// The numbers of all cuts and their remains, in order.
pub(super) fn numbers(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let number =
        |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("cut-")?.parse().ok();
    let mut numbers: Vec<u32> = entries.flatten().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// The numbers of the whole cuts, in order.
pub(super) fn cuts(dir: &Path) -> Result<Vec<u32>, CheckpointError> {
    fs::read_dir(dir).map_err(at(dir, "cannot be read"))?;
    let mut found = numbers(dir);
    found.retain(|cut| cut_dir(dir, *cut).join(MANIFEST).is_file());
    Ok(found)
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_at(file: &File, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    // Nothing is made as long as a damaged file says.
    let there = file.metadata()?.len();
    if offset.checked_add(bytes).is_none_or(|end| end > there) {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut short"));
    }
    let mut content = vec![0; bytes as usize];
    file.read_exact_at(&mut content, offset)?;
    Ok(content)
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
