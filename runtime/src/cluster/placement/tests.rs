//! Placement by example, against mpirun's rules, and by properties over many random jobs.

use super::*;

fn slots(slots: &[u32]) -> Vec<NodeSlots> {
    let node = |(index, slots): (usize, &u32)| NodeSlots {
        slots: Some(*slots),
        ..NodeSlots::unlimited(format!("n{index}"), 2)
    };
    slots.iter().enumerate().map(node).collect()
}

fn unlimited(nodes: usize) -> Vec<NodeSlots> {
    (0..nodes).map(|node| NodeSlots::unlimited(format!("n{node}"), 2)).collect()
}

fn ranks(ranks: u32) -> AppDemand {
    AppDemand { ranks: Some(ranks), ranks_per_node: None }
}

fn per_node(per_node: u32, ranks: Option<u32>) -> AppDemand {
    AppDemand { ranks, ranks_per_node: Some(per_node) }
}

fn by(map_by: MapBy) -> PlacementRules {
    PlacementRules { map_by, ..Default::default() }
}

fn crowded(map_by: MapBy) -> PlacementRules {
    PlacementRules { oversubscribe: Some(true), ..by(map_by) }
}

fn nodes_of(apps: &[AppDemand], nodes: &[NodeSlots], rules: &PlacementRules) -> Vec<u32> {
    place(apps, nodes, rules).expect("it fits").node_of_rank
}

#[test]
fn slots_are_filled_node_after_node() {
    let rules = by(MapBy::Slot);
    assert_eq!(nodes_of(&[ranks(4)], &slots(&[2, 4]), &rules), [0, 0, 1, 1]);
    assert_eq!(nodes_of(&[ranks(2)], &slots(&[2, 4]), &rules), [0, 0]);
    assert_eq!(nodes_of(&[AppDemand::default()], &slots(&[1, 2]), &rules), [0, 1, 1]);
}

#[test]
fn round_the_nodes() {
    let rules = by(MapBy::Node);
    assert_eq!(nodes_of(&[ranks(5)], &slots(&[4, 4]), &rules), [0, 1, 0, 1, 0]);
    assert_eq!(nodes_of(&[ranks(5)], &slots(&[1, 4]), &rules), [0, 1, 1, 1, 1]);
    let blocks = PlacementRules { rank_by: Some(RankBy::Slot), ..by(MapBy::Node) };
    assert_eq!(nodes_of(&[ranks(4)], &slots(&[4, 4]), &blocks), [0, 0, 1, 1]);
    let dealt = PlacementRules { rank_by: Some(RankBy::Node), ..by(MapBy::Slot) };
    assert_eq!(nodes_of(&[ranks(5)], &slots(&[3, 4]), &dealt), [0, 1, 0, 1, 0]);
}

#[test]
fn without_slots_each_node_has_its_share() {
    let rules = by(MapBy::Slot);
    assert_eq!(nodes_of(&[ranks(7)], &unlimited(3), &rules), [0, 0, 0, 1, 1, 2, 2]);
    assert_eq!(nodes_of(&[ranks(64)], &unlimited(4), &rules)[47..49], [2, 3]);
    assert_eq!(nodes_of(&[AppDemand::default()], &unlimited(2), &rules), [0, 0, 1, 1]);
    let mut uneven = unlimited(2);
    uneven[1].weight = 2;
    assert_eq!(nodes_of(&[ranks(6)], &uneven, &rules), [0, 0, 1, 1, 1, 1]);
    uneven[1].slots_max = Some(2);
    assert_eq!(nodes_of(&[ranks(6)], &uneven, &rules), [0, 0, 0, 0, 1, 1]);
    // One node with slots makes the cores of the others theirs.
    let mut mixed = unlimited(2);
    mixed[0].slots = Some(1);
    assert_eq!(nodes_of(&[ranks(3)], &mixed, &rules), [0, 1, 1]);
    assert!(place(&[ranks(4)], &mixed, &rules).is_err());
}

#[test]
fn so_many_on_each_node() {
    let rules = by(MapBy::Slot);
    assert_eq!(nodes_of(&[per_node(2, None)], &slots(&[4, 4]), &rules), [0, 0, 1, 1]);
    assert_eq!(nodes_of(&[per_node(2, Some(3))], &slots(&[4, 4]), &rules), [0, 0, 1]);
    assert_eq!(nodes_of(&[per_node(3, None)], &unlimited(2), &rules), [0, 0, 0, 1, 1, 1]);
    assert_eq!(
        nodes_of(&[per_node(2, None)], &slots(&[1, 1]), &crowded(MapBy::Slot)),
        [0, 0, 1, 1]
    );
    assert!(matches!(
        place(&[per_node(2, Some(5))], &slots(&[4, 4]), &rules),
        Err(PlacementError::PerNode { asked: 5, per_node: 2, nodes: 2, available: 4 })
    ));
    assert!(matches!(
        place(&[per_node(2, None)], &slots(&[4, 1]), &rules),
        Err(PlacementError::NotEnoughSlots { asked: 4, available: 5, .. })
    ));
}

#[test]
fn later_programs_get_what_is_left() {
    let placement = place(&[ranks(1), ranks(3)], &slots(&[2, 2]), &by(MapBy::Slot)).expect("fits");
    assert_eq!(placement.node_of_rank, [0, 0, 1, 1]);
    assert_eq!(placement.ranks_of_app, [1, 3]);
    let spread = nodes_of(&[ranks(1), ranks(3)], &slots(&[2, 2]), &by(MapBy::Node));
    assert_eq!(spread, [0, 1, 0, 1]);
    let rest = place(&[ranks(1), AppDemand::default()], &slots(&[2, 2]), &by(MapBy::Slot));
    assert_eq!(rest.expect("fits").ranks_of_app, [1, 3]);
}

#[test]
fn too_many_ranks_are_an_error_that_says_what_to_do() {
    let error = place(&[ranks(5)], &slots(&[2, 2]), &by(MapBy::Slot)).expect_err("4 slots");
    let text = error.to_string();
    for part in ["5 ranks", "4 slots", "n0: 2, n1: 2", "--oversubscribe", "-n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(nodes_of(&[ranks(6)], &slots(&[2, 2]), &crowded(MapBy::Slot)), [0, 0, 0, 1, 1, 1]);
    let mut nodes = slots(&[2, 2]);
    nodes[1].slots_max = Some(3);
    assert_eq!(nodes_of(&[ranks(6)], &nodes, &crowded(MapBy::Slot)), [0, 0, 0, 1, 1, 1]);
    nodes[0].slots_max = Some(2);
    let text = place(&[ranks(6)], &nodes, &crowded(MapBy::Slot)).expect_err("max 5").to_string();
    for part in ["6 ranks", "allow 5", "n0: 2, n1: 3", "does not go beyond"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let strict = PlacementRules { oversubscribe: Some(false), ..by(MapBy::Slot) };
    assert!(place(&[ranks(5)], &unlimited(2), &strict).is_err(), "one rank a core");
    assert_eq!(place(&[ranks(1)], &[], &strict), Err(PlacementError::NoNodes));
    let text = place(&[ranks(2_000)], &slots(&[1; 30]), &strict).expect_err("30").to_string();
    assert!(text.contains("and 22 more") && text.len() < 400, "{text}");
    let error = place(&[ranks(u32::MAX)], &unlimited(1), &by(MapBy::Slot)).expect_err("too many");
    assert!(matches!(error, PlacementError::TooManyRanks { .. }), "{error}");
}

/// A small generator, so that failures can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

fn count(node_of_rank: &[u32], nodes: usize) -> Vec<u32> {
    let mut counts = vec![0; nodes];
    node_of_rank.iter().for_each(|node| counts[*node as usize] += 1);
    counts
}

#[test]
fn every_rank_has_one_place_within_the_limits() {
    for seed in 0..3_000 {
        let mut random = Random(seed);
        let sizes: Vec<u32> = (0..=random.below(6)).map(|_| 1 + random.below(6)).collect();
        let mut nodes = slots(&sizes);
        for node in &mut nodes {
            let slots_max = node.slots.unwrap_or(0) + random.below(4);
            node.slots_max = (random.below(2) == 0).then_some(slots_max);
        }
        let total: u32 = sizes.iter().sum();
        let apps: Vec<AppDemand> =
            (0..=random.below(3)).map(|_| ranks(1 + random.below(total))).collect();
        let asked: u32 = apps.iter().filter_map(|app| app.ranks).sum();
        let edges = (0..asked).map(|rank| (rank, random.below(asked), 1)).collect();
        let map_by = [MapBy::Slot, MapBy::Node, MapBy::Locality(Topology::Edges(edges))];
        let rules = PlacementRules {
            map_by: map_by[random.below(3) as usize].clone(),
            rank_by: [None, Some(RankBy::Node), Some(RankBy::Slot)][random.below(3) as usize],
            oversubscribe: [None, Some(true), Some(false)][random.below(3) as usize],
        };
        let case = format!("seed {seed}: {apps:?} on {nodes:?} by {rules:?}");
        let limit = |node: &NodeSlots| match rules.oversubscribe {
            Some(true) => node.slots_max.unwrap_or(u32::MAX),
            _ => node.slots.unwrap_or(0),
        };
        let room: u64 = nodes.iter().map(|node| u64::from(limit(node))).sum();
        match place(&apps, &nodes, &rules) {
            Err(error) => assert!(u64::from(asked) > room, "{case}: {error}"),
            Ok(placement) => {
                assert_eq!(placement.node_of_rank.len(), asked as usize, "{case}");
                let wanted: Vec<u32> = apps.iter().filter_map(|app| app.ranks).collect();
                assert_eq!(placement.ranks_of_app, wanted, "{case}");
                let counts = count(&placement.node_of_rank, nodes.len());
                for (node, count) in nodes.iter().zip(&counts) {
                    assert!(*count <= limit(node), "{case}: {counts:?}");
                }
                assert_eq!(place(&apps, &nodes, &rules).as_ref(), Ok(&placement), "{case}");
            }
        }
    }
}

#[test]
fn packing_uses_few_nodes_and_spreading_is_even() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let size = 1 + random.below(8);
        let nodes = slots(&vec![size; 1 + random.below(8) as usize]);
        let asked = 1 + random.below(size * nodes.len() as u32);
        let packed = count(&nodes_of(&[ranks(asked)], &nodes, &by(MapBy::Slot)), nodes.len());
        let used = packed.iter().filter(|count| **count > 0).count() as u32;
        assert_eq!(used, asked.div_ceil(size), "{asked} ranks, {size} slots: {packed:?}");
        for nodes in [&nodes, &unlimited(nodes.len())] {
            let spread = count(&nodes_of(&[ranks(asked)], nodes, &by(MapBy::Node)), nodes.len());
            let (min, max) = (spread.iter().min(), spread.iter().max());
            assert!(max.zip(min).is_some_and(|(max, min)| max - min <= 1), "{spread:?}");
        }
    }
}

/// Edges of a grid between nodes, counted without the code under test.
fn grid_cut(dims: [u32; 2], node_of_rank: &[u32]) -> usize {
    let [rows, columns] = dims;
    let node = |row: u32, column: u32| node_of_rank[(row * columns + column) as usize];
    let down = (1..rows).flat_map(|row| (0..columns).map(move |column| (row, column, 1, 0)));
    let right = (0..rows).flat_map(|row| (1..columns).map(move |column| (row, column, 0, 1)));
    down.chain(right)
        .filter(|(row, column, up, left)| node(*row, *column) != node(row - up, column - left))
        .count()
}

fn grid(dims: &[u32], periodic: bool) -> PlacementRules {
    by(MapBy::Locality(Topology::Grid { dims: dims.to_vec(), periodic }))
}

#[test]
fn a_grid_is_cut_into_boxes() {
    for (dims, nodes, optimum) in [
        ([8, 8], unlimited(4), 16),
        ([8, 8], unlimited(2), 8),
        ([16, 4], unlimited(4), 12),
        ([12, 12], unlimited(9), 48),
        ([12, 12], unlimited(6), 36),
        ([4, 4], slots(&[8, 4, 4]), 6),
    ] {
        let asked = dims[0] * dims[1];
        let found = nodes_of(&[ranks(asked)], &nodes, &grid(&dims, false));
        let blocks = nodes_of(&[ranks(asked)], &nodes, &by(MapBy::Slot));
        assert_eq!(count(&found, nodes.len()), count(&blocks, nodes.len()));
        let cut = grid_cut(dims, &found);
        assert!(cut <= optimum && cut <= grid_cut(dims, &blocks), "{dims:?}: {cut} of {optimum}");
    }
    let error = place(&[ranks(9)], &unlimited(2), &grid(&[2, 4], false)).expect_err("8 are known");
    assert!(error.to_string().contains("has 8 ranks, but the job has 9"), "{error}");
    assert!(place(&[ranks(9)], &unlimited(2), &grid(&[u32::MAX; 8], true)).is_err());
}

#[test]
fn a_closed_dimension_has_one_more_edge() {
    let ring = nodes_of(&[ranks(6)], &unlimited(2), &grid(&[6], true));
    let cut = (0..6).filter(|rank| ring[*rank] != ring[(rank + 1) % 6]).count();
    assert_eq!(cut, 2, "{ring:?}");
}

#[test]
fn shuffled_neighbours_are_found() {
    for seed in 0..50 {
        let mut random = Random(seed);
        let mut order: Vec<u32> = (0..48).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last as u32 + 1) as usize);
        }
        let ring = |rank: usize| (order[rank], order[(rank + 1) % order.len()], 3);
        let edges: Vec<(u32, u32, u32)> = (0..order.len()).map(ring).collect();
        let rules = by(MapBy::Locality(Topology::Edges(edges.clone())));
        let found = nodes_of(&[ranks(48)], &unlimited(4), &rules);
        let cut = edges.iter().filter(|(a, b, _)| found[*a as usize] != found[*b as usize]).count();
        assert_eq!(cut, 4, "seed {seed}: {found:?}");
    }
}

/// All ways to split few ranks in two equal halves, as an oracle.
#[test]
fn small_graphs_are_cut_almost_as_well_as_possible() {
    let (mut found_sum, mut best_sum) = (0, 0);
    for seed in 0..200 {
        let mut random = Random(seed);
        let edges: Vec<(u32, u32, u32)> =
            (0..16).map(|_| (random.below(10), random.below(10), 1 + random.below(5))).collect();
        let cut = |node_of: &dyn Fn(u32) -> bool| -> u32 {
            edges.iter().filter(|(a, b, _)| node_of(*a) != node_of(*b)).map(|edge| edge.2).sum()
        };
        let halves = (0_u32..1 << 10).filter(|half| half.count_ones() == 5);
        let best = halves.map(|half| cut(&|rank| half >> rank & 1 == 1)).min().expect("some");
        let rules = by(MapBy::Locality(Topology::Edges(edges.clone())));
        let found = nodes_of(&[ranks(10)], &unlimited(2), &rules);
        let found = cut(&|rank| found[rank as usize] == 1);
        assert!(found >= best, "seed {seed}: better than the best");
        found_sum += found;
        best_sum += best;
    }
    assert!(f64::from(found_sum) <= 1.15 * f64::from(best_sum), "{found_sum} against {best_sum}");
}

#[test]
fn a_large_grid_is_placed_in_time() {
    let rules = grid(&[64, 64, 8], true);
    let found = nodes_of(&[ranks(64 * 64 * 8)], &unlimited(16), &rules);
    assert_eq!(count(&found, 16), [2048; 16]);
}

#[test]
fn edges_are_read_from_a_file() {
    let read = Topology::parse_edges("edges", "# ring\n0 1\n1 2 5 # heavy\n\n");
    assert_eq!(read, Ok(Topology::Edges(vec![(0, 1, 1), (1, 2, 5)])));
    for (text, part) in [
        ("0 1\n7", "edges:2: This is not an edge"),
        ("0 1 2 3", "not an edge"),
        ("a b", "not an edge"),
        ("0 99999999", "no rank 99999999"),
    ] {
        let error = Topology::parse_edges("edges", text).expect_err(text).to_string();
        assert!(error.contains(part) && error.contains("`0 1 5`"), "{error}");
    }
}

#[test]
fn what_is_shown_before_a_job() {
    let (nodes, apps) = (slots(&[2, 4]), [ranks(1), ranks(3)]);
    let placement = place(&apps, &nodes, &by(MapBy::Slot)).expect("fits");
    let view = PlacementView { nodes: &nodes, placement: &placement, workers: &[2, 1] };
    let map = view.map();
    for part in [
        "Total slots allocated 6",
        "   JOB MAP   ",
        " Data for node: n1\tNum slots: 4\tMax slots: 0\tNum procs: 2\n",
        "\tProcess jobid: [1] App: 0 Process rank: 0 Bound: N/A\n\tProcess jobid: [1] App: 1 Process rank: 1",
    ] {
        assert!(map.contains(part), "{part}: {map}");
    }
    let allocation = view.allocation();
    assert!(
        allocation.contains("\tn1: slots=4 max_slots=0 slots_inuse=2 state=UP\n"),
        "{allocation}"
    );
    let bindings = view.bindings();
    assert_eq!(bindings.lines().count(), 4);
    assert!(
        bindings
            .starts_with("[n0] MCW rank 0 is not bound (runs on any of its node's 2 workers)\n")
    );
    assert!(bindings.ends_with("[n1] MCW rank 3 is not bound (runs on its node's one worker)\n"));
}

/// The placement with these groups together.
fn together(node_of_rank: &[u32], groups: &[&[u32]], nodes: &[NodeSlots]) -> Vec<u32> {
    let mut placement = Placement { node_of_rank: node_of_rank.to_vec(), ranks_of_app: Vec::new() };
    let groups: Vec<Vec<u32>> = groups.iter().map(|group| group.to_vec()).collect();
    placement.bring_together(&groups, nodes, &PlacementRules::default()).expect("it fits");
    placement.node_of_rank
}

#[test]
fn groups_come_together_and_nodes_keep_their_numbers() {
    let dealt = [0, 1, 0, 1, 0, 1];
    assert_eq!(together(&dealt, &[], &slots(&[3, 3])), dealt);
    assert_eq!(together(&dealt, &[&[0, 2], &[3]], &slots(&[3, 3])), dealt, "they are together");
    assert_eq!(together(&dealt, &[&[0, 1]], &slots(&[3, 3])), [0, 0, 0, 1, 1, 1]);
    // Two pairs that have a rank in common are one group.
    assert_eq!(together(&dealt, &[&[5, 2], &[2, 3]], &slots(&[3, 3])), [0, 0, 1, 1, 0, 1]);
    // Three pairs and two nodes of three: one has four then, if its slots allow that.
    let pairs: [&[u32]; 3] = [&[0, 1], &[2, 3], &[4, 5]];
    assert_eq!(together(&dealt, &pairs, &unlimited(2)), [0, 0, 1, 1, 0, 0]);
    let mut placement = Placement { node_of_rank: dealt.to_vec(), ranks_of_app: Vec::new() };
    let all = [(0..6).collect::<Vec<u32>>()];
    let refused = placement.bring_together(&all, &slots(&[3, 3]), &PlacementRules::default());
    let why = refused.expect_err("no node has six slots").to_string();
    assert!(why.contains("the 6 ranks 0, 1, 2") && why.contains("--oversubscribe"), "{why}");
    let pairs = pairs.map(<[u32]>::to_vec);
    let refused = placement.bring_together(&pairs, &slots(&[3, 3]), &PlacementRules::default());
    assert!(refused.is_err(), "a node of three slots has no room for two pairs");
    let crowded = crowded(MapBy::Slot);
    placement.bring_together(&all, &slots(&[3, 3]), &crowded).expect("they may be more");
    assert_eq!(placement.node_of_rank, [0; 6]);
}
