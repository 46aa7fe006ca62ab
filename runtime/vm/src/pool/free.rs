//! Free slots of one kind: emptied when they are used again, or a while after they fell free.
//!
//! The list is in shards, and each thread has one that it looks at first: in the steady state a thread takes
//! what it gave back, and shares no cache line with others.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::reset;
use crate::sys::{Found, ImageView, Mapping};

/// Most slots that are reserved by one call of the kernel, if they are large. The first call reserves one, each
/// further one twice as many as the one before, so that a small job takes little address space.
const RESERVED_AT_ONCE_MAX: usize = 16;

/// Address space that may be reserved by one call whatever the number of slots in it.
const RESERVED_BYTES: usize = 1 << 30;

/// Free slots.
#[derive(Debug)]
pub(super) struct FreeList {
    shards: Box<[Shard]>,
    /// Slots kept in a shard, at most.
    shard_slots_max: usize,
    /// New slots are readable and writable.
    accessible: bool,
}

/// On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Shard(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Slots that read as zero, or as their image.
    ready: Vec<FreeSlot>,
    /// Slots in which something was left.
    left: Vec<FreeSlot>,
    /// Slots of the next reservation.
    next: usize,
}

#[derive(Debug)]
struct FreeSlot {
    mapping: Mapping,
    /// What may be touched, and so may hold pages.
    accessible: Range<usize>,
    content: Content,
    /// It was here at the last look already.
    aged: bool,
    /// What is mapped at its start, beneath the content.
    image: Option<Arc<ImageView>>,
}

/// What is in a slot's pages.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Content {
    /// Nothing: it has no pages of its own.
    Nothing,
    /// Pages that were overwritten.
    Emptied,
    /// What its last user left.
    Left,
}

/// Most slots that are emptied together, by one scan of their pages.
const EMPTIED_TOGETHER_MAX: usize = 8;

/// Largest slots of which several are looked at by one scan though they were touched.
const SCANNED_TOGETHER_MAX: usize = 16 << 20;

/// What a slot is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    /// Its size.
    pub(super) bytes: usize,
    /// What of it may be touched.
    pub(super) accessible: Range<usize>,
    /// Its content; zeros where there is none. No larger than what may be touched.
    pub(super) image: Option<&'a Arc<ImageView>>,
    /// Whether anything of its last user may still be there.
    pub(super) dirty: bool,
}

impl FreeList {
    /// A list of `shards` that keeps about `slots_max` slots; new ones are `accessible` or not.
    pub(super) fn new(shards: usize, slots_max: usize, accessible: bool) -> Self {
        let shard = || Shard(Mutex::new(Inner { ready: Vec::new(), left: Vec::new(), next: 1 }));
        let shards: Box<[Shard]> = (0..shards.max(1)).map(|_| shard()).collect();
        let shard_slots_max = slots_max.div_ceil(shards.len());
        Self { shards, shard_slots_max, accessible }
    }

    /// Number of shards.
    pub(super) const fn shards(&self) -> usize {
        self.shards.len()
    }

    /// A slot as it is wanted, by the thread whose shard is `home`.
    pub(super) fn take(&self, home: usize, wanted: &Wanted<'_>) -> io::Result<Mapping> {
        if let Some(slot) = self.next_in_turn(home, wanted) {
            return fit(slot, wanted);
        }
        let slot = match self.reusable(home, wanted) {
            Some(slot) => slot,
            None => self.reserve(home, wanted.bytes)?,
        };
        fit(slot, wanted)
    }

    /// Another slot than those that were left in the thread's shard, where users write little: the scan is most of the
    /// work then, and one scan of all is to serve many users.
    fn next_in_turn(&self, home: usize, wanted: &Wanted<'_>) -> Option<FreeSlot> {
        let mut own = self.shards[home].0.lock();
        if !own.should_take_turns(wanted, self.shard_slots_max) {
            return None;
        }
        let plain = own.take_plain(wanted.bytes);
        drop(own);
        plain.or_else(|| self.reserve(home, wanted.bytes).ok())
    }

    /// A free slot of the right size, from the thread's own shard if there is one.
    fn reusable(&self, home: usize, wanted: &Wanted<'_>) -> Option<FreeSlot> {
        let others = (0..self.shards.len()).filter(|shard| *shard != home);
        std::iter::once(home)
            .chain(others)
            .find_map(|shard| self.shards[shard].0.lock().take(wanted))
    }

    fn reserve(&self, home: usize, bytes: usize) -> io::Result<FreeSlot> {
        let mut inner = self.shards[home].0.lock();
        let count = inner.next;
        // Where there is no room for many there may be room for one.
        let many = Mapping::reserve_many(bytes, count, self.accessible)
            .or_else(|_| Mapping::reserve_many(bytes, 1, self.accessible))?;
        let many: Vec<_> = many.collect();
        if self.accessible {
            // A kernel that does not know this has no huge pages.
            let _ = many[0].refuse_huge_pages();
        }
        inner.next = (2 * count).min(RESERVED_AT_ONCE_MAX.max(RESERVED_BYTES / bytes));
        let end = if self.accessible { bytes } else { 0 };
        inner.ready.extend(many.into_iter().map(|mapping| FreeSlot {
            mapping,
            accessible: 0..end,
            content: Content::Nothing,
            aged: false,
            image: None,
        }));
        Ok(inner.ready.pop().expect("at least one slot was reserved"))
    }

    /// Takes back a slot of which `accessible` could be touched, and which holds `image` beneath what was written.
    pub(super) fn give_back(
        &self,
        home: usize,
        mapping: Mapping,
        accessible: Range<usize>,
        image: Option<Arc<ImageView>>,
    ) {
        let content = Content::Left;
        let mut slot = FreeSlot { mapping, accessible, content, aged: false, image };
        for index in 0..self.shards.len() {
            let shard = &self.shards[(home + index) % self.shards.len()];
            let mut inner = shard.0.lock();
            if inner.ready.len() + inner.left.len() < self.shard_slots_max {
                inner.left.push(slot);
                return;
            }
        }
        // It is unmapped, or with the last other part of its reservation; the image need not wait for that.
        if let Some(image) = slot.image.take() {
            let unmapped = slot.mapping.unshare(0, image.bytes().len());
            debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        }
    }

    /// Gives the pages back of the slots that were free at the last call already. Returns whether others are left.
    pub(super) fn tidy(&self) -> bool {
        let mut left = false;
        for shard in &self.shards {
            let (due, younger) = shard.0.lock().age();
            left |= younger;
            for mut slot in due {
                // A slot that cannot be emptied must not be reused; dropping it unmaps it.
                if slot.give_pages_back().is_ok() {
                    shard.0.lock().ready.push(slot);
                }
            }
        }
        left
    }

    #[cfg(test)]
    fn kept(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().left.len()).sum()
    }
}

impl Inner {
    /// The slot that needs the least work to be what is wanted: the last one given back if all are alike.
    fn take(&mut self, wanted: &Wanted<'_>) -> Option<FreeSlot> {
        let exact = |slot: &FreeSlot| slot.is_exactly(wanted);
        if let Some(index) = self.ready.iter().rposition(exact) {
            return Some(self.ready.swap_remove(index));
        }
        if let Some(index) = self.left.iter().rposition(exact) {
            let slot = self.left.swap_remove(index);
            let with_neighbours = slot.is_scanned_with_neighbours() && !wanted.dirty;
            return Some(if with_neighbours { self.empty_with_neighbours(slot) } else { slot });
        }
        let fits = |slot: &FreeSlot| slot.mapping.bytes() == wanted.bytes;
        let same = |slot: &FreeSlot| fits(slot) && slot.holds(wanted.image);
        let plain = |slot: &FreeSlot| fits(slot) && slot.image.is_none();
        let choices: [&dyn Fn(&FreeSlot) -> bool; 3] = [&same, &plain, &fits];
        choices.into_iter().find_map(|choice| {
            [&mut self.ready, &mut self.left].into_iter().find_map(|slots| {
                let index = slots.iter().rposition(choice)?;
                Some(slots.swap_remove(index))
            })
        })
    }

    /// Whether another slot should be used before those that were left are emptied. There must be room for it when it is
    /// given back, or each user would have a new one.
    fn should_take_turns(&self, wanted: &Wanted<'_>, slots_max: usize) -> bool {
        let is_full = self.ready.len() + self.left.len() >= slots_max;
        if wanted.dirty || wanted.image.is_some() || is_full {
            return false;
        }
        let exact = |slot: &&FreeSlot| slot.is_exactly(wanted);
        let left = || self.left.iter().filter(exact).take(EMPTIED_TOGETHER_MAX);
        !self.ready.iter().any(|slot| exact(&slot))
            && (1..EMPTIED_TOGETHER_MAX).contains(&left().count())
            && left().all(FreeSlot::is_scanned_with_neighbours)
    }

    /// A slot that holds nothing, whatever of it may be touched.
    fn take_plain(&mut self, bytes: usize) -> Option<FreeSlot> {
        let plain = |slot: &FreeSlot| slot.mapping.bytes() == bytes && slot.image.is_none();
        let index = self.ready.iter().rposition(plain)?;
        Some(self.ready.swap_remove(index))
    }

    /// Empties a slot without an image, and with it those beside it that are alike: the kernel's part costs as much
    /// for many as for one.
    fn empty_with_neighbours(&mut self, slot: FreeSlot) -> FreeSlot {
        let accessible = slot.accessible.clone();
        let mut run = vec![slot];
        while run.len() < EMPTIED_TOGETHER_MAX {
            let (first, last) = (run[0].start(), run[run.len() - 1].start());
            let bytes = run[0].mapping.bytes();
            let next = self.left.iter().rposition(|slot| {
                let beside = slot.start() + bytes == first || last + bytes == slot.start();
                beside && slot.is_like(&run[0])
            });
            let Some(next) = next else { break };
            let next = self.left.swap_remove(next);
            let at = if next.start() < first { 0 } else { run.len() };
            run.insert(at, next);
        }
        let places = run[0].start() + accessible.start..run[run.len() - 1].start() + accessible.end;
        let mappings = run.iter_mut().map(|slot| &mut slot.mapping);
        if reset::empty_together(mappings, &accessible, places) {
            run.iter_mut().for_each(|slot| slot.content = Content::Emptied);
        }
        let slot = run.swap_remove(0);
        for other in run {
            let slots =
                if other.content == Content::Left { &mut self.left } else { &mut self.ready };
            slots.push(other);
        }
        slot
    }

    /// Takes out the slots whose pages are to be given back; returns whether others will have to be.
    fn age(&mut self) -> (Vec<FreeSlot>, bool) {
        let (mut due, mut younger) = (Vec::new(), false);
        for slots in [&mut self.ready, &mut self.left] {
            let holds = |slot: &FreeSlot| slot.content != Content::Nothing;
            due.extend(slots.extract_if(.., |slot| slot.aged && holds(slot)));
            for slot in slots.iter_mut().filter(|slot| holds(slot)) {
                slot.aged = true;
                younger = true;
            }
        }
        (due, younger)
    }
}

impl FreeSlot {
    fn start(&self) -> usize {
        self.mapping.base().as_ptr().addr()
    }

    fn is_exactly(&self, wanted: &Wanted<'_>) -> bool {
        self.mapping.bytes() == wanted.bytes
            && self.accessible == wanted.accessible
            && self.holds(wanted.image)
    }

    /// Whether one scan of it and its neighbours is cheaper than one of each. On its way from slot to slot the scan looks at each
    /// entry of the tables of pages, and where one page was touched there are hundreds for the rest of its GiB.
    fn is_scanned_with_neighbours(&self) -> bool {
        let is_quick = match self.mapping.found {
            Found::Nothing => true,
            Found::Few => self.mapping.bytes() <= SCANNED_TOGETHER_MAX,
            Found::Some | Found::All => false,
        };
        is_quick && self.image.is_none()
    }

    /// Whether it can be emptied together with `other`, which has no image.
    fn is_like(&self, other: &Self) -> bool {
        self.mapping.bytes() == other.mapping.bytes()
            && self.accessible == other.accessible
            && self.is_scanned_with_neighbours()
    }

    fn holds(&self, image: Option<&Arc<ImageView>>) -> bool {
        match (&self.image, image) {
            (None, None) => true,
            (Some(held), Some(image)) => Arc::ptr_eq(held, image),
            _ => false,
        }
    }

    fn take_image_out(&mut self) -> io::Result<()> {
        if let Some(image) = self.image.take() {
            self.mapping.unshare(0, image.bytes().len())?;
        }
        Ok(())
    }

    fn give_pages_back(&mut self) -> io::Result<()> {
        self.take_image_out()?;
        (self.content, self.aged, self.mapping.found) = (Content::Nothing, false, Found::default());
        self.mapping.discard(self.accessible.start, self.accessible.end)
    }
}

/// Makes a free slot what is wanted.
fn fit(mut slot: FreeSlot, wanted: &Wanted<'_>) -> io::Result<Mapping> {
    let same = slot.holds(wanted.image);
    if !same {
        slot.take_image_out()?;
    }
    if slot.content == Content::Left && !wanted.dirty {
        reset::empty(&mut slot.mapping, &slot.accessible, slot.image.as_deref())?;
    }
    adjust(&slot.mapping, &slot.accessible, &wanted.accessible)?;
    if let (false, Some(image)) = (same, wanted.image) {
        slot.mapping.copy_on_write(image.bytes().len(), image.file())?;
    }
    Ok(slot.mapping)
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
    use crate::sys::{ImageFile, page_bytes};

    fn write_and_read(mapping: &Mapping, at: usize) -> u8 {
        let mut before = [0];
        mapping.read(at, &mut before);
        mapping.write(at, &[7]);
        before[0]
    }

    fn wanted(bytes: usize, accessible: Range<usize>) -> Wanted<'static> {
        Wanted { bytes, accessible, image: None, dirty: false }
    }

    #[test]
    fn a_slot_is_empty_when_it_is_used_again() {
        let page = page_bytes();
        let list = FreeList::new(1, 4, false);
        for _ in 0..3 {
            let mapping = list.take(0, &wanted(4 * page, 0..page)).expect("address space");
            assert_eq!(write_and_read(&mapping, 5), 0);
            list.give_back(0, mapping, 0..page, None);
        }
        assert!(list.tidy(), "it fell free since the last call");
        assert!(!list.tidy());
        let mapping = list.take(0, &wanted(4 * page, 0..2 * page)).expect("address space");
        assert_eq!(write_and_read(&mapping, 5), 0);
        assert_eq!(write_and_read(&mapping, page), 0);
    }

    #[test]
    fn a_slot_becomes_what_is_wanted_whatever_it_was() {
        let page = page_bytes();
        let list = FreeList::new(2, 4, false);
        let images: Vec<_> = [1_u8, 2]
            .into_iter()
            .map(|byte| {
                let mut file = ImageFile::new(2 * page).expect("a file");
                file.write(0, &vec![byte; 2 * page]).expect("room");
                Arc::new(file.seal().expect("sealed"))
            })
            .collect();
        let mut base = None;
        for image in [None, Some(0), Some(0), Some(1), None, Some(1), Some(1)] {
            for tidied in [false, true] {
                let image = image.map(|index: usize| &images[index]);
                let wanted = Wanted { image, ..wanted(4 * page, 0..3 * page) };
                let mapping = list.take(0, &wanted).expect("address space");
                let expected = image.map_or(0, |image| image.bytes()[0]);
                for at in [5, 2 * page - 1] {
                    assert_eq!(write_and_read(&mapping, at), expected);
                }
                assert_eq!(write_and_read(&mapping, 2 * page), 0, "behind the image");
                let at = mapping.base();
                assert_eq!(*base.get_or_insert(at), at, "the slot is used again");
                list.give_back(1, mapping, 0..3 * page, image.cloned());
                if tidied {
                    list.tidy();
                    list.tidy();
                }
            }
        }
    }

    #[test]
    fn slots_take_turns_where_little_is_written() {
        let page = page_bytes();
        let list = FreeList::new(1, 64, false);
        let wanted = wanted(32 * page, 0..16 * page);
        let places = |list: &FreeList, written: usize| {
            let uses = (0..40).map(|_| {
                let mapping = list.take(0, &wanted).expect("address space");
                for index in 0..written {
                    assert_eq!(write_and_read(&mapping, index * page), 0);
                }
                let place = mapping.base();
                list.give_back(0, mapping, 0..16 * page, None);
                place
            });
            uses.collect::<std::collections::HashSet<_>>().len()
        };
        assert_eq!(places(&list, 1), EMPTIED_TOGETHER_MAX);
        places(&list, 12);
        assert_eq!(places(&list, 12), 1, "the last one is warm");
        let small = FreeList::new(1, 2, false);
        assert_eq!(places(&small, 1), 2, "no more than are kept");
    }

    #[test]
    fn many_slots_do_not_overlap_and_none_beyond_the_limit_is_kept() {
        let page = page_bytes();
        let list = FreeList::new(2, 2, true);
        let one = wanted(2 * page, page..2 * page);
        let taken: Vec<_> = (0..40).map(|_| list.take(0, &one).expect("room")).collect();
        for mapping in &taken {
            assert_eq!(write_and_read(mapping, page), 0);
        }
        for mapping in taken {
            list.give_back(0, mapping, page..2 * page, None);
        }
        assert!(list.kept() <= 2, "{} slots were kept", list.kept());
    }
}
