//! Which pages of this process hold something: the kernel's `PAGEMAP_SCAN` (Linux 6.7 or later).

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// Which pages a scan looks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pages {
    /// Those with content of their own, in memory or swapped out: neither never touched, nor read only while
    /// they were zero, nor still those of a mapped file.
    Private,
    /// Those of them that were written since they were last protected, of a range that is protected asynchronously; they
    /// are protected again by the scan. Others are not: that would take a note for each in the kernel's tables, which it would
    /// then report as content. They are found when they get some.
    WrittenAndProtect,
}

/// Ranges that one call of the kernel may report.
const REGIONS_AT_ONCE: usize = 64;

/// Appends the parts of `range` (addresses, whole pages) whose pages are as asked for, in order.
///
/// # Errors
/// When the kernel cannot tell, as one before Linux 6.7.
pub(crate) fn scan_pages(
    range: Range<usize>,
    which: Pages,
    found: &mut Vec<Range<usize>>,
) -> io::Result<()> {
    PAGEMAP.with(|pagemap| scan(pagemap.as_ref().map_err(|kind| *kind)?, range, which, found))
}

fn scan(
    pagemap: &File,
    range: Range<usize>,
    which: Pages,
    found: &mut Vec<Range<usize>>,
) -> io::Result<()> {
    let mut at = range.start;
    let mut regions = [PageRegion::default(); REGIONS_AT_ONCE];
    // A call ends where its list is full: only the end of the walk tells that all was seen.
    while at < range.end {
        let argument = argument(at..range.end, which, &mut regions);
        // SAFETY: the file is the process's pagemap, for which this is the request that `Scan` states; the
        // argument's list is `regions`, of the length told, which outlives the call; protecting pages
        // asynchronously changes nothing that can be read.
        let (count, walked) = unsafe { rustix::ioctl::ioctl(pagemap, Scan(argument)) }?;
        let seen = &regions[..count.min(REGIONS_AT_ONCE)];
        found.extend(seen.iter().map(|region| region.start as usize..region.end as usize));
        if walked <= at {
            return Err(io::Error::other("the kernel's scan of pages does not advance"));
        }
        at = walked;
    }
    Ok(())
}

thread_local! {
    /// The pagemap of this process. Each thread that asks has it open: the kernel counts the users of an open file, which
    /// all threads would do on one cache line.
    static PAGEMAP: Result<File, io::ErrorKind> =
        File::open("/proc/self/pagemap").map_err(|error| error.kind());
}

fn argument(range: Range<usize>, which: Pages, regions: &mut [PageRegion]) -> ScanArgument {
    let common = ScanArgument {
        size: size_of::<ScanArgument>() as u64,
        start: range.start as u64,
        end: range.end as u64,
        regions: regions.as_mut_ptr().expose_provenance() as u64,
        regions_len: regions.len() as u64,
        ..ScanArgument::default()
    };
    match which {
        Pages::Private => ScanArgument {
            inverted: IS_FILE | IS_ZERO,
            all_of: IS_FILE | IS_ZERO,
            any_of: IS_PRESENT | IS_SWAPPED,
            reported: IS_PRESENT,
            ..common
        },
        Pages::WrittenAndProtect => ScanArgument {
            flags: PROTECT_MATCHING | CHECK_ASYNC,
            inverted: IS_FILE | IS_ZERO,
            all_of: IS_WRITTEN | IS_FILE | IS_ZERO,
            any_of: IS_PRESENT | IS_SWAPPED,
            reported: IS_WRITTEN,
            ..common
        },
    }
}

// Of linux/fs.h.
const IS_WRITTEN: u64 = 1 << 1;
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_ZERO: u64 = 1 << 5;
const PROTECT_MATCHING: u64 = 1 << 0;
const CHECK_ASYNC: u64 = 1 << 1;

/// `struct page_region`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_len: u64,
    pages_max: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    reported: u64,
}

const _: () = assert!(size_of::<PageRegion>() == 24 && size_of::<ScanArgument>() == 96);

#[derive(Debug)]
struct Scan(ScanArgument);

// SAFETY: the request reads and writes a `struct pm_scan_arg`, to which `as_ptr` points and which is as the
// kernel's header has it; it writes to nothing but that and the list it names.
unsafe impl Ioctl for Scan {
    /// Number of regions reported, and where the walk ended.
    type Output = (usize, usize);

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<ScanArgument>(b'f', 16)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(
        count: IoctlOutput,
        argument: *mut c_void,
    ) -> rustix::io::Result<Self::Output> {
        // SAFETY: the caller passes what `as_ptr` gave, which is a `ScanArgument`.
        let argument = unsafe { argument.cast::<ScanArgument>().read() };
        Ok((usize::try_from(count).unwrap_or(0), argument.walk_end as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Mapping, page_bytes};

    #[test]
    fn pages_with_content_are_found_however_many_there_are() {
        let page = page_bytes();
        let count = 5 * REGIONS_AT_ONCE;
        let mapping = Mapping::reserve(count * page).expect("address space");
        mapping.make_accessible(0, count * page).expect("accessible");
        let base = mapping.base().as_ptr();
        let written = |index: usize| index % 3 == 1;
        for index in 0..count {
            let byte = base.wrapping_add(index * page + index);
            if written(index) {
                // SAFETY: the byte lies in the mapping, which is accessible.
                unsafe { byte.write(1) };
            } else if index % 3 == 2 {
                // SAFETY: as above.
                assert_eq!(unsafe { byte.read() }, 0);
            }
        }
        let mut found = Vec::new();
        let range = base.addr()..base.addr() + count * page;
        scan_pages(range, Pages::Private, &mut found).expect("a kernel that scans");
        let pages: Vec<usize> = found
            .iter()
            .flat_map(|range| range.clone().step_by(page))
            .map(|at| (at - base.addr()) / page)
            .collect();
        assert_eq!(pages, (0..count).filter(|index| written(*index)).collect::<Vec<_>>());
    }
}
