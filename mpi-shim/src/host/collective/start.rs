//! Collectives that are started without waiting for the other members (MPI-5.0 sections 6.12 and 6.13).
//!
//! The members' calls meet by their number on the communicator, apart from the blocking ones, persistent ones by
//! that of their initialisation; the last
//! one of a node executes the operation at once on the buffers of all, as a blocking call would.
//! Between nodes the engine's state machine is kept with the operation, and moved on by every member of
//! the node that waits, tests or makes any other blocking call. Where it needs an operator of the program, one of these
//! members calls its own in its call (`call/combine.rs`).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use faasm_mpi_engine::collective::cluster::{self, Brought, Concluded, Outside, Spread};
use faasm_mpi_engine::collective::{Contribution, Members};
use faasm_mpi_engine::datatype::{Fault, Predefined};
use faasm_mpi_engine::error::Result;
use faasm_vm::{GuestAddr, GuestMemory};

use super::arguments::Described;
use super::execution::execute_all;
use super::leader::no_operator;
use crate::abi::Status;
use crate::appointment::{Appointment, Combination, Journey, Mail, Operands, SeatFailures};
use crate::call::{Call, Ending, MpiView};
use crate::ctx::engine_fault;
use crate::host::info;
use crate::host::point_to_point::{insert, request};
use crate::port::MpiPort;
use crate::progress::listen;
use crate::request::{Buffer, Collective, Completion, Operation, Persistent, State, Underway};
use crate::world::STARTED;

/// Starts a non-blocking collective and gives the guest its request.
pub(super) async fn start<T: MpiView>(
    call: &mut Call<'_, T>,
    described: Result<Described>,
    addr: GuestAddr,
) -> Ending {
    let described = described.and_then(|described| described.across(call));
    let handle = match described.and_then(|described| enter(call, described, false, addr)) {
        Ok(handle) => handle,
        Err(error) => return Ok(Err(error)),
    };
    match begin(call, handle).await? {
        Ok(()) => Ok(Ok(())),
        Err(error) => {
            call.mpi().requests.remove(handle);
            Ok(Err(error))
        }
    }
}

/// Makes a persistent collective, which `MPI_Start` starts.
pub(super) async fn prepare<T: MpiView>(
    call: &mut Call<'_, T>,
    described: Result<Described>,
    hints: i32,
    addr: GuestAddr,
) -> Ending {
    let prepared = described.and_then(|described| {
        info::hints(call.mpi(), hints)?;
        let described = described.across(call)?;
        enter(call, described, true, addr)
    });
    Ok(prepared.map(|_| ()))
}

/// Enters the request into the table and tells the guest its handle.
fn enter<T: MpiView>(
    call: &mut Call<'_, T>,
    described: Described,
    persistent: bool,
    addr: GuestAddr,
) -> Result<i32> {
    let Described { comm, contribution, user } = described;
    let function = call.function;
    let communicator = call.mpi().comm(comm)?;
    let site = communicator.site.clone();
    let (seat, rank, context) = (communicator.seat, communicator.number(), communicator.context);
    let group = communicator.everyone().clone();
    let number = persistent.then(|| Persistent { number: site.next_number(), starts: 0 });
    let collective = Collective {
        function,
        contribution,
        user,
        site,
        seat,
        rank,
        group,
        persistent: number,
        is_seen: false,
    };
    call.mpi().expect_operator(&collective);
    let buffer = Buffer { addr: 0, count: 0, datatype: Predefined::Byte.into() };
    let mut new = request(Operation::Collective(Box::new(collective)), buffer, comm);
    (new.context, new.persistent, new.state) = (context, persistent, State::Inactive);
    let handle = insert(call.mpi(), new)?;
    call.write_i32("request", addr, handle).inspect_err(|_| {
        call.mpi().requests.remove(handle);
    })?;
    Ok(handle)
}

/// Starts the collective of a request that is in the table and not active.
///
/// # Errors
/// The outer error ends the program: a trap in its operator.
pub(crate) async fn begin<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Ending {
    let Some(request) = call.mpi().requests.get_mut(handle) else { return Ok(Ok(())) };
    let Operation::Collective(collective) = &mut request.operation else { return Ok(Ok(())) };
    let number = match &mut collective.persistent {
        Some(persistent) => persistent.start(),
        None => collective.site.next_number(),
    };
    let (collective, context) = (collective.clone(), request.context);
    request.state = State::Active;
    let mpi = call.mpi();
    if mpi.faults.is_active()
        && let Err(error) = mpi.faults.known.check_all(context, &collective.group)
    {
        mpi.complete(handle, Completion { status: Status::EMPTY, error: Some(error) });
        return Ok(Ok(()));
    }
    let brought = collective.contribution.clone();
    let (appointment, is_last) = collective.site.join(collective.seat, number, brought);
    let seat = collective.seat;
    if is_last && collective.site.elsewhere().is_some() {
        set_out(&call.mpi().port, &collective, (context, number), &appointment);
    } else if is_last {
        // Boxed, to keep the future of those who only arrive small.
        Box::pin(execute(call, &collective, &appointment)).await?;
    }
    let mpi = call.mpi();
    if appointment.is_over() {
        let error = appointment.error(seat);
        mpi.complete(handle, Completion { status: Status::EMPTY, error });
    } else {
        mpi.underway.push(Underway { handle, appointment, seat, number });
        mpi.progress();
    }
    Ok(Ok(()))
}

/// Does the work of all members, who run on this node.
async fn execute<T: MpiView>(
    call: &mut Call<'_, T>,
    collective: &Collective,
    appointment: &Appointment,
) -> wasmtime::Result<()> {
    let contributions = appointment.take();
    let Collective { group, rank, user, .. } = collective;
    let failures = execute_all(call, (*rank, group), &contributions, *user).await?;
    let failures = failures.errors.into_iter();
    appointment.conclude(failures.map(|(member, error)| (member as u32, error)).collect());
    call.mpi().port.wake_group(group);
    Ok(())
}

/// Begins the node's part of an operation between nodes, of this number in this context.
pub(crate) fn set_out<P: MpiPort>(
    port: &P,
    collective: &Collective,
    (context, number): (u32, u64),
    appointment: &Appointment,
) {
    let Some(elsewhere) = collective.site.elsewhere() else { return };
    let (spread, meeting) = (&elsewhere.spread, number | STARTED);
    let memory = |rank: &u32| {
        collective.group.world_rank(*rank as usize).and_then(|rank| port.memory(rank)).cloned()
    };
    let memories = spread.local().iter().map(memory).collect();
    let mut mail = Mail::default();
    mail.incoming.resize_with(spread.nodes(), VecDeque::new);
    let mail = Arc::new(Mutex::new(mail));
    let traveller = Traveller { collective: collective.clone(), memories, mail: mail.clone() };
    let contributions = appointment.take();
    let datatype = contributions.iter().find_map(Contribution::element).cloned();
    let future = travel(traveller, contributions);
    let nodes = || (0..spread.nodes()).map(|node| spread.number(node));
    port.world().begin_together(context, meeting, nodes());
    let nodes = nodes().collect();
    let route = (nodes, spread.here());
    let journey = Journey::new((context, meeting), route, elsewhere.local.clone(), mail, future);
    let journey = journey.with_datatype(datatype);
    let (world, rank) = (port.world().clone(), port.rank());
    listen(&journey, &world, rank);
    appointment.set_out(journey);
}

/// The node's part of the operation, from the announcements to the results.
async fn travel(mut traveller: Traveller, contributions: Vec<Contribution>) -> SeatFailures {
    let site = traveller.collective.site.clone();
    let Some(elsewhere) = site.elsewhere() else { return SeatFailures::new() };
    let brought = contributions.into_iter().map(Brought::Call).collect();
    let spread: &Spread = &elsewhere.spread;
    match cluster::run(spread, brought, &mut traveller).await {
        Ok(Concluded::Done(failures)) => {
            let failures = failures.errors.into_iter();
            failures.map(|(member, error)| (site.seat(member as u32), error)).collect()
        }
        Ok(Concluded::Inputs(_)) => SeatFailures::new(),
        Err(never) => match never {},
    }
}

/// What the engine finds around it during a journey.
struct Traveller {
    collective: Collective,
    /// Memories of this node's members, by seat.
    memories: Vec<Option<GuestMemory>>,
    mail: Arc<Mutex<Mail>>,
}

impl Traveller {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outside for Traveller {
    type Message = Bytes;
    type End = std::convert::Infallible;

    fn send(&mut self, node: usize, message: Bytes) {
        self.mail().outgoing.push_back((node, message));
    }

    async fn receive(&mut self, from: &[usize]) -> (usize, Bytes) {
        poll_fn(|_| {
            let mut mail = self.mail();
            let found = from
                .iter()
                .find_map(|node| mail.incoming[*node].pop_front().map(|message| (*node, message)));
            found.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn members(&mut self) -> impl Members {
        &*self
    }

    async fn combine(
        &mut self,
        accumulator: &mut [u8],
        operand: &mut [u8],
        count: u64,
    ) -> std::result::Result<Result<()>, Self::End> {
        if self.collective.user.is_none() {
            return Ok(Err(no_operator()));
        }
        let (left, right) = (accumulator.to_vec(), operand.to_vec());
        let operands = Operands { accumulator: left, operand: right, count };
        self.mail().combination = Combination::Asked(operands);
        let combined =
            poll_fn(|_| self.mail().combination.result().map_or(Poll::Pending, Poll::Ready)).await;
        Ok(combined.map(|result| accumulator.copy_from_slice(&result)))
    }
}

impl Traveller {
    fn memory(
        &self,
        member: usize,
        addr: u64,
        len: u64,
    ) -> std::result::Result<&GuestMemory, Fault> {
        let seat = self.collective.site.seat(member as u32) as usize;
        self.memories.get(seat).and_then(Option::as_ref).ok_or(Fault { addr, len })
    }
}

impl Members for &Traveller {
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> std::result::Result<(), Fault> {
        let memory = self.memory(member, addr, out.len() as u64)?;
        memory.read(GuestAddr::new(addr), out).map_err(engine_fault)
    }

    fn write(&self, member: usize, addr: u64, data: &[u8]) -> std::result::Result<(), Fault> {
        let memory = self.memory(member, addr, data.len() as u64)?;
        memory.write(GuestAddr::new(addr), data).map_err(engine_fault)
    }

    fn copy(
        &self,
        from: (usize, u64),
        to: (usize, u64),
        len: u64,
    ) -> std::result::Result<(), Fault> {
        let source = self.memory(from.0, from.1, len)?;
        let target = self.memory(to.0, to.1, len)?;
        let (from, to) = (GuestAddr::new(from.1), GuestAddr::new(to.1));
        target.copy_from(to, source, from, len).map_err(engine_fault)
    }
}
