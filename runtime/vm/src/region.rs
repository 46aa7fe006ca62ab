//! Pages that several linear memories have in common.
//!
//! A region is a file without a name. It replaces whole pages of a memory, at a place that the guest has
//! allocated, and is replaced by empty private pages when it is taken out, at the latest when the memory's
//! slot falls free: nothing of a region is left for the slot's next user.

use std::io;
use std::os::fd::OwnedFd;

use crate::guest::{GuestAddr, GuestFault, GuestMemory};
use crate::page::HostPages;
use crate::sys::{anonymous_file, page_bytes, write_all};

/// Most regions that one memory may have at a time; each takes some of the kernel's `vm.max_map_count`.
pub const REGIONS_MAX: usize = 4096;

/// Bytes that are copied into a region at a time.
const COPIED_BYTES: u64 = 64 << 10;

/// Pages for several memories, which read as zero at first.
#[derive(Debug)]
pub struct SharedRegion {
    file: OwnedFd,
    pages: HostPages,
}

/// Why a memory did not get a region.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// Its place is not inside the memory.
    #[error(transparent)]
    Fault(#[from] GuestFault),
    /// Its place is not a whole number of pages, or overlaps another region's.
    #[error("a region of {bytes} bytes cannot begin at {addr:#x}: it needs whole pages of its own")]
    Misplaced {
        /// First byte.
        addr: u64,
        /// Number of bytes.
        bytes: usize,
    },
    /// The memory has as many as it may have.
    #[error("a memory has at most {REGIONS_MAX} shared regions at a time")]
    TooMany,
    /// The kernel refused.
    #[error(
        "the kernel gives no shared pages: {0}; raise vm.max_map_count, or share fewer regions"
    )]
    System(#[from] io::Error),
}

impl SharedRegion {
    /// A region of at least `bytes`, which must not be 0.
    ///
    /// # Errors
    /// When the kernel gives no file for it.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let pages = usize::try_from(bytes).ok().and_then(HostPages::round_up);
        let pages = pages.filter(|pages| pages.bytes() > 0).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { file: anonymous_file(pages.bytes() as u64)?, pages })
    }

    /// Its size in bytes, a multiple of [`SharedRegion::alignment`].
    pub const fn bytes(&self) -> u64 {
        self.pages.bytes() as u64
    }

    /// Gives the region the content of a memory from `addr` on.
    ///
    /// # Errors
    /// The memory is not so large, or there is no room for the pages.
    pub fn copy_from(&self, memory: &GuestMemory, addr: GuestAddr) -> Result<(), RegionError> {
        memory.check(addr, self.bytes())?;
        for at in (0..self.bytes()).step_by(COPIED_BYTES as usize) {
            let len = COPIED_BYTES.min(self.bytes() - at);
            let block = memory.read_vec(GuestAddr::new(addr.get() + at), len)?;
            // Pages that nobody has touched stay so.
            if block.iter().any(|byte| *byte != 0) {
                write_all(&self.file, &block, at)?;
            }
        }
        Ok(())
    }

    /// What the address of a region in a memory is a multiple of.
    pub fn alignment() -> u64 {
        page_bytes() as u64
    }
}

impl GuestMemory {
    /// Replaces the pages from `addr` on by those of `region`; what was in them is lost.
    ///
    /// # Errors
    /// When the place is not one for a region, or the kernel refuses; nothing has changed then.
    pub fn map_shared(&self, addr: GuestAddr, region: &SharedRegion) -> Result<(), RegionError> {
        let bytes = region.pages.bytes();
        self.check(addr, region.bytes())?;
        let start = addr.get() as usize;
        let mut regions = self.slot().regions();
        let before = regions.range(..start + bytes).next_back();
        let overlaps = before.is_some_and(|(at, len)| at + len > start);
        if overlaps || !start.is_multiple_of(page_bytes()) {
            return Err(RegionError::Misplaced { addr: addr.get(), bytes });
        }
        if regions.len() >= REGIONS_MAX {
            return Err(RegionError::TooMany);
        }
        self.slot().tear_image();
        self.slot().mapping().share(start, bytes, &region.file)?;
        regions.insert(start, bytes);
        Ok(())
    }

    /// Whether it has a region: pages to which others write, too.
    pub fn has_shared(&self) -> bool {
        !self.slot().regions().is_empty()
    }

    /// Takes out the region that begins at `addr`; its place reads as zero then. Returns whether there
    /// was one.
    ///
    /// # Errors
    /// When the kernel refuses; the region stays then.
    pub fn unmap_shared(&self, addr: GuestAddr) -> io::Result<bool> {
        let start = addr.get() as usize;
        let mut regions = self.slot().regions();
        let Some(bytes) = regions.get(&start).copied() else { return Ok(false) };
        self.slot().mapping().unshare(start, bytes)?;
        regions.remove(&start);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Pool, PoolConfig};

    const fn at(addr: u64) -> GuestAddr {
        GuestAddr::new(addr)
    }

    #[test]
    fn memories_see_the_same_pages_until_the_region_is_taken_out() {
        let page = SharedRegion::alignment();
        let memories =
            [GuestMemory::for_test(8 * page as usize), GuestMemory::for_test(8 * page as usize)];
        let region = SharedRegion::new(page + 1).expect("a region");
        assert_eq!(region.bytes(), 2 * page);
        memories[0].map_shared(at(page), &region).expect("mapped");
        memories[1].map_shared(at(4 * page), &region).expect("mapped");
        drop(region);
        memories[0].write_u64(at(page + 8), 42).expect("inside");
        assert_eq!(memories[1].read_u64(at(4 * page + 8)), Ok(42));
        memories[1].write_u64(at(6 * page - 8), 43).expect("inside");
        assert_eq!(memories[0].read_u64(at(3 * page - 8)), Ok(43));
        assert!(memories[1].unmap_shared(at(4 * page)).expect("unmapped"));
        assert!(!memories[1].unmap_shared(at(4 * page)).expect("nothing is there"));
        assert_eq!(memories[1].read_u64(at(4 * page + 8)), Ok(0));
        memories[1].write_u64(at(4 * page + 8), 44).expect("inside");
        assert_eq!(memories[0].read_u64(at(page + 8)), Ok(42), "the other still has it");
    }

    #[test]
    fn places_that_are_none_are_refused() {
        let page = SharedRegion::alignment();
        let memory = GuestMemory::for_test(8 * page as usize);
        let region = SharedRegion::new(2 * page).expect("a region");
        memory.map_shared(at(2 * page), &region).expect("mapped");
        for addr in [page, 2 * page, 3 * page, 5 * page + 8] {
            let refused = memory.map_shared(at(addr), &region);
            assert!(matches!(refused, Err(RegionError::Misplaced { .. })), "{addr}: {refused:?}");
        }
        for addr in [7 * page, 8 * page, u64::MAX] {
            let refused = memory.map_shared(at(addr), &region);
            assert!(matches!(refused, Err(RegionError::Fault(_))), "{addr}: {refused:?}");
        }
        memory.map_shared(at(0), &region).expect("room before");
        memory.map_shared(at(4 * page), &region).expect("room behind");
        assert!(SharedRegion::new(0).is_err() && SharedRegion::new(u64::MAX).is_err());
    }

    #[test]
    fn a_region_takes_over_what_a_memory_has() {
        let page = SharedRegion::alignment();
        let [first, second] = [(); 2].map(|()| GuestMemory::for_test(40 * page as usize));
        for at_page in [2, 3, 30, 35] {
            first.write_u64(at(at_page * page + 8), at_page).expect("inside");
        }
        let region = SharedRegion::new(32 * page).expect("a region");
        let outside = region.copy_from(&first, at(9 * page));
        assert!(matches!(outside, Err(RegionError::Fault(_))), "{outside:?}");
        region.copy_from(&first, at(2 * page)).expect("copied");
        for memory in [&first, &second] {
            assert!(!memory.has_shared());
            memory.map_shared(at(2 * page), &region).expect("mapped");
            assert!(memory.has_shared());
        }
        for (at_page, value) in [(2, 2), (3, 3), (4, 0), (30, 30)] {
            assert_eq!(second.read_u64(at(at_page * page + 8)), Ok(value));
        }
        assert_eq!(second.read_u64(at(35 * page + 8)), Ok(0), "beyond the region");
    }

    #[test]
    fn the_next_user_of_a_slot_finds_nothing_of_a_region() {
        let page = SharedRegion::alignment() as usize;
        let pool = Pool::new(PoolConfig::default());
        let memory = || pool.memory_for_test(4 * page);
        let region = SharedRegion::new(page as u64).expect("a region");
        let first = memory();
        first.map_shared(at(page as u64), &region).expect("mapped");
        first.write_u64(at(page as u64), 7).expect("inside");
        let base = first.host_base();
        drop(first);
        let second = memory();
        assert_eq!(second.host_base(), base, "the slot is used again");
        assert_eq!(second.read_u64(at(page as u64)), Ok(0));
        second.write_u64(at(page as u64), 8).expect("inside");
        let third = memory();
        third.map_shared(at(0), &region).expect("mapped");
        assert_eq!(third.read_u64(at(0)), Ok(7), "nobody wrote to the region since");
    }
}
