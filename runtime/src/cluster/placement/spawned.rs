//! Where spawned processes go: where there is most room. Nobody has asked for a place for those that had been spawned before
//! a job was restarted; for others the key `host` may restrict the nodes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use faasm_mpi_engine::dynamic::HostShare;

use super::{NodeSlots, Placement};
use crate::launch::is_loopback;

/// A node as a place for processes that are spawned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Room {
    /// Its host.
    pub(crate) host: String,
    /// Processes that live there.
    pub(crate) used: u64,
    /// Its slots, or else its processor cores.
    pub(crate) weight: u64,
    /// Further ones that there can be; 0 where none may come.
    pub(crate) free: u32,
}

/// Processes of one program that are wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wish {
    /// How many.
    pub(crate) processes: u32,
    /// The hosts that they may be on, if not all.
    pub(crate) hosts: Option<Vec<HostShare>>,
}

/// For each program the number of its processes on each node. Each process comes where there is most room; ties go to the
/// first of the nodes. `here` is the host of the one that spawns them, with other names of it.
///
/// # Errors
/// They cannot be placed so, in words.
pub(crate) fn spread(
    wishes: &[Wish],
    mut rooms: Vec<Room>,
    here: &[&str],
) -> Result<Vec<Vec<u32>>, String> {
    let mut all = Vec::new();
    for wish in wishes {
        let counts = spread_one(wish, &rooms, here)?;
        for (room, count) in rooms.iter_mut().zip(&counts) {
            room.used += u64::from(*count);
            room.free -= count;
        }
        all.push(counts);
    }
    Ok(all)
}

fn spread_one(wish: &Wish, rooms: &[Room], here: &[&str]) -> Result<Vec<u32>, String> {
    let mut counts = vec![0; rooms.len()];
    let mut shares = Shares::new(wish, rooms, here)?;
    let mut emptiest = BinaryHeap::new();
    // Loads are compared as fractions (processes + 1) / weight.
    let load = |node: usize, count: u32| {
        ((rooms[node].used + u64::from(count) + 1) << 32) / rooms[node].weight.max(1)
    };
    let allowed = (0..rooms.len()).filter(|node| shares.of[*node].is_some());
    emptiest.extend(allowed.map(|node| Reverse((load(node, 0), node))));
    let mut missing = wish.processes;
    while missing > 0 {
        let Some(Reverse((_, node))) = emptiest.pop() else {
            return Err(shares.why_not(wish, wish.processes - missing));
        };
        if counts[node] == rooms[node].free || !shares.take(node) {
            continue;
        }
        counts[node] += 1;
        missing -= 1;
        emptiest.push(Reverse((load(node, counts[node]), node)));
    }
    Ok(counts)
}

/// What is left of the slots that the key `host` gives.
struct Shares {
    /// For each node the index of the slots that it uses, if processes may be there at all.
    of: Vec<Option<usize>>,
    left: Vec<Option<u32>>,
}

impl Shares {
    fn new(wish: &Wish, rooms: &[Room], here: &[&str]) -> Result<Self, String> {
        let Some(hosts) = &wish.hosts else {
            return Ok(Self { of: vec![Some(0); rooms.len()], left: vec![None] });
        };
        let mut of = vec![None; rooms.len()];
        let is_named = |name: &str| rooms.iter().any(|room| room.host == name);
        for (share, host) in hosts.iter().enumerate() {
            let names_us = is_loopback(&host.name) || here.contains(&&*host.name);
            let own = here.first().filter(|_| names_us && !is_named(&host.name));
            let name = own.map_or(&*host.name, |own| *own);
            if !is_named(name) {
                return Err(unknown(name, rooms));
            }
            let nodes = (0..rooms.len()).filter(|node| rooms[*node].host == name);
            nodes.for_each(|node| of[node] = of[node].or(Some(share)));
        }
        Ok(Self { of, left: hosts.iter().map(|host| host.slots).collect() })
    }

    /// Uses one of the slots of a node; false if none is left.
    fn take(&mut self, node: usize) -> bool {
        let Some(left) = self.of[node].and_then(|share| self.left.get_mut(share)) else {
            return false;
        };
        match left {
            None => true,
            Some(0) => false,
            Some(slots) => {
                *slots -= 1;
                true
            }
        }
    }

    fn why_not(&self, wish: &Wish, placed: u32) -> String {
        let wanted = wish.processes;
        match self.left.iter().all(|left| *left == Some(0)) {
            true => format!("the key host has {placed} slots, and {wanted} processes are wanted"),
            false => {
                format!("there is room for {placed} of the {wanted} processes that are wanted")
            }
        }
    }
}

fn unknown(name: &str, rooms: &[Room]) -> String {
    let mut known: Vec<&str> = rooms.iter().map(|room| &*room.host).collect();
    known.dedup();
    let more = if known.len() > NAMES_SHOWN_MAX { ", ..." } else { "" };
    known.truncate(NAMES_SHOWN_MAX);
    format!(
        "the job has no node {name}, which the key host names; it has {}{more}",
        known.join(", ")
    )
}

/// Nodes that an error message names.
const NAMES_SHOWN_MAX: usize = 8;

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

    fn rooms(all: &[(&str, u64, u32)]) -> Vec<Room> {
        let room = |(host, used, free): &(&str, u64, u32)| Room {
            host: (*host).to_owned(),
            used: *used,
            weight: 2,
            free: *free,
        };
        all.iter().map(room).collect()
    }

    fn wish(processes: u32, hosts: Option<&str>) -> Wish {
        let hosts = hosts.map(|hosts| faasm_mpi_engine::dynamic::hosts(hosts).expect("a list"));
        Wish { processes, hosts }
    }

    fn counts(wish: Wish, all: &[(&str, u64, u32)]) -> Result<Vec<u32>, String> {
        spread(&[wish], rooms(all), &["a", "machine"]).map(|mut counts| counts.remove(0))
    }

    #[test]
    fn each_process_comes_where_there_is_most_room() {
        let two = [("a", 3, 9), ("b", 1, 9)];
        for (processes, expected) in
            [(1, [0, 1]), (2, [0, 2]), (3, [1, 2]), (4, [1, 3]), (0, [0, 0])]
        {
            assert_eq!(counts(wish(processes, None), &two), Ok(expected.to_vec()), "{processes}");
        }
        assert_eq!(counts(wish(4, None), &[("a", 3, 9), ("b", 1, 2)]), Ok(vec![2, 2]));
        assert_eq!(counts(wish(2, None), &[("a", 3, 9), ("b", 0, 0)]), Ok(vec![2, 0]));
        let both = [wish(3, None), wish(2, None)];
        assert_eq!(spread(&both, rooms(&two), &[]), Ok(vec![vec![1, 2], vec![1, 1]]));
        let mut large = rooms(&two);
        large[0].weight = 8;
        assert_eq!(spread(&[wish(5, None)], large, &[]), Ok(vec![vec![5, 0]]));
        let full = counts(wish(4, None), &[("a", 3, 1), ("b", 1, 2)]).expect_err("it is too much");
        assert_eq!(full, "there is room for 3 of the 4 processes that are wanted");
        assert!(counts(wish(u32::MAX, None), &two).is_err());
        assert!(counts(wish(1, None), &[]).is_err());
    }

    #[test]
    fn hosts_restrict_where_processes_go() {
        let three = [("a", 3, 9), ("b", 0, 9), ("b", 1, 9)];
        for (hosts, expected) in [
            ("a", [3, 0, 0]),
            ("machine", [3, 0, 0]),
            ("localhost", [3, 0, 0]),
            ("b", [0, 2, 1]),
            ("b:1,a", [2, 1, 0]),
            ("b:2,a:1", [1, 2, 0]),
        ] {
            assert_eq!(counts(wish(3, Some(hosts)), &three), Ok(expected.to_vec()), "{hosts}");
        }
        let why = |hosts| counts(wish(3, Some(hosts)), &three).expect_err("it cannot be");
        assert_eq!(why("b,c"), "the job has no node c, which the key host names; it has a, b");
        assert_eq!(why("b:2"), "the key host has 2 slots, and 3 processes are wanted");
    }
}
