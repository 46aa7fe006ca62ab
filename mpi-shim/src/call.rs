//! One call of a host function: its caller, waiting, and what becomes of an error.

mod clocks;
mod end;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;
use wasmtime::{AsContextMut, Caller, Extern, Func};

pub use end::MpiExit;
pub(crate) use end::{Ending, Failure, ending};

use crate::abi;
use crate::alloc::GuestHeap;
use crate::ctx::{Interrupted, MpiCtx, OtherEntry, Phase};
use crate::file_port::Files;
use crate::gate::{Bar, Cut, Door};
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

    /// Called when the rank is to leave where it waits ([`Cut::Leave`], or a test): begins to take its stack, and the host
    /// function returns. `false` when the program's frames cannot be taken here.
    fn leave_now(caller: &mut Caller<'_, Self>) -> bool
    where
        Self: Sized,
    {
        let _ = caller;
        false
    }

    /// The rank was told to leave and cannot; the runtime opens the gate and tries again. Called once
    /// for each [`Cut::Leave`]. The text names the function and the reason.
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
    pub(crate) is_switch_point: bool,
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
        Self { caller, function, large, is_switch_point: false }
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
        check_pointer(argument, addr, len)?;
        let bytes =
            self.mpi().memory()?.read_vec(addr, (len as u64).saturating_mul(4)).map_err(
                |fault| MpiError::argument(ErrorClass::Arg, argument, fault.to_string()),
            )?;
        let word = |chunk: &[u8]| i32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        Ok(bytes.chunks_exact(4).map(word).collect())
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
            let mpi = self.mpi();
            mpi.progress();
            if let Some(result) = ready(mpi) {
                return result;
            }
            self.refuse_if_told();
            if self.is_threaded() {
                Box::pin(self.sleep(pending, is_done)).await;
                continue;
            }
            let mpi = self.mpi();
            if mpi.underway.is_empty() {
                if mpi.port.watch(&|| is_done()) {
                    continue;
                }
                poll_fn(|cx| mpi.port.poll_suspend(cx, &|| is_done(), pending)).await;
            } else {
                mpi.pause(pending, is_done).await;
            }
        }
    }

    /// Waits while the job's gate is closed; `false` when the rank leaves here.
    #[cold]
    pub(crate) async fn pass(&mut self, door: &Door) -> bool {
        // Only when the function that MPI called has returned can the stack be taken.
        while !door.is_in_callback() && door.cut() != Cut::Open {
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

    /// What the call was waiting for when it was left, if it has been called before.
    #[inline]
    pub(crate) fn resume(&mut self) -> Option<Interrupted> {
        self.mpi().interrupted.take()
    }

    /// Tells the runtime when the rank is to leave here and cannot.
    #[inline]
    fn refuse_if_told(&mut self) {
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
        let mpi = self.mpi();
        let error_comm = mpi.error_comm;
        if mpi.watch(is_done) {
            return;
        }
        if self.caller.data_mut().prepare_to_sleep() || self.mpi().has_news(is_done) {
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
            self.refuse_if_told();
            let mpi = self.mpi();
            if !mpi.underway.is_empty() {
                mpi.pause(pending, &|| false).await;
                mpi.advance();
            } else if !mpi.port.watch(&|| false) {
                poll_fn(|cx| mpi.port.poll_suspend(cx, &|| false, pending)).await;
            }
            if let Some(result) = ready(self.mpi()) {
                return result;
            }
        }
    }

    /// Lets other ranks of this worker run.
    pub async fn yield_now(&mut self) {
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
        if self.mpi().port.is_yield_due() {
            self.yield_now().await;
        }
    }

    /// Calls function `index` of the guest's table with `i32` arguments.
    ///
    /// # Errors
    /// A trap of the function, or a message when the index names no such function.
    pub async fn call_guest(&mut self, index: u32, args: &[i32]) -> wasmtime::Result<Option<i32>> {
        let function = self.guest_function(index).ok_or_else(|| {
            wasmtime::Error::msg(format!(
                "{}: {index} is not a function pointer of the program",
                self.function
            ))
        })?;
        let results = function.ty(&self.caller).results().len();
        let params: Vec<_> = args.iter().map(|arg| wasmtime::Val::I32(*arg)).collect();
        let mut result = [wasmtime::Val::I32(0)];
        let function_name = self.function;
        self.enter_guest();
        let called = function
            .call_async(self.caller.as_context_mut(), &params, &mut result[..results.min(1)])
            .await;
        self.leave_guest();
        called.map_err(|error| error.context(format!("in a callback of {function_name}")))?;
        Ok((results > 0).then(|| result[0].unwrap_i32()))
    }

    /// A function of the program is about to be called: its frames will lie above those of the host.
    fn enter_guest(&mut self) {
        self.mpi().callbacks += 1;
        if let Some(door) = self.caller.data().door() {
            door.enter_callback();
        }
    }

    /// That function has returned.
    fn leave_guest(&mut self) {
        if let Some(door) = self.caller.data().door() {
            door.leave_callback();
            // The program would see it if the function ran again.
            door.bar(Bar::Committed);
        }
        self.mpi().callbacks -= 1;
    }

    fn guest_function(&mut self, index: u32) -> Option<Func> {
        let names = ["__indirect_function_table", "faasm.table.0"];
        let table = names.iter().find_map(|name| self.caller.get_export(name)?.into_table())?;
        table.get(&mut self.caller, u64::from(index))?.as_func()?.copied()
    }

    /// Allocates `bytes` of the guest's memory, aligned to 16.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when the guest's memory is exhausted; a trap of its `malloc`.
    pub async fn allocate(&mut self, bytes: u32) -> wasmtime::Result<Result<u32>> {
        self.commit();
        let none = || {
            let detail = format!("{bytes} bytes cannot be had in the program's memory");
            MpiError::new(ErrorClass::NoMem, detail)
        };
        if let Some(Extern::Func(malloc)) = self.caller.get_export("malloc")
            && let Ok(malloc) = malloc.typed::<i32, i32>(&self.caller)
        {
            let request = bytes.max(1).cast_signed();
            // It may wait for another thread that allocates.
            self.enter_guest();
            let addr = malloc.call_async(self.caller.as_context_mut(), request).await;
            self.leave_guest();
            let addr = addr?;
            return Ok(if addr == 0 { Err(none()) } else { Ok(addr.cast_unsigned()) });
        }
        if let Some(addr) = self.mpi().heap.take(bytes) {
            return Ok(Ok(addr));
        }
        Ok(self.grow(bytes).ok_or_else(none))
    }

    /// Adds pages to the guest's memory and allocates `bytes` of them.
    fn grow(&mut self, bytes: u32) -> Option<u32> {
        const PAGE: u64 = 65_536;
        let names = ["memory", "faasm.memory.0"];
        let memory = names.iter().find_map(|name| self.caller.get_export(name)?.into_memory())?;
        let pages = u64::from(GuestHeap::rounded(bytes)?).div_ceil(PAGE);
        let before = memory.grow(&mut self.caller, pages).ok()?;
        let addr = u32::try_from(before * PAGE).ok()?;
        let size = u32::try_from(pages * PAGE).ok()?;
        self.mpi().heap.add(addr, size);
        self.mpi().heap.take(bytes)
    }

    /// Gives memory of [`Call::allocate`] back; `false` when the address is not such a block.
    ///
    /// # Errors
    /// A trap of the guest's `free`.
    pub async fn free(&mut self, addr: u32) -> wasmtime::Result<bool> {
        if let Some(Extern::Func(free)) = self.caller.get_export("free")
            && let Ok(free) = free.typed::<i32, ()>(&self.caller)
        {
            self.enter_guest();
            let freed = free.call_async(self.caller.as_context_mut(), addr.cast_signed()).await;
            self.leave_guest();
            return freed.map(|()| true);
        }
        Ok(self.mpi().heap.give_back(addr))
    }

    /// Ends a call: the value the C function returns, or the end of the program.
    ///
    /// # Errors
    /// [`MpiExit::Fatal`] under `MPI_ERRORS_ARE_FATAL`; a trap of the program's own error handler.
    #[inline]
    pub async fn finish(&mut self, result: Result<()>) -> wasmtime::Result<i32> {
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

    /// Calls the program's error handler with pointers to the handle and the code, which it may change; gives
    /// the code that is left.
    ///
    /// # Errors
    /// A trap of the handler, or no memory for the two arguments.
    pub async fn call_errhandler(
        &mut self,
        function: u32,
        handle: i32,
        code: i32,
    ) -> wasmtime::Result<i32> {
        let scratch = self.allocate(8).await?.map_err(wasmtime::Error::from)?;
        let at = GuestAddr::from(scratch);
        let second = GuestAddr::from(scratch + 4);
        let filled = self
            .write_i32("handle", at, handle)
            .and_then(|()| self.write_i32("code", second, code));
        filled.map_err(wasmtime::Error::from)?;
        // In wasm a variadic C function has one parameter more: a pointer to the further arguments.
        // A handler written without the ellipsis does not have it.
        let parameters =
            self.guest_function(function).map_or(2, |f| f.ty(&self.caller).params().len());
        let args = [scratch.cast_signed(), (scratch + 4).cast_signed(), 0];
        self.call_guest(function, &args[..parameters.clamp(2, 3)]).await?;
        let left = self.read_i32s("code", second, 1).map_err(wasmtime::Error::from)?[0];
        self.free(scratch).await?;
        Ok(left)
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
