//! Data items as they lie in a file one after the other, in a representation of the program's own
//! (MPI-5.0 section 14.5.3).

use alloc::vec::Vec;

use crate::datatype::{Datatype, Predefined};

/// The data items of an array: each has a number of bytes in memory and another one in the file.
#[derive(Clone, Debug)]
pub struct Items {
    /// The items of one element in type-map order.
    runs: Vec<Run>,
    /// Items of one element.
    each: u64,
    total: u64,
}

/// Items of equal sizes.
#[derive(Copy, Clone, Debug)]
struct Run {
    count: u64,
    native: u64,
    file: u64,
}

/// Some of the items.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Stretch {
    /// How many.
    pub items: u64,
    /// Their bytes in memory.
    pub native_bytes: u64,
    /// Their bytes in the file.
    pub file_bytes: u64,
}

/// The predefined types that a type is made of, each once.
pub fn basics(datatype: &Datatype) -> Vec<Predefined> {
    let mut all = Vec::new();
    datatype.signature().visit(&mut |basic, _| {
        if !all.contains(&basic) {
            all.push(basic);
        }
    });
    all
}

impl Items {
    /// The items of `count` elements, of which those of a predefined type have so many bytes in the file. `None` when
    /// their number overflows.
    pub fn new(
        datatype: &Datatype,
        count: i64,
        file_bytes: impl Fn(Predefined) -> u64,
    ) -> Option<Self> {
        let mut runs: Vec<Run> = Vec::new();
        datatype.signature().visit(&mut |basic, count| {
            let (native, file) = (basic.size(), file_bytes(basic));
            match runs.last_mut() {
                Some(last) if (last.native, last.file) == (native as u64, file) => {
                    last.count += count;
                }
                _ => runs.push(Run { count, native: native as u64, file }),
            }
        });
        runs.retain(|run| run.count > 0);
        let each = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(run.count))?;
        let total = each.checked_mul(u64::try_from(count).ok()?)?;
        let new = Self { runs, each, total };
        let bytes = new.runs.iter().try_fold(0_u64, |sum, run| {
            sum.checked_add(run.count.checked_mul(run.file.max(run.native))?)
        })?;
        bytes.checked_mul(count.unsigned_abs()).filter(|bytes| *bytes <= i64::MAX as u64)?;
        Some(new)
    }

    /// Bytes of all of them in the file.
    pub fn file_bytes(&self) -> u64 {
        let one: u64 = self.runs.iter().map(|run| run.count * run.file).sum();
        self.total.checked_div(self.each).unwrap_or(0) * one
    }

    /// Whether each has as many bytes in the file as in memory.
    pub fn are_native(&self) -> bool {
        self.runs.iter().all(|run| run.file == run.native)
    }

    /// Bytes of the largest one in the file.
    pub fn largest(&self) -> u64 {
        self.runs.iter().map(|run| run.file).max().unwrap_or(0)
    }

    /// The items from item `start` on that fit `file_bytes`, at most `items_max` of them.
    pub fn fitting(&self, start: u64, file_bytes: u64, items_max: u64) -> Stretch {
        let mut found = Stretch::default();
        let left = items_max.min(self.total.saturating_sub(start));
        if self.each == 0 {
            return found;
        }
        let mut skipped = start % self.each;
        for run in self.runs.iter().cycle() {
            let there = run.count.saturating_sub(skipped);
            skipped = skipped.saturating_sub(run.count);
            let room = file_bytes - found.file_bytes;
            let fit = room.checked_div(run.file).unwrap_or(u64::MAX);
            let taken = there.min(left - found.items).min(fit);
            found.items += taken;
            found.native_bytes += taken * run.native;
            found.file_bytes += taken * run.file;
            if taken < there || found.items == left {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An int of 8 bytes in the file, and two chars of 2.
    fn items(count: i64) -> Items {
        let (int, char) = (Predefined::Int.into(), Predefined::Char.into());
        let mixed = Datatype::structure(&[1, 2], &[0, 4], &[int, char]).expect("a type");
        assert_eq!(basics(&mixed), [Predefined::Int, Predefined::Char]);
        Items::new(&mixed, count, |basic| 2 * basic.size() as u64).expect("few")
    }

    #[test]
    fn items_are_counted_as_far_as_they_fit() {
        let items = items(3);
        assert_eq!((items.file_bytes(), items.largest(), items.are_native()), (36, 8, false));
        // The oracle: every item by itself.
        let sizes: Vec<u64> = (0..9).map(|item| if item % 3 == 0 { 8 } else { 2 }).collect();
        for start in 0..=9 {
            for room in 0..40 {
                for most in 0..10 {
                    let mut expected = Stretch::default();
                    for size in &sizes[start..] {
                        if expected.file_bytes + size > room || expected.items == most {
                            break;
                        }
                        expected.items += 1;
                        expected.file_bytes += size;
                        expected.native_bytes += size / 2;
                    }
                    assert_eq!(items.fitting(start as u64, room, most), expected);
                }
            }
        }
    }

    #[test]
    fn nothing_and_too_much() {
        assert_eq!(items(0).fitting(0, 100, 100), Stretch::default());
        let int = Predefined::Int.into();
        assert!(Items::new(&int, i64::MAX / 4, |_| 8).is_none());
        assert!(Items::new(&int, i64::MAX / 8, |_| 8).is_some());
        let none = Datatype::contiguous(0, &int).expect("a type");
        let none = Items::new(&none, 5, |_| 8).expect("nothing");
        assert_eq!((none.file_bytes(), none.fitting(0, 9, 9)), (0, Stretch::default()));
    }
}
