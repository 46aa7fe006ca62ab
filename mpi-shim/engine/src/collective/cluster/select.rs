//! Which way the data of a collective operation takes between nodes, by size and number of nodes.
//!
//! | what | nodes | way |
//! |---|---|---|
//! | announcements and small data | up to 4 | each node to each other: one hop |
//! | | more | dissemination: log2(nodes) hops, as many messages |
//! | broadcast, large | any | one node to the next around the ring, in chunks: each node sends all data once |
//! | broadcast, medium | more than 2 | binomial tree of the same chunks |
//! | allgather, large | any | all nodes' data around the ring at the same time |
//! | gather, scatter, all-to-all, large | any | straight from node to node |
//! | reductions, small | any | all operands to all nodes |
//! | reductions, large | any | segments along the members in rank order, one node after the other |

use alloc::vec;
use alloc::vec::Vec;

/// Up to this many nodes each tells each other by itself.
const DIRECT_NODES_MAX: usize = 4;
/// Data that travels with the announcement to one node.
const DIRECT_BYTES_MAX: u64 = scaled(128 << 10);
/// Data of all nodes together that travels with disseminated announcements.
const DISSEMINATED_BYTES_MAX: u64 = scaled(256 << 10);
/// Operands of all members together that go to all nodes, where a chain has a hop a node.
const OPERANDS_BYTES_MAX: u64 = scaled(64 << 10);
/// The same where a chain goes back and forth between the nodes.
const SCATTERED_OPERANDS_BYTES_MAX: u64 = scaled(256 << 10);
/// Broadcasts up to this many bytes go down a tree.
const TREE_BYTES_MAX: u64 = scaled(1 << 20);

/// Data bytes in one message.
pub(super) const CHUNK_BYTES: u64 = scaled(256 << 10);
/// Bytes of a reduction that travel along the chain together: at most, and at least.
const SEGMENT_BYTES_MAX: u64 = scaled(128 << 10);
const SEGMENT_BYTES_MIN: u64 = scaled(16 << 10);
/// Segments on their way at the same time.
pub(super) const SEGMENTS_AHEAD: u64 = 8;

/// Tests reach every way with a few hundred bytes.
const fn scaled(bytes: u64) -> u64 {
    if cfg!(test) { bytes >> 12 } else { bytes }
}

/// Whether nodes announce their calls to each other without a detour.
pub(super) const fn is_direct(nodes: usize) -> bool {
    nodes <= DIRECT_NODES_MAX
}

/// Data bytes that may travel with an announcement: to one node when direct, else to all.
pub(super) const fn inline_bytes_max(nodes: usize) -> u64 {
    if is_direct(nodes) { DIRECT_BYTES_MAX } else { DISSEMINATED_BYTES_MAX / nodes as u64 }
}

/// Whether all operands of a reduction go to all nodes, when the chain would have this many hops.
pub(super) const fn gathers_operands(total_bytes: u64, hops: usize, nodes: usize) -> bool {
    let scattered = hops > 2 * nodes;
    total_bytes <= if scattered { SCATTERED_OPERANDS_BYTES_MAX } else { OPERANDS_BYTES_MAX }
}

/// Bytes of a segment of operands of this size: a quarter, so that nodes work at the same time.
pub(super) const fn segment_bytes(operand: u64) -> u64 {
    match operand / 4 {
        0..=SEGMENT_BYTES_MIN => SEGMENT_BYTES_MIN,
        quarter @ ..SEGMENT_BYTES_MAX => quarter,
        _ => SEGMENT_BYTES_MAX,
    }
}

/// Chunks of one stream that may be on their way between two nodes, when a node takes part in this
/// many streams.
pub(super) const fn chunks_ahead(streams: usize) -> u64 {
    match 32 / (streams as u64 + 1) {
        0..=2 => 2,
        ahead @ 3..=8 => ahead,
        _ => 8,
    }
}

/// The nodes that node `at` passes the stream of node `source` on to.
pub(super) fn children(source: usize, at: usize, nodes: usize, is_tree: bool) -> Vec<usize> {
    let distance = (at + nodes - source) % nodes;
    let node = |distance: usize| (source + distance) % nodes;
    if !is_tree {
        return if distance + 1 < nodes { vec![node(distance + 1)] } else { vec![] };
    }
    // A node at distance d has children d + 2^k for all 2^k above d.
    // The farthest come first: they have the most to pass on.
    let powers = (0..usize::BITS).rev().map(|power| 1_usize << power);
    let below = powers.filter(|step| *step > distance && distance + *step < nodes);
    below.map(|step| node(distance + step)).collect()
}

/// The node that passes the stream of `source` on to `at`.
pub(super) fn parent(source: usize, at: usize, nodes: usize, is_tree: bool) -> usize {
    let distance = (at + nodes - source) % nodes;
    let before = match is_tree {
        true => distance & !(1 << distance.ilog2()),
        false => distance - 1,
    };
    (source + before) % nodes
}

/// Whether a broadcast of this many bytes goes down a tree.
pub(super) const fn is_tree(bytes: u64, nodes: usize) -> bool {
    nodes > 2 && bytes <= TREE_BYTES_MAX
}
