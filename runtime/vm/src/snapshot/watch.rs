//! Which pages of a memory may have been written, for whoever has a copy to compare them with.

use std::collections::BTreeSet;
use std::ops::Range;

use super::SnapshotError;
use super::take::private_pages;
use crate::guest::GuestMemory;
use crate::sys::{FaultKind, Pages, Userfault, page_bytes, scan_pages};

/// Watches one memory, which may be written meanwhile. As long as it does, no [`super::Tracker`] does.
///
/// A page that is written after it was reported is reported again, so whoever reads the page after the report misses
/// nothing. Only parts of the memory that have content are protected: of the others the kernel would have to keep a note
/// for each page.
#[derive(Debug)]
pub struct Watch {
    memory: GuestMemory,
    /// Without it every page with content counts as written.
    userfault: Option<Userfault>,
    /// The parts that are protected, by their numbers.
    parts: BTreeSet<usize>,
}

/// Bytes of a part: as much as one table of the processor's maps.
const PART_BYTES: usize = 2 << 20;

impl Watch {
    /// Watches `memory` from now on. The first report names every page that has content.
    pub fn start(memory: &GuestMemory) -> Self {
        let userfault = Userfault::open(FaultKind::Written).ok();
        Self { memory: memory.clone(), userfault, parts: BTreeSet::new() }
    }

    /// Ranges of bytes, whole pages in order, that hold all that was written since the last call.
    ///
    /// # Errors
    /// When the kernel cannot tell: one before Linux 6.7.
    pub fn written(&mut self) -> Result<Vec<Range<u64>>, SnapshotError> {
        let mut found = Vec::new();
        for part in &self.parts {
            scan_pages(self.addresses(*part), Pages::WrittenAndProtect, &mut found)?;
        }
        let base = self.base();
        for range in private_pages(self.memory.slot())? {
            let range = base + range.start..base + range.end;
            match self.userfault {
                None => found.push(range),
                Some(_) => {
                    for part in
                        (range.start - base) / PART_BYTES..=(range.end - 1 - base) / PART_BYTES
                    {
                        self.protect(part, &mut found)?;
                    }
                }
            }
        }
        found.sort_unstable_by_key(|range| range.start);
        let offset = |range: Range<usize>| (range.start - base) as u64..(range.end - base) as u64;
        Ok(found.into_iter().map(offset).collect())
    }

    /// Protects a part that is not protected yet, and reports what has content there.
    fn protect(&mut self, part: usize, found: &mut Vec<Range<usize>>) -> Result<(), SnapshotError> {
        let addresses = self.addresses(part);
        let Some(userfault) = self.userfault.as_ref().filter(|_| !self.parts.contains(&part))
        else {
            return Ok(());
        };
        userfault.register(&addresses)?;
        scan_pages(addresses, Pages::WrittenAndProtect, found)?;
        self.parts.insert(part);
        Ok(())
    }

    fn base(&self) -> usize {
        self.memory.slot().mapping().base().as_ptr().addr()
    }

    fn addresses(&self, part: usize) -> Range<usize> {
        let len = self.memory.slot().len().next_multiple_of(page_bytes());
        let end = ((part + 1) * PART_BYTES).min(len);
        self.base() + part * PART_BYTES..self.base() + end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::GuestAddr;
    use crate::pool::{Pool, PoolConfig};

    #[test]
    fn what_is_written_is_reported_each_time() {
        let pool = Pool::new(PoolConfig::default());
        let memory = pool.memory_for_test(400 << 12);
        memory.write_u8(GuestAddr::new(7 << 12), 1).expect("inside");
        let mut watch = Watch::start(&memory);
        let has = |ranges: &[Range<u64>], page: u64| {
            ranges.iter().any(|range| range.contains(&(page << 12)))
        };
        assert!(has(&watch.written().expect("the kernel tells"), 7), "what was there before");
        for round in 2..5 {
            memory.write_u8(GuestAddr::new(7 << 12), round).expect("inside");
            memory.write_u8(GuestAddr::new((u64::from(round) * 30) << 12), round).expect("inside");
            let found = watch.written().expect("the kernel tells");
            assert!(has(&found, 7) && has(&found, u64::from(round) * 30), "{found:?}");
        }
        if watch.userfault.is_some() {
            assert_eq!(watch.written().expect("the kernel tells"), []);
            memory.write_u8(GuestAddr::new(390 << 12), 1).expect("inside");
            let page = 390 << 12..391 << 12;
            assert_eq!(watch.written().expect("the kernel tells"), std::slice::from_ref(&page));
        }
    }
}
