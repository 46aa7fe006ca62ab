//! Where a job runs, decided from the command line and the environment variables of Slurm and
//! Kubernetes. Files of hosts are read; nothing is started.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, bail};
use faasm_runtime::{
    Host, HostList,
    launcher::{
        self, Launcher, SlurmLauncher, SshLauncher, kubernetes,
        slurm::{Allocation, Step, Surroundings},
    },
};

use crate::args::{ClusterAddress, Invocation, LauncherKind, NodeArgs, NodeOptions, TokenSource};

/// Where a job runs.
#[derive(Debug)]
pub(super) enum Where {
    /// In this process.
    Here {
        /// Number of ranks if the command line has none.
        ranks: Option<u32>,
        /// The step of Slurm whose other tasks wait for this process.
        step: Option<Step>,
    },
    /// On nodes of which this process is the coordinator.
    Nodes(Box<NodePlan>),
    /// On a cluster that runs already.
    Cluster(ClusterAddress),
    /// Elsewhere: this process is a node of another one's job.
    Join(Box<NodeArgs>),
    /// Elsewhere: this process is a node of the first task of its step of Slurm.
    JoinStep(Step),
    /// In another process of this machine, which this one waits for.
    Idle(Step),
}

/// Nodes to start or to wait for.
#[derive(Debug)]
pub(super) struct NodePlan {
    /// How the first of `hosts` are started.
    pub(super) launcher: Launcher,
    /// All nodes that are known by name, in the order in which ranks are placed on them.
    pub(super) hosts: Vec<Host>,
    /// Which of them are started; the others join by themselves.
    pub(super) started: Vec<usize>,
    /// Number of nodes that join by themselves, of whatever name.
    pub(super) awaited: u32,
    /// Where nodes find us.
    pub(super) listen: SocketAddr,
    /// The file with the token.
    pub(super) token_file: Option<String>,
    /// Number of ranks if the command line has none.
    pub(super) ranks: Option<u32>,
    /// Worker threads of each node if the command line does not say.
    pub(super) workers: Option<usize>,
    /// Whether ranks are dealt round the nodes if the command line does not say.
    pub(super) is_cyclic: bool,
    /// The step of Slurm whose other hosts join.
    pub(super) step: Option<Step>,
}

impl NodePlan {
    /// `hosts`, all of them started.
    fn starting(
        launcher: Launcher,
        hosts: Vec<Host>,
        options: &NodeOptions,
    ) -> anyhow::Result<Self> {
        let all_here = launcher == Launcher::Local && options.await_nodes.is_none();
        Ok(Self {
            launcher,
            started: (0..hosts.len()).collect(),
            hosts,
            awaited: options.await_nodes.unwrap_or(0),
            listen: listen(options, all_here)?,
            token_file: options.token_file.clone(),
            ranks: None,
            workers: None,
            is_cyclic: false,
            step: None,
        })
    }

    /// Number of nodes.
    pub(super) fn nodes(&self) -> u32 {
        let named = self.hosts.len();
        u32::try_from(named).unwrap_or(u32::MAX).saturating_add(self.awaited)
    }
}

/// Where this job runs.
///
/// # Errors
/// Files and variables that are not understood, and what contradicts each other.
pub(super) fn decide(
    job: &Invocation,
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Where> {
    let options = &job.nodes;
    if let Some(address) = &options.cluster {
        return Ok(Where::Cluster(address.clone()));
    }
    if options.names_nodes() {
        return named(options, variable);
    }
    if options.launcher == Some(LauncherKind::Local) {
        return Ok(Where::Here { ranks: None, step: None });
    }
    if let Some(pod) = kubernetes::detect(variable)? {
        return pod_of(pod, options);
    }
    match Surroundings::detect(variable)? {
        Surroundings::Outside if options.launcher == Some(LauncherKind::Slurm) => {
            bail!("--launcher slurm: this is not an allocation of Slurm; use `salloc` or `sbatch`")
        }
        Surroundings::Outside => Ok(Where::Here { ranks: None, step: None }),
        Surroundings::Allocation(allocation) => allocated(&allocation, options, variable),
        Surroundings::Step(step) => task_of(step, job),
    }
}

/// The command line names nodes.
fn named(
    options: &NodeOptions,
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Where> {
    if let Some(count) = options.local_nodes {
        let mut plan = NodePlan::starting(Launcher::Local, local_hosts(count), options)?;
        plan.workers = Some(share_of_cores(count));
        return Ok(Where::Nodes(Box::new(plan)));
    }
    let hosts = hosts(options)?;
    if options.launcher.is_none() && options.await_nodes.is_none() && is_just_here(&hosts) {
        return Ok(Where::Here { ranks: hosts[0].slots, step: None });
    }
    let launcher = match options.launcher {
        Some(LauncherKind::Local) => {
            if let Some(host) = hosts.iter().find(|host| !launcher::is_this_machine(&host.name)) {
                bail!("--launcher local: {} is another machine; use ssh for it", host.name);
            }
            Launcher::Local
        }
        Some(LauncherKind::Ssh) => Launcher::Ssh(ssh(options, variable, true)?),
        Some(LauncherKind::Slurm) => Launcher::Slurm(slurm(options, variable)?),
        None if variable("SLURM_JOB_ID").is_some() => Launcher::Slurm(slurm(options, variable)?),
        None => Launcher::Ssh(ssh(options, variable, false)?),
    };
    Ok(Where::Nodes(Box::new(NodePlan::starting(launcher, hosts, options)?)))
}

/// The hosts of all lists; `--host` chooses from the files if both are given, as for mpirun.
fn hosts(options: &NodeOptions) -> anyhow::Result<Vec<Host>> {
    let mut in_files = HostList::default();
    for file in &options.hostfiles {
        in_files.extend(HostList::read(file.as_ref())?)?;
    }
    let mut listed = HostList::default();
    for list in &options.hosts {
        listed.extend(HostList::parse_list(list)?)?;
    }
    let hosts = match (options.hostfiles.is_empty(), options.hosts.is_empty()) {
        (false, false) => in_files.restrict(&listed)?,
        (false, true) => in_files,
        _ => listed,
    };
    Ok(hosts.hosts().to_vec())
}

/// One host, which is this machine: no node process is needed.
fn is_just_here(hosts: &[Host]) -> bool {
    matches!(hosts, [host] if host.user.is_none() && launcher::is_this_machine(&host.name))
}

/// In an allocation: alone on its only host, or with a node on each.
fn allocated(
    allocation: &Allocation,
    options: &NodeOptions,
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Where> {
    let by_ssh = options.launcher == Some(LauncherKind::Ssh);
    if let [(_, tasks)] = allocation.hosts[..]
        && options.launcher.is_none()
    {
        return Ok(Where::Here { ranks: Some(tasks), step: None });
    }
    let hosts = allocation.hosts.iter().map(|(name, tasks)| host(name, Some(*tasks))).collect();
    let launcher = match by_ssh {
        true => Launcher::Ssh(ssh(options, variable, false)?),
        false => Launcher::Slurm(slurm(options, variable)?),
    };
    Ok(Where::Nodes(Box::new(NodePlan::starting(launcher, hosts, options)?)))
}

/// One of several tasks that srun started: all of them are one world.
fn task_of(step: Step, job: &Invocation) -> anyhow::Result<Where> {
    if job.apps.iter().any(|app| app.ranks.or(app.ranks_per_node).is_some()) {
        bail!(
            "srun has started {} tasks of this command, and each asks for a number of ranks of its \
             own; leave out -n, so that the tasks become one world of {0} ranks, or run `faasm-run \
             -n N` without srun, or with `--launcher local` for a job of its own in each task",
            step.tasks()
        );
    }
    let ranks = Some(step.tasks());
    if step.local_task > 0 {
        return Ok(Where::Idle(step));
    }
    if step.task > 0 {
        return Ok(Where::JoinStep(step));
    }
    if step.hosts.len() == 1 {
        return Ok(Where::Here { ranks, step: Some(step) });
    }
    let hosts = step.hosts.iter().map(|(name, tasks)| host(name, Some(*tasks))).collect();
    let mut plan = NodePlan::starting(Launcher::Local, hosts, &job.nodes)?;
    plan.listen = listen(&job.nodes, false)?;
    plan.started = vec![step.host as usize];
    plan.is_cyclic = step.is_cyclic;
    (plan.ranks, plan.step) = (ranks, Some(step));
    Ok(Where::Nodes(Box::new(plan)))
}

fn pod_of(pod: kubernetes::Pod, options: &NodeOptions) -> anyhow::Result<Where> {
    Ok(match pod {
        kubernetes::Pod::Coordinator { others, port, token_file } => {
            let own = host(&launcher::this_host(), None);
            let mut plan = NodePlan::starting(Launcher::Local, vec![own], options)?;
            plan.listen = match options.listen {
                Some(_) => listen(options, false)?,
                None => (std::net::Ipv4Addr::UNSPECIFIED, port).into(),
            };
            plan.awaited = others;
            plan.token_file = Some(token_file);
            Where::Nodes(Box::new(plan))
        }
        kubernetes::Pod::Node { join, token_file } => Where::Join(Box::new(NodeArgs {
            join: vec![join],
            token: TokenSource::File(token_file),
            once: true,
            wait: Some(POD_PATIENCE),
            ..NodeArgs::default()
        })),
    })
}

fn ssh(
    options: &NodeOptions,
    variable: &dyn Fn(&str) -> Option<String>,
    here_too: bool,
) -> anyhow::Result<SshLauncher> {
    let mut ssh = SshLauncher::new(remote_program(options, variable)?);
    ssh.args.clone_from(&options.launcher_args);
    ssh.here_too = here_too;
    if let Some(program) = &options.launcher_exec {
        ssh.program = program.into();
    }
    Ok(ssh)
}

fn slurm(
    options: &NodeOptions,
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<SlurmLauncher> {
    let mut slurm = SlurmLauncher::new(remote_program(options, variable)?);
    slurm.args.clone_from(&options.launcher_args);
    if let Some(program) = &options.launcher_exec {
        slurm.program = program.into();
    }
    Ok(slurm)
}

/// This program on other machines: below `--prefix`, where `FAASM_RUN` says, or where it is here.
fn remote_program(
    options: &NodeOptions,
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<PathBuf> {
    if let Some(prefix) = &options.prefix {
        return Ok(PathBuf::from(prefix).join("bin/faasm-run"));
    }
    match variable("FAASM_RUN") {
        Some(program) => Ok(program.into()),
        None => own_program(),
    }
}

/// This program.
pub(super) fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find out where this program is; name it in FAASM_RUN")
}

fn listen(options: &NodeOptions, all_here: bool) -> anyhow::Result<SocketAddr> {
    use std::net::ToSocketAddrs as _;
    let Some(address) = &options.listen else {
        let any = match all_here {
            true => std::net::Ipv4Addr::LOCALHOST,
            false => std::net::Ipv4Addr::UNSPECIFIED,
        };
        return Ok((any, 0).into());
    };
    let found = address.to_socket_addrs().with_context(|| format!("--listen {address}"))?.next();
    found.with_context(|| format!("--listen {address}: there is no such address"))
}

fn local_hosts(count: u32) -> Vec<Host> {
    (1..=count).map(|number| host(&format!("node{number}"), None)).collect()
}

fn host(name: &str, slots: Option<u32>) -> Host {
    Host { name: name.to_owned(), user: None, slots, slots_max: None, mentions: 1 }
}

/// Nodes of one machine share its cores.
fn share_of_cores(nodes: u32) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / nodes as usize).max(1)
}

/// Pods of a job start at different times: images are fetched, names become known.
const POD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
