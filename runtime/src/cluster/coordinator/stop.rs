//! Stopping one job on all its nodes at one instant, as a pure state machine: answers in, orders out.
//!
//! If ranks are to move, the nodes first have as much of that done as they can while all ranks run; where one cannot, all
//! of it is left to the time at which they stand still. If they can, the rest of the move follows at once when all have left.
//!
//! Nobody waits for ranks that compute: before a move, who makes no call for a moment is held at its next one, while the others
//! go on. When all of those have come there the gates are closed, and the nodes are asked again and again how things are. Where
//! a rank computes nevertheless, the gates are opened for the others until it, too, has come to a call. When all stand still in two rounds
//! with nothing in between, and nothing is on its way, it is compared what they have begun together. Who is behind
//! goes on until it is not; where that does not help, for it waits for one that is not behind, all go on for a moment
//! and it is tried again. When all are level they are told to leave, which some may refuse: then, too, it is tried again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::stop::{
    Done, Hold, MoveTask, Sequence, Stands, StopAnswer, StopOrder, Target, Task,
};
use crate::job::{Quiet, is_stuck};

/// How soon the nodes are asked again, at first and at most.
const LOOK_INTERVAL: Duration = Duration::from_micros(200);
const LOOK_INTERVAL_MAX: Duration = Duration::from_millis(10);
/// They are asked so often in the time that it has taken so far.
const LOOKS_A_TIME: u32 = 8;
/// How long the job goes on before it is tried again.
const PAUSE: Duration = Duration::from_millis(5);
/// How long it is tried to stop a job whose ranks cannot leave, from the first refusal on.
const ATTEMPTS_TIME_MAX: Duration = Duration::from_secs(10);
/// Who neither waits nor calls for so long computes.
const KNOCK: Duration = Duration::from_millis(2);
/// After so long those that are held and have come to a call go on while others have not. Some only had no processor. Once
/// all have come they stay, or they would never all be at calls.
const GRACE: Duration = Duration::from_millis(10);
/// How long all wait for ranks that compute, and how often they are looked at at least, before those alone do that wait
/// for the others.
const PATIENCE: Duration = Duration::from_millis(3);
const LOOKS_MIN: u32 = 4;
/// How often that is tried, should others compute by then, before all wait.
const HOLDS_MAX: u32 = 16;
/// How long ranks are held: others may wait for them in a way that cannot be seen.
const HOLD_MAX: Duration = Duration::from_secs(10);
/// Communicators and nodes in them that a node may tell of.
const TOGETHER_MAX: usize = 4 << 20;

/// What a stop tells its driver.
#[derive(Debug, PartialEq)]
pub(super) enum StopEvent {
    /// Send this order, under this name, to the parts with these indices.
    Order { parts: Vec<usize>, name: u32, order: StopOrder },
    /// All ranks have left.
    Stopped(Course),
    /// All tasks are done: for each part what came of it.
    Done(Vec<(usize, Done)>),
    /// The planned move is done: for each rank the index of its node.
    Placed(Vec<u32>),
    /// The job was not stopped, or a task failed; the rest of the stop is up to whoever asked for it.
    Failed(String),
}

/// A move of ranks of a job that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) task: MoveTask,
    /// For each rank the index of the node that it is on now.
    pub(crate) places: Vec<u32>,
    /// Whether the job goes on as soon as its ranks are there.
    pub(crate) goes_on: bool,
}

/// How a stop has gone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Course {
    /// What was to be done before was done; else why not, if anything was to be.
    pub(crate) ahead: Option<Result<(), String>>,
    /// How long that took, while the ranks ran.
    pub(crate) preparing: Duration,
    /// How long it took until those that computed had come to a call, while the others ran.
    pub(crate) holding: Duration,
    /// How long it took then until all ranks waited.
    pub(crate) waiting: Duration,
    /// How long they took to leave.
    pub(crate) leaving: Duration,
    /// Whether the planned move is carried out now, by itself.
    pub(crate) moves: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Stop {
    /// Indices of the parts that have not ended.
    parts: Vec<usize>,
    phase: Phase,
    /// The name of the last order, and those who have not answered it.
    name: u32,
    waiting: BTreeSet<usize>,
    /// When the first attempt failed.
    refused_at: Option<Instant>,
    /// When this phase began, or those together in which the nodes are asked.
    since: Instant,
    course: Course,
    /// How often they have been asked in this phase, and how often ranks were held.
    looks: u32,
    holds: u32,
    /// Whether all that are held wait, as far as the nodes have answered.
    all_wait: bool,
    /// Who was held in the last order, and whether those that come go on until all have once.
    hold: Hold,
    eases: bool,
    /// Answers of the last round, and of the one before it.
    stands: BTreeMap<usize, Stands>,
    before: Vec<Option<Quiet>>,
    /// What the nodes were told to come up to.
    targets: Vec<Target>,
    refusals: Vec<(u32, String)>,
    failure: Option<String>,
    done: Vec<(usize, Done)>,
    /// What is carried out when all have left, and what of it is still to be ordered.
    plan: Option<Plan>,
    steps: VecDeque<Task>,
    events: VecDeque<StopEvent>,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Phase {
    /// What can be done before is being done.
    Ahead,
    /// The nodes are being asked, or will be at that time.
    Looking,
    Resting(Instant),
    /// The nodes are told to see who calls, and do so until then.
    Knocking,
    Watching(Instant),
    /// Some are held: the nodes are asked whether these wait, or will be at that time.
    Holding,
    HoldingOn(Instant),
    /// All go on until then.
    Pausing(Instant),
    Leaving,
    Stopped,
    Acting,
    /// It has failed or is over; nothing more comes.
    Over,
}

impl Stop {
    /// Begins to stop the job's parts with these indices, after what can be done before of this move; the names of the
    /// orders count on from `name`.
    pub(super) fn new(parts: Vec<usize>, name: u32, plan: Option<Plan>, now: Instant) -> Self {
        let ahead = plan.as_ref().map(|plan| plan.task.clone());
        let mut new = Self {
            parts,
            phase: Phase::Ahead,
            name,
            waiting: BTreeSet::new(),
            refused_at: None,
            since: now,
            course: Course::default(),
            looks: 0,
            holds: 0,
            all_wait: false,
            hold: Hold::Same,
            eases: true,
            stands: BTreeMap::new(),
            before: Vec::new(),
            targets: Vec::new(),
            refusals: Vec::new(),
            failure: None,
            done: Vec::new(),
            plan,
            steps: VecDeque::new(),
            events: VecDeque::new(),
        };
        match ahead {
            Some(task) => new.order(StopOrder::Ahead(task)),
            None => new.look(None),
        }
        new
    }

    /// Whether answers are awaited.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What is to be carried out when all have left.
    pub(super) const fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// That cannot be carried out any more, unless it is being carried out.
    pub(super) fn forget_plan(&mut self) {
        self.plan = self.plan.take().filter(|_| self.course.moves);
    }

    /// The next thing to do.
    pub(super) fn poll(&mut self) -> Option<StopEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Resting(at)
            | Phase::Watching(at)
            | Phase::HoldingOn(at)
            | Phase::Pausing(at) => Some(at),
            _ => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Resting(at) if at <= now => self.look(None),
            Phase::Watching(at) if at <= now => self.hold(Hold::More),
            Phase::HoldingOn(at) if at <= now => self.hold(Hold::Same),
            Phase::Pausing(at) if at <= now => {
                self.before.clear();
                self.targets.clear();
                self.begin_to_look(now);
            }
            _ => {}
        }
    }

    /// A part has answered the order of this name.
    pub(super) fn handle_answer(
        &mut self,
        part: usize,
        name: u32,
        answer: StopAnswer,
        now: Instant,
    ) {
        if name != self.name || !self.waiting.remove(&part) {
            return;
        }
        match answer {
            StopAnswer::Stands(stands) => {
                self.stands.insert(part, stands);
            }
            StopAnswer::Held { all_wait } => self.all_wait &= all_wait,
            StopAnswer::Left => {}
            StopAnswer::Done(done) => self.done.push((part, done)),
            StopAnswer::Refused { why } => self.refusals.extend(why),
            StopAnswer::Failed { why } => {
                self.failure.get_or_insert(why);
            }
        }
        if !self.waiting.is_empty() {
            return;
        }
        match self.phase {
            Phase::Ahead => self.prepared(now),
            Phase::Looking => self.looked(now),
            Phase::Knocking => self.knocked(now),
            Phase::Holding => self.held(now),
            Phase::Leaving => self.left(now),
            Phase::Acting => self.acted(),
            _ => {}
        }
    }

    /// The parts are to do something, each its own.
    pub(super) fn act(&mut self, tasks: Vec<(usize, Task)>) {
        let are_known = tasks.iter().all(|(part, _)| self.parts.contains(part));
        if self.phase != Phase::Stopped || tasks.is_empty() || !are_known {
            self.events.push_back(StopEvent::Failed("the job is not stopped there".to_owned()));
            return;
        }
        self.phase = Phase::Acting;
        self.name = self.name.wrapping_add(1);
        self.waiting = tasks.iter().map(|(part, _)| *part).collect();
        for (part, task) in tasks {
            let (parts, name, order) = (vec![part], self.name, StopOrder::Act(task));
            self.events.push_back(StopEvent::Order { parts, name, order });
        }
    }

    /// All go on. Gives the name of the last order.
    pub(super) fn go_on(&mut self) -> u32 {
        if self.phase != Phase::Over {
            let is_level = matches!(self.phase, Phase::Stopped | Phase::Acting);
            self.order(StopOrder::GoOn { is_level });
            self.waiting.clear();
            self.phase = Phase::Over;
        }
        self.name
    }

    /// A part has ended or is lost, or the job ends: it cannot be stopped any more.
    pub(super) fn fail(&mut self, why: &str) {
        if self.phase != Phase::Over {
            self.go_on();
            self.events.push_back(StopEvent::Failed(why.to_owned()));
        }
    }

    fn order(&mut self, order: StopOrder) {
        self.name = self.name.wrapping_add(1);
        self.waiting = self.parts.iter().copied().collect();
        let (parts, name) = (self.parts.clone(), self.name);
        self.events.push_back(StopEvent::Order { parts, name, order });
    }

    fn look(&mut self, targets: Option<Vec<Target>>) {
        self.phase = Phase::Looking;
        self.stands.clear();
        self.order(StopOrder::Look { targets });
    }

    /// All have done what they can while the ranks run, or cannot. That is no reason not to go on.
    fn prepared(&mut self, now: Instant) {
        self.done.clear();
        let refusal = self.refusals.drain(..).next().map(|(_, why)| why);
        let failure = self.failure.take().or(refusal);
        self.plan = self.plan.take().filter(|_| failure.is_none());
        self.course.ahead = Some(failure.map_or(Ok(()), Err));
        self.course.preparing = self.end_phase(now);
        self.knock();
    }

    /// From now on it is seen who makes calls.
    fn knock(&mut self) {
        self.phase = Phase::Knocking;
        self.order(StopOrder::Hold(Hold::More));
    }

    /// All see that.
    fn knocked(&mut self, now: Instant) {
        match self.failure.take() {
            Some(why) => self.fail(&why),
            None => self.phase = Phase::Watching(now + KNOCK),
        }
    }

    /// From now on they are asked.
    fn begin_to_look(&mut self, now: Instant) {
        (self.since, self.looks) = (now, 0);
        self.look(None);
    }

    /// How long the phase that ends now has lasted.
    fn end_phase(&mut self, now: Instant) -> Duration {
        now.duration_since(std::mem::replace(&mut self.since, now))
    }

    /// All have said how things are.
    fn looked(&mut self, now: Instant) {
        if let Some(why) = self.failure.take() {
            return self.fail(&why);
        }
        let all: usize =
            self.stands.values().flat_map(|s| &s.together).map(|t| t.nodes.len()).sum();
        if all > TOGETHER_MAX {
            return self.fail("the nodes tell of more communicators than there can be");
        }
        let quiet = |stands: &Stands| stands.standstill.map(Quiet::from);
        let after: Vec<_> = self.stands.values().map(quiet).collect();
        let before = std::mem::replace(&mut self.before, after);
        if !is_stuck(&before, &self.before) {
            let is_quiet = |all: &[Option<Quiet>]| all.iter().all(Option::is_some);
            if is_quiet(&self.before) && (before.is_empty() || !is_quiet(&before)) {
                // What counts is that nothing happens between two rounds, not how long that is.
                return self.look(None);
            }
            self.looks += 1;
            let is_long = self.looks >= LOOKS_MIN && now.duration_since(self.since) >= PATIENCE;
            if is_long && !is_quiet(&self.before) && self.holds < HOLDS_MAX {
                let time = self.end_phase(now);
                self.course.waiting += time;
                self.holds += 1;
                self.before.clear();
                self.targets.clear();
                return self.hold(Hold::More);
            }
            // Whoever computes for long is not asked all the time.
            let interval = now.duration_since(self.since) / LOOKS_A_TIME;
            self.phase = Phase::Resting(now + interval.clamp(LOOK_INTERVAL, LOOK_INTERVAL_MAX));
            return;
        }
        let (targets, is_level) = compare(&self.stands);
        if is_level {
            let time = self.end_phase(now);
            self.course.waiting += time;
            self.phase = Phase::Leaving;
            self.refusals.clear();
            self.order(StopOrder::Leave);
        } else if targets != self.targets {
            self.targets.clone_from(&targets);
            self.before.clear();
            self.look(Some(targets));
        } else {
            let why = "ranks wait for each other between collective operations of several nodes";
            self.pause(why.to_owned(), now);
        }
    }

    /// Some are held, and the others go on.
    fn hold(&mut self, whom: Hold) {
        (self.phase, self.all_wait, self.hold) = (Phase::Holding, true, whom);
        self.order(StopOrder::Hold(whom));
    }

    /// All have said whether those that are held wait.
    fn held(&mut self, now: Instant) {
        if let Some(why) = self.failure.take() {
            return self.fail(&why);
        }
        let time = now.duration_since(self.since);
        if !self.all_wait && time < HOLD_MAX {
            if self.eases && self.hold == Hold::Same && time >= GRACE {
                return self.hold(Hold::Late);
            }
            let interval = (time / LOOKS_A_TIME).clamp(LOOK_INTERVAL, LOOK_INTERVAL_MAX);
            self.phase = Phase::HoldingOn(now + interval);
            return;
        }
        self.course.holding += time;
        if self.all_wait {
            // Where nobody had to be waited for, the next hold is the first one.
            self.eases &= time < GRACE;
            return self.begin_to_look(now);
        }
        self.holds = self.holds.saturating_sub(1);
        self.go_on_for_a_moment(now);
    }

    /// All have tried to leave.
    fn left(&mut self, now: Instant) {
        if let Some(why) = self.failure.take() {
            return self.fail(&why);
        }
        let time = self.end_phase(now);
        if self.refusals.is_empty() {
            self.phase = Phase::Stopped;
            (self.course.leaving, self.course.moves) = (time, self.plan.is_some());
            self.events.push_back(StopEvent::Stopped(self.course.clone()));
            if let Some(plan) = &self.plan {
                self.steps = [Task::Move(plan.task.clone()), Task::Renew].into();
            }
            return self.step();
        }
        self.refusals.sort_unstable();
        let why = self.refusals.drain(..).map(|(rank, why)| format!("rank {rank}: {why}"));
        let why: Vec<_> = why.collect();
        self.pause(why.join("; "), now);
    }

    /// The job goes on for a moment, unless that was tried for long.
    fn pause(&mut self, why: String, now: Instant) {
        let since = *self.refused_at.get_or_insert(now);
        if now.duration_since(since) > ATTEMPTS_TIME_MAX {
            return self.fail(&why);
        }
        self.go_on_for_a_moment(now);
    }

    fn go_on_for_a_moment(&mut self, now: Instant) {
        self.order(StopOrder::Pause);
        self.waiting.clear();
        self.phase = Phase::Pausing(now + PAUSE);
    }

    fn acted(&mut self) {
        self.phase = Phase::Stopped;
        let why = self.refusals.drain(..).next().map(|(rank, why)| format!("rank {rank}: {why}"));
        let done = std::mem::take(&mut self.done);
        if let Some(why) = self.failure.take().or(why) {
            self.plan = None;
            self.steps.clear();
            return self.events.push_back(StopEvent::Failed(why));
        }
        self.events.push_back(StopEvent::Done(done));
        self.step();
    }

    /// Goes on with what is planned, if anything is.
    fn step(&mut self) {
        if let Some(task) = self.steps.pop_front() {
            self.order(StopOrder::Act(task));
            self.phase = Phase::Acting;
        } else if let Some(Plan { task, goes_on, .. }) = self.plan.take() {
            self.events.push_back(StopEvent::Placed(task.places().collect()));
            if goes_on {
                self.go_on();
            }
        }
    }
}

/// The furthest that any node has come in each sequence of operations, and whether all that take part have.
fn compare(stands: &BTreeMap<usize, Stands>) -> (Vec<Target>, bool) {
    let mut furthest: BTreeMap<(u32, Sequence), u64> = BTreeMap::new();
    let mut takers: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut counts: BTreeMap<(u32, Sequence, u32), u64> = BTreeMap::new();
    for (part, stands) in stands {
        for together in &stands.together {
            takers.entry(together.context).or_default().extend(&together.nodes);
            for (sequence, count) in &together.counts {
                let last = furthest.entry((together.context, *sequence)).or_insert(*count);
                if is_ahead(*sequence, *count, *last) {
                    *last = *count;
                }
                counts.insert((together.context, *sequence, *part as u32), *count);
            }
        }
    }
    let is_level = furthest.iter().all(|((context, sequence), furthest)| {
        let mut nodes = takers.get(context).into_iter().flatten();
        // Those that have left the job begin nothing any more.
        nodes.all(|node| {
            let count = counts.get(&(*context, *sequence, *node));
            count == Some(furthest) || !stands.contains_key(&(*node as usize))
        })
    });
    let target = |((context, sequence), count)| Target { context, sequence, count };
    (furthest.into_iter().map(target).collect(), is_level)
}

/// Whether a count is beyond another one. Starts of a persistent operation are counted modulo a power of two.
const fn is_ahead(sequence: Sequence, count: u64, other: u64) -> bool {
    match sequence {
        Sequence::Persistent(_) => {
            count.wrapping_sub(other) % STARTS < STARTS / 2 && count != other
        }
        _ => count > other,
    }
}

/// Starts that are told apart.
const STARTS: u64 = 1 << 23;

#[cfg(test)]
#[path = "stop_tests.rs"]
mod tests;
