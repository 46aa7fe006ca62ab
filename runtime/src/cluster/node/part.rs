//! A node's part of a job, from its description to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use faasm_mpi_shim::world::Placement;
use faasm_transport::NodeId;

use super::driver::Links;
use super::fetch::Programs;
use super::midwife::{Heard, Midwife};
use super::spawned;
use crate::checkpoint::Checkpoint;
use crate::cluster::codec::Outbox;
use crate::cluster::data::DataPlane;
use crate::cluster::input::STDIN_KEPT_BYTES_MAX;
use crate::cluster::message::{Motion, Movable, Origin, Prepare, Stdin, ToCoordinator, Totals};
use crate::cluster::output::RemoteOutput;
use crate::cluster::stop::{Legacy, Stone};
use crate::host::wasi::{Preopen, StdinStream};
use crate::job::{AppSpec, Halt, JobHandle, JobReport, JobSpec, RankEvent};
use crate::message::JobLinks;
use crate::omp_nodes::nodes_asked_for;
use crate::runtime::{PreparedJob, Runtime};

/// A part whose ranks are ready to run.
#[derive(Debug)]
pub(super) struct ReadyPart {
    pub(super) job: PreparedJob,
    pub(super) streams: PartStreams,
    /// Whether the stacks of its ranks can be taken.
    pub(super) is_migratable: bool,
    /// Who has processes spawned for them, and here.
    pub(super) midwife: Arc<Midwife>,
}

/// The ways of a part's output and input.
#[derive(Clone, Debug)]
pub(super) struct PartStreams {
    pub(super) output: Arc<RemoteOutput>,
    pub(super) input: Option<StdinStream>,
}

/// Makes a part ready; takes as long as its programs need to arrive and to be compiled.
///
/// # Errors
/// Why it cannot run here, in a paragraph.
pub(super) fn prepare(
    prepare: &Prepare,
    runtime: &Runtime,
    programs: &Arc<Programs>,
    links: &Links,
) -> Result<ReadyPart, String> {
    let outbox = &links.outbox;
    let this = outbox.endpoint().node();
    let placement = placement(prepare, this)?;
    let output = Arc::new(RemoteOutput::new(outbox.clone(), prepare.job));
    let (movable, forwards) = variant(prepare, &placement);
    let moves = movable != Movable::No;
    let reads = match prepare.stdin {
        Stdin::None => false,
        Stdin::All => true,
        Stdin::Rank(_) if moves => true,
        Stdin::Rank(rank) => placement.nodes.get(rank as usize) == Some(&placement.this_node),
    };
    let input = reads.then(|| {
        let (outbox, job) = (outbox.clone(), prepare.job);
        let input = StdinStream::fed(prepare.terminal, move || {
            outbox.send(NodeId::COORDINATOR, &ToCoordinator::StdinWanted { job });
        });
        if moves {
            // For a rank that leaves and comes back.
            input.keep_up_to(STDIN_KEPT_BYTES_MAX);
        }
        input
    });
    let mut apps = Vec::new();
    for app in &prepare.apps {
        let mut spec = AppSpec::new(programs.get(app, (movable, forwards))?, app.ranks);
        spec.args.clone_from(&app.args);
        spec.env.clone_from(&app.env);
        spec.wdir = Some(PathBuf::from(&app.wdir));
        apps.push(spec);
    }
    let is_migratable = apps.iter().all(|app: &AppSpec| app.module.is_migratable());
    let mut preopens = Vec::new();
    for dir in &prepare.dirs {
        let preopen = Preopen::open(Path::new(&dir.host), &dir.guest, dir.read_only);
        preopens.push(preopen.map_err(|error| error.to_string())?);
    }
    let spec = JobSpec {
        apps,
        env: prepare.env.clone(),
        preopens,
        // Without a reader here nobody must touch the node's own standard input.
        stdin: if reads { prepare.stdin.into() } else { crate::job::StdinPolicy::None },
        input: input.clone(),
        output: Some(output.clone()),
        timeout: None,
        tolerates_failures: prepare.is_tolerant,
        stays_open: prepare.spawns,
        rebuild_stacks: None,
        stays_to_move: prepare.keep.is_shuffled,
        checkpoints: None,
        restart: origin(prepare)?,
    };
    let peers = prepare.nodes.iter().map(|peer| NodeId(peer.node)).collect();
    let ways = JobLinks::new(outbox.endpoint().clone(), prepare.job, peers);
    let this_node = placement.this_node;
    let job = runtime.prepare(spec, Some((placement, ways))).map_err(|error| error.to_string())?;
    let (way, number) = (outbox.clone(), prepare.job);
    job.shared().set_messenger(move |topic, members, rank, proposal| {
        let motion = Motion::new(topic, members, rank, proposal);
        way.send(NodeId::COORDINATOR, &ToCoordinator::Propose { job: number, motion });
    });
    let heard = Arc::new(Heard::new(outbox.clone()));
    spawned::announce(job.shared().births(), heard.clone(), prepare.job);
    let midwife = midwife((prepare.job, this_node), &job, (programs.clone(), heard));
    // From the moment that the coordinator hears of it messages may come.
    links.planes.open(prepare.job, DataPlane::new(job.shared().clone()));
    job.come_back()?;
    Ok(ReadyPart { job, streams: PartStreams { output, input }, is_migratable, midwife })
}

/// Who has processes spawned for the ranks of this part, and here.
fn midwife(
    place: (u32, u32),
    job: &PreparedJob,
    means: (Arc<Programs>, Arc<Heard>),
) -> Arc<Midwife> {
    let midwife = Arc::new(Midwife::new(place, job.spawner().clone(), means));
    // It holds those who wait for processes, and these the job.
    let weak = Arc::downgrade(&midwife);
    job.shared().set_agent(move |waiter, request| {
        if let Some(midwife) = weak.upgrade() {
            midwife.ask(waiter, request);
        }
    });
    midwife
}

/// Whether the part's ranks may move, and whether one of them has a copy of another node's memory.
fn variant(prepare: &Prepare, placement: &Placement) -> (Movable, bool) {
    if nodes_asked_for(&prepare.env).is_none() {
        return (prepare.keep.movable, false);
    }
    let is_member = |(rank, node): (usize, &u32)| rank > 0 && *node == placement.this_node;
    (Movable::No, placement.nodes.iter().enumerate().any(is_member))
}

/// The checkpoint that the job goes on from, if it does.
fn origin(prepare: &Prepare) -> Result<Option<Arc<Checkpoint>>, String> {
    let Some(Origin { dir, cut }) = &prepare.keep.origin else { return Ok(None) };
    match Checkpoint::open(Path::new(dir), Some(*cut)) {
        Ok(checkpoint) => Ok(Some(Arc::new(checkpoint))),
        Err(error) => Err(format!(
            "the checkpoint cannot be used here: {error}; all nodes must see its directory under the same path"
        )),
    }
}

/// Tells the coordinator of the end of each rank and then of the part, in a thread; calls `over`
/// after that.
///
/// # Errors
/// No thread can be had.
pub(super) fn follow(
    job: u32,
    (handle, halt): (JobHandle, Option<Arc<Halt>>),
    outbox: Arc<Outbox>,
    over: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let follow = move || {
        let tell = |RankEvent { rank, exit }| {
            let message = ToCoordinator::RankExited { job, rank, exit: exit.into() };
            outbox.send(NodeId::COORDINATOR, &message);
        };
        let report = handle.follow(tell);
        let totals = report.map(|report| totals(&report)).unwrap_or_default();
        let legacy = halt.map(|halt| legacy(&halt)).unwrap_or_default();
        outbox.send(NodeId::COORDINATOR, &ToCoordinator::PartEnded { job, totals, legacy });
        over();
    };
    std::thread::Builder::new().name(format!("faasm-part-{job}")).spawn(follow).map(drop)
}

/// What is left of a part whose ranks have all ended. A rank that failed is missing, which hinders checkpoints.
pub(super) fn legacy(halt: &Halt) -> Legacy {
    let job = halt.job();
    let ended = job.tombstones().unwrap_or_default().into_iter().map(Stone::from).collect();
    // What cannot be kept hinders them as well.
    Legacy { world: job.world().save().unwrap_or_default(), ended }
}

/// What a finished part did.
fn totals(report: &JobReport) -> Totals {
    let JobReport { messages, bytes, left_running, .. } = *report;
    Totals { messages, bytes, left_running }
}

fn placement(prepare: &Prepare, this: NodeId) -> Result<Placement, String> {
    let this_node = prepare.nodes.iter().position(|peer| peer.node == this.0);
    let this_node = this_node.ok_or("the job has no part for this node")? as u32;
    let ranks = |block: &crate::cluster::message::Block| {
        std::iter::repeat_n(block.node, block.ranks as usize)
    };
    Ok(Placement { nodes: prepare.blocks.iter().flat_map(ranks).collect(), this_node })
}
