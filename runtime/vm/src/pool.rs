//! Pools of linear-memory slots and fiber stacks, given to wasmtime through its host hooks.
//!
//! A slot is address space for the largest memory plus a guard, so growth never moves it and
//! compiled code needs no bounds checks. Slots and stacks that fall free are emptied and reused,
//! which keeps `mmap` and `munmap` (and with them the process's memory lock) off the path of a
//! Faaslet's creation. Nothing of one Faaslet is readable by the next: pages are given back first.

mod free;
mod share;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType, StackCreator, StackMemory};

use self::free::FreeList;
pub use self::share::{OnMemory, on_memory};
use crate::guest::{GuestMemory, Slot};
use crate::page::HostPages;
use crate::sys::{Mapping, page_bytes};

/// Inaccessible bytes below each fiber stack; an overflow faults there.
const STACK_GUARD_BYTES: usize = 64 * 1024;

/// How a [`Pool`] keeps its slots.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Free memory slots kept for reuse; each holds address space but no pages. Default 1,024.
    pub free_memories_max: usize,
    /// Free stacks kept for reuse. Default 1,024.
    pub free_stacks_max: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { free_memories_max: 1_024, free_stacks_max: 1_024 }
    }
}

/// Memory slots and fiber stacks of one runtime.
#[derive(Debug)]
pub struct Pool {
    me: Weak<Self>,
    free_memories: FreeList,
    free_stacks: FreeList,
    /// Live slots by base address, so that an instance's exported memory leads to its handle.
    live: Mutex<HashMap<usize, Weak<Slot>>>,
}

impl Pool {
    /// An empty pool.
    pub fn new(config: PoolConfig) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            free_memories: FreeList::new(config.free_memories_max, false),
            free_stacks: FreeList::new(config.free_stacks_max, true),
            live: Mutex::default(),
        })
    }

    /// The handle to the linear memory whose first byte is at `base`, if this pool made it.
    pub fn memory_at(&self, base: *const u8) -> Option<GuestMemory> {
        self.live.lock().get(&base.addr()).and_then(Weak::upgrade).map(GuestMemory::new)
    }

    /// Gives the pages back of slots that have been free since the last call. Returns whether there
    /// are slots that have fallen free since then; a further call will empty those.
    ///
    /// To be called now and then: who ends a process soon after its ranks saves the work.
    pub fn tidy(&self) -> bool {
        let (memories, stacks) = (self.free_memories.tidy(), self.free_stacks.tidy());
        memories || stacks
    }

    /// Takes back a slot whose last user is gone.
    pub(crate) fn recycle_memory(&self, mapping: Mapping, accessible: usize) {
        self.live.lock().remove(&mapping.base().as_ptr().addr());
        self.free_memories.give_back(mapping, 0..accessible);
    }

    /// Forgets a slot that must not be used again.
    pub(crate) fn lose_memory(&self, mapping: &Mapping) {
        self.live.lock().remove(&mapping.base().as_ptr().addr());
        tracing::error!("a slot with shared pages could not be emptied and is not used again");
    }

    /// A memory of `bytes` without an instance.
    #[cfg(test)]
    pub(crate) fn memory_for_test(&self, bytes: usize) -> GuestMemory {
        GuestMemory::new(self.memory(bytes, bytes, 0).expect("address space"))
    }

    fn memory(&self, bytes: usize, reserved: usize, guard: usize) -> Result<Arc<Slot>, String> {
        let total = HostPages::round_up(reserved)
            .and_then(|pages| pages.checked_add(HostPages::round_up(guard)?))
            .ok_or("the memory's reservation does not fit the address space")?;
        let taken = self.free_memories.take(total.bytes(), &(0..bytes));
        let mapping = taken.map_err(|cause| no_memory(bytes, &cause))?;
        let base = mapping.base().as_ptr().addr();
        let slot = Arc::new(Slot::new(mapping, bytes, self.me.clone()));
        self.live.lock().insert(base, Arc::downgrade(&slot));
        Ok(slot)
    }

    fn recycle_stack(&self, mapping: Mapping) {
        let accessible = STACK_GUARD_BYTES..mapping.bytes();
        self.free_stacks.give_back(mapping, accessible);
    }

    fn stack(&self, bytes: usize) -> std::io::Result<Mapping> {
        let total = STACK_GUARD_BYTES + bytes.next_multiple_of(page_bytes());
        self.free_stacks.take(total, &(STACK_GUARD_BYTES..total))
    }
}

fn no_memory(bytes: usize, cause: &std::io::Error) -> String {
    format!(
        "no address space for a linear memory of {bytes} bytes: {cause}; run fewer ranks, or raise \
         `ulimit -v` and the kernel's vm.max_map_count"
    )
}

/// The memory side of a pool, as wasmtime's hook.
#[derive(Debug)]
pub(crate) struct PoolMemories(pub(crate) Arc<Pool>);

// SAFETY: `new_memory` returns zeroed accessible bytes `[0, minimum)` at the start of a private
// mapping that reserves the requested size plus guard, all of it inaccessible beyond the current
// size, and that never moves. Inside `share::on_memory` the mapping is that of another instance and
// holds what that wrote: the caller's module has neither active data nor growth, so nothing takes
// the memory for zeroed, and both instances are compiled for a memory that others write to (see
// `rewrite`).
unsafe impl MemoryCreator for PoolMemories {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_size_in_bytes: Option<usize>,
        guard_size_in_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if ty.is_shared() {
            return Err("shared memories are not served by this pool".to_owned());
        }
        // The heap in which an instance keeps exceptions is asked for here, too, and begins empty; a
        // memory that threads share never does.
        let joined = if minimum == 0 { None } else { share::take() };
        if let Some(slot) = joined {
            return share::join(slot, minimum);
        }
        let reserved = reserved_size_in_bytes.unwrap_or(minimum).max(minimum);
        let capacity = maximum.map_or(reserved, |maximum| maximum.min(reserved));
        let slot = self.0.memory(minimum, reserved.max(page_bytes()), guard_size_in_bytes)?;
        Ok(Box::new(PoolMemory { slot, capacity: capacity.max(minimum) }))
    }
}

#[derive(Debug)]
struct PoolMemory {
    slot: Arc<Slot>,
    capacity: usize,
}

// SAFETY: the base never moves, `byte_size` bytes are accessible, and everything from there to the
// end of the guard is inaccessible; `grow_to` makes bytes accessible before it publishes them.
unsafe impl LinearMemory for PoolMemory {
    fn byte_size(&self) -> usize {
        self.slot.len()
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.capacity {
            return Err(wasmtime::Error::msg(format!(
                "memory of {} bytes cannot grow to {new_size}: {} are reserved",
                self.slot.len(),
                self.capacity
            )));
        }
        let old = self.slot.len();
        if new_size > old {
            self.slot.mapping().make_accessible(old, new_size)?;
            self.slot.set_len(new_size);
        }
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.slot.mapping().base().as_ptr()
    }
}

/// The stack side of a pool, as wasmtime's hook.
#[derive(Debug)]
pub(crate) struct PoolStacks(pub(crate) Arc<Pool>);

// SAFETY: a stack is a private, page-aligned, zeroed mapping with inaccessible guard pages below it.
unsafe impl StackCreator for PoolStacks {
    fn new_stack(&self, size: usize, _zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        let mapping = self.0.stack(size).map_err(|cause| {
            wasmtime::Error::msg(format!(
                "no address space for a fiber stack of {size} bytes: {cause}; run fewer ranks, or \
                 raise `ulimit -v` and the kernel's vm.max_map_count"
            ))
        })?;
        Ok(Box::new(PoolStack { mapping: Some(mapping), pool: self.0.clone() }))
    }
}

#[derive(Debug)]
struct PoolStack {
    /// Taken only by `drop`.
    mapping: Option<Mapping>,
    pool: Arc<Pool>,
}

impl PoolStack {
    fn mapping(&self) -> &Mapping {
        self.mapping.as_ref().expect("a stack holds its mapping until it is dropped")
    }
}

// SAFETY: `top` is one past the last byte of the mapping, `range` the accessible part below it, and
// `guard_range` the inaccessible pages below that; all of them live as long as the stack.
unsafe impl StackMemory for PoolStack {
    fn top(&self) -> *mut u8 {
        let mapping = self.mapping();
        mapping.base().as_ptr().wrapping_add(mapping.bytes())
    }

    fn range(&self) -> Range<usize> {
        let base = self.mapping().base().as_ptr().addr();
        base + STACK_GUARD_BYTES..base + self.mapping().bytes()
    }

    fn guard_range(&self) -> Range<*mut u8> {
        let base = self.mapping().base().as_ptr();
        base..base.wrapping_add(STACK_GUARD_BYTES)
    }
}

impl Drop for PoolStack {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            self.pool.recycle_stack(mapping);
        }
    }
}
