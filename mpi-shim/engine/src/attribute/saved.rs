//! Keys and attributes as lists, to be written to a file.

use alloc::vec::Vec;

use super::{Attributes, Entry, Keyval, Keyvals};

impl Keyvals {
    /// All keys, each with whether it was freed, and the next number.
    pub fn to_list(&self) -> (Vec<(i32, Keyval, bool)>, i32) {
        let one = |(key, entry): (&i32, &Entry)| (*key, entry.keyval, entry.freed);
        (self.entries.iter().map(one).collect(), self.next)
    }

    /// The keys of such a list. No attribute has them yet; each is to be counted with [`Keyvals::attach`], and
    /// then [`Keyvals::forget_unused`] called.
    pub fn from_list(list: Vec<(i32, Keyval, bool)>, next: i32) -> Self {
        let entry = |(key, keyval, freed)| (key, Entry { keyval, attributes: 0, freed });
        Self { entries: list.into_iter().map(entry).collect(), next }
    }

    /// Drops freed keys that no attribute has.
    pub fn forget_unused(&mut self) {
        self.entries.retain(|_, entry| !entry.freed || entry.attributes > 0);
    }
}

impl Attributes {
    /// Keys and values in their order.
    pub fn to_list(&self) -> Vec<(i32, u64)> {
        self.values.clone()
    }

    /// The attributes of such a list.
    pub const fn from_list(values: Vec<(i32, u64)>) -> Self {
        Self { values }
    }
}
