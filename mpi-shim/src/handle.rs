//! Tables behind the handles that a guest holds.
//!
//! ```text
//! bit 31  30..28   27..20        19..0
//!     0   kind+1   generation    index
//! ```
//! Handles below 0x1000 are the ABI's predefined ones and never come from a table. The generation
//! makes most uses of a freed handle detectable; the kind catches handles of another class.

mod saved;

pub(crate) use saved::Slots;

/// What a dynamic handle names.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(i32)]
pub enum HandleKind {
    /// `MPI_Comm`.
    Communicator = 1,
    /// `MPI_Group`.
    Group = 2,
    /// `MPI_Datatype`.
    Datatype = 3,
    /// `MPI_Op`.
    Op = 4,
    /// `MPI_Request`.
    Request = 5,
    /// `MPI_Info`, `MPI_Errhandler` and `MPI_Message`, which share what is left of the space.
    Other = 6,
}

const INDEX_BITS: u32 = 20;
const INDEX_MASK: i32 = (1 << INDEX_BITS) - 1;
const GENERATION_MASK: i32 = 0xff;
const KIND_SHIFT: u32 = 28;

/// Objects of one kind, addressed by handle.
#[derive(Debug)]
pub struct Handles<T> {
    kind: HandleKind,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: i32,
    value: Option<T>,
}

impl<T> Handles<T> {
    /// An empty table.
    pub const fn new(kind: HandleKind) -> Self {
        Self { kind, slots: Vec::new(), free: Vec::new() }
    }

    /// Stores `value`; `None` when a million objects of this kind are alive.
    #[inline]
    pub fn insert(&mut self, value: T) -> Option<i32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                if index.cast_signed() > INDEX_MASK {
                    return None;
                }
                self.slots.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        let generation = slot.generation;
        Some((self.kind as i32) << KIND_SHIFT | generation << INDEX_BITS | index.cast_signed())
    }

    /// The object behind `handle`.
    #[inline]
    pub fn get(&self, handle: i32) -> Option<&T> {
        let slot = self.slots.get(self.index(handle)?)?;
        if slot.generation != Self::generation(handle) {
            return None;
        }
        slot.value.as_ref()
    }

    /// The object behind `handle`, to change it.
    #[inline]
    pub fn get_mut(&mut self, handle: i32) -> Option<&mut T> {
        let index = self.index(handle)?;
        let slot = self.slots.get_mut(index)?;
        if slot.generation != Self::generation(handle) {
            return None;
        }
        slot.value.as_mut()
    }

    /// Takes the object out; `handle` is invalid from now on.
    #[inline]
    pub fn remove(&mut self, handle: i32) -> Option<T> {
        let index = self.index(handle)?;
        let slot = self.slots.get_mut(index)?;
        if slot.generation != Self::generation(handle) {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free.push(index as u32);
        Some(value)
    }

    /// Live objects with their handles, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let handle = (self.kind as i32) << KIND_SHIFT
                | slot.generation << INDEX_BITS
                | (index as u32).cast_signed();
            slot.value.as_ref().map(|value| (handle, value))
        })
    }

    /// Number of live objects.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether no object is alive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn index(&self, handle: i32) -> Option<usize> {
        (handle >> KIND_SHIFT == self.kind as i32).then_some((handle & INDEX_MASK) as usize)
    }

    const fn generation(handle: i32) -> i32 {
        handle >> INDEX_BITS & GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_and_foreign_handles_are_refused() {
        let mut table = Handles::new(HandleKind::Group);
        let first = table.insert('a').expect("room");
        assert_eq!(table.get(first), Some(&'a'));
        assert_eq!(table.remove(first), Some('a'));
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        let second = table.insert('b').expect("room");
        assert_ne!(first, second);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(second, &'b')]);
        let other: Handles<char> = Handles::new(HandleKind::Op);
        assert_eq!(other.get(second), None);
        for handle in [0, -1, 0x101, i32::MAX, i32::MIN] {
            assert_eq!(table.get(handle), None);
        }
    }
}
