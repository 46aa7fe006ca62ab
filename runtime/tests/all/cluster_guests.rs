//! The guests of `workloads/guests/manifest.toml` on several nodes of this machine: what they do there is what they do
//! on one.

use faasm_workloads::manifest::Guest;

use crate::{
    guests::compiled,
    suite::{check_all, check_run, manifest},
    support::{Ran, Running, faasm_run},
};

/// More ranks than this only take longer: every node has some of them already.
const RANKS_MAX: u32 = 16;

#[test]
fn guests_do_the_same_on_two_nodes() {
    check_on(2);
}

#[test]
fn guests_do_the_same_on_four_nodes() {
    check_on(4);
}

fn check_on(nodes: u32) {
    let guests: Vec<Guest> =
        manifest().into_iter().filter(|guest| !np(guest, nodes).is_empty()).collect();
    assert!(guests.len() > 30, "only {} guests have enough ranks", guests.len());
    check_all(&guests, |guest| {
        for np in np(guest, nodes) {
            let one = run(guest, np, 1)?;
            let several = run(guest, np, nodes)?;
            let wrong = |what: &str| {
                Err(format!("np {np}: {what}: on one node {one:#?}, on {nodes} {several:#?}"))
            };
            if let Err(problem) = check_run(guest, &several) {
                return wrong(&problem);
            }
            if one.sorted_lines() != several.sorted_lines() {
                return wrong("another output");
            }
        }
        Ok(())
    });
}

/// The smallest and the largest number of ranks that put some on every node.
fn np(guest: &Guest, nodes: u32) -> Vec<u32> {
    let fit = || guest.np.iter().copied().filter(|np| (nodes..=RANKS_MAX).contains(np));
    let mut both: Vec<u32> = fit().min().into_iter().chain(fit().max()).collect();
    both.dedup();
    both
}

fn run(guest: &Guest, np: u32, nodes: u32) -> Result<Ran, String> {
    let program = compiled(guest)?;
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = faasm_run();
    if nodes > 1 {
        command.args(["--local-nodes", &nodes.to_string()]);
    }
    command.args(["-n", &np.to_string()]).arg(&program).args(&guest.args);
    command.envs(&guest.env).current_dir(dir.path());
    Ok(Running::start(&mut command, &guest.stdin).wait())
}
