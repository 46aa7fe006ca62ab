//! Runs one job over several nodes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, bail};
use faasm_runtime::{
    AppDemand, Checkpoint, ClusterApp, ClusterDir, ClusterJob, ClusterOrigin, JobHandle, MapBy,
    Multiplexer, NodeId, NodeSlots, Placement, PlacementRules, PlacementView, Program, RankBy,
    SavedApp, StdinStream, Topology, place,
};

use super::{
    Event, announce_end,
    checkpoints::{self, Checkpoints},
    environment::Environment,
    nodes::{Member, Nodes, members},
    output,
    plan::NodePlan,
    programs::read,
    recovery::{From, Recovery},
    signals::Signals,
    stdin_policy, supervise, verdict,
};
use crate::args::{ClusterAddress, Invocation, Mapping, NodeOptions, Numbering, Stdin};
use crate::commands::orders::Orders;

/// Runs a job, or lets it go on from a checkpoint, on nodes of which this process is the coordinator.
pub(super) fn run_job(
    job: &Invocation,
    plan: &NodePlan,
    from: Option<Checkpoint>,
    begun: Instant,
) -> anyhow::Result<i32> {
    let front = Front::new(job, from, begun)?;
    let nodes = Nodes::gather(plan, job)?;
    let rules = rules(&job.nodes, plan.is_cyclic)?;
    let mut is_watched = false;
    let status = front.run((plan.ranks, rules), |spread| {
        let members = members(nodes.cluster.status().nodes, &plan.hosts);
        let placed = spread(&members)?;
        let handle = nodes.cluster.spawn(placed).map_err(|error| {
            let is_lost = nodes.cluster.status().nodes.len() < members.len();
            let error = anyhow::Error::from(error);
            if is_lost { error.context(LostBefore) } else { error }
        })?;
        if !std::mem::replace(&mut is_watched, true) {
            nodes.watch()?;
        }
        Ok(handle)
    });
    nodes.end();
    status
}

/// Runs a job, or lets it go on from a checkpoint, on a cluster that is there already.
pub(super) fn submit_job(
    job: &Invocation,
    address: &ClusterAddress,
    from: Option<Checkpoint>,
    begun: Instant,
) -> anyhow::Result<i32> {
    let front = Front::new(job, from, begun)?;
    let rules = rules(&job.nodes, false)?;
    front.run((None, rules), |spread| {
        let token = job.nodes.token_file.as_deref();
        let mut client = crate::commands::cluster::connect(address, token)?;
        let mut nodes = client.status()?.nodes;
        nodes.retain(|node| !node.draining);
        if nodes.is_empty() {
            bail!(
                "the cluster has no node that takes jobs; let some join: `faasm-run cluster token` makes \
                 a token for `faasm-run node --join`"
            );
        }
        Ok(client.spawn(spread(&members(nodes, &[]))?)?)
    })
}

/// A node was lost while the others made a job ready.
#[derive(Debug, thiserror::Error)]
#[error("a node was lost before the ranks ran")]
struct LostBefore;

/// Describes the job for the nodes that there are.
type Spread<'a> = dyn FnMut(&[Member]) -> anyhow::Result<ClusterJob> + 'a;

/// This process's side of a job.
struct Front<'a> {
    job: &'a Invocation,
    begun: Instant,
    signals: Signals,
    events: (flume::Sender<Event>, flume::Receiver<Event>),
    programs: Vec<Program>,
    input: Option<StdinStream>,
    from: From,
    recovery: Recovery,
}

impl<'a> Front<'a> {
    /// What is wrong with a program is told here, before a node is started.
    fn new(job: &'a Invocation, from: Option<Checkpoint>, begun: Instant) -> anyhow::Result<Self> {
        let events = flume::unbounded();
        let signals = Signals::watch(events.0.clone())?;
        let programs = match &from {
            None => job.apps.iter().map(|app| read(&app.program)).collect::<Result<_, _>>()?,
            Some(checkpoint) => saved_programs(checkpoint)?,
        };
        let from =
            from.map(|from| ClusterOrigin { dir: from.dir().to_owned(), cut: from.number() });
        let recovery = Recovery::new(job, from.as_ref())?;
        let input = if job.stdin == Stdin::None { None } else { StdinStream::process().ok() };
        if let (Some(input), true) = (&input, recovery.is_wanted()) {
            input.keep();
        }
        Ok(Self { job, begun, signals, events, programs, input, from, recovery })
    }

    /// Starts the job and sees it to its end, on whatever nodes are left; gives the exit code.
    fn run(
        mut self,
        (ranks, mut rules): (Option<u32>, PlacementRules),
        mut spawn: impl FnMut(&mut Spread<'_>) -> anyhow::Result<JobHandle>,
    ) -> anyhow::Result<i32> {
        let mut shown: Option<Arc<Multiplexer>> = None;
        loop {
            let mut workers = 0;
            let origin = origin(self.from.as_ref())?;
            let spawned = spawn(&mut |members| {
                workers = members.iter().map(|member| member.workers).sum();
                let demand = (ranks, &rules, origin.as_ref());
                let placement = placement(self.job, demand, members, shown.is_none())?;
                let (spread, hosts) = self.describe(&placement, members)?;
                let output = match &shown {
                    Some(output) => output,
                    None => shown.insert(Arc::new(output(
                        self.job,
                        (placement.node_of_rank.len() as u32, hosts),
                        self.events.0.clone(),
                    )?)),
                };
                Ok(ClusterJob { output: Some(output.clone()), ..spread })
            });
            let status = match (spawned, &shown) {
                (Ok(handle), Some(output)) => self.see_to_its_end(&handle, output, workers)?,
                (Ok(_), None) => bail!("the job was started without having been described"),
                (Err(error), _) => self.try_again(error)?,
            };
            if let Some(status) = status {
                return Ok(status);
            }
            // Those that are left take all ranks.
            rules.oversubscribe = Some(true);
        }
    }

    /// Waits for the end of the job; gives the exit code, unless it is to go on elsewhere.
    fn see_to_its_end(
        &mut self,
        handle: &JobHandle,
        output: &Arc<Multiplexer>,
        workers: u32,
    ) -> anyhow::Result<Option<i32>> {
        self.signals.job_runs();
        let startup = self.begun.elapsed();
        announce_end(handle.clone(), self.events.0.clone())?;
        let checkpoints = Checkpoints::begin(self.job, handle.clone(), output.clone())?;
        let _orders = match self.job.migratable {
            true => Some(Orders::listen(handle.clone(), true)?),
            // A cluster has ranks move whose programs allow it.
            false => {
                let may_move = self.job.nodes.cluster.is_some();
                Orders::listen_if_possible(handle.clone(), may_move)
            }
        };
        let report = supervise(handle, output, checkpoints.as_ref(), &self.events.1);
        let mut text = verdict::describe(&report);
        if let Some((from, how)) = self.recovery.after(&report)? {
            output.message(&format!(
                "{text}faasm-run: the job {how}
"
            ));
            self.from = from;
            return Ok(None);
        }
        output.finish();
        if self.job.report {
            text.push_str(&verdict::summary(&report, workers, startup));
            text.extend(checkpoints.as_ref().map(Checkpoints::summary));
        }
        output.message(&text);
        Ok(Some(report.exit_code()))
    }

    /// The job could not start: because a further node was lost while it was to go on, or for good.
    fn try_again(&mut self, error: anyhow::Error) -> anyhow::Result<Option<i32>> {
        let is_lost = error.is::<LostBefore>() || self.recovery.has_begun();
        let again = if is_lost { self.recovery.again()? } else { None };
        let Some((from, how)) = again else { return Err(error) };
        eprintln!(
            "faasm-run: {error:#}
faasm-run: the job {how}"
        );
        self.from = from;
        Ok(None)
    }

    /// The job for the cluster, and the host of each rank.
    fn describe(
        &self,
        placement: &Placement,
        members: &[Member],
    ) -> anyhow::Result<(ClusterJob, Vec<Arc<str>>)> {
        let (job, programs) = (self.job, self.programs.clone());
        let (spread, hosts) = describe(job, programs, placement, members)?;
        let (input, origin) = (self.input.clone(), self.from.clone());
        let checkpoints = checkpoints::of_programs(job, self.programs.clone());
        Ok((ClusterJob { input, origin, checkpoints, ..spread }, hosts))
    }
}

/// The programs as they were kept with the checkpoint.
fn saved_programs(checkpoint: &Checkpoint) -> anyhow::Result<Vec<Program>> {
    let load = |saved: &SavedApp| {
        let path = checkpoint.program(&saved.hash);
        let bytes =
            std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(Program::from_bytes(&saved.name, bytes)?)
    };
    checkpoint.description().apps.iter().map(load).collect()
}

/// The checkpoint from which the job goes on.
fn origin(from: Option<&ClusterOrigin>) -> anyhow::Result<Option<Checkpoint>> {
    Ok(from.map(|from| Checkpoint::open(&from.dir, Some(from.cut))).transpose()?)
}

/// Which rank runs on which member; shows it if that was asked for.
fn placement(
    job: &Invocation,
    (ranks, rules, origin): (Option<u32>, &PlacementRules, Option<&Checkpoint>),
    members: &[Member],
    is_first: bool,
) -> anyhow::Result<Placement> {
    let demand = |app: &crate::args::App| {
        let ranks_per_node = app.ranks_per_node;
        let default = ranks.filter(|_| ranks_per_node.is_none());
        AppDemand { ranks: app.ranks.or(default), ranks_per_node }
    };
    let demands: Vec<AppDemand> = job.apps.iter().map(demand).collect();
    let nodes: Vec<NodeSlots> = members.iter().map(|member| member.slots.clone()).collect();
    let mut placement = place(&demands, &nodes, rules)?;
    if let Some(origin) = origin {
        let spawned = placement.node_of_rank.len() as u32..origin.ranks();
        placement.add_spawned(spawned.map(|rank| !origin.has_ended(rank)), &nodes);
        placement.bring_together(origin.bonds(), &nodes, rules)?;
    }
    let workers: Vec<u32> = members.iter().map(|member| member.workers).collect();
    let view = PlacementView { nodes: &nodes, placement: &placement, workers: &workers };
    let display = if is_first { job.nodes.display } else { Default::default() };
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
        input: None,
        output: None,
        timeout: job.timeout,
        tolerates_failures: job.tolerates_failures,
        checkpoints: None,
        migratable: job.migratable,
        migratable_if_possible: job.nodes.cluster.is_some(),
        spares: 0,
        slots: slots(members),
        origin: None,
        policy: job.policy,
        placement: placement.node_of_rank.iter().map(|node| members[on(node)].node).collect(),
    };
    let hosts = placement.node_of_rank.iter().map(|node| names[on(node)].clone()).collect();
    Ok((spread, hosts))
}

/// The slots of members that were given some.
fn slots(members: &[Member]) -> Vec<(NodeId, u32)> {
    members.iter().filter_map(|member| Some((member.node, member.slots.slots?))).collect()
}

/// A path that means the same to processes with another working directory.
fn absolute(path: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("our working directory cannot be found out")?;
    // A directory that exists here is named as such; one that does not may exist on other hosts.
    let path = here.join(Path::new(path));
    Ok(path.canonicalize().unwrap_or(path))
}
