//! Host functions that are not MPI's, at which a rank stops and is left like at those that are: the waits of its threads.
//!
//! Such a function asks [`crate::MpiView::leaves`] first, passes here before it waits, and ends its wait when
//! [`crate::gate::Door::interrupts`]. It can be called anew with the same arguments at any instant at which it waits.

use std::pin::pin;

use wasmtime::Caller;

use crate::call::{Call, MpiView, enter};
use crate::fate::fated;
use crate::gate::Cut;

/// Waits while the job's gate is closed, and handles the rank's messages meanwhile. Gives `false` when the thread leaves
/// here: the function has to return at once then.
///
/// # Errors
/// The end of the program in one of its functions that some operation needs.
pub async fn pass<'a, T: MpiView>(
    mut caller: Caller<'a, T>,
    function: &'static str,
) -> wasmtime::Result<(Caller<'a, T>, bool)> {
    let Some(door) = caller.data().door().cloned() else { return Ok((caller, true)) };
    // Others may have done what it waits for since it was left, so it is not held up.
    let comes_again = door.comes_again();
    door.begin();
    if comes_again || door.is_in_callback() || door.cut() == Cut::Open {
        return Ok((caller, true));
    }
    if caller.data().is_threaded() {
        enter(&mut caller).await;
    }
    let mut call = Call::new(caller, function, false);
    let fate = call.accept_fate();
    let passes = fated(fate.as_deref(), pin!(call.passes(&door))).await;
    call.caller.data_mut().leave();
    Ok((call.caller, passes?))
}

/// The function was told to leave where it waits: whether it does, and has to return at once. Otherwise the runtime has
/// been told why it cannot.
pub fn leaves<T: MpiView>(caller: &mut Caller<'_, T>, function: &'static str) -> bool {
    let Some(door) = caller.data().door().cloned() else { return false };
    if let Some(why) = door.obstacle() {
        if door.refuses_first() {
            caller.data_mut().refuses(format!("{function}: {why}"));
        }
        return false;
    }
    let leaves = T::leave_now(caller);
    door.set_left(leaves);
    leaves
}
