//! The nodes of a job: finding out which are wanted, starting them, and waiting until they are there.

use std::{
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use faasm_runtime::launcher::{
    self, LaunchFailure, LaunchOrder, Launched, LaunchedNode, Launcher, SlurmLauncher, SshLauncher,
};
use faasm_runtime::{Cluster, ClusterOptions, Host, HostList, NodeId, NodeSlots, NodeStatus};

use crate::args::{Invocation, LauncherKind, NodeOptions};

/// Where nodes come from.
pub(super) enum Source {
    /// They are started.
    Launch { hosts: Vec<Host>, launcher: Launcher },
    /// So many join by themselves.
    Await { nodes: u32 },
}

/// A cluster for one job.
pub(super) struct Nodes {
    pub(super) cluster: Cluster,
    pub(super) members: Vec<Member>,
    launched: Option<Launched>,
}

/// A node of the cluster.
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) workers: u32,
    pub(super) slots: NodeSlots,
}

impl Source {
    /// Where the nodes of this command line come from; `None` if all ranks run in this process.
    pub(super) fn of(options: &NodeOptions) -> anyhow::Result<Option<Self>> {
        if let Some(nodes) = options.local_nodes {
            let hosts = (1..=nodes).map(|number| host(format!("node{number}"))).collect();
            return Ok(Some(Self::Launch { hosts, launcher: Launcher::Local }));
        }
        let hosts = hosts(options)?;
        if hosts.is_empty() {
            return Ok(options.await_nodes.map(|nodes| Self::Await { nodes }));
        }
        // One host that is this machine needs no other process.
        let here = hosts.len() == 1 && hosts[0].user.is_none();
        if here && options.launcher.is_none() && launcher::is_this_machine(&hosts[0].name) {
            return Ok(None);
        }
        Ok(Some(Self::Launch { hosts, launcher: launcher(options)? }))
    }

    const fn nodes(&self) -> u32 {
        match self {
            Self::Launch { hosts, .. } => hosts.len() as u32,
            Self::Await { nodes } => *nodes,
        }
    }

    /// Whether all nodes are on this machine, so that nobody else need reach the coordinator.
    fn is_here(&self) -> bool {
        matches!(self, Self::Launch { launcher: Launcher::Local, .. })
    }
}

impl Nodes {
    /// Opens a cluster and waits until its nodes are there.
    pub(super) fn gather(source: &Source, job: &Invocation) -> anyhow::Result<Self> {
        let mut options = ClusterOptions::new(listen(source, &job.nodes)?);
        if let Some(timeout) = job.nodes.node_timeout {
            options.node_timeout = timeout;
        }
        let cluster = Cluster::open(&options)?;
        let launched = match source {
            Source::Launch { hosts, launcher } => Some(launch(&cluster, hosts, launcher, job)?),
            Source::Await { nodes } => {
                invite(&cluster, *nodes, job)?;
                None
            }
        };
        wait(&cluster, source.nodes(), launched.as_ref())?;
        let hosts = match source {
            Source::Launch { hosts, .. } => hosts.as_slice(),
            Source::Await { .. } => &[],
        };
        let members = members(cluster.status().nodes, hosts);
        Ok(Self { cluster, members, launched })
    }

    /// From now on the end of a node's process is told to the coordinator at once.
    pub(super) fn watch(&self) -> anyhow::Result<()> {
        let Some(launched) = &self.launched else { return Ok(()) };
        let (ends, cluster) = (launched.ends(), self.cluster.clone());
        let nodes: Vec<(String, NodeId)> =
            self.members.iter().map(|member| (member.slots.name.clone(), member.node)).collect();
        let watch = move || {
            while let Ok(LaunchedNode { host, failure }) = ends.recv() {
                let cause = failure.map_or("its process ended".to_owned(), |failure| failure.cause);
                let reason = cause.trim_end_matches('.');
                for (_, node) in nodes.iter().filter(|(name, _)| *name == host) {
                    cluster.node_ended(*node, reason);
                }
            }
        };
        std::thread::Builder::new()
            .name("faasm-nodes".to_owned())
            .spawn(watch)
            .context("cannot start a thread; check `ulimit -u`")?;
        Ok(())
    }

    /// Lets all nodes go, and their processes end.
    pub(super) fn end(mut self) {
        self.cluster.shutdown();
        if let Some(launched) = &mut self.launched {
            launched.stop(STOP_PATIENCE);
        }
    }
}

/// The hosts that the command line names.
fn hosts(options: &NodeOptions) -> anyhow::Result<Vec<Host>> {
    let mut from_files = HostList::default();
    for file in &options.hostfiles {
        from_files.extend(HostList::read(&PathBuf::from(file))?)?;
    }
    let mut listed = HostList::default();
    for list in &options.hosts {
        listed.extend(HostList::parse_list(list)?)?;
    }
    let chosen = match (from_files.hosts().is_empty(), listed.hosts().is_empty()) {
        (true, _) => listed,
        (false, true) => from_files,
        (false, false) => from_files.restrict(&listed)?,
    };
    Ok(chosen.hosts().to_vec())
}

fn host(name: String) -> Host {
    Host { name, user: None, slots: None, slots_max: None, mentions: 1 }
}

/// How nodes get to their hosts.
fn launcher(options: &NodeOptions) -> anyhow::Result<Launcher> {
    let remote_program = match (&options.prefix, std::env::var_os("FAASM_RUN")) {
        (Some(prefix), _) => PathBuf::from(prefix).join("bin/faasm-run"),
        (None, Some(program)) => program.into(),
        (None, None) => own_program()?,
    };
    Ok(match options.launcher {
        Some(LauncherKind::Local) => Launcher::Local,
        Some(LauncherKind::Slurm) => {
            let mut slurm = SlurmLauncher::new(remote_program);
            if let Some(program) = &options.launcher_exec {
                slurm.program = program.into();
            }
            slurm.args.clone_from(&options.launcher_args);
            Launcher::Slurm(slurm)
        }
        Some(LauncherKind::Ssh) | None => {
            let mut ssh = SshLauncher::new(remote_program);
            if let Some(program) = &options.launcher_exec {
                ssh.program = program.into();
            }
            ssh.args.clone_from(&options.launcher_args);
            ssh.here_too = options.launcher.is_some();
            Launcher::Ssh(ssh)
        }
    })
}

fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find out where this program is; name it in FAASM_RUN")
}

/// Where the coordinator listens.
fn listen(source: &Source, options: &NodeOptions) -> anyhow::Result<SocketAddr> {
    let Some(address) = &options.listen else {
        let ip = if source.is_here() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        return Ok((ip, 0).into());
    };
    let mut found = address.to_socket_addrs().with_context(|| format!("--listen {address}"))?;
    found.next().ok_or_else(|| anyhow!("--listen {address}: there is no such address"))
}

/// Starts a node for each host.
fn launch(
    cluster: &Cluster,
    hosts: &[Host],
    launcher: &Launcher,
    job: &Invocation,
) -> anyhow::Result<Launched> {
    let uses = launcher.token_uses(hosts.len() as u32);
    let tokens = uses.into_iter().map(|uses| cluster.issue_token(TOKEN_VALID, uses));
    let order = LaunchOrder {
        hosts: hosts.to_vec(),
        program: own_program()?,
        join: addresses(cluster, hosts)?,
        tokens: tokens.collect::<Result<_, _>>()?,
        node_args: node_args(hosts.len(), launcher, job),
        on_line: Arc::new(|host, line| eprintln!("{host}: {line}")),
    };
    Ok(launcher.start(&order)?)
}

/// Where nodes try to find the coordinator, in this order.
fn addresses(cluster: &Cluster, hosts: &[Host]) -> anyhow::Result<Vec<String>> {
    let address = cluster.address().context("the coordinator listens nowhere")?;
    if !address.ip().is_unspecified() {
        return Ok(vec![address.to_string()]);
    }
    let towards = hosts.iter().filter_map(|host| launcher::address_towards(&host.name));
    let mut found: Vec<String> = Vec::new();
    for ip in towards.filter(|ip| !ip.is_loopback()).chain(launcher::local_addresses()) {
        let text = SocketAddr::new(ip, address.port()).to_string();
        let fits = ip.is_ipv4() || address.is_ipv6();
        if fits && !found.contains(&text) {
            found.push(text);
        }
    }
    Ok(found)
}

fn node_args(nodes: usize, launcher: &Launcher, job: &Invocation) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shared = matches!(launcher, Launcher::Local).then(|| (cores / nodes).max(1));
    let workers = job.workers.map(usize::from).or(shared);
    let mut args = Vec::new();
    if let Some(workers) = workers {
        args.extend(["--workers".to_owned(), workers.to_string()]);
    }
    if let Some(timeout) = job.nodes.node_timeout {
        args.extend(["--node-timeout".to_owned(), timeout.as_secs_f64().to_string()]);
    }
    args.extend((0..job.verbosity).map(|_| "-v".to_owned()));
    args.extend(job.quiet.then(|| "-q".to_owned()));
    args
}

/// Lets nodes join that somebody else starts.
fn invite(cluster: &Cluster, nodes: u32, job: &Invocation) -> anyhow::Result<()> {
    let Some(file) = &job.nodes.token_file else {
        bail!(
            "nodes that join by themselves need a token: put a secret into a file, for example with \
             `openssl rand -hex 32`, and name it here and there with --token-file"
        );
    };
    let token = crate::commands::node::read_token(&PathBuf::from(file))?;
    cluster.accept_token(&token, AWAIT_PATIENCE, nodes)?;
    if !job.quiet {
        let at = addresses(cluster, &[])?.join(",");
        eprintln!("faasm-run: note: waiting for {nodes} nodes: `faasm-run node --join {at}`");
    }
    Ok(())
}

/// Waits until all nodes are there, or one of them cannot come.
fn wait(cluster: &Cluster, nodes: u32, launched: Option<&Launched>) -> anyhow::Result<()> {
    let patience = if launched.is_some() { JOIN_PATIENCE } else { AWAIT_PATIENCE };
    let give_up = Instant::now() + patience;
    loop {
        let waited = cluster.await_nodes(nodes, LOOK_INTERVAL);
        let Err(error) = waited else { return Ok(()) };
        if let Some(ended) = launched.and_then(|launched| launched.next_end(Duration::ZERO)) {
            return Err(ended.failure.unwrap_or_else(|| early(ended.host)).into());
        }
        if Instant::now() >= give_up {
            return Err(error.into());
        }
    }
}

fn early(host: String) -> LaunchFailure {
    LaunchFailure {
        host,
        cause: "it ended before it had joined.".to_owned(),
        remedy: "Its own messages say why.".to_owned(),
    }
}

/// The nodes in the order of their hosts; those without one at the end.
fn members(mut joined: Vec<NodeStatus>, hosts: &[Host]) -> Vec<Member> {
    let mut members = Vec::new();
    for host in hosts {
        let named = joined.iter().position(|node| *node.host == *host.name);
        if let Some(index) = named {
            let node = joined.remove(index);
            let slots = NodeSlots {
                name: host.name.clone(),
                slots: host.slots,
                slots_max: host.slots_max,
                weight: host.mentions,
                cores: node.workers,
            };
            members.push(Member { node: node.node, workers: node.workers, slots });
        }
    }
    members.extend(joined.into_iter().map(|node| {
        let mut slots = NodeSlots::unlimited(node.host.to_string(), node.workers);
        slots.slots = node.slots;
        Member { node: node.node, workers: node.workers, slots }
    }));
    members
}

/// How long tokens for nodes that we start are valid.
const TOKEN_VALID: Duration = Duration::from_secs(600);
/// How long nodes that we start may take to join.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);
/// How long nodes are waited for that others start.
const AWAIT_PATIENCE: Duration = Duration::from_secs(600);
/// How often it is looked whether a node's process has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long node processes may take to end once the cluster has.
const STOP_PATIENCE: Duration = Duration::from_millis(500);
