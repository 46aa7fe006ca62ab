//! The thread that drives a coordinator: what arrives goes to the core, what the core decides is
//! carried out.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use faasm_transport::{Event, NodeId};

use super::certifier::Certifier;
use super::core::{Command, Core, Submission};
use super::front::{Front, LateReport, Streams};
use super::further::Further;
use super::halting::StopNews;
use super::protos::{Protos, Told};
use super::relocate::Places;
use super::stop::Plan;
use super::{ClusterStatus, Inner, NodeStatus, eviction};
use crate::cluster::codec::{Arrival, Message as _, Outbox};
use crate::cluster::inbox::{Inbox, Input as Arrived};
use crate::cluster::message::{CHUNK_BYTES_MAX, NodeInfo, ToCoordinator, ToNode};
use crate::cluster::spawn::{SpawnNews, SpawnOrder};
use crate::cluster::stop::{Departed, Legacy, Task};
use crate::job::{JobReport, JobStatus, Outcome, RankEvent, RankState};
use crate::module::Program;

/// What the thread is told.
pub(super) enum Input {
    /// Something of the network.
    Arrived(Arrived),
    /// Run a job.
    Submit(Box<Request>),
    /// End a job.
    End { job: u32, outcome: Outcome },
    /// Say what a job's ranks do.
    States { job: u32, reply: flume::Sender<Vec<RankState>> },
    /// Say how a job is doing, and have it counted who sends how much to whom if that is wanted.
    Survey { job: u32, partners: bool, reply: flume::Sender<JobStatus> },
    /// Say what there is.
    Status { reply: flume::Sender<ClusterStatus> },
    /// Say so once there are this many nodes.
    Await { nodes: usize, reply: flume::Sender<()> },
    /// A machine has joined: its links come next.
    Admitted { node: NodeId, address: std::net::IpAddr },
    /// Stop a job; whoever wants it hears what comes of it. The reply says whether that has begun, and if not whether
    /// somebody else stops it.
    Halt {
        job: u32,
        /// A move of which as much as can be is done before.
        plan: Option<Plan>,
        news: flume::Sender<StopNews>,
        reply: flume::Sender<Result<(), (String, bool)>>,
    },
    /// Nodes of a stopped job are to do something.
    Act { job: u32, tasks: Vec<(NodeId, Task)> },
    /// Say where the ranks of a job are.
    Places { job: u32, reply: flume::Sender<Places> },
    /// The ranks of a stopped job are there now.
    Placed { job: u32, places: Vec<u32> },
    /// A node leaves a stopped job, with this behind it.
    Depart { job: u32, node: NodeId, departed: Departed },
    /// Say what is left of nodes that have left a job.
    Legacies { job: u32, reply: flume::Sender<Result<Vec<Legacy>, String>> },
    /// Let a stopped job go on.
    GoOn { job: u32 },
    /// A node is known to be gone.
    Gone { node: NodeId, reason: String },
    /// Let a node go once it has no job.
    Drain { node: NodeId, reply: flume::Sender<Result<(), String>> },
    /// Let a node go at once.
    Leave { node: NodeId },
    /// Who asks all this.
    Begun(Weak<Inner>),
    /// End all jobs and let all nodes go.
    Stop,
}

impl From<Arrived> for Input {
    fn from(arrived: Arrived) -> Self {
        Self::Arrived(arrived)
    }
}

/// A job that somebody wants to run.
pub(super) struct Request {
    pub(super) submission: Submission,
    pub(super) programs: Vec<Program>,
    pub(super) streams: Streams,
    pub(super) events: flume::Sender<RankEvent>,
    pub(super) report: flume::Sender<Arc<JobReport>>,
    /// The job's number when it runs, or why it does not.
    pub(super) reply: flume::Sender<Result<u32, String>>,
}

/// See the module's documentation.
pub(super) struct Driver {
    outbox: Arc<Outbox>,
    core: Core,
    fronts: HashMap<u32, Front>,
    starting: HashMap<u32, flume::Sender<Result<u32, String>>>,
    asked: HashMap<u32, flume::Sender<Vec<RankState>>>,
    surveys: HashMap<u32, flume::Sender<JobStatus>>,
    awaiting: Vec<(usize, flume::Sender<()>)>,
    /// Who stops which job.
    stoppers: HashMap<u32, flume::Sender<StopNews>>,
    late: Vec<LateReport>,
    /// Where machines joined from.
    admitted: HashMap<NodeId, std::net::IpAddr>,
    protos: Protos,
    further: Further,
    /// Who asks all this.
    cluster: Weak<Inner>,
    /// Who certifies nodes; nobody inside one process.
    certifier: Option<Certifier>,
    stopping: bool,
}

impl Driver {
    pub(super) fn new(outbox: Arc<Outbox>, certifier: Option<Certifier>) -> Self {
        Self {
            outbox,
            core: Core::default(),
            fronts: HashMap::new(),
            starting: HashMap::new(),
            asked: HashMap::new(),
            surveys: HashMap::new(),
            awaiting: Vec::new(),
            stoppers: HashMap::new(),
            late: Vec::new(),
            admitted: HashMap::new(),
            protos: Protos::default(),
            further: Further::default(),
            cluster: Weak::new(),
            certifier,
            stopping: false,
        }
    }

    /// Runs until all is to end.
    pub(super) fn run(mut self, received: flume::Receiver<Input>) {
        let mut inbox = Inbox::new(received, self.outbox.endpoint().clone());
        loop {
            match inbox.next(self.next_timeout()) {
                Ok(input) => self.handle(input),
                Err(flume::RecvTimeoutError::Timeout) => {}
                Err(flume::RecvTimeoutError::Disconnected) => self.stop(),
            }
            self.keep_time();
            self.carry_out();
            inbox.expect(self.core.is_stopping());
            if self.stopping && self.core.nodes().is_empty() {
                break;
            }
        }
        crate::cluster::inbox::leave(self.outbox.endpoint());
    }

    fn next_timeout(&self) -> Option<Instant> {
        let renewal = self.certifier.as_ref().map(Certifier::next_timeout);
        let late = self.late.iter().map(|late| late.at);
        self.core.poll_timeout().into_iter().chain(late).chain(renewal).min()
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        self.renew_own(now);
        let (due, waiting) = std::mem::take(&mut self.late).into_iter().partition(|l| l.at <= now);
        self.late = waiting;
        self.late.extend(Vec::into_iter(due).filter_map(LateReport::look));
    }

    fn handle(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            Input::Arrived(Arrived::Arrived(from, arrival)) => self.arrived(from, arrival, now),
            Input::Arrived(Arrived::Malformed(from, malformed)) => {
                self.cut_off(from, &malformed.to_string(), now);
            }
            Input::Arrived(Arrived::Peer(event)) => self.peer(&event, now),
            Input::Submit(request) => self.submit(*request),
            Input::End { job, outcome } => self.core.kill(job, outcome, now),
            Input::States { job, reply } => {
                let query = self.core.query(job, now);
                self.asked.insert(query, reply);
            }
            Input::Survey { job, partners, reply } => {
                let query = self.core.survey(job, partners, now);
                self.surveys.insert(query, reply);
            }
            Input::Status { reply } => {
                // Nobody may wait for it any more.
                let _ = reply.send(self.status());
            }
            Input::Await { nodes, reply } => {
                self.awaiting.push((nodes, reply));
                self.announce_nodes();
            }
            Input::Halt { job, plan, news, reply } => {
                let begun = self.core.stop(job, plan, now);
                if begun.is_ok() {
                    self.stoppers.insert(job, news);
                }
                // Whoever wants it waits for the answer.
                let _ = reply.send(begun);
            }
            Input::Act { job, tasks } => self.core.act(job, tasks),
            Input::Places { job, reply } => {
                let front = self.fronts.get(&job);
                let readers_stay = front.is_some_and(|front| !front.keeps_input());
                let mut places = Places { readers_stay, ..self.core.places(job) };
                let is_there = |hash: &[u8; 32]| {
                    self.began_with(job, hash) || self.further.bytes(hash).is_some()
                };
                let births = places.births.values();
                let absent = births.filter(|newborn| !is_there(&newborn.program.hash));
                places.absent = absent.map(|newborn| newborn.rank).collect();
                let _ = reply.send(places);
            }
            Input::Placed { job, places } => self.core.placed(job, places),
            Input::Depart { job, node, departed } => self.core.depart(job, node, departed),
            Input::Legacies { job, reply } => {
                let _ = reply.send(self.core.legacies(job));
            }
            Input::GoOn { job } => {
                self.core.go_on(job);
                self.stoppers.remove(&job);
            }
            Input::Admitted { node, address } => self.admit(node, address),
            Input::Gone { node, reason } => {
                self.outbox.endpoint().remove_peer(node);
                self.lost(node, &reason, now);
            }
            Input::Drain { node, reply } => {
                let _ = reply.send(self.core.drain(node, now));
            }
            Input::Leave { node } => self.outbox.send(node, &ToNode::Leave),
            Input::Begun(cluster) => self.cluster = cluster,
            Input::Stop => self.stop(),
        }
    }

    fn admit(&mut self, node: NodeId, address: std::net::IpAddr) {
        self.admitted.insert(node, address);
        self.outbox.endpoint().add_peer(node, &[]);
    }

    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            // Nobody is left who could want to wait for the nodes.
            let nodes: Vec<NodeId> = self.core.nodes().keys().copied().collect();
            for node in nodes {
                self.core.handle_lost(node, "the cluster ends", Instant::now());
            }
            return;
        }
        for node in self.core.nodes().keys() {
            self.outbox.send(*node, &ToNode::Leave);
        }
    }

    fn arrived(&mut self, from: NodeId, arrival: Arrival, now: Instant) {
        match arrival {
            Arrival::Message(bytes) => match ToCoordinator::decode(&bytes) {
                Ok(message) => self.message(from, message, now),
                Err(error) => self.cut_off(from, &format!("it sent no message: {error}"), now),
            },
            Arrival::Output { job, rank, stream, bytes } => {
                let Some(front) = self.fronts.get(&job) else { return };
                if !front.output(from, rank, stream, bytes) {
                    self.cut_off(from, "it sent more output than it may", now);
                }
            }
            Arrival::Close { job, rank } => {
                if let Some(front) = self.fronts.get(&job) {
                    front.close(rank);
                }
            }
            Arrival::Chunk { module: hash, offset, bytes } => {
                let taken = self.further.handle_chunk(from, (hash, offset), &bytes);
                let told = taken.and_then(|taken| match taken {
                    true => Ok(Vec::new()),
                    false => self.protos.handle_chunk(from, hash, offset, &bytes),
                });
                match told {
                    Ok(told) => self.tell(told),
                    Err(why) => self.cut_off(from, why, now),
                }
            }
            Arrival::Stdin { .. } => {
                self.cut_off(from, "it sent what only a coordinator sends", now);
            }
        }
    }

    fn message(&mut self, from: NodeId, message: ToCoordinator, now: Instant) {
        match message {
            ToCoordinator::Hello(info) => {
                let addresses = self.reachable(from, &info);
                self.core.handle_hello(from, info, addresses);
                self.announce_nodes();
            }
            ToCoordinator::Notice { grace_ms } => {
                if self.core.notice(from, Duration::from_millis(grace_ms), now) {
                    eviction::begin(self.cluster.clone(), from);
                }
            }
            ToCoordinator::Renew { public_key } => self.renew(from, &public_key, now),
            ToCoordinator::Want { module, offset } => self.send_chunk(from, module, offset),
            ToCoordinator::ProtoWanted { name } => {
                let told = self.protos.handle_want(from, name);
                self.tell(told);
            }
            ToCoordinator::ProtoMade { name, made } => {
                let told = self.protos.handle_made(from, name, made);
                self.tell(told);
            }
            ToCoordinator::Born { job, ref born } => {
                for program in born.iter().map(|newborn| newborn.program) {
                    if !self.began_with(job, &program.hash) {
                        self.further.handle_offer(from, job, program);
                    }
                }
                self.core.handle_message(from, message, now);
            }
            ToCoordinator::Spawn { job, news: SpawnNews::Offer(program) } => {
                if !self.began_with(job, &program.hash) {
                    self.further.handle_offer(from, job, program);
                }
            }
            ToCoordinator::Spawn { job, news: SpawnNews::Ask(ref ask) } => {
                let absent = ask.programs.iter().map(|wanted| &wanted.germ).find(|germ| {
                    let hash = &germ.program.hash;
                    !self.began_with(job, hash) && self.further.bytes(hash).is_none()
                });
                match absent {
                    Some(germ) => {
                        let why = format!("there is no room for {} at the coordinator", germ.name);
                        let order = SpawnOrder::Failed { call: ask.call, why };
                        self.outbox.send(from, &ToNode::Spawn { job, order });
                    }
                    None => self.core.handle_message(from, message, now),
                }
            }
            ToCoordinator::StdinWanted { job } => {
                if let Some(front) = self.fronts.get_mut(&job) {
                    front.demand(from);
                }
            }
            message => self.core.handle_message(from, message, now),
        }
    }

    /// Gives a member another certificate.
    fn renew(&mut self, node: NodeId, public_key: &[u8], now: Instant) {
        let Some(certifier) = &self.certifier else { return };
        match certifier.renew(node, public_key) {
            Ok(certificate) => self.outbox.send(node, &certificate),
            Err(reason) => self.cut_off(node, &reason, now),
        }
    }

    /// Gives the coordinator itself another one when it is time.
    fn renew_own(&mut self, now: Instant) {
        let renewed = self.certifier.as_mut().and_then(|certifier| certifier.handle_timeout(now));
        let Some(identity) = renewed else { return };
        match self.outbox.endpoint().renew(&identity) {
            Ok(()) => tracing::info!("the coordinator has a new certificate"),
            Err(error) => tracing::error!(%error, "the coordinator's new certificate is of no use"),
        }
    }

    /// Where other nodes reach a node: a node that listens on all its addresses knows only the port.
    fn reachable(&self, node: NodeId, info: &NodeInfo) -> Vec<String> {
        let at = self.admitted.get(&node);
        let address = |text: &String| {
            let address: std::net::SocketAddr = text.parse().ok()?;
            let ip = if address.ip().is_unspecified() { *at? } else { address.ip() };
            Some(std::net::SocketAddr::new(ip, address.port()).to_string())
        };
        info.addresses.iter().filter_map(address).collect()
    }

    fn send_chunk(&self, to: NodeId, module: [u8; 32], offset: u64) {
        let mut programs = self.fronts.values().flat_map(|front| &front.programs);
        let program = programs.find(|program| *program.content_hash().as_bytes() == module);
        let further = || self.further.bytes(&module).or_else(|| self.protos.bytes(&module));
        let program = program.map(|program| &program.bytes()[..]);
        // Who asks for what there is not is told so by an empty chunk.
        let bytes = program.or_else(|| further().map(|bytes| &bytes[..])).unwrap_or_default();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = bytes.len().min(start + CHUNK_BYTES_MAX);
        self.outbox.chunk(to, module, offset, &bytes[start..end]);
    }

    /// Whether a job began with the program with this hash.
    fn began_with(&self, job: u32, hash: &[u8; 32]) -> bool {
        let front = self.fronts.get(&job);
        let mut programs = front.into_iter().flat_map(|front| &front.programs);
        programs.any(|program| program.content_hash().as_bytes() == hash)
    }

    fn tell(&self, told: Told) {
        told.iter().for_each(|(node, message)| self.outbox.send(*node, message));
    }

    fn peer(&mut self, event: &Event, now: Instant) {
        match event {
            Event::PeerLost { node, reason } => self.lost(*node, &reason.to_string(), now),
            Event::PeerLeft(node) => self.lost(*node, "it left the cluster", now),
            Event::Admitted { node, host, addr } => {
                tracing::debug!("{host} at {addr} has become {node}");
                self.admit(*node, addr.ip());
            }
            Event::Refused { addr, reason } => tracing::warn!("{addr} was turned away: {reason}"),
            _ => {}
        }
    }

    fn cut_off(&mut self, node: NodeId, why: &str, now: Instant) {
        tracing::warn!("{node} is cut off: {why}");
        self.outbox.endpoint().remove_peer(node);
        self.lost(node, why, now);
    }

    fn lost(&mut self, node: NodeId, why: &str, now: Instant) {
        self.core.handle_lost(node, why, now);
        self.further.handle_lost(node);
        let told = self.protos.handle_lost(node);
        self.tell(told);
    }

    fn submit(&mut self, request: Request) {
        let Request { submission, programs, streams, events, report, reply } = request;
        let job = match self.core.submit(submission) {
            Ok(job) => job,
            Err(reason) => {
                let _ = reply.send(Err(reason));
                return;
            }
        };
        match Front::new(job, programs, streams, &self.outbox, (events, report)) {
            Ok(front) => {
                self.fronts.insert(job, front);
                self.starting.insert(job, reply);
            }
            Err(cause) => {
                self.core.kill(job, Outcome::Killed { code: 1 }, Instant::now());
                let reason = format!("no thread can be had ({cause}); check `ulimit -u`");
                let _ = reply.send(Err(reason));
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.core.poll() {
            match command {
                Command::Send { to, message } => self.outbox.send(to, &message),
                Command::Started { job } => self.answer_start(job, Ok(job)),
                Command::Rejected { job, reason } => {
                    self.fronts.remove(&job);
                    self.answer_start(job, Err(reason));
                }
                Command::Exited { job, event } => {
                    if let Some(front) = self.fronts.get(&job) {
                        // Nobody has to listen.
                        let _ = front.events.send(event);
                    }
                }
                Command::States { query, states } => {
                    if let Some(reply) = self.asked.remove(&query) {
                        let _ = reply.send(states);
                    }
                }
                Command::Surveyed { query, status } => {
                    if let Some(reply) = self.surveys.remove(&query) {
                        // Nobody may wait for it any more.
                        let _ = reply.send(*status);
                    }
                }
                Command::Ended { job, report } => {
                    self.further.forget(job);
                    if let Some(front) = self.fronts.remove(&job) {
                        self.late.extend(front.report(report));
                    }
                }
                Command::Moved { job, moved } => {
                    if let Some(front) = self.fronts.get(&job) {
                        moved.into_iter().for_each(|(rank, host)| front.moved(rank, host));
                    }
                }
                Command::Stop { job, news } => {
                    if let Some(stopper) = self.stoppers.get(&job) {
                        // It may have given up.
                        let _ = stopper.send(news);
                    }
                }
                Command::Forget { node, why } => {
                    if let Some(why) = why {
                        tracing::warn!("{node} is cut off: {why}");
                    }
                    self.admitted.remove(&node);
                    self.outbox.endpoint().remove_peer(node);
                }
            }
        }
    }

    fn answer_start(&mut self, job: u32, answer: Result<u32, String>) {
        if let Some(reply) = self.starting.remove(&job) {
            let _ = reply.send(answer);
        }
    }

    fn announce_nodes(&mut self) {
        let nodes = self.core.nodes().len();
        self.awaiting.retain(|(awaited, reply)| {
            if *awaited <= nodes {
                let _ = reply.send(());
            }
            *awaited > nodes && !reply.is_disconnected()
        });
    }

    fn status(&self) -> ClusterStatus {
        let jobs: Vec<(u32, Vec<NodeId>)> = self.core.jobs().collect();
        let node = |(node, member): (&NodeId, &super::core::Node)| NodeStatus {
            node: *node,
            host: member.info.host.as_str().into(),
            workers: member.info.workers,
            slots: member.info.slots,
            process: member.info.process,
            addresses: member.addresses.clone(),
            draining: member.draining,
            jobs: jobs
                .iter()
                .filter(|(_, nodes)| nodes.contains(node))
                .map(|(job, _)| *job)
                .collect(),
        };
        ClusterStatus {
            nodes: self.core.nodes().iter().map(node).collect(),
            jobs: jobs.iter().map(|(job, _)| *job).collect(),
            ..ClusterStatus::default()
        }
    }
}

/// How long nodes are waited for when the cluster ends.
pub(super) const STOP_PATIENCE: Duration = Duration::from_millis(800);
