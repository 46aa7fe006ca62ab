//! Which pages of a memory may have been written, for whoever has a copy to compare them with.

use std::ops::Range;

use super::SnapshotError;
use super::take::private_pages;
use crate::guest::GuestMemory;
use crate::sys::{FaultKind, Pages, Userfault, page_bytes, scan_pages};

/// Watches one memory, which may be written meanwhile. As long as it does, no [`super::Tracker`] does.
///
/// A page that is written after it was reported is reported again, so whoever reads the page after the report misses
/// nothing.
#[derive(Debug)]
pub struct Watch {
    memory: GuestMemory,
    /// Without it every page with content counts as written.
    userfault: Option<Userfault>,
}

impl Watch {
    /// Watches `memory` from now on. The first report names every page that has content.
    pub fn start(memory: &GuestMemory) -> Self {
        let memory = memory.clone();
        let base = memory.slot().mapping().base().as_ptr().addr();
        let whole = base..base + (memory.len() as usize).next_multiple_of(page_bytes());
        let opened = Userfault::open(FaultKind::Written);
        let userfault = opened.ok().filter(|userfault| userfault.register(&whole).is_ok());
        Self { memory, userfault }
    }

    /// Ranges of bytes, whole pages, that hold all that was written since the last call.
    ///
    /// # Errors
    /// When the kernel cannot tell: one before Linux 6.7.
    pub fn written(&mut self) -> Result<Vec<Range<u64>>, SnapshotError> {
        let slot = self.memory.slot();
        let base = slot.mapping().base().as_ptr().addr();
        let mut found = Vec::new();
        if self.userfault.is_some() {
            let len = slot.len().next_multiple_of(page_bytes());
            scan_pages(base..base + len, Pages::WrittenAndProtect, &mut found)?;
            found.iter_mut().for_each(|range| *range = range.start - base..range.end - base);
        } else {
            found = private_pages(slot)?;
        }
        Ok(found.into_iter().map(|range| range.start as u64..range.end as u64).collect())
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
            memory.write_u8(GuestAddr::new(u64::from(round) * 30 << 12), round).expect("inside");
            let found = watch.written().expect("the kernel tells");
            assert!(has(&found, 7) && has(&found, u64::from(round) * 30), "{found:?}");
        }
        if watch.userfault.is_some() {
            assert_eq!(watch.written().expect("the kernel tells"), []);
        }
    }
}
