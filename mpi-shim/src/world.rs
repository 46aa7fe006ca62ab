//! What the ranks of one job share: contexts and the sites where co-located collectives meet.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use faasm_mpi_engine::collective::Contribution;
use faasm_mpi_engine::error::MpiError;

/// Context of `MPI_COMM_SELF`; the same number in every rank, for it never leaves one.
pub const CONTEXT_SELF: u32 = 0;
/// Context of `MPI_COMM_WORLD`.
pub const CONTEXT_WORLD: u32 = 1;

/// State shared by all ranks of a job.
#[derive(Debug)]
pub struct World {
    size: u32,
    /// For each rank, the index of its program on the command line (`MPI_APPNUM`).
    app_numbers: Box<[u32]>,
    /// For each rank, the worker it was placed on.
    lanes: Box<[u32]>,
    next_context: AtomicU32,
    world_site: Arc<Site>,
    gatherings: Mutex<HashMap<GatheringKey, VecDeque<Gathering>>>,
}

/// Names a gathering of a group inside a communicator: context, tag and the members.
type GatheringKey = (u32, i32, Vec<u32>);

/// Members of a group who make a communicator without waiting for each other.
#[derive(Debug)]
struct Gathering {
    context: u32,
    site: Arc<Site>,
    has_joined: Box<[bool]>,
}

impl World {
    /// The shared state of a job whose rank `i` runs program `app_numbers[i]` on worker `lanes[i]`.
    pub fn new(app_numbers: Vec<u32>, lanes: Vec<u32>) -> Arc<Self> {
        assert_eq!(app_numbers.len(), lanes.len(), "every rank has a program and a worker");
        let size = u32::try_from(app_numbers.len()).expect("ranks are counted in 32 bits");
        Arc::new(Self {
            size,
            app_numbers: app_numbers.into(),
            next_context: AtomicU32::new(CONTEXT_WORLD + 1),
            world_site: Arc::new(Site::new(lanes.iter().copied())),
            lanes: lanes.into(),
            gatherings: Mutex::default(),
        })
    }

    /// Number of ranks.
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Index of the program that `rank` runs.
    pub fn app_number(&self, rank: u32) -> u32 {
        self.app_numbers.get(rank as usize).copied().unwrap_or(0)
    }

    /// Where the members of `MPI_COMM_WORLD` meet.
    pub const fn world_site(&self) -> &Arc<Site> {
        &self.world_site
    }

    /// A site for these members, given by world rank.
    pub fn new_site(&self, members: impl Iterator<Item = u32>) -> Arc<Site> {
        let lane = |rank: u32| self.lanes.get(rank as usize).copied().unwrap_or(0);
        Arc::new(Site::new(members.map(lane)))
    }

    /// A context no communicator of this job has had.
    pub fn new_context(&self) -> u32 {
        self.next_context.fetch_add(1, Ordering::Relaxed)
    }

    /// Context and site of the communicator that `member` makes with the others who give the same
    /// `context`, `tag` and `members`, without waiting for them.
    ///
    /// The first to come makes both. The n-th call of one member belongs with the n-th call of
    /// every other; the last one to join removes the entry.
    pub fn gather(
        &self,
        (context, tag, members): (u32, i32, &[u32]),
        member: u32,
    ) -> (u32, Arc<Site>) {
        let mut gatherings = self.gatherings.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (context, tag, members.to_vec());
        let queue = gatherings.entry(key.clone()).or_default();
        let index = match queue.iter().position(|entry| !entry.has_joined[member as usize]) {
            Some(index) => index,
            None => {
                queue.push_back(Gathering {
                    context: self.new_context(),
                    site: self.new_site(members.iter().copied()),
                    has_joined: vec![false; members.len()].into(),
                });
                queue.len() - 1
            }
        };
        queue[index].has_joined[member as usize] = true;
        let made = (queue[index].context, queue[index].site.clone());
        if queue[index].has_joined.iter().all(|joined| *joined) {
            queue.remove(index);
            if queue.is_empty() {
                gatherings.remove(&key);
            }
        }
        made
    }
}

/// What a member brings to a meeting.
#[derive(Debug, Default)]
pub enum Arrival {
    /// Nothing: a barrier.
    #[default]
    Barrier,
    /// A collective that the engine executes.
    Collective(Contribution),
    /// Anything else: the function's name and a value that the last member combines with the others'.
    Exchange(&'static str, Box<dyn Any + Send>),
}

/// What a member takes away from a meeting.
#[derive(Debug, Default)]
pub enum Outcome {
    /// The operation is complete.
    #[default]
    Done,
    /// The operation is complete and gave this member a value.
    Value(Box<dyn Any + Send>),
    /// The operation failed for this member.
    Failed(MpiError),
}

/// Where the members of one communicator meet: each arrives with what it brings, the last one to
/// arrive does the work of all, and the advanced epoch releases the others.
///
/// A member's slot is written by the member before it counts itself in, by the last member while
/// all others wait, and by the member again only after its release; so its lock is never contended.
///
/// Nothing is reset between meetings: counters go on counting, and a member knows the number of its
/// meeting. What members on different workers write lies on different cache lines.
#[derive(Debug)]
pub struct Site {
    members: u32,
    lanes: Box<[Lane]>,
    /// Lanes filled so far, over all meetings.
    filled: Padded<AtomicU64>,
    /// Some member of the meeting under way is not at a barrier.
    has_arrivals: AtomicBool,
    /// The meeting under way will leave outcomes.
    will_leave: AtomicBool,
    /// Twice the number of completed meetings, plus 1 if the last one has left outcomes.
    epoch: Padded<AtomicU64>,
    slots: Box<[Slot]>,
}

/// A value that shares its cache line, and the one fetched with it, with nothing else.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// The members of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    members: u32,
    /// Arrivals so far, over all meetings.
    arrived: AtomicU64,
}

#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    lane: u32,
    content: Mutex<SlotContent>,
}

#[derive(Debug, Default)]
struct SlotContent {
    arrival: Arrival,
    outcome: Outcome,
}

impl Site {
    /// A site for as many members as `workers` has items: for each the worker it was placed on.
    pub fn new(workers: impl Iterator<Item = u32>) -> Self {
        let mut seen: Vec<u32> = Vec::new();
        let mut lanes: Vec<Lane> = Vec::new();
        let slots: Box<[Slot]> = workers
            .map(|worker| {
                let lane = seen.iter().rposition(|other| *other == worker).unwrap_or_else(|| {
                    seen.push(worker);
                    lanes.push(Lane::default());
                    lanes.len() - 1
                });
                lanes[lane].members += 1;
                Slot { lane: lane as u32, content: Mutex::default() }
            })
            .collect();
        Self {
            members: u32::try_from(slots.len()).expect("ranks are counted in 32 bits"),
            lanes: lanes.into(),
            filled: Padded::default(),
            has_arrivals: AtomicBool::new(false),
            will_leave: AtomicBool::new(false),
            epoch: Padded::default(),
            slots,
        }
    }

    /// Number of members.
    pub const fn members(&self) -> u32 {
        self.members
    }

    /// Whether any member of the meeting under way brought something.
    pub fn has_arrivals(&self) -> bool {
        self.has_arrivals.load(Ordering::Relaxed)
    }

    /// Leaves what `member` brings to its next meeting; a member of a barrier brings nothing.
    pub fn bring(&self, member: u32, arrival: Arrival) {
        self.content(member).arrival = arrival;
        if !self.has_arrivals.load(Ordering::Relaxed) {
            self.has_arrivals.store(true, Ordering::Relaxed);
        }
    }

    /// Counts `member` in at its meeting `number`, counted from 1; returns whether all have arrived,
    /// so that the caller does the work.
    #[inline]
    pub fn arrive(&self, member: u32, number: u64) -> bool {
        // Members of one worker count themselves in their lane; only its last one touches the line
        // that workers share.
        let lane = &self.lanes[self.slots[member as usize].lane as usize];
        let full = number * u64::from(lane.members);
        lane.arrived.fetch_add(1, Ordering::AcqRel) + 1 == full
            && self.filled.0.fetch_add(1, Ordering::AcqRel) + 1 == number * self.lanes.len() as u64
    }

    /// Whether meeting `number` is over; acquires what the last member published, and is
    /// sequentially consistent with a waiter's announcement that it suspends.
    #[inline]
    pub fn is_over(&self, number: u64) -> bool {
        self.epoch.0.load(Ordering::SeqCst) >= 2 * number
    }

    /// Ends meeting `number`: members that wait may go. Only the last member calls it.
    pub fn release(&self, number: u64) {
        if self.has_arrivals.load(Ordering::Relaxed) {
            self.has_arrivals.store(false, Ordering::Relaxed);
        }
        let leaves = self.will_leave.load(Ordering::Relaxed);
        if leaves {
            self.will_leave.store(false, Ordering::Relaxed);
        }
        self.epoch.0.store(2 * number + u64::from(leaves), Ordering::SeqCst);
    }

    /// Whether the meeting that was released last left outcomes for its members.
    ///
    /// The next meeting cannot end before every member has asked, for all have to arrive first.
    pub fn has_outcomes(&self) -> bool {
        self.epoch.0.load(Ordering::Relaxed) % 2 == 1
    }

    /// Takes what `member` brought. Only the last member calls it.
    pub fn take_arrival(&self, member: u32) -> Arrival {
        std::mem::take(&mut self.content(member).arrival)
    }

    /// Leaves `outcome` for `member`. Only the last member calls it.
    pub fn set_outcome(&self, member: u32, outcome: Outcome) {
        self.content(member).outcome = outcome;
        self.will_leave.store(true, Ordering::Relaxed);
    }

    /// Takes the outcome of the meeting that `member` was released from.
    pub fn take_outcome(&self, member: u32) -> Outcome {
        std::mem::take(&mut self.content(member).outcome)
    }

    fn content(&self, member: u32) -> std::sync::MutexGuard<'_, SlotContent> {
        self.slots[member as usize].content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_of_each_member_belongs_together() {
        let world = World::new(vec![0; 3], vec![0, 0, 1]);
        let key = (7, 1, &[0, 2][..]);
        let early = [world.gather(key, 0), world.gather(key, 0)];
        let late = [world.gather(key, 1), world.gather(key, 1)];
        assert_ne!(early[0].0, early[1].0);
        for (mine, theirs) in early.iter().zip(&late) {
            assert_eq!(mine.0, theirs.0);
            assert!(Arc::ptr_eq(&mine.1, &theirs.1));
        }
        assert!(world.gatherings.lock().expect("no panic").is_empty());
        let other = world.gather((7, 2, &[0, 2]), 0);
        assert_ne!(other.0, world.gather((7, 1, &[0, 1]), 0).0);
    }
}
