//! Calls that are left where they wait, because the job is cut there, and called anew.

use std::pin::pin;
use std::sync::Arc;

use wasmtime::Caller;

use super::{Call, MpiView, enter};
use crate::abi;
use crate::ctx::Interrupted;
use crate::fate::fated;
use crate::gate::{Bar, Cut, Door};
use crate::port::{MpiPort, Pending};

impl<'a, T: MpiView> Call<'a, T> {
    /// A call of a function that can be left where it waits. It must be [prepared](Call::prepare) before each attempt.
    #[inline]
    pub(crate) fn at_switch_point(
        caller: Caller<'a, T>,
        function: &'static str,
        large: bool,
    ) -> Self {
        let comes_again = caller.data().door().is_some_and(|door| door.comes_again());
        let is_switch_point = true;
        Self {
            caller,
            function,
            large,
            is_switch_point,
            comes_again,
            is_at_once: false,
            fate: None,
        }
    }

    /// Whether the function may begin at once; otherwise [`Call::prepare`] tells.
    #[inline]
    pub(crate) fn is_prepared(&mut self) -> bool {
        if self.is_threaded() || self.is_held_up() {
            return false;
        }
        self.begin();
        true
    }

    /// Waits until the function may begin; `false` when the thread leaves here, and has to return at once.
    ///
    /// # Errors
    /// The end of the program in one of its functions that some operation needs meanwhile.
    #[cold]
    pub(crate) async fn prepare(&mut self) -> wasmtime::Result<bool> {
        if self.is_threaded() {
            enter(&mut self.caller).await;
        }
        self.begin();
        if !self.is_held_up() {
            return Ok(true);
        }
        let Some(door) = self.caller.data().door().cloned() else { return Ok(true) };
        let fate = self.accept_fate();
        let passes = fated(fate.as_deref(), pin!(self.pass(&door))).await;
        if !matches!(passes, Ok(true)) {
            self.caller.data_mut().leave();
        }
        passes
    }

    fn begin(&mut self) {
        self.mpi().error_comm = abi::MPI_COMM_SELF;
        if let Some(door) = self.caller.data().door() {
            door.begin();
        }
    }

    /// Others may have done the part of a call that comes again, so it is not held up.
    #[inline]
    fn is_held_up(&self) -> bool {
        let is_closed = |door: &Arc<Door>| door.cut() != Cut::Open || self.is_kept(door);
        !self.comes_again && self.caller.data().door().is_some_and(is_closed)
    }

    /// Whether the rank stays here until it is moved.
    #[inline]
    fn is_kept(&self, door: &Door) -> bool {
        door.keeps(|| matches!(self.function, "MPI_Finalize" | "MPI_Session_finalize"))
    }

    /// As [`Call::prepare`] for a function that is not MPI's.
    pub(crate) async fn passes(&mut self, door: &Door) -> bool {
        self.is_switch_point = true;
        self.pass(door).await
    }

    /// Waits while the job's gate is closed; `false` when the rank leaves here.
    #[cold]
    async fn pass(&mut self, door: &Door) -> bool {
        // Only when the function that MPI called has returned can the stack be taken.
        while !door.is_in_callback() && (door.cut() != Cut::Open || self.is_kept(door)) {
            if door.cut() == Cut::Open {
                self.stay(door).await;
                continue;
            }
            if door.cut() == Cut::Leave && T::leave_now(&mut self.caller) {
                return false;
            }
            if door.cut() == Cut::Leave {
                door.bar(Bar::Held);
                self.refuse_if_told();
            }
            let (before, (version, targets)) = (door.cut(), door.targets());
            // Others cannot take back what they have begun, and wait for this rank there.
            if before == Cut::Closed && self.mpi().is_behind(&targets) {
                break;
            }
            let pending = Pending { function: self.function, peer: None, tag: None, context: 0 };
            let has_changed = || door.cut() != before || door.version() != version;
            self.wait(&pending, &has_changed, |_| has_changed().then_some(())).await;
        }
        door.begin();
        true
    }

    /// Waits until the gate is closed, in a way that does not look as if the rank waited for others.
    #[cold]
    async fn stay(&mut self, door: &Door) {
        while door.cut() == Cut::Open && door.goes_on_staying() {
            // Others may need what this rank does for them before they can be moved.
            self.mpi().progress();
            self.combine().await;
            self.yield_now().await;
        }
    }

    /// What the call was doing has been dropped where it waited: whether the rank leaves. Otherwise the call
    /// begins anew.
    #[cold]
    pub(crate) fn leaves_now(&mut self) -> bool {
        self.mpi().port.stop_waiting();
        self.caller.data_mut().abandon();
        let leaves = T::leave_now(&mut self.caller);
        if let Some(door) = self.caller.data().door() {
            door.set_left(leaves);
        }
        self.comes_again = true;
        leaves
    }

    /// The call has done something that must not be done twice: it cannot be left any more.
    #[inline]
    pub(crate) fn commit(&self) {
        if let Some(door) = self.caller.data().door() {
            door.bar(Bar::Committed);
        }
    }

    /// Notes what the call waits for, for the case that it is left there and called anew. To be taken back after the
    /// wait.
    #[inline]
    pub(crate) fn note(&mut self, note: Interrupted) {
        if self.caller.data().door().is_some() {
            self.mpi().interrupted = Some(note);
        }
    }

    /// What the call has done so far is noted: when it is left from here on, it goes on with that. To be taken back at the
    /// end of the call.
    pub(crate) fn go_on_from(&mut self, note: Interrupted) {
        self.note(note);
        if let Some(door) = self.caller.data().door() {
            door.lift();
        }
    }

    /// What the call was waiting for when it was left, if it has been called before.
    #[inline]
    pub(crate) fn resume(&mut self) -> Option<Interrupted> {
        self.mpi().interrupted.take()
    }

    /// Tells the runtime when the rank is to leave here and cannot.
    #[inline]
    pub(super) fn refuse_if_told(&mut self) {
        let Some(door) = self.caller.data().door() else { return };
        if door.cut() != Cut::Leave {
            return;
        }
        let obstacle = match self.is_switch_point {
            true => door.obstacle(),
            false => Some("its call cannot be repeated"),
        };
        if let Some(why) = obstacle
            && door.refuses_first()
        {
            let why = format!("{}: {why}", self.function);
            self.caller.data_mut().refuses(why);
        }
    }
}
