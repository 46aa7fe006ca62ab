//! Jobs that go on without ranks that fail, or nodes that are lost.

use std::sync::Arc;
use std::time::Instant;

use faasm_transport::NodeId;

use super::core::{Command, Core};
use crate::cluster::message::{Motion, ToNode, Verdict};
use crate::faaslet::RankExit;
use crate::job::RankEvent;

impl Core {
    /// A rank takes part in an agreement.
    pub(super) fn propose(&mut self, from: NodeId, number: u32, motion: Motion, now: Instant) {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| job.has_started()) else { return };
        if let Err(why) = job.propose(from, motion) {
            let why = format!("it sent a proposal that breaks the rules: {why}");
            self.lose(from, &why, now);
            self.commands.push_back(Command::Forget { node: from, why: Some(why) });
            return;
        }
        self.announce(number);
    }

    /// Tells the nodes what ranks of a job have agreed on.
    pub(super) fn announce(&mut self, number: u32) {
        while let Some(decided) = self.jobs.get_mut(&number).and_then(|job| job.poll_decided()) {
            let Some(job) = self.jobs.get(&number) else { return };
            let nodes = job.active_nodes_of(&decided.members);
            let verdict = Verdict::from(decided);
            for node in nodes {
                self.send(node, ToNode::Decided { job: number, verdict: verdict.clone() });
            }
        }
    }

    /// A job goes on without a node.
    pub(super) fn survive(&mut self, number: u32, (node, host): (NodeId, &Arc<str>), reason: &str) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let Some(ranks) = job.lost(node) else { return };
        let reason = format!("its node {} ({host}) is lost: {reason}", node.0);
        let exit = RankExit::Failed { reason };
        job.give_up(&ranks, &exit);
        for to in job.active_nodes() {
            self.send(to, ToNode::Failed { job: number, ranks: ranks.clone() });
        }
        for rank in ranks {
            let event = RankEvent { rank, exit: exit.clone() };
            self.commands.push_back(Command::Exited { job: number, event });
        }
        self.announce(number);
        self.end_emptied(number);
    }

    /// Jobs that go on without failed ranks lose one of two nodes that do not reach each other.
    pub(super) fn survive_between(&mut self, from: NodeId, lost: NodeId, why: &str, now: Instant) {
        let needs_both = self.jobs.values().filter(|job| job.is_tolerant()).any(|job| {
            let active = job.active_nodes();
            job.has_started() && active.contains(&from) && active.contains(&lost)
        });
        if needs_both {
            self.lose(lost, why, now);
            self.commands.push_back(Command::Forget { node: lost, why: Some(why.to_owned()) });
        }
    }
}
