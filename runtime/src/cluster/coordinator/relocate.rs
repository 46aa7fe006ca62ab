//! Placing ranks of a running job on other nodes: have their memory go there, stop, have them come and go, go over to that on
//! all nodes, go on.
//!
//! Until all nodes have everything ready the job can go on as it was, and does if a node cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use faasm_transport::NodeId;

use super::Cluster;
use super::driver::Input;
use super::stop::Plan;
use crate::cluster::message::{Block, Stdin};
use crate::cluster::offer::Newborn;
use crate::cluster::stop::{Done, MoveTask, Task};
use crate::job::{ENDING, MoveOrder, MoveReport, Outcome};

/// How long it is tried to move ranks that cannot be moved at the instant at which they were stopped.
const ATTEMPTS_TIME_MAX: Duration = Duration::from_secs(10);
/// So many failures of one reason, one after the other, are no accident.
const VAIN_ATTEMPTS_MAX: u32 = 3;
/// How long the job goes on before it is tried again.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(5);

/// Where the ranks of a job are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Places {
    /// For each rank the index of its node.
    pub(super) ranks: Vec<u32>,
    /// For each rank whether it has ended.
    pub(super) ended: Vec<bool>,
    /// The nodes, with their hosts.
    pub(super) nodes: Vec<(NodeId, String)>,
    /// For each node whether its part of the job goes on: not where all ranks have ended.
    pub(super) open: Vec<bool>,
    /// What those that were spawned were spawned with.
    pub(super) births: BTreeMap<u32, Newborn>,
    /// Those of them whose programs are not here.
    pub(super) absent: BTreeSet<u32>,
    /// Ranks that share memory, group by group; asked for only where it is to be decided where ranks go.
    pub(super) bonds: Vec<Vec<u32>>,
    /// Which ranks read the standard input.
    pub(super) readers: Stdin,
    /// Whether those cannot move, for what they have read is gone.
    pub(super) readers_stay: bool,
}

/// Carries an order out.
///
/// # Errors
/// Why it cannot be, in words; the job goes on as before.
pub(super) fn relocate(
    cluster: &Cluster,
    job: u32,
    order: &MoveOrder,
) -> Result<MoveReport, String> {
    carry_out(cluster, job, order, None)
}

/// Moves all ranks of a job from a node, which leaves the job then.
///
/// # Errors
/// As [`relocate`].
pub(super) fn evacuate(cluster: &Cluster, job: u32, node: NodeId) -> Result<MoveReport, String> {
    let places = cluster.places(job);
    let index = places.nodes.iter().position(|(known, _)| *known == node).ok_or(ENDING)?;
    let order = MoveOrder { ranks: Vec::new(), from: Some(index.to_string()), to: None };
    carry_out(cluster, job, &order, Some(node))
}

/// Carries an order out; `leaving` leaves the job then.
fn carry_out(
    cluster: &Cluster,
    job: u32,
    order: &MoveOrder,
    leaving: Option<NodeId>,
) -> Result<MoveReport, String> {
    let begun = Instant::now();
    let mut vain = (0, String::new());
    loop {
        match attempt(cluster, job, order, leaving) {
            Err(Failure::Again(why)) => {
                vain = if why == vain.1 { (vain.0 + 1, why) } else { (1, why) };
            }
            Err(Failure::Final(why)) => return Err(why),
            Ok(report) => return Ok(report),
        }
        if vain.0 == VAIN_ATTEMPTS_MAX || begun.elapsed() > ATTEMPTS_TIME_MAX {
            return Err(vain.1);
        }
        tracing::debug!("a move is tried again: {}", vain.1);
        std::thread::sleep(ATTEMPT_INTERVAL);
    }
}

/// Why ranks were not moved.
enum Failure {
    /// They may be at another time.
    Again(String),
    Final(String),
}

fn attempt(
    cluster: &Cluster,
    job: u32,
    order: &MoveOrder,
    leaving: Option<NodeId>,
) -> Result<MoveReport, Failure> {
    let bonds = match order.to {
        Some(_) => Vec::new(),
        None => cluster.job_status(job, false).map_err(Failure::Final)?.bonds,
    };
    let places = Places { bonds: bonds.clone(), ..cluster.places(job) };
    let wanted = decide(&places, order).map_err(Failure::Final)?;
    if wanted == places.ranks && leaving.is_none() {
        return Ok(MoveReport::default());
    }
    let new_task = |places: &Places, wanted: &[u32]| MoveTask {
        number: cluster.next_move(),
        blocks: blocks(wanted),
        births: born_among_movers(places, wanted),
    };
    let ahead = new_task(&places, &wanted);
    let (task, before) = (ahead.clone(), places.ranks.clone());
    let plan = Plan { task, places: before, goes_on: leaving.is_none() };
    let stopped = cluster.stop_after(job, Some(&plan)).map_err(Failure::Final)?;
    let begun = Instant::now();
    let course = stopped.course().clone();
    if let Some(Err(why)) = &course.ahead {
        tracing::info!("ranks that move are copied when all have stopped: {why}");
    }
    let planned = wanted;
    let (places, wanted) = if course.moves {
        (places, planned.clone())
    } else {
        // Ranks may have ended or moved meanwhile.
        let places = Places { bonds, ..cluster.places(job) };
        let wanted = decide(&places, order).map_err(Failure::Final)?;
        (places, wanted)
    };
    let is_begun = wanted == planned && course.ahead == Some(Ok(()));
    let task = match is_begun {
        true => ahead,
        false => new_task(&places, &wanted),
    };
    let everybody = |task: &Task| -> Vec<(NodeId, Task)> {
        stopped.nodes().iter().map(|node| (*node, task.clone())).collect()
    };
    let have_done = |task: Task| match course.moves {
        true => stopped.done(),
        false => stopped.act(everybody(&task)),
    };
    let bytes: u64 = match have_done(Task::Move(task)) {
        Ok(done) => done.iter().map(|(node, done)| tell(*node, done)).sum(),
        Err(why) => {
            let stayed = stopped.act(everybody(&Task::Stay));
            return Err(if stayed.is_ok() { Failure::Again(why) } else { Failure::Final(why) });
        }
    };
    let ready = begun.elapsed();
    if let Err(why) = have_done(Task::Renew) {
        // Some may have gone over already: the nodes do not agree any more where ranks are.
        cluster.tell(Input::End { job, outcome: Outcome::Killed { code: 1 } });
        return Err(Failure::Final(format!("the job is ended, for its nodes disagree: {why}")));
    }
    let moved = (0..).zip(wanted.iter().zip(&places.ranks));
    let moved = moved.filter(|(_, (new, old))| new != old).map(|(rank, (new, _))| {
        (rank, places.nodes.get(*new as usize).map(|(_, host)| host.clone()).unwrap_or_default())
    });
    let moved = moved.collect();
    if !course.moves {
        cluster.tell(Input::Placed { job, places: wanted });
    }
    if let Some(node) = leaving {
        stopped.release(node).map_err(Failure::Final)?;
    }
    drop(stopped);
    let renewed = begun.elapsed();
    tracing::debug!(?course, ?ready, ?renewed, bytes, "ranks have been moved");
    let copying = is_begun.then_some(course.preparing);
    let (stopped, stopping) = (course.leaving + renewed, course.waiting);
    Ok(MoveReport { moved, stopped, stopping, copying, bytes })
}

/// Bytes of memory that left a node.
fn tell(node: NodeId, done: &Done) -> u64 {
    let Done::Moved(moved) = done else { return 0 };
    tracing::debug!(%node, ?moved, "ranks have come and gone");
    moved.bytes
}

/// Where all ranks are to be.
///
/// # Errors
/// The order makes no sense, in words.
pub(super) fn decide(places: &Places, order: &MoveOrder) -> Result<Vec<u32>, String> {
    let mut wanted = places.ranks.clone();
    let to = order.to.as_ref().map(|name| find(places, name)).transpose()?;
    let from = order.from.as_ref().map(|name| find(places, name)).transpose()?;
    let lives = |rank: u32| !places.ended.get(rank as usize).copied().unwrap_or(true);
    for rank in &order.ranks {
        match places.ranks.get(*rank as usize) {
            None => return Err(format!("the job has ranks 0 to {}", places.ranks.len() - 1)),
            Some(_) if !lives(*rank) => return Err(format!("rank {rank} has ended")),
            Some(_) => {}
        }
    }
    let is_meant = |rank: u32| match from {
        Some(from) if order.ranks.is_empty() => places.ranks[rank as usize] == from,
        _ => order.ranks.contains(&rank),
    };
    let all = 0..places.ranks.len() as u32;
    let movers: Vec<u32> = all.filter(|rank| is_meant(*rank) && lives(*rank)).collect();
    let reads = |rank: u32| match places.readers {
        Stdin::None => false,
        Stdin::Rank(reader) => rank == reader,
        Stdin::All => true,
    };
    if let Some(rank) = movers.iter().find(|rank| places.readers_stay && reads(**rank)) {
        return Err(format!(
            "rank {rank} reads the standard input, of which more has come than is kept for ranks that move; \
             it stays where it is"
        ));
    }
    if let Some(rank) = movers.iter().find(|rank| places.absent.contains(rank)) {
        return Err(format!(
            "process {rank} was spawned (MPI_Comm_spawn), and its program has not come from its node; it stays where it is"
        ));
    }
    let is_open = |node: u32| places.open.get(node as usize).copied().unwrap_or(false);
    if let Some(to) = to {
        if !is_open(to) {
            return Err(format!(
                "node {to} takes no ranks: all that were there have ended, or it is being drained"
            ));
        }
        movers.iter().for_each(|rank| wanted[*rank as usize] = to);
        return Ok(wanted);
    }
    let mut load = vec![0_u32; places.nodes.len()];
    for (rank, node) in (0..).zip(&places.ranks).filter(|(rank, _)| lives(*rank)) {
        load[*node as usize] += u32::from(!movers.contains(&rank));
    }
    for group in together(&movers, &places.bonds) {
        let others = (0..).zip(&load).filter(|(node, _)| Some(*node) != from && is_open(*node));
        let fewest = others.min_by_key(|(_, ranks)| **ranks).map(|(node, _)| node);
        let fewest = fewest.ok_or("the job has no other node")?;
        load[fewest as usize] += group.len() as u32;
        group.iter().for_each(|rank| wanted[*rank as usize] = fewest);
    }
    Ok(wanted)
}

/// The ranks in groups that go to one node each: those that share memory, also with others of their group, and all others
/// alone; in the order of their first ranks.
fn together(ranks: &[u32], bonds: &[Vec<u32>]) -> Vec<BTreeSet<u32>> {
    let mut groups: Vec<BTreeSet<u32>> = Vec::new();
    let alone = ranks.iter().map(|rank| BTreeSet::from([*rank]));
    let bound = bonds.iter().map(|bond| {
        bond.iter().copied().filter(|rank| ranks.contains(rank)).collect::<BTreeSet<u32>>()
    });
    for mut group in bound.chain(alone).filter(|group| !group.is_empty()) {
        groups.retain(|known| {
            let is_apart = known.is_disjoint(&group);
            if !is_apart {
                group.extend(known);
            }
            is_apart
        });
        groups.push(group);
    }
    groups.sort_unstable_by_key(|group| group.first().copied());
    groups
}

/// The index of the node of this name or number.
fn find(places: &Places, name: &str) -> Result<u32, String> {
    if let Some(index) = name.parse().ok().filter(|index| *index < places.nodes.len() as u32) {
        return Ok(index);
    }
    let mut named = (0..).zip(&places.nodes).filter(|(_, (_, host))| host == name);
    match (named.next(), named.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some(_), Some(_)) => {
            Err(format!("several nodes of the job are called {name}: use numbers"))
        }
        _ => {
            let known =
                (0..).zip(&places.nodes).map(|(at, (_, host)): (u32, _)| format!("{at} ({host})"));
            let known: Vec<String> = known.collect();
            Err(format!("the job has no node {name}; it has {}", known.join(", ")))
        }
    }
}

/// What those that go elsewhere were spawned with, if they were.
fn born_among_movers(places: &Places, wanted: &[u32]) -> Vec<Newborn> {
    let born = wanted.iter().zip(&places.ranks).zip(0..).filter(|((new, old), _)| new != old);
    born.filter_map(|(_, rank)| places.births.get(&rank).cloned()).collect()
}

/// Runs of ranks on one node.
fn blocks(places: &[u32]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for node in places {
        match blocks.last_mut().filter(|last| last.node == *node) {
            Some(last) => last.ranks += 1,
            None => blocks.push(Block { node: *node, ranks: 1 }),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let nodes = [(1, "a"), (2, "b"), (3, "b")];
        Places {
            ranks: vec![0, 0, 1, 1, 2],
            ended: vec![false, false, false, true, false],
            nodes: nodes.map(|(node, host)| (NodeId(node), host.to_owned())).into(),
            open: vec![true; 3],
            ..Places::default()
        }
    }

    fn order(ranks: &[u32], from: Option<&str>, to: Option<&str>) -> MoveOrder {
        let name = |name: Option<&str>| name.map(str::to_owned);
        MoveOrder { ranks: ranks.to_vec(), from: name(from), to: name(to) }
    }

    #[test]
    fn ranks_that_share_memory_go_to_one_node() {
        let places = Places {
            ranks: vec![0; 6],
            ended: vec![false; 6],
            bonds: vec![vec![0, 1], vec![3, 4], vec![1, 5]],
            ..places()
        };
        let wanted = decide(&places, &order(&[], Some("0"), None)).expect("there are others");
        assert_eq!(wanted, [1, 1, 2, 2, 2, 1]);
    }

    #[test]
    fn ranks_go_to_the_node_that_is_named() {
        let decided = |order| decide(&places(), &order);
        assert_eq!(decided(order(&[1, 4], None, Some("1"))), Ok(vec![0, 1, 1, 1, 1]));
        assert_eq!(decided(order(&[2], None, Some("a"))), Ok(vec![0, 0, 0, 1, 2]));
        assert_eq!(decided(order(&[0], None, Some("0"))), Ok(places().ranks));
    }

    #[test]
    fn a_drained_nodes_ranks_go_where_there_are_few() {
        let decided = decide(&places(), &order(&[], Some("0"), None));
        assert_eq!(decided, Ok(vec![1, 2, 1, 1, 2]), "those that have ended do not count or go");
        let decided = decide(&places(), &order(&[], Some("1"), None));
        assert_eq!(decided, Ok(vec![0, 0, 2, 1, 2]));
    }

    #[test]
    fn orders_that_make_no_sense_are_refused() {
        for (order, part) in [
            (order(&[9], None, Some("0")), "ranks 0 to 4"),
            (order(&[3], None, Some("0")), "has ended"),
            (order(&[0], None, Some("b")), "several"),
            (order(&[0], None, Some("7")), "0 (a), 1 (b)"),
        ] {
            let why = decide(&places(), &order).expect_err("it makes no sense");
            assert!(why.contains(part), "{why}");
        }
        let mut over = places();
        over.open[2] = false;
        assert!(decide(&over, &order(&[0], None, Some("2"))).is_err(), "nobody is left there");
        assert_eq!(decide(&over, &order(&[], Some("1"), None)), Ok(vec![0, 0, 0, 1, 2]));
        let nodes = vec![(NodeId(1), "a".into())];
        let (ranks, ended, open) = (vec![0], vec![false], vec![true]);
        let alone = Places { ranks, ended, nodes, open, ..Places::default() };
        let pinned = Places { readers: Stdin::Rank(1), readers_stay: true, ..places() };
        let why = decide(&pinned, &order(&[1], None, Some("1"))).expect_err("it reads");
        assert!(why.contains("standard input"), "{why}");
        assert!(decide(&pinned, &order(&[0], None, Some("1"))).is_ok(), "it does not read");
        assert!(decide(&alone, &order(&[], Some("0"), None)).is_err());
    }

    #[test]
    fn places_travel_as_blocks() {
        let task = MoveTask { number: 1, blocks: blocks(&[0, 0, 2, 0]), births: Vec::new() };
        assert_eq!((task.blocks.len(), task.places().collect::<Vec<_>>()), (3, vec![0, 0, 2, 0]));
    }
}
