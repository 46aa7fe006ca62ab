//! The migratable variant of a module: its call stack can be taken down to values and built up again.
//!
//! The pass touches only functions that can reach a *switch point*, an import at which the host may
//! ask for the stack: found by an exact call graph, in which an indirect call reaches the functions
//! of its type whose address the module takes (C++'s type information, known by its names, reaches only its own). In those it leaves alone whatever holds no call
//! to such a function, hot loops above all: code is not flattened, and no value moves to memory.
//!
//! ```text
//! call f                                  behind every call that can reach a switch point:
//! global.get $state  if                   the host has asked: this frame is handed over, innermost first,
//!   push live locals, push site number    and the function returns
//!   return
//! end
//!
//! global.get $state  if                   at the head of a function: the stack is built up again,
//!   pop site number, pop live locals      outermost first
//! end
//! block
//!   local.get $resume  if  br 0 or .. end   at the head of each body that holds such calls: skips what had been
//!   (what stands before the call)           done already; a body entered from the top goes straight on
//! end
//! call f
//! ```
//!
//! What is taken is exact: only locals that are read later, and operands that waited under the
//! call. The frames go through imports into the host's memory (`faasm_stack.push4` and so on: numbers as 64 bits,
//! one or four a call, because calls are most of the code that the pass adds), so a guest cannot touch them and needs no buffer.
//! All sites of a function have frames of the same form, with zeros for what a site does not save, so that the function's
//! head takes them back by the same code.
//!
//! A call made while an exception reference is held, as clean-up code does, cannot be taken: for its
//! length the global `faasm.stack.held` is above zero, and the host must not ask. So it is during `std::terminate`, whose
//! many callers need no code therefore.
//!
//! # Unfinished features
//! The older exception instructions (`try`, `rethrow`), typed function references and garbage-collected
//! types are refused, and so is code that changes its tables while it runs. Debug sections are dropped, as their addresses would be wrong: a
//! backtrace of this variant has function names, but no lines.

mod emit;
mod encode;
mod error;
mod frame;
mod graph;
mod index;
mod liveness;
mod module;
mod tree;

#[cfg(test)]
mod tests;

pub use error::UnwindError;

/// Version of this pass; part of the key of compiled code, raised whenever its output changes.
pub const UNWIND_VERSION: u32 = 3;

/// Module name of the imports through which frames leave and enter the guest.
pub const STACK_MODULE: &str = "faasm_stack";

/// Exported global: one of the `STATE_*` values.
pub const STATE_EXPORT: &str = "faasm.stack.state";

/// Exported global: above zero while the stack cannot be taken.
pub const HELD_EXPORT: &str = "faasm.stack.held";

/// The guest runs.
pub const STATE_RUNNING: i32 = 0;

/// Set by the host at a switch point, before it returns: each function hands its frame over and returns.
pub const STATE_UNWINDING: i32 = 1;

/// Set by the host before it calls the entry function again; the switch point that is reached
/// sets it back to [`STATE_RUNNING`] and finishes its call.
pub const STATE_REWINDING: i32 = 2;

/// Imports of [`STACK_MODULE`], in the order in which they are added.
pub const STACK_IMPORTS: [&str; 7] = ["push", "push4", "push128", "zeros", "pop", "pop4", "pop128"];

/// What the pass did, for those who wonder why a program is slower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnwindReport {
    /// Functions that the module defines.
    pub functions: u32,
    /// Functions among them that can reach a switch point.
    pub instrumented: u32,
    /// Calls behind which a frame may be taken.
    pub sites: u32,
    /// Calls during which the stack cannot be taken.
    pub held_sites: u32,
}

/// A module after the pass.
#[derive(Clone, Debug)]
pub struct Migratable {
    /// The module to compile.
    pub bytes: Vec<u8>,
    /// What was done.
    pub report: UnwindReport,
}

/// Makes the stack of the module in `bytes` movable at the function imports that `is_switch` names
/// by module and name.
///
/// A module that imports none of them comes out with no function changed.
///
/// # Errors
/// When `bytes` is not a valid module, or uses what the pass does not know.
pub fn make_migratable(
    bytes: &[u8],
    is_switch: &(dyn Fn(&str, &str) -> bool + Sync),
) -> Result<Migratable, UnwindError> {
    // Code is a tree and walked as one, and compilers nest blocks hundreds deep.
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("faasm-unwind".into())
            .stack_size(WALK_STACK_BYTES)
            .spawn_scoped(scope, || module::transform(bytes, is_switch))
            .map_err(UnwindError::Thread)?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Address space for walking code; enough for [`tree::DEPTH_MAX`] levels in an unoptimised build.
const WALK_STACK_BYTES: usize = 256 << 20;
