//! A non-blocking collective under way: what its members of this node brought, and how it ends.
//!
//! Members arrive at an appointment without waiting; the last one of the node executes it for all, or
//! begins the node's [`Journey`] when the communicator has members on other nodes. It lives until its
//! last member has taken the result.

mod combination;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use faasm_mpi_engine::collective::Contribution;
use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::error::{MpiError, Result};
use faasm_mpi_engine::group::Group;

pub(crate) use combination::{Combination, Operands};

/// The seats at which an operation failed, with their errors.
pub(crate) type SeatFailures = Vec<(u32, MpiError)>;

/// The appointments of a site that not all members have come to.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<u64, Arc<Appointment>>>);

impl Board {
    /// Brings `contribution` to appointment `number`; tells whether all `members` have come.
    pub(crate) fn join(
        &self,
        (seat, members): (u32, u32),
        number: u64,
        contribution: Contribution,
    ) -> (Arc<Appointment>, bool) {
        let mut open = lock(&self.0);
        let entry = open.entry(number).or_insert_with(|| Arc::new(Appointment::new(members)));
        let appointment = entry.clone();
        let is_last = appointment.bring(seat, contribution);
        if is_last {
            open.remove(&number);
        }
        (appointment, is_last)
    }
}

/// One non-blocking collective on one node.
#[derive(Debug)]
pub struct Appointment {
    is_over: AtomicBool,
    state: Mutex<State>,
    journey: OnceLock<Journey>,
}

#[derive(Debug)]
struct State {
    missing: u32,
    /// Seat of the member who came last.
    last: u32,
    seats: usize,
    brought: Vec<Option<Contribution>>,
    failures: SeatFailures,
}

impl Appointment {
    fn new(members: u32) -> Self {
        let brought = (0..members).map(|_| None).collect();
        let state = State {
            missing: members,
            last: 0,
            seats: members as usize,
            brought,
            failures: Vec::new(),
        };
        let (is_over, journey) = (AtomicBool::new(false), OnceLock::new());
        Self { is_over, state: Mutex::new(state), journey }
    }

    fn bring(&self, seat: u32, contribution: Contribution) -> bool {
        let mut state = lock(&self.state);
        state.brought[seat as usize] = Some(contribution);
        state.missing -= 1;
        state.last = seat;
        // One that was broken off is not executed.
        state.missing == 0 && !self.is_over()
    }

    /// What all members brought, by seat. Only the last member calls it.
    pub fn take(&self) -> Vec<Contribution> {
        std::mem::take(&mut lock(&self.state).brought).into_iter().flatten().collect()
    }

    /// Ends it; its members are to be woken.
    pub fn conclude(&self, failures: SeatFailures) {
        let mut state = lock(&self.state);
        if !self.is_over() {
            state.failures = failures;
            self.is_over.store(true, Ordering::SeqCst);
        }
    }

    /// Ends it with an error at all seats, for some member has failed; unless it is over or being executed by a
    /// member that has not failed. Gives context and meeting of what it expects from other nodes, if anything.
    pub fn break_off(
        &self,
        error: &MpiError,
        has_failed: impl Fn(u32) -> bool,
    ) -> Option<(u32, u64)> {
        let journey = self.journey();
        if let Some(journey) = journey {
            journey.machine().future = None;
        }
        let mut state = lock(&self.state);
        let is_executed = journey.is_none() && state.missing == 0 && !has_failed(state.last);
        if self.is_over() || is_executed {
            return None;
        }
        let seats = 0..u32::try_from(state.seats).unwrap_or(u32::MAX);
        state.failures = seats.map(|seat| (seat, error.clone())).collect();
        self.is_over.store(true, Ordering::SeqCst);
        journey.map(|journey| (journey.context, journey.meeting))
    }

    /// Whether the operation is over; sequentially consistent with a waiter's announcement that it
    /// suspends.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Why it failed for the member of this seat, if it did.
    pub fn error(&self, seat: u32) -> Option<MpiError> {
        let state = lock(&self.state);
        state.failures.iter().find(|(at, _)| *at == seat).map(|(_, error)| error.clone())
    }

    /// Lets the operation go on between nodes. Only the last member calls it.
    pub fn set_out(&self, journey: Journey) {
        // Only one member is the last one.
        let _ = self.journey.set(journey);
    }

    /// The operation's part between nodes, if it has one and has come so far.
    pub fn journey(&self) -> Option<&Journey> {
        self.journey.get()
    }
}

/// Counts the parts that have come for a journey.
type Arrived = Box<dyn Fn() -> u64 + Send + Sync>;

/// The part of an operation between nodes: a state machine that any member of the node moves on.
pub struct Journey {
    /// Context of the communicator.
    pub context: u32,
    /// Number of the meeting in that context.
    pub meeting: u64,
    /// The nodes, by their index in the communicator.
    pub nodes: Box<[u32]>,
    /// Index of this node.
    pub here: usize,
    /// World ranks of the members on this node.
    pub local: Group,
    /// How members lay operands out that bring none themselves.
    pub datatype: Option<Datatype>,
    mail: Arc<Mutex<Mail>>,
    machine: Mutex<Machine>,
    arrived: Mutex<Option<Arrived>>,
    seen: AtomicU64,
}

impl std::fmt::Debug for Journey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journey")
            .field("context", &self.context)
            .field("meeting", &self.meeting)
            .finish_non_exhaustive()
    }
}

/// The engine's state machine, and messages between it and whoever moves it on.
pub struct Machine {
    future: Option<Pin<Box<dyn Future<Output = SeatFailures> + Send>>>,
    mail: Arc<Mutex<Mail>>,
    /// Whether it has begun to send.
    pub has_begun: bool,
    /// Messages sent to each node, and taken from each.
    pub sent: Vec<u32>,
    /// Messages taken from each node.
    pub taken: Vec<u32>,
}

/// Messages of a journey that wait to be sent, and those that wait to be read, by node.
#[derive(Debug, Default)]
pub struct Mail {
    /// To be sent, each with the index of its node.
    pub outgoing: VecDeque<(usize, Bytes)>,
    /// To be read, for each node.
    pub incoming: Vec<VecDeque<Bytes>>,
    /// What a member is to do with the program's operator.
    pub combination: Combination,
}

impl Journey {
    /// A journey of `future`, which finds its messages in `mail`.
    pub fn new(
        (context, meeting): (u32, u64),
        (nodes, here): (Box<[u32]>, usize),
        local: Group,
        mail: Arc<Mutex<Mail>>,
        future: impl Future<Output = SeatFailures> + Send + 'static,
    ) -> Self {
        let machine = Machine {
            future: Some(Box::pin(future)),
            mail: mail.clone(),
            has_begun: false,
            sent: vec![0; nodes.len()],
            taken: vec![0; nodes.len()],
        };
        Self {
            context,
            meeting,
            nodes,
            here,
            local,
            datatype: None,
            mail,
            machine: Mutex::new(machine),
            arrived: Mutex::new(None),
            seen: AtomicU64::new(u64::MAX),
        }
    }

    /// With what other members of the node bring, for those that bring nothing.
    pub fn with_datatype(self, datatype: Option<Datatype>) -> Self {
        Self { datatype, ..self }
    }

    /// The state machine, unless another member moves it on at the moment.
    pub fn try_machine(&self) -> Option<MutexGuard<'_, Machine>> {
        match self.machine.try_lock() {
            Ok(machine) => Some(machine),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }

    /// The state machine; waits for a member that moves it on.
    pub fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    /// Parts are counted by `arrived` from now on; whoever asks next has news.
    pub fn listen(&self, arrived: impl Fn() -> u64 + Send + Sync + 'static) {
        *lock(&self.arrived) = Some(Box::new(arrived));
        self.seen.store(u64::MAX, Ordering::SeqCst);
    }

    /// Notes that all parts that have come until now are looked at.
    pub fn look(&self) {
        self.seen.store(self.count(), Ordering::SeqCst);
    }

    /// Whether parts have come since somebody looked.
    pub fn has_news(&self) -> bool {
        self.seen.load(Ordering::SeqCst) != self.count()
    }

    /// Whether a member of the node is to call the program's operator.
    pub fn asks(&self) -> bool {
        lock(&self.mail).combination.is_asked()
    }

    /// What is to be combined, for the member that is the first to take it; it has to [answer](Journey::answer).
    pub fn take_operands(&self) -> Option<Operands> {
        lock(&self.mail).combination.take()
    }

    /// The elements are combined: whoever moves the machine on next finds the result.
    pub fn answer(&self, result: Result<Vec<u8>>) {
        // Who moves it on at the moment may have looked for the result already, and nobody else would.
        let _machine = self.machine();
        lock(&self.mail).combination = Combination::Made(result);
    }

    fn count(&self) -> u64 {
        lock(&self.arrived).as_ref().map_or(0, |arrived| arrived())
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("has_begun", &self.has_begun).finish_non_exhaustive()
    }
}

impl Machine {
    /// Whether it has come to its end.
    pub const fn is_over(&self) -> bool {
        self.future.is_none()
    }

    /// Gives the machine a message from a node.
    pub fn put(&mut self, node: usize, message: Bytes) {
        self.taken[node] += 1;
        lock(&self.mail).incoming[node].push_back(message);
    }

    /// Moves on as far as the messages allow; gives the failures at the end.
    pub fn step(&mut self) -> Option<SeatFailures> {
        let future = self.future.as_mut()?;
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => None,
            Poll::Ready(failures) => {
                self.future = None;
                Some(failures)
            }
        }
    }

    /// The next message to send: index of its node, its number among those to that node, and it.
    pub fn next_outgoing(&mut self) -> Option<(usize, u32, Bytes)> {
        let (node, message) = lock(&self.mail).outgoing.pop_front()?;
        let number = self.sent[node];
        self.sent[node] += 1;
        Some((node, number, message))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use faasm_mpi_engine::collective::Kind;
    use faasm_mpi_engine::error::ErrorClass;

    use super::*;

    #[test]
    fn appointments_are_kept_apart_by_number_and_forgotten_when_all_have_come() {
        let board = Board::default();
        let join = |seat, number, kind| board.join((seat, 2), number, Contribution::new(kind));
        let (first, is_last) = join(0, 1, Kind::Barrier);
        assert!(!is_last);
        assert!(!join(0, 2, Kind::Bcast).1, "the next one before the other member came");
        let (same, is_last) = join(1, 1, Kind::Barrier);
        assert!(is_last && Arc::ptr_eq(&first, &same));
        assert_eq!(lock(&board.0).len(), 1);
        let kinds: Vec<Kind> = same.take().into_iter().map(|one| one.kind).collect();
        assert_eq!(kinds, [Kind::Barrier, Kind::Barrier]);
        assert!(!first.is_over());
        same.conclude(vec![(1, MpiError::new(ErrorClass::Truncate, "too long"))]);
        assert!(first.is_over() && first.error(0).is_none() && first.error(1).is_some());
        assert!(join(1, 2, Kind::Bcast).1);
        assert!(lock(&board.0).is_empty());
    }

    #[test]
    fn a_journey_tells_of_news_and_keeps_messages_in_order() {
        let mail = Arc::new(Mutex::new(Mail::default()));
        lock(&mail).incoming.resize_with(2, VecDeque::new);
        let inside = mail.clone();
        let future = async move {
            lock(&inside).outgoing.push_back((1, Bytes::from_static(b"question")));
            let message = std::future::poll_fn(|_| match lock(&inside).incoming[1].pop_front() {
                Some(message) => Poll::Ready(message),
                None => Poll::Pending,
            })
            .await;
            assert_eq!(&*message, b"answer");
            Vec::new()
        };
        let journey = Journey::new((7, 1), ([0, 4].into(), 0), Group::world(1), mail, future);
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        journey.listen(move || counted.load(Ordering::SeqCst));
        assert!(journey.has_news(), "who listens looks first");
        journey.look();
        assert!(!journey.has_news());
        let mut machine = journey.machine();
        assert!(machine.step().is_none() && !machine.is_over());
        assert_eq!(machine.next_outgoing(), Some((1, 0, Bytes::from_static(b"question"))));
        assert_eq!(machine.next_outgoing(), None);
        count.fetch_add(1, Ordering::SeqCst);
        assert!(journey.has_news());
        assert!(journey.try_machine().is_none(), "somebody moves it on");
        machine.put(1, Bytes::from_static(b"answer"));
        assert_eq!((machine.step(), machine.is_over()), (Some(Vec::new()), true));
    }

    #[test]
    fn a_journey_asks_one_member_at_a_time_to_combine() {
        let mail = Arc::new(Mutex::new(Mail::default()));
        let inside = mail.clone();
        let future = async move {
            let (accumulator, operand) = (vec![1], vec![2]);
            let operands = Operands { accumulator, operand, count: 1 };
            lock(&inside).combination = Combination::Asked(operands);
            let result = std::future::poll_fn(|_| {
                lock(&inside).combination.result().map_or(Poll::Pending, Poll::Ready)
            });
            assert_eq!(result.await, Ok(vec![3]));
            Vec::new()
        };
        let journey = Journey::new((7, 1), ([0, 4].into(), 0), Group::world(1), mail, future);
        assert!(!journey.asks() && journey.take_operands().is_none());
        assert!(journey.machine().step().is_none() && journey.asks());
        let operands = journey.take_operands().expect("somebody is wanted");
        assert_eq!((operands.accumulator, operands.operand), (vec![1], vec![2]));
        assert!(!journey.asks() && journey.take_operands().is_none(), "one does it");
        assert!(journey.machine().step().is_none(), "it waits for the result");
        journey.answer(Ok(vec![3]));
        assert_eq!(journey.machine().step(), Some(Vec::new()));
        assert!(!journey.asks());
    }
}
