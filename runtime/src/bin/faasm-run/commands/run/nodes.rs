//! The nodes of a job: starting them, and waiting until they are there.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use faasm_runtime::launcher::{
    self, LaunchFailure, LaunchOrder, Launched, LaunchedNode,
    slurm::{Invitation, Rendezvous, Step},
};
use faasm_runtime::{
    Cluster, ClusterError, ClusterOptions, Host, NodeId, NodeSlots, NodeStatus, SharedToken,
};

use super::plan::{NodePlan, own_program};
use crate::args::Invocation;

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

impl Nodes {
    /// Opens a cluster and waits until its nodes are there.
    pub(super) fn gather(plan: &NodePlan, job: &Invocation) -> anyhow::Result<Self> {
        let mut options = ClusterOptions::new(plan.listen);
        if let Some(timeout) = job.nodes.node_timeout {
            options.node_timeout = timeout;
        }
        if plan.awaited > 0 {
            options.tokens.push(shared_token(plan)?);
        }
        let cluster = Cluster::open(&options)?;
        if plan.awaited > 0 && !job.quiet {
            let at = addresses(&cluster, &[])?.join(",");
            eprintln!(
                "faasm-run: note: waiting for {} nodes: `faasm-run node --join {at}`",
                plan.awaited
            );
        }
        // The file of the step is there until all have joined.
        let _rendezvous = plan.step.as_ref().map(|step| meet(&cluster, plan, step)).transpose()?;
        let launched = match plan.started.is_empty() {
            true => None,
            false => Some(launch(&cluster, plan, job)?),
        };
        wait(&cluster, plan, launched.as_ref())?;
        let members = members(cluster.status().nodes, &plan.hosts);
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

/// Starts the nodes that are ours to start.
fn launch(cluster: &Cluster, plan: &NodePlan, job: &Invocation) -> anyhow::Result<Launched> {
    let hosts: Vec<Host> = plan.started.iter().map(|index| plan.hosts[*index].clone()).collect();
    let uses = plan.launcher.token_uses(hosts.len() as u32);
    let tokens = uses.into_iter().map(|uses| cluster.issue_token(TOKEN_VALID, uses));
    let order = LaunchOrder {
        program: own_program()?,
        join: addresses(cluster, &hosts)?,
        hosts,
        tokens: tokens.collect::<Result<_, _>>()?,
        node_args: node_args(cluster, plan, job),
        on_line: Arc::new(|host, line| eprintln!("{host}: {line}")),
    };
    Ok(plan.launcher.start(&order)?)
}

/// Tells the other hosts of a step of Slurm where we are.
fn meet(cluster: &Cluster, plan: &NodePlan, step: &Step) -> anyhow::Result<Rendezvous> {
    let others = plan.nodes().saturating_sub(plan.started.len() as u32);
    let token = cluster.issue_token(TOKEN_VALID, others)?;
    let invitation = Invitation { join: addresses(cluster, &plan.hosts)?, token };
    let dir = Rendezvous::directory(&|name| std::env::var(name).ok());
    Ok(Rendezvous::publish(&dir, &step.name(), &invitation)?)
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

fn node_args(cluster: &Cluster, plan: &NodePlan, job: &Invocation) -> Vec<String> {
    let workers = job.workers.map(usize::from).or(plan.workers);
    let mut args = Vec::new();
    if let Some(address) = cluster.address().filter(|address| address.ip().is_loopback()) {
        // All nodes are on this machine, and nobody else needs to see them.
        args.extend(["--listen".to_owned(), SocketAddr::new(address.ip(), 0).to_string()]);
    }
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

/// What nodes join with that somebody else starts.
fn shared_token(plan: &NodePlan) -> anyhow::Result<SharedToken> {
    let Some(file) = &plan.token_file else {
        bail!(
            "nodes that join by themselves need a token: put a secret into a file, for example with \
             `openssl rand -hex 32`, and name it here and there with --token-file"
        );
    };
    let token = crate::commands::node::read_token(&PathBuf::from(file))?;
    Ok(SharedToken::new(&token, AWAIT_PATIENCE, plan.awaited)?)
}

/// Waits until all nodes are there, or one of them cannot come.
fn wait(cluster: &Cluster, plan: &NodePlan, launched: Option<&Launched>) -> anyhow::Result<()> {
    let patience = if plan.awaited == 0 { JOIN_PATIENCE } else { AWAIT_PATIENCE };
    let give_up = Instant::now() + patience;
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        let waited = cluster.await_nodes(plan.nodes(), LOOK_INTERVAL.min(left));
        let Err(error) = waited else { return Ok(()) };
        if let Some(ended) = launched.and_then(|launched| launched.next_end(Duration::ZERO)) {
            return Err(ended.failure.unwrap_or_else(|| early(ended.host)).into());
        }
        if left.is_zero() {
            return Err(match error {
                ClusterError::TooFewNodes { joined, expected, .. } => {
                    ClusterError::TooFewNodes { joined, expected, patience }.into()
                }
                error => error.into(),
            });
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
pub(super) fn members(mut joined: Vec<NodeStatus>, hosts: &[Host]) -> Vec<Member> {
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
