//! Conversations with the coordinator's core.

use super::*;
use crate::cluster::message::{Exit, Keep, Motion, Standstill, Status, Totals, Verdict};
use crate::cluster::stop::{Legacy, Stands, StopAnswer, StopOrder};
use crate::faaslet::RankExit;
use crate::job::{RankSurvey, Survey};

pub(in super::super) const A: NodeId = NodeId(1);
pub(in super::super) const B: NodeId = NodeId(2);

/// A core with two nodes and a clock that only moves when told.
pub(in super::super) struct Conversation {
    pub(in super::super) core: Core,
    pub(in super::super) now: Instant,
    pub(in super::super) is_tolerant: bool,
}

impl Conversation {
    pub(in super::super) fn new() -> Self {
        let mut core = Core::default();
        for (node, host) in [(A, "a"), (B, "b")] {
            let info = NodeInfo {
                host: host.into(),
                workers: 2,
                slots: None,
                process: 7,
                addresses: Vec::new(),
            };
            core.handle_hello(node, info, vec![format!("10.0.0.{}:1", node.0)]);
        }
        Self { core, now: Instant::now(), is_tolerant: false }
    }

    /// Submits a job of two ranks on each node.
    fn submit(&mut self) -> u32 {
        let submission = submission(&[(A, 2), (B, 2)]);
        let submission = Submission { is_tolerant: self.is_tolerant, ..submission };
        let job = self.core.submit(submission).expect("both nodes are there");
        assert!(matches!(self.next(), Command::Send { to: A, message: ToNode::Prepare(_) }));
        assert!(matches!(self.next(), Command::Send { to: B, message: ToNode::Prepare(_) }));
        self.silence();
        job
    }

    /// Submits a job and brings it to run.
    pub(in super::super) fn run(&mut self) -> u32 {
        let job = self.submit();
        self.tell(A, ToCoordinator::Ready { job });
        self.silence();
        self.tell(B, ToCoordinator::Ready { job });
        self.sent(A, ToNode::Start { job }).sent(B, ToNode::Start { job });
        assert!(matches!(self.next(), Command::Started { job: started } if started == job));
        self.silence();
        job
    }

    pub(in super::super) fn tell(&mut self, from: NodeId, message: ToCoordinator) -> &mut Self {
        self.core.handle_message(from, message, self.now);
        self
    }

    fn exit(&mut self, from: NodeId, job: u32, rank: u32, exit: Exit) -> &mut Self {
        self.tell(from, ToCoordinator::RankExited { job, rank, exit })
    }

    /// A rank ends, and the core passes that on.
    pub(in super::super) fn ends(
        &mut self,
        from: NodeId,
        job: u32,
        rank: u32,
        exit: Exit,
    ) -> &mut Self {
        self.exit(from, job, rank, exit.clone());
        let Command::Exited { event, .. } = self.next() else { panic!("the end is told") };
        assert_eq!(event, RankEvent { rank, exit: exit.into() });
        self
    }

    pub(in super::super) fn over(&mut self, from: NodeId, job: u32) -> &mut Self {
        let totals = Totals { messages: 3, bytes: 30, left_running: 0 };
        self.tell(from, ToCoordinator::PartEnded { job, totals, legacy: Legacy::default() })
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.core.handle_timeout(self.now);
        self
    }

    pub(in super::super) fn next(&mut self) -> Command {
        self.core.poll().expect("something is to be done")
    }

    pub(in super::super) fn sent(&mut self, to: NodeId, message: ToNode) -> &mut Self {
        match self.next() {
            Command::Send { to: node, message: sent } => assert_eq!((node, sent), (to, message)),
            other => panic!("{message:?} to {to} is sent, not {other:?}"),
        }
        self
    }

    /// Nothing more is to be done.
    pub(in super::super) fn silence(&mut self) -> &mut Self {
        assert!(self.core.poll().is_none());
        self
    }

    /// The nodes are told to forget the job, and it is reported.
    pub(in super::super) fn report(&mut self, nodes: &[NodeId], job: u32) -> JobReport {
        for node in nodes {
            self.sent(*node, ToNode::Release { job });
        }
        let Command::Ended { report, .. } = self.next() else { panic!("the job has ended") };
        self.silence();
        report
    }
}

pub(in super::super) fn submission(blocks: &[(NodeId, u32)]) -> Submission {
    let app = App {
        name: "a.wasm".into(),
        module: [0; 32],
        bytes: 10,
        ranks: blocks.iter().map(|(_, ranks)| ranks).sum(),
        args: Vec::new(),
        env: Vec::new(),
        wdir: "/".into(),
    };
    Submission {
        apps: vec![app],
        env: Vec::new(),
        dirs: Vec::new(),
        stdin: Stdin::None,
        terminal: false,
        timeout: Some(Duration::from_secs(60)),
        is_tolerant: false,
        keep: Keep::default(),
        blocks: blocks.to_vec(),
        spares: 0,
        spawns: false,
        slots: Vec::new(),
    }
}

pub(in super::super) const DONE: Exit = Exit::Completed { code: 0 };

#[test]
fn a_job_runs_and_is_reported() {
    let mut c = Conversation::new();
    let job = c.run();
    c.ends(A, job, 0, DONE).ends(B, job, 2, DONE).ends(B, job, 3, DONE).ends(A, job, 1, DONE);
    c.over(B, job).silence();
    c.now += Duration::from_secs(3);
    c.over(A, job);
    let report = c.report(&[A, B], job);
    assert_eq!((report.outcome, report.wall), (Outcome::Success, Duration::from_secs(3)));
    assert_eq!((report.messages, report.bytes, report.nodes), (6, 60, 2));
    assert_eq!(report.hosts.iter().map(|host| &**host).collect::<Vec<_>>(), ["a", "a", "b", "b"]);
    assert_eq!(c.core.poll_timeout(), None);
}

#[test]
fn every_node_is_told_of_the_others() {
    let mut c = Conversation::new();
    c.core.submit(submission(&[(B, 1), (A, 2), (B, 3)])).expect("both nodes are there");
    let Command::Send { to: B, message: ToNode::Prepare(prepare) } = c.next() else {
        panic!("the first rank's node comes first")
    };
    let peers: Vec<_> = prepare.nodes.iter().map(|peer| (peer.node, &*peer.addresses[0])).collect();
    assert_eq!(peers, [(2, "10.0.0.2:1"), (1, "10.0.0.1:1")]);
    let blocks: Vec<_> = prepare.blocks.iter().map(|block| (block.node, block.ranks)).collect();
    assert_eq!(blocks, [(0, 1), (1, 2), (0, 3)]);
}

#[test]
fn the_first_failure_ends_all() {
    let mut c = Conversation::new();
    let job = c.run();
    let trap = Exit::Trapped { code: 134, reason: "unreachable".into() };
    c.ends(B, job, 3, trap).sent(A, ToNode::End { job }).sent(B, ToNode::End { job }).silence();
    c.ends(B, job, 2, Exit::Killed).over(B, job).ends(A, job, 0, Exit::Killed);
    // Another failure, that was under way meanwhile, changes nothing.
    c.ends(A, job, 1, Exit::Aborted { code: 9, reason: "no".into() }).silence().over(A, job);
    let report = c.report(&[A, B], job);
    assert_eq!(report.outcome, Outcome::RankFailed { rank: 3 });
    assert_eq!(report.exit_code(), 9, "the code of the lowest rank");
}

#[test]
fn an_exit_code_alone_ends_nobody_else() {
    let mut c = Conversation::new();
    let job = c.run();
    c.ends(A, job, 1, Exit::Completed { code: 4 }).silence();
    c.ends(A, job, 0, DONE).ends(B, job, 2, DONE).ends(B, job, 3, DONE);
    c.over(A, job).over(B, job);
    assert_eq!(c.report(&[A, B], job).outcome, Outcome::RankFailed { rank: 1 });
}

#[test]
fn a_node_that_is_not_ready_rejects_the_job() {
    let mut c = Conversation::new();
    let job = c.submit();
    c.tell(A, ToCoordinator::Ready { job });
    c.tell(B, ToCoordinator::Unready { job, reason: "no such directory".into() });
    for node in [A, B] {
        c.sent(node, ToNode::End { job }).sent(node, ToNode::Release { job });
    }
    let Command::Rejected { reason, .. } = c.next() else { panic!("the job is rejected") };
    assert_eq!(reason, "b: no such directory");
    c.over(A, job).silence();
}

#[test]
fn a_lost_node_ends_its_jobs_by_name() {
    let mut c = Conversation::new();
    let job = c.run();
    c.ends(B, job, 2, DONE);
    c.core.handle_lost(B, "its process ended", c.now);
    c.sent(A, ToNode::End { job });
    assert!(matches!(c.next(), Command::Forget { node: B, why: None }));
    c.silence().ends(A, job, 0, Exit::Killed).ends(A, job, 1, Exit::Killed).over(A, job);
    let report = c.report(&[A], job);
    assert_eq!(report.exit_code(), 205);
    let Outcome::NodeLost { node, host, ranks, reason } = report.outcome else { panic!("lost") };
    assert_eq!((node, &*host, ranks, &*reason), (2, "b", vec![3], "its process ended"));
    assert!(c.core.submit(submission(&[(B, 1)])).is_err(), "the node is no member any more");
}

#[test]
fn a_node_lost_while_it_prepares_rejects_the_job() {
    let mut c = Conversation::new();
    let job = c.submit();
    c.core.handle_lost(A, "its process ended", c.now);
    for node in [A, B] {
        c.sent(node, ToNode::End { job }).sent(node, ToNode::Release { job });
    }
    let Command::Rejected { reason, .. } = c.next() else { panic!("the job is rejected") };
    assert_eq!(reason, "a (node 1) is lost: its process ended");
}

#[test]
fn a_node_lost_after_its_part_does_not_matter() {
    let mut c = Conversation::new();
    let job = c.run();
    c.ends(A, job, 0, DONE).ends(A, job, 1, DONE).over(A, job);
    c.core.handle_lost(A, "its process ended", c.now);
    c.sent(B, ToNode::Departed { job, node: A.0 });
    assert!(matches!(c.next(), Command::Forget { node: A, .. }));
    c.ends(B, job, 2, DONE).ends(B, job, 3, DONE).over(B, job);
    assert_eq!(c.report(&[B], job).outcome, Outcome::Success);
}

#[test]
fn a_spawned_rank_that_fails_ends_the_job() {
    let mut c = Conversation::new();
    let job = c.run();
    // Of four ranks on two nodes; the next numbers are of the first node and the second by turns.
    c.tell(A, ToCoordinator::Born { job, born: vec![newborn(4)] });
    c.tell(B, ToCoordinator::Born { job, born: vec![newborn(5), newborn(7)] });
    c.ends(A, job, 4, DONE).ends(B, job, 7, DONE);
    let failed = Exit::Aborted { code: 9, reason: "no".into() };
    c.ends(B, job, 5, failed).sent(A, ToNode::End { job }).sent(B, ToNode::End { job });
    c.over(A, job).over(B, job);
    let report = c.report(&[A, B], job);
    assert_eq!((report.outcome.clone(), report.exit_code()), (Outcome::RankFailed { rank: 5 }, 9));
}

fn newborn(rank: u32) -> Newborn {
    let program = crate::cluster::offer::Offer { hash: [3; 32], bytes: 10 };
    Newborn { rank, program, birth: vec![rank as u8] }
}

#[test]
fn spawned_processes_are_placed_as_ranks_are() {
    let mut c = Conversation::new();
    let job = c.run();
    c.tell(B, ToCoordinator::Born { job, born: vec![newborn(5), newborn(9)] });
    let places = c.core.places(job);
    assert_eq!(places.ranks, [0, 0, 1, 1, 0, 1, 0, 1, 0, 1]);
    // The numbers between are nobody's, unless the other node has some of them.
    let lives = |places: &Places| -> Vec<usize> {
        (0..places.ranks.len()).filter(|rank| !places.ended[*rank]).collect()
    };
    assert_eq!(lives(&places), [0, 1, 2, 3, 5, 9]);
    c.tell(A, ToCoordinator::Born { job, born: vec![newborn(4)] });
    assert_eq!(lives(&c.core.places(job)), [0, 1, 2, 3, 4, 5, 9]);
    assert_eq!(c.core.places(job).births.keys().copied().collect::<Vec<_>>(), [4, 5, 9]);
    // All of them go to one node; from then on others are counted from there.
    let mut anew = c.core.places(job).ranks;
    for rank in [5, 9] {
        anew[rank] = 0;
    }
    c.core.placed(job, anew);
    while c.core.poll().is_some() {}
    c.tell(B, ToCoordinator::Born { job, born: vec![newborn(11)] });
    assert_eq!(lives(&c.core.places(job)), [0, 1, 2, 3, 4, 5, 9, 11]);
    c.ends(A, job, 5, DONE).ends(A, job, 9, DONE);
    assert_eq!(lives(&c.core.places(job)), [0, 1, 2, 3, 4, 11]);
}

#[test]
fn a_node_all_of_whose_ranks_have_ended_takes_no_others() {
    let mut c = Conversation::new();
    let job = c.run();
    c.core.placed(job, vec![1, 1, 0, 1]);
    assert!(matches!(c.next(), Command::Moved { .. }));
    c.ends(B, job, 0, DONE);
    assert_eq!(c.core.places(job).open, [true, true]);
    // It will have told of its own end soon.
    c.ends(A, job, 2, DONE);
    assert_eq!(c.core.places(job).open, [false, true]);
}

#[test]
fn a_node_that_tells_of_processes_of_another_is_cut_off() {
    for rank in [4, 0, u32::MAX] {
        let mut c = Conversation::new();
        let job = c.run();
        c.tell(B, ToCoordinator::Born { job, born: vec![newborn(rank)] });
        let told: Vec<Command> = std::iter::from_fn(|| c.core.poll()).collect();
        let is_cut_off = |command: &Command| matches!(command, Command::Forget { node: B, .. });
        assert!(told.iter().any(is_cut_off), "{told:?}");
    }
}

#[test]
fn nodes_that_lose_each_other_end_the_job() {
    let mut c = Conversation::new();
    let job = c.run();
    c.tell(A, ToCoordinator::PeerLost { node: 2, reason: "silence".into() });
    c.sent(A, ToNode::End { job }).sent(B, ToNode::End { job }).silence();
    c.over(A, job).over(B, job);
    let Outcome::NodeLost { host, ranks, reason, .. } = c.report(&[A, B], job).outcome else {
        panic!("lost")
    };
    assert_eq!((&*host, ranks), ("b", vec![2, 3]));
    assert_eq!(reason, "a (node 1) cannot reach it: silence");
}

const TRAPPED: Exit = Exit::Trapped { code: 134, reason: String::new() };

/// What a rank of `members` brings to the first agreement of communicator 1.
fn motion(members: &[u32], rank: u32, flag: u32) -> Motion {
    let (topic, members) = ((1, 1), members.to_vec());
    Motion {
        topic,
        members,
        rank,
        flags: [flag; 2],
        context: 10 + rank,
        failed: Vec::new(),
        acked: 0,
    }
}

#[test]
fn a_tolerant_job_goes_on_without_a_rank_and_the_others_agree() {
    let mut c = Conversation { is_tolerant: true, ..Conversation::new() };
    let job = c.run();
    let propose =
        |rank, flag| ToCoordinator::Propose { job, motion: motion(&[0, 2, 3], rank, flag) };
    c.tell(A, propose(0, 7)).silence().tell(B, propose(3, 5)).silence();
    c.ends(B, job, 2, TRAPPED);
    let (members, failed) = (vec![0, 3], vec![2]);
    let verdict =
        Verdict { topic: (1, 1), members, flags: [5; 2], context: 10, is_news: true, failed };
    let decided = ToNode::Decided { job, verdict };
    c.sent(A, decided.clone()).sent(B, decided).silence();
    c.ends(A, job, 0, DONE).ends(A, job, 1, DONE).ends(B, job, 3, DONE).over(A, job).over(B, job);
    let report = c.report(&[A, B], job);
    assert_eq!((report.outcome.clone(), report.exit_code()), (Outcome::Success, 0));
}

#[test]
fn a_tolerant_job_goes_on_without_a_node() {
    let mut c = Conversation { is_tolerant: true, ..Conversation::new() };
    let job = c.run();
    c.tell(A, ToCoordinator::Propose { job, motion: motion(&[1, 2], 1, 1) }).silence();
    c.core.handle_lost(B, "its process ended", c.now);
    c.sent(A, ToNode::Failed { job, ranks: vec![2, 3] });
    for rank in [2, 3] {
        let Command::Exited { event, .. } = c.next() else { panic!("the end is told") };
        let reason = event.exit.reason().expect("it failed");
        assert_eq!((event.rank, &*reason), (rank, "its node 2 (b) is lost: its process ended"));
    }
    let (members, failed) = (vec![1], vec![2]);
    let verdict =
        Verdict { topic: (1, 1), members, flags: [1; 2], context: 11, is_news: true, failed };
    c.sent(A, ToNode::Decided { job, verdict });
    assert!(matches!(c.next(), Command::Forget { node: B, .. }));
    c.silence().ends(A, job, 0, DONE).ends(A, job, 1, DONE).over(A, job);
    assert_eq!(c.report(&[A], job).outcome, Outcome::Success);
}

#[test]
fn a_tolerant_job_ends_with_an_abort_and_when_nobody_is_left() {
    let mut c = Conversation { is_tolerant: true, ..Conversation::new() };
    let job = c.run();
    c.ends(A, job, 1, Exit::Aborted { code: 9, reason: "no".into() });
    c.sent(A, ToNode::End { job }).sent(B, ToNode::End { job }).over(A, job).over(B, job);
    assert_eq!(c.report(&[A, B], job).exit_code(), 9);
    let job = c.run();
    c.ends(A, job, 0, TRAPPED).ends(A, job, 1, TRAPPED).over(A, job);
    c.ends(B, job, 2, TRAPPED).ends(B, job, 3, TRAPPED).over(B, job);
    let report = c.report(&[A, B], job);
    assert_eq!(
        (report.outcome.clone(), report.exit_code()),
        (Outcome::RankFailed { rank: 0 }, 134)
    );
}

#[test]
fn a_proposal_for_a_rank_of_another_node_is_not_believed() {
    let mut c = Conversation { is_tolerant: true, ..Conversation::new() };
    let job = c.run();
    c.tell(B, ToCoordinator::Propose { job, motion: motion(&[0, 2], 0, 1) });
    c.sent(A, ToNode::Failed { job, ranks: vec![2, 3] });
    assert!(
        matches!(c.next(), Command::Exited { .. }) && matches!(c.next(), Command::Exited { .. })
    );
    let Command::Forget { node: B, why: Some(why) } = c.next() else { panic!("it is cut off") };
    assert_eq!(why, "it sent a proposal that breaks the rules: the rank is not its own");
}

#[test]
fn a_job_that_takes_too_long_shows_its_states() {
    let mut c = Conversation::new();
    let job = c.run();
    assert_eq!(c.core.poll_timeout(), Some(c.now + Duration::from_secs(60)));
    c.wait(Duration::from_secs(60));
    let query = 1;
    c.sent(A, ToNode::Query { job, query }).sent(B, ToNode::Query { job, query }).silence();
    let states = vec![State { rank: 1, status: Status::Running }];
    c.tell(A, ToCoordinator::States { job, query, states }).silence();
    // The other node does not answer.
    let patience = c.core.poll_timeout().expect("it is waited for") - c.now;
    c.wait(patience).sent(A, ToNode::End { job }).sent(B, ToNode::End { job }).silence();
    c.over(A, job).over(B, job);
    let Outcome::TimedOut { states } = c.report(&[A, B], job).outcome else { panic!("late") };
    assert_eq!(states.iter().map(ToString::to_string).collect::<Vec<_>>(), ["rank 1 (a): running"]);
}

#[test]
fn a_node_that_does_not_end_is_not_waited_for() {
    let mut c = Conversation::new();
    let job = c.run();
    c.core.kill(job, Outcome::Killed { code: 130 }, c.now);
    c.sent(A, ToNode::End { job }).sent(B, ToNode::End { job });
    c.ends(A, job, 0, Exit::Killed).ends(A, job, 1, Exit::Killed).over(A, job);
    let patience = c.core.poll_timeout().expect("it is waited for") - c.now;
    assert!(patience < Duration::from_secs(1));
    c.wait(patience);
    let report = c.report(&[A, B], job);
    assert_eq!((report.exit_code(), report.left_running), (130, 2));
    assert_eq!(report.ranks, vec![RankExit::Killed; 4]);
}

#[test]
fn a_rank_of_another_node_is_not_believed() {
    let mut c = Conversation::new();
    let job = c.run();
    c.exit(A, job, 3, DONE).sent(B, ToNode::End { job });
    assert!(matches!(c.next(), Command::Forget { node: A, why: Some(_) }));
    c.exit(A, job, 1_000_000, DONE);
}

#[test]
fn what_does_not_fit_is_ignored() {
    let mut c = Conversation::new();
    let job = c.run();
    c.tell(A, ToCoordinator::Ready { job }).tell(A, ToCoordinator::Ready { job: 99 });
    c.tell(A, ToCoordinator::Unready { job, reason: "late".into() });
    c.over(A, 99).exit(A, 99, 0, DONE).silence();
    c.ends(A, job, 0, DONE).exit(A, job, 0, Exit::Killed).silence();
    let states = vec![State { rank: 99, status: Status::Running }];
    c.tell(A, ToCoordinator::States { job, query: 7, states }).silence();
}

#[test]
fn a_draining_node_takes_no_job() {
    let mut c = Conversation::new();
    assert!(c.core.drain(NodeId(9), c.now).is_err());
    c.core.drain(B, c.now).expect("it is there");
    c.sent(B, ToNode::Drain);
    assert!(c.core.submit(submission(&[(A, 1), (B, 1)])).is_err());
    c.tell(B, ToCoordinator::Leaving);
    assert!(matches!(c.next(), Command::Forget { node: B, why: None }));
    assert_eq!(c.core.nodes().len(), 1);
}

#[test]
fn a_node_without_ranks_may_leave_and_cannot_hinder_the_others() {
    let mut c = Conversation::new();
    let submission = Submission { spares: 1, ..submission(&[(A, 2)]) };
    let job = c.core.submit(submission).expect("the node is there");
    assert!(matches!(c.next(), Command::Send { to: A, message: ToNode::Prepare(_) }));
    assert!(matches!(c.next(), Command::Send { to: B, message: ToNode::Prepare(_) }));
    assert!(c.core.jobs().all(|(_, nodes)| nodes == [A]), "it has none of the job");
    c.tell(A, ToCoordinator::Ready { job }).silence();
    c.tell(B, ToCoordinator::Unready { job, reason: "no room".into() });
    c.sent(B, ToNode::Release { job }).sent(A, ToNode::Departed { job, node: 2 });
    c.sent(A, ToNode::Start { job });
    assert!(matches!(c.next(), Command::Started { .. }));
    c.silence();
    c.core.handle_lost(B, "it is gone", c.now);
    assert!(matches!(c.next(), Command::Forget { node: B, why: None }));
    c.silence();
}

#[test]
fn a_node_whose_ranks_have_ended_may_leave() {
    let mut c = Conversation::new();
    let job = c.run();
    c.ends(B, job, 2, DONE).ends(B, job, 3, DONE).over(B, job).silence();
    c.tell(B, ToCoordinator::Leaving).sent(A, ToNode::Departed { job, node: 2 });
    assert!(matches!(c.next(), Command::Forget { node: B, why: None }));
    c.silence();
    c.core.stop(job, None, c.now).expect("it can be stopped without that node");
    let Command::Send { to: A, message: ToNode::Stop { order: StopOrder::Look { .. }, .. } } =
        c.next()
    else {
        panic!("the other node is asked");
    };
    c.silence();
    let why = c.core.legacies(job).expect_err("nothing is known of its ranks");
    assert!(why.contains("rank 2"), "{why}");
    c.ends(A, job, 0, DONE).ends(A, job, 1, DONE);
}

#[test]
fn states_can_be_asked_for() {
    let mut c = Conversation::new();
    let job = c.run();
    let query = c.core.query(job, c.now);
    c.sent(A, ToNode::Query { job, query }).sent(B, ToNode::Query { job, query });
    for (node, rank) in [(B, 2), (A, 0)] {
        let states = vec![State { rank, status: Status::Ended }];
        c.tell(node, ToCoordinator::States { job, query, states });
    }
    let Command::States { states, .. } = c.next() else { panic!("the answer") };
    assert_eq!(states.iter().map(|state| state.rank).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(c.core.query(99, c.now), query + 1);
    assert!(matches!(c.next(), Command::States { states, .. } if states.is_empty()));
}

fn quiet(sent: u64, received: u64) -> Option<Standstill> {
    Some(Standstill { sent, received, changes: 7, waiting: 2 })
}

#[test]
fn a_deadlock_is_believed_after_a_second_look() {
    let mut c = Conversation::new();
    let job = c.run();
    c.tell(A, ToCoordinator::Quiet { job, round: 0, quiet: quiet(3, 1) }).silence();
    // A message is on its way.
    c.tell(B, ToCoordinator::Quiet { job, round: 0, quiet: quiet(1, 2) }).silence();
    c.tell(B, ToCoordinator::Quiet { job, round: 0, quiet: quiet(1, 3) });
    let round = 1;
    c.sent(A, ToNode::Confirm { job, round }).sent(B, ToNode::Confirm { job, round }).silence();
    c.tell(A, ToCoordinator::Quiet { job, round, quiet: quiet(3, 1) }).silence();
    // It has gone on meanwhile, and then stands still again.
    c.tell(B, ToCoordinator::Quiet { job, round, quiet: None }).silence();
    c.tell(B, ToCoordinator::Quiet { job, round: 0, quiet: quiet(1, 3) });
    let round = 2;
    c.sent(A, ToNode::Confirm { job, round }).sent(B, ToNode::Confirm { job, round });
    c.tell(B, ToCoordinator::Quiet { job, round: 1, quiet: quiet(1, 3) }).silence();
    c.tell(B, ToCoordinator::Quiet { job, round, quiet: quiet(1, 3) }).silence();
    c.tell(A, ToCoordinator::Quiet { job, round, quiet: quiet(3, 1) });
    let query = 1;
    c.sent(A, ToNode::Query { job, query }).sent(B, ToNode::Query { job, query }).silence();
    for node in [A, B] {
        c.tell(node, ToCoordinator::States { job, query, states: Vec::new() });
    }
    c.sent(A, ToNode::End { job }).sent(B, ToNode::End { job }).silence();
    c.over(A, job).over(B, job);
    assert!(matches!(c.report(&[A, B], job).outcome, Outcome::Deadlock { .. }));
}

/// The name under which both nodes get this order.
fn ordered(c: &mut Conversation, job: u32, order: &StopOrder) -> u32 {
    let mut names = [A, B].map(|node| match c.next() {
        Command::Send { to, message: ToNode::Stop { job: of, name, order: sent } } => {
            assert_eq!((to, of, &sent), (node, job, order));
            name
        }
        other => panic!("{order:?} to {node} is sent, not {other:?}"),
    });
    names.sort_unstable();
    assert_eq!(names[0], names[1]);
    names[0]
}

#[test]
fn a_job_is_stopped_on_all_its_nodes_by_one_at_a_time() {
    let mut c = Conversation::new();
    let job = c.run();
    let look = StopOrder::Look { targets: None };
    c.core.stop(job, None, c.now).expect("it runs");
    let name = ordered(&mut c, job, &look);
    assert!(c.core.stop(job, None, c.now).is_err_and(|(_, is_busy)| is_busy));
    let answer = StopAnswer::Failed { why: "no".to_owned() };
    c.tell(A, ToCoordinator::Stop { job, name, answer: answer.clone() }).silence();
    c.tell(B, ToCoordinator::Stop { job, name, answer: answer.clone() });
    ordered(&mut c, job, &StopOrder::GoOn { is_level: false });
    let failed = StopNews::Failed("no".to_owned());
    assert!(matches!(c.next(), Command::Stop { news, .. } if news == failed));
    c.tell(A, ToCoordinator::Stop { job, name, answer }).silence();
    c.core.go_on(job);
    c.silence();
    c.core.stop(job, None, c.now).expect("it runs on");
    assert_ne!(ordered(&mut c, job, &look), name, "no name comes twice");
    assert!(c.core.stop(job + 1, None, c.now).is_err_and(|(_, is_busy)| !is_busy));
}

#[test]
fn a_job_does_not_stand_still_while_the_end_of_a_rank_is_on_its_way() {
    let mut c = Conversation::new();
    let job = c.run();
    c.core.stop(job, None, c.now).expect("it runs");
    let stands = |waiting: u32| {
        let standstill = Standstill { sent: 3, received: 3, changes: 7, waiting };
        let together = Vec::new();
        StopAnswer::Stands(Stands { standstill: Some(standstill), together })
    };
    let look = StopOrder::Look { targets: None };
    for _ in 0..3 {
        let name = ordered(&mut c, job, &look);
        // One of its two ranks waits, the other one has ended.
        c.tell(A, ToCoordinator::Stop { job, name, answer: stands(1) });
        c.tell(B, ToCoordinator::Stop { job, name, answer: stands(2) });
        c.now += Duration::from_millis(20);
        c.core.keep_stops(c.now);
    }
    let mut name = ordered(&mut c, job, &look);
    c.ends(A, job, 0, Exit::Completed { code: 0 });
    for order in [&look, &StopOrder::Leave] {
        c.tell(A, ToCoordinator::Stop { job, name, answer: stands(1) });
        c.tell(B, ToCoordinator::Stop { job, name, answer: stands(2) });
        c.now += Duration::from_millis(20);
        c.core.keep_stops(c.now);
        name = ordered(&mut c, job, order);
    }
}

#[test]
fn whoever_stops_a_job_learns_that_a_node_is_lost() {
    let mut c = Conversation::new();
    let job = c.run();
    c.core.stop(job, None, c.now).expect("it runs");
    ordered(&mut c, job, &StopOrder::Look { targets: None });
    c.core.handle_lost(B, "silence", c.now);
    let mut told = None;
    while let Some(command) = c.core.poll() {
        match command {
            Command::Send { to, .. } => assert_eq!(to, A, "nobody speaks to those who are lost"),
            Command::Stop { news, .. } => told = Some(news),
            _ => {}
        }
    }
    assert!(matches!(told, Some(StopNews::Failed(_))));
}

/// What the coordinator says of a job, when all have answered that do.
fn surveyed(talk: &mut Conversation, number: u32) -> JobStatus {
    let Command::Surveyed { query, status } = talk.next() else { panic!("it is told") };
    assert_eq!(query, number);
    talk.silence();
    *status
}

#[test]
fn nodes_tell_how_a_job_is_doing() {
    let mut talk = Conversation::new();
    let job = talk.run();
    let query = talk.core.survey(job, true, talk.now);
    let asked = ToNode::Survey { job, query, partners: true };
    talk.sent(A, asked.clone()).sent(B, asked).silence();
    let rank = RankSurvey { rank: 1, is_here: true, busy_us: 7, ..RankSurvey::default() };
    let survey = Box::new(Survey { ranks: vec![rank], processor_us: 9, ..Survey::default() });
    talk.tell(A, ToCoordinator::Survey { job, query, survey: survey.clone() }).silence();
    talk.wait(QUERY_PATIENCE);
    let status = surveyed(&mut talk, query);
    assert_eq!(status.nodes.iter().map(|node| node.answers).collect::<Vec<_>>(), [true, false]);
    assert_eq!((status.nodes[0].processor_us, status.nodes[1].workers), (9, 2));
    assert_eq!(status.ranks.iter().map(|rank| rank.busy_us).collect::<Vec<_>>(), [0, 7, 0, 0]);
    talk.tell(B, ToCoordinator::Survey { job, query, survey }).silence();
    let nothing = talk.core.survey(job + 1, false, talk.now);
    assert_eq!(surveyed(&mut talk, nothing), JobStatus::default(), "there is no such job");
}

#[test]
fn a_node_that_gives_notice_takes_no_ranks() {
    let mut talk = Conversation::new();
    let job = talk.run();
    assert!(talk.core.notice(B, Duration::from_secs(30), talk.now), "ranks run there");
    talk.sent(B, ToNode::Drain).silence();
    talk.wait(Duration::from_secs(10));
    let query = talk.core.survey(job, false, talk.now);
    while talk.core.poll().is_some() {}
    talk.wait(QUERY_PATIENCE);
    let status = surveyed(&mut talk, query);
    assert_eq!(status.nodes.iter().map(|node| node.is_open).collect::<Vec<_>>(), [true, false]);
    assert_eq!((status.nodes[0].leaves_in_ms, status.nodes[1].leaves_in_ms), (None, Some(19_500)));
    assert!(!talk.core.notice(NodeId(9), Duration::ZERO, talk.now), "nobody knows it");
    talk.silence();
}
