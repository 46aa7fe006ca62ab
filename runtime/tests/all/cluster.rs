//! Jobs over several nodes, in one process: the library's face.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use faasm_runtime::{
    Cluster, ClusterApp, ClusterError, ClusterJob, ClusterOptions, JobHandle, JobReport,
    JoinOptions, LocalCluster, Node, NodeId, Outcome, OutputSink, Program, RankExit, Runtime,
    StdinPolicy, StdinStream, Stream,
};

use crate::support::{build_dir, compile, guests_dir};

/// Nothing takes as long as this, however busy the machine.
const LIMIT: Duration = Duration::from_secs(100);

static LAUNCHER: LazyLock<Program> = LazyLock::new(|| guest("faasm/launcher.c"));

pub(crate) fn guest(source: &str) -> Program {
    let source = guests_dir().join(source);
    let name = source.file_stem().expect("a file");
    let program = build_dir().join(name).with_added_extension("cluster.wasm");
    compile(&source, &["-g".into(), "-O1".into()], &program)
        .unwrap_or_else(|error| panic!("{error}"));
    Program::read(program).unwrap_or_else(|error| panic!("{error}"))
}

/// What each rank printed, standard error after standard output.
#[derive(Default)]
pub(crate) struct Printed(Mutex<BTreeMap<(u32, bool), Vec<u8>>>);

impl OutputSink for Printed {
    fn write(&self, rank: u32, stream: Stream, bytes: &[u8]) {
        let mut printed = self.0.lock().expect("no test panics here");
        printed.entry((rank, stream == Stream::Stderr)).or_default().extend_from_slice(bytes);
    }

    fn close(&self, _: u32) {}
}

impl Printed {
    pub(crate) fn of(&self, rank: u32) -> String {
        let printed = self.0.lock().expect("no test panics here");
        let bytes = printed.get(&(rank, false)).cloned().unwrap_or_default();
        String::from_utf8(bytes).expect("guests print text")
    }
}

pub(crate) fn cluster(nodes: usize) -> LocalCluster {
    let runtime = |_| Runtime::builder().workers(1).build().expect("there are threads");
    let cluster = LocalCluster::start((0..nodes).map(runtime)).expect("there are threads");
    cluster.cluster().await_nodes(nodes as u32, LIMIT).expect("they are in this process");
    cluster
}

/// A job with these ranks on node 1, 2, and so on.
pub(crate) fn job(program: &Program, args: &[&str], ranks: &[u32]) -> (ClusterJob, Arc<Printed>) {
    let printed = Arc::new(Printed::default());
    let on = |(node, ranks): (u32, &u32)| std::iter::repeat_n(NodeId(node), *ranks as usize);
    let app = ClusterApp {
        program: program.clone(),
        ranks: ranks.iter().sum(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: Vec::new(),
        wdir: PathBuf::from("/"),
    };
    let job = ClusterJob {
        apps: vec![app],
        output: Some(printed.clone()),
        placement: (1..).zip(ranks).flat_map(on).collect(),
        ..ClusterJob::default()
    };
    (job, printed)
}

pub(crate) fn spawn(cluster: &LocalCluster, job: ClusterJob) -> JobHandle {
    cluster.cluster().spawn(job).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn report(handle: &JobHandle) -> Arc<JobReport> {
    handle.wait_timeout(LIMIT).unwrap_or_else(|| panic!("{:#?}", handle.rank_states()))
}

#[test]
fn ranks_of_two_nodes_are_one_world() {
    let cluster = cluster(2);
    let (job, printed) = job(&LAUNCHER, &["hello"], &[2, 3]);
    let report = report(&spawn(&cluster, job));
    assert_eq!((&report.outcome, report.nodes), (&Outcome::Success, 2));
    for rank in 0..5 {
        assert_eq!(printed.of(rank), format!("rank {rank} of 5\n"));
    }
}

#[test]
fn messages_cross_nodes() {
    let cluster = cluster(2);
    let (job, printed) = job(&guest("mpi/point_to_point_lengths.c"), &[], &[1, 2]);
    let report = report(&spawn(&cluster, job));
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    assert_eq!(printed.of(0), "ok point_to_point_lengths\n");
}

/// Without a new certificate the second node would not talk to the first.
#[test]
fn nodes_renew_their_certificates_and_make_new_links_with_them() {
    let mut options = ClusterOptions::new("127.0.0.1:0".parse().expect("an address"));
    options.certificate_lifetime = Duration::from_secs(3);
    let cluster = Cluster::open(&options).unwrap_or_else(|error| panic!("{error}"));
    let at = cluster.address().expect("it listens").to_string();
    let join = |name: &str| {
        let token = cluster.issue_token(LIMIT, 1).expect("a token");
        let mut options = JoinOptions::new(vec![at.clone()], token);
        options.name = Some(name.to_owned());
        let runtime = Runtime::builder().workers(1).build().expect("there are threads");
        Node::join(runtime, &options).unwrap_or_else(|error| panic!("{error}"))
    };
    let first = join("first");
    std::thread::sleep(options.certificate_lifetime + Duration::from_secs(1));
    let second = join("second");
    cluster.await_nodes(2, LIMIT).unwrap_or_else(|error| panic!("{error}"));
    let (job, printed) = job(&guest("mpi/point_to_point_lengths.c"), &[], &[1, 2]);
    let handle = cluster.spawn(job).unwrap_or_else(|error| panic!("{error}"));
    let report = report(&handle);
    assert_eq!(report.outcome, Outcome::Success, "{report:#?}");
    assert_eq!(printed.of(0), "ok point_to_point_lengths\n");
    drop((first, second));
}

#[test]
fn a_trap_elsewhere_ends_the_job_with_its_place() {
    let cluster = cluster(2);
    let (job, _) = job(&LAUNCHER, &["trap", "2", "0"], &[2, 1]);
    let report = report(&spawn(&cluster, job));
    assert_eq!(report.outcome, Outcome::RankFailed { rank: 2 });
    let RankExit::Trapped { code: 134, reason } = &report.ranks[2] else { panic!("{report:#?}") };
    assert!(reason.contains("innermost") && reason.contains("launcher.c:"), "{reason}");
    assert_eq!(report.exit_code(), 134);
    assert_eq!(
        report.hosts.iter().map(|host| &**host).collect::<Vec<_>>(),
        ["node1", "node1", "node2"]
    );
}

#[test]
fn a_job_is_ended_on_all_nodes() {
    let cluster = cluster(2);
    let (job, _) = job(&LAUNCHER, &["sleep"], &[2, 2]);
    let handle = spawn(&cluster, job);
    assert_eq!(handle.rank_states().len(), 4);
    handle.kill(130);
    let report = report(&handle);
    assert_eq!((&report.outcome, report.exit_code()), (&Outcome::Killed { code: 130 }, 130));
    assert_eq!(report.ranks, vec![RankExit::Killed; 4]);
}

#[test]
fn a_time_limit_shows_what_the_ranks_did() {
    let cluster = cluster(2);
    let (mut job, _) = job(&LAUNCHER, &["sleep"], &[1, 1]);
    job.timeout = Some(Duration::from_millis(300));
    let report = report(&spawn(&cluster, job));
    let Outcome::TimedOut { states } = &report.outcome else { panic!("{report:#?}") };
    let states: Vec<String> = states.iter().map(ToString::to_string).collect();
    assert!(states[0].starts_with("rank 0 (node1): "), "{states:?}");
    assert!(states[1].starts_with("rank 1 (node2): "), "{states:?}");
}

#[test]
fn a_deadlock_over_nodes_is_explained() {
    let cluster = cluster(2);
    let (job, _) = job(&LAUNCHER, &["deadlock"], &[2, 1]);
    let report = report(&spawn(&cluster, job));
    let Outcome::Deadlock { states } = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(
        states[2].to_string(),
        "rank 2 (node2): waits in MPI_Recv (peer 0, tag 7, MPI_COMM_WORLD)"
    );
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn input_reaches_the_readers_wherever_they_are() {
    let cluster = cluster(2);
    for (policy, readers) in [(StdinPolicy::Rank(1), &[1][..]), (StdinPolicy::All, &[0, 1, 2])] {
        let (read, mut write) = std::io::pipe().expect("there are descriptors");
        let (mut job, printed) = job(&LAUNCHER, &["read"], &[1, 2]);
        job.stdin = policy;
        job.input = Some(StdinStream::from_fd(read.into()).expect("there are descriptors"));
        let handle = spawn(&cluster, job);
        for line in ["a\n", "b\n"] {
            write.write_all(line.as_bytes()).expect("it is read");
        }
        drop(write);
        assert_eq!(report(&handle).outcome, Outcome::Success);
        for rank in 0..3 {
            let lines = format!("{rank} read a\n{rank} read b\n");
            let lines = if readers.contains(&rank) { lines } else { String::new() };
            assert_eq!(printed.of(rank), format!("{lines}{rank} end\n"));
        }
    }
}

#[test]
fn several_jobs_share_the_nodes() {
    let cluster = cluster(2);
    let jobs: Vec<_> = (0..4)
        .map(|_| {
            let (job, printed) = job(&LAUNCHER, &["hello"], &[1, 1]);
            (spawn(&cluster, job), printed)
        })
        .collect();
    for (handle, printed) in jobs {
        assert_eq!(report(&handle).outcome, Outcome::Success);
        assert_eq!(printed.of(1), "rank 1 of 2\n");
    }
}

#[test]
fn what_a_node_cannot_do_is_told_before_a_rank_starts() {
    let cluster = cluster(2);
    let (mut job, printed) = job(&LAUNCHER, &["hello"], &[1, 1]);
    job.apps[0].wdir = PathBuf::from("/absent");
    let error = cluster.cluster().spawn(job).expect_err("the directory is absent");
    assert!(matches!(&error, ClusterError::Rejected { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("/absent") && text.contains("node"), "{text}");
    assert_eq!(printed.of(0), "");
    let status = cluster.cluster().status();
    assert_eq!((status.nodes.len(), status.jobs.len()), (2, 0));
}

#[test]
fn a_missing_function_is_named_before_any_node_is_asked() {
    let text = r#"(module (import "mpi" "MPI_Not_there" (func)) (memory (export "memory") 1)
        (func (export "_start")))"#;
    let bytes = wat::parse_str(text).expect("valid text");
    let program = Program::from_bytes("missing.wasm", bytes).expect("a program");
    let cluster = cluster(1);
    let error = cluster.cluster().spawn(job(&program, &[], &[1]).0).expect_err("it is missing");
    assert!(error.to_string().contains("MPI_Not_there"), "{error}");
    assert!(Program::read(Path::new("absent.wasm")).is_err());
}
