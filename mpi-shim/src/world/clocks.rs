//! How far a node has come with operations in which several nodes take part.
//!
//! Such an operation cannot be taken back once a node's leader has begun it, so at a checkpoint each is begun on all
//! nodes of its communicator or on none. What a node has begun is counted here: a node begins an operation when the last
//! of its members has come to it, so the members of a node whose count is behind another's have to go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::World;

/// Set in the meeting numbers of operations that nobody waits for, which are counted by themselves.
pub(crate) const STARTED: u64 = 1 << 63;
/// Bits of the number of such an operation; above them stand the starts of a persistent one.
const NUMBER_BITS: u32 = 40;
/// Series that are counted at most. Beyond that no checkpoint can be made until the job has been stopped.
const SERIES_MAX: usize = 1 << 20;

/// Operations of a communicator that are begun one after the other.
#[derive(Copy, Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Series {
    /// Those that their members wait for.
    Meetings,
    /// Those that are started.
    Started,
    /// The starts of the persistent one that was initialised with this number.
    Persistent(u64),
}

/// How many operations of a series have been begun.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Clock {
    /// Context of the communicator.
    pub context: u32,
    /// Which of its operations.
    pub series: Series,
    /// How many.
    pub count: u64,
}

/// What a node has begun in one communicator.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Begun {
    /// Context of the communicator.
    pub context: u32,
    /// The nodes that have members, by their numbers in the job.
    pub nodes: Vec<u32>,
    /// How many operations of each series.
    pub counts: Vec<(Series, u64)>,
}

impl Clock {
    /// The count that meeting number `meeting` of a communicator stands for.
    pub const fn of_meeting(context: u32, meeting: u64) -> Self {
        if meeting & STARTED == 0 {
            return Self { context, series: Series::Meetings, count: meeting };
        }
        let number = meeting & ((1 << NUMBER_BITS) - 1);
        match (meeting & !STARTED) >> NUMBER_BITS {
            0 => Self { context, series: Series::Started, count: number },
            starts => Self { context, series: Series::Persistent(number), count: starts },
        }
    }
}

/// What has been begun since the job was last stopped.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    is_kept: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    communicators: BTreeMap<u32, Communicator>,
    series: usize,
}

#[derive(Debug, Default)]
struct Communicator {
    nodes: Vec<u32>,
    counts: BTreeMap<Series, u64>,
}

impl World {
    /// From now on it is counted what this node begins together with others; for jobs that may be stopped.
    pub fn keep_clocks(&self) {
        self.clocks.is_kept.store(true, Ordering::Relaxed);
    }

    /// All members of this node have come to a meeting with those of these nodes.
    pub(crate) fn begin_together(
        &self,
        context: u32,
        meeting: u64,
        nodes: impl Iterator<Item = u32>,
    ) {
        if !self.clocks.is_kept.load(Ordering::Relaxed) {
            return;
        }
        let Clock { series, count, .. } = Clock::of_meeting(context, meeting);
        let mut state = self.clocks.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { communicators, series: counted } = &mut *state;
        let communicator = communicators
            .entry(context)
            .or_insert_with(|| Communicator { nodes: nodes.collect(), counts: BTreeMap::new() });
        let known = communicator.counts.get(&series).copied();
        *counted += usize::from(known.is_none());
        // Two members may tell in another order than that in which they came; starts are counted anew at times.
        let is_late = known.is_some_and(|known| known > count);
        if !is_late || matches!(series, Series::Persistent(_)) {
            communicator.counts.insert(series, count);
        }
        if *counted > SERIES_MAX {
            // Only who counts all can tell that nothing is half done.
            communicators.clear();
        }
    }

    /// What this node has begun together with others since [`World::forget_clocks`]; `None` if that is too much.
    pub fn begun(&self) -> Option<Vec<Begun>> {
        let state = self.clocks.state.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = |(context, one): (&u32, &Communicator)| Begun {
            context: *context,
            nodes: one.nodes.clone(),
            counts: one.counts.iter().map(|(series, count)| (*series, *count)).collect(),
        };
        (state.series <= SERIES_MAX).then(|| state.communicators.iter().map(begun).collect())
    }

    /// All nodes have come equally far.
    pub fn forget_clocks(&self) {
        *self.clocks.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Placement;

    #[test]
    fn what_is_begun_is_counted_by_series() {
        let world = World::new(vec![0; 2], vec![0; 2], Placement::one_node(2));
        let begin = |context, meeting| world.begin_together(context, meeting, [0, 3].into_iter());
        begin(7, 1);
        assert_eq!(world.begun(), Some(Vec::new()), "it is not counted");
        world.keep_clocks();
        begin(7, 2);
        begin(7, STARTED | 9);
        begin(7, STARTED | 8);
        begin(7, STARTED | 5 << NUMBER_BITS | 8);
        begin(7, STARTED | 6 << NUMBER_BITS | 8);
        begin(4, 1);
        let begun = world.begun().expect("it is little");
        assert_eq!(begun[0].counts, [(Series::Meetings, 1)]);
        let counts = [(Series::Meetings, 2), (Series::Started, 9), (Series::Persistent(8), 6)];
        assert_eq!((begun[1].context, &*begun[1].counts), (7, &counts[..]));
        assert_eq!(begun[1].nodes, [0, 3]);
        world.forget_clocks();
        assert_eq!(world.begun(), Some(Vec::new()));
    }

    #[test]
    fn too_much_is_not_counted_wrong() {
        let world = World::new(vec![0; 2], vec![0; 2], Placement::one_node(2));
        world.keep_clocks();
        for context in 0..=SERIES_MAX as u32 {
            world.begin_together(context, 1, std::iter::once(0));
        }
        assert_eq!(world.begun(), None);
        world.forget_clocks();
        assert_eq!(world.begun(), Some(Vec::new()));
    }
}
