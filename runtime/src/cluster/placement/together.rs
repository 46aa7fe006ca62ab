//! Ranks that have to be on one node, as those that share memory.
//!
//! Each node keeps the number of ranks that it was given, where that is possible: groups are placed first, the largest
//! ones first, each where most of its ranks are or where there is room; the other ranks stay where they are or take what
//! is left. Everything is deterministic: ties go to the smaller number.

use std::cmp::Reverse;

use super::{NodeSlots, Placement, PlacementError, PlacementRules};

impl Placement {
    /// Brings the ranks of each of these groups together; groups that have a rank in common are one.
    ///
    /// # Errors
    /// There is a group that fits no node.
    pub fn bring_together(
        &mut self,
        groups: &[Vec<u32>],
        nodes: &[NodeSlots],
        rules: &PlacementRules,
    ) -> Result<(), PlacementError> {
        let groups = merged(groups, self.node_of_rank.len());
        if groups.iter().all(|group| self.shares_node(group)) {
            return Ok(());
        }
        let mut room = vec![0_i64; nodes.len()];
        self.node_of_rank.iter().for_each(|node| room[*node as usize] += 1);
        let given = room.clone();
        let mut is_placed = vec![false; self.node_of_rank.len()];
        for group in &groups {
            let node = self.node_for(group, (&given, &room), (nodes, rules))?;
            room[node] -= group.len() as i64;
            for rank in group {
                self.node_of_rank[*rank as usize] = node as u32;
                is_placed[*rank as usize] = true;
            }
        }
        for (node, _) in self.node_of_rank.iter_mut().zip(is_placed).filter(|(_, placed)| !placed) {
            if room[*node as usize] <= 0 {
                *node = roomiest(&room) as u32;
            }
            room[*node as usize] -= 1;
        }
        Ok(())
    }

    fn shares_node(&self, group: &[u32]) -> bool {
        let node = |rank: &u32| self.node_of_rank[*rank as usize];
        group.iter().all(|rank| node(rank) == node(&group[0]))
    }

    /// Where the group goes: among the nodes with room for all of it to that which has most of it.
    fn node_for(
        &self,
        group: &[u32],
        (given, room): (&[i64], &[i64]),
        (nodes, rules): (&[NodeSlots], &PlacementRules),
    ) -> Result<usize, PlacementError> {
        let mut own = vec![0; nodes.len()];
        group.iter().for_each(|rank| own[self.node_of_rank[*rank as usize] as usize] += 1);
        let wanted = group.len() as i64;
        let fits = (0..nodes.len()).filter(|node| room[*node] >= wanted);
        if let Some(node) = fits.max_by_key(|node| (own[*node], room[*node], Reverse(*node))) {
            return Ok(node);
        }
        // None has so much room: one that may have more ranks than it was given.
        let oversubscribed = rules.oversubscribe.unwrap_or(false);
        let may_grow = |node: &usize| {
            let NodeSlots { slots, slots_max, .. } = &nodes[*node];
            let most = if oversubscribed { None } else { *slots };
            let most = [most, *slots_max].into_iter().flatten().min();
            let grown = given[*node] - room[*node] + wanted;
            most.is_none_or(|most| grown <= i64::from(most))
        };
        let grown = (0..nodes.len()).filter(may_grow);
        let found = grown.max_by_key(|node| (room[*node], own[*node], Reverse(*node)));
        found.ok_or_else(|| PlacementError::Together { ranks: group.to_vec() })
    }
}

fn roomiest(room: &[i64]) -> usize {
    (0..room.len()).max_by_key(|node| (room[*node], Reverse(*node))).unwrap_or(0)
}

/// The groups without those that overlap, each sorted, the largest one first.
fn merged(groups: &[Vec<u32>], ranks: usize) -> Vec<Vec<u32>> {
    let mut first: Vec<u32> = (0..ranks as u32).collect();
    let find = |first: &[u32], mut rank: u32| {
        while first[rank as usize] != rank {
            rank = first[rank as usize];
        }
        rank
    };
    for group in groups {
        let mut known = group.iter().filter(|rank| (**rank as usize) < ranks);
        let Some(one) = known.next() else { continue };
        for other in known {
            let (a, b) = (find(&first, *one), find(&first, *other));
            first[a.max(b) as usize] = a.min(b);
        }
    }
    let mut members = vec![Vec::new(); ranks];
    for rank in 0..ranks as u32 {
        members[find(&first, rank) as usize].push(rank);
    }
    members.retain(|members| members.len() > 1);
    members.sort_by_key(|members| (Reverse(members.len()), members[0]));
    members
}
