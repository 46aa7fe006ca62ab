//! From a memory to a snapshot and back.

use std::io;
use std::ops::Range;

use super::{MemorySnapshot, SNAPSHOT_PAGE_BYTES, SnapshotBuilder, SnapshotError, byte_range};
use crate::guest::{GuestAddr, GuestMemory, Slot};
use crate::page::HostPages;
use crate::pool::{OnMemory, on_view};
use crate::sys::{Pages, page_bytes, scan_pages};

/// Bytes that are looked at together.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// Up to so many pages are copied into a memory rather than mapped: a mapping costs more than they do.
const COPIED_PAGES_MAX: u64 = 8;

impl MemorySnapshot {
    /// What a memory of `pages` pages of 64 KiB holds when an instance begins that copies these segments into it; see
    /// `rewrite::without_data`.
    ///
    /// # Errors
    /// When they do not fit, or the kernel gives no room.
    pub fn of_segments(pages: u64, segments: &[(u64, Vec<u8>)]) -> Result<Self, SnapshotError> {
        let mut builder = SnapshotBuilder::new(pages << 16)?;
        for (at, bytes) in segments {
            builder.write(*at, bytes)?;
        }
        builder.finish()
    }

    /// The content of `memory` now. Regions that it shares with others are taken as they are.
    ///
    /// # Errors
    /// When the kernel gives no room.
    pub fn take(memory: &GuestMemory) -> Result<Self, SnapshotError> {
        let len = memory.len();
        let mut builder = SnapshotBuilder::new(len)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        for range in with_content(memory.slot()) {
            for (offset, bytes) in chunks(range.start as u64..(range.end as u64).min(len)) {
                let chunk = &mut buffer[..bytes];
                read(memory, offset, chunk);
                builder.write_pages(offset, chunk)?;
            }
        }
        builder.finish()
    }

    /// Makes this the content of `memory`, whose bytes beyond it become zero.
    ///
    /// # Errors
    /// When the memory is smaller or shares a part of it, or the kernel refuses. After a refusal of the
    /// kernel its content is not determined.
    pub fn restore_into(&self, memory: &GuestMemory) -> Result<(), SnapshotError> {
        let (have, need) = (memory.len(), self.len_bytes());
        if have < need {
            return Err(SnapshotError::TooSmall { have, need });
        }
        let slot = memory.slot();
        if !slot.regions().is_empty() {
            return Err(SnapshotError::Shared);
        }
        if self.used_pages() <= COPIED_PAGES_MAX {
            slot.clear()?;
            for range in &self.inner.used {
                let bytes = &self.inner.view.bytes()[byte_range(range)];
                let offset = range.start * SNAPSHOT_PAGE_BYTES as u64;
                write(memory, offset, &bytes[..bytes.len().min((need - offset) as usize)]);
            }
            return Ok(());
        }
        slot.set_image(&self.inner.view)?;
        Ok(())
    }

    /// Where `memory` may differ from this: nowhere else, if it began as this snapshot.
    pub(super) fn suspects(&self, memory: &GuestMemory) -> Vec<Range<usize>> {
        let slot = memory.slot();
        let whole = 0..page_end(slot.len());
        if !slot.began_as(&self.inner.view) {
            return vec![whole];
        }
        let ranges = private_pages(slot).unwrap_or_else(|_| vec![whole]);
        joined(ranges)
    }
}

/// Polls `future` so that the first instance that it makes gets a memory with the content of `snapshot`.
///
/// The module must be one that writes no data to its memory when it becomes an instance, as
/// `rewrite::without_data` makes it; its memory must be able to grow to the snapshot's size, with which it begins.
pub fn on_image<F: Future + Unpin>(snapshot: &MemorySnapshot, future: F) -> OnMemory<F> {
    on_view(snapshot.inner.view.clone(), future)
}

/// The parts of `memory` that may hold anything but zeros, in order: what was never written to need not be looked at, and
/// looking at it would have the kernel make a page of it.
pub fn content(memory: &GuestMemory) -> Vec<Range<u64>> {
    let len = memory.len();
    let ranges = with_content(memory.slot()).into_iter();
    let inside = ranges.map(|range| range.start as u64..(range.end as u64).min(len));
    inside.filter(|range| !range.is_empty()).collect()
}

/// The parts of the slot that may hold anything but zeros.
fn with_content(slot: &Slot) -> Vec<Range<usize>> {
    let whole = 0..page_end(slot.len());
    let Ok(mut ranges) = private_pages(slot) else { return vec![whole] };
    if let Some(image) = slot.image() {
        ranges.extend_from_slice(image.written());
    }
    ranges.extend(slot.regions().iter().map(|(start, bytes)| *start..start + bytes));
    joined(ranges)
}

/// The slot's pages with content of their own, from its start.
///
/// # Errors
/// The kernel cannot tell.
pub(super) fn private_pages(slot: &Slot) -> io::Result<Vec<Range<usize>>> {
    let base = slot.mapping().base().as_ptr().addr();
    let mut found = Vec::new();
    scan_pages(base..base + page_end(slot.len()), Pages::Private, &mut found)?;
    Ok(found.into_iter().map(|range| range.start - base..range.end - base).collect())
}

fn page_end(len: usize) -> usize {
    // What is accessible was rounded before.
    HostPages::round_up(len).map_or(len - len % page_bytes(), HostPages::bytes)
}

/// The ranges in order, without overlaps.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The range in pieces of at most [`CHUNK_BYTES`]: first byte and length of each.
pub(super) fn chunks(range: Range<u64>) -> impl Iterator<Item = (u64, usize)> {
    let end = range.end;
    range.step_by(CHUNK_BYTES).map(move |at| (at, (end - at).min(CHUNK_BYTES as u64) as usize))
}

/// Reads what is inside the memory, which never shrinks.
pub(super) fn read(memory: &GuestMemory, offset: u64, out: &mut [u8]) {
    let inside = memory.read(GuestAddr::new(offset), out);
    debug_assert!(inside.is_ok(), "the range ends with the memory");
}

/// Writes to what is inside the memory, which never shrinks.
fn write(memory: &GuestMemory, offset: u64, bytes: &[u8]) {
    let inside = memory.write(GuestAddr::new(offset), bytes);
    debug_assert!(inside.is_ok(), "the snapshot is no larger than the memory");
}
