//! Telling the program of events (MPI-5.0 section 15.3.8).
//!
//! Events are noted where they happen and told where functions of the program can be called: at the end of a call, where a
//! callback may do anything, and while a call waits, where only those are called that promise to call no more of
//! MPI than a tool may inside it.

use wasmtime::Val;

use super::{Call, MpiView};
use crate::tool::{Due, LEVELS};

/// The level of safety that is needed at the end of a call, by its place in [`LEVELS`].
const AT_END: usize = 0;
/// The same while a call waits.
const INSIDE: usize = 1;

impl<T: MpiView> Call<'_, T> {
    /// Tells of events while the call waits.
    #[inline]
    pub(super) async fn tell_inside(&mut self) {
        if self.mpi().tool.events.are_due() && self.combines() {
            let bar = self.caller.data().door().map(|door| door.current_bar());
            let told = Box::pin(self.tell(INSIDE)).await;
            // An error would be the end of the program, which ends the call.
            let _ = self.or_end(told.map(Ok)).await;
            if let (Some(door), Some(bar)) = (self.caller.data().door(), bar) {
                door.bar(bar);
            }
        }
    }

    /// Tells of events when the call is done.
    ///
    /// # Errors
    /// The end of the program.
    pub(super) async fn tell_at_end(&mut self) -> wasmtime::Result<()> {
        self.tell(AT_END).await
    }

    async fn tell(&mut self, level: usize) -> wasmtime::Result<()> {
        let error_comm = self.mpi().error_comm;
        let safety = Val::I32(LEVELS[level]);
        while let Some(due) = self.mpi().tool.events.next(level) {
            let called = match due {
                Due::Event { registration, callback, instance } => {
                    let (handle, data) = (Val::I32(registration), Val::I32(callback.user_data));
                    let args = [Val::I32(instance), handle, safety, data];
                    self.call_function(callback.function, &args).await
                }
                Due::Dropped { registration, function, user_data, count } => {
                    let (handle, source) = (Val::I32(registration), Val::I32(0));
                    let args = [Val::I64(count), handle, source, safety, Val::I32(user_data)];
                    self.call_function(function, &args).await
                }
            };
            self.mpi().tool.events.end();
            called?;
        }
        self.mpi().error_comm = error_comm;
        Ok(())
    }
}
