//! Jobs on several hosts whose network is slow, loses packets, is cut, or whose node process is killed.
//!
//! The hosts are network namespaces, so these tests need root, or a user namespace (`lab.rs`).

use std::{
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    lab::{Job, Lab, in_root},
    support::{Ran, build_dir, compile, guests_dir},
};

/// Sends messages of all kinds for some seconds and checks each of them.
static TRAFFIC: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = build_dir().join("traffic.network.wasm");
    let options = ["-O2".to_owned()];
    compile(&guests_dir().join("faasm/traffic.c"), &options, &program)
        .unwrap_or_else(|error| panic!("{error}"));
    program
});

/// A job whose node is lost has ended by then.
const LIMIT: Duration = Duration::from_secs(6);

#[test]
fn a_job_is_right_over_a_slow_network_that_loses_packets() {
    in_root("cluster_network::a_job_is_right_over_a_slow_network_that_loses_packets", || {
        if !Lab::can_delay() {
            return;
        }
        let lab = Lab::up("lossy", 3, "delay 1ms loss 1%");
        expect_right(lab.start(2, &[], &TRAFFIC, &["1.5"]).wait());
        lab.expect_empty();
    });
}

#[test]
fn a_job_goes_on_after_a_cable_was_out_for_two_seconds() {
    in_root("cluster_network::a_job_goes_on_after_a_cable_was_out_for_two_seconds", || {
        let lab = Lab::up("resume", 3, "");
        // More patience than the two seconds, also when this machine is busy.
        let mut job = lab.start(2, &["--node-timeout", "20"], &TRAFFIC, &["5"]);
        job.expect_output("traffic\n");
        lab.cut("n2");
        std::thread::sleep(Duration::from_secs(2));
        lab.restore("n2");
        expect_right(job.wait());
        lab.expect_empty();
    });
}

#[test]
fn a_node_that_is_cut_off_ends_the_job() {
    in_root("cluster_network::a_node_that_is_cut_off_ends_the_job", || {
        let lab = Lab::up("cut", 3, "");
        let mut job = lab.start(2, &["--node-timeout", "2"], &TRAFFIC, &["60"]);
        job.expect_output("traffic\n");
        lab.cut("n3");
        expect_lost(job, "n3");
        lab.expect_empty();
    });
}

/// No launcher can tell such a node that the job is over.
#[test]
fn a_node_that_joined_by_itself_notices_that_it_is_cut_off() {
    in_root("cluster_network::a_node_that_joined_by_itself_notices_that_it_is_cut_off", || {
        let lab = Lab::up("alone", 3, "");
        let token = lab.token_file();
        let common = ["--token-file", &token, "--node-timeout", "2"];
        let await_nodes = ["--await-nodes", "2", "--listen", "10.77.0.1:7077", "-n", "4"];
        let program = [TRAFFIC.to_str().expect("a UTF-8 path"), "60"];
        let mut job = lab.faasm_run("n1", &[&common[..], &await_nodes, &program].concat());
        let join = ["node", "--once", "--join", "10.77.0.1:7077"];
        let [other, cut] =
            ["n2", "n3"].map(|host| lab.faasm_run(host, &[&join[..], &common].concat()));
        job.expect_output("traffic\n");
        lab.cut("n3");
        expect_lost(job, "n3");
        cut.wait().expect_stderr("the coordinator is gone");
        other.wait();
        lab.expect_empty();
    });
}

#[test]
fn a_killed_node_ends_the_job() {
    in_root("cluster_network::a_killed_node_ends_the_job", || {
        let lab = Lab::up("kill", 4, "");
        let mut job = lab.start(2, &[], &TRAFFIC, &["60"]);
        job.expect_output("traffic\n");
        lab.signal_node("n3", Signal::KILL);
        expect_lost(job, "n3");
        lab.expect_empty();
    });
}

#[test]
fn a_stopped_node_ends_the_job() {
    in_root("cluster_network::a_stopped_node_ends_the_job", || {
        let lab = Lab::up("stop", 4, "");
        let mut job = lab.start(2, &["--node-timeout", "2"], &TRAFFIC, &["60"]);
        job.expect_output("traffic\n");
        lab.signal_node("n4", Signal::STOP);
        expect_lost(job, "n4");
        lab.expect_empty();
    });
}

fn expect_right(ran: Ran) {
    let ran = ran.expect_status(0);
    assert!(ran.stdout.contains("ok traffic"), "{ran:#?}");
    assert_eq!(ran.stderr, "", "{ran:#?}");
}

/// The job must end in time, with an error that names the host and its ranks.
fn expect_lost(job: Job, host: &str) {
    let since = Instant::now();
    let ran = job.wait();
    let took = since.elapsed();
    assert!(ran.status.is_some_and(|status| status != 0), "{ran:#?}");
    assert!(ran.stderr.contains(host), "{host} is not named: {ran:#?}");
    assert!(ran.stderr.contains("Ranks "), "its ranks are not named: {ran:#?}");
    assert!(ran.stderr.contains("is lost"), "{ran:#?}");
    assert!(took < LIMIT, "it took {took:?}: {ran:#?}");
}
