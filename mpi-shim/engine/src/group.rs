//! Groups: ordered sets of processes (MPI-5.0 section 7.3).
//!
//! A process is known by its world rank. A group whose world ranks form an arithmetic progression,
//! as those of `MPI_COMM_WORLD` and of most splits do, is stored as such and looks ranks up in
//! constant time; any other holds a sorted index.

mod saved;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError, Result};

/// An ordered set of processes; cheap to clone.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(into = "saved::Saved", try_from = "saved::Saved")]
pub struct Group(Ranks);

#[derive(Clone, Debug)]
enum Ranks {
    /// `first`, `first + step`, ...: `len` of them.
    Strided {
        first: u32,
        step: i64,
        len: usize,
    },
    Listed(Arc<Listed>),
}

#[derive(Debug)]
struct Listed {
    ranks: Vec<u32>,
    /// World rank and rank here, sorted.
    index: Vec<(u32, u32)>,
}

/// The error of a progression that leaves the numbers of ranks or stays at one.
fn saved_wrongly(first: u32, step: i64, len: u32) -> MpiError {
    let detail = format!("{len} world ranks from {first} in steps of {step} are no group");
    MpiError::argument(ErrorClass::Rank, "ranks", detail)
}

/// How two groups compare; the discriminant is the ABI's `MPI_IDENT` and so on.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(i32)]
pub enum Comparison {
    /// Same members in the same order.
    Ident = 201,
    /// Same members in another order.
    Similar = 203,
    /// Different members.
    Unequal = 204,
}

/// An entry of `MPI_Group_range_incl`: first rank, last rank, stride.
pub type RankRange = [i32; 3];

impl Group {
    /// The group of world ranks `0..len`.
    pub const fn world(len: usize) -> Self {
        Self(Ranks::Strided { first: 0, step: 1, len })
    }

    /// `MPI_GROUP_EMPTY`.
    pub const fn empty() -> Self {
        Self::world(0)
    }

    /// The group of these world ranks in this order.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when a world rank occurs twice.
    pub fn new(ranks: Vec<u32>) -> Result<Self> {
        if let Some(strided) = progression(&ranks) {
            return Ok(Self(strided));
        }
        let mut index: Vec<_> = ranks.iter().copied().zip(0..).collect();
        index.sort_unstable();
        if let Some(pair) = index.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let detail = format!("world rank {} occurs twice", pair[0].0);
            return Err(MpiError::argument(ErrorClass::Rank, "ranks", detail));
        }
        Ok(Self(Ranks::Listed(Arc::new(Listed { ranks, index }))))
    }

    /// Number of members (`MPI_Group_size`).
    pub fn len(&self) -> usize {
        match &self.0 {
            Ranks::Strided { len, .. } => *len,
            Ranks::Listed(listed) => listed.ranks.len(),
        }
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// World rank of the member with this rank.
    #[inline]
    pub fn world_rank(&self, rank: usize) -> Option<u32> {
        match &self.0 {
            Ranks::Strided { first, step, len } => (rank < *len)
                .then(|| i64::from(*first) + step * rank as i64)
                .and_then(|world| u32::try_from(world).ok()),
            Ranks::Listed(listed) => listed.ranks.get(rank).copied(),
        }
    }

    /// Rank of the process with this world rank (`MPI_Group_rank`).
    pub fn rank_of(&self, world: u32) -> Option<usize> {
        match &self.0 {
            Ranks::Strided { first, step, len } => {
                let distance = i64::from(world) - i64::from(*first);
                let rank = usize::try_from(distance / step).ok()?;
                (distance % step == 0 && rank < *len).then_some(rank)
            }
            Ranks::Listed(listed) => {
                let found = listed.index.binary_search_by_key(&world, |&(world, _)| world);
                found.ok().map(|at| listed.index[at].1 as usize)
            }
        }
    }

    /// World ranks in the order of the group.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + Clone + '_ {
        (0..self.len()).map(|rank| self.world_rank(rank).expect("the rank is below the length"))
    }

    /// `MPI_Group_compare`.
    pub fn compare(&self, other: &Self) -> Comparison {
        if self.len() != other.len() {
            Comparison::Unequal
        } else if self.is_same_list(other) || self.iter().eq(other.iter()) {
            Comparison::Ident
        } else if self.iter().all(|world| other.rank_of(world).is_some()) {
            Comparison::Similar
        } else {
            Comparison::Unequal
        }
    }

    /// Ranks in `other` of the members with these ranks here (`MPI_Group_translate_ranks`), `None`
    /// for those that `other` lacks. The caller has taken out `MPI_PROC_NULL`, which stays itself.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` for an invalid rank.
    pub fn translate(&self, ranks: &[i32], other: &Self) -> Result<Vec<Option<usize>>> {
        let translate = |(index, &rank)| {
            let world = self.world_rank(self.checked(index, rank)?);
            Ok(world.and_then(|world| other.rank_of(world)))
        };
        ranks.iter().enumerate().map(translate).collect()
    }

    /// `MPI_Group_union`: these members, then those of `other` that are not among them.
    pub fn union(&self, other: &Self) -> Self {
        let rest = other.iter().filter(|&world| self.rank_of(world).is_none());
        Self::of_distinct(self.iter().chain(rest).collect())
    }

    /// `MPI_Group_intersection`: these members that are also in `other`, in this order.
    pub fn intersection(&self, other: &Self) -> Self {
        Self::of_distinct(self.iter().filter(|&world| other.rank_of(world).is_some()).collect())
    }

    /// `MPI_Group_difference`: these members that are not in `other`, in this order.
    pub fn difference(&self, other: &Self) -> Self {
        Self::of_distinct(self.iter().filter(|&world| other.rank_of(world).is_none()).collect())
    }

    /// `MPI_Group_incl`: the members with these ranks, in the order given.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` for an invalid or repeated rank.
    pub fn incl(&self, ranks: &[i32]) -> Result<Self> {
        let chosen = self.chosen(ranks)?;
        Self::new(chosen.into_iter().filter_map(|rank| self.world_rank(rank)).collect())
    }

    /// `MPI_Group_excl`: the members without these ranks, in this order.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` for an invalid or repeated rank.
    pub fn excl(&self, ranks: &[i32]) -> Result<Self> {
        let mut keep = vec![true; self.len()];
        for rank in self.chosen(ranks)? {
            keep[rank] = false;
        }
        let kept = self.iter().zip(keep).filter_map(|(world, keep)| keep.then_some(world));
        Self::new(kept.collect())
    }

    /// `MPI_Group_range_incl`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a stride of zero, `MPI_ERR_RANK` for an invalid or repeated rank.
    pub fn range_incl(&self, ranges: &[RankRange]) -> Result<Self> {
        self.incl(&self.expanded(ranges)?)
    }

    /// `MPI_Group_range_excl`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a stride of zero, `MPI_ERR_RANK` for an invalid or repeated rank.
    pub fn range_excl(&self, ranges: &[RankRange]) -> Result<Self> {
        self.excl(&self.expanded(ranges)?)
    }

    /// Whether both are one list, which spares comparing the members; most groups that members of a
    /// large communicator compare are.
    fn is_same_list(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (
                Ranks::Strided { first, step, len },
                Ranks::Strided { first: other_first, step: other_step, len: other_len },
            ) => (first, step, len) == (other_first, other_step, other_len),
            (Ranks::Listed(list), Ranks::Listed(other_list)) => Arc::ptr_eq(list, other_list),
            _ => false,
        }
    }

    fn of_distinct(ranks: Vec<u32>) -> Self {
        Self::new(ranks).expect("members of a group are distinct")
    }

    /// The ranks as indices, all valid and distinct.
    fn chosen(&self, ranks: &[i32]) -> Result<Vec<usize>> {
        let mut seen = vec![false; self.len()];
        let mut chosen = Vec::with_capacity(ranks.len());
        for (index, &rank) in ranks.iter().enumerate() {
            let checked = self.checked(index, rank)?;
            if core::mem::replace(&mut seen[checked], true) {
                let detail = format!("rank {rank} at index {index} occurs twice");
                return Err(MpiError::argument(ErrorClass::Rank, "ranks", detail));
            }
            chosen.push(checked);
        }
        Ok(chosen)
    }

    fn checked(&self, index: usize, rank: i32) -> Result<usize> {
        let valid = usize::try_from(rank).ok().filter(|&rank| rank < self.len());
        valid.ok_or_else(|| {
            let detail = format!("{rank} at index {index} is not a rank of {}", self.len());
            MpiError::argument(ErrorClass::Rank, "ranks", detail)
        })
    }

    /// All ranks of all ranges, cut where more ranks than members are there: one is repeated then,
    /// which the caller reports. So the result is bounded whatever the ranges are.
    fn expanded(&self, ranges: &[RankRange]) -> Result<Vec<i32>> {
        let mut ranks = Vec::new();
        for (index, &[first, last, stride]) in ranges.iter().enumerate() {
            if stride == 0 {
                let detail = format!("the stride at index {index} is 0");
                return Err(MpiError::argument(ErrorClass::Arg, "ranges", detail));
            }
            let mut rank = i64::from(first);
            let goes_on = |rank: i64| match stride > 0 {
                true => rank <= i64::from(last),
                false => rank >= i64::from(last),
            };
            while goes_on(rank) {
                ranks.push(rank as i32);
                self.checked(index, rank as i32)?;
                if ranks.len() > self.len() {
                    return Ok(ranks);
                }
                rank += i64::from(stride);
            }
        }
        Ok(ranks)
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Comparison::Ident
    }
}

impl Eq for Group {}

/// The strided form of the ranks, if they have one.
fn progression(ranks: &[u32]) -> Option<Ranks> {
    let (Some(&first), len) = (ranks.first(), ranks.len()) else {
        return Some(Ranks::Strided { first: 0, step: 1, len: 0 });
    };
    let step = ranks.get(1).map_or(1, |&second| i64::from(second) - i64::from(first));
    let strided = ranks.windows(2).all(|pair| i64::from(pair[1]) - i64::from(pair[0]) == step);
    (step != 0 && strided).then_some(Ranks::Strided { first, step, len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ranks: &[u32]) -> Group {
        Group::new(ranks.to_vec()).unwrap()
    }

    fn list(group: &Group) -> Vec<u32> {
        group.iter().collect()
    }

    #[test]
    fn lookups_agree_with_the_list() {
        for ranks in [&[][..], &[7], &[0, 1, 2], &[9, 6, 3, 0], &[4, 9, 2, 5], &[1, 3, 5, 8]] {
            let group = group(ranks);
            assert_eq!(list(&group), ranks);
            for world in 0..12 {
                assert_eq!(group.rank_of(world), ranks.iter().position(|&rank| rank == world));
            }
            assert_eq!(group.world_rank(ranks.len()), None);
        }
        assert!(Group::new(vec![1, 2, 1]).is_err());
        assert!(Group::new(vec![1, 1]).is_err());
    }

    #[test]
    fn set_operations_follow_the_order_of_the_first() {
        let (a, b) = (group(&[5, 1, 4]), group(&[2, 4, 5, 0]));
        assert_eq!(list(&a.union(&b)), [5, 1, 4, 2, 0]);
        assert_eq!(list(&a.intersection(&b)), [5, 4]);
        assert_eq!(list(&b.intersection(&a)), [4, 5]);
        assert_eq!(list(&a.difference(&b)), [1]);
        assert_eq!(list(&a.difference(&a)), []);
    }

    #[test]
    fn comparisons() {
        let a = group(&[5, 1, 4]);
        assert_eq!(a.compare(&group(&[5, 1, 4])), Comparison::Ident);
        assert_eq!(a.compare(&group(&[1, 4, 5])), Comparison::Similar);
        assert_eq!(a.compare(&group(&[1, 4, 6])), Comparison::Unequal);
        assert_eq!(a.compare(&group(&[1, 4])), Comparison::Unequal);
        assert_eq!(Group::empty().compare(&Group::world(0)), Comparison::Ident);
    }

    #[test]
    fn inclusion_and_exclusion() {
        let a = group(&[10, 20, 31, 40, 50]);
        assert_eq!(list(&a.incl(&[4, 0, 2]).unwrap()), [50, 10, 31]);
        assert_eq!(list(&a.excl(&[4, 0, 2]).unwrap()), [20, 40]);
        assert_eq!(list(&a.excl(&[]).unwrap()), list(&a));
        assert_eq!(list(&a.range_incl(&[[4, 0, -2], [1, 1, 5]]).unwrap()), [50, 31, 10, 20]);
        assert_eq!(list(&a.range_excl(&[[0, 3, 2]]).unwrap()), [20, 40, 50]);
        assert_eq!(list(&a.range_incl(&[[3, 0, 1]]).unwrap()), [], "an empty range");
    }

    #[test]
    fn bad_ranks_are_named() {
        let a = Group::world(5);
        let class = |result: Result<Group>| result.unwrap_err().class;
        assert_eq!(class(a.incl(&[0, 5])), ErrorClass::Rank);
        assert_eq!(class(a.incl(&[0, -1])), ErrorClass::Rank);
        assert_eq!(class(a.incl(&[1, 1])), ErrorClass::Rank);
        assert_eq!(class(a.excl(&[1, 1])), ErrorClass::Rank);
        assert_eq!(class(a.range_incl(&[[0, 4, 0]])), ErrorClass::Arg);
        assert_eq!(class(a.range_incl(&[[0, i32::MAX, 1]])), ErrorClass::Rank);
        assert_eq!(class(a.range_excl(&[[0, 2, 1], [2, 3, 1]])), ErrorClass::Rank);
    }

    #[test]
    fn translation() {
        let (a, b) = (group(&[5, 1, 4]), group(&[2, 4, 5]));
        assert_eq!(a.translate(&[0, 1, 2, 0], &b), Ok(vec![Some(2), None, Some(1), Some(2)]));
        assert_eq!(a.translate(&[3], &b).unwrap_err().class, ErrorClass::Rank);
    }
}
