//! What the last member to arrive on a node does when the communicator has members on other nodes:
//! it exchanges messages with their leaders, as the engine says, and suspends while it waits.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;
use faasm_mpi_engine::collective::cluster::{self, Brought, Concluded, Outside, Spread};
use faasm_mpi_engine::collective::{Contribution, Failures, Kind, Members};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;

use super::execution::Everyone;
use super::meeting::Meeting;
use crate::call::{Call, MpiView, Operator};
use crate::communicator::Seat;
use crate::ctx::MpiCtx;
use crate::port::{MpiPort, Pending};
use crate::request::UserOperator;
use crate::site::{Arrival, Outcome, Site};
use crate::world::{Arrivals, PartHeader};

/// Does this node's part of a collective call and leaves each member its outcome.
///
/// # Errors
/// A trap in the program's operator.
pub(super) async fn lead<T: MpiView>(
    call: &mut Call<'_, T>,
    meeting: &Meeting,
    user: Option<UserOperator>,
) -> wasmtime::Result<()> {
    let Some(mut leader) = Leader::begin(call, meeting).await else { return Ok(()) };
    let brought = take_all(&meeting.site);
    leader.operator = user.map(|user| operator(user, &brought, meeting.seat as usize));
    let concluded = leader.run(brought).await;
    leader.end().await?;
    let failures = match concluded? {
        Concluded::Done(failures) => failures.errors,
        Concluded::Inputs(_) => return Ok(()),
    };
    for (member, error) in failures {
        let seat = meeting.site.seat(member as u32);
        meeting.site.set_outcome(seat, Outcome::Failed(error));
    }
    Ok(())
}

/// Takes what the members of this node brought, by seat.
pub(super) fn take_all(site: &Site) -> Vec<Brought> {
    let brought = |seat| match site.take_arrival(seat) {
        Arrival::Barrier => Brought::Call(Contribution::new(Kind::Barrier)),
        Arrival::Collective(contribution) => Brought::Call(contribution),
        Arrival::Input(name, input) => Brought::Input(name, input),
        Arrival::Exchange(name, _) => Brought::Input(name, Ok(Box::default())),
    };
    (0..site.members()).map(brought).collect()
}

/// This node's leader of one meeting.
pub(super) struct Leader<'c, 'a, T: MpiView> {
    call: &'c mut Call<'a, T>,
    site: Arc<Seat>,
    group: Group,
    context: u32,
    meeting: u64,
    arrivals: Arrivals,
    /// For each node, the messages sent to it and taken from it.
    sent: Vec<u32>,
    taken: Vec<u32>,
    operator: Option<Operator>,
    /// Why the operation can never end.
    fault: Arc<OnceLock<MpiError>>,
}

impl<'c, 'a, T: MpiView> Leader<'c, 'a, T> {
    /// Begins to lead; waits while other nodes are far behind. `None` at a site whose members all
    /// run on this node.
    pub(super) async fn begin(call: &'c mut Call<'a, T>, meeting: &Meeting) -> Option<Self> {
        let nodes = meeting.site.elsewhere()?.spread.nodes();
        let world = call.mpi().port.world().clone();
        let (context, me) = (meeting.context, call.mpi().port.rank());
        if !world.has_part_room(context, me) {
            let pending = Pending { function: call.function, peer: None, tag: None, context };
            let has_room = || world.has_part_room(context, me);
            // If a member has failed, the leader learns of it soon enough.
            let comm = meeting.comm;
            let ready = |mpi: &mut MpiCtx<T::Port>| {
                (has_room() || mpi.check_members(comm).is_err()).then_some(())
            };
            call.wait(&pending, &has_room, ready).await;
        }
        let spread = &meeting.site.elsewhere()?.spread;
        let numbers = (0..nodes).map(|node| spread.number(node));
        world.begin_together(context, meeting.number, numbers);
        let communicator = call.mpi().comm(meeting.comm).ok()?;
        let group = communicator.everyone().clone();
        Some(Self {
            arrivals: world.await_parts(context, meeting.number, me),
            site: meeting.site.clone(),
            group,
            context,
            meeting: meeting.number,
            sent: vec![0; nodes],
            taken: vec![0; nodes],
            operator: None,
            fault: Arc::default(),
            call,
        })
    }

    /// Runs the engine's part for what the members `brought`.
    pub(super) async fn run(&mut self, brought: Vec<Brought>) -> wasmtime::Result<Concluded> {
        let (site, fault) = (self.site.clone(), self.fault.clone());
        let Some(elsewhere) = site.elsewhere() else {
            return Ok(Concluded::Inputs(Vec::new()));
        };
        let mut run = std::pin::pin!(cluster::run(&elsewhere.spread, brought, self));
        let ended = poll_fn(|context| match run.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(Ok(ended)),
            Poll::Pending => fault.get().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
        });
        match ended.await {
            Ok(ended) => ended,
            Err(error) => {
                site.close();
                let local = elsewhere.spread.local().iter();
                let errors = local.map(|rank| (*rank as usize, error.clone())).collect();
                Ok(Concluded::Done(Failures { errors }))
            }
        }
    }

    /// Why the operation can never end, if that is so.
    fn why_leave(&mut self) -> Option<MpiError> {
        let mpi = self.call.mpi();
        mpi.faults
            .is_active()
            .then(|| mpi.faults.known.check_all(self.context, &self.group).err())?
    }

    /// No further messages are awaited.
    pub(super) async fn end(self) -> wasmtime::Result<()> {
        self.call.mpi().port.world().end_parts(self.context, self.meeting);
        match self.operator {
            Some(operator) => operator.end(self.call).await,
            None => Ok(()),
        }
    }

    /// The call that leads.
    pub(super) fn call(&mut self) -> &mut Call<'a, T> {
        self.call
    }

    fn spread(&self) -> &Spread {
        let elsewhere = self.site.elsewhere();
        &elsewhere.expect("only a site of a spread communicator has a leader").spread
    }

    fn header(&self, step: u32, node: usize) -> PartHeader {
        let from = self.spread().number(node);
        PartHeader { context: self.context, meeting: self.meeting, step, from }
    }
}

impl<T: MpiView> Outside for Leader<'_, '_, T> {
    type Message = Bytes;
    type End = wasmtime::Error;

    fn send(&mut self, node: usize, message: Bytes) {
        let step = self.sent[node];
        self.sent[node] += 1;
        let header = self.header(step, self.spread().here());
        let number = self.spread().number(node);
        self.call.mpi().port.send_part(number, header, message);
    }

    async fn receive(&mut self, from: &[usize]) -> (usize, Bytes) {
        let pending =
            Pending { function: self.call.function, peer: None, tag: None, context: self.context };
        loop {
            let seen = self.arrivals.count();
            for node in from {
                let header = self.header(self.taken[*node], *node);
                if let Some(message) = self.call.mpi().port.take_part(header) {
                    self.taken[*node] += 1;
                    return (*node, message);
                }
            }
            if let Some(error) = self.why_leave() {
                // Whoever runs the operation drops it here.
                let _ = self.fault.set(error);
                return std::future::pending().await;
            }
            let arrivals = self.arrivals.clone();
            let has_come = || arrivals.count() != seen;
            let before = self.call.mpi().faults.news();
            let ready = |mpi: &mut MpiCtx<T::Port>| {
                (has_come() || mpi.faults.news() != before).then_some(())
            };
            self.call.wait(&pending, &has_come, ready).await;
        }
    }

    fn members(&mut self) -> impl Members {
        Everyone { port: &self.call.mpi().port, group: &self.group }
    }

    async fn combine(
        &mut self,
        accumulator: &mut [u8],
        operand: &mut [u8],
        count: u64,
    ) -> wasmtime::Result<Result<()>> {
        match &mut self.operator {
            Some(operator) => operator.apply(self.call, accumulator, operand, count).await,
            None => Ok(Err(no_operator())),
        }
    }
}

/// The operator of the member at `seat` of those who `brought` something. One that brings no operands, as across an
/// intercommunicator, lays them out as others have them.
fn operator(user: UserOperator, brought: &[Brought], seat: usize) -> Operator {
    let element = |brought: &Brought| match brought {
        Brought::Call(contribution) => contribution.element().cloned(),
        _ => None,
    };
    let own = brought.get(seat).and_then(element);
    Operator::new(user, own.or_else(|| brought.iter().find_map(element)))
}

/// The error of a member that has no operator of its own for operands which the others combine so.
pub(super) fn no_operator() -> MpiError {
    let detail = "rank 0 and this rank passed different operators";
    MpiError::argument(ErrorClass::Op, "op", detail)
}
