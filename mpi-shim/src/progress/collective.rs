//! Moving collectives on that were started and not waited for.

use std::future::poll_fn;

use crate::abi::Status;
use crate::appointment::{Appointment, Journey};
use crate::ctx::MpiCtx;
use crate::host::collective::set_out;
use crate::port::{MpiPort, Pending};
use crate::request::{Completion, Departure, Operation, Underway};
use crate::world::{PartHeader, World};

impl<P: MpiPort> MpiCtx<P> {
    /// Moves the collectives under way on and completes those that are over.
    #[cold]
    pub(crate) fn advance(&mut self) {
        for Departure { collective, context, number, appointment } in
            std::mem::take(&mut self.departures)
        {
            set_out(&self.port, &collective, (context, number), &appointment);
        }
        let mut index = 0;
        while let Some(Underway { appointment, .. }) = self.underway.get(index) {
            drive(appointment, &mut self.port);
            if !appointment.is_over() {
                index += 1;
                continue;
            }
            let Underway { handle, appointment, seat, .. } = self.underway.swap_remove(index);
            let error = appointment.error(seat);
            self.complete(handle, Completion { status: Status::EMPTY, error });
        }
    }

    /// Waits for a message, `is_done`, or news of a collective under way.
    pub(crate) async fn pause(
        &mut self,
        pending: &Pending,
        is_done: &(dyn Fn() -> bool + Send + Sync),
    ) {
        let Self { port, underway, .. } = self;
        let (world, rank) = (port.world().clone(), port.rank());
        let underway = &*underway;
        let is_due = || is_done() || has_news(underway, &world, rank);
        if port.watch(&is_due) {
            return;
        }
        poll_fn(|cx| port.poll_suspend(cx, &is_due, pending)).await;
    }

    /// Whether `is_done`, or there are news of a collective under way.
    pub(crate) fn has_news(&self, is_done: &(dyn Fn() -> bool + Send + Sync)) -> bool {
        is_done() || has_news(&self.underway, self.port.world(), self.port.rank())
    }

    /// Watches for a message, `is_done`, or news of a collective under way without leaving the fiber.
    pub(crate) fn watch(&mut self, is_done: &(dyn Fn() -> bool + Send + Sync)) -> bool {
        let Self { port, underway, .. } = self;
        if underway.is_empty() {
            // Without the count of who refers to the world, which all ranks share.
            return port.watch(is_done);
        }
        let (world, rank) = (port.world().clone(), port.rank());
        let underway = &*underway;
        port.watch(&|| is_done() || has_news(underway, &world, rank))
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

/// Moves an operation between nodes on as far as the parts that have come allow.
fn drive<P: MpiPort>(appointment: &Appointment, port: &mut P) {
    let Some(journey) = appointment.journey() else { return };
    let Some(mut machine) = journey.try_machine() else { return };
    if machine.is_over() {
        return;
    }
    let world = port.world().clone();
    if !machine.has_begun && !world.has_part_room(journey.context, port.rank()) {
        return;
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
}
