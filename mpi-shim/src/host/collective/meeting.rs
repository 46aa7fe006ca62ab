//! Bringing the members of a communicator together.

use std::sync::Arc;

use faasm_mpi_engine::error::Result;

use crate::call::{Call, MpiView};
use crate::communicator::Seat;
use crate::port::{MpiPort, Pending};
use crate::site::{Arrival, Outcome, Site};

/// One member's part in a meeting.
#[derive(Clone, Debug)]
pub(super) struct Meeting {
    pub(super) site: Arc<Seat>,
    comm: i32,
    member: u32,
    context: u32,
    /// Number of the meeting at its site.
    number: u64,
    /// All others have arrived before.
    pub(super) is_last: bool,
}

impl Meeting {
    /// Arrives at the site of `comm`, where `bring` may leave something for its member first.
    #[inline]
    pub(super) fn enter<T: MpiView>(
        call: &mut Call<'_, T>,
        comm: i32,
        bring: impl FnOnce(&Site, u32),
    ) -> Result<Self> {
        let communicator = call.mpi().comm_mut(comm)?;
        communicator.meetings += 1;
        let (number, member, context) =
            (communicator.meetings, communicator.rank, communicator.context);
        let site = communicator.site.clone();
        bring(&site, member);
        let is_last = site.arrive(member, number);
        Ok(Self { site, comm, member, context, number, is_last })
    }

    /// Waits for the last member to release the others.
    pub(super) async fn wait<T: MpiView>(&self, call: &mut Call<'_, T>) {
        let pending =
            Pending { function: call.function, peer: None, tag: None, context: self.context };
        let is_done = || self.site.is_over(self.number);
        call.wait(&pending, &is_done, |_| is_done().then_some(())).await;
    }

    /// Releases the others. Only the last member calls it.
    pub(super) fn release<T: MpiView>(&self, call: &mut Call<'_, T>) -> Result<()> {
        self.site.release(self.number);
        let mpi = call.mpi();
        let group = mpi.comm(self.comm)?.group.clone();
        mpi.port.wake_group(&group);
        Ok(())
    }

    /// What this member takes away.
    pub(super) fn outcome(&self) -> Result<Outcome> {
        if !self.site.has_outcomes() {
            return Ok(Outcome::Done);
        }
        match self.site.take_outcome(self.member) {
            Outcome::Failed(error) => Err(error),
            outcome => Ok(outcome),
        }
    }
}

/// Waits for all members of `comm`.
pub(crate) async fn barrier<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<()> {
    let meeting = Meeting::enter(call, comm, |_, _| {})?;
    if meeting.is_last {
        super::execution::check_barrier(call.function, &meeting.site);
        meeting.release(call)?;
    } else {
        meeting.wait(call).await;
    }
    meeting.outcome().map(|_| ())
}

/// Brings `arrival` to the communicator's site. The last member runs `execute` for all.
pub(crate) async fn meet<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    arrival: Arrival,
    execute: impl FnOnce(&mut Call<'_, T>, &Site),
) -> Result<Outcome> {
    let meeting = Meeting::enter(call, comm, |site, member| site.bring(member, arrival))?;
    if meeting.is_last {
        execute(call, &meeting.site);
        meeting.release(call)?;
    } else {
        meeting.wait(call).await;
    }
    meeting.outcome()
}
