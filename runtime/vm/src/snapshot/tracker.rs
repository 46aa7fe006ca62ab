//! Which pages a guest writes while time goes on: for copies that are made while it runs.
//!
//! Two ways, and the same answer. *Write protection*: the kernel protects the pages, lifts the protection of one by
//! itself when it is written to, and tells afterwards which (`userfaultfd` in asynchronous mode and `PAGEMAP_SCAN`, Linux 6.7);
//! nobody handles faults. *Comparison* with a copy works everywhere and costs the copy. Soft-dirty bits are no third way: they are
//! cleared for a whole process, so two trackers in one would blind each other.

use std::ops::Range;

use super::take::{chunks, read};
use super::{MemorySnapshot, SNAPSHOT_PAGE_BYTES, SnapshotError};
use crate::guest::GuestMemory;
use crate::sys::{FaultKind, Pages, Userfault, page_bytes, scan_pages};

/// How written pages are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TrackerKind {
    /// By the kernel's write protection.
    WriteProtection,
    /// By comparison with a copy.
    Comparison,
}

impl TrackerKind {
    /// The kinds that this machine has, the best one first.
    pub fn available() -> Vec<Self> {
        let protects = Tracker::with(&GuestMemory::for_test(page_bytes()), Self::WriteProtection);
        protects.iter().map(|_| Self::WriteProtection).chain([Self::Comparison]).collect()
    }
}

/// Watches one memory. As long as it does, no other tracker does, and no snapshot is restored into the memory.
#[derive(Debug)]
pub struct Tracker {
    memory: GuestMemory,
    /// Bytes that are watched; what the memory has beyond them is new.
    watched: usize,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Protection(Userfault),
    Comparison(MemorySnapshot),
}

impl Tracker {
    /// Watches `memory` from now on, in the best way there is.
    ///
    /// # Errors
    /// When the kernel gives no room.
    pub fn start(memory: &GuestMemory) -> Result<Self, SnapshotError> {
        Self::with(memory, TrackerKind::WriteProtection)
            .or_else(|_| Self::with(memory, TrackerKind::Comparison))
    }

    /// Watches `memory` from now on in the way `kind`.
    ///
    /// # Errors
    /// When this machine has no such way, or the kernel gives no room.
    pub fn with(memory: &GuestMemory, kind: TrackerKind) -> Result<Self, SnapshotError> {
        let memory = memory.clone();
        let way = match kind {
            TrackerKind::WriteProtection => Way::Protection(Userfault::open(FaultKind::Written)?),
            TrackerKind::Comparison => Way::Comparison(MemorySnapshot::take(&memory)?),
        };
        let mut tracker = Self { memory, watched: 0, way };
        // What was written before is of no interest.
        tracker.written()?;
        Ok(tracker)
    }

    /// How it works.
    pub const fn kind(&self) -> TrackerKind {
        match self.way {
            Way::Protection(_) => TrackerKind::WriteProtection,
            Way::Comparison(_) => TrackerKind::Comparison,
        }
    }

    /// The ranges of bytes, whole pages but for the memory's end, that hold all that was written since the last call or
    /// the start; from now on they count as not written.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn written(&mut self) -> Result<Vec<Range<u64>>, SnapshotError> {
        let len = self.memory.len() as usize;
        let (before, watched) = (self.watched, len.next_multiple_of(page_bytes()));
        let mut found = Vec::new();
        if let Way::Comparison(_) = self.way {
            found = self.compared()?;
        } else if let Way::Protection(userfault) = &self.way {
            let base = self.memory.slot().mapping().base().as_ptr().addr();
            if watched > before {
                userfault.register(&(base + before..base + watched))?;
            }
            scan_pages(base..base + watched, Pages::WrittenAndProtect, &mut found)?;
            found.iter_mut().for_each(|range| *range = range.start - base..range.end - base);
        }
        self.watched = watched;
        let inside = |range: Range<usize>| range.start as u64..range.end.min(len) as u64;
        Ok(found.into_iter().map(inside).collect())
    }

    /// The pages that are other ones than in the copy, which becomes a copy of now.
    fn compared(&mut self) -> Result<Vec<Range<usize>>, SnapshotError> {
        let now = MemorySnapshot::take(&self.memory)?;
        let Way::Comparison(copy) = &self.way else { return Ok(Vec::new()) };
        let mut found: Vec<Range<usize>> = Vec::new();
        for (offset, bytes) in chunks(0..now.len_bytes()) {
            for at in (offset as usize..offset as usize + bytes).step_by(SNAPSHOT_PAGE_BYTES) {
                if padded(copy.base(at as u64, SNAPSHOT_PAGE_BYTES))
                    == padded(now.base(at as u64, SNAPSHOT_PAGE_BYTES))
                {
                    continue;
                }
                match found.last_mut() {
                    Some(last) if last.end == at => last.end += SNAPSHOT_PAGE_BYTES,
                    _ => found.push(at..at + SNAPSHOT_PAGE_BYTES),
                }
            }
        }
        self.way = Way::Comparison(now);
        Ok(found)
    }
}

fn padded(bytes: &[u8]) -> [u8; SNAPSHOT_PAGE_BYTES] {
    let mut page = [0; SNAPSHOT_PAGE_BYTES];
    page[..bytes.len()].copy_from_slice(bytes);
    page
}

/// Copies the ranges that a tracker found from one memory to another of at least its size.
///
/// # Errors
/// When a range lies outside the other memory.
pub fn copy_ranges(
    from: &GuestMemory,
    to: &GuestMemory,
    ranges: &[Range<u64>],
) -> Result<(), crate::GuestFault> {
    let mut buffer = vec![0; super::take::CHUNK_BYTES];
    for (offset, bytes) in ranges.iter().cloned().flat_map(chunks) {
        read(from, offset, &mut buffer[..bytes]);
        to.write(crate::GuestAddr::new(offset), &buffer[..bytes])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::GuestAddr;
    use crate::pool::{Pool, PoolConfig};

    /// Pages of 4 KiB among the ranges.
    fn pages(ranges: &[Range<u64>]) -> Vec<u64> {
        let page = SNAPSHOT_PAGE_BYTES as u64;
        ranges.iter().flat_map(|range| range.start / page..range.end.div_ceil(page)).collect()
    }

    #[test]
    fn all_trackers_find_the_same_pages() {
        let kinds = TrackerKind::available();
        assert_eq!(kinds.last(), Some(&TrackerKind::Comparison));
        let pool = Pool::new(PoolConfig::default());
        let page = SNAPSHOT_PAGE_BYTES as u64;
        // A fresh memory, one with content, and one made of a snapshot.
        let image = {
            let memory = pool.memory_for_test(200 << 12);
            memory.fill(GuestAddr::new(page), 9, 100 * page).expect("inside");
            MemorySnapshot::take(&memory).expect("a snapshot")
        };
        for origin in 0..3 {
            for kind in &kinds {
                let memory = pool.memory_for_test(400 << 12);
                match origin {
                    0 => {}
                    1 => memory.fill(GuestAddr::new(0), 9, 300 * page).expect("inside"),
                    _ => image.restore_into(&memory).expect("restored"),
                }
                let mut tracker = Tracker::with(&memory, *kind).expect("it is available");
                assert_eq!(tracker.kind(), *kind);
                assert_eq!(tracker.written().expect("no trouble"), []);
                let mut value = 10;
                let rounds: [Vec<u64>; 4] =
                    [vec![0, 3, 150, 399], vec![], (0..400).step_by(2).collect(), vec![3]];
                for expected in rounds {
                    value += 1;
                    for index in &expected {
                        let at = GuestAddr::new(index * page + 17);
                        memory.write_u8(at, value).expect("inside");
                    }
                    memory
                        .read_vec(GuestAddr::new(0), memory.len())
                        .expect("reading is no writing");
                    let found = tracker.written().expect("no trouble");
                    assert_eq!(pages(&found), expected, "{kind:?}, origin {origin}");
                }
            }
        }
    }

    #[test]
    fn a_copy_that_follows_becomes_the_same() {
        let (from, to) = (GuestMemory::for_test(100 << 12), GuestMemory::for_test(100 << 12));
        let mut tracker = Tracker::start(&from).expect("a tracker");
        for round in 1..5 {
            for index in 0..20 {
                from.write_u64(GuestAddr::new(index * 5000 * round % 400_000), index)
                    .expect("inside");
            }
            let ranges = tracker.written().expect("no trouble");
            copy_ranges(&from, &to, &ranges).expect("inside");
            let whole = |memory: &GuestMemory| memory.read_vec(GuestAddr::new(0), memory.len());
            assert!(whole(&from) == whole(&to), "round {round}");
        }
    }
}
