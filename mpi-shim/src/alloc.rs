//! Memory that MPI itself needs inside a guest: scratch for callbacks and `MPI_Alloc_mem`.
//!
//! A guest that exports `malloc` and `free` is asked for it. Any other guest's memory is grown, and
//! a first-fit free list keeps what it gives back.

/// Blocks grown by MPI in a guest without `malloc`: address and size, sorted by address.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct GuestHeap {
    free: Vec<(u32, u32)>,
    live: std::collections::BTreeMap<u32, u32>,
}

/// Alignment of every block.
const ALIGN: u32 = 16;

impl GuestHeap {
    /// Takes a block of at least `bytes` from the free list.
    pub fn take(&mut self, bytes: u32) -> Option<u32> {
        let bytes = Self::rounded(bytes)?;
        let index = self.free.iter().position(|(_, size)| *size >= bytes)?;
        let (addr, size) = self.free[index];
        if size == bytes {
            self.free.remove(index);
        } else {
            self.free[index] = (addr + bytes, size - bytes);
        }
        self.live.insert(addr, bytes);
        Some(addr)
    }

    /// Adds `size` bytes at `addr`, fresh from the guest's memory.
    pub fn add(&mut self, addr: u32, size: u32) {
        let index = self.free.partition_point(|(start, _)| *start < addr);
        self.free.insert(index, (addr, size));
        self.merge(index);
    }

    /// Whether all blocks lie inside a memory of 32-bit addresses; what comes from a file is asked.
    pub(crate) fn is_sound(&self) -> bool {
        let mut blocks =
            self.free.iter().copied().chain(self.live.iter().map(|(at, len)| (*at, *len)));
        blocks.all(|(at, len)| at.checked_add(len).is_some()) && self.free.is_sorted()
    }

    /// Gives a block back; `false` when it is not a live block.
    pub fn give_back(&mut self, addr: u32) -> bool {
        match self.live.remove(&addr) {
            Some(size) => {
                self.add(addr, size);
                true
            }
            None => false,
        }
    }

    /// `bytes` rounded up to what a block of that size takes.
    pub fn rounded(bytes: u32) -> Option<u32> {
        bytes.max(1).checked_next_multiple_of(ALIGN)
    }

    fn merge(&mut self, index: usize) {
        let joins = |left: (u32, u32), right: (u32, u32)| left.0 + left.1 == right.0;
        if index + 1 < self.free.len() && joins(self.free[index], self.free[index + 1]) {
            self.free[index].1 += self.free.remove(index + 1).1;
        }
        if index > 0 && joins(self.free[index - 1], self.free[index]) {
            self.free[index - 1].1 += self.free.remove(index).1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_split_returned_and_merged() {
        let mut heap = GuestHeap::default();
        assert_eq!(heap.take(1), None);
        heap.add(65_536, 65_536);
        let blocks: Vec<_> = (0..4).map(|_| heap.take(100).expect("room")).collect();
        assert_eq!(blocks, [65_536, 65_648, 65_760, 65_872]);
        assert!(heap.give_back(65_648) && !heap.give_back(65_648));
        assert!(heap.give_back(65_760) && heap.give_back(65_536) && heap.give_back(65_872));
        assert_eq!(heap.free, [(65_536, 65_536)]);
    }
}
