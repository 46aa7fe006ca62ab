//! Collectives of communicators that are spread over nodes of this process, with the ranks placed in
//! different ways.

use faasm_runtime::{NodeId, Outcome};

use crate::{
    cluster::{cluster, guest, job, report, spawn},
    support::{Running, build_dir, compile, faasm_run},
};

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

/// A function of the program ends it in a call that it does not belong to, or cannot fail by itself.
const ENDS: &str = r#"
#include <mpi.h>
#include <string.h>
static void operate(void *in, void *inout, int *count, MPI_Datatype *type) { (void)in, (void)inout, (void)count, (void)type; __builtin_trap(); }
static int extent(MPI_Datatype type, MPI_Aint *bytes, void *extra) { (void)type, (void)extra; return *bytes = 4, 0; }
static int convert(void *user, MPI_Datatype type, int count, void *file, MPI_Offset at, void *extra) { (void)user, (void)type, (void)count, (void)file, (void)at, (void)extra; __builtin_trap(); }
static void event(MPI_T_event_instance event, MPI_T_event_registration registration, MPI_T_cb_safety safety, void *data) { (void)event, (void)registration, (void)safety, (void)data; __builtin_trap(); }
int main(int argc, char **argv) {
  int rank, word = 0, provided;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (!strcmp(argv[1], "operator")) {
    MPI_Op op; MPI_Request request;
    MPI_Op_create(operate, 1, &op);
    MPI_Iallreduce(&rank, &word, 1, MPI_INT, op, MPI_COMM_WORLD, &request);
  } else if (!strcmp(argv[1], "conversion")) {
    MPI_File f; MPI_Register_datarep("mine", convert, convert, extent, NULL);
    MPI_File_open(MPI_COMM_WORLD, "ends.tmp", MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE, MPI_INFO_NULL, &f);
    MPI_File_set_view(f, 0, MPI_INT, MPI_INT, "mine", MPI_INFO_NULL);
    MPI_File_write(f, &word, 1, MPI_INT, MPI_STATUS_IGNORE);
  } else {
    MPI_T_event_registration registration; MPI_Comm world = MPI_COMM_WORLD;
    MPI_T_init_thread(MPI_THREAD_SINGLE, &provided);
    MPI_T_event_handle_alloc(0, &world, MPI_INFO_NULL, &registration);
    MPI_T_event_register_callback(registration, MPI_T_CB_REQUIRE_MPI_RESTRICTED, MPI_INFO_NULL, NULL, event);
    MPI_Send(&word, 1, MPI_INT, rank ^ 1, 1, MPI_COMM_WORLD);
  }
  MPI_Recv(&word, 1, MPI_INT, rank, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}
"#;

#[test]
fn a_function_that_traps_ends_the_call_that_has_run_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = dir.path().join("ends.c");
    std::fs::write(&source, ENDS).expect("a file");
    let program = build_dir().join("cluster_ends.wasm");
    compile(&source, &["-g".into()], &program).expect("it compiles");
    for options in [&["--local-nodes", "2"][..], &["--local-nodes", "2", "--migratable"]] {
        for (what, function) in
            [("operator", "operate"), ("conversion", "convert"), ("event", "event")]
        {
            let mut command = faasm_run();
            command.args(["--timeout", "60", "-n", "4"]).args(options).arg(&program).arg(what);
            let ran = Running::start(command.current_dir(dir.path()), "").wait();
            let ran = ran.expect_status(134).expect_stderr("trapped");
            ran.expect_stderr(&format!("at {function}"));
        }
    }
}
