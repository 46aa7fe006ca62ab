//! Groups as they are written to a file.

use alloc::vec::Vec;

use super::{Group, Listed, Ranks};
use crate::error::MpiError;

/// What is written of a group. An arithmetic progression takes three numbers, however long it is.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) enum Saved {
    Strided { first: u32, step: i64, len: u32 },
    Listed(Vec<u32>),
}

impl From<Group> for Saved {
    fn from(group: Group) -> Self {
        match group.0 {
            Ranks::Strided { first, step, len } => Self::Strided { first, step, len: len as u32 },
            Ranks::Listed(listed) => {
                let Listed { ranks, .. } = &*listed;
                Self::Listed(ranks.clone())
            }
        }
    }
}

impl TryFrom<Saved> for Group {
    type Error = MpiError;

    fn try_from(saved: Saved) -> Result<Self, MpiError> {
        let Saved::Strided { first, step, len } = saved else {
            let Saved::Listed(ranks) = saved else { return Ok(Self::empty()) };
            return Self::new(ranks);
        };
        let last = step.checked_mul(i64::from(len) - 1).and_then(|to| to.checked_add(first.into()));
        let fits = last.is_some_and(|last| u32::try_from(last).is_ok());
        if len > 1 && (step == 0 || !fits) {
            return Err(super::saved_wrongly(first, step, len));
        }
        Ok(Self(Ranks::Strided { first, step, len: len as usize }))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn there_and_back(ranks: Vec<u32>) {
        let group = Group::new(ranks.clone()).expect("distinct");
        let back = Group::try_from(Saved::from(group)).expect("it was a group");
        assert_eq!(back.iter().collect::<Vec<_>>(), ranks);
    }

    #[test]
    fn groups_come_back_and_rubbish_is_refused() {
        for ranks in [vec![], vec![7], vec![0, 1, 2], vec![9, 6, 3], vec![3, 1, 4, 5]] {
            there_and_back(ranks);
        }
        for (first, step, len) in [(0, 0, 2), (0, -1, 2), (u32::MAX, 1, 2), (0, i64::MAX, 3)] {
            assert!(
                Group::try_from(Saved::Strided { first, step, len }).is_err(),
                "{first} {step}"
            );
        }
        assert!(Group::try_from(Saved::Listed(vec![1, 5, 1])).is_err());
    }
}
