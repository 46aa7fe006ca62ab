//! Pools of linear-memory slots and fiber stacks, given to wasmtime through its host hooks.
//!
//! A slot is address space for the largest memory plus a guard, so growth never moves it and
//! compiled code needs no bounds checks. Slots and stacks that fall free are reused, which keeps `mmap`, `mprotect`
//! and `madvise` (and with them the process's memory lock) off the path of a Faaslet's creation: `reset` overwrites what was
//! written. Nothing of one Faaslet is readable by the next.
//!
//! In a pool of *small memories* (`small_memory_bytes`) a slot is no larger than that and has no guard: all slots together
//! are one mapping to the kernel, of which a process may have only some ten thousands, and 100,000 Faaslets fit in a few GiB
//! of address space. Their engine's code checks bounds instead.

mod free;
mod memory;
mod reset;
mod share;
mod stack;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use self::free::{FreeList, Wanted};
pub(crate) use self::memory::PoolMemories;
#[cfg(feature = "lab")]
pub(crate) use self::reset::empty;
pub(crate) use self::reset::{Present, renew};
pub use self::share::{OnMemory, on_memory};
pub(crate) use self::share::{on_view, with_view};
pub(crate) use self::stack::PoolStacks;
use crate::guest::{GuestMemory, Slot};
use crate::page::HostPages;
use crate::sys::{ImageView, Mapping, page_bytes};

/// Inaccessible bytes below each fiber stack; an overflow faults there.
const STACK_GUARD_BYTES: usize = 64 * 1024;

/// Most threads that have a shard of the free lists for themselves.
const SHARDS_MAX: usize = 64;

/// Parts of the directory of live slots, so that threads seldom meet there.
const DIRECTORIES: usize = 64;

/// How a [`Pool`] keeps its slots.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Free memory slots kept for reuse; each holds address space and up to half a MiB of pages, which are
    /// given back after a while. Default 1,024.
    pub free_memories_max: usize,
    /// Free stacks kept for reuse. Default 1,024.
    pub free_stacks_max: usize,
    /// Makes it a pool of small memories, none of which may be larger. Default: none.
    pub small_memory_bytes: Option<usize>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { free_memories_max: 1_024, free_stacks_max: 1_024, small_memory_bytes: None }
    }
}

/// Memory slots and fiber stacks of one runtime.
#[derive(Debug)]
pub struct Pool {
    slots: Arc<Slots>,
    /// One for each shard; what is handed out holds that of the thread that took it.
    homes: Box<[Arc<Home>]>,
}

#[derive(Debug)]
struct Slots {
    free_memories: FreeList,
    free_stacks: FreeList,
    small_bytes: Option<usize>,
    /// Live slots by base address, so that an instance's exported memory leads to its handle.
    live: Box<[Directory]>,
}

/// On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Directory(Mutex<HashMap<usize, Weak<Slot>>>);

/// A thread's way to the pool: counting references to it concerns no other thread.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Home {
    slots: Arc<Slots>,
}

impl Pool {
    /// An empty pool.
    pub fn new(config: PoolConfig) -> Arc<Self> {
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = shards.next_power_of_two().min(SHARDS_MAX);
        let small_bytes = config.small_memory_bytes.map(|bytes| bytes.max(page_bytes()));
        let accessible = small_bytes.is_some();
        let slots = Arc::new(Slots {
            free_memories: FreeList::new(shards, config.free_memories_max, accessible),
            free_stacks: FreeList::new(shards, config.free_stacks_max, true),
            small_bytes,
            live: (0..DIRECTORIES).map(|_| Directory::default()).collect(),
        });
        let homes = (0..shards).map(|_| Arc::new(Home { slots: slots.clone() })).collect();
        Arc::new(Self { slots, homes })
    }

    /// The handle to the linear memory whose first byte is at `base`, if this pool made it.
    pub fn memory_at(&self, base: *const u8) -> Option<GuestMemory> {
        let directory = self.slots.directory(base.addr()).lock();
        directory.get(&base.addr()).and_then(Weak::upgrade).map(GuestMemory::new)
    }

    /// Number of shards of the free lists, at most one for each processor.
    pub(crate) fn shards(&self) -> usize {
        self.homes.len()
    }

    /// Gives the pages back of slots that have been free since the last call. Returns whether there
    /// are slots that have fallen free since then; a further call will empty those.
    ///
    /// To be called now and then: who ends a process soon after its ranks saves the work.
    pub fn tidy(&self) -> bool {
        let (memories, stacks) = (self.slots.free_memories.tidy(), self.slots.free_stacks.tidy());
        memories || stacks
    }

    /// Largest memory of a pool of small ones.
    fn small_bytes(&self) -> Option<usize> {
        self.slots.small_bytes
    }

    /// A memory of `bytes` without an instance.
    #[cfg(test)]
    pub(crate) fn memory_for_test(&self, bytes: usize) -> GuestMemory {
        GuestMemory::new(self.memory(bytes, bytes, 0, None).expect("address space"))
    }

    fn home(&self) -> (usize, &Arc<Home>) {
        let shard = thread_number() % self.homes.len();
        (shard, &self.homes[shard])
    }

    fn memory(
        &self,
        bytes: usize,
        reserved: usize,
        guard: usize,
        image: Option<&Arc<ImageView>>,
    ) -> Result<Arc<Slot>, String> {
        let total = HostPages::round_up(reserved)
            .and_then(|pages| pages.checked_add(HostPages::round_up(guard)?))
            .ok_or("the memory's reservation does not fit the address space")?
            .bytes();
        if let Some(image) = image.filter(|image| image.bytes().len() > bytes) {
            let image = image.bytes().len();
            return Err(format!(
                "an image of {image} bytes does not fit a memory of {bytes} bytes"
            ));
        }
        let accessible = self.slots.accessible(bytes, total);
        let wanted = Wanted { bytes: total, accessible: 0..accessible, image, dirty: false };
        let (shard, home) = self.home();
        let taken = self.slots.free_memories.take(shard, &wanted);
        let mapping = taken.map_err(|cause| no_memory(bytes, &cause))?;
        let base = mapping.base().as_ptr().addr();
        let slot = Arc::new(Slot::new(mapping, bytes, image.cloned(), Some(home.clone())));
        self.slots.directory(base).lock().insert(base, Arc::downgrade(&slot));
        Ok(slot)
    }

    /// A stack, which may hold what its last user left unless it is to be `zeroed`.
    fn stack(&self, bytes: usize, zeroed: bool) -> std::io::Result<(Mapping, Arc<Home>)> {
        let bytes = STACK_GUARD_BYTES + bytes.next_multiple_of(page_bytes());
        let accessible = STACK_GUARD_BYTES..bytes;
        let (shard, home) = self.home();
        let wanted = Wanted { bytes, accessible, image: None, dirty: !zeroed };
        Ok((self.slots.free_stacks.take(shard, &wanted)?, home.clone()))
    }
}

impl Home {
    /// Takes back a memory's slot, whose last user is gone, with the image beneath what was written.
    pub(crate) fn recycle_memory(
        &self,
        mapping: Mapping,
        len: usize,
        image: Option<Arc<ImageView>>,
    ) {
        let base = mapping.base().as_ptr().addr();
        self.slots.directory(base).lock().remove(&base);
        let accessible = self.slots.accessible(len, mapping.bytes());
        let shard = thread_number() % self.slots.free_memories.shards();
        self.slots.free_memories.give_back(shard, mapping, 0..accessible, image);
    }

    /// Forgets a slot that must not be used again.
    pub(crate) fn lose_memory(&self, mapping: &Mapping) {
        let base = mapping.base().as_ptr().addr();
        self.slots.directory(base).lock().remove(&base);
        tracing::error!("a slot with shared pages could not be emptied and is not used again");
    }

    fn recycle_stack(&self, mapping: Mapping) {
        let accessible = STACK_GUARD_BYTES..mapping.bytes();
        let shard = thread_number() % self.slots.free_stacks.shards();
        self.slots.free_stacks.give_back(shard, mapping, accessible, None);
    }
}

impl Slots {
    /// How much of a slot of `total` bytes may be touched when its memory has `len`.
    fn accessible(&self, len: usize, total: usize) -> usize {
        if self.small_bytes.is_some() { total } else { len.next_multiple_of(page_bytes()) }
    }

    fn directory(&self, base: usize) -> &Mutex<HashMap<usize, Weak<Slot>>> {
        // Slots are far apart: their low bits are alike, and so are those of their distances.
        let mixed = (base >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.live[(mixed >> 32) % DIRECTORIES].0
    }
}

/// A small number of this thread, by which threads are told apart for speed only.
pub(crate) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    })
}

fn no_memory(bytes: usize, cause: &std::io::Error) -> String {
    format!(
        "no address space for a linear memory of {bytes} bytes: {cause}; run fewer ranks, or raise \
         `ulimit -v` and the kernel's vm.max_map_count"
    )
}
