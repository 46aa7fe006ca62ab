//! Where processes go that had been spawned before a job was restarted: nobody has asked for a place for them.

use super::{NodeSlots, Placement};

impl Placement {
    /// Places processes behind the ranks, each by whether it `lives`, one after the other where there is most room for
    /// it. Numbers of those that do not live any more are on the first node. Ties go to the first of the nodes.
    pub fn add_spawned(&mut self, lives: impl Iterator<Item = bool>, nodes: &[NodeSlots]) {
        let mut used = vec![0_u64; nodes.len()];
        self.node_of_rank.iter().for_each(|node| used[*node as usize] += 1);
        let weight = |node: &NodeSlots| u64::from(node.slots.unwrap_or(node.weight).max(1));
        for lives in lives {
            // Loads are compared as fractions (processes + 1) / weight.
            let load = |node: &usize| ((used[*node] + 1) << 32) / weight(&nodes[*node]);
            let emptiest = (0..nodes.len()).min_by_key(load).filter(|_| lives);
            self.node_of_rank.push(emptiest.unwrap_or(0) as u32);
            if let Some(node) = emptiest {
                used[node] += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spawned_processes_go_where_there_is_room() {
        let node = |slots| NodeSlots { slots: Some(slots), ..NodeSlots::unlimited("n", 2) };
        let mut placement = Placement { node_of_rank: vec![0, 0, 1], ranks_of_app: vec![3] };
        let lives = [true, false, true, true, true];
        placement.add_spawned(lives.into_iter(), &[node(4), node(2)]);
        assert_eq!(placement.node_of_rank[3..], [0, 0, 0, 1, 0]);
        assert_eq!(placement.ranks_of_app, [3], "nobody has asked for them");
    }
}
