//! One call of a host function: its caller, waiting, and what becomes of an error.

mod at_once;
mod clocks;
mod combine;
mod end;
mod event;
mod guest;
mod leave;
mod operator;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;
use wasmtime::Caller;

pub(crate) use at_once::{Made, RAISE, attempt, make, raise};
pub use end::MpiExit;
pub(crate) use end::{Ending, Failure, ending};
pub(crate) use operator::{ARGUMENTS_BYTES, Operator, call_operator, lend, take_back};

use crate::abi;
use crate::ctx::{MpiCtx, OtherEntry, Phase};
use crate::fate::Fate;
use crate::file_port::Files;
use crate::gate::Door;
use crate::port::{MpiPort, Pending};

/// What a store's data must give so that MPI can be linked.
pub trait MpiView: Send + 'static {
    /// The runtime's port.
    type Port: MpiPort;

    /// The rank's MPI state.
    fn mpi(&mut self) -> &mut MpiCtx<Self::Port>;

    /// The files that the rank can reach.
    fn files(&self) -> &dyn Files;

    /// Whether other threads of the rank may call MPI too.
    #[inline]
    fn is_threaded(&self) -> bool {
        false
    }

    /// Whether the caller is the rank's first thread.
    fn is_main_thread(&self) -> bool {
        true
    }

    /// Ready when the calling thread has the rank's MPI state, which [`MpiView::mpi`] gives from then
    /// on. Otherwise the fiber is woken when it may be there.
    fn poll_enter(&mut self) -> Poll<()> {
        Poll::Ready(())
    }

    /// Gives the state back at the end of a call.
    #[inline]
    fn leave(&mut self) {}

    /// Whether calls may be made at once: nothing is to happen at them but what MPI does.
    #[inline]
    fn is_hasty(&self) -> bool {
        !self.is_threaded() && self.door().is_none()
    }

    /// From now on everything that comes for the rank wakes the calling thread. Returns whether
    /// something has come already.
    fn prepare_to_sleep(&mut self) -> bool {
        true
    }

    /// Gives the state up until something comes for the rank. The thread has to enter again.
    fn poll_sleep(&mut self, pending: &Pending) -> Poll<()> {
        let _ = pending;
        Poll::Ready(())
    }

    /// What the call was doing has been dropped where it waited: the thread has the state no more, and does not wait
    /// for it.
    fn abandon(&mut self) {}

    /// Called at a switch point before anything is done: `true` when the rank's stack is taken here, and the
    /// host function returns at once, to be called again with the same arguments when the stack is back.
    #[inline]
    fn leaves(caller: &mut Caller<'_, Self>) -> bool
    where
        Self: Sized,
    {
        let _ = caller;
        false
    }

    /// The rank's access to the gate of its job, if its program is migratable.
    #[inline]
    fn door(&self) -> Option<&Arc<Door>> {
        None
    }

    /// Called when the rank is to leave where it waits ([`Cut::Leave`](crate::gate::Cut::Leave), or a test): begins to
    /// take its stack, and the host function returns. `false` when the program's frames cannot be taken here.
    fn leave_now(caller: &mut Caller<'_, Self>) -> bool
    where
        Self: Sized,
    {
        let _ = caller;
        false
    }

    /// The rank was told to leave and cannot; the runtime opens the gate and tries again. Called once
    /// for each [`Cut::Leave`](crate::gate::Cut::Leave). The text names the function and the reason.
    fn refuses(&mut self, why: String) {
        let _ = why;
    }
}

/// Waits for the rank's MPI state, where several threads may have it.
pub(crate) async fn enter<T: MpiView>(caller: &mut Caller<'_, T>) {
    poll_fn(|_| caller.data_mut().poll_enter()).await;
}

/// One call of a host function.
pub struct Call<'a, T: MpiView> {
    /// The calling instance.
    pub caller: Caller<'a, T>,
    /// The function that was called.
    pub function: &'static str,
    /// Whether the numbers that it takes by address are `MPI_Count`; else they are of 32 bits.
    pub large: bool,
    /// Whether it can be left where it waits and be called anew.
    is_switch_point: bool,
    /// It was left before where it waited.
    comes_again: bool,
    /// It must not wait: where it would, it is dropped and called anew as one that may.
    is_at_once: bool,
    /// Where it leaves the end of the program, if it may run functions that do not belong to it.
    fate: Option<Arc<Fate>>,
}

impl<T: MpiView> std::fmt::Debug for Call<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("function", &self.function).finish_non_exhaustive()
    }
}

impl<'a, T: MpiView> Call<'a, T> {
    /// Begins a call.
    #[inline]
    pub fn new(mut caller: Caller<'a, T>, function: &'static str, large: bool) -> Self {
        caller.data_mut().mpi().error_comm = abi::MPI_COMM_SELF;
        Self {
            caller,
            function,
            large,
            is_switch_point: false,
            comes_again: false,
            is_at_once: false,
            fate: None,
        }
    }

    /// The rank's MPI state.
    #[inline]
    pub fn mpi(&mut self) -> &mut MpiCtx<T::Port> {
        self.caller.data_mut().mpi()
    }

    /// Refuses calls before `MPI_Init` and after `MPI_Finalize`.
    ///
    /// # Errors
    /// `MPI_ERR_OTHER` outside that span.
    #[inline]
    pub fn require_running(&mut self) -> Result<()> {
        let mpi = self.mpi();
        let reason = match mpi.phase {
            Phase::Running => return Ok(()),
            _ if mpi.sessions > 0 => return Ok(()),
            Phase::Before => "MPI_Init has not been called yet",
            Phase::After => "MPI_Finalize has been called already",
        };
        Err(MpiError::new(ErrorClass::Other, reason))
    }

    /// Writes a result to the guest.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when the address is not inside the guest's memory.
    #[inline]
    pub fn write_i32(&mut self, argument: &'static str, addr: GuestAddr, value: i32) -> Result<()> {
        self.write(argument, addr, &value.to_le_bytes())
    }

    /// Writes bytes to the guest.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when the address is not inside the guest's memory.
    #[inline]
    pub fn write(&mut self, argument: &'static str, addr: GuestAddr, data: &[u8]) -> Result<()> {
        check_pointer(argument, addr, data.len())?;
        self.mpi()
            .memory()?
            .write(addr, data)
            .map_err(|fault| MpiError::argument(ErrorClass::Arg, argument, fault.to_string()))
    }

    /// Reads an `int` (or 4-byte handle) of the guest.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when it is not inside the guest's memory.
    #[inline]
    pub fn read_i32(&mut self, argument: &'static str, addr: GuestAddr) -> Result<i32> {
        check_pointer(argument, addr, 4)?;
        let mut bytes = [0; 4];
        self.mpi()
            .memory()?
            .read(addr, &mut bytes)
            .map_err(|fault| MpiError::argument(ErrorClass::Arg, argument, fault.to_string()))?;
        Ok(i32::from_le_bytes(bytes))
    }

    /// Reads `len` consecutive `int`s (or 4-byte handles) of the guest.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when they are not inside the guest's memory.
    pub fn read_i32s(
        &mut self,
        argument: &'static str,
        addr: GuestAddr,
        len: usize,
    ) -> Result<Vec<i32>> {
        /// Numbers that are read at a time.
        const PIECE: usize = 64;
        check_pointer(argument, addr, len)?;
        let memory = self.mpi().memory()?;
        let mut words = Vec::with_capacity(len.min(PIECE));
        let mut bytes = [[0; 4]; PIECE];
        while words.len() < len {
            let piece = &mut bytes[..PIECE.min(len - words.len())];
            let at = addr.get().saturating_add(4 * words.len() as u64);
            memory.read(GuestAddr::new(at), piece.as_flattened_mut()).map_err(|fault| {
                MpiError::argument(ErrorClass::Arg, argument, fault.to_string())
            })?;
            words.extend(piece.iter().map(|word| i32::from_le_bytes(*word)));
        }
        Ok(words)
    }

    /// Reads bytes of the guest.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when they are not inside the guest's memory.
    pub fn read_bytes(
        &mut self,
        argument: &'static str,
        addr: GuestAddr,
        len: usize,
    ) -> Result<Vec<u8>> {
        check_pointer(argument, addr, len)?;
        let wrong = |fault: faasm_vm::GuestFault| {
            MpiError::argument(ErrorClass::Arg, argument, fault.to_string())
        };
        self.mpi().memory()?.read_vec(addr, len as u64).map_err(wrong)
    }

    /// Reads `len` 64-bit integers (`MPI_Count`) of the guest.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when they are not inside the guest's memory.
    pub fn read_i64s(
        &mut self,
        argument: &'static str,
        addr: GuestAddr,
        len: usize,
    ) -> Result<Vec<i64>> {
        check_pointer(argument, addr, len)?;
        let bytes =
            self.mpi().memory()?.read_vec(addr, (len as u64).saturating_mul(8)).map_err(
                |fault| MpiError::argument(ErrorClass::Arg, argument, fault.to_string()),
            )?;
        let word = |chunk: &[u8; 8]| i64::from_le_bytes(*chunk);
        Ok(bytes.as_chunks().0.iter().map(word).collect())
    }

    /// Reads `len` integers of the guest, as wide as the called function has them.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when they are not inside the guest's memory.
    pub fn read_numbers(
        &mut self,
        argument: &'static str,
        addr: GuestAddr,
        len: usize,
    ) -> Result<Vec<i64>> {
        if self.large {
            return self.read_i64s(argument, addr, len);
        }
        Ok(self.read_i32s(argument, addr, len)?.into_iter().map(i64::from).collect())
    }

    /// Writes a number as wide as the called function has it; one that does not fit is
    /// `MPI_UNDEFINED`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when the address is not inside the guest's memory.
    pub fn write_number(
        &mut self,
        argument: &'static str,
        addr: GuestAddr,
        value: i64,
    ) -> Result<()> {
        if self.large {
            return self.write(argument, addr, &value.to_le_bytes());
        }
        self.write_i32(argument, addr, i32::try_from(value).unwrap_or(abi::MPI_UNDEFINED))
    }

    /// Reads a C string of the guest of at most `bytes_max` bytes without its terminator.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when it is not inside the guest's memory, too long or not UTF-8.
    pub fn read_string(
        &mut self,
        argument: &'static str,
        addr: GuestAddr,
        bytes_max: usize,
    ) -> Result<String> {
        check_pointer(argument, addr, bytes_max)?;
        let wrong = |detail: String| MpiError::argument(ErrorClass::Arg, argument, detail);
        let memory = self.mpi().memory()?;
        let room = memory.len().saturating_sub(addr.get()).min(bytes_max as u64 + 1);
        let mut bytes = memory.read_vec(addr, room).map_err(|fault| wrong(fault.to_string()))?;
        let Some(end) = bytes.iter().position(|byte| *byte == 0) else {
            return Err(wrong(format!("the string has no end within {bytes_max} bytes")));
        };
        bytes.truncate(end);
        String::from_utf8(bytes).map_err(|_| wrong("the string is not UTF-8".to_owned()))
    }

    /// Writes a C string with its terminator, cut to `room` bytes.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when the address is not inside the guest's memory.
    pub fn write_string(
        &mut self,
        argument: &'static str,
        addr: GuestAddr,
        text: &str,
        room: usize,
    ) -> Result<usize> {
        let mut len = text.len().min(room.saturating_sub(1));
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = text.as_bytes()[..len].to_vec();
        bytes.push(0);
        self.write(argument, addr, &bytes)?;
        Ok(len)
    }

    /// Waits until `ready` holds. It is asked after every message and wake-up.
    ///
    /// `is_done` tells from the outside whether another rank has finished what is waited for; it
    /// must stay true once it is. Suspends the fiber; never blocks the worker.
    pub async fn wait<R>(
        &mut self,
        pending: &Pending,
        is_done: &(dyn Fn() -> bool + Send + Sync),
        mut ready: impl FnMut(&mut MpiCtx<T::Port>) -> Option<R>,
    ) -> R {
        loop {
            self.mpi().progress();
            self.combine().await;
            self.tell_inside().await;
            if let Some(result) = ready(self.mpi()) {
                return result;
            }
            if self.is_at_once {
                self.look(is_done).await;
                continue;
            }
            self.refuse_if_told();
            if self.is_threaded() {
                Box::pin(self.sleep(pending, is_done)).await;
                continue;
            }
            let combines = self.combines();
            let mpi = self.mpi();
            if mpi.underway.is_empty() {
                if !mpi.take_watched() && mpi.port.watch(&|| is_done()) {
                    continue;
                }
                poll_fn(|cx| mpi.port.poll_suspend(cx, &|| is_done(), pending)).await;
            } else {
                mpi.pause(pending, is_done, combines).await;
            }
        }
    }

    /// Whether other threads of the rank may call MPI too.
    #[inline]
    pub fn is_threaded(&self) -> bool {
        self.caller.data().is_threaded()
    }

    /// Whether the caller is the rank's first thread.
    pub fn is_main_thread(&self) -> bool {
        self.caller.data().is_main_thread()
    }

    /// Lets the rank's other threads call MPI until something has come for the rank.
    async fn sleep(&mut self, pending: &Pending, is_done: &(dyn Fn() -> bool + Send + Sync)) {
        let combines = self.combines();
        let mpi = self.mpi();
        let error_comm = mpi.error_comm;
        if mpi.watch(is_done, combines) {
            return;
        }
        if self.caller.data_mut().prepare_to_sleep() || self.mpi().has_news(is_done, combines) {
            return;
        }
        poll_fn(|_| self.caller.data_mut().poll_sleep(pending)).await;
        enter(&mut self.caller).await;
        self.mpi().error_comm = error_comm;
    }

    /// As [`Call::wait`] for something that handles all arrived messages by itself.
    pub async fn wait_directly<R>(
        &mut self,
        pending: &Pending,
        mut ready: impl FnMut(&mut MpiCtx<T::Port>) -> Option<R>,
    ) -> R {
        loop {
            if self.is_at_once {
                self.look(&|| false).await;
                self.mpi().advance();
                self.combine().await;
            } else {
                self.tell_inside().await;
                self.refuse_if_told();
                let combines = self.combines();
                let mpi = self.mpi();
                if !mpi.underway.is_empty() {
                    mpi.pause(pending, &|| false, combines).await;
                    mpi.advance();
                    self.combine().await;
                } else if mpi.take_watched() || !mpi.port.watch(&|| false) {
                    poll_fn(|cx| mpi.port.poll_suspend(cx, &|| false, pending)).await;
                }
            }
            if let Some(result) = ready(self.mpi()) {
                return result;
            }
        }
    }

    /// Lets other ranks of this worker run.
    pub async fn yield_now(&mut self) {
        self.later().await;
        if self.is_threaded() {
            // Those may be the rank's own threads, which want to call MPI.
            let error_comm = self.mpi().error_comm;
            self.caller.data_mut().leave();
            yield_now().await;
            enter(&mut self.caller).await;
            self.mpi().error_comm = error_comm;
        } else {
            yield_now().await;
        }
    }

    /// Lets other ranks of this worker run when a polling call has failed a few times in a row.
    pub async fn yield_if_due(&mut self) {
        // The call that is made instead counts.
        self.later().await;
        self.combine().await;
        if self.mpi().port.is_yield_due() {
            self.yield_now().await;
        }
    }

    /// Ends a call: the value the C function returns, or the end of the program.
    ///
    /// # Errors
    /// [`MpiExit::Fatal`] under `MPI_ERRORS_ARE_FATAL`; a trap of the program's own error handler.
    #[inline]
    pub async fn finish(&mut self, result: Result<()>) -> wasmtime::Result<i32> {
        if self.mpi().tool.events.are_due() && self.mpi().callbacks == 0 {
            Box::pin(self.tell_at_end()).await?;
        }
        match result {
            Ok(()) => Ok(abi::MPI_SUCCESS),
            // Boxed, to keep the futures of calls that succeed small.
            Err(error) => Box::pin(self.raise(error)).await,
        }
    }

    #[cold]
    async fn raise(&mut self, error: MpiError) -> wasmtime::Result<i32> {
        let handle = self.mpi().error_comm;
        let code = error.code();
        let (errhandler, object) = self.mpi().handled(handle);
        if errhandler == abi::MPI_ERRORS_RETURN {
            return Ok(code);
        }
        let entry = self.mpi().others.get(errhandler);
        if let Some(OtherEntry::Errhandler { function, .. }) = entry {
            let function = *function;
            let told = if handle == errhandler { abi::MPI_COMM_NULL } else { handle };
            return self.call_errhandler(function, told, code).await;
        }
        Err(MpiExit::Fatal { function: self.function, object, error }.into())
    }
}

/// Refuses null where an array of `len` is needed: address 0 lies inside a guest's memory.
#[inline]
pub(crate) fn check_pointer(argument: &'static str, addr: GuestAddr, len: usize) -> Result<()> {
    if addr.is_null() && len > 0 {
        let detail = "the pointer is null; give the address of a variable";
        return Err(MpiError::argument(ErrorClass::Arg, argument, detail));
    }
    Ok(())
}

/// Suspends the fiber once and makes it runnable again behind the others.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
