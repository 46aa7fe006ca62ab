//! Where the members of one communicator that run on this node meet for collectives.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use faasm_mpi_engine::collective::Contribution;
use faasm_mpi_engine::collective::cluster::Spread;
use faasm_mpi_engine::error::{MpiError, Result};
use faasm_mpi_engine::group::Group;

use crate::appointment::{Appointment, Board};

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
    /// The same at a site of a spread communicator: the value is encoded, for it travels.
    Input(&'static str, Result<Box<[u8]>>),
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
///
/// Only members that run on this node come to a site; each has a seat, in the order of their ranks.
/// When the communicator has members on other nodes too, the last one to arrive leads this node's
/// part of the operation, and releases the others when that is over.
#[derive(Debug)]
pub struct Site {
    members: u32,
    elsewhere: Option<Box<Elsewhere>>,
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
    /// Non-blocking operations that not all members have started.
    board: Board,
    /// Where members may fail: what keeps those apart who go and who still come.
    order: Mutex<Order>,
}

/// Who does what at a site of a job that goes on without failed members. Arriving, ending a meeting and leaving
/// it unfinished happen one after the other, so that nobody works on the buffers of a member who has left.
#[derive(Debug, Default)]
struct Order {
    /// Somebody has left a meeting that was not over: there are no further ones.
    is_broken: bool,
    /// Seat of the member that does the work of the meeting under way.
    leader: Option<u32>,
}

/// What a site knows of a communicator that has members on other nodes.
#[derive(Debug)]
pub struct Elsewhere {
    /// On which node each member runs.
    pub spread: Spread,
    /// World ranks of the members that come to this site.
    pub local: Group,
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
    ///
    /// With `elsewhere` these are the members of this node.
    pub fn new(workers: impl Iterator<Item = u32>, elsewhere: Option<Elsewhere>) -> Self {
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
            elsewhere: elsewhere.map(Box::new),
            lanes: lanes.into(),
            filled: Padded::default(),
            has_arrivals: AtomicBool::new(false),
            will_leave: AtomicBool::new(false),
            epoch: Padded::default(),
            slots,
            board: Board::default(),
            order: Mutex::default(),
        }
    }

    /// Number of members that come to this site.
    pub const fn members(&self) -> u32 {
        self.members
    }

    /// Number of members of the communicator.
    #[inline]
    pub fn communicator_size(&self) -> u32 {
        match &self.elsewhere {
            None => self.members,
            Some(elsewhere) => elsewhere.spread.size() as u32,
        }
    }

    /// What there is to know when the communicator has members on other nodes.
    #[inline]
    pub fn elsewhere(&self) -> Option<&Elsewhere> {
        self.elsewhere.as_deref()
    }

    /// The seat of the member with this rank in the communicator, who runs on this node.
    pub fn seat(&self, rank: u32) -> u32 {
        match &self.elsewhere {
            None => rank,
            Some(elsewhere) => elsewhere.spread.seat(rank).unwrap_or(0),
        }
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

    /// As [`Site::arrive`] where members may fail; `None` when there are no meetings any more.
    pub fn arrive_orderly(&self, member: u32, number: u64) -> Option<bool> {
        let mut order = self.order();
        if order.is_broken {
            return None;
        }
        let is_last = self.arrive(member, number);
        if is_last {
            order.leader = Some(member);
        }
        Some(is_last)
    }

    /// As [`Site::release`] where members may fail.
    pub fn release_orderly(&self, number: u64) {
        let mut order = self.order();
        order.leader = None;
        self.release(number);
    }

    /// A member wants to leave meeting `number`, at which it waits. Returns whether it may: not when the meeting is
    /// over, or somebody does its work who has not failed.
    pub fn break_off(&self, number: u64, has_failed: impl Fn(u32) -> bool) -> bool {
        let mut order = self.order();
        let goes_on = order.leader.is_some_and(|leader| !has_failed(leader));
        if goes_on || self.is_over(number) {
            return false;
        }
        order.is_broken = true;
        true
    }

    /// There are no further meetings.
    pub fn close(&self) {
        self.order().is_broken = true;
    }

    /// World rank of the member at this seat, of `everyone` in the communicator.
    pub fn world_rank(&self, seat: u32, everyone: &Group) -> Option<u32> {
        match &self.elsewhere {
            None => everyone.world_rank(seat as usize),
            Some(elsewhere) => elsewhere.local.world_rank(seat as usize),
        }
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

    /// Brings `contribution` to the non-blocking operation `number` of this site; tells whether all
    /// members of this node have come, so that the caller does the work.
    pub fn join(
        &self,
        member: u32,
        number: u64,
        contribution: Contribution,
    ) -> (Arc<Appointment>, bool) {
        self.board.join((member, self.members), number, contribution)
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

    fn order(&self) -> std::sync::MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn content(&self, member: u32) -> std::sync::MutexGuard<'_, SlotContent> {
        self.slots[member as usize].content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
