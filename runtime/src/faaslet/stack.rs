//! A rank's call stack as a value: frames that have left the guest, and when they leave it.
//!
//! The program is in its migratable variant (`faasm_vm::unwind`). At a switch point the rank decides to
//! leave: the guest's functions hand their frames over and return, innermost first, until the entry function has
//! returned. When that is called again they take them back, and the switch point's function, called anew with the
//! same arguments, does what it was called for.

use std::num::NonZeroU32;

use faasm_mpi_shim::gate::Cut;
use faasm_vm::unwind::{
    HELD_EXPORT, STACK_MODULE, STATE_EXPORT, STATE_REWINDING, STATE_RUNNING, STATE_UNWINDING,
};
use wasmtime::{AsContextMut, Caller, Extern, Instance, Linker, Store, V128, Val};

use super::FaasletState;
use crate::checkpoint::Bits;

/// The call stack of a rank whose program is migratable.
#[derive(Debug)]
pub(crate) struct StackState {
    /// Leave at each so many-th switch point.
    every: Option<NonZeroU32>,
    passed: u32,
    phase: Phase,
    frames: Vec<Bits>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Running,
    /// Frames leave the guest, or all have left it.
    Leaving,
    /// Frames go back.
    Arriving,
}

/// Most values that a stack may have: machine stacks end before.
const VALUES_MAX: usize = 64 << 20;

impl StackState {
    /// A stack that is taken when the job's gate says so, and at each so many-th switch point.
    pub(crate) fn new(every: Option<NonZeroU32>) -> Self {
        Self { every, passed: 0, phase: Phase::Running, frames: Vec::new() }
    }

    /// A stack whose frames were taken elsewhere, and are to come back.
    pub(crate) fn arriving(every: Option<NonZeroU32>, frames: Vec<Bits>) -> Self {
        Self { every, passed: 0, phase: Phase::Arriving, frames }
    }

    /// How often it is taken by itself.
    pub(super) const fn every(&self) -> Option<NonZeroU32> {
        self.every
    }

    /// The frames, when all have left the guest.
    pub(super) fn taken(&self) -> Option<&[Bits]> {
        (self.phase == Phase::Leaving).then_some(&self.frames)
    }

    fn push(&mut self, value: Bits) -> wasmtime::Result<()> {
        if self.phase != Phase::Leaving || self.frames.len() == VALUES_MAX {
            return Err(wasmtime::Error::msg("a frame was handed over that nobody asked for"));
        }
        self.frames.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Option<Bits> {
        if self.phase == Phase::Arriving { self.frames.pop() } else { None }
    }
}

/// At a switch point: whether the rank leaves here.
pub(super) fn leaves(caller: &mut Caller<'_, FaasletState>) -> bool {
    let callbacks = caller.data().mpi.callbacks;
    let Some(stack) = &mut caller.data_mut().stack else { return false };
    match stack.phase {
        Phase::Arriving => {
            stack.phase = Phase::Running;
            set(caller, STATE_RUNNING);
            false
        }
        Phase::Running => {
            stack.passed = stack.passed.wrapping_add(1);
            let due = stack.every.is_some_and(|every| stack.passed.is_multiple_of(every.get()));
            // Frames of the host between those of the guest cannot be taken.
            if !due || callbacks > 0 || held(caller) {
                return false;
            }
            if let Some(stack) = &mut caller.data_mut().stack {
                stack.phase = Phase::Leaving;
            }
            set(caller, STATE_UNWINDING);
            true
        }
        Phase::Leaving => false,
    }
}

/// Where the rank waits: whether it leaves there.
pub(super) fn leave_now(caller: &mut Caller<'_, FaasletState>) -> bool {
    let is_running =
        caller.data().stack.as_ref().is_some_and(|stack| stack.phase == Phase::Running);
    if !is_running || held(caller) {
        return false;
    }
    if let Some(stack) = &mut caller.data_mut().stack {
        stack.phase = Phase::Leaving;
    }
    set(caller, STATE_UNWINDING);
    true
}

fn held(caller: &mut Caller<'_, FaasletState>) -> bool {
    let Some(Extern::Global(global)) = caller.get_export(HELD_EXPORT) else { return true };
    global.get(caller).i32() != Some(0)
}

fn set(caller: &mut Caller<'_, FaasletState>, state: i32) {
    if let Some(Extern::Global(global)) = caller.get_export(STATE_EXPORT) {
        // The pass made it, as an `i32`.
        let _ = global.set(caller.as_context_mut(), Val::I32(state));
    }
}

/// After the entry function has returned: whether it did so because the stack was taken. Everything is then ready
/// for calling it again.
pub(super) fn goes_on(
    store: &mut Store<FaasletState>,
    instance: &Instance,
) -> wasmtime::Result<bool> {
    let Some(stack) = &mut store.data_mut().stack else { return Ok(false) };
    if stack.phase != Phase::Leaving {
        return Ok(false);
    }
    stack.phase = Phase::Arriving;
    rewinds(store, instance)?;
    Ok(true)
}

/// Whether the stack was taken because the whole job is to be written.
pub(super) fn has_left_for_checkpoint(store: &Store<FaasletState>) -> bool {
    let FaasletState { stack, door, .. } = store.data();
    let is_taken = stack.as_ref().is_some_and(|stack| stack.taken().is_some());
    is_taken && door.as_ref().is_some_and(|door| door.cut() == Cut::Leave)
}

/// Has the entry function take its frames back when it is called.
pub(super) fn rewinds(
    store: &mut Store<FaasletState>,
    instance: &Instance,
) -> wasmtime::Result<()> {
    let state = instance
        .get_global(&mut *store, STATE_EXPORT)
        .ok_or_else(|| wasmtime::Error::msg("a migratable program without its state"))?;
    state.set(store, Val::I32(STATE_REWINDING))
}

/// Offers what a migratable program hands its frames over through.
pub(crate) fn add_to_linker(linker: &mut Linker<FaasletState>) -> wasmtime::Result<()> {
    linker.func_wrap(STACK_MODULE, "push", |mut caller: Caller<'_, _>, value: i64| {
        push(&mut caller, Bits::Bits64(value))
    })?;
    let push4 = |mut caller: Caller<'_, _>, a: i64, b: i64, c: i64, d: i64| {
        [a, b, c, d].into_iter().try_for_each(|value| push(&mut caller, Bits::Bits64(value)))
    };
    linker.func_wrap(STACK_MODULE, "push4", push4)?;
    linker.func_wrap(STACK_MODULE, "push128", |mut caller: Caller<'_, _>, value: V128| {
        push(&mut caller, Bits::Bits128(value.as_u128()))
    })?;
    linker.func_wrap(STACK_MODULE, "zeros", |mut caller: Caller<'_, _>, count: i32| {
        (0..count).try_for_each(|_| push(&mut caller, Bits::Bits64(0)))
    })?;
    linker.func_wrap(STACK_MODULE, "pop", |mut caller: Caller<'_, _>| pop64(&mut caller))?;
    linker.func_wrap(STACK_MODULE, "pop4", |mut caller: Caller<'_, _>| -> wasmtime::Result<_> {
        let mut four = [0; 4];
        for value in four.iter_mut().rev() {
            *value = pop64(&mut caller)?;
        }
        let [a, b, c, d] = four;
        Ok((a, b, c, d))
    })?;
    linker.func_wrap(STACK_MODULE, "pop128", |mut caller: Caller<'_, _>| {
        match pop(&mut caller) {
            Some(Bits::Bits128(value)) => Ok(V128::from(value)),
            other => Err(mismatch(other, 128)),
        }
    })?;
    Ok(())
}

fn push(caller: &mut Caller<'_, FaasletState>, value: Bits) -> wasmtime::Result<()> {
    let no_stack = || wasmtime::Error::msg("a frame of a program that is not migratable");
    caller.data_mut().stack.as_mut().ok_or_else(no_stack)?.push(value)
}

fn pop(caller: &mut Caller<'_, FaasletState>) -> Option<Bits> {
    caller.data_mut().stack.as_mut()?.pop()
}

fn pop64(caller: &mut Caller<'_, FaasletState>) -> wasmtime::Result<i64> {
    match pop(caller) {
        Some(Bits::Bits64(value)) => Ok(value),
        other => Err(mismatch(other, 64)),
    }
}

fn mismatch(found: Option<Bits>, bits: u32) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the stack holds {found:?} where {bits} bits are to come back"))
}
