//! Calls of the program's operator for collectives between nodes that nobody waits for, from any call that waits.
//!
//! Such an operation is moved on by whichever member of the node handles messages; where it needs the operator, a member whose
//! call may run functions of the program is wanted. These do not belong to the call, which may be called anew
//! all the same. If one of them traps, the call stays where it waits, and who has made it ends it.

use std::future::pending;
use std::sync::Arc;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

use super::{Call, MpiView, Operator};
use crate::fate::Fate;
use crate::progress::Wanted;

impl<T: MpiView> Call<'_, T> {
    /// From now on the call may run functions of the program that do not belong to it, if the rank has begun anything that needs
    /// them; it has to be run by [`fated`](crate::fate::fated) with what this gives.
    #[inline]
    pub(crate) fn accept_fate(&mut self) -> Option<Arc<Fate>> {
        self.fate = self.mpi().fate.clone();
        self.fate.clone()
    }

    /// Whether the call does what [`Call::combine`] does.
    #[inline]
    pub(super) const fn combines(&self) -> bool {
        self.fate.is_some()
    }

    /// Calls the operator of the program for every operation under way that wants it.
    #[inline]
    pub(crate) async fn combine(&mut self) {
        if (self.combines() || self.is_at_once) && self.mpi().asks() {
            self.later().await;
            Box::pin(self.combine_all()).await;
        }
    }

    #[cold]
    async fn combine_all(&mut self) {
        let (function, error_comm) = (self.function, self.mpi().error_comm);
        let bar = self.caller.data().door().map(|door| door.current_bar());
        while let Some(wanted) = self.mpi().wanted() {
            self.function = wanted.function;
            if let Err(end) = self.combine_one(wanted).await {
                let Some(fate) = &self.fate else { return };
                fate.set(end);
                return pending().await;
            }
            self.mpi().drive_on();
        }
        if let (Some(door), Some(bar)) = (self.caller.data().door(), bar) {
            door.bar(bar);
        }
        self.function = function;
        self.mpi().error_comm = error_comm;
    }

    /// What a function of the program gave that the call has run; if it has ended the program, the call ends here. The rank
    /// must [expect](crate::MpiCtx::expect_functions) such functions.
    ///
    /// # Errors
    /// The one that was given, or the end of the program where the call cannot end here.
    pub(crate) async fn or_end<R>(&mut self, result: wasmtime::Result<Result<R>>) -> Result<R> {
        match (result, &self.fate) {
            (Ok(result), _) => result,
            (Err(end), Some(fate)) => {
                fate.set(end);
                pending().await
            }
            (Err(end), None) => Err(MpiError::new(ErrorClass::Other, format!("{end:#}"))),
        }
    }

    /// # Errors
    /// The end of the program.
    async fn combine_one(&mut self, wanted: Wanted) -> wasmtime::Result<()> {
        let Wanted { appointment, user, datatype, .. } = wanted;
        let Some(journey) = appointment.journey() else { return Ok(()) };
        let Some(mut operands) = journey.take_operands() else { return Ok(()) };
        let mut operator = Operator::new(user, datatype);
        let accumulator = &mut operands.accumulator;
        let combined = operator.apply(self, accumulator, &operands.operand, operands.count).await?;
        operator.end(self).await?;
        journey.answer(combined.map(|()| operands.accumulator));
        Ok(())
    }
}
