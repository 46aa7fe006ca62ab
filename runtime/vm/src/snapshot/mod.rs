//! The content of linear memories as values: snapshots, and differences against them.
//!
//! A [`MemorySnapshot`] is a file without a name that was sealed: nobody can change it, any number of memories
//! can have it as their content, and each of them pays only for the pages that it writes to (copy-on-write by the
//! kernel). Pages of zeros take no room in it.
//!
//! A [`Diff`] says what has become of a memory since a snapshot was taken: byte runs, each with the
//! [`MergeOperation`] by which it goes into another memory. Diffs of several memories that began as the
//! same snapshot and wrote to different bytes, or declared how their contributions combine, can be merged in any
//! order. `format` draws what is sent and kept.
//!
//! Whoever takes, restores or compares a memory sees to it that no guest runs on it meanwhile; nothing is
//! unsafe otherwise, but the result is then a mixture.

mod builder;
mod diff;
mod format;
mod merge;
mod take;
#[cfg(test)]
mod tests;
mod tracker;
mod watch;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

pub use builder::SnapshotBuilder;
pub use diff::{Diff, DiffError, MergeRegion, RUNS_MAX};
pub use format::{FORMAT_VERSION, FormatError};
pub use merge::{MergeOperation, Number};
pub use take::{content, on_image};
pub use tracker::{Tracker, TrackerKind, copy_ranges};
pub use watch::Watch;

use crate::artifact::ContentHash;
use crate::sys::ImageView;

/// The unit in which snapshots tell zeros from content; the same on machines with larger pages.
pub const SNAPSHOT_PAGE_BYTES: usize = 4096;

/// Largest memory that is taken or built: what a memory with 32-bit addresses may have.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 32;

/// Number of a page of [`SNAPSHOT_PAGE_BYTES`], from the start of memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct PageIndex(pub u64);

impl PageIndex {
    /// Address of the page's first byte.
    pub const fn offset(self) -> u64 {
        self.0 * SNAPSHOT_PAGE_BYTES as u64
    }
}

/// Why there is no snapshot, or why it cannot go where it should.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The kernel refused.
    #[error(
        "the kernel refuses a memory image: {0}; free memory, or raise `ulimit -n` and the kernel's vm.max_map_count"
    )]
    System(#[from] std::io::Error),
    /// The memory is smaller than the snapshot.
    #[error("a snapshot of {need} bytes does not fit a memory of {have} bytes: grow it before")]
    TooSmall {
        /// Size of the memory.
        have: u64,
        /// Size of the snapshot.
        need: u64,
    },
    /// More than [`SNAPSHOT_BYTES_MAX`], or bytes beyond the size that was told.
    #[error("{0} bytes are beyond the snapshot's size or its limit of {SNAPSHOT_BYTES_MAX} bytes")]
    TooLarge(u64),
    /// A part of the memory is shared with others.
    #[error(
        "a memory with regions that others share cannot be replaced: take the regions out before"
    )]
    Shared,
}

/// Content of one linear memory at an instant; clones share it.
#[derive(Clone, Debug)]
pub struct MemorySnapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    view: Arc<ImageView>,
    len: u64,
    /// The pages that are not all zero: sorted, apart from each other.
    used: Vec<Range<u64>>,
    hash: OnceLock<ContentHash>,
}

impl MemorySnapshot {
    /// Size of the memory in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.inner.len
    }

    /// Number of pages that are not all zero.
    pub fn used_pages(&self) -> u64 {
        self.inner.used.iter().map(|range| range.end - range.start).sum()
    }

    /// The pages that are not all zero, in order; each has [`SNAPSHOT_PAGE_BYTES`].
    pub fn pages(&self) -> impl Iterator<Item = (PageIndex, &[u8])> {
        let bytes = self.inner.view.bytes();
        self.inner.used.iter().flat_map(Clone::clone).map(move |index| {
            let start = index as usize * SNAPSHOT_PAGE_BYTES;
            (PageIndex(index), &bytes[start..start + SNAPSHOT_PAGE_BYTES])
        })
    }

    /// A hash of size and content: equal snapshots have equal hashes, on all machines.
    pub fn hash(&self) -> ContentHash {
        *self.inner.hash.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.inner.len.to_le_bytes());
            for (index, page) in self.pages() {
                hasher.update(&index.0.to_le_bytes());
                hasher.update(page);
            }
            ContentHash::of_pieces(hasher.finalize())
        })
    }

    /// What changed in `now` since this was its content, byte by byte.
    ///
    /// # Errors
    /// When there are more changes than a diff holds.
    pub fn diff(&self, now: &crate::GuestMemory) -> Result<Diff, DiffError> {
        Diff::between(self, now, &[])
    }

    /// All of it as a difference against an empty memory: a form that can be kept and sent.
    ///
    /// # Errors
    /// When there are more runs than a diff holds.
    pub fn to_diff(&self) -> Result<Diff, DiffError> {
        let mut diff = Diff::new(self.inner.len);
        for range in &self.inner.used {
            let bytes = &self.inner.view.bytes()[byte_range(range)];
            let inside = (self.inner.len - range.start * SNAPSHOT_PAGE_BYTES as u64) as usize;
            let bytes = &bytes[..bytes.len().min(inside)];
            diff.push(range.start * SNAPSHOT_PAGE_BYTES as u64, MergeOperation::Bytewise, bytes)?;
        }
        Ok(diff)
    }

    /// The snapshot of a memory that was this and to which `diff` was applied.
    ///
    /// # Errors
    /// When the kernel refuses, or the diff is of a larger memory than there may be.
    pub fn with(&self, diff: &Diff) -> Result<Self, SnapshotError> {
        let len = self.inner.len.max(diff.memory_len());
        let mut builder = SnapshotBuilder::new(len)?;
        for (index, page) in self.pages() {
            builder.write(
                index.offset(),
                &page[..page.len().min((self.inner.len - index.offset()) as usize)],
            )?;
        }
        for run in diff.runs() {
            let mut target = self.bytes_at(run.offset, run.bytes.len());
            run.operation.merge(&mut target, run.bytes);
            builder.write(run.offset, &target)?;
        }
        builder.finish()
    }

    /// What memories can be made of.
    pub(crate) fn image(&self) -> &Arc<ImageView> {
        &self.inner.view
    }

    /// `len` bytes from `offset` on; zeros beyond the end.
    fn bytes_at(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = self.base(offset, len).to_vec();
        bytes.resize(len, 0);
        bytes
    }

    /// As many of `len` bytes from `offset` on as are inside the image.
    fn base(&self, offset: u64, len: usize) -> &[u8] {
        let image = self.inner.view.bytes();
        let start = (offset as usize).min(image.len());
        &image[start..start.saturating_add(len).min(image.len())]
    }
}

impl PartialEq for MemorySnapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
            || self.inner.len == other.inner.len
                && self.inner.used == other.inner.used
                && self.pages().eq(other.pages())
    }
}

impl Eq for MemorySnapshot {}

fn byte_range(pages: &Range<u64>) -> Range<usize> {
    pages.start as usize * SNAPSHOT_PAGE_BYTES..pages.end as usize * SNAPSHOT_PAGE_BYTES
}

/// Whether all bytes are zero.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
