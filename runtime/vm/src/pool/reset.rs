//! Emptying what a Faaslet leaves, without the kernel where that is cheaper.
//!
//! Taking pages away (`madvise`) costs their faults anew, takes the process's memory lock, and interrupts the
//! other cores that run this process. So the pages that were written are found and overwritten in place, as long as they are
//! few; only what is beyond [`KEPT_BYTES_MAX`] is given back.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use crate::sys::{Found, ImageView, Mapping, Pages, scan_pages};

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

/// Makes `range` of a slot, which is accessible, the content of `image`, and zero beyond it.
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
    let base = mapping.base().as_ptr().addr();
    WRITTEN.with_borrow_mut(|written| {
        written.clear();
        let places = base + range.start..base + range.end;
        if scan_pages(places, Pages::Private, written).is_err() {
            // Private pages of an image become the image's, others zero.
            return mapping.discard(range.start, range.end);
        }
        overwrite_written(mapping, range, image, written)
    })
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
        mappings.all(|mapping| overwrite_written(mapping, range, None, written).is_ok())
    })
}

/// Overwrites those of the ranges `written`, which are addresses, that lie in the `range` of the slot.
fn overwrite_written(
    mapping: &mut Mapping,
    range: &Range<usize>,
    image: Option<&ImageView>,
    written: &[Range<usize>],
) -> io::Result<()> {
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
            mapping.found = Found::Some;
            return mapping.discard(kept, range.end);
        }
    }
    mapping.found = match sum {
        sum if sum == range.len() => Found::All,
        0..=FEW_BYTES_MAX => Found::Few,
        _ => Found::Some,
    };
    Ok(())
}

fn overwrite(mapping: &Mapping, range: Range<usize>, image: Option<&ImageView>) {
    let image = image.map_or(&[][..], ImageView::bytes);
    let middle = image.len().clamp(range.start, range.end);
    mapping.write(range.start, &image[range.start.min(image.len())..middle.min(image.len())]);
    mapping.zero(middle, range.end);
}

#[cfg(test)]
mod tests {
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
}
