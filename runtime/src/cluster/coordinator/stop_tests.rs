//! A stop of a job on two nodes, without any node.

use super::*;
use crate::cluster::message::{Block, Standstill};
use crate::cluster::stop::{Together, Written};

struct Talk {
    stop: Stop,
    now: Instant,
    name: u32,
    /// Changes that the nodes tell of.
    changes: u64,
}

impl Talk {
    fn new() -> Self {
        Self::after(None)
    }

    fn after(plan: Option<Plan>) -> Self {
        let now = Instant::now();
        let stop = Stop::new(vec![0, 1], 7, plan, now);
        Self { stop, now, name: 7, changes: 3 }
    }

    /// All are ordered to do this, under a new name.
    fn ordered(&mut self, expected: StopOrder) -> &mut Self {
        match self.stop.poll() {
            Some(StopEvent::Order { parts, name, order }) => {
                assert_eq!((parts, &order), (vec![0, 1], &expected));
                assert_ne!(name, self.name);
                self.name = name;
            }
            other => panic!("{expected:?} is ordered, not {other:?}"),
        }
        self
    }

    fn event(&mut self, expected: StopEvent) -> &mut Self {
        assert_eq!(self.stop.poll(), Some(expected));
        self
    }

    fn silence(&mut self) -> &mut Self {
        assert_eq!(self.stop.poll(), None);
        self
    }

    fn answer(&mut self, part: usize, answer: StopAnswer) -> &mut Self {
        self.stop.handle_answer(part, self.name, answer, self.now);
        self
    }

    /// Both answer a look: the messages sent and received by the first node, and what each has begun.
    fn stand(&mut self, sent: u64, received: u64, meetings: [u64; 2]) -> &mut Self {
        for (part, count) in meetings.into_iter().enumerate() {
            let counts = [(Sequence::Meetings, count)];
            let begun = Together { context: 5, nodes: vec![0, 1], counts: counts.into() };
            let (sent, received) = if part == 0 { (sent, received) } else { (0, 0) };
            let changes = self.changes;
            let standstill = Some(Standstill { sent, received, changes, waiting: 2 });
            let together = if count > 0 { vec![begun] } else { Vec::new() };
            self.answer(part, StopAnswer::Stands(Stands { standstill, together }));
        }
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.stop.handle_timeout(self.now);
        self
    }

    /// After a while they are asked again.
    fn asked_again(&mut self) -> &mut Self {
        self.silence();
        assert!(self.stop.next_timeout().is_some());
        self.wait(LOOK_INTERVAL_MAX).ordered(StopOrder::Look { targets: None })
    }

    /// It is seen for a moment whether ranks compute, which none does.
    fn knocks(&mut self) -> &mut Self {
        for pause in [Duration::ZERO, KNOCK] {
            self.wait(pause).ordered(StopOrder::Hold(Hold::More));
            self.answer(0, held(true)).silence().answer(1, held(true));
        }
        self
    }

    /// All stand still, and are asked to leave.
    fn stands_still(&mut self) -> &mut Self {
        self.stand(4, 4, [2, 2]).ordered(LOOK).stand(4, 4, [2, 2]).ordered(StopOrder::Leave)
    }

    fn stopped(&mut self) -> &mut Self {
        self.answer(0, StopAnswer::Left).silence();
        self.answer(1, StopAnswer::Left);
        assert!(matches!(self.stop.poll(), Some(StopEvent::Stopped(_))));
        self.silence()
    }
}

const LOOK: StopOrder = StopOrder::Look { targets: None };

fn target(count: u64) -> Vec<Target> {
    vec![Target { context: 5, sequence: Sequence::Meetings, count }]
}

#[test]
fn a_job_stops_when_nothing_is_on_its_way_and_goes_on() {
    let mut t = Talk::new();
    t.ordered(LOOK).answer(0, StopAnswer::Stands(Stands::default())).silence();
    t.answer(1, StopAnswer::Stands(Stands::default())).asked_again();
    t.stand(5, 4, [2, 2]).ordered(LOOK).stand(5, 4, [2, 2]).asked_again();
    t.changes += 1;
    t.stand(5, 5, [2, 2]).asked_again();
    t.changes += 1;
    t.stand(5, 5, [2, 2]).asked_again().stand(5, 5, [2, 2]).ordered(StopOrder::Leave).stopped();
    assert_eq!(t.stop.next_timeout(), None, "it may last");
    t.stop.go_on();
    t.ordered(StopOrder::GoOn { is_level: true }).silence();
    t.stop.fail("late");
    t.silence();
}

/// A rank computes on the second node: it is looked at for a while.
fn computes_for_long(t: &mut Talk) {
    for look in 1..=LOOKS_MIN {
        t.answer(0, stands(true)).answer(1, stands(false));
        if look < LOOKS_MIN {
            t.asked_again();
        }
    }
}

fn stands(still: bool) -> StopAnswer {
    let standstill = still.then_some(Standstill { sent: 4, received: 4, changes: 3, waiting: 2 });
    StopAnswer::Stands(Stands { standstill, together: Vec::new() })
}

const HOLD: [StopOrder; 3] =
    [StopOrder::Hold(Hold::More), StopOrder::Hold(Hold::Same), StopOrder::Hold(Hold::Late)];

fn held(all_wait: bool) -> StopAnswer {
    StopAnswer::Held { all_wait }
}

#[test]
fn the_others_go_on_until_those_that_compute_have_come_to_a_call() {
    let [hold, ask, ease] = HOLD;
    let mut t = Talk::new();
    computes_for_long(t.ordered(LOOK));
    t.ordered(hold.clone()).answer(1, held(false)).silence().answer(0, held(true)).silence();
    t.wait(GRACE / 2).ordered(ask.clone()).answer(0, held(true)).answer(1, held(false)).silence();
    // Who came first goes on while others have not.
    for _ in 0..3 {
        t.wait(GRACE).ordered(ask.clone()).answer(0, held(true)).answer(1, held(false));
        t.ordered(ease.clone()).answer(0, held(true)).answer(1, held(false)).silence();
    }
    t.now += HOLD_MAX / 2;
    t.stop.handle_timeout(t.now);
    t.ordered(ask.clone()).answer(0, held(true)).answer(1, held(true)).ordered(LOOK);
    // Another one computes by now; nobody goes on before it comes.
    computes_for_long(&mut t);
    t.ordered(hold).answer(0, held(true)).answer(1, held(false)).silence();
    for _ in 0..3 {
        t.wait(GRACE).ordered(ask.clone()).answer(0, held(true)).answer(1, held(false)).silence();
    }
    t.wait(GRACE).ordered(ask).answer(0, held(true)).answer(1, held(true)).ordered(LOOK);
    t.stands_still().answer(0, StopAnswer::Left).answer(1, StopAnswer::Left);
    let Some(StopEvent::Stopped(course)) = t.stop.poll() else { panic!("it is stopped") };
    assert!(course.holding >= HOLD_MAX / 2, "{course:?}");
    assert!(course.waiting <= 2 * LOOKS_MIN * LOOK_INTERVAL_MAX, "{course:?}");
}

#[test]
fn before_a_move_those_that_compute_are_seen_while_all_run() {
    let [hold, ask, _] = HOLD;
    let task = MoveTask { number: 3, blocks: Vec::new(), births: Vec::new() };
    let mut t = Talk::after(Some(Plan { task: task.clone(), places: vec![0, 1], goes_on: true }));
    t.ordered(StopOrder::Ahead(task)).answer(0, StopAnswer::Done(Done::Nothing));
    t.answer(1, StopAnswer::Done(Done::Nothing)).ordered(hold.clone()).answer(0, held(true));
    t.wait(2 * KNOCK).silence();
    assert_eq!(t.stop.next_timeout(), None, "it counts from when all see it");
    t.answer(1, held(true)).silence().wait(KNOCK).ordered(hold);
    t.answer(0, held(false)).answer(1, held(true)).silence();
    t.wait(GRACE / 2).ordered(ask).answer(0, held(true)).answer(1, held(true));
    t.ordered(LOOK).stands_still();
}

#[test]
fn those_that_are_held_are_not_for_ever_and_in_the_end_all_wait() {
    let [hold, ..] = HOLD;
    let mut t = Talk::new();
    computes_for_long(t.ordered(LOOK));
    t.ordered(hold.clone()).now += HOLD_MAX;
    t.answer(0, held(true)).answer(1, held(false));
    t.ordered(StopOrder::Pause).wait(PAUSE).ordered(LOOK);
    for _ in 0..HOLDS_MAX {
        computes_for_long(&mut t);
        t.ordered(hold.clone()).answer(0, held(true)).answer(1, held(true)).ordered(LOOK);
    }
    computes_for_long(&mut t);
    t.asked_again().stands_still().stopped();
}

#[test]
fn a_node_that_cannot_hold_its_ranks_ends_the_stop() {
    let [hold, ..] = HOLD;
    let mut t = Talk::new();
    computes_for_long(t.ordered(LOOK));
    t.ordered(hold).answer(0, held(true));
    t.answer(1, StopAnswer::Failed { why: "it is ending".to_owned() });
    t.ordered(StopOrder::GoOn { is_level: false });
    t.event(StopEvent::Failed("it is ending".to_owned())).silence();
}

#[test]
fn who_is_behind_goes_on_until_all_are_level() {
    let mut t = Talk::new();
    t.ordered(LOOK).stand(4, 4, [3, 2]).ordered(LOOK).stand(4, 4, [3, 2]);
    t.ordered(StopOrder::Look { targets: Some(target(3)) });
    t.answer(0, StopAnswer::Stands(Stands::default()));
    t.answer(1, StopAnswer::Stands(Stands::default())).asked_again();
    t.changes += 2;
    t.stand(6, 6, [3, 4]).ordered(LOOK).stand(6, 6, [3, 4]);
    t.ordered(StopOrder::Look { targets: Some(target(4)) });
    t.changes += 2;
    t.stand(8, 8, [4, 4]).ordered(LOOK).stand(8, 8, [4, 4]).ordered(StopOrder::Leave);
}

#[test]
fn a_node_that_has_begun_nothing_may_be_behind() {
    let mut t = Talk::new();
    t.ordered(LOOK).stand(4, 4, [1, 0]).ordered(LOOK).stand(4, 4, [1, 0]);
    t.ordered(StopOrder::Look { targets: Some(target(1)) });
}

#[test]
fn all_go_on_for_a_moment_where_those_behind_wait_for_others() {
    let mut t = Talk::new();
    t.ordered(LOOK);
    let mut first = None;
    let why = loop {
        t.stand(4, 4, [3, 2]).ordered(LOOK).stand(4, 4, [3, 2]);
        t.ordered(StopOrder::Look { targets: Some(target(3)) });
        t.stand(4, 4, [3, 2]).ordered(LOOK).stand(4, 4, [3, 2]);
        let first = *first.get_or_insert(t.now);
        if t.now - first <= ATTEMPTS_TIME_MAX {
            t.ordered(StopOrder::Pause).wait(PAUSE).ordered(LOOK);
            continue;
        }
        t.ordered(StopOrder::GoOn { is_level: false });
        match t.stop.poll() {
            Some(StopEvent::Failed(why)) => break why,
            other => panic!("it is given up, not {other:?}"),
        };
    };
    assert!(why.contains("wait for each other"), "{why}");
    t.silence();
}

#[test]
fn a_refusal_is_tried_again_and_told_in_the_end() {
    let mut t = Talk::new();
    t.ordered(LOOK).stands_still().answer(0, StopAnswer::Left);
    t.answer(1, StopAnswer::Refused { why: vec![(3, "MPI_Win_lock: no".to_owned())] });
    t.ordered(StopOrder::Pause).silence().wait(PAUSE).ordered(LOOK);
    t.stands_still().now += ATTEMPTS_TIME_MAX;
    t.answer(1, StopAnswer::Left);
    t.answer(0, StopAnswer::Refused { why: vec![(1, "MPI_Win_lock: no".to_owned())] });
    t.ordered(StopOrder::GoOn { is_level: false });
    t.event(StopEvent::Failed("rank 1: MPI_Win_lock: no".to_owned())).silence();
}

#[test]
fn tasks_are_done_while_the_job_is_stopped() {
    let mut t = Talk::new();
    let task = |cut| {
        Task::Write(crate::cluster::stop::WriteTask {
            dir: "d".to_owned(),
            cut,
            base: None,
            nonce: [0; 32],
        })
    };
    t.stop.act(vec![(0, task(1))]);
    t.ordered(LOOK).event(StopEvent::Failed("the job is not stopped there".to_owned()));
    t.stands_still().stopped().stop.act(vec![(1, task(1)), (0, task(2))]);
    for (part, cut) in [(1, 1), (0, 2)] {
        let Some(StopEvent::Order { parts, name, order }) = t.stop.poll() else {
            panic!("an order")
        };
        assert_eq!((parts, order), (vec![part], StopOrder::Act(task(cut))));
        t.name = name;
    }
    let written =
        |world| Done::Written(Written { world: vec![world], elapsed_ns: 1, ranks: vec![] });
    t.answer(0, StopAnswer::Done(written(0))).answer(0, StopAnswer::Left).silence();
    t.answer(1, StopAnswer::Done(written(1)));
    t.event(StopEvent::Done(vec![(0, written(0)), (1, written(1))])).silence();
    t.stop.act(vec![(0, task(3))]);
    assert!(matches!(t.stop.poll(), Some(StopEvent::Order { .. })));
    t.name = t.name.wrapping_add(1);
    t.answer(0, StopAnswer::Failed { why: "full".to_owned() });
    t.event(StopEvent::Failed("full".to_owned())).silence();
    t.stop.go_on();
    t.ordered(StopOrder::GoOn { is_level: true });
}

#[test]
fn what_can_be_done_before_is_and_nothing_hangs_on_it() {
    let task = MoveTask { number: 3, blocks: Vec::new(), births: Vec::new() };
    for failure in [None, Some("no tracker".to_owned())] {
        let (places, goes_on) = (vec![0, 1], true);
        let mut t = Talk::after(Some(Plan { task: task.clone(), places, goes_on }));
        t.ordered(StopOrder::Ahead(task.clone())).answer(0, StopAnswer::Done(Done::Nothing));
        t.silence().wait(Duration::from_secs(2)).silence();
        t.answer(
            1,
            match &failure {
                None => StopAnswer::Done(Done::Nothing),
                Some(why) => StopAnswer::Failed { why: why.clone() },
            },
        );
        // A rank that was to move has ended.
        t.stop.forget_plan();
        t.knocks().ordered(LOOK).wait(Duration::from_millis(3)).stands_still();
        t.wait(Duration::from_millis(1)).answer(0, StopAnswer::Left).answer(1, StopAnswer::Left);
        let course = Course {
            ahead: Some(failure.map_or(Ok(()), Err)),
            preparing: Duration::from_secs(2),
            holding: KNOCK,
            waiting: Duration::from_millis(3),
            leaving: Duration::from_millis(1),
            moves: false,
        };
        t.event(StopEvent::Stopped(course)).silence().stop.go_on();
        t.ordered(StopOrder::GoOn { is_level: true });
    }
}

#[test]
fn a_planned_move_follows_by_itself() {
    let blocks = [(1, 1), (0, 1)].map(|(node, ranks)| Block { node, ranks });
    let task = MoveTask { number: 3, blocks: blocks.into(), births: Vec::new() };
    let nothing = || StopAnswer::Done(Done::Nothing);
    for goes_on in [true, false] {
        let plan = Plan { task: task.clone(), places: vec![0, 1], goes_on };
        let mut t = Talk::after(Some(plan.clone()));
        t.ordered(StopOrder::Ahead(task.clone())).answer(0, nothing()).answer(1, nothing());
        t.knocks().ordered(LOOK).stands_still().answer(0, StopAnswer::Left);
        assert_eq!(t.stop.plan(), Some(&plan));
        t.answer(1, StopAnswer::Left);
        assert!(matches!(t.stop.poll(), Some(StopEvent::Stopped(course)) if course.moves));
        // Too late.
        t.stop.forget_plan();
        for step in [Task::Move(task.clone()), Task::Renew] {
            t.ordered(StopOrder::Act(step)).answer(0, nothing()).silence().answer(1, nothing());
            t.event(StopEvent::Done(vec![(0, Done::Nothing), (1, Done::Nothing)]));
        }
        t.event(StopEvent::Placed(vec![1, 0]));
        if !goes_on {
            t.silence().stop.go_on();
        }
        t.ordered(StopOrder::GoOn { is_level: true }).stop.go_on();
        t.silence();
    }
}

#[test]
fn what_was_done_before_a_refusal_still_holds() {
    let task = MoveTask { number: 3, blocks: Vec::new(), births: Vec::new() };
    let nothing = || StopAnswer::Done(Done::Nothing);
    let mut t = Talk::after(Some(Plan { task: task.clone(), places: vec![0, 1], goes_on: true }));
    t.ordered(StopOrder::Ahead(task.clone())).answer(0, nothing()).answer(1, nothing());
    t.knocks().ordered(LOOK).stands_still().answer(0, StopAnswer::Left);
    t.answer(1, StopAnswer::Refused { why: vec![(3, "MPI_Win_lock: no".to_owned())] });
    // Not `GoOn`, at which nodes give up what they have begun under this number.
    t.ordered(StopOrder::Pause).wait(PAUSE).ordered(LOOK).stands_still();
    t.answer(0, StopAnswer::Left).answer(1, StopAnswer::Left);
    assert!(matches!(t.stop.poll(), Some(StopEvent::Stopped(course)) if course.moves));
    t.ordered(StopOrder::Act(Task::Move(task)));
}

#[test]
fn a_planned_move_that_fails_is_left_to_whoever_wanted_it() {
    let task = MoveTask { number: 3, blocks: Vec::new(), births: Vec::new() };
    let nothing = || StopAnswer::Done(Done::Nothing);
    let mut t = Talk::after(Some(Plan { task: task.clone(), places: vec![0, 1], goes_on: true }));
    t.ordered(StopOrder::Ahead(task.clone())).answer(0, nothing()).answer(1, nothing());
    t.knocks().ordered(LOOK).stands_still().answer(0, StopAnswer::Left).answer(1, StopAnswer::Left);
    assert!(matches!(t.stop.poll(), Some(StopEvent::Stopped(_))));
    t.ordered(StopOrder::Act(Task::Move(task))).answer(0, nothing());
    t.answer(1, StopAnswer::Failed { why: "full".to_owned() });
    t.event(StopEvent::Failed("full".to_owned())).silence();
    t.stop.act(vec![(0, Task::Stay)]);
    assert!(matches!(t.stop.poll(), Some(StopEvent::Order { .. })));
}

#[test]
fn a_part_that_is_lost_ends_the_stop_and_late_answers_are_nothing() {
    let mut t = Talk::new();
    t.ordered(LOOK).stands_still().answer(0, StopAnswer::Left);
    t.stop.fail("node 2 is lost");
    t.ordered(StopOrder::GoOn { is_level: false });
    t.event(StopEvent::Failed("node 2 is lost".to_owned()));
    t.answer(1, StopAnswer::Left).wait(Duration::from_secs(9)).silence();
}

#[test]
fn starts_of_persistent_operations_are_compared_where_their_numbers_begin_anew() {
    let one = Sequence::Persistent(4);
    assert!(is_ahead(one, 5, 4) && !is_ahead(one, 4, 5) && !is_ahead(one, 4, 4));
    assert!(is_ahead(one, 1, STARTS - 1) && !is_ahead(one, STARTS - 1, 1));
    assert!(is_ahead(Sequence::Started, 1 << 40, 2));
}
