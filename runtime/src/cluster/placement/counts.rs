//! How many ranks of each program each node gets.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{AppDemand, MapBy, NodeSlots, PlacementError, PlacementRules, RANKS_MAX};

/// For each program the number of its ranks on each node. A later program finds the slots that
/// earlier ones have left.
pub(super) fn of_apps(
    apps: &[AppDemand],
    nodes: &[NodeSlots],
    rules: &PlacementRules,
) -> Result<Vec<Vec<u32>>, PlacementError> {
    let mut filling = Filling::new(nodes, rules);
    let mut total = 0;
    let mut all = Vec::new();
    for app in apps {
        let counts = filling.app(*app)?;
        total += counts.iter().copied().map(u64::from).sum::<u64>();
        if total > u64::from(RANKS_MAX) {
            return Err(PlacementError::TooManyRanks { asked: total });
        }
        all.push(counts);
    }
    Ok(all)
}

/// Nodes while programs are placed one after the other.
struct Filling<'a> {
    nodes: &'a [NodeSlots],
    /// Slots of each node; none where any number fits.
    slots: Vec<Option<u32>>,
    used: Vec<u32>,
    oversubscribe: bool,
    evenly: bool,
}

impl<'a> Filling<'a> {
    fn new(nodes: &'a [NodeSlots], rules: &PlacementRules) -> Self {
        let counted = nodes.iter().any(|node| node.slots.is_some());
        let known = counted || rules.oversubscribe == Some(false);
        let slots_of = |node: &NodeSlots| {
            let slots = node.slots.or(known.then(|| node.cores.max(node.weight).max(1)));
            slots.map(|slots| slots.min(hard(node)))
        };
        Self {
            nodes,
            slots: nodes.iter().map(slots_of).collect(),
            used: vec![0; nodes.len()],
            oversubscribe: rules.oversubscribe.unwrap_or(!known),
            evenly: rules.map_by == MapBy::Node,
        }
    }

    /// Ranks of the next program on each node.
    fn app(&mut self, app: AppDemand) -> Result<Vec<u32>, PlacementError> {
        let per_node = app.ranks_per_node.unwrap_or(u32::MAX);
        let asked = self.asked(app);
        if asked > u64::from(RANKS_MAX) {
            return Err(PlacementError::TooManyRanks { asked });
        }
        self.check_per_node(app, asked)?;
        let mut counts = vec![0; self.nodes.len()];
        let mut left = asked as u32;
        let free: Vec<u32> = self.each(|this, node| this.free(node).min(per_node));
        // Without slots nothing is "filled": each node gets its share.
        if self.evenly || self.slots.iter().all(Option::is_none) {
            self.share(&free, &mut counts, &mut left);
        } else {
            for (count, free) in counts.iter_mut().zip(&free) {
                *count = left.min(*free);
                left -= *count;
            }
        }
        if left > 0 && !self.oversubscribe {
            return Err(self.not_enough(asked, |this, node| this.free(node)));
        }
        if left > 0 {
            let room: Vec<u32> = self.each(|this, node| this.room(node).min(per_node));
            let room: Vec<u32> =
                room.iter().zip(&counts).map(|(room, count)| room - count).collect();
            self.share(&room, &mut counts, &mut left);
        }
        if left > 0 {
            return Err(self.max_slots(asked));
        }
        self.used.iter_mut().zip(&counts).for_each(|(used, count)| *used += count);
        Ok(counts)
    }

    /// Ranks that the program asks for: those of the command line, or what there is.
    fn asked(&self, app: AppDemand) -> u64 {
        let of_node = |node: usize| match app.ranks_per_node {
            Some(ranks) => ranks,
            None => match self.slots[node] {
                Some(_) => self.free(node),
                None => self.nodes[node].cores.clamp(1, hard(&self.nodes[node])),
            },
        };
        let all = || (0..self.nodes.len()).map(|node| u64::from(of_node(node))).sum::<u64>();
        app.ranks.map_or_else(all, u64::from).max(1)
    }

    /// As many ranks on each node as were asked for must be possible.
    fn check_per_node(&self, app: AppDemand, asked: u64) -> Result<(), PlacementError> {
        let Some(per_node) = app.ranks_per_node else { return Ok(()) };
        let available = self.nodes.len() as u64 * u64::from(per_node);
        if asked > available {
            let nodes = self.nodes.len();
            return Err(PlacementError::PerNode { asked, per_node, nodes, available });
        }
        Ok(())
    }

    /// Gives one rank after the other to the node with the smallest load, up to `room` more on each.
    /// Costs `left * log(nodes)` steps.
    fn share(&self, room: &[u32], counts: &mut [u32], left: &mut u32) {
        let mut room = room.to_vec();
        let weight = |node: usize| match self.slots[node] {
            _ if self.evenly => 1,
            Some(slots) => u64::from(slots.max(1)),
            None => u64::from(self.nodes[node].weight.max(1)),
        };
        // Loads are compared as fractions (ranks + 1) / weight, times a number so large that
        // rounding matters only between nodes of more ranks than there can be.
        let load = |used: u32, node: usize| ((u64::from(used) + 1) << 32) / weight(node);
        let used = |counts: &[u32], node: usize| self.used[node] + counts[node];
        let start = (0..room.len()).filter(|node| room[*node] > 0);
        let mut heap: BinaryHeap<Reverse<(u64, usize)>> =
            start.map(|node| Reverse((load(used(counts, node), node), node))).collect();
        while *left > 0
            && let Some(Reverse((_, node))) = heap.pop()
        {
            counts[node] += 1;
            room[node] -= 1;
            *left -= 1;
            if room[node] > 0 {
                heap.push(Reverse((load(used(counts, node), node), node)));
            }
        }
    }

    /// Ranks that fit on a node without oversubscribing it.
    fn free(&self, node: usize) -> u32 {
        self.slots[node]
            .map_or_else(|| self.room(node), |slots| slots.saturating_sub(self.used[node]))
    }

    /// Ranks that a node may get at all.
    fn room(&self, node: usize) -> u32 {
        hard(&self.nodes[node]).saturating_sub(self.used[node])
    }

    fn each<T>(&self, of: impl Fn(&Self, usize) -> T) -> Vec<T> {
        (0..self.nodes.len()).map(|node| of(self, node)).collect()
    }

    fn named(&self, of: impl Fn(&Self, usize) -> u32) -> (u64, Vec<(String, u32)>) {
        let nodes = self.each(|this, node| (this.nodes[node].name.clone(), of(this, node)));
        (nodes.iter().map(|(_, slots)| u64::from(*slots)).sum(), nodes)
    }

    fn not_enough(&self, asked: u64, of: impl Fn(&Self, usize) -> u32) -> PlacementError {
        let (available, nodes) = self.named(of);
        PlacementError::NotEnoughSlots { asked, available, nodes }
    }

    fn max_slots(&self, asked: u64) -> PlacementError {
        let (available, nodes) = self.named(Self::room);
        PlacementError::MaxSlots { asked, available, nodes }
    }
}

/// Most ranks of a node, whatever was asked for.
fn hard(node: &NodeSlots) -> u32 {
    node.slots_max.unwrap_or(RANKS_MAX)
}
