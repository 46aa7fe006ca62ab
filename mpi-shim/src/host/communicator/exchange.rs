//! Collectives that make communicators: every member brings an input, and all inputs together give
//! each member an output.
//!
//! Inside one node the last member to arrive computes the outputs of all. On several nodes the inputs
//! are gathered on each, and each computes the same for its own members. Then the node of a new
//! communicator's first member takes a context for it, and tells the others.

use std::any::Any;

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

use super::construct::Maker;
use super::wire::Wire;
use crate::call::{Call, MpiView};
use crate::host::collective::{Conference, Entered, gather, meet, mismatch};
use crate::port::MpiPort;
use crate::site::{Arrival, Outcome, Site};

/// Meets the other members of `comm`, who all call this function.
///
/// A member whose own arguments are wrong still comes, with its error, so that nobody waits for it;
/// the call fails everywhere then.
///
/// `combine` must give the same for the same inputs: several nodes compute it, each of them twice.
///
/// # Errors
/// This member's own error, another member's, or that of `combine`; `MPI_ERR_NOT_SAME` when a
/// member called another function.
pub(crate) async fn exchange<T, I, O>(
    call: &mut Call<'_, T>,
    comm: i32,
    input: Result<I>,
    combine: impl Fn(&mut Maker<'_>, Vec<I>) -> Result<Vec<O>> + Send + Sync,
) -> Result<O>
where
    T: MpiView,
    I: Wire + Send + 'static,
    O: Send + 'static,
{
    let function = call.function;
    let own_error = input.as_ref().err().cloned();
    let is_spread = call.mpi().comm(comm)?.site.elsewhere().is_some();
    let outcome = if is_spread {
        let input = input.map(|input| {
            let mut out = Writer::new();
            input.write(&mut out);
            out.into_bytes().into_boxed_slice()
        });
        let arrival = Arrival::Input(function, input);
        Box::pin(spread(call, comm, arrival, &combine)).await
    } else {
        let arrival = Arrival::Exchange(function, Box::new(input) as Box<dyn Any + Send>);
        meet(call, comm, arrival, |call, site| {
            let world = call.mpi().port.world().clone();
            let combined = |inputs| combine(&mut Maker::fresh(&world), inputs);
            hand_out(site, inputs(function, site).and_then(combined));
        })
        .await
    };
    if let Some(error) = own_error {
        return Err(error);
    }
    match outcome? {
        Outcome::Value(value) => value.downcast().map(|value| *value).map_err(|_| {
            MpiError::new(ErrorClass::Intern, "a meeting ended with a value of another kind")
        }),
        _ => {
            let detail = format!("other members did not call {function} when this one did");
            Err(MpiError::new(ErrorClass::NotSame, detail))
        }
    }
}

/// Meets members of this and of other nodes.
async fn spread<T, I, O>(
    call: &mut Call<'_, T>,
    comm: i32,
    arrival: Arrival,
    combine: &(impl Fn(&mut Maker<'_>, Vec<I>) -> Result<Vec<O>> + Send + Sync),
) -> Result<Outcome>
where
    T: MpiView,
    I: Wire,
    O: Send + 'static,
{
    let gathering = match gather(call, comm, arrival).await? {
        Entered::Over(outcome) => return Ok(outcome),
        Entered::Leads(gathering) => gathering,
    };
    let (mut conference, inputs) = gathering.confer(call).await?;
    let outputs = match inputs {
        Ok(inputs) => between_nodes(&mut conference, inputs, combine).await,
        Err(error) => Err(error),
    };
    hand_out(conference.site(), outputs);
    conference.end().await?;
    gathering.end(call)
}

/// Combines the encoded inputs of all members as every other node does, and agrees with them on the
/// contexts of the new communicators.
async fn between_nodes<T, I, O>(
    conference: &mut Conference<'_, '_, T>,
    inputs: Vec<Box<[u8]>>,
    combine: &(impl Fn(&mut Maker<'_>, Vec<I>) -> Result<Vec<O>> + Send + Sync),
) -> Result<Vec<O>>
where
    T: MpiView,
    I: Wire,
{
    let world = conference.world();
    let read = || inputs.iter().map(|input| I::read(&mut Reader::new(input)));
    let decoded = || read().collect::<Option<Vec<I>>>().ok_or_else(malformed);
    // The first time shows which communicators there will be; all nodes find the same error here.
    let owners = {
        let mut maker = Maker::counting(&world);
        combine(&mut maker, decoded()?)?;
        maker.into_owners()
    };
    let mine = owners.iter().filter(|owner| **owner == world.this_node());
    let taken: Result<Vec<u32>> = mine.map(|_| world.new_context()).collect();
    let taken = taken.map(|contexts| {
        let mut out = Writer::new();
        contexts.into_iter().for_each(|context| out.u32(context));
        out.into_bytes().into_boxed_slice()
    });
    let told = conference.tell(taken).await?;
    let mut readers: Vec<_> = told.iter().map(|told| Reader::new(told)).collect();
    let context = |owner: &u32| {
        let elsewhere = conference.site().elsewhere()?;
        let mut nodes = 0..elsewhere.spread.nodes();
        let node = nodes.find(|node| elsewhere.spread.number(*node) == *owner)?;
        readers.get_mut(node)?.u32()
    };
    let contexts: Option<Vec<u32>> = owners.iter().map(context).collect();
    let contexts = contexts.ok_or_else(malformed)?;
    combine(&mut Maker::agreed(&world, contexts), decoded()?)
}

fn malformed() -> MpiError {
    let detail = "another node sent an input that cannot be understood; do all nodes run the same \
                  version of this program?";
    MpiError::new(ErrorClass::Intern, detail)
}

/// Takes what all members brought; the first wrong one fails the meeting.
fn inputs<I: 'static>(function: &'static str, site: &Site) -> Result<Vec<I>> {
    // All arrivals are taken, also behind a wrong one: the next meeting must not find them.
    let arrivals: Vec<_> = (0..site.members()).map(|member| site.take_arrival(member)).collect();
    let mut inputs = Vec::with_capacity(arrivals.len());
    for (member, arrival) in (0..).zip(arrivals) {
        inputs.push(match arrival {
            Arrival::Exchange(name, value) if name == function => {
                input::<I>(function, member, value)?
            }
            Arrival::Exchange(name, _) | Arrival::Input(name, _) => {
                return Err(mismatch(function, member, name));
            }
            Arrival::Collective(other) => {
                return Err(mismatch(function, member, other.kind.name()));
            }
            Arrival::Barrier => return Err(mismatch(function, member, "MPI_Barrier")),
        });
    }
    Ok(inputs)
}

fn input<I: 'static>(function: &'static str, member: u32, value: Box<dyn Any + Send>) -> Result<I> {
    match value.downcast::<Result<I>>() {
        Ok(input) => input.map_err(|error| {
            let detail = format!("rank {member} failed in {function}: {error}");
            MpiError { argument: None, detail, ..error }
        }),
        Err(_) => Err(mismatch(function, member, "a variant of it")),
    }
}

/// Leaves the members of this node their outputs, of those that all members have.
fn hand_out<O: Send + 'static>(site: &Site, outputs: Result<Vec<O>>) {
    match outputs {
        Ok(outputs) => {
            let is_here = |rank: u32| match site.elsewhere() {
                None => true,
                Some(elsewhere) => elsewhere.spread.local().binary_search(&rank).is_ok(),
            };
            for (rank, output) in (0..).zip(outputs).filter(|(rank, _)| is_here(*rank)) {
                site.set_outcome(site.seat(rank), Outcome::Value(Box::new(output)));
            }
        }
        Err(error) => {
            for seat in 0..site.members() {
                site.set_outcome(seat, Outcome::Failed(error.clone()));
            }
        }
    }
}
