//! A window for one-sided communication: what its members share, and what one rank holds of it.

mod access;
mod far;
mod serve;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faasm_mpi_engine::attribute::Attributes;
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;
use faasm_mpi_engine::rma::{Layout, LockKind, LockTable};
use faasm_vm::{GuestAddr, GuestMemory, RegionError, SharedRegion};

use crate::world::World;
pub(crate) use access::{Access, Asked, calculate};
pub(crate) use far::{FarOp, FarOps};
use serve::Askers;

/// Most regions that a rank may have attached to one dynamic window.
pub(crate) const REGIONS_MAX: usize = 65_536;

/// What one member brought when the window was made.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// First byte in the member's memory.
    pub base: u32,
    /// Number of bytes.
    pub size: u32,
    /// Bytes that a displacement of 1 stands for.
    pub unit: u32,
}

/// The shared memory of all members in the memory of one.
#[derive(Clone, Debug)]
pub struct Segments {
    /// Where it begins.
    pub start: u32,
    /// Where in it the members' segments lie.
    pub layout: Arc<Layout>,
    /// Whether each segment has pages of its own.
    pub is_apart: bool,
}

impl Segments {
    /// Those of members of these sizes; `None` when a memory has no room for them.
    pub fn layout(sizes: impl Iterator<Item = u32>, is_apart: bool) -> Option<Layout> {
        let alignment = if is_apart { SharedRegion::alignment() as u32 } else { 1 };
        Layout::new(sizes, alignment)
    }
}

/// How often members told this one something, by their rank.
type Counts = BTreeMap<u32, u32>;

/// One member as the others reach it.
#[derive(Debug)]
pub struct Member {
    /// Its memory in the window; all of it is empty in a dynamic window.
    pub part: Part,
    /// Attached regions of a dynamic window: first byte and length.
    regions: Mutex<BTreeMap<u64, u64>>,
    /// Held while an accumulate call works on the member's memory.
    atomic: Mutex<()>,
    /// The lock it waits for is its own now.
    pub granted: AtomicBool,
    /// `MPI_Win_post` calls for it that no `MPI_Win_start` has used, by target.
    posts: Mutex<Counts>,
    /// `MPI_Win_complete` calls on it that no `MPI_Win_wait` has used, by origin.
    completions: Mutex<Counts>,
}

impl Member {
    /// A member that brought `part`.
    pub fn new(part: Part) -> Self {
        Self {
            part,
            regions: Mutex::default(),
            atomic: Mutex::default(),
            granted: AtomicBool::new(false),
            posts: Mutex::default(),
            completions: Mutex::default(),
        }
    }

    /// Attached regions.
    pub fn regions(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        held(&self.regions)
    }

    /// Keeps other accumulate calls from the member's memory.
    pub fn atomic(&self) -> MutexGuard<'_, ()> {
        held(&self.atomic)
    }

    /// Counts of `MPI_Win_post`.
    pub fn posts(&self) -> MutexGuard<'_, Counts> {
        held(&self.posts)
    }

    /// Counts of `MPI_Win_complete`.
    pub fn completions(&self) -> MutexGuard<'_, Counts> {
        held(&self.completions)
    }

    /// Whether each byte of `start..end` is attached.
    pub fn is_attached(&self, start: i64, end: i64) -> bool {
        let Ok(mut at) = u64::try_from(start) else { return false };
        let regions = self.regions();
        // Regions may follow each other without a gap.
        while at < end.cast_unsigned() {
            match regions.range(..=at).next_back() {
                Some((base, len)) if base + len > at => at = base + len,
                _ => return false,
            }
        }
        true
    }
}

/// Adds one to the count of `rank`.
pub(crate) fn count(counts: &mut Counts, rank: u32) {
    *counts.entry(rank).or_default() += 1;
}

/// Whether every one of `ranks` has been counted.
pub(crate) fn are_all_in(counts: &Counts, ranks: &[u32]) -> bool {
    ranks.iter().all(|rank| counts.contains_key(rank))
}

/// Takes one from the count of each of `ranks`, who have all been counted.
pub(crate) fn take(counts: &mut Counts, ranks: &[u32]) {
    for rank in ranks {
        if let Some(count) = counts.get_mut(rank) {
            *count -= 1;
            if *count == 0 {
                counts.remove(rank);
            }
        }
    }
}

/// What all members of a window share.
#[derive(Debug)]
pub struct Shared {
    /// World ranks of the members.
    pub group: Group,
    /// The members.
    pub members: Vec<Member>,
    /// Memory is attached later.
    pub is_dynamic: bool,
    /// Members run on several nodes.
    pub is_spread: bool,
    locks: Mutex<LockTable>,
    /// Who asked for the locks, in a window on several nodes.
    askers: Mutex<Askers>,
    /// The shared pages while members that have come anew put them into their memories, and how many have.
    pages: Mutex<Option<(Arc<SharedRegion>, usize)>>,
}

impl Shared {
    /// The window of `group` whose members brought `parts`.
    pub fn new(group: Group, parts: &[Part], is_dynamic: bool) -> Self {
        let members = parts.iter().map(|part| Member::new(*part)).collect();
        let locks = Mutex::new(LockTable::new(parts.len()));
        Self {
            group,
            members,
            is_dynamic,
            is_spread: false,
            locks,
            askers: Mutex::default(),
            pages: Mutex::default(),
        }
    }

    /// The same, with members on several nodes.
    pub fn spread(self) -> Self {
        Self { is_spread: true, ..self }
    }

    /// The pages that all members share, for one that has come anew: the first one makes them, with the content that its
    /// memory has from `start` on.
    ///
    /// # Errors
    /// The kernel gives no pages.
    pub fn take_pages(
        &self,
        memory: &GuestMemory,
        (start, bytes): (u32, u32),
    ) -> std::result::Result<Arc<SharedRegion>, RegionError> {
        let mut pages = held(&self.pages);
        let (region, taken) = match pages.take() {
            Some(made) => made,
            None => {
                let region = SharedRegion::new(bytes.into())?;
                region.copy_from(memory, GuestAddr::from(start))?;
                (Arc::new(region), 0)
            }
        };
        // With the last one they belong to the memories alone.
        if taken + 1 < self.members.len() {
            *pages = Some((region.clone(), taken + 1));
        }
        Ok(region)
    }

    /// The locks of passive targets.
    pub fn locks(&self) -> MutexGuard<'_, LockTable> {
        held(&self.locks)
    }

    /// The member with `rank`, which was checked.
    pub fn member(&self, rank: u32) -> &Member {
        &self.members[rank as usize]
    }
}

fn held<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a rank is between two `MPI_Win_fence` calls.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Fence {
    /// No fence has opened an epoch.
    Closed,
    /// An epoch is open that may still turn out not to be one.
    Open,
    /// The epoch has been used and ends with the next fence.
    Used,
}

/// A window as one rank holds it.
#[derive(Clone, Debug)]
pub struct Window {
    /// What all members share.
    pub shared: Arc<Shared>,
    /// Handle of the window's own communicator.
    pub comm: i32,
    /// Context of that communicator.
    pub context: u32,
    /// This process's rank.
    pub rank: u32,
    /// One of `MPI_WIN_FLAVOR_*`.
    pub flavor: i32,
    /// Block of the program's heap with the window's memory, to be freed with the window.
    pub allocated: Option<u32>,
    /// The members' segments, in a window of shared memory.
    pub segments: Option<Segments>,
    /// Block with the values of the predefined attributes, once the program asked for one.
    pub values: Option<u32>,
    /// Epoch of fences.
    pub fence: Fence,
    /// Targets of `MPI_Win_start`.
    pub started: Option<Vec<u32>>,
    /// Origins of `MPI_Win_post`.
    pub posted: Option<Vec<u32>>,
    /// Locked targets.
    pub locks: BTreeMap<u32, LockKind>,
    /// `MPI_Win_lock_all` is in force.
    pub has_locked_all: bool,
    /// Flushes so far.
    pub flushes: u32,
    /// Handle of its error handler.
    pub errhandler: i32,
    /// Cached attributes.
    pub attributes: Attributes,
    /// Name given by `MPI_Win_set_name`.
    pub name: String,
    /// Hints given to it.
    pub info: Info,
}

impl Window {
    /// Tells the world which ranks share memory by it; its first member does.
    pub(crate) fn bind(&self, world: &World) {
        let shares = self.segments.as_ref().is_some_and(|segments| segments.layout.bytes() > 0);
        if shares && self.rank == 0 {
            world.bind(self.context, self.shared.group.iter());
        }
    }

    /// Whether some epoch other than one of fences is open.
    pub fn is_in_epoch(&self) -> bool {
        self.is_in_passive_epoch() || self.started.is_some() || self.posted.is_some()
    }

    /// Whether some target is locked.
    pub fn is_in_passive_epoch(&self) -> bool {
        self.has_locked_all || !self.locks.is_empty()
    }

    /// Whether `target` is locked.
    #[inline]
    pub fn has_locked(&self, target: u32) -> bool {
        self.has_locked_all || self.locks.contains_key(&target)
    }

    /// Whether the epochs that are open let this rank reach `target`; a fence's counts as used then.
    pub fn enter(&mut self, target: u32) -> bool {
        let started = || self.started.as_ref().is_some_and(|ranks| ranks.contains(&target));
        if self.has_locked(target) || started() {
            return true;
        }
        if self.fence != Fence::Closed {
            self.fence = Fence::Used;
        }
        self.fence != Fence::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_attached_when_regions_cover_them_without_a_gap() {
        let member = Member::new(Part { base: 0, size: 0, unit: 1 });
        member.regions().extend([(100, 10), (110, 5), (120, 5)]);
        for (start, end, expected) in [
            (100, 115, true),
            (105, 112, true),
            (99, 101, false),
            (110, 121, false),
            (120, 125, true),
            (120, 126, false),
            (-1, 1, false),
        ] {
            assert_eq!(member.is_attached(start, end), expected, "{start}..{end}");
        }
    }

    #[test]
    fn counts_are_taken_once_each() {
        let mut counts = Counts::new();
        count(&mut counts, 3);
        count(&mut counts, 3);
        assert!(are_all_in(&counts, &[3]) && !are_all_in(&counts, &[3, 4]));
        take(&mut counts, &[3]);
        assert!(are_all_in(&counts, &[3]));
        take(&mut counts, &[3]);
        assert!(!are_all_in(&counts, &[3]) && are_all_in(&counts, &[]));
    }
}
