//! The user's side: orders for a coordinator that runs on its own, and jobs.

use std::collections::HashSet;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use faasm_transport::UserToken;

use super::message::{Ask, Submit, Tell};
use super::orders::Kept;
use super::place::ClusterPlace;
use super::remote::Remote;
use super::wire::{Sender, receive};
use crate::cluster::access::{build, resolve_all};
use crate::cluster::codec::Message as _;
use crate::cluster::coordinator::{ClusterJob, ClusterStatus, DrainedJob, check, describe};
use crate::cluster::error::ClusterError;
use crate::cluster::input::read_on_demand;
use crate::error::Error;
use crate::host::wasi::{OutputSink, StdinReader, StdinSource, Stream};
use crate::job::{Control, JobHandle, JobReport, Outcome, RankEvent, StdinPolicy};

/// Bytes of a program in one message.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// How long a coordinator on another machine may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a coordinator that runs on its own. It takes several orders, and at most one job.
#[derive(Debug)]
pub struct ClusterClient {
    stream: UnixStream,
    sender: Arc<Sender>,
}

impl ClusterClient {
    /// Connects to the coordinator of this directory.
    ///
    /// # Errors
    /// None runs there, or it is another program.
    pub fn connect(place: &ClusterPlace) -> Result<Self, ClusterError> {
        Self::greet(place.connect()?)
    }

    /// Connects to the coordinator at one of these addresses, `host:port` each, from any machine. `token` is a
    /// user's, as [`issue_user_token`](Self::issue_user_token) makes it.
    ///
    /// # Errors
    /// It cannot be reached or refuses, or it is another program.
    pub fn connect_to(addresses: &[String], token: &str) -> Result<Self, ClusterError> {
        let token = UserToken::from_str(token)?;
        let addresses = resolve_all(addresses)?;
        Self::greet(faasm_transport::control_port::connect(&addresses, &token, CONNECT_PATIENCE)?)
    }

    fn greet(stream: UnixStream) -> Result<Self, ClusterError> {
        let sender = stream.try_clone().map_err(gone)?;
        let mut client = Self { stream, sender: Arc::new(Sender::new(sender)) };
        match client.order(&Ask::Hello { build: build().to_string() })? {
            Tell::Hello => Ok(client),
            other => Err(unexpected(&other)),
        }
    }

    /// What there is in the cluster.
    ///
    /// # Errors
    /// The coordinator is gone.
    pub fn status(&mut self) -> Result<ClusterStatus, ClusterError> {
        match self.order(&Ask::Status)? {
            Tell::Status(status) => Ok(status.into()),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a token with which one machine can join in this time. It is a secret.
    ///
    /// # Errors
    /// The coordinator is gone, or has too many open tokens.
    pub fn issue_token(&mut self, valid: Duration) -> Result<String, ClusterError> {
        self.token(valid, false)
    }

    /// Makes a token with which a user of another machine can do for this time what this user can, but not make
    /// such tokens. It is a secret.
    ///
    /// # Errors
    /// The coordinator is gone, or this user is on another machine.
    pub fn issue_user_token(&mut self, valid: Duration) -> Result<String, ClusterError> {
        self.token(valid, true)
    }

    fn token(&mut self, valid: Duration, for_user: bool) -> Result<String, ClusterError> {
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        match self.order(&Ask::Token { valid_ms, for_user })? {
            Tell::Token(token) => Ok(token),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes no further jobs to a node, moves the ranks that are there as far as they can be moved, and lets it go
    /// once it has none. What became of its jobs is told.
    ///
    /// # Errors
    /// There is no such node, or the coordinator is gone.
    pub fn drain(&mut self, node: &str) -> Result<Vec<DrainedJob>, ClusterError> {
        match self.order(&Ask::Drain { node: node.to_owned() })? {
            Tell::Drained(jobs) => Ok(jobs.into_iter().map(DrainedJob::from).collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets a node go at once; jobs that run there end.
    ///
    /// # Errors
    /// There is no such node, or the coordinator is gone.
    pub fn dismiss(&mut self, node: &str) -> Result<(), ClusterError> {
        self.order(&Ask::Leave { node: node.to_owned() }).map(drop)
    }

    /// Starts a job, and waits until its ranks run. It ends with this process.
    ///
    /// # Errors
    /// As [`Cluster::spawn`](crate::Cluster::spawn), and when the coordinator is gone.
    pub fn spawn(self, mut job: ClusterJob) -> Result<JobHandle, ClusterError> {
        check(&job)?;
        let checkpoints = job.checkpoints.take().map(Kept::new).transpose()?;
        let ranks = job.placement.len();
        let (submission, programs, streams) = describe(job)?;
        let timeout_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let submit = Submit {
            apps: submission.apps,
            env: submission.env,
            dirs: submission.dirs,
            stdin: submission.stdin,
            terminal: submission.terminal,
            timeout_ms: submission.timeout.map(timeout_ms),
            is_tolerant: submission.is_tolerant,
            keep: submission.keep,
            checkpoints,
            blocks: submission.blocks.iter().map(|(node, ranks)| (node.0, *ranks)).collect(),
        };
        self.sender.send(&Ask::Submit(Box::new(submit))).map_err(gone)?;
        let mut sent = HashSet::new();
        for program in programs.iter().filter(|program| sent.insert(*program.content_hash())) {
            for chunk in program.bytes().chunks(CHUNK_BYTES_MAX) {
                self.sender.send(&Ask::Program(chunk.to_vec())).map_err(gone)?;
            }
        }
        let source = match (&submission.stdin.into(), streams.input) {
            (StdinPolicy::None, _) | (_, None) => StdinSource::Closed,
            (_, Some(input)) => StdinSource::Stream(input),
        };
        self.started(ranks, streams.output, StdinReader::new(source))
    }

    /// Waits for the start, then leaves the connection to a thread.
    fn started(
        mut self,
        ranks: usize,
        output: Option<Arc<dyn OutputSink>>,
        reader: StdinReader,
    ) -> Result<JobHandle, ClusterError> {
        let (events, received) = flume::unbounded();
        let (reporter, report) = flume::bounded(1);
        let job = Arc::new(Remote::new(self.sender.clone()));
        let (demands, demanded) = flume::unbounded();
        let sender = self.sender.clone();
        let input = move || {
            // The coordinator is gone, and the job with it.
            read_on_demand(reader, &demanded, |bytes| {
                let _ = sender.send(&Ask::Input(bytes.to_vec()));
            });
        };
        let mut listener =
            Listener { ranks, output, events, reporter, job: job.clone(), demands, report: None };
        // Ranks may print before the start is told.
        loop {
            match receive::<Tell>(&mut self.stream).map_err(gone)? {
                Some(Tell::Started) => break,
                Some(Tell::Refused(reason)) => return Err(ClusterError::Refused { reason }),
                Some(tell) => listener.handle(tell),
                None => return Err(gone(std::io::ErrorKind::UnexpectedEof.into())),
            }
        }
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let failed = |cause| Error::Start { what: "threads for a job", cause };
        thread("faasm-stdin").spawn(input).map_err(failed)?;
        thread("faasm-listen").spawn(move || listener.run(self.stream)).map_err(failed)?;
        let control = Control::Elsewhere(job);
        Ok(JobHandle { control, events: received, report, cutter: None })
    }

    fn order(&mut self, ask: &Ask) -> Result<Tell, ClusterError> {
        self.sender.send(ask).map_err(gone)?;
        match receive(&mut self.stream).map_err(gone)? {
            Some(Tell::Refused(reason)) => Err(ClusterError::Refused { reason }),
            Some(tell) => Ok(tell),
            None => Err(gone(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// What comes from the coordinator while a job runs.
struct Listener {
    ranks: usize,
    output: Option<Arc<dyn OutputSink>>,
    events: flume::Sender<RankEvent>,
    reporter: flume::Sender<Arc<JobReport>>,
    job: Arc<Remote>,
    demands: flume::Sender<()>,
    /// The last that comes.
    report: Option<JobReport>,
}

impl Listener {
    fn run(mut self, mut stream: UnixStream) {
        let report = loop {
            if let Some(report) = self.report.take() {
                break report;
            }
            match receive::<Tell>(&mut stream) {
                Ok(Some(tell)) => self.handle(tell),
                Ok(None) => break self.lost("it has ended".to_owned()),
                Err(error) => break self.lost(error.to_string()),
            }
        };
        self.job.end();
        // The handle may be gone.
        let _ = self.reporter.try_send(Arc::new(report));
        // The job may go on with another connection; it is closed already if this fails.
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn handle(&mut self, tell: Tell) {
        match tell {
            Tell::Output { rank, is_stderr, bytes } => {
                let stream = if is_stderr { Stream::Stderr } else { Stream::Stdout };
                if let Some(output) = &self.output {
                    output.write(rank, stream, &bytes);
                }
            }
            Tell::Close { rank } => {
                if let Some(output) = &self.output {
                    output.close(rank);
                }
            }
            Tell::Host { rank, host } => {
                if let Some(output) = &self.output {
                    output.moved(rank, &host);
                }
            }
            Tell::Exited { rank, exit } => {
                // Nobody has to listen.
                let _ = self.events.send(RankEvent { rank, exit: exit.into() });
            }
            Tell::InputWanted => {
                // The input has ended, which the coordinator was told.
                let _ = self.demands.send(());
            }
            Tell::States(states) => self.job.states.tell(states),
            Tell::Doing(told) => self.job.doing.tell(told),
            Tell::Cut(told) => self.job.cuts.tell(told),
            Tell::Moved(told) => self.job.moves.tell(told),
            Tell::Report(report) => self.report = Some((*report).into()),
            other => tracing::debug!(?other, "the coordinator said what nobody asked"),
        }
    }

    /// The report of a job whose coordinator is gone.
    fn lost(&self, reason: String) -> JobReport {
        let ranks = (0..self.ranks as u32).collect();
        let host = "the coordinator".into();
        JobReport {
            outcome: Outcome::NodeLost { node: 0, host, ranks, reason },
            ranks: vec![crate::faaslet::RankExit::Killed; self.ranks],
            wall: Duration::ZERO,
            messages: 0,
            bytes: 0,
            left_running: 0,
            nodes: 0,
            hosts: Vec::new(),
        }
    }
}

fn gone(cause: std::io::Error) -> ClusterError {
    ClusterError::CoordinatorGone { cause }
}

fn unexpected(tell: &Tell) -> ClusterError {
    let length = tell.encode().map_or(0, |bytes| bytes.len());
    gone(std::io::Error::other(format!("it gave an answer of {length} bytes to another question")))
}
