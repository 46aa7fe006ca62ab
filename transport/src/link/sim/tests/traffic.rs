//! The random traffic of one seed, and the judge of what arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{Faults, SimNetwork};
use crate::{
    Endpoint, Envelope, Event, Handler, Lane, LostReason, NodeId, Payload,
    config::{Limits, Timing},
    random::Random,
};

/// Rounds of commands of one seed.
const ROUNDS: usize = 60;
/// After the faults end everything has to have arrived within this time.
const SETTLE: Duration = Duration::from_secs(60);

/// What happened in a run, or in many.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Totals {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) left: u64,
    /// Connections that were broken under traffic.
    pub(super) resumed: u64,
    /// Peers that were added again after they were lost.
    pub(super) anew: u64,
    /// Processes that ended and came again.
    pub(super) restarted: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.left += other.left;
        self.resumed += other.resumed;
        self.anew += other.anew;
        self.restarted += other.restarted;
    }
}

/// One seed's network, nodes and commands.
pub(super) struct Traffic {
    random: Random,
    network: SimNetwork,
    timing: Timing,
    faults: Faults,
    nodes: BTreeMap<NodeId, Endpoint>,
    judge: Arc<Mutex<Judge>>,
    /// Pairs that nothing passes between, the smaller name first.
    cut: Vec<(NodeId, NodeId)>,
}

/// What was sent and what has arrived.
#[derive(Default)]
struct Judge {
    totals: Totals,
    /// How often the first has added the second.
    added: BTreeMap<(NodeId, NodeId), u32>,
    /// What the first has sent to the second in a lane since it was added.
    sent: BTreeMap<(NodeId, NodeId, Lane), u64>,
    /// What the second has received of it: the sender's count of adding, and of messages.
    received: BTreeMap<(NodeId, NodeId, Lane), (u32, u64)>,
    /// How the first sees the second.
    views: BTreeMap<(NodeId, NodeId), View>,
    /// The first has met the second since it added it.
    met: BTreeSet<(NodeId, NodeId)>,
    /// Pairs that were cut, or of which one was killed, at any time.
    excused: Vec<(NodeId, NodeId)>,
}

#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum View {
    Added,
    Up,
    Lost,
    Left,
}

struct Ear {
    node: NodeId,
    judge: Arc<Mutex<Judge>>,
}

impl Traffic {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let timing = Timing::default();
        let faults = faults(&mut random);
        let limits = Limits {
            unacknowledged_bytes_max: 1 << (10 + random.below(8)),
            drained_bytes: 1 << (9 + random.below(6)),
        };
        let network = SimNetwork::with_settings(random.next(), faults, timing, limits);
        let judge = Arc::new(Mutex::new(Judge::default()));
        let nodes = (0..2 + random.below(4) as u32).map(NodeId);
        let nodes = nodes.map(|node| {
            let ear = Arc::new(Ear { node, judge: judge.clone() });
            (node, Endpoint::sim(&network, node, ear).expect("a free name"))
        });
        let nodes = nodes.collect();
        Self { random, network, timing, faults, nodes, judge, cut: Vec::new() }
    }

    pub(super) fn run(mut self) -> Totals {
        let names: Vec<NodeId> = self.nodes.keys().copied().collect();
        for (a, b) in pairs(&names) {
            self.add(a, b);
            // The other side often comes later.
            self.network.run_for(Duration::from_millis(self.random.below(100) as u64));
            self.add(b, a);
        }
        for _ in 0..ROUNDS {
            self.command();
            self.network.run_for(Duration::from_micros(1 << self.random.below(18)));
            self.network.check_invariants();
        }
        if self.random.chance(30) {
            self.kill_one();
        }
        self.settle();
        let judge = self.judge.lock();
        judge.totals
    }

    fn command(&mut self) {
        let names: Vec<NodeId> = self.nodes.keys().copied().collect();
        let a = names[self.random.below(names.len())];
        let b = names[self.random.below(names.len())];
        if a == b {
            return;
        }
        match self.random.below(100) {
            0..80 => self.send_some(a, b),
            80..86 => self.reset(a, b),
            86..90 => self.cut(a, b),
            90..94 => self.heal_all(),
            94..96 => self.wait_long(),
            96..98 => self.add_lost_again(),
            98 => self.restart(a),
            _ => self.remove(a, b),
        }
    }

    fn send_some(&mut self, a: NodeId, b: NodeId) {
        let lane = Lane::ALL[self.random.below(3)];
        for _ in 0..1 + self.random.below(20) {
            let bytes = match self.random.below(10) {
                0 => self.random.below(20_000),
                _ => self.random.below(200),
            };
            self.send(a, b, lane, bytes);
        }
    }

    fn send(&mut self, a: NodeId, b: NodeId, lane: Lane, bytes: usize) {
        let mut judge = self.judge.lock();
        if !judge.is_open(a, b) {
            return;
        }
        let added = judge.added[&(a, b)];
        let number = judge.sent.entry((a, b, lane)).or_default();
        let envelope =
            Envelope { to: b.0, from: a.0, addr: *number, request: added, ..Envelope::default() };
        *number += 1;
        drop(judge);
        self.nodes[&a].send(b, lane, &envelope, &vec![(envelope.addr + 7) as u8; bytes]);
    }

    fn reset(&mut self, a: NodeId, b: NodeId) {
        self.network.reset(a, b);
        self.judge.lock().totals.resumed += 1;
    }

    fn cut(&mut self, a: NodeId, b: NodeId) {
        let pair = (a.min(b), a.max(b));
        self.network.cut(a, b);
        self.cut.push(pair);
        self.judge.lock().excused.push(pair);
    }

    fn heal_all(&mut self) {
        for (a, b) in self.cut.drain(..) {
            self.network.heal(a, b);
        }
    }

    fn wait_long(&mut self) {
        let millis = self.random.below(8000) as u64;
        self.network.run_for(Duration::from_millis(millis));
    }

    fn remove(&mut self, a: NodeId, b: NodeId) {
        let mut judge = self.judge.lock();
        if judge.is_open(a, b) {
            judge.views.insert((a, b), View::Left);
            drop(judge);
            self.nodes[&a].remove_peer(b);
        }
    }

    /// A process ends, and another one takes its name at once.
    fn restart(&mut self, victim: NodeId) {
        self.network.kill(victim);
        let mut judge = self.judge.lock();
        judge.totals.restarted += 1;
        for name in self.nodes.keys() {
            judge.excused.push((victim.min(*name), victim.max(*name)));
        }
        // Nothing that was sent to the old process may come to the new one; what never found the
        // old one may.
        let knew = |name: &&NodeId| judge.met.contains(&(**name, victim));
        let knew: Vec<NodeId> = self.nodes.keys().filter(knew).copied().collect();
        for (name, lane) in knew.into_iter().flat_map(|name| Lane::ALL.map(|lane| (name, lane))) {
            let added = judge.added.get(&(name, victim)).copied().unwrap_or_default();
            judge.received.insert((name, victim, lane), (added, u64::MAX));
        }
        drop(judge);
        let ear = Arc::new(Ear { node: victim, judge: self.judge.clone() });
        let endpoint = Endpoint::sim(&self.network, victim, ear).expect("the name is free again");
        let others: Vec<NodeId> =
            self.nodes.keys().copied().filter(|name| *name != victim).collect();
        self.nodes.insert(victim, endpoint);
        others.into_iter().for_each(|other| self.add(victim, other));
    }

    /// Peers that were lost are added again, on both sides.
    fn add_lost_again(&mut self) {
        let names: Vec<NodeId> = self.nodes.keys().copied().collect();
        for (a, b) in pairs(&names) {
            for (a, b) in [(a, b), (b, a)] {
                if self.judge.lock().views.get(&(a, b)) == Some(&View::Lost) {
                    self.judge.lock().totals.anew += 1;
                    self.add(a, b);
                }
            }
        }
    }

    fn add(&mut self, a: NodeId, b: NodeId) {
        let mut judge = self.judge.lock();
        *judge.added.entry((a, b)).or_default() += 1;
        judge.views.insert((a, b), View::Added);
        judge.met.remove(&(a, b));
        judge.sent.retain(|(from, to, _), _| (*from, *to) != (a, b));
        drop(judge);
        self.nodes[&a].add_peer(b, &[]);
    }

    /// Kills a node while messages fly; those that had it up notice in time.
    fn kill_one(&mut self) {
        let names: Vec<NodeId> = self.nodes.keys().copied().collect();
        let victim = names[self.random.below(names.len())];
        names.iter().filter(|name| **name != victim).for_each(|name| self.send_some(*name, victim));
        self.network.kill(victim);
        self.nodes.remove(&victim);
        let mut judge = self.judge.lock();
        for name in &names {
            judge.excused.push((victim.min(*name), victim.max(*name)));
        }
        drop(judge);
        let margin = self.faults.delay_bound() + Duration::from_millis(1);
        self.network.run_for(self.timing.lost_after + margin);
        let judge = self.judge.lock();
        for name in self.nodes.keys() {
            let view = judge.views[&(*name, victim)];
            assert!(matches!(view, View::Lost | View::Left), "{name} sees {victim} as {view:?}");
        }
    }

    /// The faults end; then everything has to arrive, and all of it once.
    fn settle(&mut self) {
        self.heal_all();
        self.network.set_faults(Faults {
            drop_percent: 0,
            duplicate_percent: 0,
            reorder_percent: 0,
            ..self.faults
        });
        // Whoever is given up by one side only finds it out meanwhile.
        self.network.run_for(2 * self.timing.lost_after);
        let end = self.network.elapsed() + SETTLE;
        while self.network.elapsed() < end && !self.is_settled() {
            self.network.run_for(Duration::from_millis(100));
            self.network.check_invariants();
        }
        let judge = self.judge.lock();
        for (a, b) in judge.open_pairs(&self.nodes) {
            for lane in Lane::ALL {
                let arrived = judge.arrived(a, b, lane);
                let sent = judge.sent.get(&(a, b, lane)).copied().unwrap_or(0);
                assert_eq!(arrived, sent, "{a} to {b}, {lane:?}: stuck");
                assert_eq!(self.nodes[&a].backlog_bytes(b, lane), 0, "{a} to {b}, {lane:?}");
            }
        }
    }

    fn is_settled(&self) -> bool {
        let judge = self.judge.lock();
        judge.open_pairs(&self.nodes).into_iter().all(|(a, b)| {
            Lane::ALL.into_iter().all(|lane| self.nodes[&a].backlog_bytes(b, lane) == 0)
        })
    }
}

impl Judge {
    /// Whether the first still sends to the second.
    fn is_open(&self, a: NodeId, b: NodeId) -> bool {
        matches!(self.views.get(&(a, b)), Some(View::Added | View::Up))
    }

    /// Live pairs that see each other.
    fn open_pairs(&self, nodes: &BTreeMap<NodeId, Endpoint>) -> Vec<(NodeId, NodeId)> {
        let names: Vec<NodeId> = nodes.keys().copied().collect();
        let both = |(a, b): &(NodeId, NodeId)| self.is_open(*a, *b) && self.is_open(*b, *a);
        pairs(&names).into_iter().filter(both).flat_map(|(a, b)| [(a, b), (b, a)]).collect()
    }

    fn arrived(&self, a: NodeId, b: NodeId, lane: Lane) -> u64 {
        let (added, count) = self.received.get(&(a, b, lane)).copied().unwrap_or_default();
        if added == self.added[&(a, b)] { count } else { 0 }
    }
}

impl Handler for Ear {
    fn message(&self, from: NodeId, lane: Lane, envelope: &Envelope, payload: Payload<'_>) {
        let mut judge = self.judge.lock();
        assert_eq!((envelope.from, envelope.to), (from.0, self.node.0));
        assert!(payload.iter().all(|byte| *byte == (envelope.addr + 7) as u8));
        let view = judge.views[&(self.node, from)];
        assert!(matches!(view, View::Up | View::Left), "a message of {from}, which is {view:?}");
        let (added, count) = judge.received.entry((from, self.node, lane)).or_default();
        if envelope.request != *added {
            assert!(envelope.request > *added, "a message of an earlier life of {from}");
            (*added, *count) = (envelope.request, 0);
        }
        assert_eq!(envelope.addr, *count, "{from} to {}, {lane:?}", self.node);
        *count += 1;
        judge.totals.delivered += 1;
    }

    fn event(&self, event: Event) {
        let mut judge = self.judge.lock();
        match event {
            Event::PeerUp(peer) => {
                judge.met.insert((self.node, peer));
                let view = judge.views.insert((self.node, peer), View::Up);
                assert!(matches!(view, Some(View::Added | View::Left)), "{view:?}");
                if view == Some(View::Left) {
                    judge.views.insert((self.node, peer), View::Left);
                }
            }
            Event::PeerLeft(peer) => {
                judge.totals.left += 1;
                let view = judge.views.insert((self.node, peer), View::Left);
                assert_eq!(view, Some(View::Up));
                for lane in Lane::ALL {
                    let sent = judge.sent.get(&(peer, self.node, lane)).copied().unwrap_or(0);
                    assert_eq!(judge.arrived(peer, self.node, lane), sent, "{peer} left {lane:?}");
                }
            }
            Event::PeerLost { node: peer, reason } => {
                judge.totals.lost += 1;
                let view = judge.views.insert((self.node, peer), View::Lost);
                assert!(matches!(view, Some(View::Added | View::Up)), "{view:?} lost: {reason}");
                let pair = (peer.min(self.node), peer.max(self.node));
                let has_left = judge.views.get(&(peer, self.node)) == Some(&View::Left);
                let is_excused = judge.excused.contains(&pair) || has_left;
                assert!(is_excused, "{} lost {peer}: {reason}", self.node);
                assert_ne!(reason, LostReason::Ended);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn pairs(names: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let all = names.iter().flat_map(|a| names.iter().map(|b| (*a, *b)));
    all.filter(|(a, b)| a < b).collect()
}

fn faults(random: &mut Random) -> Faults {
    let delay_min = Duration::from_micros(10 << random.below(8));
    Faults {
        delay_min,
        delay_max: delay_min * (1 + random.below(10) as u32),
        drop_percent: random.below(4),
        duplicate_percent: random.below(10),
        reorder_percent: random.below(4),
        are_streams: random.chance(50),
    }
}
