//! What the last member to arrive does for all.

use faasm_mpi_engine::collective::{
    Contribution, Failures, Kind, Members, Operand, Plan, Schedule, Scratch, Side, Step, execute,
    typed_copy,
};
use faasm_mpi_engine::datatype::Fault;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_vm::{GuestAddr, GuestMemory};

use super::leader::lead;
use super::meeting::Meeting;
use crate::call::{ARGUMENTS_BYTES, Call, MpiView, call_operator, ending, lend, take_back};
use crate::ctx::engine_fault;
use crate::port::MpiPort;
use crate::request::UserOperator;
use crate::site::{Arrival, Outcome, Site};

/// Operations that move more bytes than this are spread over the cores.
const PARALLEL_BYTES_MIN: u64 = 1 << 20;

/// Runs a collective in which this member brings `contribution`.
///
/// # Errors
/// The outer error ends the program: a trap in its operator. The inner one is an MPI error.
pub(super) async fn collective<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    contribution: Contribution,
    user: Option<UserOperator>,
) -> wasmtime::Result<Result<()>> {
    let bring = |site: &Site, member| site.bring(member, Arrival::Collective(contribution));
    let meeting = match Meeting::enter(call, comm, bring) {
        Ok(meeting) => meeting,
        Err(error) => return Ok(Err(error)),
    };
    if !meeting.is_last {
        let over = meeting.wait(call).await;
        return Ok(over.and_then(|()| meeting.outcome().map(|_| ())));
    }
    if meeting.site.elsewhere().is_some() {
        Box::pin(lead(call, &meeting, user)).await?;
        return Ok(meeting.release(call).and_then(|()| meeting.outcome().map(|_| ())));
    }
    let failures = match arrivals(call.function, &meeting.site) {
        Err(failures) => failures,
        Ok(contributions) => {
            let place = call.mpi().comm(comm).map(|comm| (comm.number(), comm.everyone().clone()));
            match place {
                Ok((rank, group)) => {
                    execute_all(call, (rank, &group), &contributions, user).await?
                }
                Err(error) => Failures::everywhere(contributions.len(), &error),
            }
        }
    };
    for (member, error) in failures.errors {
        meeting.site.set_outcome(member as u32, Outcome::Failed(error));
    }
    Ok(meeting.release(call).and_then(|()| meeting.outcome().map(|_| ())))
}

/// Runs an operation whose members, all on this node, bring `contributions`.
///
/// # Errors
/// A trap in the program's operator.
pub(super) async fn execute_all<T: MpiView>(
    call: &mut Call<'_, T>,
    (rank, group): (u32, &Group),
    contributions: &[Contribution],
    user: Option<UserOperator>,
) -> wasmtime::Result<Failures> {
    match user {
        // Boxed, to keep the future of the common case small.
        Some(user) => Box::pin(fold(call, (rank as usize, group), contributions, user)).await,
        None => Ok(run(call, group, contributions)),
    }
}

/// Takes what all members brought.
fn arrivals(
    function: &'static str,
    site: &Site,
) -> std::result::Result<Vec<Contribution>, Failures> {
    let members = site.members();
    let mut contributions = Vec::with_capacity(members as usize);
    let mut other = None;
    for member in 0..members {
        match site.take_arrival(member) {
            Arrival::Collective(contribution) => contributions.push(contribution),
            Arrival::Barrier => other = Some((member, Kind::Barrier.name())),
            Arrival::Exchange(name, _) | Arrival::Input(name, _) => other = Some((member, name)),
        }
    }
    match other {
        None => Ok(contributions),
        Some((member, name)) => {
            Err(Failures::everywhere(members as usize, &mismatch(function, member, name)))
        }
    }
}

/// The error of members that called different functions.
pub(crate) fn mismatch(function: &'static str, member: u32, name: &'static str) -> MpiError {
    let detail = format!("a member called {function} while rank {member} called {name}");
    MpiError::new(ErrorClass::NotSame, detail)
}

/// A barrier in which another member called something else fails at all members.
pub(super) fn check_barrier(function: &'static str, site: &Site) {
    if !site.has_arrivals() {
        return;
    }
    let other = (0..site.members()).find_map(|member| match site.take_arrival(member) {
        Arrival::Barrier => None,
        Arrival::Collective(contribution) => Some((member, contribution.kind.name())),
        Arrival::Exchange(name, _) | Arrival::Input(name, _) => Some((member, name)),
    });
    if let Some((member, name)) = other {
        for each in 0..site.members() {
            site.set_outcome(each, Outcome::Failed(mismatch(function, member, name)));
        }
    }
}

/// Runs an operation whose operator, if any, is predefined.
fn run<T: MpiView>(
    call: &mut Call<'_, T>,
    group: &Group,
    contributions: &[Contribution],
) -> Failures {
    let mpi = call.mpi();
    let members = Everyone { port: &mpi.port, group };
    match large(contributions, &members) {
        None => execute(contributions, &members).err().unwrap_or_default(),
        Some(Err(failures)) => failures,
        Some(Ok(plan)) if plan.parts() < 2 => plan.run(&members).err().unwrap_or_default(),
        Some(Ok(plan)) => {
            let failures = std::sync::Mutex::new(Failures::default());
            mpi.port.in_parallel(plan.parts(), &|part| {
                if let Err(failed) = plan.run_part(part, &members) {
                    let mut all =
                        failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    all.merge(failed);
                }
            });
            failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

/// The plan of an operation that may be worth several threads.
fn large<'a, P: MpiPort>(
    contributions: &'a [Contribution],
    members: &Everyone<'_, P>,
) -> Option<std::result::Result<Plan<'a>, Failures>> {
    let bytes = |one: &Contribution| {
        side_bytes(&one.send, contributions.len()).max(side_bytes(&one.recv, contributions.len()))
    };
    let total = contributions.iter().map(bytes).fold(0, u64::saturating_add);
    if total < PARALLEL_BYTES_MIN {
        return None;
    }
    if let Err(fault) = check_buffers(contributions, members) {
        return Some(Err(Failures::everywhere(contributions.len(), &fault.into())));
    }
    Some(Plan::new(contributions))
}

/// Refuses buffers that end beyond their member's memory before anything is written: a wrong count must
/// not destroy what lies behind the buffer.
fn check_buffers<P: MpiPort>(
    contributions: &[Contribution],
    members: &Everyone<'_, P>,
) -> std::result::Result<(), Fault> {
    for (member, one) in contributions.iter().enumerate() {
        for side in [&one.send, &one.recv] {
            let Side::Buffer(buffer) = side else { continue };
            let span = buffer.datatype.span(buffer.count);
            let Some((0.., high)) = span else { continue };
            let len = high.unsigned_abs();
            let memory = members.memory(member, buffer.addr, len)?;
            memory.check(GuestAddr::new(buffer.addr), len).map_err(engine_fault)?;
        }
    }
    Ok(())
}

/// About how many bytes a side has for or from `peers` peers, without looking at each block where
/// all are equal.
fn side_bytes(side: &Side, peers: usize) -> u64 {
    match side {
        Side::Absent | Side::InPlace => 0,
        Side::Buffer(buffer) => {
            let block = buffer.datatype.bytes(buffer.count).unwrap_or(u64::MAX);
            block.saturating_mul(peers as u64)
        }
        Side::Vector(_) | Side::Typed(_) => side.bytes(peers),
    }
}

/// Runs a reduction whose operator is a function of the program, in this member's instance.
async fn fold<T: MpiView>(
    call: &mut Call<'_, T>,
    (member, group): (usize, &Group),
    contributions: &[Contribution],
    user: UserOperator,
) -> wasmtime::Result<Failures> {
    let everywhere = |error: MpiError| Failures::everywhere(contributions.len(), &error);
    let schedule = match Schedule::new(contributions) {
        Ok(schedule) => schedule,
        Err(failures) => return Ok(failures),
    };
    let Ok(bytes) = u32::try_from(schedule.scratch_bytes()) else {
        let detail = "the operands do not fit the program's memory";
        return Ok(everywhere(MpiError::argument(ErrorClass::Count, "count", detail)));
    };
    let scratch = match Scratches::allocate(call, bytes).await? {
        Ok(scratch) => scratch,
        Err(error) => return Ok(everywhere(error)),
    };
    let own = contributions.get(member).and_then(Contribution::element);
    let lent = own.map_or(Ok(user), |datatype| lend(call.mpi(), user, datatype));
    let lent = match lent {
        Ok(lent) => lent,
        Err(error) => {
            call.free(scratch.start).await?;
            return Ok(everywhere(error));
        }
    };
    let mut result = Failures::default();
    let (mut accumulator, mut input) = (scratch.first, scratch.second);
    let at = |start: u32| schedule.scratch(member, u64::from(start));
    for index in 0.. {
        let Some(step) = schedule.step(index) else { break };
        let moved = match step {
            Step::Load { from, into } => {
                let to = if into == Scratch::Accumulator { accumulator } else { input };
                copy(call, group, from, at(to))
            }
            Step::Deliver { first, to } => {
                let from = schedule.part(at(accumulator), first, to.count);
                copy(call, group, from, to)
            }
            Step::Fold => {
                let word = |operand: u32| (at(operand).addr as u32).cast_signed();
                let operands = (word(accumulator), word(input));
                let count = schedule.count();
                std::mem::swap(&mut accumulator, &mut input);
                ending(call_operator(call, lent, operands, count, scratch.start).await)?
            }
        };
        if let Err(error) = moved {
            result = everywhere(error);
            break;
        }
    }
    take_back(call.mpi(), user, lent);
    call.free(scratch.start).await?;
    Ok(result)
}

fn copy<T: MpiView>(
    call: &mut Call<'_, T>,
    group: &Group,
    from: Operand<'_>,
    to: Operand<'_>,
) -> Result<()> {
    let members = Everyone { port: &call.mpi().port, group };
    typed_copy(&members, from, to).map_err(MpiError::from)
}

/// Guest memory for calls of an operator: count and datatype handle, then two operands.
#[derive(Copy, Clone, Debug)]
struct Scratches {
    start: u32,
    first: u32,
    second: u32,
}

impl Scratches {
    async fn allocate<T: MpiView>(
        call: &mut Call<'_, T>,
        bytes: u32,
    ) -> wasmtime::Result<Result<Self>> {
        let operand = bytes.checked_next_multiple_of(16);
        let total = operand.and_then(|bytes| bytes.checked_mul(2)?.checked_add(ARGUMENTS_BYTES));
        let (Some(operand), Some(total)) = (operand, total) else {
            let detail = "the operands do not fit the program's memory";
            return Ok(Err(MpiError::argument(ErrorClass::Count, "count", detail)));
        };
        Ok(call.allocate(total).await?.map(|start| {
            let first = start + ARGUMENTS_BYTES;
            Self { start, first, second: first + operand }
        }))
    }
}

/// The memories of a communicator's members on this node.
pub(super) struct Everyone<'a, P> {
    pub(super) port: &'a P,
    pub(super) group: &'a Group,
}

impl<P: MpiPort> Everyone<'_, P> {
    #[inline]
    fn memory(
        &self,
        member: usize,
        addr: u64,
        len: u64,
    ) -> std::result::Result<&GuestMemory, Fault> {
        let rank = self.group.world_rank(member);
        rank.and_then(|rank| self.port.memory(rank)).ok_or(Fault { addr, len })
    }
}

impl<P: MpiPort> Members for Everyone<'_, P> {
    #[inline]
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> std::result::Result<(), Fault> {
        let memory = self.memory(member, addr, out.len() as u64)?;
        memory.read(GuestAddr::new(addr), out).map_err(engine_fault)
    }

    #[inline]
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
