//! The coordinator's side: serves the processes of its user, each connection in a thread.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use faasm_transport::NodeId;
use faasm_transport::control_port::ControlPort;
use faasm_transport::error::Shortage;

use super::message::{Ask, Status, Submit, Tell, with_hosts};
use super::orders::Drained;
use super::place::{ClusterPlace, Hold};
use super::running::{JobOrder, RunningJob};
use super::wire::{Sender, receive};
use crate::cluster::access::build;
use crate::cluster::coordinator::{
    Cluster, ClusterApp, ClusterDir, ClusterJob, ClusterOrigin, ClusterStatus,
};
use crate::cluster::error::ClusterError;
use crate::cluster::message::{App, JOB_RANKS_MAX, MODULE_BYTES_MAX, Movable};
use crate::cluster::policy::PolicyOptions;
use crate::error::Error;
use crate::host::wasi::{OutputSink, StdinStream, Stream};
use crate::module::Program;

/// Most bytes of all programs of a job together.
const PROGRAMS_BYTES_MAX: u64 = 2 * MODULE_BYTES_MAX;

/// Further nodes of a job whose ranks may move.
const SPARES_MAX: usize = 2;

/// Serves a cluster's user.
#[derive(Debug)]
pub struct ClusterServer {
    hold: Hold,
    /// For users on other machines; none if the cluster is inside one process.
    control_port: Option<Arc<ControlPort>>,
    cluster: Cluster,
}

impl ClusterServer {
    /// Takes the directory for this cluster, and the port for users on other machines.
    ///
    /// # Errors
    /// Another coordinator has it, or it cannot be used.
    pub fn bind(place: &ClusterPlace, cluster: Cluster) -> Result<Self, ClusterError> {
        let hold = place.hold()?;
        let control_port = cluster.open_control_port()?.map(Arc::new);
        Ok(Self { hold, control_port, cluster })
    }

    /// Serves for ever.
    ///
    /// # Errors
    /// No connection can be accepted any more.
    pub fn serve(&self) -> std::io::Result<()> {
        if let Some(port) = self.control_port.clone() {
            let cluster = self.cluster.clone();
            std::thread::Builder::new().name("faasm-users".to_owned()).spawn(move || {
                let served = port.serve(move |user| {
                    serve_one(user.stream, &cluster, Some(&user.name));
                });
                tracing::error!(?served, "no user on another machine can be served any more");
            })?;
        }
        loop {
            let stream = match self.hold.listener.accept() {
                Ok((stream, _)) => stream,
                // Somebody gave up, or descriptors are short for the moment.
                Err(error) => {
                    tracing::warn!("nobody can be served for the moment: {}", Shortage(&error));
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let cluster = self.cluster.clone();
            std::thread::Builder::new().name("faasm-serve".to_owned()).spawn(move || {
                serve_one(stream, &cluster, None);
            })?;
        }
    }
}

/// Serves one process until it leaves; `user` is who it is if it is on another machine.
fn serve_one(stream: UnixStream, cluster: &Cluster, user: Option<&str>) {
    if let Err(error) = serve(stream, cluster, user.is_some()) {
        tracing::debug!(%error, user, "a user's process has gone");
    }
}

/// Serves one process until it leaves. Its job ends with it.
fn serve(mut stream: UnixStream, cluster: &Cluster, is_remote: bool) -> std::io::Result<()> {
    let sender = Arc::new(Sender::new(stream.try_clone()?));
    let mut session =
        Session { cluster, is_remote, sender: sender.clone(), greeted: false, job: None };
    let served = loop {
        match receive::<Ask>(&mut stream) {
            Ok(Some(ask)) => {
                if let Err(error) = session.handle(ask, &mut stream) {
                    break Err(error);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if let Some(job) = session.job {
        job.handle.kill(1);
    }
    sender.close();
    served
}

struct Session<'a> {
    cluster: &'a Cluster,
    /// Its user is on another machine.
    is_remote: bool,
    sender: Arc<Sender>,
    greeted: bool,
    job: Option<RunningJob>,
}

impl Session<'_> {
    fn handle(&mut self, ask: Ask, stream: &mut UnixStream) -> std::io::Result<()> {
        if !self.greeted && !matches!(ask, Ask::Hello { .. }) {
            return self.sender.send(&Tell::Refused("it did not greet".to_owned()));
        }
        let done = |done: Result<(), ClusterError>| match done {
            Ok(()) => Tell::Done,
            Err(error) => Tell::Refused(error.to_string()),
        };
        let answer = match ask {
            Ask::Hello { build } => self.greet(&build),
            Ask::Status => Tell::Status(Status::from(&self.cluster.status())),
            Ask::Token { valid_ms, for_user } => {
                match self.token(Duration::from_millis(valid_ms), for_user) {
                    Ok(token) => Tell::Token(token),
                    Err(error) => Tell::Refused(error.to_string()),
                }
            }
            Ask::Drain { node } => {
                let found = find(&self.cluster.status(), &node);
                match found.and_then(|node| self.cluster.drain(node)) {
                    Ok(jobs) => Tell::Drained(jobs.into_iter().map(Drained::from).collect()),
                    Err(error) => Tell::Refused(error.to_string()),
                }
            }
            Ask::Leave { node } => {
                let found = find(&self.cluster.status(), &node);
                done(found.map(|node| self.cluster.dismiss(node)))
            }
            Ask::Submit(submit) => match self.submit(*submit, stream)? {
                Ok(()) => Tell::Started,
                Err(error) => Tell::Refused(error.to_string()),
            },
            // One that nobody waits for.
            Ask::Program(_) => return Ok(()),
            Ask::Input(bytes) => {
                if let Some(RunningJob { input, .. }) = &self.job {
                    input.feed(&bytes);
                }
                return Ok(());
            }
            Ask::End { code } => {
                if let Some(job) = &self.job {
                    job.handle.kill(code);
                }
                return Ok(());
            }
            Ask::Doing => Tell::Doing(match &self.job {
                Some(job) => job.handle.status().and_then(|status| {
                    serde_json::to_string(&status).map_err(|error| error.to_string())
                }),
                None => Err("there is no job".to_owned()),
            }),
            Ask::States => match &self.job {
                Some(job) => Tell::States(with_hosts(&job.handle.rank_states())),
                None => Tell::States(Vec::new()),
            },
            Ask::Checkpoint { end } => return self.order(JobOrder::Checkpoint { end }),
            Ask::Move(order) => return self.order(JobOrder::Move(order)),
        };
        self.sender.send(&answer)
    }

    /// An order to the job; there is one when such a thing is said.
    fn order(&self, order: JobOrder) -> std::io::Result<()> {
        match &self.job {
            Some(job) => job.order(order),
            None => self.sender.send(&Tell::Refused("there is no job".to_owned())),
        }
    }

    fn greet(&mut self, theirs: &str) -> Tell {
        let ours = build().to_string();
        self.greeted = ours == theirs;
        if self.greeted {
            return Tell::Hello;
        }
        Tell::Refused(format!(
            "the coordinator runs {ours}, and this is {theirs}; start it anew with this program, or \
             use the one that it runs"
        ))
    }

    /// A user's token must not prolong itself: only the coordinator's own machine makes such.
    fn token(&self, valid: Duration, for_user: bool) -> Result<String, ClusterError> {
        match for_user {
            false => self.cluster.issue_token(valid, 1),
            true if self.is_remote => Err(ClusterError::Refused {
                reason:
                    "tokens for users are made on the coordinator's own machine; run `faasm-run \
                         cluster token --client` there"
                        .to_owned(),
            }),
            true => self.cluster.issue_user_token(valid),
        }
    }

    /// Starts a job whose programs follow.
    fn submit(
        &mut self,
        submit: Submit,
        stream: &mut UnixStream,
    ) -> std::io::Result<Result<(), ClusterError>> {
        let programs = match programs(&submit.apps, stream)? {
            Ok(programs) => programs,
            Err(error) => return Ok(Err(error)),
        };
        if self.job.is_some() {
            let reason = "this process has given a job already".to_owned();
            return Ok(Err(ClusterError::Rejected { reason }));
        }
        let sender = self.sender.clone();
        let input = StdinStream::fed(submit.terminal, move || {
            // The user's process is gone, and the job ends.
            let _ = sender.send(&Tell::InputWanted);
        });
        let job = match job(submit, &programs, input.clone(), self.sender.clone()) {
            Ok(job) => job,
            Err(error) => return Ok(Err(error)),
        };
        let handle = match self.cluster.spawn(job) {
            Ok(handle) => handle,
            Err(error) => return Ok(Err(error)),
        };
        let job = RunningJob::begin(handle.clone(), input, &self.sender);
        self.job = Some(job.inspect_err(|_| handle.kill(1))?);
        Ok(Ok(()))
    }
}

/// The programs that follow a submission, each once.
fn programs(
    apps: &[App],
    stream: &mut UnixStream,
) -> std::io::Result<Result<HashMap<[u8; 32], Program>, ClusterError>> {
    let mut programs = HashMap::new();
    let mut failure = None;
    let mut total = 0_u64;
    for app in apps {
        if programs.contains_key(&app.module) || failure.is_some() {
            continue;
        }
        total = total.saturating_add(app.bytes);
        if app.bytes > MODULE_BYTES_MAX || total > PROGRAMS_BYTES_MAX {
            return Err(std::io::Error::other("the programs are too long"));
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < app.bytes {
            match receive::<Ask>(stream)? {
                Some(Ask::Program(chunk)) if !chunk.is_empty() => bytes.extend_from_slice(&chunk),
                _ => return Err(std::io::Error::other("a program is missing")),
            }
        }
        match Program::from_bytes(&app.name, bytes) {
            Ok(program) => {
                programs.insert(app.module, program);
            }
            Err(error) => failure = Some(error.into()),
        }
    }
    Ok(failure.map_or(Ok(programs), Err))
}

/// The job that was asked for.
fn job(
    submit: Submit,
    programs: &HashMap<[u8; 32], Program>,
    input: StdinStream,
    sender: Arc<Sender>,
) -> Result<ClusterJob, ClusterError> {
    let mut apps = Vec::new();
    for app in submit.apps {
        let program = programs.get(&app.module).ok_or_else(|| ClusterError::Rejected {
            reason: format!("{} has another hash than it should", app.name),
        })?;
        let App { ranks, args, env, wdir, .. } = app;
        let program = program.clone();
        apps.push(ClusterApp { program, ranks, args, env, wdir: wdir.into() });
    }
    let dir = |dir: crate::cluster::message::Dir| ClusterDir {
        host: dir.host.into(),
        guest: dir.guest,
        read_only: dir.read_only,
    };
    let kept = |app: &ClusterApp| app.program.clone();
    let checkpoints =
        submit.checkpoints.map(|checkpoints| checkpoints.options(apps.iter().map(kept).collect()));
    let ranks = submit.blocks.iter().map(|(_, ranks)| u64::from(*ranks)).sum::<u64>();
    if ranks > u64::from(JOB_RANKS_MAX) {
        return Err(Error::Ranks { ranks, ranks_max: JOB_RANKS_MAX }.into());
    }
    let on = |(node, ranks): &(u32, u32)| std::iter::repeat_n(NodeId(*node), *ranks as usize);
    Ok(ClusterJob {
        apps,
        env: submit.env,
        dirs: submit.dirs.into_iter().map(dir).collect(),
        stdin: submit.stdin.into(),
        input: Some(input),
        output: Some(Arc::new(Output { sender })),
        timeout: submit.timeout_ms.map(Duration::from_millis),
        tolerates_failures: submit.is_tolerant,
        checkpoints,
        migratable: submit.keep.movable == Movable::Yes,
        migratable_if_possible: submit.keep.movable == Movable::IfPossible,
        policy: PolicyOptions::default(),
        spares: if submit.keep.movable == Movable::No { 0 } else { SPARES_MAX },
        slots: Vec::new(),
        origin: submit.keep.origin.map(origin),
        placement: submit.blocks.iter().flat_map(on).collect(),
    })
}

fn origin(from: crate::cluster::message::Origin) -> ClusterOrigin {
    ClusterOrigin { dir: from.dir.into(), cut: from.cut }
}

/// Sends what ranks write to the user's process. One that does not read stops whoever prints.
#[derive(Debug)]
struct Output {
    sender: Arc<Sender>,
}

impl OutputSink for Output {
    fn write(&self, rank: u32, stream: Stream, bytes: &[u8]) {
        let (is_stderr, bytes) = (stream == Stream::Stderr, bytes.to_vec());
        // The user's process is gone, and the job ends.
        let _ = self.sender.send(&Tell::Output { rank, is_stderr, bytes });
    }

    fn close(&self, rank: u32) {
        let _ = self.sender.send(&Tell::Close { rank });
    }

    fn moved(&self, rank: u32, host: &str) {
        let _ = self.sender.send(&Tell::Host { rank, host: host.to_owned() });
    }
}

/// The node of this name or number.
fn find(status: &ClusterStatus, text: &str) -> Result<NodeId, ClusterError> {
    let number = text.trim_start_matches("node ").parse().ok().map(NodeId);
    let named: Vec<NodeId> =
        status.nodes.iter().filter(|node| *node.host == *text).map(|node| node.node).collect();
    let numbered = status.nodes.iter().find(|node| Some(node.node) == number);
    match (&named[..], numbered) {
        ([node], _) => Ok(*node),
        ([], Some(node)) => Ok(node.node),
        ([], None) => Err(ClusterError::NoSuchNode { node: text.to_owned() }),
        _ => Err(ClusterError::SeveralNodes { node: text.to_owned() }),
    }
}
