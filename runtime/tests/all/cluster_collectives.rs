//! Collectives of communicators that are spread over nodes of this process, with the ranks placed in
//! different ways.

use faasm_runtime::{NodeId, Outcome};

use crate::cluster::{cluster, guest, job, report, spawn};

/// Guests that meet in collectives and make communicators.
const GUESTS: [&str; 15] = [
    "collective_allgather_alltoall",
    "collective_barrier_bcast",
    "collective_gather_scatter",
    "collective_minloc_maxloc",
    "collective_mixed",
    "collective_operator_started",
    "collective_reduce",
    "collective_reduce_types",
    "collective_sizes",
    "collective_user_operator",
    "communicator_attributes",
    "communicator_create",
    "communicator_misuse",
    "communicator_split",
    "topology_cartesian",
];

/// For each rank its node: in blocks, in turn, and mixed, also with a node that has one rank.
const PLACEMENTS: [&[u32]; 5] = [
    &[1, 1, 2, 2],
    &[1, 2, 1, 2, 1, 2, 1],
    &[2, 1, 1, 1, 1],
    &[3, 1, 2, 2, 3, 4, 1],
    &[1, 2, 3, 4, 5, 6, 6, 2],
];

#[test]
fn collectives_over_nodes_give_what_they_give_on_one() {
    let nodes = PLACEMENTS.iter().flat_map(|nodes| nodes.iter()).max().copied().unwrap_or(1);
    let cluster = cluster(nodes as usize);
    for name in GUESTS {
        let program = guest(&format!("mpi/{name}.c"));
        for placement in PLACEMENTS {
            let (mut job, printed) = job(&program, &[], &[placement.len() as u32]);
            job.placement = placement.iter().map(|node| NodeId(*node)).collect();
            let report = report(&spawn(&cluster, job));
            assert_eq!(report.outcome, Outcome::Success, "{name} on {placement:?}: {report:#?}");
            assert_eq!(printed.of(0), format!("ok {name}\n"), "on {placement:?}");
        }
    }
}
