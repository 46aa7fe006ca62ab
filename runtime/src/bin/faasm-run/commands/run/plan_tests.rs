//! Where jobs run, by example.

use super::*;
use crate::args::{self, Request};

fn decide_for(line: &str, variables: &str) -> anyhow::Result<Where> {
    let Ok(Request::Run(job)) = args::parse(line.split_whitespace().map(Into::into)) else {
        panic!("{line} is no job");
    };
    let variables: Vec<(&str, &str)> =
        variables.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
    decide(&job, &|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn plan(line: &str, variables: &str) -> NodePlan {
    match decide_for(line, variables) {
        Ok(Where::Nodes(plan)) => *plan,
        other => panic!("{line}: {other:?}"),
    }
}

fn names(plan: &NodePlan) -> Vec<(&str, Option<u32>)> {
    plan.hosts.iter().map(|host| (host.name.as_str(), host.slots)).collect()
}

#[test]
fn jobs_of_this_machine_need_no_nodes() {
    for line in ["-n 4 p", "--host localhost:4 p", "--launcher local p"] {
        let here = decide_for(line, "").expect("it runs");
        assert!(matches!(here, Where::Here { step: None, .. }), "{line}: {here:?}");
    }
    let slots = decide_for("--host localhost:4 p", "").expect("it runs");
    assert!(matches!(slots, Where::Here { ranks: Some(4), .. }), "{slots:?}");
}

#[test]
fn nodes_that_the_command_line_names() {
    let local = plan("--local-nodes 2 p", "");
    assert_eq!(names(&local), [("node1", None), ("node2", None)]);
    assert_eq!((local.launcher == Launcher::Local, local.listen.ip().is_loopback()), (true, true));
    assert!(local.workers.is_some());
    let mixed = plan("--local-nodes 1 --await-nodes 3 --listen 127.0.0.1:7077 p", "");
    assert_eq!((mixed.nodes(), mixed.awaited, mixed.listen.port()), (4, 3, 7077));
    let ssh = plan("--host a.invalid:2,ann@b.invalid --launcher-args -4 --prefix /opt p", "");
    let Launcher::Ssh(launcher) = &ssh.launcher else { panic!("{ssh:?}") };
    assert_eq!((launcher.args.len(), launcher.here_too), (1, false));
    assert_eq!(launcher.remote_program, std::path::Path::new("/opt/bin/faasm-run"));
    assert!(ssh.listen.ip().is_unspecified());
    let ssh = plan("--host localhost --launcher ssh --launcher-exec /bin/rsh p", "FAASM_RUN=/f");
    let Launcher::Ssh(launcher) = &ssh.launcher else { panic!("{ssh:?}") };
    assert!(launcher.here_too && launcher.program.ends_with("rsh"));
    assert_eq!(launcher.remote_program, std::path::Path::new("/f"));
    let cluster = decide_for("--cluster p", "SLURM_JOB_ID=7").expect("it runs");
    assert!(matches!(cluster, Where::Cluster(ClusterAddress::Here)), "{cluster:?}");
}

#[test]
fn hosts_of_files_are_restricted_by_the_list() {
    let dir = std::env::temp_dir().join(format!("faasm-hosts-{}", std::process::id()));
    std::fs::write(&dir, "a.invalid slots=2\nb.invalid slots=4\n").expect("a file");
    let file = dir.to_str().expect("text");
    assert_eq!(names(&plan(&format!("-f {file} p"), "")).len(), 2);
    let some = plan(&format!("-f {file} --host b.invalid p"), "");
    assert_eq!(names(&some), [("b.invalid", Some(4))]);
    let error = decide_for(&format!("-f {file} --host c p"), "").expect_err("it is not there");
    assert!(error.to_string().contains("not in the list"), "{error}");
    std::fs::remove_file(&dir).expect("it is ours");
    let error = decide_for(&format!("-f {file} p"), "").expect_err("it is gone");
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

const ALLOCATION: &str = "SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n[1-2] SLURM_NTASKS=6 \
    SLURM_TASKS_PER_NODE=4,2";

#[test]
fn an_allocation_has_a_node_on_each_host() {
    let slurm = plan("p", ALLOCATION);
    assert_eq!(names(&slurm), [("n1", Some(4)), ("n2", Some(2))]);
    assert!(matches!(slurm.launcher, Launcher::Slurm(_)));
    let some = plan("--host n2 p", ALLOCATION);
    assert!(matches!(some.launcher, Launcher::Slurm(_)));
    assert!(matches!(plan("--launcher ssh p", ALLOCATION).launcher, Launcher::Ssh(_)));
    let one = "SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n1 SLURM_NTASKS=6 SLURM_TASKS_PER_NODE=6";
    let here = decide_for("p", one).expect("it runs");
    assert!(matches!(here, Where::Here { ranks: Some(6), step: None }), "{here:?}");
    assert!(matches!(plan("--launcher slurm p", one).launcher, Launcher::Slurm(_)));
    let error = decide_for("--launcher slurm p", "").expect_err("no allocation");
    assert!(error.to_string().contains("salloc"), "{error}");
}

fn step(task: u32, local: u32, host: u32) -> String {
    format!(
        "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=5 SLURM_STEP_NODELIST=n[1-2] \
         SLURM_STEP_TASKS_PER_NODE=3,2 SLURM_PROCID={task} SLURM_LOCALID={local} \
         SLURM_NODEID={host}"
    )
}

#[test]
fn tasks_of_a_step_are_one_world() {
    let first = plan("p", &step(0, 0, 0));
    assert_eq!(names(&first), [("n1", Some(3)), ("n2", Some(2))]);
    assert_eq!((first.started.clone(), first.ranks, first.nodes()), (vec![0], Some(5), 2));
    assert!(first.listen.ip().is_unspecified() && first.step.is_some());
    assert!(matches!(decide_for("p", &step(3, 0, 1)), Ok(Where::JoinStep(_))));
    for (task, local, host) in [(1, 1, 0), (2, 2, 0), (4, 1, 1)] {
        assert!(matches!(decide_for("p", &step(task, local, host)), Ok(Where::Idle(_))));
    }
    let one = step(0, 0, 0).replace("n[1-2]", "n1").replace("3,2", "5");
    let here = decide_for("p", &one).expect("it runs");
    assert!(matches!(here, Where::Here { ranks: Some(5), step: Some(_) }), "{here:?}");
}

#[test]
fn a_step_whose_tasks_ask_for_ranks_is_refused() {
    for line in ["-n 4 p", "-N 2 p", "-n 1 p : -n 2 q"] {
        let error = decide_for(line, &step(3, 0, 1)).expect_err(line).to_string();
        for part in ["srun has started 5 tasks", "leave out -n", "--launcher local"] {
            assert!(error.contains(part), "{error}");
        }
    }
    let own = decide_for("-n 4 --launcher local p", &step(3, 0, 1)).expect("as told");
    assert!(matches!(own, Where::Here { step: None, .. }), "{own:?}");
}

#[test]
fn a_pod_is_the_coordinator_or_a_node() {
    let pod = |index: u32| {
        format!(
            "JOB_COMPLETION_INDEX={index} FAASM_COORDINATOR=faasm-0.faasm:7077 FAASM_NODES=4 \
             FAASM_TOKEN_FILE=/run/token"
        )
    };
    let first = plan("-n 8 p", &pod(0));
    assert_eq!((first.nodes(), first.awaited, first.listen.port()), (4, 3, 7077));
    assert_eq!(first.token_file.as_deref(), Some("/run/token"));
    let Ok(Where::Join(node)) = decide_for("-n 8 p", &pod(2)) else { panic!("pod 2 is a node") };
    assert_eq!(node.join, ["faasm-0.faasm:7077"]);
    assert_eq!(node.token, TokenSource::File("/run/token".into()));
    assert!(node.once && node.wait.is_some());
    assert!(decide_for("p", &pod(4)).is_err());
}
