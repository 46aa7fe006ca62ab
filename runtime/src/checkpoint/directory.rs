//! Cuts in a directory: written whole or not at all, checked when they are read.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use faasm_vm::{GuestAddr, GuestMemory};
use parking_lot::Mutex;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::blocks::{self, BLOCK_BYTES, BlockRef};
use super::image::RankImage;
use super::round::Deposit;
use super::{CheckpointError, Cut, Description};

/// What a manifest begins with.
const MAGIC: [u8; 8] = *b"FAASMCUT";
/// Version of the format. It changes with every change of what is written.
const VERSION: u32 = 1;
/// Every so many-th cut is written in full, so that no cut needs files of many others.
const FULL_EVERY: u32 = 16;
/// Longest manifest and index that are read: far more than the largest job has.
const BYTES_MAX: u64 = 4 << 30;
const MANIFEST: &str = "manifest";
const PROGRAMS: &str = "programs";
/// A file in a cut that is being written.
const NONCE: &str = "nonce";

/// The whole cut, but for what is in the ranks' own files.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    cut: u32,
    description: Description,
    /// Nanoseconds since the job began.
    elapsed_ns: u64,
    world: Vec<u8>,
    ranks: Vec<RankFile>,
}

/// Where in a rank's file its index lies.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct RankFile {
    offset: u64,
    bytes: u64,
    hash: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
struct RankIndex {
    image: RankImage,
    blocks: Vec<BlockRef>,
}

/// Writes the cuts of one job into a directory: what concerns the whole job. The ranks' own files are written by a
/// [`RanksWriter`], maybe on other nodes.
#[derive(Debug)]
pub(crate) struct Writer {
    dir: PathBuf,
    keep: usize,
    description: Description,
    next: u32,
    /// The last whole cut of this job.
    last: Option<u32>,
    ranks: RanksWriter,
}

/// A cut that is being written, as those are told of it who write its ranks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unfinished {
    /// The directory of all cuts.
    pub(crate) dir: PathBuf,
    /// The number that it will have.
    pub(crate) cut: u32,
    /// The cut whose blocks need not be written again.
    pub(crate) base: Option<u32>,
    /// What is in a file there, so that a node knows that it sees the same directory.
    pub(crate) nonce: [u8; 32],
}

/// A rank whose file is written: where in it its index lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct WrittenRank {
    pub(crate) rank: u32,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) hash: [u8; 32],
}

impl Unfinished {
    fn path(&self) -> PathBuf {
        self.dir.join(format!(".cut-{:06}", self.cut))
    }

    /// Checks that this is the directory of whoever began the cut.
    ///
    /// # Errors
    /// It is another one, or cannot be read.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        let path = self.path().join(NONCE);
        match fs::read(&path) {
            Ok(found) if found == self.nonce => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(at(&path, "cannot be read")(error))
            }
            _ => Err(CheckpointError::Hindered(format!(
                "{} is not the same directory on all nodes; it must be on a file system that they share, \
                 mounted under one path",
                self.dir.display()
            ))),
        }
    }
}

impl Writer {
    /// Prepares `dir` for the cuts of a job, whose programs have these hashes and bytes. Cuts that are there already
    /// stay until newer ones take their place.
    pub(crate) fn new(
        dir: &Path,
        keep: usize,
        description: Description,
        programs: &[(String, &[u8])],
    ) -> Result<Self, CheckpointError> {
        let store = dir.join(PROGRAMS);
        fs::create_dir_all(&store).map_err(at(&store, "cannot be made"))?;
        for (hash, bytes) in programs {
            let path = store.join(format!("{hash}.wasm"));
            let is_there = fs::read(&path).is_ok_and(|there| there == *bytes);
            if !is_there {
                let temporary = store.join(format!(".{hash}.{}", std::process::id()));
                write_durably(&temporary, bytes).map_err(at(&temporary, "cannot be written"))?;
                fs::rename(&temporary, &path).map_err(at(&path, "cannot be put there"))?;
            }
        }
        let next = cuts(dir)?.last().map_or(1, |last| last + 1);
        remove_unfinished(dir);
        let (dir, keep) = (dir.to_owned(), keep.max(1));
        Ok(Self { dir, keep, description, next, last: None, ranks: RanksWriter::default() })
    }

    /// Writes what all ranks have left behind as a cut, and removes cuts that are no longer kept. After an error
    /// nothing of it is left, and earlier cuts are whole.
    pub(crate) fn write(
        &mut self,
        world: Vec<u8>,
        elapsed_ns: u64,
        deposits: &[Deposit],
    ) -> Result<Cut, CheckpointError> {
        let unfinished = self.begin()?;
        match self.ranks.write(&unfinished, deposits) {
            Ok(ranks) => self.finish(&unfinished, (world, elapsed_ns), ranks),
            Err(error) => {
                self.abandon(&unfinished);
                Err(error)
            }
        }
    }

    /// Makes a place for the next cut. [`Writer::finish`] or [`Writer::abandon`] follows.
    pub(crate) fn begin(&self) -> Result<Unfinished, CheckpointError> {
        let cut = self.next;
        let base = self.last.filter(|_| !cut.is_multiple_of(FULL_EVERY));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let words = format!("{} {} {now:?}", std::process::id(), self.dir.display());
        let nonce = *blake3::hash(words.as_bytes()).as_bytes();
        let unfinished = Unfinished { dir: self.dir.clone(), cut, base, nonce };
        let path = unfinished.path();
        fs::create_dir(&path).map_err(at(&path, "cannot be made"))?;
        let told = fs::write(path.join(NONCE), nonce).map_err(at(&path, "cannot be written to"));
        told.inspect_err(|_| self.abandon(&unfinished))?;
        Ok(unfinished)
    }

    /// Makes a cut of what has been begun, when the files of all ranks are written, and removes cuts that are no longer
    /// kept. After an error nothing of it is left, and earlier cuts are whole.
    pub(crate) fn finish(
        &mut self,
        unfinished: &Unfinished,
        (world, elapsed_ns): (Vec<u8>, u64),
        ranks: Vec<WrittenRank>,
    ) -> Result<Cut, CheckpointError> {
        let place = cut_dir(&self.dir, unfinished.cut);
        let written = self.write_manifest(unfinished, (world, elapsed_ns), ranks);
        let placed = written.and_then(|bytes| {
            fs::rename(unfinished.path(), &place).map_err(at(&place, "cannot be put there"))?;
            Ok(bytes)
        });
        let bytes = placed.inspect_err(|_| self.abandon(unfinished))?;
        // The name is taken, even if the disk does not say that it has it.
        self.next += 1;
        sync_dir(&self.dir).map_err(at(&self.dir, "cannot be made durable"))?;
        self.last = Some(unfinished.cut);
        self.prune();
        Ok(Cut { number: unfinished.cut, bytes })
    }

    /// Removes what has been begun.
    pub(crate) fn abandon(&self, unfinished: &Unfinished) {
        // What cannot be removed is removed by the next job that writes here.
        let _ = fs::remove_dir_all(unfinished.path());
    }

    fn write_manifest(
        &self,
        unfinished: &Unfinished,
        (world, elapsed_ns): (Vec<u8>, u64),
        mut ranks: Vec<WrittenRank>,
    ) -> Result<u64, CheckpointError> {
        ranks.sort_unstable_by_key(|written| written.rank);
        let size: u32 = self.description.apps.iter().map(|app| app.ranks).sum();
        if !ranks.iter().map(|written| written.rank).eq(0..size) {
            let why = format!("{} ranks of {size} have been written", ranks.len());
            return Err(CheckpointError::Hindered(why));
        }
        let bytes: u64 = ranks.iter().map(|rank| rank.offset.saturating_add(rank.bytes)).sum();
        let file = |rank: WrittenRank| {
            let WrittenRank { offset, bytes, hash, .. } = rank;
            RankFile { offset, bytes, hash }
        };
        let (dir, description) = (unfinished.path(), self.description.clone());
        let ranks = ranks.into_iter().map(file).collect();
        let manifest = Manifest { cut: unfinished.cut, description, elapsed_ns, world, ranks };
        // Who restarts the job does not need it.
        fs::remove_file(dir.join(NONCE)).map_err(at(&dir, "cannot be changed"))?;
        let path = dir.join(MANIFEST);
        let encoded = encode(&manifest).map_err(at(&path, "cannot be encoded"))?;
        write_durably(&path, &encoded).map_err(at(&path, "cannot be written"))?;
        sync_dir(&dir).map_err(at(&dir, "cannot be made durable"))?;
        Ok(bytes + encoded.len() as u64)
    }

    /// Removes the cuts before those that are kept, except files that they refer to.
    fn prune(&self) {
        let Ok(all) = cuts(&self.dir) else { return };
        let kept = &all[all.len().saturating_sub(self.keep)..];
        let mut needed = BTreeSet::new();
        for cut in kept {
            // A cut that cannot be read may need any file.
            let Ok(checkpoint) = Checkpoint::open(&self.dir, Some(*cut)) else { return };
            for rank in 0..checkpoint.ranks() {
                let Ok(index) = checkpoint.index(rank) else { return };
                needed.extend(index.blocks.iter().map(|block| (block.cut, rank)));
            }
        }
        let Some(first_kept) = kept.first() else { return };
        for cut in numbers(&self.dir).into_iter().filter(|cut| cut < first_kept) {
            remove_cut(&cut_dir(&self.dir, cut), cut, &needed);
        }
    }
}

/// Writes the files of the ranks of one node, cut after cut.
#[derive(Debug, Default)]
pub(crate) struct RanksWriter {
    /// For the last cuts that were written, whole or not, the blocks of each rank.
    known: HashMap<u32, HashMap<u32, Blocks>>,
}

/// Where each block of a memory lies.
type Blocks = HashMap<u32, BlockRef>;

impl RanksWriter {
    /// Writes what ranks have left behind. After an error some of it may be there.
    pub(crate) fn write(
        &mut self,
        unfinished: &Unfinished,
        deposits: &[Deposit],
    ) -> Result<Vec<WrittenRank>, CheckpointError> {
        let (dir, cut) = (unfinished.path(), unfinished.cut);
        self.known.retain(|known, _| Some(*known) == unfinished.base);
        let none = HashMap::new();
        let base = unfinished.base.and_then(|base| self.known.get(&base));
        let write = |deposit: &Deposit| {
            let known = base.and_then(|base| base.get(&deposit.rank)).unwrap_or(&none);
            let path = dir.join(rank_name(deposit.rank));
            write_rank(&path, cut, known, deposit).map_err(at(&path, "cannot be written"))
        };
        let ranks: Vec<_> = deposits.par_iter().map(write).collect::<Result<_, _>>()?;
        let (mut written, mut known) = (Vec::new(), HashMap::new());
        for (deposit, (RankFile { offset, bytes, hash }, blocks)) in deposits.iter().zip(ranks) {
            let rank = deposit.rank;
            written.push(WrittenRank { rank, offset, bytes, hash });
            let blocks = blocks.into_iter().map(|block| (block.number, block));
            known.insert(rank, blocks.collect());
        }
        self.known.insert(cut, known);
        Ok(written)
    }
}

/// Removes what is not `needed` of a cut. A file that stays for now is tried again after the next cut.
fn remove_cut(dir: &Path, cut: u32, needed: &BTreeSet<(u32, u32)>) {
    let _ = fs::remove_file(dir.join(MANIFEST));
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let rank = name.to_str().and_then(|name| name.strip_prefix("rank-")?.parse().ok());
        if !rank.is_some_and(|rank| needed.contains(&(cut, rank))) {
            let _ = fs::remove_file(entry.path());
        }
    }
    // It stays as long as something is in it.
    let _ = fs::remove_dir(dir);
}

/// What a job that ended in the middle of a cut has left.
fn remove_unfinished(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(".cut-")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn write_rank(
    path: &Path,
    cut: u32,
    known: &HashMap<u32, BlockRef>,
    deposit: &Deposit,
) -> io::Result<(RankFile, Vec<BlockRef>)> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    let mut offset = 0;
    let blocks = blocks::write(&deposit.memory, cut, known, &mut out, &mut offset)?;
    let index = RankIndex { image: deposit.image.clone(), blocks };
    let encoded = postcard::to_stdvec(&index).map_err(io::Error::other)?;
    out.write_all(&encoded)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    let hash = *blake3::hash(&encoded).as_bytes();
    Ok((RankFile { offset, bytes: encoded.len() as u64, hash }, index.blocks))
}

/// A cut that was found whole.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    manifest: Manifest,
    /// Files of ranks that are open, by cut and rank.
    files: Mutex<HashMap<(u32, u32), File>>,
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
        let damaged = |why: &str| CheckpointError::damaged(&path, why);
        let bytes = read_bounded(&path, BYTES_MAX).map_err(at(&path, "cannot be read"))?;
        let manifest: Manifest = decode(&path, &bytes)?;
        let ranks = manifest.description.apps.iter().map(|app| u64::from(app.ranks)).sum::<u64>();
        if manifest.cut != cut || manifest.ranks.len() as u64 != ranks || ranks == 0 {
            return Err(damaged("it contradicts itself"));
        }
        Ok(Self { dir: dir.to_owned(), manifest, files: Mutex::default() })
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        self.manifest.cut
    }

    /// Number of the job's ranks.
    pub fn ranks(&self) -> u32 {
        self.manifest.ranks.len() as u32
    }

    /// What the job was.
    pub const fn description(&self) -> &Description {
        &self.manifest.description
    }

    /// Where the program with this hash is.
    pub fn program(&self, hash: &str) -> PathBuf {
        self.dir.join(PROGRAMS).join(format!("{hash}.wasm"))
    }

    /// Nanoseconds that the job had run.
    pub(crate) const fn elapsed_ns(&self) -> u64 {
        self.manifest.elapsed_ns
    }

    /// What the ranks shared.
    pub(crate) fn world(&self) -> &[u8] {
        &self.manifest.world
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
        if memory.len() != image.memory_bytes {
            return Err(damaged("the memory has another size"));
        }
        // What is not written is zero; a new memory has the program's data in it.
        memory.fill(GuestAddr::new(0), 0, memory.len()).map_err(|_| damaged("its memory"))?;
        for block in &blocks {
            let start = u64::from(block.number) * BLOCK_BYTES;
            let len = memory.len().saturating_sub(start).min(BLOCK_BYTES) as usize;
            let content = self.block(rank, block, len)?;
            memory.write(GuestAddr::new(start), &content).map_err(|_| damaged("a block"))?;
        }
        Ok(())
    }

    fn block(&self, rank: u32, block: &BlockRef, len: usize) -> Result<Vec<u8>, CheckpointError> {
        let path = self.rank_path(block.cut, rank);
        if u64::from(block.stored_bytes) > 2 * BLOCK_BYTES {
            return Err(CheckpointError::damaged(&path, "a block is too long"));
        }
        let mut files = self.files.lock();
        let file = match files.entry((block.cut, rank)) {
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
        let known = self.manifest.ranks[rank as usize];
        let damaged = |why: &str| CheckpointError::damaged(&path, why);
        if known.bytes > BYTES_MAX {
            return Err(damaged("its index is too long"));
        }
        let mut file = File::open(&path).map_err(at(&path, "cannot be opened"))?;
        let bytes = read_at(&mut file, known.offset, known.bytes);
        let bytes = bytes.map_err(at(&path, "cannot be read"))?;
        if *blake3::hash(&bytes).as_bytes() != known.hash {
            return Err(damaged("its index is not what was written"));
        }
        postcard::from_bytes(&bytes).map_err(|error| damaged(&error.to_string()))
    }

    fn rank_path(&self, cut: u32, rank: u32) -> PathBuf {
        cut_dir(&self.dir, cut).join(rank_name(rank))
    }
}

fn cut_dir(dir: &Path, cut: u32) -> PathBuf {
    dir.join(format!("cut-{cut:06}"))
}

fn rank_name(rank: u32) -> String {
    format!("rank-{rank:05}")
}

/// The numbers of all cuts and their remains, in order.
fn numbers(dir: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let number =
        |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("cut-")?.parse().ok();
    let mut numbers: Vec<u32> = entries.flatten().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// The numbers of the whole cuts, in order.
fn cuts(dir: &Path) -> Result<Vec<u32>, CheckpointError> {
    fs::read_dir(dir).map_err(at(dir, "cannot be read"))?;
    let mut found = numbers(dir);
    found.retain(|cut| cut_dir(dir, *cut).join(MANIFEST).is_file());
    Ok(found)
}

fn encode(manifest: &Manifest) -> io::Result<Vec<u8>> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    let mut bytes = postcard::to_extend(manifest, bytes).map_err(io::Error::other)?;
    let hash = *blake3::hash(&bytes).as_bytes();
    bytes.extend(hash);
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, CheckpointError> {
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
    postcard::from_bytes(content).map_err(|error| damaged(&error.to_string()))
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_at(file: &mut File, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::new();
    file.take(bytes).read_to_end(&mut content)?;
    match content.len() as u64 == bytes {
        true => Ok(content),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut short")),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Names the file and what went wrong with it.
fn at<'a>(path: &'a Path, what: &'static str) -> impl Fn(io::Error) -> CheckpointError + 'a {
    move |cause| CheckpointError::Io { path: path.to_owned(), what, cause }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
