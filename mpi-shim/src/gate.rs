//! Stopping all ranks of a job at one instant, so that their state can be written.
//!
//! The runtime closes the job's [`Gate`]. From then on no rank begins a call that may wait; a rank that is inside one
//! goes on waiting there. When the whole job stands still, no message is under way, and the runtime asks
//! everybody to leave: a rank that waits *drops what it was doing in the call*, and its stack is taken. When
//! the stack is back the same function is called with the same arguments.
//!
//! So each function that waits can be called anew at any instant at which it waits: dropping its future undoes what
//! it did, or leaves a note in the rank's MPI state with which the second call goes on. Where neither is possible,
//! the rank refuses to leave, and the runtime tries again later.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::world::Clock;

/// What the ranks of a job are to do at switch points.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u64)]
pub enum Cut {
    /// To go on.
    Open = 0,
    /// To begin nothing that may wait.
    Closed = 1,
    /// To hand their stacks over where they wait.
    Leave = 2,
    /// To go on, but for those that are [held](Gate::hold): these are to begin nothing that may wait.
    Held = 3,
}

impl Cut {
    /// What the gate's state tells.
    const fn of(state: u64) -> Self {
        match state & ((1 << CUT_BITS) - 1) {
            0 => Self::Open,
            1 => Self::Closed,
            2 => Self::Leave,
            _ => Self::Held,
        }
    }
}

/// What the ranks of a job are told, all of them at once.
#[derive(Debug, Default)]
pub struct Gate {
    state: AtomicU64,
    /// How far ranks have to come before they stop, and how often that was changed.
    targets: Mutex<Arc<[Clock]>>,
    version: AtomicU64,
    held: Mutex<Held>,
    /// For tests: ranks that have to be moved before any ends.
    unmoved: Mutex<BTreeSet<u32>>,
    have_to_move: AtomicBool,
}

/// Who stops before the others are to.
#[derive(Debug, Default)]
struct Held {
    ranks: BTreeSet<u32>,
    /// Those of all ranks that have begun a call since ranks were last held.
    callers: BTreeSet<u32>,
}

/// The gate's low bits hold what is told, the others count how often that was changed.
const CUT_BITS: u32 = 2;

impl Gate {
    /// Tells all ranks. They look at their next switch point, and when they are woken. Only one thread calls it
    /// at a time.
    pub fn set(&self, cut: Cut) {
        if matches!(cut, Cut::Open | Cut::Held) {
            self.aim(Arc::default());
        }
        if cut == Cut::Open {
            *self.lock_held() = Held::default();
        }
        self.state.store((self.changes() + 1) << CUT_BITS | cut as u64, Ordering::SeqCst);
    }

    /// Has all go on but these ranks, which begin nothing that may wait. Whoever was told something else has to be told.
    pub fn hold(&self, ranks: BTreeSet<u32>) {
        *self.lock_held() = Held { ranks, callers: BTreeSet::new() };
        self.set(Cut::Held);
    }

    /// Who is held.
    pub fn held(&self) -> BTreeSet<u32> {
        self.lock_held().ranks.clone()
    }

    /// Whether this rank has begun a call since ranks were [held](Gate::hold) the last time.
    pub fn has_called(&self, rank: u32) -> bool {
        self.lock_held().callers.contains(&rank)
    }

    fn lock_held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While the gate is closed, ranks that are behind these clocks pass it. Those that wait there have to be woken.
    pub fn aim(&self, targets: Arc<[Clock]>) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets;
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// What the ranks are told.
    #[inline]
    pub fn cut(&self) -> Cut {
        Cut::of(self.state.load(Ordering::Acquire))
    }

    /// For tests: these ranks have to be moved before any of the job's ends.
    pub fn have_to_move(&self, ranks: impl Iterator<Item = u32>) {
        self.unmoved().extend(ranks);
        self.have_to_move.store(true, Ordering::Release);
    }

    /// These have been.
    pub fn have_moved(&self, ranks: impl Iterator<Item = u32>) {
        if self.have_to_move.load(Ordering::Acquire) {
            let mut unmoved = self.unmoved();
            for rank in ranks {
                unmoved.remove(&rank);
            }
            self.have_to_move.store(!unmoved.is_empty(), Ordering::Release);
        }
    }

    fn unmoved(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.unmoved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `look` finds, if the gate is open all the while: ranks that wait at it look as if they waited for each other.
    pub fn while_open<R>(&self, look: impl FnOnce() -> Option<R>) -> Option<R> {
        let before = self.state.load(Ordering::Acquire);
        let found = (Cut::of(before) == Cut::Open).then(look)??;
        // Each change has a number of its own, so the same state has been there all the while.
        (self.state.load(Ordering::Acquire) == before).then_some(found)
    }

    fn changes(&self) -> u64 {
        self.state.load(Ordering::Acquire) >> CUT_BITS
    }
}

/// One rank's own access to the gate of its job; it is counted apart, so that calls of MPI touch nothing that
/// all ranks share. Only the rank itself changes it.
#[derive(Debug)]
pub struct Door {
    gate: Arc<Gate>,
    rank: u32,
    /// Whether the rank was held when the gate had changed so often; that number is in all but the lowest bit.
    held_at: AtomicU64,
    /// Functions of the program that MPI has called and that have not returned.
    callbacks: AtomicU32,
    /// Why the running call cannot be called anew: a [`Bar`].
    bar: AtomicU8,
    /// The last attempt at which the rank refused to leave.
    refused: AtomicU64,
    /// The last call was left where it waited.
    left: AtomicBool,
    /// The running call was to be left, and the program's frames cannot be taken.
    held: AtomicBool,
    /// For tests: each so many-th wait is left, whatever the gate says.
    every: Option<NonZeroU32>,
    waits: AtomicU32,
    /// For tests: one more than the calls until that at which the rank stays; at none with 0, at its last one only with
    /// [`LAST_CALL`].
    stay: AtomicU32,
    stays_since: OnceLock<Instant>,
    /// How often the gate had changed when the rank began to stay at a call; 0 where it does not.
    stays_from: AtomicU64,
}

/// So often the gate changes, three times for each attempt to move ranks, until one that stays does a call.
const STAY_CHANGES_MAX: u64 = 12;
/// Calls of which no rank makes as many.
const LAST_CALL: u32 = u32::MAX;
/// A rank that is to be moved where it stays waits for that so long.
const STAY_MAX: Duration = Duration::from_secs(10);

/// Why a call cannot be called anew.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Bar {
    /// It can.
    None = 0,
    /// It has done something that a second call would do again.
    Committed = 1,
    /// Frames of the program cannot be taken here.
    Held = 2,
}

impl Door {
    /// The access of a rank to `gate`. With `every` the rank also leaves each so many-th wait by itself, which shows for a
    /// program that its waits can be left.
    pub fn new(gate: Arc<Gate>, rank: u32, every: Option<NonZeroU32>) -> Self {
        Self {
            gate,
            rank,
            held_at: AtomicU64::new(0),
            callbacks: AtomicU32::new(0),
            bar: AtomicU8::new(Bar::None as u8),
            refused: AtomicU64::new(0),
            left: AtomicBool::new(false),
            held: AtomicBool::new(false),
            every,
            waits: AtomicU32::new(0),
            stay: AtomicU32::new(0),
            stays_since: OnceLock::new(),
            stays_from: AtomicU64::new(0),
        }
    }

    /// Has the rank stay at the call after so many others that may wait, if `calls` says so, until it is moved and has another
    /// door; and at its last one until [all have moved](Gate::have_to_move) that have to. It shows for a program that it can be
    /// moved.
    #[must_use]
    pub fn stays_after(mut self, calls: Option<u32>) -> Self {
        let stay = calls.map_or(LAST_CALL, |calls| calls.saturating_add(1).min(LAST_CALL - 1));
        self.stay = AtomicU32::new(stay);
        self
    }

    /// Whether the rank stays at the call that begins, which may be its last one.
    #[inline]
    pub(crate) fn keeps(&self, is_last: impl FnOnce() -> bool) -> bool {
        let stay = self.stay.load(Ordering::Relaxed);
        if stay == 0 || self.is_in_callback() {
            return false;
        }
        let is_last = is_last() && self.gate.have_to_move.load(Ordering::Acquire);
        if (2..LAST_CALL).contains(&stay) {
            self.stay.store(stay - 1, Ordering::Relaxed);
        }
        is_last || stay == 1 && self.keeps_longer()
    }

    /// Whether the rank is not yet to do one call: others may wait for it in calls in which they cannot be moved.
    fn keeps_longer(&self) -> bool {
        let changes = self.gate.changes() + 1;
        let from = self.stays_from.load(Ordering::Relaxed);
        let from = if from == 0 { changes } else { from };
        let keeps = changes - from < STAY_CHANGES_MAX;
        self.stays_from.store(if keeps { from } else { 0 }, Ordering::Relaxed);
        keeps
    }

    /// Whether the rank still stays where it does; not if it could not be moved for long.
    pub(crate) fn goes_on_staying(&self) -> bool {
        let goes_on = self.stays_since.get_or_init(Instant::now).elapsed() < STAY_MAX;
        if !goes_on {
            self.stay.store(0, Ordering::Relaxed);
        }
        goes_on
    }

    /// What the rank is told; never [`Cut::Held`], which is one of two things for it.
    #[inline]
    pub fn cut(&self) -> Cut {
        match self.gate.cut() {
            Cut::Held if self.is_held() => Cut::Closed,
            Cut::Held => Cut::Open,
            cut => cut,
        }
    }

    /// Whether the rank is held, which is about to begin a call. Who does so often does not look for itself among the others
    /// each time.
    #[cold]
    fn is_held(&self) -> bool {
        let (changes, known) = (self.gate.changes(), self.held_at.load(Ordering::Relaxed));
        if known >> 1 == changes {
            return known & 1 != 0;
        }
        let mut held = self.gate.lock_held();
        let is_held = held.ranks.contains(&self.rank);
        held.callers.insert(self.rank);
        drop(held);
        self.held_at.store(changes << 1 | u64::from(is_held), Ordering::Relaxed);
        is_held
    }

    /// How far the rank has to come before it stops, and a number that changes with it.
    pub(crate) fn targets(&self) -> (u64, Arc<[Clock]>) {
        let version = self.version();
        (version, self.gate.targets.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// A number that changes with the targets.
    pub(crate) fn version(&self) -> u64 {
        self.gate.version.load(Ordering::SeqCst)
    }

    /// A call begins; only the outermost counts.
    #[inline]
    pub(crate) fn begin(&self) {
        if !self.is_in_callback() {
            let is_held =
                self.held.load(Ordering::Relaxed) && self.held.swap(false, Ordering::Relaxed);
            self.bar(if is_held { Bar::Held } else { Bar::None });
        }
    }

    /// The running call has been left where it waited, or cannot be although it was to be.
    pub(crate) fn set_left(&self, left: bool) {
        self.left.store(left, Ordering::Relaxed);
        self.held.store(!left, Ordering::Relaxed);
    }

    /// Whether the call that begins was left before where it waited; it is told so once.
    #[inline]
    pub(crate) fn comes_again(&self) -> bool {
        self.left.load(Ordering::Relaxed) && self.left.swap(false, Ordering::Relaxed)
    }

    /// From now on the running call cannot be called anew.
    #[inline]
    pub(crate) fn bar(&self, why: Bar) {
        self.bar.store(why as u8, Ordering::Relaxed);
    }

    /// What the running call has done need not be done again when it is called anew: it can be left.
    pub(crate) fn lift(&self) {
        let (committed, none) = (Bar::Committed as u8, Bar::None as u8);
        // What else bars it goes on doing so.
        let _ = self.bar.compare_exchange(committed, none, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why the running call cannot be called anew at the moment.
    pub(crate) fn current_bar(&self) -> Bar {
        match self.bar.load(Ordering::Relaxed) {
            0 => Bar::None,
            1 => Bar::Committed,
            _ => Bar::Held,
        }
    }

    /// MPI calls a function of the program, whose frames lie between those of the host until it returns.
    pub(crate) fn enter_callback(&self) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// The function has returned.
    pub(crate) fn leave_callback(&self) {
        self.callbacks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the program is in a function that MPI has called.
    pub fn is_in_callback(&self) -> bool {
        self.callbacks.load(Ordering::Relaxed) > 0
    }

    /// Whether a wait that is none of MPI's is to end, because the rank is to leave and has not refused that.
    pub fn interrupts(&self) -> bool {
        self.cut() == Cut::Leave && self.refused.load(Ordering::Relaxed) != self.gate.changes()
    }

    /// Whether the call that waits now is to be left.
    fn is_interrupted(&self) -> bool {
        self.cut() == Cut::Leave && self.obstacle().is_none()
    }

    /// Whether the call that has waited is left for a test. It has been suspended before, so that others run.
    fn is_due(&self) -> bool {
        self.is_tested() && self.obstacle().is_none()
    }

    fn is_tested(&self) -> bool {
        let Some(every) = self.every else { return false };
        (self.waits.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(every.get())
    }

    /// Why the running call cannot be left where it waits, if it cannot.
    pub(crate) fn obstacle(&self) -> Option<&'static str> {
        if self.is_in_callback() {
            return Some("it waits inside a function of the program that MPI has called");
        }
        match self.bar.load(Ordering::Relaxed) {
            0 => None,
            1 => Some("it has done a part that cannot be done again"),
            _ => Some("the program's frames cannot be taken inside an exception handler"),
        }
    }

    /// Whether the rank refuses to leave for the first time in this attempt.
    pub(crate) fn refuses_first(&self) -> bool {
        let attempt = self.gate.changes();
        self.refused.swap(attempt, Ordering::Relaxed) != attempt
    }
}

/// Runs `body` to its end, unless it is to be left where it waits; `None` then, and it is to be dropped.
pub(crate) async fn interruptible<F: Future>(
    door: Option<&Door>,
    mut body: Pin<&mut F>,
) -> Option<F::Output> {
    let mut has_waited = false;
    std::future::poll_fn(|cx| {
        if has_waited && door.is_some_and(Door::is_due) {
            return Poll::Ready(None);
        }
        match body.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if door.is_some_and(Door::is_interrupted) => Poll::Ready(None),
            Poll::Pending => {
                has_waited = true;
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_left_only_where_it_can_be_called_anew() {
        let gate = Arc::new(Gate::default());
        let door = Door::new(gate.clone(), 0, None);
        assert_eq!((door.cut(), door.is_interrupted()), (Cut::Open, false));
        gate.set(Cut::Closed);
        assert_eq!((door.cut(), door.is_interrupted()), (Cut::Closed, false));
        gate.set(Cut::Leave);
        assert!(door.is_interrupted());
        door.bar(Bar::Committed);
        assert!(door.interrupts(), "other waits than those of MPI are told once");
        assert!(!door.is_interrupted() && door.refuses_first() && !door.refuses_first());
        assert!(!door.interrupts());
        door.begin();
        assert!(door.is_interrupted());
        door.enter_callback();
        door.bar(Bar::Held);
        door.begin();
        assert!(
            !door.is_interrupted(),
            "a call inside a callback does not clear what the outer one noted"
        );
        door.leave_callback();
        assert!(door.obstacle().is_some());
        gate.set(Cut::Open);
        gate.set(Cut::Leave);
        assert!(door.refuses_first(), "each attempt is refused anew");
        door.set_left(false);
        door.begin();
        assert!(door.obstacle().is_some_and(|why| why.contains("frames")) && !door.comes_again());
        door.set_left(true);
        door.begin();
        assert!(door.comes_again() && !door.comes_again() && door.obstacle().is_none());
    }

    #[test]
    fn what_is_seen_counts_only_while_the_gate_is_open() {
        let gate = Gate::default();
        let look_while = |told: &[Cut]| {
            gate.while_open(|| {
                told.iter().for_each(|cut| gate.set(*cut));
                Some(())
            })
        };
        assert_eq!(look_while(&[]), Some(()));
        assert_eq!(look_while(&[Cut::Closed]), None, "it closes meanwhile");
        assert_eq!(look_while(&[]), None, "it is closed");
        gate.set(Cut::Open);
        assert_eq!(look_while(&[Cut::Closed, Cut::Open]), None, "it was closed for a moment");
        assert_eq!(look_while(&[Cut::Closed, Cut::Leave, Cut::Open]), None);
        assert_eq!(gate.while_open(|| None::<()>), None);
        assert_eq!(look_while(&[]), Some(()));
    }

    #[test]
    fn a_rank_stays_where_it_is_to_be_moved() {
        let gate = Arc::<Gate>::default();
        gate.have_to_move([0, 7].into_iter());
        let inner = || false;
        assert!(!Door::new(gate.clone(), 0, None).keeps(|| true), "nobody has asked for it");
        let door = Door::new(gate.clone(), 0, None).stays_after(Some(2));
        assert_eq!([(); 4].map(|()| door.keeps(inner)), [false, false, true, true]);
        door.enter_callback();
        assert!(!door.keeps(inner), "it cannot be moved there");
        door.leave_callback();
        assert!(door.goes_on_staying() && door.keeps(inner));
        let kept = (0..2 * STAY_CHANGES_MAX).map(|_| {
            gate.set(Cut::Closed);
            u64::from(door.keeps(inner))
        });
        assert_eq!(kept.sum::<u64>(), 2 * STAY_CHANGES_MAX - 1, "once it does one");
        let [first, other] =
            [Some(100), None].map(|calls| Door::new(gate.clone(), 0, None).stays_after(calls));
        let stay_at = |last: bool| [&first, &other].map(|door| door.keeps(|| last));
        assert_eq!((stay_at(false), stay_at(true)), ([false; 2], [true; 2]));
        gate.have_moved([7].into_iter());
        assert_eq!(stay_at(true), [true; 2], "one is left");
        gate.have_moved([0, 7].into_iter());
        assert_eq!(stay_at(true), [false; 2]);
    }

    #[test]
    fn those_that_are_held_stop_before_the_others() {
        let gate = Arc::new(Gate::default());
        let doors = [3, 4].map(|rank| Door::new(gate.clone(), rank, None));
        let cuts = || doors.each_ref().map(Door::cut);
        gate.set(Cut::Closed);
        gate.hold([4, 9].into());
        assert!(!gate.has_called(3));
        assert_eq!((gate.cut(), cuts()), (Cut::Held, [Cut::Open, Cut::Closed]));
        assert!(gate.has_called(3) && gate.has_called(4) && !gate.has_called(9));
        assert_eq!(cuts(), [Cut::Open, Cut::Closed], "as often as they look");
        gate.set(Cut::Closed);
        assert_eq!((cuts(), gate.held()), ([Cut::Closed; 2], [4, 9].into()));
        gate.hold([3].into());
        assert_eq!(cuts(), [Cut::Closed, Cut::Open]);
        gate.set(Cut::Leave);
        assert_eq!(cuts(), [Cut::Leave; 2]);
        gate.set(Cut::Open);
        assert_eq!((cuts(), gate.held()), ([Cut::Open; 2], BTreeSet::new()));
    }

    #[test]
    fn waits_are_left_now_and_then_where_that_is_asked_for() {
        let door = Door::new(Arc::default(), 0, NonZeroU32::new(3));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut left = Vec::new();
        for _ in 0..3 {
            let never = std::pin::pin!(std::future::pending::<()>());
            let mut wait = std::pin::pin!(interruptible(Some(&door), never));
            let polls = (1..10).find(|_| wait.as_mut().poll(&mut cx).is_ready());
            left.push(polls);
        }
        assert_eq!(left, [Some(4); 3], "the first time a wait is never left");
        let body = std::pin::pin!(async { 7 });
        let mut ready = std::pin::pin!(interruptible(Some(&door), body));
        assert_eq!(ready.as_mut().poll(&mut cx), Poll::Ready(Some(7)));
    }
}
