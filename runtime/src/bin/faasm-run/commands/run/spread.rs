//! Runs one job over several nodes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::Context as _;
use faasm_runtime::{
    AppDemand, ClusterApp, ClusterDir, ClusterJob, MapBy, NodeSlots, Placement, PlacementRules,
    PlacementView, Program, RankBy, StdinStream, Topology, place,
};

use super::{
    announce_end,
    environment::Environment,
    nodes::{Member, Nodes},
    output,
    plan::NodePlan,
    programs::read,
    signals::Signals,
    stdin_policy, supervise, verdict,
};
use crate::args::{Invocation, Mapping, NodeOptions, Numbering, Stdin};

pub(super) fn run_job(job: &Invocation, plan: &NodePlan, begun: Instant) -> anyhow::Result<i32> {
    let (events, received) = flume::unbounded();
    let signals = Signals::watch(events.clone())?;
    // What is wrong with a program is told before a node is started.
    let programs: Vec<Program> =
        job.apps.iter().map(|app| read(&app.program)).collect::<Result<_, _>>()?;
    let nodes = Nodes::gather(plan, job)?;
    let placement = placement(job, plan, &nodes.members)?;
    let (spread, hosts) = describe(job, programs, &placement, &nodes.members)?;
    let ranks = placement.node_of_rank.len() as u32;
    let output = Arc::new(output(job, (ranks, hosts), events.clone())?);
    let spread = ClusterJob { output: Some(output.clone()), ..spread };
    let handle = nodes.cluster.spawn(spread)?;
    nodes.watch()?;
    signals.job_runs();
    let startup = begun.elapsed();
    announce_end(handle.clone(), events)?;
    let report = supervise(&handle, &output, &received);
    output.finish();
    let mut text = verdict::describe(&report);
    if job.report {
        let workers = nodes.members.iter().map(|member| member.workers).sum();
        text.push_str(&verdict::summary(&report, workers, startup));
    }
    output.message(&text);
    nodes.end();
    Ok(report.exit_code())
}

/// Which rank runs on which member; shows it if that was asked for.
fn placement(job: &Invocation, plan: &NodePlan, members: &[Member]) -> anyhow::Result<Placement> {
    let demand = |app: &crate::args::App| {
        let ranks_per_node = app.ranks_per_node;
        let default = plan.ranks.filter(|_| ranks_per_node.is_none());
        AppDemand { ranks: app.ranks.or(default), ranks_per_node }
    };
    let demands: Vec<AppDemand> = job.apps.iter().map(demand).collect();
    let nodes: Vec<NodeSlots> = members.iter().map(|member| member.slots.clone()).collect();
    let placement = place(&demands, &nodes, &rules(&job.nodes, plan.is_cyclic)?)?;
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
