//! The constructs of OpenMP in which a thread may wait or fail, by the numbers that guests give them.

use core::fmt;

/// A construct that a guest names.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Construct(u8);

impl Construct {
    /// The construct that a guest calls `number`; `None` where there is no such.
    pub fn from_number(number: i32) -> Option<Self> {
        let index = u8::try_from(number).ok()?;
        (usize::from(index) < NAMES.len()).then_some(Self(index))
    }

    /// Its name in a report, after "waits in".
    pub const fn name(self) -> &'static str {
        NAMES[self.0 as usize]
    }
}

impl fmt::Display for Construct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names, by number: `enum construct` of the guest's library has the same order.
const NAMES: [&str; 18] = [
    "the OpenMP library",
    "an OpenMP barrier",
    "the end of a parallel region",
    "its team, for the next parallel region",
    "an OpenMP critical region",
    "omp_set_lock",
    "omp_set_nest_lock",
    "an OpenMP ordered region",
    "an OpenMP depend(sink) clause",
    "an OpenMP taskwait",
    "the end of an OpenMP taskgroup",
    "the beginning of an OpenMP loop",
    "an OpenMP single construct",
    "an OpenMP reduction",
    "an OpenMP teams construct",
    "an OpenMP parallel construct",
    "an OpenMP task",
    "an OpenMP target construct",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_construct_are_refused() {
        for number in [-1, 18, 255, 256, i32::MAX, i32::MIN] {
            assert_eq!(Construct::from_number(number), None, "{number}");
        }
    }

    #[test]
    fn every_construct_has_a_name_of_its_own() {
        let names = || (0..18).filter_map(Construct::from_number).map(Construct::name);
        assert_eq!(names().count(), NAMES.len());
        for (index, name) in names().enumerate() {
            assert!(names().skip(index + 1).all(|other| other != name), "{name} twice");
        }
    }
}
