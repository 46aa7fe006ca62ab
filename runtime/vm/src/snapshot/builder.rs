//! Making a snapshot from pieces, as they come from a file or another node.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::{
    Inner, MemorySnapshot, SNAPSHOT_BYTES_MAX, SNAPSHOT_PAGE_BYTES, SnapshotError, is_zero,
};
use crate::page::HostPages;
use crate::sys::ImageFile;

/// A snapshot that is being made; what is not written is zero.
#[derive(Debug)]
pub struct SnapshotBuilder {
    file: ImageFile,
    len: u64,
    /// Pages that may have content, in the order of writing.
    touched: Vec<Range<u64>>,
}

impl SnapshotBuilder {
    /// A snapshot of a memory of `len` bytes.
    ///
    /// # Errors
    /// When that is more than a memory may have, or the kernel refuses.
    pub fn new(len: u64) -> Result<Self, SnapshotError> {
        let pages = usize::try_from(len).ok().and_then(HostPages::round_up);
        let pages =
            pages.filter(|_| len <= SNAPSHOT_BYTES_MAX).ok_or(SnapshotError::TooLarge(len))?;
        Ok(Self { file: ImageFile::new(pages.bytes())?, len, touched: Vec::new() })
    }

    /// Sets the bytes from `offset` on.
    ///
    /// # Errors
    /// When they leave the memory, or there is no room for them.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.len);
        let end =
            end.ok_or_else(|| SnapshotError::TooLarge(offset.saturating_add(bytes.len() as u64)))?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write(offset, bytes)?;
        let page = SNAPSHOT_PAGE_BYTES as u64;
        let pages = offset / page..end.div_ceil(page);
        match self.touched.last_mut() {
            Some(last) if last.start <= pages.start && pages.start <= last.end => {
                last.end = last.end.max(pages.end);
            }
            _ => self.touched.push(pages),
        }
        Ok(())
    }

    /// As [`SnapshotBuilder::write`] of whole pages, less those that are zero.
    pub(super) fn write_pages(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        let mut pages = bytes.chunks(SNAPSHOT_PAGE_BYTES).map(is_zero).enumerate().peekable();
        while let Some((first, zero)) = pages.next() {
            if zero {
                continue;
            }
            let mut last = first;
            while let Some((index, _)) = pages.next_if(|(_, zero)| !zero) {
                last = index;
            }
            let end = ((last + 1) * SNAPSHOT_PAGE_BYTES).min(bytes.len());
            let start = first * SNAPSHOT_PAGE_BYTES;
            self.write(offset + start as u64, &bytes[start..end])?;
        }
        Ok(())
    }

    /// The snapshot.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn finish(self) -> Result<MemorySnapshot, SnapshotError> {
        let view = self.file.seal()?;
        let image = view.bytes();
        let mut touched = self.touched;
        touched.sort_unstable_by_key(|range| range.start);
        let mut used: Vec<Range<u64>> = Vec::new();
        let mut next = 0;
        for index in touched.into_iter().flatten() {
            let start = index as usize * SNAPSHOT_PAGE_BYTES;
            if index < next || is_zero(&image[start..start + SNAPSHOT_PAGE_BYTES]) {
                continue;
            }
            next = index + 1;
            match used.last_mut() {
                Some(last) if last.end == index => last.end = next,
                _ => used.push(index..next),
            }
        }
        let (view, hash) = (Arc::new(view), OnceLock::new());
        Ok(MemorySnapshot { inner: Arc::new(Inner { view, len: self.len, used, hash }) })
    }
}
