//! What `--display map`, `--display allocation` and `--report-bindings` show, after Open MPI's
//! layout, so that what reads the one reads the other.

use std::fmt::Write as _;

use super::{NodeSlots, Placement};

/// A placement with what is needed to show it.
#[derive(Clone, Copy, Debug)]
pub struct PlacementView<'a> {
    /// The nodes.
    pub nodes: &'a [NodeSlots],
    /// Where each rank is.
    pub placement: &'a Placement,
    /// Number of worker threads of each node.
    pub workers: &'a [u32],
}

impl PlacementView<'_> {
    /// The ranks of each node, node after node.
    pub fn map(&self) -> String {
        let line = "=".repeat(RULE);
        let total: u64 = self.nodes.iter().map(|node| u64::from(slots(node))).sum();
        let mut text = format!(" Data for JOB [1] offset 0 Total slots allocated {total}\n");
        write!(text, "\n {:=^RULE$}\n", "   JOB MAP   ").expect(NEVER_FAILS);
        let mut ranks_of_node = vec![Vec::new(); self.nodes.len()];
        for (rank, node) in self.placement.node_of_rank.iter().enumerate() {
            ranks_of_node[*node as usize].push(rank);
        }
        for (node, ranks) in self.nodes.iter().zip(&ranks_of_node) {
            if ranks.is_empty() {
                continue;
            }
            let (name, slots, most) = (&node.name, slots(node), node.slots_max.unwrap_or(0));
            let ranks_count = ranks.len();
            write!(
                text,
                "\n Data for node: {name}\tNum slots: {slots}\tMax slots: {most}\tNum procs: {ranks_count}\n",
            )
            .expect(NEVER_FAILS);
            for rank in ranks {
                let app = self.app(*rank);
                writeln!(text, "\tProcess jobid: [1] App: {app} Process rank: {rank} Bound: N/A")
                    .expect(NEVER_FAILS);
            }
        }
        write!(text, "\n {line}\n").expect(NEVER_FAILS);
        text
    }

    /// The nodes with their slots.
    pub fn allocation(&self) -> String {
        let mut text = format!("\n{:=^RULE$}\n", "   ALLOCATED NODES   ");
        for (index, node) in (0..).zip(self.nodes) {
            let used = self.placement.node_of_rank.iter().filter(|node| **node == index).count();
            let (name, slots, most) = (&node.name, slots(node), node.slots_max.unwrap_or(0));
            writeln!(text, "\t{name}: slots={slots} max_slots={most} slots_inuse={used} state=UP")
                .expect(NEVER_FAILS);
        }
        writeln!(text, "{}", "=".repeat(RULE)).expect(NEVER_FAILS);
        text
    }

    /// A line for each rank.
    pub fn bindings(&self) -> String {
        let mut text = String::new();
        for (rank, node) in self.placement.node_of_rank.iter().enumerate() {
            let node = *node as usize;
            let (name, workers) = (&self.nodes[node].name, self.workers.get(node).copied());
            let workers = match workers.unwrap_or(0) {
                0 => "any of its node's workers".to_owned(),
                1 => "its node's one worker".to_owned(),
                workers => format!("any of its node's {workers} workers"),
            };
            writeln!(text, "[{name}] MCW rank {rank} is not bound (runs on {workers})")
                .expect(NEVER_FAILS);
        }
        text
    }

    /// The number of the program that a rank runs.
    fn app(&self, rank: usize) -> usize {
        let mut first = 0;
        let ranks = &self.placement.ranks_of_app;
        let ends = ranks.iter().map(|ranks| {
            first += *ranks as usize;
            first
        });
        ends.take_while(|end| *end <= rank).count()
    }
}

/// A node without a number of slots has one a core.
fn slots(node: &NodeSlots) -> u32 {
    node.slots.unwrap_or(node.cores)
}

const RULE: usize = 60;
const NEVER_FAILS: &str = "writing to a String cannot fail";
