//! Collective communication (MPI-5.0 chapter 6) among ranks of one process.
//!
//! Members meet at their communicator's site; the last one to arrive executes the operation on all
//! members' buffers, and releases the others.

use faasm_mpi_engine::error::Result;

use crate::call::{Call, MpiView};
use crate::port::{MpiPort, Pending};
use crate::table::host_functions;
use crate::world::{Arrival, Outcome, Site};

host_functions! {
    /// Waits for all members. Section 6.3.
    call fn MPI_Barrier(comm: i32) = barrier;
}

/// Waits for all members of `comm`.
pub(crate) async fn barrier<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<()> {
    meet(call, comm, Arrival::Barrier, |_, _| {}).await.map(|_| ())
}

/// Brings `arrival` to the communicator's site. The last member runs `execute` for all.
pub(crate) async fn meet<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    arrival: Arrival,
    execute: impl FnOnce(&mut Call<'_, T>, &Site),
) -> Result<Outcome> {
    let communicator = call.mpi().comm_mut(comm)?;
    communicator.meetings += 1;
    let (meeting, member, context) =
        (communicator.meetings, communicator.rank, communicator.context);
    let site = communicator.site.clone();
    let plain = matches!(arrival, Arrival::Barrier);
    if site.arrive(member, arrival) {
        execute(call, &site);
        let members = call.mpi().comm(comm)?.group.clone();
        site.release();
        let port = &call.mpi().port;
        for other in (0..site.members()).filter(|other| *other != member) {
            if let Some(rank) = members.world_rank(other as usize) {
                port.wake(rank);
            }
        }
    } else {
        let pending = Pending { function: call.function, peer: None, tag: None, context };
        let is_done = || site.epoch() >= meeting;
        call.wait(&pending, &is_done, |_| is_done().then_some(())).await;
    }
    if plain { Ok(Outcome::Done) } else { take(site.take_outcome(member)) }
}

fn take(outcome: Outcome) -> Result<Outcome> {
    match outcome {
        Outcome::Failed(error) => Err(error),
        outcome => Ok(outcome),
    }
}
