//! MPI from several threads of a rank.
//!
//! The rank's MPI state is one; a thread takes it for the length of a call, and gives it up while it
//! waits in one, so that the others can call meanwhile. Who comes to a state that is taken waits in line.
//! A thread that waits in MPI is woken by every message and wake-up for the rank, looks whether
//! that was its own, and sleeps again. Messages that one thread handles may be what another waits for: who
//! gives the state back wakes the sleepers if any came.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use faasm_mpi_shim::MpiCtx;
use faasm_mpi_shim::port::Pending;
use parking_lot::Mutex;

use super::park::{ThreadShared, WaitsFor};
use super::run::Thread;
use crate::faaslet::port::RankPort;

/// Where the rank's MPI state is while no thread is in a call.
#[derive(Debug)]
pub(crate) struct Seat {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The rank's state, or what the thread that has it left in its place.
    kept: MpiCtx<RankPort>,
    taken: bool,
    /// Those that want it, in the order in which they came.
    line: VecDeque<Arc<ThreadShared>>,
    sleepers: Vec<Arc<Sleeper>>,
    /// How much had happened when the sleepers were last woken.
    news: (u64, usize),
}

/// A thread that waits in an MPI call.
#[derive(Debug)]
struct Sleeper {
    thread: Arc<ThreadShared>,
    woken: AtomicBool,
}

impl Sleeper {
    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.thread.wake();
    }
}

/// A thread's part in MPI.
#[derive(Debug, Default)]
pub(crate) struct InMpi {
    /// Calls it is in: a callback of one may make another. 0 while it does not have the state.
    depth: u32,
    /// The same, while it has given the state up in order to sleep.
    depth_asleep: u32,
    sleeper: Option<Arc<Sleeper>>,
    /// It counts as waiting.
    waits: bool,
}

impl Seat {
    /// A place for the state of a rank.
    pub(crate) fn new(mpi: MpiCtx<RankPort>) -> Self {
        let (line, sleepers) = (VecDeque::new(), Vec::new());
        Self { inner: Mutex::new(Inner { kept: mpi, taken: false, line, sleepers, news: (0, 0) }) }
    }

    /// Looks at the rank's state, which no thread has.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut MpiCtx<RankPort>) -> R) -> R {
        look(&mut self.inner.lock().kept)
    }

    /// Puts another state in the place of the rank's, which no thread has.
    pub(super) fn replace(&self, mpi: MpiCtx<RankPort>) {
        self.inner.lock().kept = mpi;
    }

    /// Whether messages have come that no thread has looked at yet; those that wait do so then.
    pub(crate) fn has_mail(&self) -> bool {
        let mut inner = self.inner.lock();
        if inner.taken || inner.sleepers.is_empty() || !inner.kept.port.has_mail() {
            return false;
        }
        let sleepers = std::mem::take(&mut inner.sleepers);
        drop(inner);
        sleepers.iter().for_each(|sleeper| sleeper.wake());
        true
    }

    /// Something has come for the rank.
    pub(crate) fn wake_sleepers(&self) {
        let sleepers = std::mem::take(&mut self.inner.lock().sleepers);
        sleepers.iter().for_each(|sleeper| sleeper.wake());
    }
}

impl Thread {
    /// Takes the rank's MPI state into `mpi` when it is there.
    pub(crate) fn poll_enter(&mut self, mpi: &mut MpiCtx<RankPort>) -> Poll<()> {
        if self.in_mpi.depth > 0 {
            self.in_mpi.depth += 1;
            return Poll::Ready(());
        }
        loop {
            if self.takes(mpi) {
                self.end_wait();
                self.in_mpi.depth = std::mem::take(&mut self.in_mpi.depth_asleep).max(1);
                return Poll::Ready(());
            }
            self.begin_wait(WaitsFor::Construct("MPI, for a call of another thread"));
            if self.shared.poll_park().is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn takes(&self, mpi: &mut MpiCtx<RankPort>) -> bool {
        let mut seat = self.group.seat.inner.lock();
        let is_me = |other: &Arc<ThreadShared>| Arc::ptr_eq(other, &self.shared);
        if seat.taken {
            if !seat.line.iter().any(is_me) {
                seat.line.push_back(self.shared.clone());
            }
            return false;
        }
        seat.taken = true;
        seat.line.retain(|other| !is_me(other));
        std::mem::swap(&mut seat.kept, mpi);
        mpi.begin_turn(self.shared.id());
        true
    }

    /// Ends a call: gives the state back, unless it was made in a callback of another.
    pub(crate) fn leave(&mut self, mpi: &mut MpiCtx<RankPort>) {
        self.in_mpi.depth = self.in_mpi.depth.saturating_sub(1);
        if self.in_mpi.depth == 0 {
            self.give_back(mpi);
        }
    }

    fn give_back(&self, mpi: &mut MpiCtx<RankPort>) {
        let mut seat = self.group.seat.inner.lock();
        mpi.end_turn(self.shared.id());
        std::mem::swap(&mut seat.kept, mpi);
        seat.taken = false;
        let news = (seat.kept.port.received(), seat.kept.underway_len());
        let sleepers = if std::mem::replace(&mut seat.news, news) == news {
            Vec::new()
        } else {
            std::mem::take(&mut seat.sleepers)
        };
        let next = seat.line.front().cloned();
        drop(seat);
        sleepers.iter().for_each(|sleeper| sleeper.wake());
        if let Some(next) = next {
            next.wake();
        }
    }

    /// What it did in a call was dropped: it has the state no more, and waits for nothing.
    pub(crate) fn abandon(&mut self, mpi: &mut MpiCtx<RankPort>) {
        if std::mem::take(&mut self.in_mpi.depth) > 0 {
            self.give_back(mpi);
        }
        self.in_mpi.depth_asleep = 0;
        let sleeper = self.in_mpi.sleeper.take();
        let mut seat = self.group.seat.inner.lock();
        seat.line.retain(|other| !Arc::ptr_eq(other, &self.shared));
        let is_mine =
            |other: &Arc<Sleeper>| sleeper.as_ref().is_some_and(|own| Arc::ptr_eq(own, other));
        seat.sleepers.retain(|other| !is_mine(other));
        // It may have been this thread that was told that the state is there.
        let next = if seat.taken { None } else { seat.line.front().cloned() };
        drop(seat);
        self.end_wait();
        if let Some(next) = next {
            next.wake();
        }
    }

    /// From now on everything that comes for the rank wakes this thread. Returns whether something
    /// has come already.
    pub(crate) fn prepare_to_sleep(&mut self, mpi: &MpiCtx<RankPort>) -> bool {
        let sleeper = Sleeper { thread: self.shared.clone(), woken: AtomicBool::new(false) };
        let sleeper = Arc::new(sleeper);
        self.in_mpi.sleeper = Some(sleeper.clone());
        self.group.seat.inner.lock().sleepers.push(sleeper);
        mpi.port.announce_wait()
    }

    /// Gives the state up and waits for what [`Thread::prepare_to_sleep`] was told of.
    pub(crate) fn poll_sleep(&mut self, mpi: &mut MpiCtx<RankPort>, pending: &Pending) -> Poll<()> {
        if self.in_mpi.depth > 0 {
            self.in_mpi.depth_asleep = std::mem::take(&mut self.in_mpi.depth);
            self.begin_wait(WaitsFor::Construct(pending.function));
            self.give_back(mpi);
        }
        loop {
            let is_woken = |sleeper: &Arc<Sleeper>| sleeper.woken.load(Ordering::Acquire);
            if self.in_mpi.sleeper.as_ref().is_none_or(is_woken) {
                self.in_mpi.sleeper = None;
                self.end_wait();
                return Poll::Ready(());
            }
            if self.shared.poll_park().is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn begin_wait(&mut self, what: WaitsFor) {
        if !std::mem::replace(&mut self.in_mpi.waits, true) {
            self.shared.begin_wait(what);
        }
    }

    fn end_wait(&mut self) {
        if std::mem::take(&mut self.in_mpi.waits) {
            self.shared.end_wait();
        }
    }
}
