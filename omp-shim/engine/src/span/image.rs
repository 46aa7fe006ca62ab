//! What a node and the home last agreed on, and the bytes that they never do.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::delta::{Delta, PageChange};
use super::page::{Content, Mask, PAGE_BYTES};

/// Most ranges that a program may keep to each node.
pub const PRIVATE_MAX: usize = 256;

/// The content of a memory, of which pages that were never written need no room.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pages: BTreeMap<u32, Box<Content>>,
}

/// Ranges of bytes that each node has for itself.
#[derive(Clone, Debug, Default)]
pub struct Private {
    ranges: Vec<(u32, u32)>,
}

/// Two nodes have written to the same byte without synchronising.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Clash {
    /// Its address.
    pub address: u32,
    /// What the one wrote.
    pub one: u8,
    /// What the other wrote.
    pub other: u8,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, one, other } = self;
        write!(
            f,
            "threads on two nodes have written to the byte at {address:#x} without synchronising in between (one {one:#04x}, \
             the other {other:#04x}). Threads of a team that spans nodes may share data only through constructs of \
             OpenMP: use a reduction, an atomic or critical construct, or a barrier, or run without --omp-nodes"
        )
    }
}

impl core::error::Error for Clash {}

const ZEROS: Content = [0; PAGE_BYTES];

impl Image {
    /// A page.
    pub fn page(&self, page: u32) -> &Content {
        self.pages.get(&page).map_or(&ZEROS, |content| content)
    }

    /// A page, to be changed.
    pub fn page_mut(&mut self, page: u32) -> &mut Content {
        self.pages.entry(page).or_insert_with(|| Box::new(ZEROS))
    }

    /// Notes that a page is `now`, except for its private bytes; appends what changed to `delta`.
    pub fn compare(
        &mut self,
        page: u32,
        now: &Content,
        private: &Private,
        delta: &mut Delta,
    ) -> Mask {
        let mut mask = Mask::of_difference(self.page(page), now);
        if mask.is_empty() {
            return mask;
        }
        if let Some(own) = private.of_page(page) {
            mask.subtract(&own);
            if mask.is_empty() {
                return mask;
            }
        }
        let image = self.page_mut(page);
        for (start, len) in mask.runs() {
            image[start..start + len].copy_from_slice(&now[start..start + len]);
        }
        delta.push(page, &mask, now);
        mask
    }

    /// Whether `change` may go into a memory whose page is `live` now: bytes that were written there since the image was
    /// that page's must not be among those of the change, unless they have become the same.
    ///
    /// # Errors
    /// The first byte that is.
    pub fn check(&self, change: &PageChange<'_>, live: &Content) -> Result<(), Clash> {
        let image = self.page(change.page);
        if image == live {
            return Ok(());
        }
        for (index, new) in change.mask.bytes().zip(change.bytes) {
            if live[index] != image[index] && live[index] != *new {
                let address = change.address() + index as u32;
                return Err(Clash { address, one: live[index], other: *new });
            }
        }
        Ok(())
    }
}

impl Private {
    /// Adds a range; `false` if it cannot be one, or there are too many.
    pub fn add(&mut self, start: u32, len: u32) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        if self.ranges.contains(&(start, end)) {
            return true;
        }
        let has_room = self.ranges.len() < PRIVATE_MAX;
        if has_room {
            self.ranges.push((start, end));
        }
        has_room
    }

    /// Whether a byte of `len` at `start` is private.
    pub fn touches(&self, start: u32, len: u32) -> bool {
        let end = u64::from(start) + u64::from(len);
        self.ranges.iter().any(|(from, to)| u64::from(*from) < end && start < *to)
    }

    /// The private bytes of a page, if it has any.
    pub fn of_page(&self, page: u32) -> Option<Mask> {
        let (first, size) = (u64::from(page) * PAGE_BYTES as u64, PAGE_BYTES as u64);
        let mut mask: Option<Mask> = None;
        for (start, end) in &self.ranges {
            let (start, end) = (u64::from(*start).max(first), u64::from(*end).min(first + size));
            for at in start..end {
                mask.get_or_insert(Mask::EMPTY).add((at - first) as usize);
            }
        }
        mask
    }
}
