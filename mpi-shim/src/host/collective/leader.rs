//! What the last member to arrive on a node does when the communicator has members on other nodes:
//! it exchanges messages with their leaders, as the engine says, and suspends while it waits.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use bytes::Bytes;
use faasm_mpi_engine::collective::cluster::{self, Brought, Concluded, Outside, Spread};
use faasm_mpi_engine::collective::{Contribution, Failures, Kind, MemberMemory, Members};
use faasm_mpi_engine::datatype::{Datatype, pack_window, unpack_window};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;

use super::execution::Everyone;
use super::meeting::Meeting;
use crate::call::{Call, MpiView, ending};
use crate::communicator::Seat;
use crate::ctx::MpiCtx;
use crate::host::op::{ARGUMENTS_BYTES, call_operator};
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
    leader.operator = user.map(|user| Operator::new(user, &brought, meeting.seat as usize));
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
    rank: usize,
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
        let (group, rank) = (communicator.everyone().clone(), communicator.number() as usize);
        Some(Self {
            arrivals: world.await_parts(context, meeting.number, me),
            site: meeting.site.clone(),
            group,
            context,
            meeting: meeting.number,
            rank,
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
        if let Some(Operator { room: Some((start, _)), .. }) = self.operator {
            self.call.free(start).await?;
        }
        Ok(())
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
        let Some(operator) = self.operator.take() else {
            let detail = "rank 0 and this rank passed different operators";
            return Ok(Err(MpiError::argument(ErrorClass::Op, "op", detail)));
        };
        let (result, operator) = self.call_operator(operator, accumulator, operand, count).await?;
        self.operator = Some(operator);
        Ok(result)
    }
}

/// The program's operator, and where its operands go in this member's memory.
struct Operator {
    user: UserOperator,
    datatype: Option<Datatype>,
    /// Guest memory for the operands: where, and for how many bytes each.
    room: Option<(u32, u32)>,
}

impl Operator {
    /// For the member at `seat` of those who `brought` something. One that brings no operands, as across an
    /// intercommunicator, lays them out as others have them.
    fn new(user: UserOperator, brought: &[Brought], seat: usize) -> Self {
        let element = |brought: &Brought| match brought {
            Brought::Call(contribution) => contribution.element().cloned(),
            _ => None,
        };
        let own = brought.get(seat).and_then(element);
        let datatype = own.or_else(|| brought.iter().find_map(element));
        Self { user, datatype, room: None }
    }
}

impl<T: MpiView> Leader<'_, '_, T> {
    /// Puts both operands into this member's memory as its datatype lays them out, calls the C
    /// function `(void *invec, void *inoutvec, int *len, MPI_Datatype *datatype)`, and takes the
    /// result.
    async fn call_operator(
        &mut self,
        mut operator: Operator,
        accumulator: &mut [u8],
        operand: &[u8],
        count: u64,
    ) -> wasmtime::Result<(Result<()>, Operator)> {
        let Some(datatype) = operator.datatype.clone() else {
            let detail = "the reduction has no datatype";
            return Ok((Err(MpiError::new(ErrorClass::Intern, detail)), operator));
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let (low, high) = datatype.span(count).unwrap_or((0, 0));
        let Some(each) = u32::try_from(high.abs_diff(low)).ok().and_then(|bytes| {
            bytes.checked_next_multiple_of(16).filter(|bytes| *bytes < u32::MAX / 2 - 16)
        }) else {
            return Err(wasmtime::Error::msg("the operands do not fit the program's memory"));
        };
        let start = self.reserve(&mut operator, each).await?;
        let first = start + ARGUMENTS_BYTES;
        // The address of an operand is where its element 0 begins, which may be before its data.
        let at = |start: u32| (i64::from(start) - low) as u32;
        let (invec, inoutvec) = (at(first), at(first + each));
        let moved = self.with_memory(|memory| {
            unpack_window(memory, u64::from(invec), count, &datatype, 0, accumulator)?;
            unpack_window(memory, u64::from(inoutvec), count, &datatype, 0, operand)
        });
        if let Err(fault) = moved {
            return Ok((Err(fault), operator));
        }
        let operands = (invec.cast_signed(), inoutvec.cast_signed());
        let called = call_operator(self.call, operator.user, operands, count, start).await;
        if let Err(error) = ending(called)? {
            return Ok((Err(error), operator));
        }
        let taken = self.with_memory(|memory| {
            pack_window(memory, u64::from(inoutvec), count, &datatype, 0, accumulator)
        });
        Ok((taken, operator))
    }

    /// Makes room for two operands of `each` bytes. That there is none ends the program: other nodes
    /// wait for this one, so the call cannot merely fail.
    async fn reserve(&mut self, operator: &mut Operator, each: u32) -> wasmtime::Result<u32> {
        if let Some((start, room)) = operator.room {
            if room >= each {
                return Ok(start);
            }
            operator.room = None;
            self.call.free(start).await?;
        }
        let allocated = self.call.allocate(2 * each + ARGUMENTS_BYTES).await?;
        let start = allocated.map_err(wasmtime::Error::from)?;
        operator.room = Some((start, each));
        Ok(start)
    }

    fn with_memory(
        &mut self,
        run: impl FnOnce(
            &MemberMemory<'_, Everyone<'_, T::Port>>,
        ) -> std::result::Result<(), faasm_mpi_engine::datatype::Fault>,
    ) -> Result<()> {
        let members = Everyone { port: &self.call.mpi().port, group: &self.group };
        run(&MemberMemory { members: &members, member: self.rank }).map_err(MpiError::from)
    }
}
