//! Moving collectives on that were started and not waited for.

use std::future::poll_fn;
use std::sync::Arc;

use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::group::Group;

use crate::abi::Status;
use crate::appointment::{Appointment, Journey};
use crate::ctx::MpiCtx;
use crate::file::Datarep;
use crate::host::collective::set_out;
use crate::port::{MpiPort, Pending};
use crate::request::{Collective, Completion, Departure, Operation, Underway, UserOperator};
use crate::world::{PartHeader, World};

/// A collective under way for which the program's operator is to be called.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The operation, whose journey has the operands.
    pub(crate) appointment: Arc<Appointment>,
    /// The function of the program that started it.
    pub(crate) function: &'static str,
    /// This member's operator.
    pub(crate) user: UserOperator,
    /// How this member lays operands out.
    pub(crate) datatype: Option<Datatype>,
}

impl<P: MpiPort> MpiCtx<P> {
    /// Moves the collectives under way on and completes those that are over.
    #[cold]
    pub(crate) fn advance(&mut self) {
        for local in self.drive_all() {
            // The caller may not be able to call the operator: those are woken who wait.
            self.port.wake_group(&local);
        }
    }

    /// As [`MpiCtx::advance`] for who calls the program's operator as long as it is wanted.
    pub(crate) fn drive_on(&mut self) {
        self.drive_all();
    }

    /// Gives the members of this node for each operation that wants the program's operator now and did not before.
    fn drive_all(&mut self) -> Vec<Group> {
        for Departure { collective, context, number, appointment } in
            std::mem::take(&mut self.departures)
        {
            set_out(&self.port, &collective, (context, number), &appointment);
        }
        let (mut index, mut wanting) = (0, Vec::new());
        while let Some(Underway { appointment, .. }) = self.underway.get(index) {
            wanting.extend(drive(appointment, &mut self.port));
            if !appointment.is_over() {
                index += 1;
                continue;
            }
            let Underway { handle, appointment, seat, .. } = self.underway.swap_remove(index);
            let error = appointment.error(seat);
            self.complete(handle, Completion { status: Status::EMPTY, error });
        }
        wanting
    }

    /// Collectives may be under way for which any call that waits has to call the program's operator.
    pub(crate) fn expect_operator(&mut self, collective: &Collective) {
        if collective.user.is_some() && collective.site.elsewhere().is_some() {
            self.fate.get_or_insert_default();
        }
    }

    /// The same for all that a rank has which was put back.
    pub(crate) fn expect_functions(&mut self) {
        let is_own = |operation: &Operation| match operation {
            Operation::Collective(one) => one.user.is_some() && one.site.elsewhere().is_some(),
            _ => false,
        };
        let converts = self.files.datareps.values().any(Datarep::converts);
        let tells = self.tool.events.are_wanted();
        if tells || converts || self.requests.iter().any(|(_, request)| is_own(&request.operation))
        {
            self.fate.get_or_insert_default();
        }
    }

    /// Whether some collective under way wants the program's operator.
    #[inline]
    pub(crate) fn asks(&self) -> bool {
        !self.underway.is_empty() && asks(&self.underway)
    }

    /// A collective under way that wants the program's operator.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        self.underway.iter().find_map(|Underway { handle, appointment, .. }| {
            let request = self.requests.get(*handle)?;
            let Operation::Collective(collective) = &request.operation else { return None };
            appointment.journey().filter(|journey| journey.asks())?;
            let journey_type = || appointment.journey()?.datatype.clone();
            Some(Wanted {
                appointment: appointment.clone(),
                function: collective.function,
                user: collective.user?,
                datatype: collective.contribution.element().cloned().or_else(journey_type),
            })
        })
    }

    /// Waits for a message, `is_done`, or news of a collective under way; for one that wants the program's operator, too, if
    /// the caller `combines`.
    pub(crate) async fn pause(
        &mut self,
        pending: &Pending,
        is_done: &(dyn Fn() -> bool + Send + Sync),
        combines: bool,
    ) {
        let Self { port, underway, .. } = self;
        let (world, rank) = (port.world().clone(), port.rank());
        let underway = &*underway;
        let is_due = || is_done() || has_news(underway, &world, rank) || combines && asks(underway);
        if port.watch(&is_due) {
            return;
        }
        poll_fn(|cx| port.poll_suspend(cx, &is_due, pending)).await;
    }

    /// Whether `is_done`, or there are news of a collective under way.
    pub(crate) fn has_news(
        &self,
        is_done: &(dyn Fn() -> bool + Send + Sync),
        combines: bool,
    ) -> bool {
        let (world, rank) = (self.port.world(), self.port.rank());
        is_done() || has_news(&self.underway, world, rank) || combines && self.asks()
    }

    /// Watches for a message, `is_done`, or news of a collective under way without leaving the fiber.
    pub(crate) fn watch(
        &mut self,
        is_done: &(dyn Fn() -> bool + Send + Sync),
        combines: bool,
    ) -> bool {
        let Self { port, underway, .. } = self;
        if underway.is_empty() {
            // Without the count of who refers to the world, which all ranks share.
            return port.watch(is_done);
        }
        let (world, rank) = (port.world().clone(), port.rank());
        let underway = &*underway;
        port.watch(&|| is_done() || has_news(underway, &world, rank) || combines && asks(underway))
    }

    /// Collectives that were started and not waited for.
    pub fn underway_len(&self) -> usize {
        self.underway.len()
    }

    /// This rank waits for the request `handle`: it is the one to wake for what comes from other nodes.
    pub(crate) fn attend(&self, handle: i32) {
        let Some(request) = self.requests.get(handle) else { return };
        if !matches!(request.operation, Operation::Collective(_)) {
            return;
        }
        let Some(underway) = self.underway.iter().find(|one| one.handle == handle) else { return };
        let Some(journey) = underway.appointment.journey() else { return };
        let machine = journey.machine();
        if !machine.is_over() {
            listen(journey, self.port.world(), self.port.rank());
        }
    }
}

/// Makes `rank` the one that is woken for the parts of a journey that is not over.
pub(crate) fn listen(journey: &Journey, world: &World, rank: u32) {
    let arrivals = world.await_parts(journey.context, journey.meeting, rank);
    journey.listen(move || arrivals.count());
}

/// Whether [`MpiCtx::advance`] would find something to do for `rank`.
pub(crate) fn has_news(underway: &[Underway], world: &World, rank: u32) -> bool {
    underway.iter().any(|Underway { appointment, .. }| {
        appointment.is_over()
            || appointment.journey().is_some_and(|journey| {
                journey.has_news() && world.has_part_room(journey.context, rank)
            })
    })
}

/// Whether an operation wants the program's operator.
fn asks(underway: &[Underway]) -> bool {
    underway.iter().any(|one| one.appointment.journey().is_some_and(Journey::asks))
}

/// Moves an operation between nodes on as far as the parts that have come allow. Gives the members of this node when it
/// wants the program's operator now, and did not before.
fn drive<P: MpiPort>(appointment: &Appointment, port: &mut P) -> Option<Group> {
    let journey = appointment.journey()?;
    let mut machine = journey.try_machine()?;
    if machine.is_over() {
        return None;
    }
    let has_asked = journey.asks();
    let world = port.world().clone();
    if !machine.has_begun && !world.has_part_room(journey.context, port.rank()) {
        return None;
    }
    machine.has_begun = true;
    journey.look();
    let Journey { context, meeting, .. } = *journey;
    let header = |step, from: usize| {
        let from = journey.nodes[from];
        PartHeader { context, meeting, step, from }
    };
    for node in (0..journey.nodes.len()).filter(|node| *node != journey.here) {
        while let Some(message) = port.take_part(header(machine.taken[node], node)) {
            machine.put(node, message);
        }
    }
    let ended = machine.step();
    while let Some((node, step, message)) = machine.next_outgoing() {
        port.send_part(journey.nodes[node], header(step, journey.here), message);
    }
    if let Some(failures) = ended {
        world.end_parts(context, meeting);
        appointment.conclude(failures);
        port.wake_group(&journey.local);
    }
    (journey.asks() && !has_asked).then(|| journey.local.clone())
}
