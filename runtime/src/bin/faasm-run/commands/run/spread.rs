//! Runs one job over several nodes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, bail};
use faasm_runtime::{
    AppDemand, ClusterApp, ClusterDir, ClusterJob, JobHandle, MapBy, NodeSlots, Placement,
    PlacementRules, PlacementView, Program, RankBy, StdinStream, Topology, place,
};

use super::{
    Event, announce_end,
    environment::Environment,
    nodes::{Member, Nodes, members},
    output,
    plan::NodePlan,
    programs::read,
    signals::Signals,
    stdin_policy, supervise, verdict,
};
use crate::args::{ClusterAddress, Invocation, Mapping, NodeOptions, Numbering, Stdin};

/// Runs a job on nodes of which this process is the coordinator.
pub(super) fn run_job(job: &Invocation, plan: &NodePlan, begun: Instant) -> anyhow::Result<i32> {
    let front = Front::new(job, begun)?;
    let nodes = Nodes::gather(plan, job)?;
    let rules = rules(&job.nodes, plan.is_cyclic)?;
    let placement = placement(job, (plan.ranks, &rules), &nodes.members)?;
    let status = front.run(&placement, &nodes.members, |spread| {
        let handle = nodes.cluster.spawn(spread)?;
        nodes.watch()?;
        Ok(handle)
    });
    nodes.end();
    status
}

/// Runs a job on a cluster that is there already.
pub(super) fn submit_job(
    job: &Invocation,
    address: &ClusterAddress,
    begun: Instant,
) -> anyhow::Result<i32> {
    let front = Front::new(job, begun)?;
    let mut client = crate::commands::cluster::connect(address, job.nodes.token_file.as_deref())?;
    let mut nodes = client.status()?.nodes;
    nodes.retain(|node| !node.draining);
    if nodes.is_empty() {
        bail!(
            "the cluster has no node that takes jobs; let some join: `faasm-run cluster token` makes \
             a token for `faasm-run node --join`"
        );
    }
    let members = members(nodes, &[]);
    let placement = placement(job, (None, &rules(&job.nodes, false)?), &members)?;
    front.run(&placement, &members, |spread| Ok(client.spawn(spread)?))
}

/// This process's side of a job.
struct Front<'a> {
    job: &'a Invocation,
    begun: Instant,
    signals: Signals,
    events: (flume::Sender<Event>, flume::Receiver<Event>),
    programs: Vec<Program>,
}

impl<'a> Front<'a> {
    /// What is wrong with a program is told here, before a node is started.
    fn new(job: &'a Invocation, begun: Instant) -> anyhow::Result<Self> {
        let events = flume::unbounded();
        let signals = Signals::watch(events.0.clone())?;
        let programs = job.apps.iter().map(|app| read(&app.program)).collect::<Result<_, _>>()?;
        Ok(Self { job, begun, signals, events, programs })
    }

    /// Starts the job and sees it to its end; gives the exit code.
    fn run(
        self,
        placement: &Placement,
        members: &[Member],
        spawn: impl FnOnce(ClusterJob) -> anyhow::Result<JobHandle>,
    ) -> anyhow::Result<i32> {
        let Self { job, begun, signals, events: (events, received), programs } = self;
        let (spread, hosts) = describe(job, programs, placement, members)?;
        let ranks = placement.node_of_rank.len() as u32;
        let output = Arc::new(output(job, (ranks, hosts), events.clone())?);
        let handle = spawn(ClusterJob { output: Some(output.clone()), ..spread })?;
        signals.job_runs();
        let startup = begun.elapsed();
        announce_end(handle.clone(), events)?;
        let report = supervise(&handle, &output, None, &received);
        output.finish();
        let mut text = verdict::describe(&report);
        if job.report {
            let workers = members.iter().map(|member| member.workers).sum();
            text.push_str(&verdict::summary(&report, workers, startup));
        }
        output.message(&text);
        Ok(report.exit_code())
    }
}

/// Which rank runs on which member; shows it if that was asked for.
fn placement(
    job: &Invocation,
    (ranks, rules): (Option<u32>, &PlacementRules),
    members: &[Member],
) -> anyhow::Result<Placement> {
    let demand = |app: &crate::args::App| {
        let ranks_per_node = app.ranks_per_node;
        let default = ranks.filter(|_| ranks_per_node.is_none());
        AppDemand { ranks: app.ranks.or(default), ranks_per_node }
    };
    let demands: Vec<AppDemand> = job.apps.iter().map(demand).collect();
    let nodes: Vec<NodeSlots> = members.iter().map(|member| member.slots.clone()).collect();
    let placement = place(&demands, &nodes, rules)?;
    let workers: Vec<u32> = members.iter().map(|member| member.workers).collect();
    let view = PlacementView { nodes: &nodes, placement: &placement, workers: &workers };
    let display = job.nodes.display;
    if display.allocation {
        eprint!("{}", view.allocation());
    }
    if display.map {
        eprint!("{}", view.map());
    }
    if display.bindings {
        eprint!("{}", view.bindings());
    }
    Ok(placement)
}

fn rules(options: &NodeOptions, is_cyclic: bool) -> anyhow::Result<PlacementRules> {
    let map_by = match &options.map_by {
        None if is_cyclic => MapBy::Node,
        None | Some(Mapping::Slot) => MapBy::Slot,
        Some(Mapping::Node) => MapBy::Node,
        Some(Mapping::Grid { dims, periodic }) => {
            MapBy::Locality(Topology::Grid { dims: dims.clone(), periodic: *periodic })
        }
        Some(Mapping::EdgeFile(file)) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("--map-by {file}"))?;
            MapBy::Locality(Topology::parse_edges(file, &text)?)
        }
    };
    let rank_by = options.rank_by.map(|numbering| match numbering {
        Numbering::Slot => RankBy::Slot,
        Numbering::Node => RankBy::Node,
    });
    Ok(PlacementRules { map_by, rank_by, oversubscribe: options.oversubscribe })
}

/// The job for the cluster, and the host of each rank.
fn describe(
    job: &Invocation,
    programs: Vec<Program>,
    placement: &Placement,
    members: &[Member],
) -> anyhow::Result<(ClusterJob, Vec<Arc<str>>)> {
    let mut apps = Vec::new();
    for ((app, program), ranks) in job.apps.iter().zip(programs).zip(&placement.ranks_of_app) {
        apps.push(ClusterApp {
            program,
            ranks: *ranks,
            args: app.args.clone(),
            env: Environment::ours().apply(&app.env, job.quiet).into_iter().collect(),
            wdir: absolute(app.wdir.as_deref().unwrap_or("."))?,
        });
    }
    let mut dirs = Vec::new();
    for dir in &job.dirs {
        let (guest, read_only) = (dir.guest.clone(), dir.read_only);
        dirs.push(ClusterDir { host: absolute(&dir.host)?, guest, read_only });
    }
    let names: Vec<Arc<str>> =
        members.iter().map(|member| member.slots.name.as_str().into()).collect();
    let on = |node: &u32| *node as usize;
    let everyone = Environment::based_on(job.env_base).apply(&job.env, job.quiet);
    let spread = ClusterJob {
        apps,
        env: everyone.into_iter().collect(),
        dirs,
        stdin: stdin_policy(job.stdin),
        input: if job.stdin == Stdin::None { None } else { StdinStream::process().ok() },
        output: None,
        timeout: job.timeout,
        tolerates_failures: job.tolerates_failures,
        placement: placement.node_of_rank.iter().map(|node| members[on(node)].node).collect(),
    };
    let hosts = placement.node_of_rank.iter().map(|node| names[on(node)].clone()).collect();
    Ok((spread, hosts))
}

/// A path that means the same to processes with another working directory.
fn absolute(path: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("our working directory cannot be found out")?;
    // A directory that exists here is named as such; one that does not may exist on other hosts.
    let path = here.join(Path::new(path));
    Ok(path.canonicalize().unwrap_or(path))
}
