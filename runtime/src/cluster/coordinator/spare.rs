//! Nodes that a job has besides those of its ranks, so that these have somewhere to go. Such a node may leave at any time.

use std::time::Instant;

use faasm_transport::NodeId;

use super::core::{Command, Core};
use super::reach::separated;
use super::spread::SpreadJob;
use crate::cluster::message::{ToNode, Totals};
use crate::cluster::stop::Legacy;

impl Core {
    /// At most so many nodes beside those that are `taken`, all of which can reach each other; those with the fewest jobs.
    pub(super) fn spares(&self, taken: &[NodeId], most: usize) -> Vec<NodeId> {
        let jobs = |node: &NodeId| self.jobs.values().filter(|job| job.has_part(*node)).count();
        let members =
            self.nodes().iter().filter(|(node, member)| !member.draining && !taken.contains(node));
        let mut free: Vec<NodeId> = members.map(|(node, _)| *node).collect();
        free.sort_by_key(jobs);
        let mut all = taken.to_vec();
        for node in free {
            if all.len() >= taken.len() + most {
                break;
            }
            all.push(node);
            let members = all.iter().filter_map(|node| self.nodes().get(node));
            if separated(&members.collect::<Vec<_>>()).is_some() {
                all.pop();
            }
        }
        all.split_off(taken.len())
    }

    /// Lets a node go on which no rank of the job has ever been. Returns whether it is such a node.
    pub(super) fn let_go(&mut self, number: u32, node: NodeId, now: Instant) -> bool {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.is_spare(node)) else {
            return false;
        };
        job.depart(node, Totals::default(), Legacy::default());
        self.abort_births(number, node, "it has left the job");
        if self.nodes().contains_key(&node) {
            self.send(node, ToNode::Release { job: number });
        }
        self.tell_departed(number, node);
        self.fail_stop(number, "a node has left the job meanwhile");
        self.start_if_ready(number, now);
        true
    }

    /// Starts a job once all of its nodes are ready.
    pub(super) fn start_if_ready(&mut self, number: u32, now: Instant) {
        let is_ready = |job: &&mut SpreadJob| !job.is_ending() && job.is_ready();
        let Some(job) = self.jobs.get_mut(&number).filter(is_ready) else { return };
        job.start(now);
        for node in job.active_nodes() {
            self.send(node, ToNode::Start { job: number });
        }
        self.commands.push_back(Command::Started { job: number });
    }
}
