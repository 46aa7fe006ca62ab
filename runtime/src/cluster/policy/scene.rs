//! What policies look at, from what nodes tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{NodeScene, RankScene, Scene};
use crate::job::{Activity, JobStatus, RankLoad};

/// What a message between nodes makes its receiver wait for.
const MESSAGE_S: f64 = 50e-6;
/// What a link carries in a second.
const LINK_BYTES_PER_S: f64 = 1e9;
/// Messages are no shorter on the average where their number is not known.
const MESSAGE_BYTES_MIN: f64 = 64.0;

/// When ranks moved last.
#[derive(Debug, Default)]
pub(crate) struct History {
    moved: BTreeMap<u32, Instant>,
}

impl History {
    /// Ranks have moved.
    pub(crate) fn add(&mut self, ranks: impl Iterator<Item = u32>, now: Instant) {
        self.moved.extend(ranks.map(|rank| (rank, now)));
    }

    fn rests(&self, rank: u32, rest: Duration, now: Instant) -> bool {
        self.moved.get(&rank).is_some_and(|moved| now.saturating_duration_since(*moved) < rest)
    }
}

/// A job between two answers of its nodes; ranks that moved less than `rest` ago are to stay where they are.
pub(crate) fn scene(
    (before, now): (&JobStatus, &JobStatus),
    (history, rest, at): (&History, Duration, Instant),
) -> Scene {
    let interval_s = now.elapsed_us.saturating_sub(before.elapsed_us) as f64 / 1e6;
    let lives = |rank: &&RankLoad| rank.activity != Activity::Ended;
    let known: BTreeMap<u32, &RankLoad> =
        before.ranks.iter().map(|rank| (rank.rank, rank)).collect();
    let ranks: Vec<&RankLoad> = now
        .ranks
        .iter()
        .filter(lives)
        .filter(|rank| (rank.node as usize) < now.nodes.len())
        .collect();
    let rate = |now: u64, before: Option<u64>| {
        let grown = now.checked_sub(before.unwrap_or(0)).unwrap_or(now);
        if interval_s > 0.0 { grown as f64 / interval_s } else { 0.0 }
    };
    let bound: BTreeSet<u32> = now.bonds.iter().flatten().copied().collect();
    let described = |rank: &&RankLoad| {
        let before = known.get(&rank.rank);
        let ready = rate(rank.ready_us, before.map(|rank| rank.ready_us)) / 1e6;
        let busy = rate(rank.busy_us, before.map(|rank| rank.busy_us)) / 1e6;
        RankScene {
            rank: rank.rank,
            node: rank.node as usize,
            demand: demand(busy, ready),
            memory_bytes: rank.memory_bytes,
            // Those that share memory would have to go together.
            rests: bound.contains(&rank.rank) || history.rests(rank.rank, rest, at),
        }
    };
    let mut scene = Scene { nodes: nodes(now, ranks.len()), ..Scene::default() };
    scene.ranks = ranks.iter().map(described).collect();
    // What ranks send to each other, and what the links carry, in seconds of waiting for each second.
    let index: BTreeMap<u32, usize> =
        ranks.iter().enumerate().map(|(index, rank)| (rank.rank, index)).collect();
    let mut pairs: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    // Messages and bytes over the links, less those whose ranks are known.
    let mut unknown = (0.0, 0.0);
    for (from, rank) in ranks.iter().enumerate() {
        let before = known.get(&rank.rank);
        let earlier: BTreeMap<u32, u64> =
            before.map(|rank| rank.partners.iter().copied().collect()).unwrap_or_default();
        let each = (rank.bytes as f64 / rank.messages.max(1) as f64).max(MESSAGE_BYTES_MIN);
        for (partner, bytes) in &rank.partners {
            let Some(to) = index.get(partner).copied().filter(|to| *to != from) else { continue };
            let bytes = rate(*bytes, earlier.get(partner).copied());
            let messages = bytes / each;
            if bytes > 0.0 {
                // One rank of all waits for it.
                let waiting = seconds(messages, bytes, ranks.len());
                *pairs.entry((from.min(to), from.max(to))).or_default() += waiting;
            }
            if ranks[to].node != rank.node {
                unknown = (unknown.0 - messages, unknown.1 - bytes);
            }
        }
    }
    scene.pairs = pairs.into_iter().map(|((a, b), seconds)| (a, b, seconds)).collect();
    for (node, load) in now.nodes.iter().enumerate() {
        let earlier = before.nodes.get(node).map(|load| load.sent.as_slice()).unwrap_or_default();
        for (to, (messages, bytes)) in load.sent.iter().enumerate().filter(|(to, _)| *to != node) {
            let before = earlier.get(to).copied();
            let messages = rate(*messages, before.map(|(messages, _)| messages));
            let bytes = rate(*bytes, before.map(|(_, bytes)| bytes));
            unknown = (unknown.0 + messages, unknown.1 + bytes);
        }
    }
    // The rest are collective operations, for each of which all ranks of a node wait. Who needs whom is not known:
    // everybody everybody.
    let waiting = seconds(unknown.0.max(0.0), unknown.1.max(0.0), scene.nodes.len());
    scene.any_pair = waiting / pairs_apart(&scene).max(1.0);
    scene
}

/// How many workers a rank could keep busy that was busy and ready for such parts of the time. What it was ready for
/// without being busy it waited for a worker: it would have computed then as it did otherwise, more or less often.
fn demand(busy: f64, ready: f64) -> f64 {
    let (queued, waited) = ((ready - busy).max(0.0), (1.0 - ready).max(0.0));
    if busy > 0.0 { busy + queued * busy / (busy + waited) } else { 0.0 }
}

/// How long each waits, of so many, for messages between nodes.
fn seconds(messages: f64, bytes: f64, waiters: usize) -> f64 {
    messages * MESSAGE_S / waiters.max(1) as f64 + bytes / LINK_BYTES_PER_S
}

/// Pairs of ranks on different nodes.
fn pairs_apart(scene: &Scene) -> f64 {
    let mut counts = vec![0.0; scene.nodes.len()];
    scene.ranks.iter().for_each(|rank| counts[rank.node] += 1.0);
    let (all, together) =
        (scene.ranks.len() as f64, counts.iter().map(|n: &f64| n * n).sum::<f64>());
    (all * all - together) / 2.0
}

/// The nodes, with room in proportion to their slots, or workers where they name none, as much as all ranks need.
fn nodes(status: &JobStatus, ranks: usize) -> Vec<NodeScene> {
    let stays = |node: &&crate::job::NodeLoad| node.is_open && node.leaves_in_ms.is_none();
    let slots = |node: &crate::job::NodeLoad| node.slots.unwrap_or(node.workers).max(1);
    let all: u64 = status.nodes.iter().filter(stays).map(|node| u64::from(slots(node))).sum();
    // Where ranks are more than slots, each slot counts for as many.
    let times = (ranks as u64).div_ceil(all.max(1)).clamp(1, u64::from(u32::MAX));
    let node = |node: &crate::job::NodeLoad| NodeScene {
        workers: node.workers,
        room: slots(node).saturating_mul(times as u32),
        limit: node.slots.map(|slots| slots.max(1).saturating_mul(times as u32)),
        is_open: node.is_open && node.answers,
        leaves_in: node.leaves_in_ms.map(Duration::from_millis),
    };
    status.nodes.iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::NodeLoad;

    #[test]
    fn who_waits_for_a_worker_wants_one() {
        let near = |busy, ready, expected: f64| (demand(busy, ready) - expected).abs() < 0.01;
        assert!(near(0.33, 1.0, 1.0), "a third of a worker is all it got");
        assert!(near(0.5, 0.5, 0.5), "it has a worker when it wants one");
        assert!(near(0.05, 0.7, 0.14), "it waits for others more than it computes");
        assert!(near(0.0, 0.9, 0.0) && near(2.0, 2.0, 2.0), "it may have threads");
    }

    #[test]
    fn rates_become_a_scene() {
        let node = |slots, sent| NodeLoad {
            workers: 2,
            slots,
            answers: true,
            is_open: true,
            sent,
            ..NodeLoad::default()
        };
        let rank = |rank, node, ready_us, partners| RankLoad {
            rank,
            node,
            activity: Activity::Running,
            ready_us,
            busy_us: ready_us,
            messages: 10,
            bytes: 10_000,
            partners,
            ..RankLoad::default()
        };
        let quiet = vec![(0, 0); 2];
        let before = JobStatus {
            nodes: vec![node(None, quiet.clone()), node(Some(1), quiet.clone())],
            ranks: vec![rank(0, 0, 100_000, vec![]), rank(1, 1, 0, vec![]), rank(2, 1, 0, vec![])],
            ..JobStatus::default()
        };
        let sent = vec![(0, 0), (10_000, 100_000_000)];
        let mut now = JobStatus {
            elapsed_us: 2_000_000,
            nodes: vec![node(None, sent), node(Some(1), quiet)],
            ranks: vec![
                rank(0, 0, 1_100_000, vec![(1, 1_000_000), (7, 5)]),
                rank(1, 1, 2_000_000, vec![(2, 2_000_000)]),
                rank(2, 1, 0, vec![]),
            ],
            ..JobStatus::default()
        };
        let mut history = History::default();
        let at = Instant::now();
        history.add([1].into_iter(), at);
        let rest = Duration::from_secs(30);
        let made = scene((&before, &now), (&history, rest, at));
        assert_eq!(made.ranks.iter().map(|rank| rank.demand).collect::<Vec<_>>(), [0.5, 1.0, 0.0]);
        assert_eq!(
            made.ranks.iter().map(|rank| rank.rests).collect::<Vec<_>>(),
            [false, true, false]
        );
        assert_eq!(made.nodes.iter().map(|node| node.room).collect::<Vec<_>>(), [2, 1]);
        let pairs: Vec<_> = made.pairs.iter().map(|(a, b, _)| (*a, *b)).collect();
        assert_eq!(pairs, [(0, 1), (1, 2)]);
        // 5,000 messages and 50 MB a second over the link; two pairs of ranks are apart.
        let unknown = (5_000.0 - 500.0) * MESSAGE_S / 2.0 + 0.05 - 0.0005;
        assert!((made.any_pair - unknown / 2.0).abs() < 1e-9, "{made:?}");
        assert!((made.pairs[0].2 - (500.0 * MESSAGE_S / 3.0 + 0.0005)).abs() < 1e-9, "{made:?}");
        let later = scene((&before, &now), (&history, rest, at + rest));
        assert!(!later.ranks[1].rests, "it has rested enough");
        now.bonds = vec![vec![0, 2]];
        let bound = scene((&before, &now), (&history, rest, at + rest));
        let rests: Vec<_> = bound.ranks.iter().map(|rank| rank.rests).collect();
        assert_eq!(rests, [true, false, true], "who shares memory stays");
        now.ranks[1].activity = Activity::Ended;
        let made = scene((&before, &now), (&history, rest, at));
        assert_eq!(made.ranks.len(), 2);
    }
}
