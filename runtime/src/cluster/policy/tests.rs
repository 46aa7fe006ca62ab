//! What all policies promise, on scenes made up at random.

use super::*;

fn node(workers: u32, room: u32) -> NodeScene {
    NodeScene { workers, room, limit: Some(room), is_open: true, leaves_in: None }
}

fn rank(rank: u32, node: usize, demand: f64) -> RankScene {
    RankScene { rank, node, demand, memory_bytes: 1 << 20, rests: false }
}

/// Ranks on these nodes that could all compute all the time.
fn scene(nodes: &[(u32, u32)], places: &[usize]) -> Scene {
    Scene {
        nodes: nodes.iter().map(|(workers, room)| node(*workers, *room)).collect(),
        ranks: (0..).zip(places).map(|(number, place)| rank(number, *place, 1.0)).collect(),
        ..Scene::default()
    }
}

fn carry_out(scene: &mut Scene, plan: &Plan) {
    for (number, to) in &plan.moves {
        let rank = scene.ranks.iter_mut().find(|rank| rank.rank == *number).expect("it is there");
        rank.node = *to;
    }
}

fn counts(scene: &Scene) -> Vec<usize> {
    let count = |node| scene.ranks.iter().filter(|rank| rank.node == node).count();
    (0..scene.nodes.len()).map(count).collect()
}

const POLICIES: [MovePolicy; 4] =
    [MovePolicy::None, MovePolicy::Pack, MovePolicy::Compact, MovePolicy::Balance];

#[test]
fn an_uneven_job_becomes_even() {
    let mut job = scene(&[(1, 4), (1, 4)], &[0, 0, 0, 1]);
    let plan = decide(MovePolicy::Balance, &job).expect("it is worth it");
    assert_eq!((plan.moves.len(), plan.moves[0].1), (1, 1));
    assert!(plan.gain_s > plan.cost_s && plan.why.contains("33 %"), "{plan:?}");
    carry_out(&mut job, &plan);
    assert_eq!(decide(MovePolicy::Balance, &job), None);
    let idle = scene(&[(4, 4), (4, 4)], &[0, 0, 0, 1]);
    assert_eq!(decide(MovePolicy::Balance, &idle), None, "each has a worker of its own already");
}

#[test]
fn balance_goes_by_what_ranks_use() {
    let mut job = scene(&[(1, 8), (1, 8)], &[0, 0, 1, 1]);
    job.ranks[2].demand = 0.1;
    job.ranks[3].demand = 0.1;
    let plan = decide(MovePolicy::Balance, &job).expect("two compute on one worker");
    carry_out(&mut job, &plan);
    assert_ne!(job.ranks[0].node, job.ranks[1].node);
    assert_eq!(counts(&job), [2, 2], "the others are spread, too");
}

#[test]
fn balance_over_several_equally_slow_nodes_goes_through() {
    let mut job = scene(&[(1, 9), (1, 9), (1, 9)], &[0, 0, 0, 1, 1, 1]);
    let plan = decide(MovePolicy::Balance, &job).expect("a third of the time");
    carry_out(&mut job, &plan);
    assert_eq!(counts(&job), [2, 2, 2]);
}

#[test]
fn what_talks_much_comes_together_if_there_is_room() {
    let mut job = scene(&[(4, 4), (4, 4)], &[0, 0, 1, 1]);
    job.any_pair = 0.1;
    let plan = decide(MovePolicy::Compact, &job).expect("all wait for all");
    carry_out(&mut job, &plan);
    assert!([vec![4, 0], vec![0, 4]].contains(&counts(&job)));
    let mut full = scene(&[(2, 2), (2, 2)], &[0, 0, 1, 1]);
    full.any_pair = 0.1;
    assert_eq!(decide(MovePolicy::Compact, &full), None);
    let mut pairs = scene(&[(2, 3), (2, 3)], &[0, 1, 0, 1]);
    pairs.pairs = vec![(0, 1, 0.2), (2, 3, 0.2)];
    let plan = decide(MovePolicy::Compact, &pairs).expect("each pair is apart");
    carry_out(&mut pairs, &plan);
    assert!(
        pairs.ranks[0].node == pairs.ranks[1].node || pairs.ranks[2].node == pairs.ranks[3].node
    );
}

#[test]
fn ranks_change_places_where_there_is_no_room() {
    let mut full = scene(&[(2, 2), (2, 2)], &[0, 1, 0, 1]);
    full.pairs = vec![(0, 1, 0.2), (2, 3, 0.2)];
    let plan = decide(MovePolicy::Compact, &full).expect("each pair is apart");
    carry_out(&mut full, &plan);
    assert!(full.ranks[0].node == full.ranks[1].node && full.ranks[2].node == full.ranks[3].node);
    assert_eq!(decide(MovePolicy::Compact, &full), None);
    let mut uneven = scene(&[(1, 9), (1, 9)], &[0, 0, 1, 1]);
    uneven.ranks[2].demand = 0.5;
    uneven.ranks[3].demand = 0.5;
    let plan = decide(MovePolicy::Balance, &uneven).expect("2 to 1 becomes 1.5 to 1.5");
    carry_out(&mut uneven, &plan);
    assert_ne!(uneven.ranks[0].node, uneven.ranks[1].node);
}

#[test]
fn little_talk_is_not_worth_a_move() {
    let mut job = scene(&[(4, 4), (4, 4)], &[0, 0, 1, 1]);
    job.any_pair = 0.001;
    assert_eq!(decide(MovePolicy::Compact, &job), None);
    job.any_pair = 0.1;
    job.ranks.iter_mut().for_each(|rank| rank.memory_bytes = 10 << 30);
    assert_eq!(decide(MovePolicy::Compact, &job), None, "40 s for 17 s");
    job.any_pair = 0.0;
    job.ranks[0].demand = f64::NAN;
    assert_eq!(decide(MovePolicy::Compact, &job), None, "nonsense moves nothing");
}

#[test]
fn packing_empties_the_smallest_nodes() {
    let mut job = scene(&[(4, 4), (4, 4), (4, 4)], &[0, 0, 1, 2, 2, 2]);
    let plan = decide(MovePolicy::Pack, &job).expect("two nodes are enough");
    assert!(plan.why.contains("a node"), "{plan:?}");
    carry_out(&mut job, &plan);
    assert_eq!(counts(&job), [2, 0, 4]);
    assert_eq!(decide(MovePolicy::Pack, &job), None);
    let full = scene(&[(1, 2), (1, 2)], &[0, 0, 1, 1]);
    assert_eq!(decide(MovePolicy::Pack, &full), None);
}

#[test]
fn a_node_that_leaves_is_emptied_whatever_the_policy() {
    for policy in POLICIES {
        let mut job = scene(&[(2, 2), (2, 2), (2, 2)], &[0, 0, 1, 2, 2]);
        job.nodes[2].leaves_in = Some(Duration::from_secs(30));
        job.nodes[0].leaves_in = Some(Duration::from_secs(20));
        job.ranks[0].rests = true;
        let plan = decide(policy, &job).expect("two nodes leave");
        carry_out(&mut job, &plan);
        assert_eq!(counts(&job), [0, 5, 0], "there is no room, but it is better than being lost");
        let mut all = scene(&[(2, 2), (2, 2)], &[0, 1]);
        all.nodes.iter_mut().for_each(|node| node.leaves_in = Some(Duration::ZERO));
        assert_eq!(decide(policy, &all), None, "there is nowhere to go");
    }
}

/// The next number of a sequence that looks random.
fn random(state: &mut u64, below: u32) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 33) as u32) % below
}

fn random_scene(seed: &mut u64) -> Scene {
    let nodes = 1 + random(seed, 5) as usize;
    let mut job = Scene::default();
    for _ in 0..nodes {
        let workers = 1 + random(seed, 4);
        let room = 1 + random(seed, 8);
        let limit = (random(seed, 2) == 0).then_some(room);
        let is_open = random(seed, 6) > 0;
        job.nodes.push(NodeScene { workers, room, limit, is_open, leaves_in: None });
    }
    for number in 0..random(seed, 24) {
        let demand = f64::from(random(seed, 100)) / 100.0;
        let place = random(seed, nodes as u32) as usize;
        let rests = random(seed, 5) == 0;
        job.ranks.push(RankScene { rests, ..rank(number, place, demand) });
    }
    for a in 0..job.ranks.len() {
        for b in a + 1..job.ranks.len() {
            if random(seed, 6) == 0 {
                job.pairs.push((a, b, f64::from(random(seed, 100)) / 500.0));
            }
        }
    }
    job.any_pair = f64::from(random(seed, 10)) / 1000.0;
    job
}

#[test]
fn no_policy_breaks_what_all_promise() {
    for seed in 0..400 {
        for policy in POLICIES {
            let mut state = seed * 7919 + 1;
            let mut job = random_scene(&mut state);
            let mut rounds = 0;
            while let Some(plan) = decide(policy, &job) {
                assert!(
                    plan.gain_s > plan.cost_s && plan.cost_s > 0.0,
                    "seed {seed} {policy:?}: {plan:?}"
                );
                let before = counts(&job);
                let resting: Vec<u32> =
                    job.ranks.iter().filter(|rank| rank.rests).map(|rank| rank.rank).collect();
                carry_out(&mut job, &plan);
                for (number, to) in &plan.moves {
                    assert!(!resting.contains(number), "seed {seed} {policy:?}: {number} rests");
                    assert!(job.nodes[*to].is_open, "seed {seed} {policy:?}: nobody goes to {to}");
                }
                for (node, (now, then)) in counts(&job).into_iter().zip(before).enumerate() {
                    let limit = match policy {
                        MovePolicy::Balance => job.nodes[node].limit.unwrap_or(u32::MAX),
                        _ => job.nodes[node].room,
                    };
                    assert!(
                        now <= then.max(limit as usize),
                        "seed {seed} {policy:?}: too many on {node}"
                    );
                }
                rounds += 1;
                assert!(rounds < 10, "seed {seed} {policy:?}: it never comes to rest");
            }
        }
    }
}

#[test]
fn nobody_goes_back_and_forth() {
    for seed in 0..400 {
        for policy in POLICIES {
            let mut state = seed * 104_729 + 5;
            let mut job = random_scene(&mut state);
            let mut seen = vec![job.ranks.iter().map(|rank| rank.node).collect::<Vec<_>>()];
            while let Some(plan) = decide(policy, &job) {
                carry_out(&mut job, &plan);
                let places: Vec<usize> = job.ranks.iter().map(|rank| rank.node).collect();
                assert!(!seen.contains(&places), "seed {seed} {policy:?}: the same again");
                seen.push(places);
            }
        }
    }
}
