//! Decides what a coordinator does: nodes and jobs, as a pure state machine.
//!
//! # Methods
//! - What happened: [`handle_hello`](Core::handle_hello), [`handle_message`](Core::handle_message),
//!   [`handle_lost`](Core::handle_lost), [`handle_timeout`](Core::handle_timeout).
//! - What is wanted: [`submit`](Core::submit), [`kill`](Core::kill), [`query`](Core::query),
//!   [`drain`](Core::drain).
//! - What is to be done: [`poll`](Core::poll) until it has nothing, and
//!   [`poll_timeout`](Core::poll_timeout) for when to come back.
//!
//! The time is an argument. Output and input do not come by here: they need no decision.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_transport::NodeId;

use super::halting::StopNews;
use super::nursery::Nursery;
use super::reach::separated;
use super::relocate::Places;
use super::spread::{Exited, SpreadJob};
use super::stop::Stop;
use super::survey::Question;
use crate::cluster::message::{
    App, Block, Dir, Keep, NodeInfo, Peer, Prepare, State, Stdin, ToCoordinator, ToNode,
};
use crate::cluster::offer::Newborn;
use crate::job::{JobReport, JobStatus, Outcome, Quiet, RankEvent, RankState};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Core {
    nodes: BTreeMap<NodeId, Node>,
    pub(super) jobs: BTreeMap<u32, SpreadJob>,
    queries: BTreeMap<u32, Query>,
    /// Questions how jobs are doing.
    pub(super) surveys: BTreeMap<u32, Question>,
    /// Nodes that go away at that time.
    pub(super) leaving: BTreeMap<NodeId, Instant>,
    /// Processes that are on their way.
    pub(super) nursery: Nursery,
    /// The jobs that are being stopped.
    pub(super) stops: BTreeMap<u32, Stop>,
    /// Nodes that are let go when these jobs, which are stopped, go on.
    pub(super) departing: Vec<(u32, NodeId)>,
    /// Name of the last order in an earlier stop.
    pub(super) last_order: u32,
    last_job: u32,
    last_query: u32,
    last_round: u32,
    pub(super) commands: VecDeque<Command>,
}

/// A member of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// What it said of itself.
    pub(crate) info: NodeInfo,
    /// Where others reach it.
    pub(crate) addresses: Vec<String>,
    /// Whether it takes no further jobs.
    pub(crate) draining: bool,
}

/// A question for the states of a job's ranks.
#[derive(Debug)]
struct Query {
    job: u32,
    waiting: Vec<NodeId>,
    told: Vec<RankState>,
    give_up_at: Instant,
    purpose: Purpose,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Purpose {
    /// Somebody asked.
    Answer,
    /// The job's time is over.
    TimeOut,
    /// The job can never go on.
    Deadlock,
}

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send a message.
    Send { to: NodeId, message: ToNode },
    /// All ranks of the job run.
    Started { job: u32 },
    /// The job does not run.
    Rejected { job: u32, reason: String },
    /// A rank has ended.
    Exited { job: u32, event: RankEvent },
    /// The answer to a question.
    States { query: u32, states: Vec<RankState> },
    /// How a job is doing.
    Surveyed { query: u32, status: Box<JobStatus> },
    /// The job has ended.
    Ended { job: u32, report: JobReport },
    /// These ranks have moved to these hosts.
    Moved { job: u32, moved: Vec<(u32, Arc<str>)> },
    /// Whoever stops the job is told.
    Stop { job: u32, news: StopNews },
    /// The node is a member no more.
    Forget { node: NodeId, why: Option<String> },
}

/// A job that is to run.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) apps: Vec<App>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dirs: Vec<Dir>,
    pub(crate) stdin: Stdin,
    pub(crate) terminal: bool,
    pub(crate) timeout: Option<Duration>,
    /// Whether it goes on when a rank fails.
    pub(crate) is_tolerant: bool,
    /// What lets it be stopped and gone on with.
    pub(crate) keep: Keep,
    /// The nodes of the ranks, from rank 0 on: node and number of ranks.
    pub(crate) blocks: Vec<(NodeId, u32)>,
    /// So many further nodes take part, if there are any.
    pub(crate) spares: usize,
    /// Whether its programs may spawn processes, on any of its nodes.
    pub(crate) spawns: bool,
    /// The slots of nodes, as far as the user has said so.
    pub(crate) slots: Vec<(NodeId, u32)>,
}

impl Core {
    /// A node has presented itself; `addresses` are where others reach it.
    pub(crate) fn handle_hello(&mut self, node: NodeId, info: NodeInfo, addresses: Vec<String>) {
        self.nodes.insert(node, Node { info, addresses, draining: false });
    }

    /// A member has told something.
    pub(crate) fn handle_message(&mut self, from: NodeId, message: ToCoordinator, now: Instant) {
        match message {
            // Chunks and input are the driver's.
            ToCoordinator::Hello(_)
            | ToCoordinator::Notice { .. }
            | ToCoordinator::Renew { .. }
            | ToCoordinator::Want { .. }
            | ToCoordinator::ProtoWanted { .. }
            | ToCoordinator::ProtoMade { .. }
            | ToCoordinator::StdinWanted { .. } => {}
            ToCoordinator::Born { job, born } => self.born((from, job), born, now),
            ToCoordinator::Spawn { job, news } => self.spawn_told(from, job, news, now),
            ToCoordinator::Ready { job } => self.ready(from, job, now),
            ToCoordinator::Unready { job, reason } => self.unready(from, job, &reason, now),
            ToCoordinator::RankExited { job, rank, exit } => {
                self.exited(from, job, RankEvent { rank, exit: exit.into() }, now);
            }
            ToCoordinator::PartEnded { job, totals, legacy } => {
                self.abort_births(job, from, "its part of the job is over");
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.part_ended(from, totals, legacy);
                }
            }
            ToCoordinator::States { query, states, .. } => self.states(from, query, states, now),
            ToCoordinator::Survey { query, survey, .. } => {
                self.surveyed(from, query, Some(*survey), now)
            }
            ToCoordinator::PeerLost { node, reason } => {
                let host = self.host(from);
                let reason = format!("{host} ({from}) cannot reach it: {reason}");
                self.survive_between(from, NodeId(node), &reason, now);
                self.end_jobs_between(from, NodeId(node), &reason, now);
            }
            ToCoordinator::Quiet { job, round, quiet } => {
                self.quiet(from, (job, round), quiet.map(Quiet::from), now);
            }
            ToCoordinator::Propose { job, motion } => self.propose(from, job, motion, now),
            ToCoordinator::Stop { job, name, answer } => {
                self.stop_answered(from, (job, name), answer, now);
            }
            ToCoordinator::Leaving => {
                self.lose(from, "it left the cluster", now);
                self.commands.push_back(Command::Forget { node: from, why: None });
            }
        }
        self.finish_jobs(now);
    }

    /// A member is gone.
    pub(crate) fn handle_lost(&mut self, node: NodeId, reason: &str, now: Instant) {
        if self.nodes.contains_key(&node) {
            self.lose(node, reason, now);
            self.commands.push_back(Command::Forget { node, why: None });
        }
        self.finish_jobs(now);
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let late: Vec<u32> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.has_timed_out(now))
            .map(|(number, _)| *number)
            .collect();
        for job in late {
            self.doom(job, Purpose::TimeOut, now);
        }
        let over: Vec<u32> = self
            .queries
            .iter()
            .filter(|(_, query)| query.give_up_at <= now)
            .map(|(number, _)| *number)
            .collect();
        for query in over {
            self.answer(query, now);
        }
        self.keep_surveys(now);
        self.finish_jobs(now);
    }

    /// Starts to prepare a job; gives its number.
    ///
    /// # Errors
    /// Why there cannot be such a job, in words.
    pub(crate) fn submit(&mut self, submission: Submission) -> Result<u32, String> {
        let mut nodes: Vec<NodeId> = Vec::new();
        let mut blocks = Vec::new();
        for (node, ranks) in submission.blocks {
            let index = nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
                nodes.push(node);
                nodes.len() - 1
            });
            blocks.push(Block { node: index as u32, ranks });
        }
        nodes.extend(self.spares(&nodes, submission.spares));
        let mut peers = Vec::new();
        for node in &nodes {
            let Some(member) = self.nodes.get(node).filter(|member| !member.draining) else {
                return Err(format!("{node} has left the cluster; submit the job again"));
            };
            let (host, addresses) = (member.info.host.clone(), member.addresses.clone());
            peers.push(Peer { node: node.0, host, addresses });
        }
        let members = nodes.iter().filter_map(|node| self.nodes.get(node));
        if let Some(reason) = separated(&members.collect::<Vec<_>>()) {
            return Err(reason);
        }
        let Submission { apps, env, dirs, stdin, terminal, timeout, is_tolerant, .. } = submission;
        let Submission { keep, spawns, slots, .. } = submission;
        let job = self.last_job + 1;
        let prepare = Prepare {
            job,
            nodes: peers,
            blocks,
            apps,
            env,
            dirs,
            stdin,
            terminal,
            is_tolerant,
            spawns,
            keep,
        };
        prepare.check().map_err(str::to_owned)?;
        self.last_job = job;
        let places = prepare.blocks.iter();
        let placement =
            places.flat_map(|b| std::iter::repeat_n(b.node, b.ranks as usize)).collect();
        let hosts = nodes.iter().map(|node| (*node, self.host(*node))).collect();
        let mut spread = SpreadJob::new(placement, hosts, (timeout, is_tolerant), stdin);
        if spawns {
            spread.may_spawn(slots.into_iter().collect());
        }
        self.jobs.insert(job, spread);
        let prepare = Box::new(prepare);
        for node in nodes {
            self.send(node, ToNode::Prepare(prepare.clone()));
        }
        Ok(job)
    }

    /// Ends a job.
    pub(crate) fn kill(&mut self, job: u32, outcome: Outcome, now: Instant) {
        self.end(job, outcome, now);
        self.finish_jobs(now);
    }

    /// Asks for the states of a job's ranks; gives the name of the question, which the answer bears.
    pub(crate) fn query(&mut self, job: u32, now: Instant) -> u32 {
        self.ask(job, Purpose::Answer, now)
    }

    /// Takes no further jobs to a node, and lets it go once it has none.
    ///
    /// # Errors
    /// There is no such node.
    pub(crate) fn drain(&mut self, node: NodeId, now: Instant) -> Result<(), String> {
        let member = self.nodes.get_mut(&node);
        member.ok_or_else(|| format!("there is no {node} in this cluster"))?.draining = true;
        for number in self.jobs.keys().copied().collect::<Vec<_>>() {
            if !self.let_go(number, node, now) {
                self.close_if_idle(number, node);
            }
        }
        self.send(node, ToNode::Drain);
        Ok(())
    }

    /// The next thing to do.
    pub(crate) fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let jobs = self.jobs.values().filter_map(SpreadJob::next_timeout);
        let stops = self.stops.values().filter_map(Stop::next_timeout);
        let surveys = self.surveys.values().map(Question::give_up_at);
        let queries = self.queries.values().map(|query| query.give_up_at);
        jobs.chain(stops).chain(surveys).chain(queries).min()
    }

    /// The members.
    pub(crate) const fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// For each job the nodes that it still runs on.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (u32, Vec<NodeId>)> {
        let nodes = |job: &SpreadJob| {
            let nodes = job.active_nodes().into_iter();
            nodes.filter(|node| !job.is_spare(*node)).collect()
        };
        self.jobs.iter().map(move |(number, job)| (*number, nodes(job)))
    }

    fn ready(&mut self, from: NodeId, number: u32, now: Instant) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        if job.ready(from) {
            self.start_if_ready(number, now);
        }
    }

    fn unready(&mut self, from: NodeId, number: u32, reason: &str, now: Instant) {
        if self.let_go(number, from, now) {
            tracing::info!("job {number} does without {from}: {reason}");
        } else if self.jobs.get(&number).is_some_and(|job| job.has_part(from) && !job.has_started())
        {
            let reason = format!("{}: {reason}", self.host(from));
            self.reject(number, reason);
        }
    }

    /// Gives up a job that has not started.
    fn reject(&mut self, number: u32, reason: String) {
        let Some(job) = self.jobs.remove(&number) else { return };
        for part in job.parts() {
            self.send(part.node, ToNode::End { job: number });
            self.send(part.node, ToNode::Release { job: number });
        }
        self.commands.push_back(Command::Rejected { job: number, reason });
    }

    fn born(&mut self, (from, number): (NodeId, u32), born: Vec<Newborn>, now: Instant) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        if job.born(from, born).is_err() {
            let why = "it told of spawned processes that are not its own";
            self.lose(from, why, now);
            self.commands.push_back(Command::Forget { node: from, why: Some(why.to_owned()) });
        }
    }

    fn exited(&mut self, from: NodeId, number: u32, event: RankEvent, now: Instant) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        match job.exited(from, event.rank, &event.exit) {
            Ok(Exited::Again) => {}
            Ok(Exited::InOrder) => {
                self.commands.push_back(Command::Exited { job: number, event });
                self.announce(number);
                self.close_if_idle(number, from);
                self.end_emptied(number);
            }
            Ok(Exited::Dooms(outcome)) => {
                self.commands.push_back(Command::Exited { job: number, event });
                self.end(number, outcome, now);
            }
            Err(_) => {
                let why =
                    format!("it reported the end of rank {}, which is not its own", event.rank);
                self.lose(from, &why, now);
                self.commands.push_back(Command::Forget { node: from, why: Some(why) });
            }
        }
    }

    /// Where the ranks of a job are.
    pub(crate) fn places(&self, number: u32) -> Places {
        let mut places = self.jobs.get(&number).map(SpreadJob::places).unwrap_or_default();
        let stays = |node| self.nodes.get(node).is_some_and(|member| !member.draining);
        for (open, (node, _)) in places.open.iter_mut().zip(&places.nodes) {
            *open &= stays(node);
        }
        places
    }

    /// The ranks of a job, which is stopped, are there now.
    pub(crate) fn placed(&mut self, number: u32, places: Vec<u32>) {
        if let Some(job) = self.jobs.get_mut(&number) {
            let moved = job.place_anew(places);
            for (rank, host) in &moved {
                tracing::debug!("job {number}: rank {rank} moves to {host}");
            }
            self.commands.push_back(Command::Moved { job: number, moved });
        }
    }

    /// All ranks have ended: a node that some have left has none that it could tell the end of.
    pub(super) fn end_emptied(&mut self, number: u32) {
        let Some(job) = self.jobs.get(&number).filter(|job| job.has_ended()) else { return };
        for node in job.emptied_nodes() {
            self.send(node, ToNode::End { job: number });
        }
    }

    fn end(&mut self, number: u32, outcome: Outcome, now: Instant) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        if !job.end(outcome, now) {
            return;
        }
        self.nursery.forget(number);
        for node in self.jobs.get(&number).map(SpreadJob::active_nodes).unwrap_or_default() {
            self.send(node, ToNode::End { job: number });
        }
    }

    /// Ends what a node had a part in, and forgets it.
    pub(super) fn lose(&mut self, node: NodeId, reason: &str, now: Instant) {
        let host = self.host(node);
        self.nodes.remove(&node);
        self.leaving.remove(&node);
        let numbers: Vec<u32> = self.jobs.keys().copied().collect();
        for number in numbers {
            if !self.jobs.get(&number).is_some_and(|job| job.has_part(node)) {
                continue;
            }
            self.abort_births(number, node, &format!("it is lost: {reason}"));
            if self.let_go(number, node, now) {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            if !job.has_started() {
                self.reject(number, format!("{host} ({node}) is lost: {reason}"));
            } else if job.left(node) {
                self.tell_departed(number, node);
                self.fail_stop(number, "a node has left the job meanwhile");
            } else if job.is_tolerant() {
                self.survive(number, (node, &host), reason);
            } else if let Some(ranks) = job.lost(node) {
                let (host, reason) = (host.clone(), reason.to_owned());
                self.end(number, Outcome::NodeLost { node: node.0, host, ranks, reason }, now);
            }
        }
        let asked: Vec<u32> = self.queries.keys().copied().collect();
        for query in asked {
            self.answered(query, node, Vec::new(), now);
        }
        let asked: Vec<u32> = self.surveys.keys().copied().collect();
        for query in asked {
            self.surveyed(node, query, None, now);
        }
    }

    /// Ends the jobs whose nodes `from` and `lost` need each other.
    fn end_jobs_between(&mut self, from: NodeId, lost: NodeId, reason: &str, now: Instant) {
        let host = self.host(lost);
        let numbers: Vec<u32> = self.jobs.keys().copied().collect();
        for number in numbers {
            let Some(job) = self.jobs.get(&number) else { continue };
            let active = job.active_nodes();
            if !active.contains(&from) || !active.contains(&lost) {
                continue;
            }
            if self.let_go(number, lost, now) || self.let_go(number, from, now) {
                continue;
            }
            let Some(job) = self.jobs.get(&number) else { continue };
            if !job.has_started() {
                self.reject(number, format!("{host} ({lost}) is lost: {reason}"));
                continue;
            }
            let ranks = job.running_on(lost);
            let (host, reason) = (host.clone(), reason.to_owned());
            self.end(number, Outcome::NodeLost { node: lost.0, host, ranks, reason }, now);
        }
    }

    /// A node has left a job that goes on without it.
    pub(super) fn tell_departed(&mut self, number: u32, left: NodeId) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let is_still = job.stands_still(left, Some(Quiet::default()));
        let present = job.parts().iter().filter(|part| part.is_present()).map(|part| part.node);
        let present: Vec<_> = present.filter(|node| self.nodes.contains_key(node)).collect();
        for node in present {
            self.send(node, ToNode::Departed { job: number, node: left.0 });
        }
        if is_still {
            self.confirm_quiet(number);
        }
    }

    /// Asks all parts of a job, which seem to stand still, whether they still do.
    fn confirm_quiet(&mut self, number: u32) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        self.last_round = self.last_round.wrapping_add(1).max(1);
        let round = self.last_round;
        for node in job.begin_round(round) {
            self.send(node, ToNode::Confirm { job: number, round });
        }
    }

    /// A part stands still, or does not.
    fn quiet(
        &mut self,
        from: NodeId,
        (number, round): (u32, u32),
        quiet: Option<Quiet>,
        now: Instant,
    ) {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.has_started()) else { return };
        if round == 0 {
            if job.stands_still(from, quiet) {
                self.confirm_quiet(number);
            }
        } else if job.confirm(
            from,
            round,
            quiet.filter(|quiet| job.knows_of_all_ends(from, quiet.waiting)),
        ) {
            self.doom(number, Purpose::Deadlock, now);
        }
    }

    /// Ends a job as soon as it is known what its ranks do.
    fn doom(&mut self, number: u32, purpose: Purpose, now: Instant) {
        if let Some(job) = self.jobs.get_mut(&number).filter(|job| !job.is_doomed) {
            job.is_doomed = true;
            self.ask(number, purpose, now);
        }
    }

    /// A name for a question.
    pub(super) fn name_of_query(&mut self) -> u32 {
        self.last_query = self.last_query.wrapping_add(1);
        self.last_query
    }

    fn ask(&mut self, number: u32, purpose: Purpose, now: Instant) -> u32 {
        let query = self.name_of_query();
        let job = self.jobs.get(&number).filter(|job| job.has_started());
        let waiting = job.map(SpreadJob::active_nodes).unwrap_or_default();
        for node in &waiting {
            self.send(*node, ToNode::Query { job: number, query });
        }
        let give_up_at = now + QUERY_PATIENCE;
        let told = Vec::new();
        self.queries.insert(query, Query { job: number, waiting, told, give_up_at, purpose });
        self.answer_if_complete(query, now);
        query
    }

    fn states(&mut self, from: NodeId, query: u32, states: Vec<State>, now: Instant) {
        self.answered(query, from, states.into_iter().map(RankState::from).collect(), now);
    }

    fn answered(&mut self, number: u32, from: NodeId, told: Vec<RankState>, now: Instant) {
        let Some(query) = self.queries.get_mut(&number) else { return };
        let before = query.waiting.len();
        query.waiting.retain(|node| *node != from);
        if query.waiting.len() < before {
            query.told.extend(told);
            self.answer_if_complete(number, now);
        }
    }

    fn answer_if_complete(&mut self, number: u32, now: Instant) {
        if self.queries.get(&number).is_some_and(|query| query.waiting.is_empty()) {
            self.answer(number, now);
        }
    }

    fn answer(&mut self, number: u32, now: Instant) {
        let Some(query) = self.queries.remove(&number) else { return };
        let states = match self.jobs.get(&query.job) {
            Some(job) => job.complete(query.told),
            None => Vec::new(),
        };
        match query.purpose {
            Purpose::Answer => {
                self.commands.push_back(Command::States { query: number, states });
            }
            Purpose::TimeOut => self.end(query.job, Outcome::TimedOut { states }, now),
            Purpose::Deadlock => self.end(query.job, Outcome::Deadlock { states }, now),
        }
    }

    /// Reports the jobs of which nothing is left.
    fn finish_jobs(&mut self, now: Instant) {
        self.keep_stops(now);
        let over: Vec<u32> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.is_over(now))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            let Some(mut job) = self.jobs.remove(&number) else { continue };
            self.nursery.forget(number);
            if !job.has_started() {
                let reason = "it was ended before all nodes were ready".to_owned();
                self.commands.push_back(Command::Rejected { job: number, reason });
                continue;
            }
            for part in job.parts() {
                if self.nodes.contains_key(&part.node) {
                    self.send(part.node, ToNode::Release { job: number });
                }
            }
            let report = job.report(now);
            self.commands.push_back(Command::Ended { job: number, report });
        }
    }

    fn host(&self, node: NodeId) -> Arc<str> {
        let host = |member: &Node| member.info.host.as_str().into();
        self.nodes.get(&node).map_or_else(|| node.to_string().into(), host)
    }

    pub(super) fn send(&mut self, to: NodeId, message: ToNode) {
        self.commands.push_back(Command::Send { to, message });
    }
}

/// How long nodes may take to say what their ranks do.
pub(super) const QUERY_PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
#[path = "core_tests.rs"]
pub(super) mod tests;
