//! What a call asks of the program itself: its functions and its memory.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;
use wasmtime::{AsContextMut, Extern, Func, Val};

use super::{Call, MpiView};
use crate::alloc::GuestHeap;
use crate::gate::Bar;

impl<T: MpiView> Call<'_, T> {
    /// Calls function `index` of the guest's table with `i32` arguments.
    ///
    /// # Errors
    /// A trap of the function, or a message when the index names no such function.
    pub async fn call_guest(&mut self, index: u32, args: &[i32]) -> wasmtime::Result<Option<i32>> {
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
        self.call_function(index, &args).await
    }

    /// As [`Call::call_guest`] with any arguments.
    ///
    /// # Errors
    /// As [`Call::call_guest`], and when the function does not take them.
    pub(crate) async fn call_function(
        &mut self,
        index: u32,
        args: &[Val],
    ) -> wasmtime::Result<Option<i32>> {
        let function = self.guest_function(index).ok_or_else(|| {
            wasmtime::Error::msg(format!(
                "{}: {index} is not a function pointer of the program",
                self.function
            ))
        })?;
        let results = function.ty(&self.caller).results().len();
        let mut result = [Val::I32(0)];
        let function_name = self.function;
        self.later().await;
        self.enter_guest();
        let called = function
            .call_async(self.caller.as_context_mut(), args, &mut result[..results.min(1)])
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
        self.later().await;
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
        self.later().await;
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
