//! Checkpoints: the state of a whole job as a value in a directory.
//!
//! ```text
//! DIR/programs/HASH.wasm      the programs, under the hash of their bytes
//! DIR/cut-000007/rank-00003   blocks of the rank's memory, then its index: stack, globals, MPI state, open files,
//!                             and where each block lies, here or in the same file of an earlier cut
//! DIR/cut-000007/manifest     "FAASMCUT" | version (4) | postcard of the manifest | BLAKE3 of all that (32)
//! ```
//! A rank that had ended has no file; the manifest has its exit code and its traffic. Of a process that was spawned it has
//! what it was spawned with, and its program is among the others.
//!
//! Memory is compared in blocks of 64 KiB: one that has not changed since the last cut is not written again, one of
//! zeros never. Blocks are compressed with zstd where that gains something; each has a hash, each index has its hash in the manifest, which
//! is written last, in a directory that gets its name when everything in it is on the disk. So a cut is there as a
//! whole or not at all, whenever the machine stops.
//!
//! `ranks` writes the files of one node's ranks on all cores, and the disk works meanwhile; `writer` the rest of a cut;
//! `disk` does every step of that, so that tests can stop before each (`faults`); `directory` reads.
//!
//! How a cut comes about is told in [`faasm_mpi_shim::gate`].
//!
//! # Unfinished features
//! A restarted job needs the same standard input from its beginning, of which it skips what
//! was read.

mod births;
mod blocks;
mod directory;
mod disk;
#[cfg(test)]
mod faults;
mod format;
mod image;
mod muster;
mod ranks;
mod round;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::module::Program;

pub(crate) use births::{Birth, Births, SavedDir};
pub use directory::Checkpoint;
pub(crate) use image::{
    Bits, RankImage, SavedOffer, SavedSource, ThreadImage, ThreadsImage, Tombstone,
};
pub(crate) use muster::Muster;
pub(crate) use ranks::{RanksWriter, WrittenRank};
pub(crate) use round::{Deposit, Gathered, Rounds};
pub(crate) use writer::{Unfinished, Writer};

/// How checkpoints of a job are made.
#[derive(Clone, Debug)]
pub struct CheckpointOptions {
    /// The directory.
    pub dir: PathBuf,
    /// So many are kept; at least one.
    pub keep: usize,
    /// How the job was begun, for whoever restarts it.
    pub command: Vec<String>,
    /// The working directory of whoever began it; that of this process without.
    pub directory: Option<PathBuf>,
    /// The job's programs, which are kept with its checkpoints.
    pub programs: Vec<Program>,
}

/// What a job is, for its restart.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Its programs, in rank order.
    pub apps: Vec<SavedApp>,
    /// How it was begun.
    pub command: Vec<String>,
    /// The working directory of whoever began it.
    pub directory: String,
}

/// One program of a job.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SavedApp {
    /// What it is called.
    pub name: String,
    /// The hash of its bytes.
    pub hash: String,
    /// Number of its ranks.
    pub ranks: u32,
}

/// What is written of a job beside its ranks.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    /// What the ranks share.
    pub(crate) world: Vec<u8>,
    /// One more than the highest number of a process.
    pub(crate) processes: u32,
    /// Nanoseconds since the job began.
    pub(crate) elapsed_ns: u64,
}

/// A checkpoint that was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut {
    /// Its number in the directory.
    pub number: u32,
    /// Bytes that were written for it.
    pub bytes: u64,
}

/// Why there is no checkpoint, or why it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or directory.
    #[error("{path}: it {what}: {cause}; check the path, its permissions and the room on the disk")]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// Something else is in it than was written.
    #[error(
        "{path}: {why}; the checkpoint is damaged or incomplete. Restart from an earlier one (--cut N)"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It has another format.
    #[error(
        "{path}: it has version {found} of the format, and this program reads version {known}; restart with the version that wrote it"
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// There is no such cut.
    #[error("{dir}: there is no {}; there are the cuts {there:?}", wanted(*.number))]
    None {
        /// The directory.
        dir: PathBuf,
        /// The number that was asked for.
        number: Option<u32>,
        /// The numbers that there are.
        there: Vec<u32>,
    },
    /// The job ends before it can be stopped.
    #[error("no checkpoint can be made any more: the job is ending")]
    Ending,
    /// The job could not be stopped, or its state cannot be written.
    #[error("no checkpoint can be made now: {0}")]
    Hindered(String),
    /// The state of a rank cannot be put back.
    #[error("rank {rank} cannot be put back: {why}")]
    Rank {
        /// Which.
        rank: u32,
        /// Why not.
        why: String,
    },
}

impl CheckpointError {
    pub(crate) fn no_directory() -> Self {
        let why = "the job was started without a directory for checkpoints";
        Self::Hindered(why.to_owned())
    }

    fn damaged(path: &Path, why: &str) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.to_owned() }
    }
}

fn wanted(number: Option<u32>) -> String {
    number.map_or_else(|| "whole cut".to_owned(), |number| format!("whole cut {number}"))
}
