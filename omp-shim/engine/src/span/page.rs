//! Pages, and which of their bytes.

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// Pages of a 32-bit address space.
pub const PAGES_MAX: u32 = 1 << 20;

/// Words of a mask, each of 64 bytes' bits.
pub const WORDS: usize = PAGE_BYTES / 64;

/// What a page holds.
pub type Content = [u8; PAGE_BYTES];

/// Some of the bytes of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mask(pub(super) [u64; WORDS]);

impl Mask {
    /// No byte.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// The bytes in which the two differ.
    pub fn of_difference(before: &Content, now: &Content) -> Self {
        let mut mask = Self::EMPTY;
        let blocks = before.as_chunks::<64>().0.iter().zip(now.as_chunks::<64>().0);
        for (word, (before, now)) in mask.0.iter_mut().zip(blocks) {
            if before == now {
                continue;
            }
            for (bit, (before, now)) in before.iter().zip(now).enumerate() {
                *word |= u64::from(before != now) << bit;
            }
        }
        mask
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Number of its bytes.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it has the byte at `index`.
    pub const fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    /// Adds the byte at `index`.
    pub const fn add(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Adds the other's bytes.
    pub fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Removes the other's bytes.
    pub fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }

    /// The bytes that are in both.
    pub fn intersection(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
        self
    }

    /// Its bytes, in order.
    pub fn bytes(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }

    /// Its runs of neighbouring bytes, in order: first byte and length of each.
    pub fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let start = self.next(at, true)?;
            at = self.next(start, false).unwrap_or(PAGE_BYTES);
            Some((start, at - start))
        })
    }

    /// The first byte from `at` on that is in the mask, or is not.
    fn next(&self, mut at: usize, inside: bool) -> Option<usize> {
        while at < PAGE_BYTES {
            let word = self.0[at / 64];
            let rest = (if inside { word } else { !word }) >> (at % 64);
            if rest != 0 {
                return Some(at + rest.trailing_zeros() as usize);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}
