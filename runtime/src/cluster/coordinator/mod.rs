//! The coordinator of a cluster: admits nodes, spreads jobs over them, and brings together what
//! they tell.
//!
//! `core` and `spread` decide, `driver` carries out, `front` is a job's user's side, `protos` who makes Proto-Faaslets,
//! `further` keeps the programs of spawned processes, `nursery` and `spawning` see them to their nodes, or to none,
//! `reach` tells whether nodes can reach each other, `stop` and `halting` stop a job on all its nodes, `stopped` is for
//! whoever does something with it meanwhile, `relocate` places its ranks anew then, and `drain` empties a node so.

mod certifier;
mod core;
mod drain;
mod driver;
mod eviction;
mod fault;
mod front;
mod further;
mod halting;
mod nursery;
mod protos;
mod reach;
mod relocate;
mod shuffle;
mod spare;
mod spawned;
mod spawning;
mod spread;
mod steering;
mod stop;
mod stopped;
mod survey;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use faasm_transport::{Admission, Endpoint, Handler, NodeId};
use parking_lot::Mutex;

pub(crate) use self::certifier::Certifier;
pub(crate) use self::core::Submission;
pub use self::drain::DrainedJob;
use super::codec::Outbox;
use super::error::ClusterError;
use super::inbox::{NoServices, Sorter};
use super::message::{App, Dir, JOB_NODES_MAX, JOB_RANKS_MAX, Keep, Movable, Origin, Stdin};
use super::policy::{MovePolicy, PolicyOptions};
use crate::checkpoint::{CheckpointError, CheckpointOptions, Cut, SavedApp, Writer};
use crate::error::Error;
use crate::host::wasi::{OutputSink, StdinStream};
use crate::job::{
    Control, JobHandle, JobStatus, MoveOrder, MoveReport, Outcome, PastMoves, RankState, RemoteJob,
    StdinPolicy,
};
use crate::launch::{check_imports, writer};
use crate::module::Program;
use crate::omp_nodes::nodes_asked_for;
use driver::{Driver, Input, Request, STOP_PATIENCE};
pub(crate) use front::Streams;

/// A cluster, at its coordinator; clones share it.
///
/// It ends with [`Cluster::shutdown`], and its nodes with it, or when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
    /// Who may join, if anybody.
    admission: Option<Admission>,
}

#[derive(Debug)]
struct Inner {
    inbox: flume::Sender<Input>,
    address: Option<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Moves of ranks that were begun.
    moves: AtomicU32,
    /// For each job what was moved so far.
    past: Mutex<HashMap<u32, PastMoves>>,
}

/// A member of a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeStatus {
    /// Its number.
    pub node: NodeId,
    /// Its host.
    pub host: Arc<str>,
    /// Its worker threads.
    pub workers: u32,
    /// Ranks that it offers to take, if it says.
    pub slots: Option<u32>,
    /// Its process on that host.
    pub process: u32,
    /// Where other nodes reach it.
    pub addresses: Vec<String>,
    /// Whether it takes no further jobs.
    pub draining: bool,
    /// The jobs that run there.
    pub jobs: Vec<u32>,
}

/// What there is in a cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClusterStatus {
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
    /// The jobs, on whatever nodes.
    pub jobs: Vec<u32>,
    /// Attempts to join that were refused.
    pub refused: u64,
    /// Where nodes find the coordinator.
    pub address: Option<SocketAddr>,
}

/// One program of a job on a cluster.
#[derive(Clone, Debug)]
pub struct ClusterApp {
    /// The program.
    pub program: Program,
    /// Number of its ranks.
    pub ranks: u32,
    /// Its arguments after its name.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
    /// Its working directory, on every node.
    pub wdir: PathBuf,
}

/// A directory that the ranks of a job on a cluster may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterDir {
    /// Its path, on every node.
    pub host: PathBuf,
    /// Its path for the guest.
    pub guest: String,
    /// Whether it may not be written.
    pub read_only: bool,
}

/// A checkpoint that a job on a cluster goes on from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterOrigin {
    /// The directory of checkpoints, on a file system that all nodes share.
    pub dir: PathBuf,
    /// Number of the cut.
    pub cut: u32,
}

/// A job that is spread over nodes.
#[derive(Clone, Default)]
pub struct ClusterJob {
    /// Its programs, in rank order.
    pub apps: Vec<ClusterApp>,
    /// Environment variables of every rank.
    pub env: Vec<(String, String)>,
    /// Directories beyond the working directory.
    pub dirs: Vec<ClusterDir>,
    /// Which ranks read the input.
    pub stdin: StdinPolicy,
    /// The input; empty if `None`.
    pub input: Option<StdinStream>,
    /// Where output goes; discarded when `None`.
    pub output: Option<Arc<dyn OutputSink>>,
    /// The job is ended after this time.
    pub timeout: Option<Duration>,
    /// Whether it goes on when one of its ranks fails: an error for the others (ULFM).
    pub tolerates_failures: bool,
    /// How checkpoints are made; it must be migratable then.
    pub checkpoints: Option<CheckpointOptions>,
    /// Whether the stacks of its ranks can be taken, which checkpoints need.
    pub migratable: bool,
    /// The same for those of its programs that allow it; the others run as they are.
    pub migratable_if_possible: bool,
    /// When and to what end its ranks are moved without having been asked for; it must be migratable then.
    pub policy: PolicyOptions,
    /// So many further nodes take part without ranks, if there are any, so that ranks can move there.
    pub spares: usize,
    /// The slots of nodes, as far as the user has said so: where processes go that are spawned.
    pub slots: Vec<(NodeId, u32)>,
    /// The checkpoint it goes on from, with the same programs and numbers of ranks.
    pub origin: Option<ClusterOrigin>,
    /// For each rank its node.
    pub placement: Vec<NodeId>,
}

impl std::fmt::Debug for ClusterJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterJob").field("apps", &self.apps).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Starts a coordinator, which machines can join if there is a certifier; `connect` makes its endpoint
    /// for the given handler.
    pub(crate) fn start(
        certifier: Option<Certifier>,
        connect: impl FnOnce(Arc<dyn Handler>) -> Result<Endpoint, faasm_transport::Error>,
    ) -> Result<Self, ClusterError> {
        let (inbox, received) = flume::unbounded();
        let sorter: Sorter<NoServices, Input> = Sorter::new(inbox.clone(), NoServices);
        let endpoint = connect(Arc::new(sorter))?;
        let address = endpoint.local_addr();
        let admission = certifier.as_ref().map(|certifier| certifier.admission().clone());
        let driver = Driver::new(Arc::new(Outbox::new(endpoint)), certifier);
        let thread = std::thread::Builder::new()
            .name("faasm-coordinate".to_owned())
            .spawn(move || driver.run(received))
            .map_err(|cause| Error::Start { what: "coordinator's thread", cause })?;
        let (thread, moves) = (Mutex::new(Some(thread)), AtomicU32::new(0));
        let inner = Arc::new(Inner { inbox, address, thread, moves, past: Mutex::default() });
        let cluster = Self { inner, admission };
        cluster.tell(Input::Begun(Arc::downgrade(&cluster.inner)));
        Ok(cluster)
    }

    /// Who may join.
    pub(crate) const fn admission(&self) -> Option<&Admission> {
        self.admission.as_ref()
    }

    /// Where nodes find the coordinator; nowhere if it is inside one process.
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner.address
    }

    /// Waits until there are so many nodes.
    ///
    /// # Errors
    /// There are not after this time; how many there are is told.
    pub fn await_nodes(&self, nodes: u32, patience: Duration) -> Result<(), ClusterError> {
        let (reply, replied) = flume::bounded(1);
        self.tell(Input::Await { nodes: nodes as usize, reply });
        replied.recv_timeout(patience).map_err(|_| ClusterError::TooFewNodes {
            joined: self.status().nodes.len() as u32,
            expected: nodes,
            patience,
        })
    }

    /// What there is in the cluster.
    pub fn status(&self) -> ClusterStatus {
        let (reply, replied) = flume::bounded(1);
        self.tell(Input::Status { reply });
        let status = replied.recv().unwrap_or_default();
        let refused = self.admission.as_ref().map_or(0, Admission::refused_count);
        ClusterStatus { refused, address: self.address(), ..status }
    }

    /// Starts a job, and waits until its ranks run: every node gets the programs that it lacks and
    /// compiles them.
    ///
    /// # Errors
    /// A program is none, or a node cannot run it; no rank has started then.
    pub fn spawn(&self, mut job: ClusterJob) -> Result<JobHandle, ClusterError> {
        check(&job)?;
        let writer = checkpoint_writer(&mut job)?.map(Mutex::new);
        let (events, received) = flume::unbounded();
        let (reporter, report) = flume::bounded(1);
        let (reply, replied) = flume::bounded(1);
        let policy = job.policy;
        let (submission, programs, streams) = describe(job)?;
        let request = Request { submission, programs, streams, events, report: reporter, reply };
        self.tell(Input::Submit(Box::new(request)));
        let job = replied
            .recv()
            .unwrap_or_else(|_| Err("the cluster has ended".to_owned()))
            .map_err(|reason| ClusterError::Rejected { reason })?;
        let remote = Arc::new(Remote { cluster: self.clone(), job, writer });
        self.inner.past.lock().insert(job, PastMoves::default());
        if let Err(error) = steering::begin(&remote, policy) {
            tracing::warn!(%error, "no thread can be had to place ranks anew; check `ulimit -u`");
        }
        let control = Control::Elsewhere(remote);
        Ok(JobHandle { control, events: received, report, cutter: None })
    }

    /// Lets a node go at once: jobs that run there end.
    pub fn dismiss(&self, node: NodeId) {
        self.tell(Input::Leave { node });
    }

    /// Says that a node's process has ended, which is known sooner here than by its silence.
    pub fn node_ended(&self, node: NodeId, reason: &str) {
        self.tell(Input::Gone { node, reason: reason.to_owned() });
    }

    /// Says that a machine has joined from this address, and expects its links.
    pub(crate) fn admitted(&self, node: NodeId, address: std::net::IpAddr) {
        self.tell(Input::Admitted { node, address });
    }

    /// How a job is doing.
    fn job_status(&self, job: u32, partners: bool) -> Result<JobStatus, String> {
        let (reply, replied) = flume::bounded(1);
        self.tell(Input::Survey { job, partners, reply });
        replied.recv().map_err(|_| "the cluster has ended".to_owned())
    }

    /// Ranks of a job were moved for this reason.
    fn remember(&self, job: u32, report: &MoveReport, why: &str) {
        if let Some(past) = self.inner.past.lock().get_mut(&job) {
            past.add(report, why);
        }
    }

    /// Where the ranks of a job are.
    fn places(&self, job: u32) -> relocate::Places {
        let (reply, replied) = flume::bounded(1);
        self.tell(Input::Places { job, reply });
        replied.recv().unwrap_or_default()
    }

    /// A number that no other move of ranks has, until four billion have been begun.
    fn next_move(&self) -> u32 {
        self.inner.moves.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets all nodes go, and waits for that, but not for long.
    pub fn shutdown(&self) {
        self.inner.stop();
    }

    fn tell(&self, input: Input) {
        // The thread is gone after a shutdown; whoever waits for an answer learns it then.
        let _ = self.inner.inbox.send(input);
    }
}

impl Inner {
    fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else { return };
        let _ = self.inbox.send(Input::Stop);
        let give_up = Instant::now() + STOP_PATIENCE;
        while !thread.is_finished() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(1));
        }
        // A second one does not wait for nodes.
        let _ = self.inbox.send(Input::Stop);
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A job on the cluster, for its handle.
#[derive(Debug)]
struct Remote {
    cluster: Cluster,
    job: u32,
    /// Writes its checkpoints, if it has a directory for them.
    writer: Option<Mutex<Writer>>,
}

impl Remote {
    /// Carries out an order that somebody gave for this reason.
    fn carry_out(&self, order: &MoveOrder, why: &str) -> Result<MoveReport, String> {
        // One move at a time, and none while a checkpoint is made.
        let _writer = self.writer.as_ref().map(Mutex::lock);
        let report = relocate::relocate(&self.cluster, self.job, order)?;
        self.cluster.remember(self.job, &report, why);
        Ok(report)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.cluster.inner.past.lock().remove(&self.job);
    }
}

impl RemoteJob for Remote {
    fn end(&self, outcome: Outcome) {
        self.cluster.tell(Input::End { job: self.job, outcome });
    }

    fn rank_states(&self) -> Vec<RankState> {
        let (reply, replied) = flume::bounded(1);
        self.cluster.tell(Input::States { job: self.job, reply });
        replied.recv().unwrap_or_default()
    }

    fn migrate(&self, order: MoveOrder) -> Result<MoveReport, String> {
        self.carry_out(&order, "asked for")
    }

    fn status(&self, partners: bool) -> Result<JobStatus, String> {
        let status = self.cluster.job_status(self.job, partners)?;
        let moves = self.cluster.inner.past.lock().get(&self.job).cloned().unwrap_or_default();
        Ok(JobStatus { moves, ..status })
    }

    fn checkpoint(&self, end: Option<i32>) -> Result<Cut, CheckpointError> {
        match &self.writer {
            Some(writer) => stopped::cut((&self.cluster, self.job), &mut writer.lock(), end),
            None => Err(CheckpointError::no_directory()),
        }
    }
}

/// What writes the checkpoints of a job, if it is to have any.
fn checkpoint_writer(job: &mut ClusterJob) -> Result<Option<Writer>, ClusterError> {
    let Some(options) = job.checkpoints.take() else { return Ok(None) };
    let saved = |app: &ClusterApp| SavedApp {
        name: app.program.name().to_owned(),
        hash: app.program.content_hash().to_string(),
        ranks: app.ranks,
    };
    let apps = job.apps.iter().map(saved).collect();
    // Nodes may have another working directory.
    let dir = std::path::absolute(&options.dir)
        .map_err(|_| ClusterError::Path { path: options.dir.clone() })?;
    let options = CheckpointOptions { dir, ..options };
    Ok(Some(writer(options, apps).map_err(Error::from)?))
}

/// What can be checked without a node.
pub(crate) fn check(job: &ClusterJob) -> Result<(), ClusterError> {
    let ranks: u64 = job.apps.iter().map(|app| u64::from(app.ranks)).sum();
    if job.apps.iter().any(|app| app.ranks == 0) || ranks == 0 || ranks > JOB_RANKS_MAX.into() {
        return Err(Error::Ranks { ranks, ranks_max: JOB_RANKS_MAX }.into());
    }
    let places = job.placement.len() as u64;
    // A checkpoint may have processes that were spawned.
    let is_placed = if job.origin.is_some() { ranks <= places } else { ranks == places };
    if !is_placed || places > JOB_RANKS_MAX.into() {
        let reason = format!("{ranks} ranks have {places} places");
        return Err(ClusterError::Rejected { reason });
    }
    match job.stdin {
        StdinPolicy::Rank(rank) if u64::from(rank) >= ranks => {
            return Err(Error::StdinRank { rank, ranks: ranks as u32 }.into());
        }
        _ => {}
    }
    for app in &job.apps {
        check_imports(app.program.name(), app.program.facts())?;
    }
    Ok(())
}

const fn movable(is_wanted: bool, if_possible: bool) -> Movable {
    match (is_wanted, if_possible) {
        (true, _) => Movable::Yes,
        (false, true) => Movable::IfPossible,
        (false, false) => Movable::No,
    }
}

/// A job as its nodes are told, its programs, and its streams.
pub(crate) fn describe(
    job: ClusterJob,
) -> Result<(Submission, Vec<Program>, Streams), ClusterError> {
    let text = |path: &PathBuf| {
        path.to_str().map(str::to_owned).ok_or_else(|| ClusterError::Path { path: path.clone() })
    };
    let mut apps = Vec::new();
    for app in &job.apps {
        apps.push(App {
            name: app.program.name().to_owned(),
            module: *app.program.content_hash().as_bytes(),
            bytes: app.program.bytes().len() as u64,
            ranks: app.ranks,
            args: app.args.clone(),
            env: app.env.clone(),
            wdir: text(&app.wdir)?,
        });
    }
    let mut dirs = Vec::new();
    for dir in &job.dirs {
        let (host, guest, read_only) = (text(&dir.host)?, dir.guest.clone(), dir.read_only);
        dirs.push(Dir { host, guest, read_only });
    }
    let mut blocks: Vec<(NodeId, u32)> = Vec::new();
    for node in &job.placement {
        match blocks.last_mut().filter(|(last, _)| last == node) {
            Some((_, ranks)) => *ranks += 1,
            None => blocks.push((*node, 1)),
        }
    }
    let readers = match &job.stdin {
        StdinPolicy::None => Vec::new(),
        StdinPolicy::Rank(rank) => vec![job.placement[*rank as usize]],
        StdinPolicy::All => {
            let nodes: std::collections::BTreeSet<NodeId> = job.placement.iter().copied().collect();
            nodes.into_iter().collect()
        }
    };
    let origin = |from: &ClusterOrigin| -> Result<Origin, ClusterError> {
        Ok(Origin { dir: text(&from.dir)?, cut: from.cut })
    };
    let origin = job.origin.as_ref().map(origin).transpose()?;
    let spawns = job.apps.iter().any(|app| app.program.spawns());
    // A program that spans nodes has as many as it asks for.
    let takes_all = spawns && nodes_asked_for(&job.env).is_none();
    let submission = Submission {
        apps,
        env: job.env,
        dirs,
        stdin: Stdin::from(&job.stdin),
        terminal: job.input.as_ref().is_some_and(StdinStream::is_terminal),
        timeout: job.timeout,
        is_tolerant: job.tolerates_failures,
        keep: Keep {
            movable: movable(job.migratable, job.migratable_if_possible),
            is_shuffled: job.policy.policy == MovePolicy::Shuffle && blocks.len() > 1,
            origin,
        },
        blocks,
        spares: if takes_all { JOB_NODES_MAX } else { job.spares },
        spawns,
        slots: job.slots,
    };
    let programs = job.apps.into_iter().map(|app| app.program).collect();
    let moves = job.migratable || job.migratable_if_possible;
    let streams = Streams { output: job.output, input: job.input, readers, moves };
    Ok((submission, programs, streams))
}
