//! Emptying what a Faaslet leaves, without the kernel where that is cheaper.
//!
//! Taking pages away (`madvise`) costs their faults anew, takes the process's memory lock, and interrupts the
//! other cores that run this process. So the pages that were written are found and overwritten in place, as long as they are
//! few; only what is beyond [`KEPT_BYTES_MAX`] is given back.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use crate::guest::Slot;
use crate::sys::{Found, ImageView, Mapping, Pages, page_faults, scan_pages};

/// Bytes of a free slot that stay resident, at most.
pub(super) const KEPT_BYTES_MAX: usize = 512 << 10;

thread_local! {
    /// Ranges of written pages; kept so that resetting allocates nothing.
    static WRITTEN: RefCell<Vec<Range<usize>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that are few: as many slots as are emptied together stay in a core's cache with so many each.
const FEW_BYTES_MAX: usize = 16 << 10;

/// Largest slot that is overwritten as a whole, unseen, once all of it was written.
const DENSE_BYTES_MAX: usize = 256 << 10;

/// From this size on it is looked whether a scan is needed: it costs more than that then.
const SCANNED_BYTES_MIN: usize = 4 << 20;

/// Makes `range` of a slot, which is accessible, the content of `image`, and zero beyond it.
///
/// Where a slot lies within its image, pages of its own come by faults only, for the kernel makes no huge pages of a mapped
/// file's copies; and they stay. So where this process has taken no fault since a scan, there are no others than then.
pub(crate) fn empty(
    mapping: &mut Mapping,
    range: &Range<usize>,
    image: Option<&ImageView>,
) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    if mapping.found == Found::All && range.len() <= DENSE_BYTES_MAX {
        overwrite(mapping, range.clone(), image);
        return Ok(());
    }
    let lies_within = |image: &ImageView| range.end <= image.bytes().len();
    let faults_tell = range.len() >= SCANNED_BYTES_MIN && image.is_some_and(lies_within);
    // Before the scan: what comes while it goes on counts for the next time.
    let faults = if faults_tell { page_faults().ok() } else { None };
    if faults.is_some() && mapping.own.faults == faults {
        mapping.found = overwrite_written(mapping, range, image, &mapping.own.places)?;
        return Ok(());
    }
    mapping.own.faults = None;
    let base = mapping.base().as_ptr().addr();
    WRITTEN.with_borrow_mut(|written| {
        written.clear();
        // All of it, whatever of it may be touched next time.
        let places = if faults_tell { 0..mapping.bytes() } else { range.clone() };
        if scan_pages(base + places.start..base + places.end, Pages::Private, written).is_err() {
            // Private pages of an image become the image's, others zero.
            return mapping.discard(range.start, range.end);
        }
        mapping.found = overwrite_written(mapping, range, image, written)?;
        if faults_tell && written.iter().map(Range::len).sum::<usize>() <= KEPT_BYTES_MAX {
            mapping.own.places.clone_from(written);
            mapping.own.faults = faults;
        }
        Ok(())
    })
}

/// Pages of a memory that hold something of their own, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Present {
    /// Where they are, from the memory's start.
    ranges: Vec<Range<usize>>,
    /// How often the process had taken a page fault when they were looked for; never the same again if the memory may come
    /// by pages without.
    faults: Option<u64>,
    /// It comes by new pages with page faults only.
    faults_tell: bool,
}

/// From this size on the kernel may put a huge page into a memory; that is not left to a request to refrain from it.
const HUGE_PAGE_BYTES: usize = 2 << 20;

impl Present {
    /// Nothing is known of the memory in `slot`, whose size will not change.
    pub(crate) fn unknown(slot: &Slot) -> Self {
        let faults_tell = slot.page_end() < HUGE_PAGE_BYTES && slot.refuse_huge_pages();
        Self { ranges: Vec::new(), faults: None, faults_tell }
    }
}

/// Makes memories that nobody uses at the moment what they were when they began as `image`. Each is on that image still, and
/// as long as it.
///
/// Pages stay once they are there. So where no fault has been taken since the last look, there are no others than then, and
/// the kernel need not look for them.
pub(crate) fn renew<'a>(
    slots: impl Iterator<Item = (&'a Slot, &'a mut Present)>,
    image: &ImageView,
) -> io::Result<()> {
    // Before all looks: what comes while they go on counts for the next time.
    let faults = page_faults().ok();
    for (slot, present) in slots {
        let (mapping, range) = (slot.mapping(), 0..slot.page_end());
        if present.faults.is_none() || present.faults != faults {
            let base = mapping.base().as_ptr().addr();
            present.ranges.clear();
            if scan_pages(base..base + range.end, Pages::Private, &mut present.ranges).is_err() {
                mapping.discard(range.start, range.end)?;
                present.faults = None;
                continue;
            }
            for pages in &mut present.ranges {
                *pages = pages.start - base..pages.end - base;
            }
        }
        let mut room = KEPT_BYTES_MAX;
        present.faults = faults.filter(|_| present.faults_tell);
        for pages in &present.ranges {
            let kept = pages.start + room.min(pages.len());
            overwrite(mapping, pages.start..kept, Some(image));
            room -= kept - pages.start;
            if kept < pages.end {
                mapping.discard(kept, range.end)?;
                present.faults = None;
                break;
            }
        }
    }
    Ok(())
}

/// Makes the slots `mappings`, of which exactly `range` is accessible, zero; they lie one behind the other. Returns whether
/// that could be done for all.
pub(super) fn empty_together<'a>(
    mappings: impl ExactSizeIterator<Item = &'a mut Mapping>,
    range: &Range<usize>,
    places: Range<usize>,
) -> bool {
    WRITTEN.with_borrow_mut(|written| {
        written.clear();
        if scan_pages(places, Pages::Private, written).is_err() {
            return false;
        }
        let mut mappings = mappings;
        mappings.all(|mapping| {
            let found = overwrite_written(mapping, range, None, written);
            found.is_ok_and(|found| {
                mapping.found = found;
                true
            })
        })
    })
}

/// Overwrites those of the ranges `written`, which are addresses, that lie in the `range` of the slot; what was found there.
fn overwrite_written(
    mapping: &Mapping,
    range: &Range<usize>,
    image: Option<&ImageView>,
    written: &[Range<usize>],
) -> io::Result<Found> {
    let base = mapping.base().as_ptr().addr();
    let (mut room, mut sum) = (KEPT_BYTES_MAX, 0);
    let first = written.partition_point(|pages| pages.end <= base + range.start);
    for pages in &written[first..] {
        // A range may go on in the next slot.
        let start = pages.start.max(base + range.start) - base;
        let end = pages.end.min(base + range.end).saturating_sub(base);
        if start >= end {
            break;
        }
        let kept = start + room.min(end - start);
        overwrite(mapping, start..kept, image);
        room -= kept - start;
        sum += kept - start;
        if kept < end {
            mapping.discard(kept, range.end)?;
            return Ok(Found::Some);
        }
    }
    Ok(match sum {
        sum if sum == range.len() => Found::All,
        0 => Found::Nothing,
        1..=FEW_BYTES_MAX => Found::Few,
        _ => Found::Some,
    })
}

fn overwrite(mapping: &Mapping, range: Range<usize>, image: Option<&ImageView>) {
    let image = image.map_or(&[][..], ImageView::bytes);
    let middle = image.len().clamp(range.start, range.end);
    mapping.write(range.start, &image[range.start.min(image.len())..middle.min(image.len())]);
    mapping.zero(middle, range.end);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sys::{ImageFile, page_bytes};

    /// What each tenant leaves behind.
    const SECRET: u8 = 0xa5;

    fn bytes(mapping: &Mapping, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        mapping.read(0, &mut out);
        out
    }

    fn check(pages: usize, image_pages: usize) {
        let page = page_bytes();
        let len = pages * page;
        let mut mapping = Mapping::reserve(len).expect("address space");
        mapping.make_accessible(0, len).expect("accessible");
        let mut content = vec![0; len];
        let image = (image_pages > 0).then(|| {
            let mut file = ImageFile::new(image_pages * page).expect("a file");
            content[..image_pages * page].fill(3);
            file.write(0, &content[..image_pages * page]).expect("room");
            file.seal().expect("sealed")
        });
        if let Some(image) = &image {
            mapping.copy_on_write(image.bytes().len(), image.file()).expect("mapped");
        }
        // Everything, every second page, one byte, nothing, and the first and the last page.
        let patterns: [&dyn Fn(usize) -> bool; 5] = [
            &|_| true,
            &|at| (at / page).is_multiple_of(2),
            &|at| at == len / 2,
            &|_| false,
            &|at| at / page == 0 || at / page == pages - 1,
        ];
        for (index, written) in patterns.iter().enumerate() {
            for at in (0..len).filter(|at| written(*at)) {
                mapping.write(at, &[SECRET]);
            }
            empty(&mut mapping, &(0..len), image.as_ref()).expect("emptied");
            assert!(bytes(&mapping, len) == content, "{pages}, {image_pages}: pattern {index}");
        }
    }

    #[test]
    fn nothing_of_a_tenant_survives_a_reset() {
        let many = 3 * KEPT_BYTES_MAX / page_bytes();
        for pages in [1, 2, 16, many] {
            for image_pages in [0, 1, pages / 2, pages] {
                check(pages, image_pages);
            }
        }
    }

    #[test]
    fn a_large_slot_is_emptied_whether_the_kernel_is_asked_or_not() {
        let (page, len) = (page_bytes(), 2 * SCANNED_BYTES_MIN);
        let images = [3, 5].map(|byte| {
            let mut file = ImageFile::new(len).expect("a file");
            file.write(0, &vec![byte; len]).expect("room");
            file.seal().expect("sealed")
        });
        let mut mapping = Mapping::reserve(len).expect("address space");
        mapping.make_accessible(0, len).expect("accessible");
        let (mut asked, mut unasked) = (0, 0);
        for round in 0..400 {
            let image = &images[round / 50 % 2];
            if round % 50 == 0 {
                mapping.copy_on_write(len, image.file()).expect("mapped");
            }
            // A page more now and then; not all users may touch the second half.
            let half = round % 3 == 1;
            let end = if half { len / 2 } else { len };
            let at = |index: usize| (len - (index * 7 + 1) * page) % end;
            (0..=round / 10).for_each(|index| mapping.write(at(index) + 9, &[SECRET; 100]));
            match page_faults().ok() == mapping.own.faults {
                true => unasked += 1,
                false => asked += 1,
            }
            empty(&mut mapping, &(0..end), Some(image)).expect("emptied");
            assert!(bytes(&mapping, len) == image.bytes(), "round {round}");
        }
        assert!(asked > 0 && unasked > 0, "{asked} {unasked}");
    }

    /// What was written where no page was new, and where one was.
    #[test]
    fn memories_that_stay_are_what_they_were_whether_the_kernel_is_asked_or_not() {
        let (page, pages) = (page_bytes(), 8);
        let len = pages * page;
        let mut file = ImageFile::new(len).expect("a file");
        file.write(0, &vec![3; len]).expect("room");
        let image = Arc::new(file.seal().expect("sealed"));
        let mapping = Mapping::reserve(len).expect("address space");
        mapping.make_accessible(0, len).expect("accessible");
        mapping.copy_on_write(len, image.file()).expect("mapped");
        let slot = Slot::new(mapping, len, Some(image.clone()), None);
        let mut present = Present::unknown(&slot);
        assert!(present.faults_tell, "it is small");
        let (mut asked, mut unasked) = (0, 0);
        for round in 0..10_000 {
            // A page more now and then.
            let touched = 1 + (round / 100) % pages;
            (0..touched).for_each(|at| slot.mapping().write(at * page + 9, &[SECRET; 100]));
            match page_faults().ok() == present.faults {
                true => unasked += 1,
                false => asked += 1,
            }
            renew(std::iter::once((&slot, &mut present)), &image).expect("renewed");
            assert!(bytes(slot.mapping(), len) == vec![3; len], "round {round}");
        }
        assert!(asked >= pages && unasked > 0, "{asked} {unasked}");
    }
}
