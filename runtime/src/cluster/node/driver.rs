//! The thread that drives a node: carries out what the coordinator says.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_transport::{Event, NodeId};
use flume::RecvTimeoutError;

use super::NodeEnd;
use super::fetch::Programs;
use super::midwife::Midwife;
use super::moving::Mover;
use super::part::{PartStreams, ReadyPart, follow, prepare};
use super::renewal::Renewal;
use super::stop::obey;
use crate::cluster::codec::{Arrival, Message as _, Outbox};
use crate::cluster::data::DataError;
use crate::cluster::inbox::{Inbox, Input as Arrived};
use crate::cluster::message::{Prepare, Standstill, State, ToCoordinator, ToNode};
use crate::cluster::planes::Planes;
use crate::cluster::spawn::SpawnOrder;
use crate::cluster::stop::{StopAnswer, StopOrder};
use crate::job::{Halt, JobHandle, JobShared, Quiet};
use crate::runtime::Runtime;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Input {
    /// Something of the network.
    Arrived(Arrived),
    /// A part can start, or cannot.
    Prepared { job: u32, part: Box<Result<ReadyPart, String>> },
    /// A peer sent something for a job that breaks the rules.
    Broken { peer: NodeId, job: u32, error: DataError },
    /// A part goes on with other ranks.
    Renewed { job: u32, shared: Arc<JobShared> },
    /// All ranks of a part have ended, and the coordinator has been told.
    Over { job: u32 },
    /// Leave the cluster soon: the coordinator is to take the ranks elsewhere meanwhile.
    LeaveWithin(Duration),
    /// Leave the cluster.
    Leave,
}

impl From<Arrived> for Input {
    fn from(arrived: Arrived) -> Self {
        Self::Arrived(arrived)
    }
}

/// A part of a job.
#[derive(Debug)]
struct Part {
    /// The other nodes of the job.
    peers: Vec<NodeId>,
    state: PartState,
    /// Its ranks, also after their end, until the whole job is over.
    ranks: Option<JobHandle>,
    /// Whether their stacks can be taken.
    is_migratable: bool,
    /// What stops them then.
    halt: Option<Arc<Halt>>,
    /// What has them come and go.
    mover: Option<Arc<Mover>>,
    /// Who has processes spawned for them, and here.
    midwife: Option<Arc<Midwife>>,
    /// What the coordinator was last told of their standing still.
    quiet: Option<Quiet>,
}

impl Part {
    /// Whether its ranks stand still, or are told to.
    fn is_halted(&self) -> bool {
        self.halt.as_ref().is_some_and(|halt| halt.is_closed())
    }
}

#[derive(Debug)]
enum PartState {
    Preparing,
    Ready(Box<ReadyPart>),
    Running {
        handle: JobHandle,
        streams: PartStreams,
    },
    /// Its ranks have ended or will never start.
    Over,
}

/// A node's ways to and from the others.
#[derive(Clone, Debug)]
pub(super) struct Links {
    pub(super) outbox: Arc<Outbox>,
    pub(super) planes: Planes,
    /// Where the coordinator is, as this node knows it.
    pub(super) coordinator: Option<SocketAddr>,
}

/// See the module's documentation.
pub(super) struct Driver {
    links: Links,
    runtime: Runtime,
    programs: Arc<Programs>,
    inbox: flume::Sender<Input>,
    parts: HashMap<u32, Part>,
    /// Nodes with which links were made.
    peers: HashSet<NodeId>,
    draining: bool,
    end: Option<NodeEnd>,
    /// When to look whether all ranks of a job wait.
    look_at: Instant,
    renewal: Option<Renewal>,
}

impl Driver {
    pub(super) fn new(
        (runtime, renewal): (Runtime, Option<Renewal>),
        links: Links,
        inbox: flume::Sender<Input>,
    ) -> Self {
        let programs = Arc::new(Programs::new(runtime.clone(), links.outbox.clone()));
        Self {
            links,
            runtime,
            programs,
            inbox,
            parts: HashMap::new(),
            peers: HashSet::new(),
            draining: false,
            end: None,
            look_at: Instant::now(),
            renewal,
        }
    }

    /// Runs until the node leaves or the coordinator is gone.
    pub(super) fn run(mut self, received: flume::Receiver<Input>) -> NodeEnd {
        let mut inbox = Inbox::new(received, self.links.outbox.endpoint().clone());
        loop {
            if let Some(end) = self.end.take() {
                self.finish();
                return end;
            }
            let runs = self.parts.values().any(|part| part.ranks.is_some());
            let renewal = self.renewal.as_ref().map(Renewal::next_timeout);
            let timeout = runs.then_some(self.look_at).into_iter().chain(renewal).min();
            match inbox.next(timeout) {
                Ok(input) => self.handle(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.end = Some(NodeEnd::Left),
            }
            if runs && self.look_at <= Instant::now() {
                self.look_at = Instant::now() + STANDSTILL_INTERVAL;
                self.tell_standstills();
            }
            self.renew_if_due();
            inbox.expect(self.parts.values().any(Part::is_halted));
        }
    }

    fn renew_if_due(&mut self) {
        let due = self.renewal.as_mut().and_then(|renewal| renewal.handle_timeout(Instant::now()));
        if let Some(public_key) = due {
            self.tell(&ToCoordinator::Renew { public_key });
        }
    }

    fn certified(&mut self, certificate: Vec<u8>, valid: Duration) {
        let now = Instant::now();
        let Some(renewal) = &mut self.renewal else { return };
        let Some(identity) = renewal.handle_certificate(certificate, valid, now) else { return };
        match self.links.outbox.endpoint().renew(&identity) {
            Ok(()) => tracing::info!("this node has a new certificate"),
            Err(error) => tracing::error!(%error, "the coordinator sent a certificate of no use"),
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Arrived(Arrived::Arrived(from, arrival)) if from == NodeId::COORDINATOR => {
                self.arrived(arrival);
            }
            Input::Arrived(Arrived::Arrived(from, _) | Arrived::Malformed(from, _)) => {
                tracing::warn!("{from} sent a control message that only a coordinator may send");
            }
            Input::Arrived(Arrived::Peer(event)) => self.peer(event),
            Input::Prepared { job, part } => self.prepared(job, *part),
            Input::Broken { peer, job, error } => {
                let reason = format!("it sent what breaks the rules of job {job}: {error}");
                tracing::error!("{peer} is not to be trusted: {reason}");
                self.tell(&ToCoordinator::PeerLost { node: peer.0, reason });
            }
            Input::Renewed { job, shared } => {
                let Some(part) = self.parts.get_mut(&job) else { return };
                part.ranks = part.ranks.as_ref().map(|ranks| ranks.again(shared.clone()));
                if let PartState::Running { handle, .. } = &mut part.state {
                    *handle = handle.again(shared);
                }
                part.quiet = None;
            }
            Input::Over { job } => {
                if let Some(part) = self.parts.get_mut(&job) {
                    part.state = PartState::Over;
                }
                self.leave_if_drained();
            }
            Input::LeaveWithin(grace) => {
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                self.tell(&ToCoordinator::Notice { grace_ms });
            }
            Input::Leave => self.leave(),
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Message(bytes) => match ToNode::decode(&bytes) {
                Ok(message) => self.message(message),
                Err(error) => tracing::warn!(%error, "the coordinator sent no message"),
            },
            Arrival::Stdin { job, bytes } => {
                if let Some(Part { state: PartState::Running { streams, .. }, .. }) =
                    self.parts.get(&job)
                    && let Some(input) = &streams.input
                {
                    input.feed(&bytes);
                }
            }
            Arrival::Chunk { module, offset, bytes } => {
                self.programs.arrived(module, offset, bytes);
            }
            Arrival::Output { .. } | Arrival::Close { .. } => {
                tracing::warn!("the coordinator sent what only a node sends");
            }
        }
    }

    fn message(&mut self, message: ToNode) {
        match message {
            ToNode::Prepare(prepare) => self.prepare(prepare),
            ToNode::Start { job } => self.start(job),
            ToNode::End { job } => self.end_part(job),
            ToNode::Release { job } => {
                self.end_part(job);
                self.links.planes.close(job);
                self.parts.remove(&job);
                self.leave_if_drained();
            }
            ToNode::Proto { name, turn } => self.programs.proto_answered(name, turn),
            ToNode::Credit { job, bytes } => {
                if let Some(Part { state: PartState::Running { streams, .. }, .. }) =
                    self.parts.get(&job)
                {
                    streams.output.credit(bytes);
                }
            }
            ToNode::Failed { job, ranks } => {
                if let Some(ranks_here) = self.ranks_of(job) {
                    ranks_here.mourn(&ranks);
                }
            }
            ToNode::Departed { job, node } => self.departed(job, NodeId(node)),
            ToNode::Decided { job, verdict } => {
                if let Some(ranks_here) = self.ranks_of(job) {
                    ranks_here.tell_decision(&verdict.into());
                }
            }
            ToNode::Query { job, query } => self.answer(job, query),
            ToNode::Survey { job, query, partners } => self.survey(job, query, partners),
            ToNode::Confirm { job, round } => self.confirm(job, round),
            ToNode::Stop { job, name, order } => self.stop(job, name, order),
            ToNode::Spawn { job, order } => self.spawn(job, order),
            ToNode::Certificate { certificate, valid_ms } => {
                self.certified(certificate, Duration::from_millis(valid_ms));
            }
            ToNode::Drain => {
                self.draining = true;
                self.leave_if_drained();
            }
            ToNode::Leave => self.leave(),
        }
    }

    fn ranks_of(&self, job: u32) -> Option<&JobHandle> {
        self.parts.get(&job)?.ranks.as_ref()
    }

    /// A node has no part in a job any more, and none of its ranks that were there lives.
    fn departed(&mut self, job: u32, node: NodeId) {
        let Some(part) = self.parts.get_mut(&job) else { return };
        part.peers.retain(|peer| *peer != node);
        if let Some(ranks) = &part.ranks {
            ranks.forget_node(node);
        }
    }

    fn prepare(&mut self, job: Box<Prepare>) {
        let number = job.job;
        if self.parts.contains_key(&number) {
            return tracing::warn!("job {number} is here already");
        }
        if let Err(wrong) = job.check() {
            return self.unready(number, format!("its description is wrong: {wrong}"));
        }
        let this = self.links.outbox.endpoint().node();
        let others = job.nodes.iter().filter(|peer| NodeId(peer.node) != this);
        let mut peers = Vec::new();
        for peer in others {
            let node = NodeId(peer.node);
            peers.push(node);
            if self.peers.insert(node) {
                let addresses = self.reachable(&peer.addresses);
                self.links.outbox.endpoint().add_peer(node, &addresses);
            }
        }
        let part = Part {
            peers,
            state: PartState::Preparing,
            ranks: None,
            is_migratable: false,
            halt: None,
            mover: None,
            midwife: None,
            quiet: None,
        };
        self.parts.insert(number, part);
        let (runtime, programs) = (self.runtime.clone(), self.programs.clone());
        let (links, inbox) = (self.links.clone(), self.inbox.clone());
        let make_ready = move || {
            let part = Box::new(prepare(&job, &runtime, &programs, &links));
            // The node is gone.
            let _ = inbox.send(Input::Prepared { job: number, part });
        };
        let thread = std::thread::Builder::new().name(format!("faasm-prepare-{number}"));
        if let Err(cause) = thread.spawn(make_ready) {
            self.unready(number, format!("no thread can be had ({cause}); check `ulimit -u`"));
        }
    }

    /// Addresses of a peer. One that joined over the coordinator's loopback is reached where the
    /// coordinator is.
    fn reachable(&self, addresses: &[String]) -> Vec<SocketAddr> {
        let coordinator = self.links.coordinator.map(|address| address.ip());
        let elsewhere = coordinator.filter(|ip| !ip.is_loopback());
        let address = |text: &String| {
            let address: SocketAddr = text.parse().ok()?;
            let ip = match elsewhere {
                Some(coordinator) if address.ip().is_loopback() => coordinator,
                _ => address.ip(),
            };
            Some(SocketAddr::new(ip, address.port()))
        };
        addresses.iter().filter_map(address).collect()
    }

    fn unready(&mut self, job: u32, reason: String) {
        self.parts.remove(&job);
        self.tell(&ToCoordinator::Unready { job, reason });
    }

    fn prepared(&mut self, job: u32, result: Result<ReadyPart, String>) {
        let preparing =
            self.parts.get_mut(&job).filter(|part| matches!(part.state, PartState::Preparing));
        match (preparing, result) {
            (Some(part), Ok(ready)) => {
                part.state = PartState::Ready(Box::new(ready));
                self.tell(&ToCoordinator::Ready { job });
            }
            (Some(_), Err(reason)) => self.unready(job, reason),
            // It was ended meanwhile.
            (None, Ok(ready)) => {
                ready.job.handle().kill(0);
                self.links.planes.close(job);
            }
            (None, Err(_)) => {}
        }
    }

    fn start(&mut self, job: u32) {
        let Some(part) = self.parts.get_mut(&job) else { return };
        if !matches!(part.state, PartState::Ready(_)) {
            return;
        }
        let state = std::mem::replace(&mut part.state, PartState::Over);
        let PartState::Ready(ready) = state else { return };
        let ReadyPart { job: prepared, streams, is_migratable, midwife } = *ready;
        let handle = prepared.handle().clone();
        let inbox = self.inbox.clone();
        let over = move || {
            // The node is gone.
            let _ = inbox.send(Input::Over { job });
        };
        part.is_migratable = is_migratable;
        // It counts what they begin from the first instant on.
        part.halt = if part.is_migratable { handle.halt() } else { None };
        let (followed, outbox) = ((handle.clone(), part.halt.clone()), self.links.outbox.clone());
        if let Err(cause) = follow(job, followed, outbox, over) {
            handle.kill(0);
            tracing::error!(%cause, "no thread can be had for job {job}; check `ulimit -u`");
            return self.part_ended(job);
        }
        part.mover = part.is_migratable.then(|| {
            let inbox = self.inbox.clone();
            let renewed = move |shared| {
                // The node is gone.
                let _ = inbox.send(Input::Renewed { job, shared });
            };
            let means = (prepared.cradle().clone(), self.programs.clone());
            Arc::new(Mover::new(job, means, self.links.planes.clone(), renewed))
        });
        part.midwife = Some(midwife);
        prepared.start();
        part.ranks = Some(handle.clone());
        part.state = PartState::Running { handle, streams };
    }

    /// Ends the ranks of a part; the coordinator is told when they have.
    fn end_part(&mut self, job: u32) {
        let Some(part) = self.parts.get_mut(&job) else { return };
        match &part.state {
            PartState::Running { handle, streams } => {
                streams.output.stop();
                handle.kill(0);
                return;
            }
            PartState::Over => return,
            PartState::Ready(ready) => ready.job.handle().kill(0),
            PartState::Preparing => {}
        }
        part.state = PartState::Over;
        self.part_ended(job);
    }

    fn part_ended(&self, job: u32) {
        let (totals, legacy) = Default::default();
        self.tell(&ToCoordinator::PartEnded { job, totals, legacy });
    }

    fn answer(&self, job: u32, query: u32) {
        let Some(Part { state: PartState::Running { handle, .. }, .. }) = self.parts.get(&job)
        else {
            return;
        };
        let states = handle.local_states().into_iter().map(State::from).collect();
        self.tell(&ToCoordinator::States { job, query, states });
    }

    fn survey(&self, job: u32, query: u32, partners: bool) {
        let survey = self.ranks_of(job).and_then(|ranks| ranks.survey(partners));
        let survey = Box::new(survey.unwrap_or_default());
        self.tell(&ToCoordinator::Survey { job, query, survey });
    }

    /// Tells the coordinator of jobs whose ranks here have all come to wait. That a rank goes on again
    /// is no news: it is asked before anything is made of it.
    fn tell_standstills(&mut self) {
        let mut news = Vec::new();
        for (job, part) in &mut self.parts {
            let quiet = part.ranks.as_ref().and_then(JobHandle::quiet);
            if quiet.is_some() && quiet != part.quiet {
                part.quiet = quiet;
                let (job, quiet) = (*job, quiet.map(Standstill::from));
                news.push(ToCoordinator::Quiet { job, round: 0, quiet });
            }
        }
        news.iter().for_each(|message| self.tell(message));
    }

    fn confirm(&mut self, job: u32, round: u32) {
        let Some(part) = self.parts.get_mut(&job) else { return };
        part.quiet = part.ranks.as_ref().and_then(JobHandle::quiet);
        let quiet = part.quiet.map(Standstill::from);
        self.tell(&ToCoordinator::Quiet { job, round, quiet });
    }

    fn stop(&self, job: u32, name: u32, order: StopOrder) {
        let part = self.parts.get(&job);
        let mover = part.and_then(|part| part.mover.as_ref());
        match part.and_then(|part| part.halt.as_ref()) {
            Some(halt) => obey((halt, mover), &self.links.outbox, (job, name), order),
            None => {
                let why = "its ranks cannot be stopped: it was begun without --migratable, or its \
                           program does not allow that";
                let why = why.to_owned();
                let answer = StopAnswer::Failed { why };
                self.tell(&ToCoordinator::Stop { job, name, answer });
            }
        }
    }

    fn spawn(&self, job: u32, order: SpawnOrder) {
        if let Some(Part { state: PartState::Running { handle, .. }, midwife, .. }) =
            self.parts.get(&job)
            && let (Some(midwife), Some(shared)) = (midwife, handle.shared())
        {
            return midwife.obey(shared, order);
        }
        if let Some(news) = order.refused("its part of the job is over") {
            self.tell(&ToCoordinator::Spawn { job, news });
        }
    }

    fn peer(&mut self, event: Event) {
        match event {
            Event::PeerLost { node, reason } if node == NodeId::COORDINATOR => {
                self.end = Some(NodeEnd::CoordinatorLost { reason: reason.to_string() });
            }
            Event::PeerLeft(NodeId::COORDINATOR) => {
                let reason = "it has ended".to_owned();
                self.end = Some(NodeEnd::CoordinatorLost { reason });
            }
            Event::PeerLost { node, reason } => self.lost(node, reason.to_string()),
            Event::PeerLeft(node) => self.lost(node, "it left the cluster".to_owned()),
            Event::Refused { addr, reason } => tracing::warn!("{addr} was turned away: {reason}"),
            _ => {}
        }
    }

    /// A job that needs this node and the lost one cannot go on; the coordinator decides that.
    fn lost(&mut self, node: NodeId, reason: String) {
        self.peers.remove(&node);
        self.links.outbox.endpoint().remove_peer(node);
        let running =
            |part: &Part| part.peers.contains(&node) && !matches!(part.state, PartState::Over);
        if self.parts.values().any(running) {
            let message = ToCoordinator::PeerLost { node: node.0, reason };
            self.tell(&message);
        }
    }

    fn tell(&self, message: &ToCoordinator) {
        self.links.outbox.send(NodeId::COORDINATOR, message);
    }

    fn leave_if_drained(&mut self) {
        let busy = self.parts.values().any(|part| !matches!(part.state, PartState::Over));
        if self.draining && !busy {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.tell(&ToCoordinator::Leaving);
        self.end = Some(NodeEnd::Left);
    }

    /// Ends what still runs, and the links.
    fn finish(mut self) {
        self.programs.stop();
        for job in self.parts.keys().copied().collect::<Vec<_>>() {
            self.end_part(job);
        }
        crate::cluster::inbox::leave(self.links.outbox.endpoint());
    }
}

/// How often it is looked whether all ranks of a job wait for messages.
const STANDSTILL_INTERVAL: Duration = Duration::from_millis(250);
