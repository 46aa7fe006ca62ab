//! Processes that are spawned, over the nodes of a job.

use std::{path::PathBuf, process::Command};

use crate::{
    guests::compiled,
    suite::manifest,
    support::{Ran, Running, faasm_run},
};

fn program() -> PathBuf {
    let guests = manifest();
    let guest = guests.iter().find(|guest| guest.name == "dynamic_spread");
    compiled(guest.expect("it is there")).expect("it compiles")
}

fn command(nodes: u32, ranks: u32) -> Command {
    let mut command = faasm_run();
    command.args(["--local-nodes", &nodes.to_string(), "-n", &ranks.to_string()]);
    command
}

/// What a run says of the processes that it spawns.
fn place(nodes: u32, ranks: u32, words: &[&str]) -> Ran {
    let mut command = command(nodes, ranks);
    Running::start(command.arg(program()).arg("place").args(words), "").wait().expect_status(0)
}

/// The error with which a job ends that spawns processes for these hosts.
fn refused(command: &mut Command, words: &[&str]) -> String {
    let ran = Running::start(command.arg(program()).arg("must").args(words), "").wait();
    assert!(ran.status != Some(0) && ran.stderr.contains("MPI_ERR_SPAWN"), "{ran:#?}");
    ran.stderr
}

#[test]
fn spawned_processes_come_where_there_is_room() {
    for (nodes, ranks, words, expected) in [
        // For each process the first one of all on its node; parents come first.
        (2, 1, &["4"][..], "places 0 0 3 3"),
        (2, 2, &["4"], "places 0 0 1 1"),
        (2, 3, &["3"], "places 0 2 2"),
        // There are nodes without ranks.
        (3, 1, &["2"], "places 1 2"),
        (3, 2, &["4"], "places 0 1 4 4"),
    ] {
        let ran = place(nodes, ranks, words);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines, [expected, "ok dynamic_spread"], "{nodes} nodes: {ran:#?}");
    }
}

#[test]
fn the_key_host_restricts_the_nodes() {
    for (words, expected) in [
        (["3", "node2"], "places 1 1 1"),
        (["3", "node1"], "places 0 0 0"),
        (["3", "localhost"], "places 0 0 0"),
        (["3", "node2:1,node1"], "places 0 0 1"),
        (["3", "node2:1,node1:9"], "places 0 0 1"),
    ] {
        let ran = place(2, 2, &words);
        assert_eq!(ran.stdout.lines().next(), Some(expected), "{words:?}: {ran:#?}");
    }
    for (words, why) in [
        (["3", "node2:2"], "2 slots, and 3 processes are wanted"),
        (
            ["1", "node1,elsewhere"],
            "no node elsewhere, which the key host names; it has node1, node2",
        ),
    ] {
        let ran = place(2, 2, &words);
        assert_eq!(ran.stdout.lines().next(), Some("none"), "{words:?}: {ran:#?}");
        let said = refused(&mut command(2, 2), &words);
        assert!(said.contains(why), "{said}");
    }
    // On its only node a job knows no other.
    let said = refused(&mut faasm_run(), &["1", "node2"]);
    assert!(said.contains("alone, and not on node2"), "{said}");
}

#[test]
fn if_a_node_cannot_have_its_processes_there_are_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let gone = dir.path().join("gone");
    std::fs::create_dir(&gone).expect("it can be made");
    let mut command = command(2, 2);
    command.arg("--dir").arg(format!("{}::/elsewhere", gone.display()));
    command.arg(program()).args(["gone", "gone"]).current_dir(dir.path());
    let ran = Running::start(&mut command, "").wait();
    // Nothing is left of those that could have been on the first node.
    assert_eq!(ran.stdout, "none\nnone\nplaces 0 0\n", "{ran:#?}");
    let told = ran.stderr.lines().find(|line| line.contains("node2: ")).unwrap_or_default();
    assert!(ran.status != Some(0) && told.contains("gone"), "{ran:#?}");
}

#[test]
fn a_report_counts_the_nodes_of_spawned_processes() {
    for (host, expected) in [("node1,node2", "on 2 nodes"), ("node1", "on 1 node ")] {
        let mut command = command(2, 1);
        command.arg("--report").arg(program()).args(["place", "2", host]);
        Running::start(&mut command, "").wait().expect_status(0).expect_stderr(expected);
    }
}
