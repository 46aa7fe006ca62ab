//! The stack side of a pool, as wasmtime's hook.

use std::ops::Range;
use std::sync::Arc;

use wasmtime::{StackCreator, StackMemory};

use super::{Home, Pool, STACK_GUARD_BYTES};
use crate::sys::Mapping;

/// Makes fiber stacks of a pool's slots.
#[derive(Debug)]
pub(crate) struct PoolStacks(pub(crate) Arc<Pool>);

// SAFETY: a stack is a private, page-aligned mapping with inaccessible guard pages below it, and zeroed
// where that is asked for. Without that it holds what its last user left, which no guest can read: compiled code
// reads of its frames only what it wrote.
unsafe impl StackCreator for PoolStacks {
    fn new_stack(&self, size: usize, zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        let (mapping, home) = self.0.stack(size, zeroed).map_err(|cause| {
            wasmtime::Error::msg(format!(
                "no address space for a fiber stack of {size} bytes: {cause}; run fewer ranks, or \
                 raise `ulimit -v` and the kernel's vm.max_map_count"
            ))
        })?;
        Ok(Box::new(PoolStack { mapping: Some(mapping), home }))
    }
}

#[derive(Debug)]
struct PoolStack {
    /// Taken only by `drop`.
    mapping: Option<Mapping>,
    home: Arc<Home>,
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
            self.home.recycle_stack(mapping);
        }
    }
}
