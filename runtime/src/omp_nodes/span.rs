//! This node's part of a program: its threads' questions, and what comes from the other nodes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use faasm_omp_engine::span::{
    Answer, Atomic, Delta, Home, Live, Member, NODES_MAX, Outcome, Reply, Request, SpanError,
    Wanted, WireError,
};
use faasm_vm::GuestMemory;
use faasm_vm::snapshot::SnapshotError;
use parking_lot::Mutex;

use super::memory::{self, NodeMemory, Own};

/// Most questions of a node's threads that wait for an answer.
const QUESTIONS_MAX: usize = 65_536;
/// Most parcels that come before the home's program has begun.
const EARLY_MAX: usize = 64;

/// The variable by which a job's environment says how many nodes its program spans.
const VARIABLE: &str = "FAASM_OMP_NODES";

/// How many nodes the program of a job with this environment spans; `None` for an ordinary job.
pub(crate) fn nodes_asked_for(env: &[(String, String)]) -> Option<u32> {
    let (_, value) = env.iter().rev().find(|(key, _)| key == VARIABLE)?;
    value.parse().ok().filter(|nodes| (2..=NODES_MAX).contains(nodes))
}

/// Why a thread's question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpanFailure {
    /// The program breaks the rules of teams that span nodes.
    #[error("{0}")]
    Refused(String),
    /// The memory cannot be watched.
    #[error(
        "what the program writes cannot be found out ({0}); teams that span nodes need Linux 6.7 or later on each node"
    )]
    Memory(#[from] SnapshotError),
    /// The program has ended on another node, with this exit code.
    #[error("the program has ended on another node")]
    Ended(i32),
    /// More questions than [`QUESTIONS_MAX`].
    #[error("more than {QUESTIONS_MAX} threads of a node wait for another node; use fewer threads")]
    TooMany,
}

/// What is sent between nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ParcelKind {
    /// A question to the home.
    Ask = 0,
    /// An answer.
    Answer = 1,
    /// The home's program has ended.
    End = 2,
    /// A member's has, with the exit code that is the parcel's name.
    Left = 3,
}

impl ParcelKind {
    /// The kind with this number.
    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Ask,
            1 => Self::Answer,
            2 => Self::End,
            3 => Self::Left,
            _ => return None,
        })
    }
}

/// Something for another node.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The rank that gets it.
    pub(crate) to: u32,
    pub(crate) kind: ParcelKind,
    /// The question's name.
    pub(crate) name: u32,
    pub(crate) bytes: Bytes,
}

/// A thread's question.
pub(crate) struct Question {
    wanted: Option<Wanted>,
    answer: Mutex<Option<Result<Outcome, SpanFailure>>>,
    is_done: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Question {
    fn new(wanted: Option<Wanted>, wake: Box<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { wanted, answer: Mutex::default(), is_done: AtomicBool::new(false), wake })
    }

    fn answer(&self, answer: Result<Outcome, SpanFailure>) {
        *self.answer.lock() = Some(answer);
        self.is_done.store(true, Ordering::Release);
        (self.wake)();
    }

    /// Whether there is an answer.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    /// The answer, once.
    pub(crate) fn take(&self) -> Result<Outcome, SpanFailure> {
        self.answer.lock().take().unwrap_or(Err(SpanFailure::Ended(0)))
    }
}

enum Part {
    Home(Box<Home>),
    Member(Box<Member>),
}

struct Inner {
    part: Part,
    memory: Option<NodeMemory>,
    own: Own,
    /// Whether a member's memory is one of zeros, but for its own.
    is_clear: bool,
    asked: BTreeMap<u32, Arc<Question>>,
    last_name: u32,
    /// What came before the home's program had begun.
    early: Vec<(u32, u32, Request)>,
    outbox: VecDeque<Parcel>,
    is_sending: bool,
    /// Why no question has an answer any more.
    over: Option<Over>,
    /// Members that have ended.
    gone: Vec<u32>,
    /// The member's main thread, which only waits for the end.
    main: Option<Arc<Question>>,
}

#[derive(Clone, Debug)]
enum Over {
    Failed(String),
    Ended(i32),
}

impl From<Over> for SpanFailure {
    fn from(over: Over) -> Self {
        match over {
            Over::Failed(why) => Self::Refused(why),
            Over::Ended(code) => Self::Ended(code),
        }
    }
}

/// A node's part of a program that spans several.
pub(crate) struct Span {
    rank: u32,
    nodes: u32,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Span").field("rank", &self.rank).finish_non_exhaustive()
    }
}

impl Span {
    /// Rank `rank` of a program on `nodes` nodes, with a memory of `pages_max` pages.
    pub(crate) fn new(rank: u32, nodes: u32, pages_max: u32) -> Arc<Self> {
        let part = match rank {
            0 => Part::Home(Box::new(Home::new(nodes))),
            _ => Part::Member(Box::default()),
        };
        let arena = arena(rank, nodes, pages_max);
        let inner = Inner {
            part,
            memory: None,
            own: Own { arena, ..Own::default() },
            is_clear: rank == 0,
            asked: BTreeMap::new(),
            last_name: 0,
            early: Vec::new(),
            outbox: VecDeque::new(),
            is_sending: false,
            over: None,
            gone: Vec::new(),
            main: None,
        };
        Arc::new(Self { rank, nodes, inner: Mutex::new(inner) })
    }

    /// This node's number among the program's.
    pub(crate) const fn rank(&self) -> u32 {
        self.rank
    }

    /// Number of nodes.
    pub(crate) const fn nodes(&self) -> u32 {
        self.nodes
    }

    /// The pages from which this node's threads get memory.
    pub(crate) fn arena(&self) -> Range<u32> {
        self.inner.lock().own.arena.clone()
    }

    /// Each node has these bytes for itself; `false` if that cannot be.
    pub(crate) fn keep_private(&self, start: u32, len: u32) -> bool {
        match &mut self.inner.lock().part {
            Part::Home(home) => home.keep_private(start, len),
            Part::Member(member) => member.keep_private(start, len),
        }
    }

    /// What a member has written here before its home's memory comes is to stay; `false` if that cannot be.
    pub(crate) fn keep(&self, start: u32, len: u32) -> bool {
        self.inner.lock().own.kept.add(start, len)
    }

    /// The member's main thread has nothing more to do than to wait for the end.
    pub(crate) fn retire(&self, wake: Box<dyn Fn() + Send + Sync>) -> Arc<Question> {
        let question = Question::new(None, wake);
        let mut inner = self.inner.lock();
        match inner.over.clone() {
            Some(over) => question.answer(Err(over.into())),
            None => inner.main = Some(question.clone()),
        }
        question
    }

    /// Whether the member's main thread has nothing more to do.
    pub(crate) fn has_retired(&self) -> bool {
        self.rank == 0 || self.inner.lock().main.is_some()
    }

    /// Whether an operation on these bytes concerns no other node.
    pub(crate) fn is_own(&self, address: u32, len: u32) -> bool {
        let inner = self.inner.lock();
        match &inner.part {
            Part::Home(_) => true,
            Part::Member(member) => {
                // Before the home's memory is here nobody else has anything to do with it.
                !inner.is_clear
                    || inner.own.arena.contains(&(address >> 16))
                    || member.private().touches(address, len)
            }
        }
    }

    /// A thread asks the home; `wake` is called when there is an answer. What the node's threads have written goes
    /// with it where `wanted` makes that known.
    ///
    /// # Errors
    /// The program cannot go on.
    pub(crate) fn ask(
        &self,
        memory: &GuestMemory,
        wanted: Wanted,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Arc<Question>, SpanFailure> {
        let question = Question::new(Some(wanted), wake);
        let mut inner = self.inner.lock();
        if inner.asked.len() >= QUESTIONS_MAX {
            return Err(SpanFailure::TooMany);
        }
        // 0 is the name of what has no answer.
        inner.last_name = inner.last_name.wrapping_add(1).max(1);
        let name = inner.last_name;
        inner.asked.insert(name, question.clone());
        let put = inner.put(name, memory, wanted);
        if put.is_err() {
            inner.asked.remove(&name);
        }
        put.map(|()| question)
    }

    /// A thread tells the home something that has no answer.
    ///
    /// # Errors
    /// The program cannot go on.
    pub(crate) fn tell(&self, memory: &GuestMemory, wanted: Wanted) -> Result<(), SpanFailure> {
        self.inner.lock().put(0, memory, wanted)
    }

    /// Something has come from the node of rank `from`.
    ///
    /// # Errors
    /// It is damaged, or not for this node.
    pub(crate) fn handle(
        &self,
        from: u32,
        kind: ParcelKind,
        name: u32,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        let mut inner = self.inner.lock();
        match (kind, self.rank) {
            (ParcelKind::Ask, 0) if from > 0 && from < self.nodes => {
                let request = Request::from_bytes(bytes)?;
                if inner.memory.is_some() {
                    inner.handle_ask(from, name, &request);
                } else if inner.early.len() < EARLY_MAX {
                    inner.early.push((from, name, request));
                } else {
                    return Err(WireError);
                }
            }
            (ParcelKind::Answer, 1..) if from == 0 => {
                inner.handle_answer(name, Reply::from_bytes(bytes)?);
            }
            (ParcelKind::End, 1..) if from == 0 => inner.end(&Over::Ended(0)),
            (ParcelKind::Left, 0) if from < self.nodes => {
                inner.gone.push(from);
                inner.end(&Over::Ended(name.cast_signed()));
            }
            _ => return Err(WireError),
        }
        Ok(())
    }

    /// The rank has ended here with this exit code: the other nodes hear of it.
    pub(crate) fn leave(&self, code: i32) {
        let mut inner = self.inner.lock();
        let is_over = inner.over.is_some();
        inner.end(&Over::Ended(code));
        let (kind, others) = match self.rank {
            0 => (ParcelKind::End, 1..self.nodes),
            _ if is_over => return,
            _ => (ParcelKind::Left, 0..1),
        };
        let name = code.cast_unsigned();
        let gone = std::mem::take(&mut inner.gone);
        let others = others.filter(|rank| !gone.contains(rank));
        let parcels = others.map(|to| Parcel { to, kind, name, bytes: Bytes::new() });
        inner.outbox.extend(parcels);
    }

    /// The next parcel to be sent; the caller sends it and then asks for the next one, until there is none. `None` also
    /// while somebody else does that.
    pub(crate) fn next_parcel(&self, is_first: bool) -> Option<Parcel> {
        let mut inner = self.inner.lock();
        if is_first && inner.is_sending {
            return None;
        }
        let parcel = inner.outbox.pop_front();
        inner.is_sending = parcel.is_some();
        parcel
    }
}

impl Inner {
    /// Whether the question makes known what the node's threads have written.
    const fn makes_known(wanted: &Wanted) -> bool {
        match wanted {
            Wanted::Next
            | Wanted::Fork { .. }
            | Wanted::Join
            | Wanted::Barrier
            | Wanted::Unlock { .. }
            | Wanted::Flush
            | Wanted::Pass { .. } => true,
            Wanted::Lock { .. }
            | Wanted::TryLock { .. }
            | Wanted::Chunk(_)
            | Wanted::Turn { .. }
            | Wanted::Atomic { .. } => false,
        }
    }

    fn put(&mut self, name: u32, memory: &GuestMemory, wanted: Wanted) -> Result<(), SpanFailure> {
        if let Some(over) = &self.over {
            return Err(over.clone().into());
        }
        self.begin(memory);
        let makes_known = Self::makes_known(&wanted);
        let Self { part, memory, own, is_clear, outbox, .. } = self;
        let Some(memory) = memory else { return Ok(()) };
        let mut delta = Delta::default();
        match part {
            Part::Home(home) => {
                if makes_known {
                    memory::tell_home(memory, home)?;
                }
                let request = Request { acknowledged: 0, wanted, delta };
                self.handle_own(name, &request)
            }
            Part::Member(member) => {
                if !std::mem::replace(is_clear, true) {
                    memory::clear(memory, member, own, &mut delta)?;
                } else if makes_known {
                    memory.written(|_, page, now| member.changed(page, now, &mut delta))?;
                }
                let request = Request { acknowledged: member.acknowledged(), wanted, delta };
                let bytes = request.to_bytes().into();
                outbox.push_back(Parcel { to: 0, kind: ParcelKind::Ask, name, bytes });
                Ok(())
            }
        }
    }

    /// The program's memory is there.
    fn begin(&mut self, memory: &GuestMemory) {
        if self.memory.is_none() {
            self.memory = Some(NodeMemory::new(memory));
            for (from, name, request) in std::mem::take(&mut self.early) {
                self.handle_ask(from, name, &request);
            }
        }
    }

    fn at_home(&mut self, from: u32, name: u32, request: &Request) -> Result<(), SpanError> {
        let (Part::Home(home), Some(memory)) = (&mut self.part, &self.memory) else {
            return Err(SpanError::Unexpected);
        };
        let live: &dyn Live = &memory.live;
        for Answer { node, name, reply } in home.handle((from, name), request, live)? {
            if node == 0 {
                self.answer(name, Ok(reply.outcome));
            } else if name > 0 {
                let bytes = reply.to_bytes().into();
                self.outbox.push_back(Parcel { to: node, kind: ParcelKind::Answer, name, bytes });
            }
        }
        Ok(())
    }

    /// A question of the home's own thread.
    fn handle_own(&mut self, name: u32, request: &Request) -> Result<(), SpanFailure> {
        self.at_home(0, name, request).map_err(|error| SpanFailure::Refused(error.to_string()))
    }

    /// A question of another node's thread.
    fn handle_ask(&mut self, from: u32, name: u32, request: &Request) {
        if let Err(error) = self.at_home(from, name, request) {
            let outcome = Outcome::Refused(error.to_string());
            let bytes = Reply { order: 0, outcome, delta: Delta::default() }.to_bytes().into();
            self.outbox.push_back(Parcel { to: from, kind: ParcelKind::Answer, name, bytes });
        }
    }

    /// What the home has answered.
    fn handle_answer(&mut self, name: u32, reply: Reply) {
        let (Part::Member(member), Some(memory)) = (&mut self.part, &self.memory) else { return };
        if let Err(error) = member.take(&reply, &memory.live) {
            return self.end(&Over::Failed(error.to_string()));
        }
        let wanted = self.asked.get(&name).and_then(|question| question.wanted);
        if let (Outcome::Value(old), Some(Wanted::Atomic { operation, address, first, second })) =
            (&reply.outcome, wanted)
            && let Some(atomic) = Atomic::from_number(operation)
        {
            // Here, not in the thread: what comes after this answer may be newer.
            let now = atomic.apply(*old, first, second).unwrap_or(*old);
            let bytes = &now.to_le_bytes()[..atomic.bytes.into()];
            member.learn(address, bytes, &memory.live);
        }
        match reply.outcome {
            Outcome::Refused(why) => self.end(&Over::Failed(why)),
            outcome => self.answer(name, Ok(outcome)),
        }
    }

    fn answer(&mut self, name: u32, answer: Result<Outcome, SpanFailure>) {
        if let Some(question) = self.asked.remove(&name) {
            question.answer(answer);
        }
    }

    /// No question has an answer any more. The first reason counts.
    fn end(&mut self, over: &Over) {
        let over = self.over.get_or_insert_with(|| over.clone()).clone();
        for question in std::mem::take(&mut self.asked).into_values().chain(self.main.take()) {
            question.answer(Err(over.clone().into()));
        }
    }
}

/// The pages from which the threads of node `rank` get memory: the home has the lower half, the others share the rest. A
/// page between two parts is nobody's, so that free memory of two nodes never becomes one piece.
fn arena(rank: u32, nodes: u32, pages_max: u32) -> Range<u32> {
    let half = pages_max / 2;
    let share = (pages_max - half) / (nodes - 1).max(1);
    match rank {
        0 => 0..half - 1,
        _ => half + (rank - 1) * share..half + rank * share - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_memory_do_not_touch() {
        for nodes in 2..=NODES_MAX {
            let parts: Vec<_> = (0..nodes).map(|rank| arena(rank, nodes, 65_535)).collect();
            assert!(parts.windows(2).all(|two| two[0].end < two[1].start), "{parts:?}");
            assert!(parts.iter().all(|part| part.len() > 2_000 && part.end <= 65_535), "{parts:?}");
        }
    }

    #[test]
    fn the_environment_says_how_many_nodes() {
        let asked = |value: &str| nodes_asked_for(&[(VARIABLE.to_owned(), value.to_owned())]);
        assert_eq!(
            [asked("2"), asked("16"), asked("1"), asked("17"), asked("x")],
            [Some(2), Some(16), None, None, None]
        );
        assert_eq!(nodes_asked_for(&[]), None);
    }
}
