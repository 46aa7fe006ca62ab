//! Free slots of one kind: emptied a while after they fell free, or when they are used again.

use std::io;
use std::ops::Range;

use parking_lot::Mutex;

use crate::sys::Mapping;

/// Most slots that are reserved by one call of the kernel. The first call reserves one, each further
/// one twice as many as the one before, so that a small job takes little address space.
const RESERVED_AT_ONCE_MAX: usize = 16;

/// Free slots.
#[derive(Debug)]
pub(super) struct FreeList {
    inner: Mutex<Inner>,
    /// Slots kept, at most.
    slots_max: usize,
    /// New slots are readable and writable.
    accessible: bool,
}

#[derive(Debug)]
struct Inner {
    slots: Vec<FreeSlot>,
    /// Slots of the next reservation.
    next: usize,
}

#[derive(Debug)]
struct FreeSlot {
    mapping: Mapping,
    /// What may be touched, and so may hold pages.
    accessible: Range<usize>,
    content: Content,
}

/// What is in a slot's pages.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Content {
    /// Nothing: it has no pages.
    Nothing,
    /// What its last user left.
    Left,
    /// The same, and that some time ago.
    LeftLongAgo,
}

impl FreeList {
    /// A list that keeps `slots_max` slots at most; new ones are `accessible` or not.
    pub(super) fn new(slots_max: usize, accessible: bool) -> Self {
        let inner = Inner { slots: Vec::new(), next: 1 };
        Self { inner: Mutex::new(inner), slots_max, accessible }
    }

    /// A slot of `bytes` of which exactly `accessible` may be touched; it reads as zero.
    pub(super) fn take(&self, bytes: usize, accessible: &Range<usize>) -> io::Result<Mapping> {
        let slot = match self.reusable(bytes, accessible) {
            Some(slot) => slot,
            None => self.reserve(bytes)?,
        };
        if slot.content != Content::Nothing {
            slot.mapping.discard(slot.accessible.start, slot.accessible.end)?;
        }
        adjust(&slot.mapping, &slot.accessible, accessible)?;
        Ok(slot.mapping)
    }

    /// A slot of the right size: one that needs neither emptying nor other limits if there is one.
    fn reusable(&self, bytes: usize, accessible: &Range<usize>) -> Option<FreeSlot> {
        let slots = &mut self.inner.lock().slots;
        let fits = |slot: &FreeSlot| slot.mapping.bytes() == bytes;
        let exact = |slot: &FreeSlot| fits(slot) && slot.accessible == *accessible;
        let ready = |slot: &FreeSlot| exact(slot) && slot.content == Content::Nothing;
        let index = slots
            .iter()
            .rposition(ready)
            .or_else(|| slots.iter().rposition(exact))
            .or_else(|| slots.iter().rposition(fits))?;
        Some(slots.swap_remove(index))
    }

    fn reserve(&self, bytes: usize) -> io::Result<FreeSlot> {
        let mut inner = self.inner.lock();
        let count = inner.next;
        // Where there is no room for many there may be room for one.
        let many = Mapping::reserve_many(bytes, count, self.accessible)
            .or_else(|_| Mapping::reserve_many(bytes, 1, self.accessible))?;
        let many: Vec<_> = many.collect();
        if self.accessible {
            // A kernel that does not know this has no huge pages.
            let _ = many[0].refuse_huge_pages();
        }
        inner.next = (2 * count).min(RESERVED_AT_ONCE_MAX);
        let end = if self.accessible { bytes } else { 0 };
        inner.slots.extend(many.into_iter().map(|mapping| FreeSlot {
            mapping,
            accessible: 0..end,
            content: Content::Nothing,
        }));
        Ok(inner.slots.pop().expect("at least one slot was reserved"))
    }

    /// Takes back a slot of which `accessible` could be touched.
    pub(super) fn give_back(&self, mapping: Mapping, accessible: Range<usize>) {
        let mut inner = self.inner.lock();
        if inner.slots.len() < self.slots_max {
            inner.slots.push(FreeSlot { mapping, accessible, content: Content::Left });
        }
    }

    /// Empties the slots that were free at the last call already. Returns whether others are left.
    pub(super) fn tidy(&self) -> bool {
        let (due, left) = self.age();
        for slot in due {
            // A slot that cannot be emptied must not be reused; dropping it unmaps it.
            if slot.mapping.discard(slot.accessible.start, slot.accessible.end).is_ok() {
                self.inner.lock().slots.push(FreeSlot { content: Content::Nothing, ..slot });
            }
        }
        left
    }

    /// Takes out the slots to be emptied; returns whether others will have to be.
    fn age(&self) -> (Vec<FreeSlot>, bool) {
        let slots = &mut self.inner.lock().slots;
        let due = slots.extract_if(.., |slot| slot.content == Content::LeftLongAgo).collect();
        let mut left = false;
        for slot in slots.iter_mut().filter(|slot| slot.content == Content::Left) {
            slot.content = Content::LeftLongAgo;
            left = true;
        }
        (due, left)
    }
}

/// Changes what of `mapping` may be touched from one range to another.
fn adjust(mapping: &Mapping, from: &Range<usize>, to: &Range<usize>) -> io::Result<()> {
    if from.is_empty() {
        return mapping.make_accessible(to.start, to.end);
    }
    debug_assert!(from.start <= to.end && to.start <= from.end, "the ranges touch");
    if from.start < to.start {
        mapping.make_inaccessible(from.start, to.start)?;
    } else {
        mapping.make_accessible(to.start, from.start)?;
    }
    if to.end < from.end {
        mapping.make_inaccessible(to.end, from.end)
    } else {
        mapping.make_accessible(from.end, to.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::page_bytes;

    fn write_and_read(mapping: &Mapping, at: usize) -> u8 {
        let byte = mapping.base().as_ptr().wrapping_add(at);
        // SAFETY: the tests take slots in which `at` is accessible.
        let before = unsafe { byte.read() };
        // SAFETY: as above.
        unsafe { byte.write(7) };
        before
    }

    #[test]
    fn a_slot_is_empty_when_it_is_used_again() {
        let page = page_bytes();
        let list = FreeList::new(4, false);
        for _ in 0..3 {
            let mapping = list.take(4 * page, &(0..page)).expect("address space");
            assert_eq!(write_and_read(&mapping, 5), 0);
            list.give_back(mapping, 0..page);
        }
        assert!(list.tidy(), "it fell free since the last call");
        assert!(!list.tidy());
        let mapping = list.take(4 * page, &(0..2 * page)).expect("address space");
        assert_eq!(write_and_read(&mapping, 5), 0);
        assert_eq!(write_and_read(&mapping, page), 0);
    }

    #[test]
    fn many_slots_do_not_overlap_and_none_beyond_the_limit_is_kept() {
        let page = page_bytes();
        let list = FreeList::new(2, true);
        let taken: Vec<_> =
            (0..40).map(|_| list.take(2 * page, &(page..2 * page)).expect("room")).collect();
        for mapping in &taken {
            assert_eq!(write_and_read(mapping, page), 0);
        }
        taken.into_iter().for_each(|mapping| list.give_back(mapping, page..2 * page));
        let used = list.inner.lock().slots.iter().filter(|s| s.content == Content::Left).count();
        assert!(used <= 2, "{used} slots were kept");
    }
}
