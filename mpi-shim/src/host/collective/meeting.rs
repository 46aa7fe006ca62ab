//! Bringing the members of a communicator together.

use std::sync::Arc;

use faasm_mpi_engine::collective::cluster::{Brought, Concluded};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

use super::leader::{Leader, lead, take_all};
use crate::call::{Call, MpiView};
use crate::communicator::Seat;
use crate::ctx::MpiCtx;
use crate::port::{MpiPort, Pending};
use crate::site::{Arrival, Outcome, Site};
use crate::world::World;

/// One member's part in a meeting.
#[derive(Clone, Debug)]
pub(super) struct Meeting {
    pub(super) site: Arc<Seat>,
    pub(super) comm: i32,
    pub(super) seat: u32,
    pub(super) context: u32,
    /// Number of the meeting at its site.
    pub(super) number: u64,
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
        let comes_again = communicator.site.comes_again();
        communicator.meetings += u64::from(!comes_again);
        let (number, seat, context) =
            (communicator.meetings, communicator.seat, communicator.context);
        let site = communicator.site.clone();
        if comes_again {
            // It has arrived there already, and was interrupted while it waited.
            return Ok(Self { site, comm, seat, context, number, is_last: false });
        }
        call.mpi().check_members(comm)?;
        bring(&site, seat);
        let is_last = match call.mpi().faults.is_tolerant {
            false => site.arrive(seat, number),
            true => site.arrive_orderly(seat, number).ok_or_else(broken)?,
        };
        if is_last && site.elsewhere().is_some() {
            // Other nodes are told what was brought.
            call.commit();
        }
        Ok(Self { site, comm, seat, context, number, is_last })
    }

    /// Waits for the last member to release the others.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED` and `MPIX_ERR_REVOKED` when that cannot happen any more.
    pub(super) async fn wait<T: MpiView>(&self, call: &mut Call<'_, T>) -> Result<()> {
        let pending =
            Pending { function: call.function, peer: None, tag: None, context: self.context };
        let is_done = || self.site.is_over(self.number);
        let mut left = Left { seat: &self.site, is_over: false };
        let ready = |mpi: &mut MpiCtx<T::Port>| match is_done() {
            true => Some(Ok(())),
            false => self.why_leave(mpi).map(Err),
        };
        let result = call.wait(&pending, &is_done, ready).await;
        left.is_over = true;
        // What is done with the outcome must not be done twice.
        call.commit();
        result
    }

    /// Why this member does not wait any longer, if it does not: the meeting can never be over.
    fn why_leave<P: MpiPort>(&self, mpi: &mut MpiCtx<P>) -> Option<MpiError> {
        let error = mpi.check_members(self.comm).err()?;
        let everyone = mpi.comm(self.comm).ok()?.everyone().clone();
        let has_failed = |seat| {
            let rank = self.site.world_rank(seat, &everyone);
            rank.is_some_and(|rank| mpi.faults.known.has_failed(rank))
        };
        self.site.break_off(self.number, has_failed).then_some(error)
    }

    /// Releases the others. Only the last member calls it.
    pub(super) fn release<T: MpiView>(&self, call: &mut Call<'_, T>) -> Result<()> {
        match call.mpi().faults.is_tolerant {
            false => self.site.release(self.number),
            true => self.site.release_orderly(self.number),
        }
        call.commit();
        let mpi = call.mpi();
        if let Some(elsewhere) = self.site.elsewhere() {
            mpi.port.wake_group(&elsewhere.local);
            return Ok(());
        }
        let group = mpi.comm(self.comm)?.everyone().clone();
        mpi.port.wake_group(&group);
        Ok(())
    }

    /// What this member takes away.
    pub(super) fn outcome(&self) -> Result<Outcome> {
        if !self.site.has_outcomes() {
            return Ok(Outcome::Done);
        }
        match self.site.take_outcome(self.seat) {
            Outcome::Failed(error) => Err(error),
            outcome => Ok(outcome),
        }
    }
}

/// Notes at a member's seat that it has arrived, when it is interrupted before the meeting is over.
struct Left<'a> {
    seat: &'a Seat,
    is_over: bool,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.seat.set_arrived(true);
        }
    }
}

/// Waits for all members of `comm`.
pub(crate) async fn barrier<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<()> {
    let meeting = Meeting::enter(call, comm, |_, _| {})?;
    if meeting.is_last {
        if meeting.site.elsewhere().is_some() {
            // A barrier has no operator that could end the program.
            Box::pin(lead(call, &meeting, None)).await.map_err(unexpected_end)?;
        } else {
            super::execution::check_barrier(call.function, &meeting.site);
        }
        meeting.release(call)?;
    } else {
        meeting.wait(call).await?;
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
        meeting.wait(call).await?;
    }
    meeting.outcome()
}

/// What entering a meeting of a communicator that is spread over nodes leads to.
pub(crate) enum Entered {
    /// Another member led, and left this one its outcome.
    Over(Outcome),
    /// This member leads its node: it confers with the other nodes and calls [`Gathering::end`].
    Leads(Gathering),
}

/// The members of this node at a meeting whose last one is to lead.
pub(crate) struct Gathering(Meeting);

/// As [`meet`] for a communicator that has members on other nodes.
pub(crate) async fn gather<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    arrival: Arrival,
) -> Result<Entered> {
    let meeting = Meeting::enter(call, comm, |site, seat| site.bring(seat, arrival))?;
    if meeting.is_last {
        return Ok(Entered::Leads(Gathering(meeting)));
    }
    meeting.wait(call).await?;
    meeting.outcome().map(Entered::Over)
}

impl Gathering {
    /// Takes what the members of this node brought to the leaders of the other nodes.
    pub(crate) async fn confer<'c, 'a, T: MpiView>(
        &self,
        call: &'c mut Call<'a, T>,
    ) -> Result<(Conference<'c, 'a, T>, Result<Vec<Box<[u8]>>>)> {
        let leader = Leader::begin(call, &self.0).await;
        let leader = leader.ok_or_else(|| unexpected_end("the communicator has one node"))?;
        let mut conference = Conference { leader, site: self.0.site.clone() };
        let inputs = conference.inputs(take_all(&self.0.site)).await;
        Ok((conference, inputs))
    }

    /// Releases the members, who have their outcomes; gives this one's.
    pub(crate) fn end<T: MpiView>(&self, call: &mut Call<'_, T>) -> Result<Outcome> {
        self.0.release(call)?;
        self.0.outcome()
    }
}

/// The leaders of all nodes telling each other something.
pub(crate) struct Conference<'c, 'a, T: MpiView> {
    leader: Leader<'c, 'a, T>,
    site: Arc<Seat>,
}

impl<T: MpiView> Conference<'_, '_, T> {
    /// The site whose members wait.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Nothing more will be said.
    pub(crate) async fn end(self) -> Result<()> {
        self.leader.end().await.map_err(unexpected_end)
    }

    /// What the ranks of the job share.
    pub(crate) fn world(&mut self) -> Arc<World> {
        self.leader.call().mpi().port.world().clone()
    }

    /// Tells the other nodes `input`; gives what each node said, in the order of their lowest
    /// members.
    pub(crate) async fn tell(&mut self, input: Result<Box<[u8]>>) -> Result<Vec<Box<[u8]>>> {
        let name = self.leader.call().function;
        let rest = (1..self.site.members()).map(|_| Ok(Box::default()));
        let inputs = std::iter::once(input).chain(rest);
        let brought = inputs.map(|input| Brought::Input(name, input)).collect();
        let mut told = self.inputs(brought).await?;
        let Some(elsewhere) = self.site.elsewhere() else { return Ok(Vec::new()) };
        let spread = &elsewhere.spread;
        let first = |node| spread.members(node)[0] as usize;
        Ok((0..spread.nodes()).map(|node| std::mem::take(&mut told[first(node)])).collect())
    }

    async fn inputs(&mut self, brought: Vec<Brought>) -> Result<Vec<Box<[u8]>>> {
        match self.leader.run(brought).await.map_err(unexpected_end)? {
            Concluded::Inputs(inputs) => Ok(inputs),
            Concluded::Done(failures) => Err(failures.errors.into_iter().next().map_or_else(
                || unexpected_end("other members called another function"),
                |(_, error)| error,
            )),
        }
    }
}

/// The error of a member that comes when others have given up.
fn broken() -> MpiError {
    let detail = "other members have left an operation of this communicator because one of them failed or it is revoked; \
                  go on with one that MPIX_Comm_shrink makes";
    MpiError::new(ErrorClass::ProcFailed, detail)
}

fn unexpected_end(why: impl std::fmt::Display) -> MpiError {
    let detail = format!("an operation between nodes ended unexpectedly: {why}");
    MpiError::new(ErrorClass::Intern, detail)
}
