//! The memory side of a pool, as wasmtime's hook.

use std::sync::Arc;

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::{Pool, share};
use crate::guest::Slot;
use crate::sys::page_bytes;

/// Makes memories of a pool's slots.
#[derive(Debug)]
pub(crate) struct PoolMemories(pub(crate) Arc<Pool>);

// SAFETY: `new_memory` returns accessible bytes `[0, minimum)` at the start of a private mapping
// that reserves the requested size plus guard and never moves. They are zero, or the image that
// `share::on_view` left, for a module that has no active data (see `rewrite::without_data`). Beyond the current size all is
// inaccessible, except in a pool of small memories: its engine's code compares each address with the current
// size, for it may count on no reservation and no guard (see `engine`). Inside `share::on_memory` the mapping is that of another instance and
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
        // memory that threads share never does, nor one with an image.
        let given = if minimum == 0 { share::Given::Nothing } else { share::take() };
        let image = match given {
            share::Given::Memory(slot) => return share::join(slot, minimum),
            share::Given::Image(image) => Some(image),
            share::Given::Nothing => None,
        };
        // The memory of which the image is may have grown.
        let minimum = image.as_ref().map_or(minimum, |image| minimum.max(image.bytes().len()));
        let small = self.0.small_bytes();
        let reserved = small.or(reserved_size_in_bytes).unwrap_or(minimum).max(minimum);
        if small.is_some_and(|small| reserved > small) {
            return Err(too_large(minimum, small.unwrap_or(0)));
        }
        let capacity = maximum.map_or(reserved, |maximum| maximum.min(reserved));
        if capacity < minimum {
            return Err(format!(
                "an image of {minimum} bytes does not fit a memory of {capacity} bytes"
            ));
        }
        let reserved = reserved.max(page_bytes());
        let slot = self.0.memory(minimum, reserved, guard_size_in_bytes, image.as_ref())?;
        let accessible = small.is_some();
        Ok(Box::new(PoolMemory { slot, capacity: capacity.max(minimum), accessible }))
    }
}

fn too_large(minimum: usize, small: usize) -> String {
    format!("a memory of {minimum} bytes does not fit a pool of memories of {small} bytes")
}

/// A linear memory in a slot.
#[derive(Debug)]
pub(super) struct PoolMemory {
    pub(super) slot: Arc<Slot>,
    pub(super) capacity: usize,
    /// The whole capacity is accessible from the start.
    pub(super) accessible: bool,
}

// SAFETY: the base never moves, `byte_size` bytes are accessible, and for what follows the creator's
// comment holds; `grow_to` makes bytes accessible before it publishes them.
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
            if !self.accessible {
                self.slot.mapping().make_accessible(old, new_size)?;
            }
            self.slot.set_len(new_size);
        }
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.slot.mapping().base().as_ptr()
    }
}
