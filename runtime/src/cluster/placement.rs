//! Which rank runs on which node: pure functions of the programs, the nodes and the rules.
//!
//! First each program gets a number of ranks on each node (`counts`), then its ranks are numbered.
//! Nodes have *slots*, as mpirun's hosts do. A rank here needs no core of its own, so where nobody
//! has said how many slots there are, any number fits and the nodes get equal shares; where it was
//! said, slots are respected unless oversubscribing was asked for. `slots_max` always holds.

mod counts;
mod display;
mod locality;
pub(super) mod spawned;
#[cfg(test)]
mod tests;
mod together;

pub use display::PlacementView;
pub use locality::{EdgeError, Topology};

/// A node as a place for ranks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeSlots {
    /// Its name, for messages.
    pub name: String,
    /// Ranks that fit, if somebody has said so.
    pub slots: Option<u32>,
    /// Most ranks there may be, even when oversubscribed.
    pub slots_max: Option<u32>,
    /// Its share among nodes without slots: how often the host was named.
    pub weight: u32,
    /// Its processor cores: its slots where other nodes have been given some.
    pub cores: u32,
}

impl NodeSlots {
    /// A node that takes any number of ranks.
    pub fn unlimited(name: impl Into<String>, cores: u32) -> Self {
        Self { name: name.into(), slots: None, slots_max: None, weight: 1, cores }
    }
}

/// How many ranks a program asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AppDemand {
    /// Number of ranks; what the nodes have slots (or else cores) for if absent.
    pub ranks: Option<u32>,
    /// Most ranks on one node, and exactly as many if `ranks` is absent.
    pub ranks_per_node: Option<u32>,
}

/// In which order nodes are filled.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum MapBy {
    /// Node after node: as few nodes as possible.
    #[default]
    Slot,
    /// Round the nodes: as evenly as possible.
    Node,
    /// As `Slot`, but ranks that are neighbours come to the same node where possible.
    Locality(Topology),
}

/// How the ranks of a program are numbered once each node has its number of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RankBy {
    /// Node after node.
    Slot,
    /// Round the nodes.
    Node,
}

/// How ranks are placed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PlacementRules {
    /// In which order nodes are filled.
    pub map_by: MapBy,
    /// How ranks are numbered; as they are mapped if absent.
    pub rank_by: Option<RankBy>,
    /// Whether nodes may have more ranks than slots. If absent they may unless slots were given.
    pub oversubscribe: Option<bool>,
}

/// Where each rank runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placement {
    /// Index of the node of each rank, in rank order.
    pub node_of_rank: Vec<u32>,
    /// Number of ranks of each program, in the order of the programs.
    pub ranks_of_app: Vec<u32>,
}

/// Why ranks cannot be placed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// There are no nodes.
    #[error(
        "there is no node to run on; name hosts with --host or --hostfile, or use --local-nodes"
    )]
    NoNodes,
    /// Slots were given, and they do not suffice.
    #[error(
        "there are not enough slots: {asked} ranks were asked for, and {available} slots are left on {}; ask for fewer ranks with -n, add hosts or slots, or allow more ranks than slots with --oversubscribe",
        list(.nodes)
    )]
    NotEnoughSlots {
        /// Ranks of the program asked for.
        asked: u64,
        /// Slots that are left for it.
        available: u64,
        /// Names of nodes with the slots each has left.
        nodes: Vec<(String, u32)>,
    },
    /// The most that the nodes may have does not suffice.
    #[error(
        "{asked} ranks were asked for, but the nodes' max_slots allow {available} more ({}); ask for fewer ranks with -n or add hosts: --oversubscribe does not go beyond max_slots",
        list(.nodes)
    )]
    MaxSlots {
        /// Ranks of the program asked for.
        asked: u64,
        /// Ranks that are allowed.
        available: u64,
        /// Names of nodes with the ranks that each may still get.
        nodes: Vec<(String, u32)>,
    },
    /// More ranks than the number for each node allows.
    #[error(
        "{asked} ranks were asked for, but with {per_node} on each of {nodes} nodes there are {available}; ask for fewer with -n, for more on each node with -N, or add hosts"
    )]
    PerNode {
        /// Ranks asked for.
        asked: u64,
        /// Most ranks on a node.
        per_node: u32,
        /// Number of nodes.
        nodes: usize,
        /// Ranks that are possible.
        available: u64,
    },
    /// Ranks that have to be on one node.
    #[error(
        "{} share memory (MPI_Win_allocate_shared) and have to be on one node, but none may have so many; give a node more slots, or allow more ranks than slots with --oversubscribe",
        list_ranks(.ranks)
    )]
    Together {
        /// These ranks.
        ranks: Vec<u32>,
    },
    /// More ranks than anybody places.
    #[error(
        "a job of {asked} ranks cannot be placed: there are at most {RANKS_MAX}; choose a smaller -n"
    )]
    TooManyRanks {
        /// Ranks asked for.
        asked: u64,
    },
    /// A neighbourhood that is not one of this job's ranks.
    #[error(
        "the neighbourhood of --map-by locality has {known} ranks, but the job has {ranks}; describe all ranks, or choose another -n"
    )]
    Topology {
        /// Ranks that the topology has.
        known: u64,
        /// Ranks of the job.
        ranks: u64,
    },
}

/// Places the ranks of `apps` on `nodes`. Equal arguments have equal results.
///
/// # Errors
/// See [`PlacementError`].
pub fn place(
    apps: &[AppDemand],
    nodes: &[NodeSlots],
    rules: &PlacementRules,
) -> Result<Placement, PlacementError> {
    if nodes.is_empty() {
        return Err(PlacementError::NoNodes);
    }
    let counts = counts::of_apps(apps, nodes, rules)?;
    let ranks_of_app = counts.iter().map(|counts| counts.iter().sum()).collect();
    let node_of_rank = match &rules.map_by {
        MapBy::Locality(topology) => {
            let mut totals = vec![0; nodes.len()];
            for counts in &counts {
                totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
            }
            locality::assign(topology, &totals)?
        }
        map_by => {
            let rank_by = rules.rank_by.unwrap_or(default_numbering(map_by));
            let mut node_of_rank = Vec::new();
            for counts in &counts {
                let start = match map_by {
                    MapBy::Node => node_of_rank.len() % nodes.len(),
                    _ => 0,
                };
                node_of_rank.extend(number(counts, rank_by, start));
            }
            node_of_rank
        }
    };
    Ok(Placement { node_of_rank, ranks_of_app })
}

/// Ranks are numbered in the order in which they are mapped.
const fn default_numbering(map_by: &MapBy) -> RankBy {
    match map_by {
        MapBy::Node => RankBy::Node,
        MapBy::Slot | MapBy::Locality(_) => RankBy::Slot,
    }
}

/// The node of each rank of one program that has `counts[i]` ranks on node `i`. Going round the
/// nodes begins at `start`.
fn number(counts: &[u32], rank_by: RankBy, start: usize) -> Vec<u32> {
    match rank_by {
        RankBy::Slot => {
            (0..).zip(counts).flat_map(|(node, count)| (0..*count).map(move |_| node)).collect()
        }
        RankBy::Node => {
            let mut left: Vec<(u32, u32)> = (0..).zip(counts.iter().copied()).collect();
            left.rotate_left(start);
            let mut order = Vec::new();
            while !left.is_empty() {
                left.retain_mut(|(node, count)| {
                    let has_one = *count > 0;
                    if has_one {
                        order.push(*node);
                        *count -= 1;
                    }
                    *count > 0
                });
            }
            order
        }
    }
}

/// Names with numbers for a message, the first few of them.
fn list(nodes: &[(String, u32)]) -> String {
    let shown: Vec<String> = nodes
        .iter()
        .take(NAMES_SHOWN_MAX)
        .map(|(name, slots)| format!("{name}: {slots}"))
        .collect();
    match nodes.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Ranks for a message, the first few of them.
fn list_ranks(ranks: &[u32]) -> String {
    let shown: Vec<String> = ranks.iter().take(NAMES_SHOWN_MAX).map(u32::to_string).collect();
    let more = if ranks.len() > NAMES_SHOWN_MAX { ", ..." } else { "" };
    format!("the {} ranks {}{more}", ranks.len(), shown.join(", "))
}

/// More ranks than any job has memory for.
const RANKS_MAX: u32 = 1 << 24;
/// Nodes that an error message names.
const NAMES_SHOWN_MAX: usize = 8;
