//! Stopping jobs on all their nodes: whose answers go to which [`Stop`], and who is told.

use std::time::Instant;

use faasm_transport::NodeId;

use super::core::{Command, Core};
use super::spread::{Part, SpreadJob};
use super::stop::{Course, Plan, Stop, StopEvent};
use crate::cluster::message::{Standstill, ToNode};
use crate::cluster::stop::{Departed, Done, Legacy, StopAnswer, Task};
use crate::job::ENDING;

/// What whoever stops a job is told.
#[derive(Debug, PartialEq)]
pub(crate) enum StopNews {
    /// All ranks on these nodes have left; how that went.
    Stopped(Vec<NodeId>, Course),
    /// The tasks are done.
    Done(Vec<(NodeId, Done)>),
    /// The job is not stopped, or a task has failed.
    Failed(String),
}

impl Core {
    /// Begins to stop a job, after what can be done before of a move. [`Core::go_on`] ends it, whatever comes of it.
    ///
    /// # Errors
    /// It cannot be stopped now; whether that is because somebody else stops it.
    pub(crate) fn stop(
        &mut self,
        number: u32,
        plan: Option<Plan>,
        now: Instant,
    ) -> Result<(), (String, bool)> {
        if self.stops.contains_key(&number) {
            return Err(("it is stopped already".to_owned(), true));
        }
        let job = self.jobs.get(&number).filter(|job| !job.is_ending());
        let Some(job) = job else { return Err((ENDING.to_owned(), false)) };
        if !job.has_started() {
            return Err(("its ranks do not run yet".to_owned(), false));
        }
        if !self.is_whole(job) {
            return Err(("a node of the job is lost".to_owned(), false));
        }
        if self.nursery.is_busy(number) {
            return Err(("processes are being spawned".to_owned(), true));
        }
        let present = (0..).zip(job.parts()).filter(|(_, part)| part.is_present());
        let parts = present.map(|(index, _)| index).collect();
        // Others may have moved ranks since it was made.
        let plan = plan.filter(|plan| job.is_placed(&plan.places));
        self.stops.insert(number, Stop::new(parts, self.last_order, plan, now));
        self.pump(number);
        Ok(())
    }

    /// Whether nodes are being asked to do something about a stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stops.values().any(Stop::waits)
    }

    /// Nodes of a job that is stopped are to do something, each its own.
    pub(crate) fn act(&mut self, number: u32, tasks: Vec<(NodeId, Task)>) {
        let (Some(stop), Some(job)) = (self.stops.get_mut(&number), self.jobs.get(&number)) else {
            return self.tell_stop(number, StopNews::Failed(ENDING.to_owned()));
        };
        let place = |node| job.parts().iter().position(|part| part.node == node);
        let tasks = tasks.into_iter().map(|(node, task)| Some((place(node)?, task)));
        // A node that has no part makes the whole of it an error.
        stop.act(tasks.collect::<Option<Vec<_>>>().unwrap_or_default());
        self.pump(number);
    }

    /// A job is stopped no longer.
    pub(crate) fn go_on(&mut self, number: u32) {
        if let Some(stop) = self.stops.get_mut(&number) {
            self.last_order = stop.go_on();
            self.pump(number);
            self.stops.remove(&number);
        }
        let departing: Vec<_> = self.departing.extract_if(.., |(job, _)| *job == number).collect();
        for (_, node) in departing {
            self.send(node, ToNode::Release { job: number });
            self.tell_departed(number, node);
        }
    }

    /// A node leaves a job, which is stopped: none of its ranks lives any more. It is let go when the job goes on.
    pub(crate) fn depart(&mut self, number: u32, node: NodeId, departed: Departed) {
        if let Some(job) = self.jobs.get_mut(&number) {
            job.depart(node, departed.totals, departed.legacy);
            self.departing.push((number, node));
        }
    }

    /// What is left of nodes that have left a job.
    ///
    /// # Errors
    /// Not all of it is known.
    pub(crate) fn legacies(&self, number: u32) -> Result<Vec<Legacy>, String> {
        self.jobs.get(&number).map_or_else(|| Err(ENDING.to_owned()), SpreadJob::legacies)
    }

    /// Whatever is being done with a job cannot be done.
    pub(super) fn fail_stop(&mut self, number: u32, why: &str) {
        if let Some(stop) = self.stops.get_mut(&number) {
            stop.fail(why);
            self.pump(number);
        }
    }

    /// A node has answered an order.
    pub(super) fn stop_answered(
        &mut self,
        from: NodeId,
        (number, name): (u32, u32),
        mut answer: StopAnswer,
        now: Instant,
    ) {
        let Some(job) = self.jobs.get(&number) else { return };
        let part = job.parts().iter().position(|part| part.node == from);
        let (Some(part), Some(stop)) = (part, self.stops.get_mut(&number)) else { return };
        if let StopAnswer::Stands(stands) = &mut answer {
            // Who has ended cannot be moved any more.
            let is_known = |quiet: &Standstill| job.knows_of_all_ends(from, quiet.waiting);
            stands.standstill = stands.standstill.filter(is_known);
        }
        if stop.plan().is_some_and(|plan| !job.can_place(plan.task.places())) {
            stop.forget_plan();
        }
        stop.handle_answer(part, name, answer, now);
        self.pump(number);
    }

    /// The time of some stop has come; gives up those whose jobs cannot be stopped any more.
    pub(super) fn keep_stops(&mut self, now: Instant) {
        let numbers: Vec<u32> = self.stops.keys().copied().collect();
        for number in numbers {
            let job = self.jobs.get(&number).filter(|job| !job.is_ending());
            let is_whole = job.is_some_and(|job| self.is_whole(job));
            let job_ends = if job.is_none() { ENDING } else { "a node of the job is lost" };
            let Some(stop) = self.stops.get_mut(&number) else { continue };
            stop.handle_timeout(now);
            if !is_whole {
                stop.fail(job_ends);
            }
            self.pump(number);
        }
    }

    /// Whether all nodes of a job are there, also those whose ranks have ended.
    fn is_whole(&self, job: &SpreadJob) -> bool {
        let is_there = |part: &Part| !part.is_present() || self.nodes().contains_key(&part.node);
        job.is_whole() && job.parts().iter().all(is_there)
    }

    /// Carries out what a stop has decided.
    fn pump(&mut self, number: u32) {
        while let Some(event) = self.stops.get_mut(&number).and_then(Stop::poll) {
            let job = self.jobs.get(&number);
            let node = |part: usize| job.and_then(|job| Some(job.parts().get(part)?.node));
            match event {
                StopEvent::Order { parts, name, order } => {
                    let is_there = |node: &NodeId| self.nodes().contains_key(node);
                    let nodes = parts.into_iter().filter_map(node).filter(is_there);
                    for to in nodes.collect::<Vec<_>>() {
                        let order = order.clone();
                        self.send(to, ToNode::Stop { job: number, name, order });
                    }
                }
                StopEvent::Stopped(course) => {
                    let parts = job.map(SpreadJob::parts).unwrap_or_default().iter();
                    let nodes = parts.filter(|part| part.is_present()).map(|part| part.node);
                    let nodes = nodes.collect();
                    self.tell_stop(number, StopNews::Stopped(nodes, course));
                }
                StopEvent::Done(done) => {
                    let done =
                        done.into_iter().filter_map(|(part, done)| Some((node(part)?, done)));
                    let done = done.collect();
                    self.tell_stop(number, StopNews::Done(done));
                }
                StopEvent::Placed(places) => self.placed(number, places),
                StopEvent::Failed(why) => self.tell_stop(number, StopNews::Failed(why)),
            }
        }
    }

    fn tell_stop(&mut self, job: u32, news: StopNews) {
        self.commands.push_back(Command::Stop { job, news });
    }
}
