//! A list that only grows, whose entries stay where they are.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Entries of a chunk, and chunks.
const CHUNK: usize = 128;
const CHUNKS: usize = 256;

/// Entries that are made together.
type Chunk<T> = Box<[OnceLock<T>]>;

/// A list for up to [`Grown::MAX`] entries; reading needs no lock.
#[derive(Debug)]
pub struct Grown<T> {
    reserved: AtomicU32,
    chunks: Box<[OnceLock<Chunk<T>>]>,
}

impl<T> Default for Grown<T> {
    fn default() -> Self {
        let chunks = (0..CHUNKS).map(|_| OnceLock::new()).collect();
        Self { reserved: AtomicU32::new(0), chunks }
    }
}

impl<T> Grown<T> {
    /// Most entries.
    pub const MAX: u32 = (CHUNK * CHUNKS) as u32;

    /// Reserves `count` entries that follow each other; gives the index of the first.
    pub fn reserve(&self, count: u32) -> Option<u32> {
        let next = |first: u32| first.checked_add(count).filter(|end| *end <= Self::MAX);
        self.reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()
    }

    /// Number of entries reserved so far; not all of them are set yet.
    pub fn reserved(&self) -> u32 {
        self.reserved.load(Ordering::Acquire)
    }

    /// Sets an entry once. It counts as reserved from then on.
    pub fn set(&self, index: u32, value: T) {
        if index >= Self::MAX {
            return;
        }
        self.reserved.fetch_max(index + 1, Ordering::AcqRel);
        let index = index as usize;
        let Some(chunk) = self.chunks.get(index / CHUNK) else { return };
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        // A second value would be a bug of the caller, and changes nothing.
        let _ = chunk[index % CHUNK].set(value);
    }

    /// The entry, once it is set.
    pub fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)?.get()
    }

    /// The entries that are set, with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.reserved()).filter_map(|index| Some((index, self.get(index)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_reserved_in_a_row_and_set_once() {
        let list = Grown::default();
        assert_eq!((list.reserve(200), list.reserve(3)), (Some(0), Some(200)));
        assert_eq!(list.get(201), None);
        list.set(201, 'a');
        list.set(201, 'b');
        assert_eq!(list.get(201), Some(&'a'));
        assert_eq!(list.iter().collect::<Vec<_>>(), [(201, &'a')]);
        assert_eq!(list.reserve(Grown::<char>::MAX), None);
        assert_eq!(list.reserved(), 203);
        list.set(Grown::<char>::MAX, 'c');
        assert_eq!((list.get(u32::MAX), list.reserved()), (None, 203));
        list.set(500, 'd');
        assert_eq!(list.iter().last(), Some((500, &'d')));
    }
}
