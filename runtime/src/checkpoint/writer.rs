//! Writes cuts: whole or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::births::{self, Births};
use super::directory::{Checkpoint, MANIFEST, PROGRAMS, cut_dir, cuts, numbers};
use super::disk::{self, at, sync_dir, write_durably};
use super::format::{self, Manifest};
use super::image::Tombstone;
use super::ranks::{RanksWriter, WrittenRank};
use super::round::Deposit;
use super::{CheckpointError, Common, Cut, Description};

/// Every so many-th cut is written in full, so that no cut needs files of many others.
pub(super) const FULL_EVERY: u32 = 16;
/// A file in a cut that is being written.
const NONCE: &str = "nonce";

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

impl Unfinished {
    pub(super) fn path(&self) -> PathBuf {
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
        disk::create_dir_all(&store).map_err(at(&store, "cannot be made"))?;
        for (hash, bytes) in programs {
            births::keep(dir, hash, bytes)?;
        }
        for dir in [&store, dir] {
            sync_dir(dir).map_err(at(dir, "cannot be made durable"))?;
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
        common: Common,
        left: (&[Deposit], &[Tombstone]),
        births: &Births,
    ) -> Result<Cut, CheckpointError> {
        let unfinished = self.begin()?;
        match self.ranks.write(&unfinished, left, births) {
            Ok(ranks) => self.finish(&unfinished, common, ranks),
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
        if path.exists() {
            // What was abandoned and could not be removed then.
            disk::remove_dir_all(&path).map_err(at(&path, "cannot be removed"))?;
        }
        disk::create_dir(&path).map_err(at(&path, "cannot be made"))?;
        let told = write_durably(&path.join(NONCE), &nonce);
        let told = told.map_err(at(&path, "cannot be written to"));
        told.inspect_err(|_| self.abandon(&unfinished))?;
        Ok(unfinished)
    }

    /// Makes a cut of what has been begun, when the files of all ranks are written, and removes cuts that are no longer
    /// kept. After an error nothing of it is left, and earlier cuts are whole.
    pub(crate) fn finish(
        &mut self,
        unfinished: &Unfinished,
        common: Common,
        ranks: Vec<WrittenRank>,
    ) -> Result<Cut, CheckpointError> {
        let place = cut_dir(&self.dir, unfinished.cut);
        let written = self.write_manifest(unfinished, common, ranks);
        let placed = written.and_then(|bytes| {
            disk::rename(&unfinished.path(), &place).map_err(at(&place, "cannot be put there"))?;
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
        // What cannot be removed is removed before the next cut.
        let _ = disk::remove_dir_all(&unfinished.path());
    }

    fn write_manifest(
        &self,
        unfinished: &Unfinished,
        Common { world, processes, elapsed_ns }: Common,
        mut ranks: Vec<WrittenRank>,
    ) -> Result<u64, CheckpointError> {
        let first: u32 = self.description.apps.iter().map(|app| app.ranks).sum();
        fill_gaps(&mut ranks, first..processes);
        ranks.sort_unstable_by_key(|written| written.rank);
        if !ranks.iter().map(|written| written.rank).eq(0..processes) {
            let why = format!("{} ranks of {processes} have been written", ranks.len());
            return Err(CheckpointError::Hindered(why));
        }
        let births =
            ranks.iter_mut().filter_map(|written| Some((written.rank, written.birth.take()?)));
        let births = births.collect();
        let bonds = ranks.iter_mut().flat_map(|written| std::mem::take(&mut written.bonds));
        let bonds = bonds.collect();
        let ranks: Vec<_> = ranks.into_iter().map(|written| written.saved).collect();
        let bytes: u64 = ranks.iter().map(|saved| saved.bytes()).sum();
        let (dir, description) = (unfinished.path(), self.description.clone());
        let cut = unfinished.cut;
        let manifest = Manifest { cut, description, elapsed_ns, world, ranks, births, bonds };
        // Who restarts the job does not need it.
        disk::remove_file(&dir.join(NONCE)).map_err(at(&dir, "cannot be changed"))?;
        let path = dir.join(MANIFEST);
        let encoded = format::encode(&manifest).map_err(at(&path, "cannot be encoded"))?;
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
            let Ok(files) = checkpoint.files() else { return };
            needed.extend(files);
        }
        let Some(first_kept) = kept.first() else { return };
        let mut old = numbers(&self.dir);
        old.retain(|cut| cut < first_kept);
        // First none of them counts as whole: a later one may refer to files of an earlier one.
        old.iter().for_each(|cut| remove_manifest(&cut_dir(&self.dir, *cut)));
        old.iter().for_each(|cut| remove_cut(&cut_dir(&self.dir, *cut), *cut, &needed));
    }
}

/// Nobody has had some of the numbers behind those of the first ranks, where processes were spawned on some nodes only: to
/// whoever looks for such a process it has ended.
fn fill_gaps(ranks: &mut Vec<WrittenRank>, spawned: std::ops::Range<u32>) {
    let there: BTreeSet<u32> = ranks.iter().map(|written| written.rank).collect();
    let nobody = |rank| WrittenRank::ended(Tombstone { rank, code: 0, messages: 0, bytes: 0 });
    ranks.extend(spawned.filter(|rank| !there.contains(rank)).map(nobody));
}

/// Without its manifest nobody looks for the rest of a cut, also after a power failure.
fn remove_manifest(dir: &Path) {
    if disk::remove_file(&dir.join(MANIFEST)).is_ok() {
        let _ = sync_dir(dir);
    }
}

/// Removes what is not `needed` of a cut. A file that stays for now is tried again after the next cut.
fn remove_cut(dir: &Path, cut: u32, needed: &BTreeSet<(u32, u32)>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let rank = name.to_str().and_then(|name| name.strip_prefix("rank-")?.parse().ok());
        if !rank.is_some_and(|rank| needed.contains(&(cut, rank))) {
            let _ = disk::remove_file(&entry.path());
        }
    }
    // It stays as long as something is in it.
    let _ = disk::remove_dir(dir);
}

/// What a job that ended in the middle of a cut has left.
fn remove_unfinished(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(".cut-")) {
            let _ = disk::remove_dir_all(&entry.path());
        }
    }
}
