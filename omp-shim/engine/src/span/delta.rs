//! What changed in a memory, as it travels.
//!
//! ```text
//! for each page, in order:   page u32 | words u64 | mask u64 for each bit of `words` | the bytes that the mask has
//! ```
//!
//! All numbers are little-endian. `words` says which of the page's 64 blocks of 64 bytes have a byte that changed.

use alloc::vec::Vec;
use core::fmt;

use super::page::{Content, Mask, PAGE_BYTES, PAGES_MAX, WORDS};

/// Most bytes of a delta: a memory of more than that changes in more than one synchronisation.
pub const DELTA_BYTES_MAX: usize = 1 << 31;

/// Changed bytes, in order of their addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Delta {
    bytes: Vec<u8>,
}

/// The changes of one page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageChange<'a> {
    /// The page's number.
    pub page: u32,
    /// Which of its bytes changed.
    pub mask: Mask,
    /// What they are now, in order.
    pub bytes: &'a [u8],
}

/// Why bytes are no delta.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeltaError;

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("changes of memory came damaged")
    }
}

impl core::error::Error for DeltaError {}

impl Delta {
    /// The delta that `bytes` are, which come from elsewhere.
    ///
    /// # Errors
    /// They are none.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, DeltaError> {
        let delta = Self { bytes };
        let mut next = 0;
        let mut rest = delta.bytes.as_slice();
        while !rest.is_empty() {
            let (change, behind) = read(rest).ok_or(DeltaError)?;
            if change.page < next || change.page >= PAGES_MAX {
                return Err(DeltaError);
            }
            (next, rest) = (change.page + 1, behind);
        }
        Ok(delta)
    }

    /// Appends the bytes `mask` of a page, which lies behind all others; nothing if there are none.
    pub fn push(&mut self, page: u32, mask: &Mask, content: &Content) {
        let words =
            (0..WORDS).filter(|index| mask.0[*index] != 0).fold(0, |w, index| w | 1u64 << index);
        if words == 0 {
            return;
        }
        self.bytes.extend_from_slice(&page.to_le_bytes());
        self.bytes.extend_from_slice(&words.to_le_bytes());
        for word in mask.0.iter().filter(|word| **word != 0) {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        for (start, len) in mask.runs() {
            self.bytes.extend_from_slice(&content[start..start + len]);
        }
    }

    /// Whether nothing changed.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// It as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The changes, page by page.
    pub fn pages(&self) -> impl Iterator<Item = PageChange<'_>> {
        let mut rest = self.bytes.as_slice();
        core::iter::from_fn(move || {
            let (change, behind) = read(rest)?;
            rest = behind;
            Some(change)
        })
    }
}

impl PageChange<'_> {
    /// Puts the bytes into a page.
    pub fn apply(&self, content: &mut Content) {
        let mut bytes = self.bytes;
        for (start, len) in self.mask.runs() {
            let (now, rest) = bytes.split_at(len);
            content[start..start + len].copy_from_slice(now);
            bytes = rest;
        }
    }

    /// Address of the page's first byte.
    pub const fn address(&self) -> u32 {
        self.page * PAGE_BYTES as u32
    }
}

/// The first change of `bytes`, and what follows it.
fn read(bytes: &[u8]) -> Option<(PageChange<'_>, &[u8])> {
    let (page, rest) = bytes.split_first_chunk()?;
    let (words, mut rest) = rest.split_first_chunk()?;
    let mut mask = Mask::EMPTY;
    let words = u64::from_le_bytes(*words);
    for index in (0..WORDS).filter(|index| words >> index & 1 == 1) {
        let (word, behind) = rest.split_first_chunk()?;
        mask.0[index] = u64::from_le_bytes(*word);
        rest = behind;
    }
    let (bytes, rest) = rest.split_at_checked(mask.count())?;
    // A page without changes has no entry.
    let page = u32::from_le_bytes(*page);
    (!bytes.is_empty()).then_some((PageChange { page, mask, bytes }, rest))
}
