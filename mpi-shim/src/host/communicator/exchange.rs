//! Collectives that make communicators: every member brings an input, the last one to arrive turns
//! all inputs into one output for each.

use std::any::Any;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

use crate::call::{Call, MpiView};
use crate::host::collective::{meet, mismatch};
use crate::port::MpiPort;
use crate::site::{Arrival, Outcome, Site};
use crate::world::World;

/// Meets the other members of `comm`, who all call this function.
///
/// A member whose own arguments are wrong still comes, with its error, so that nobody waits for it;
/// the call fails everywhere then.
///
/// # Errors
/// This member's own error, another member's, or that of `combine`; `MPI_ERR_NOT_SAME` when a
/// member called another function.
pub(crate) async fn exchange<T, I, O>(
    call: &mut Call<'_, T>,
    comm: i32,
    input: Result<I>,
    combine: impl FnOnce(&World, Vec<I>) -> Result<Vec<O>>,
) -> Result<O>
where
    T: MpiView,
    I: Send + 'static,
    O: Send + 'static,
{
    let function = call.function;
    let own_error = input.as_ref().err().cloned();
    let arrival = Arrival::Exchange(function, Box::new(input) as Box<dyn Any + Send>);
    let outcome = meet(call, comm, arrival, |call, site| {
        let world = call.mpi().port.world().clone();
        let outputs = inputs(function, site).and_then(|inputs| combine(&world, inputs));
        hand_out(site, outputs);
    })
    .await;
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
            Arrival::Exchange(name, _) => return Err(mismatch(function, member, name)),
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

fn hand_out<O: Send + 'static>(site: &Site, outputs: Result<Vec<O>>) {
    match outputs {
        Ok(outputs) => {
            for (member, output) in (0..site.members()).zip(outputs) {
                site.set_outcome(member, Outcome::Value(Box::new(output)));
            }
        }
        Err(error) => {
            for member in 0..site.members() {
                site.set_outcome(member, Outcome::Failed(error.clone()));
            }
        }
    }
}
