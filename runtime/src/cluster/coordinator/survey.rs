//! How a job is doing, as its nodes tell.

use std::collections::BTreeMap;
use std::time::Instant;

use faasm_transport::NodeId;

use super::core::{Command, Core, QUERY_PATIENCE};
use super::spread::SpreadJob;
use crate::cluster::message::ToNode;
use crate::job::{Activity, JobStatus, NodeLoad, RankLoad, RankSurvey, Survey};

/// A question how a job is doing.
#[derive(Debug)]
pub(super) struct Question {
    job: u32,
    waiting: Vec<NodeId>,
    told: BTreeMap<NodeId, Survey>,
    give_up_at: Instant,
}

impl Question {
    pub(super) const fn give_up_at(&self) -> Instant {
        self.give_up_at
    }
}

impl Core {
    /// Asks how a job is doing; gives the name of the question, which the answer bears.
    pub(crate) fn survey(&mut self, number: u32, partners: bool, now: Instant) -> u32 {
        let query = self.name_of_query();
        let job = self.jobs.get(&number).filter(|job| job.has_started());
        let parts = job.map(SpreadJob::parts).unwrap_or_default();
        let is_there = |node: &NodeId| self.nodes().contains_key(node);
        let present = parts.iter().filter(|part| part.is_present()).map(|part| part.node);
        let waiting: Vec<NodeId> = present.filter(is_there).collect();
        for node in &waiting {
            self.send(*node, ToNode::Survey { job: number, query, partners });
        }
        let (give_up_at, told) = (now + QUERY_PATIENCE, BTreeMap::new());
        self.surveys.insert(query, Question { job: number, waiting, told, give_up_at });
        self.tell_if_complete(query, now);
        query
    }

    /// A node has answered, or never will.
    pub(super) fn surveyed(
        &mut self,
        from: NodeId,
        query: u32,
        survey: Option<Survey>,
        now: Instant,
    ) {
        let Some(question) = self.surveys.get_mut(&query) else { return };
        let before = question.waiting.len();
        question.waiting.retain(|node| *node != from);
        if question.waiting.len() < before {
            question.told.extend(survey.map(|survey| (from, survey)));
            self.tell_if_complete(query, now);
        }
    }

    /// Nodes that take too long are not waited for.
    pub(super) fn keep_surveys(&mut self, now: Instant) {
        let late = self.surveys.iter().filter(|(_, question)| question.give_up_at <= now);
        let late: Vec<u32> = late.map(|(query, _)| *query).collect();
        for query in late {
            self.tell(query, now);
        }
    }

    fn tell_if_complete(&mut self, query: u32, now: Instant) {
        if self.surveys.get(&query).is_some_and(|question| question.waiting.is_empty()) {
            self.tell(query, now);
        }
    }

    fn tell(&mut self, query: u32, now: Instant) {
        let Some(Question { job, told, .. }) = self.surveys.remove(&query) else { return };
        let status = self.jobs.get(&job).map(|found| self.status_of((job, found), told, now));
        let status = Box::new(status.unwrap_or_default());
        self.commands.push_back(Command::Surveyed { query, status });
    }

    fn status_of(
        &self,
        (number, job): (u32, &SpreadJob),
        mut told: BTreeMap<NodeId, Survey>,
        now: Instant,
    ) -> JobStatus {
        let places = self.places(number);
        let mut nodes = Vec::new();
        let (mut surveys, mut bonds) = (Vec::new(), Vec::new());
        for (place, part) in job.parts().iter().enumerate() {
            let survey = told.remove(&part.node);
            let mut load = NodeLoad {
                host: part.host.to_string(),
                answers: survey.is_some(),
                is_open: places.open.get(place).copied().unwrap_or(false),
                leaves_in_ms: self
                    .leaving
                    .get(&part.node)
                    .map(|at| at.saturating_duration_since(now).as_millis() as u64),
                ..NodeLoad::default()
            };
            if let Some(member) = self.nodes().get(&part.node) {
                let info = &member.info;
                (load.process, load.workers, load.slots) = (info.process, info.workers, info.slots);
            }
            if let Some(survey) = &survey {
                load.processor_us = survey.processor_us;
                load.resident_bytes = survey.resident_bytes;
                load.sent = survey.sent.iter().copied().take(places.nodes.len()).collect();
            }
            nodes.push(load);
            bonds.extend(survey.iter().flat_map(|survey| survey.bonds.clone()));
            surveys.push(survey.map(|survey| survey.ranks).unwrap_or_default());
        }
        let elapsed_us = job.elapsed(now).as_micros() as u64;
        let mut ranks = merge(&places.ranks, &places.ended, surveys);
        ranks.retain(|load| !job.is_nobody(load.rank));
        JobStatus { elapsed_us, nodes, ranks, bonds, ..JobStatus::default() }
    }
}

/// All ranks, from what each node has told of those that it has or had. Ranks beyond the first ones were spawned.
fn merge(ranks: &[u32], ended: &[bool], surveys: Vec<Vec<RankSurvey>>) -> Vec<RankLoad> {
    let mut loads: BTreeMap<u32, RankLoad> = BTreeMap::new();
    for (rank, node) in (0..).zip(ranks) {
        loads.insert(rank, RankLoad { rank, node: *node, ..RankLoad::default() });
    }
    let mut used: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for (node, survey) in (0..).zip(surveys) {
        for told in survey {
            let (rank, is_here) = (told.rank, told.is_here);
            // A node tells of its own ranks, and of what others used there.
            let is_its_own = ranks.get(rank as usize).is_none_or(|place| *place == node);
            let sum = used.entry(rank).or_default();
            *sum = (sum.0.saturating_add(told.busy_us), sum.1.saturating_add(told.ready_us));
            if is_here && is_its_own && loads.len() < RANKS_MAX {
                loads.insert(rank, RankLoad::of(told, node));
            }
        }
    }
    for load in loads.values_mut() {
        (load.busy_us, load.ready_us) = used.get(&load.rank).copied().unwrap_or_default();
        if ended.get(load.rank as usize).copied().unwrap_or(false) {
            load.activity = Activity::Ended;
        }
    }
    loads.into_values().collect()
}

/// Ranks that an answer has room for.
const RANKS_MAX: usize = 2 * crate::cluster::message::JOB_RANKS_MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rank: u32, is_here: bool, busy_us: u64) -> RankSurvey {
        RankSurvey { rank, is_here, busy_us, ready_us: 2 * busy_us, ..RankSurvey::default() }
    }

    #[test]
    fn what_a_rank_used_on_all_nodes_counts() {
        let surveys = vec![
            vec![told(0, true, 5), told(1, false, 7)],
            vec![told(1, true, 3), told(0, true, 1), told(9, true, 2)],
        ];
        let loads = merge(&[0, 1, 1], &[false, false, true], surveys);
        let shown: Vec<_> = loads.iter().map(|l| (l.rank, l.node, l.busy_us, l.ready_us)).collect();
        assert_eq!(shown, [(0, 0, 6, 12), (1, 1, 10, 20), (2, 1, 0, 0), (9, 1, 2, 4)]);
        assert_eq!(loads[2].activity, Activity::Ended, "the coordinator knows it without its node");
    }

    #[test]
    fn ranks_of_silent_nodes_are_there() {
        let loads = merge(&[0, 1], &[false; 2], vec![vec![told(0, true, 1)], Vec::new()]);
        assert_eq!((loads.len(), loads[1].activity), (2, Activity::Unknown));
    }
}
