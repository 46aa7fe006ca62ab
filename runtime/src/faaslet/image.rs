//! A rank as a value: taken when its call stack is, and put into a new instance.

use faasm_mpi_shim::MpiCtx;
use faasm_vm::rewrite::{global_export, global_index};
use wasmtime::{Instance, Store, V128, Val};

use super::{FaasletState, RankPort};
use crate::checkpoint::{Bits, Deposit, RankImage, SavedOffer, ThreadImage};

/// Bytes of a page of WebAssembly.
const PAGE_BYTES: u64 = 64 << 10;

/// Why a rank cannot be taken, or not be put back, in words.
type Reason = String;

/// The state of a rank whose stack has been taken, with its other threads.
pub(super) fn take(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    rank: u32,
    others: Vec<ThreadImage>,
) -> Result<Deposit, Reason> {
    let globals = globals(store, instance)?;
    let state = store.data_mut();
    let frames = state.stack.as_ref().and_then(|stack| stack.taken());
    let frames = frames.ok_or("its stack has not been taken")?.to_vec();
    let (files, memory) = (state.wasi.save_files(), state.memory.clone());
    let mut memory_bytes = memory.len();
    let mut threads = None;
    let (mpi, offers, bonds) = match &state.thread {
        None => taken_mpi(&mut state.mpi)?,
        Some(thread) => {
            // All that its program may ask for is there from the start, and untouched.
            memory_bytes = thread.group.memory_bytes();
            threads = Some(thread.group.save(others, thread.left_ns()));
            thread.group.seat.with(taken_mpi)?
        }
    };
    let image = RankImage { memory_bytes, globals, frames, mpi, files, offers, threads };
    Ok(Deposit { rank, image, memory, bonds })
}

/// The MPI state, what was announced, and with whom the rank has to be on one node.
type TakenMpi = (Vec<u8>, Vec<SavedOffer>, Vec<Vec<u32>>);

fn taken_mpi(mpi: &mut MpiCtx<RankPort>) -> Result<TakenMpi, Reason> {
    let saved = mpi.save().map_err(|error| error.to_string())?;
    let offers = mpi.port.offers().ok_or("a message that it has announced is being read")?;
    Ok((saved, offers, mpi.bonds()))
}

/// Makes the memory as large as it was, and puts the globals back. The content of the memory is still the program's
/// own.
pub(super) fn put(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    image: &RankImage,
) -> Result<(), Reason> {
    match (&mut store.data_mut().thread, &image.threads) {
        (Some(thread), Some(threads)) => {
            thread.group.put(threads, image.memory_bytes)?;
            thread.set_left_ns(threads.left_ns);
        }
        (None, None) => grow(store, instance, image.memory_bytes)?,
        _ => return Err("it is of a program with threads, or this one is".to_owned()),
    }
    put_globals(store, instance, &image.globals)
}

/// The memory has its content: from now on its windows of shared memory are shared.
pub(super) fn share_windows(store: &Store<FaasletState>) -> Result<(), Reason> {
    let state = store.data();
    let shared = match &state.thread {
        None => state.mpi.share_windows(),
        Some(thread) => thread.group.seat.with(|mpi| mpi.share_windows()),
    };
    shared.map_err(|error| error.to_string())
}

/// Sets the globals that the program can change.
pub(super) fn put_globals(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    globals: &[(u32, Bits)],
) -> Result<(), Reason> {
    for (index, value) in globals {
        let global = instance.get_global(&mut *store, &global_export(*index));
        let global = global.ok_or_else(|| format!("the program has no global {index}"))?;
        let value = match (value, global.get(&mut *store)) {
            (Bits::Bits32(bits), Val::I32(_)) => Val::I32(*bits),
            (Bits::Bits32(bits), Val::F32(_)) => Val::F32(bits.cast_unsigned()),
            (Bits::Bits64(bits), Val::I64(_)) => Val::I64(*bits),
            (Bits::Bits64(bits), Val::F64(_)) => Val::F64(bits.cast_unsigned()),
            (Bits::Bits128(bits), Val::V128(_)) => Val::V128(V128::from(*bits)),
            _ => return Err(format!("global {index} has another type")),
        };
        global.set(&mut *store, value).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Makes the memory so large.
pub(super) fn grow(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    bytes: u64,
) -> Result<(), Reason> {
    let memory = super::run::memory_of(store, instance).ok_or("it has no memory")?;
    let (pages, now) = (bytes / PAGE_BYTES, memory.size(&*store));
    let more = pages.checked_sub(now).ok_or("its memory is smaller than the program's")?;
    memory.grow(&mut *store, more).map_err(|error| error.to_string())?;
    Ok(())
}

/// The values of the globals that the program can change.
pub(super) fn globals(
    store: &mut Store<FaasletState>,
    instance: &Instance,
) -> Result<Vec<(u32, Bits)>, Reason> {
    let exports = instance.exports(&mut *store);
    let exports: Vec<_> = exports
        .filter_map(|export| Some((global_index(export.name())?, export.into_global()?)))
        .collect();
    let mut values = Vec::new();
    for (index, global) in exports {
        let value = match global.get(&mut *store) {
            Val::I32(value) => Bits::Bits32(value),
            Val::F32(bits) => Bits::Bits32(bits.cast_signed()),
            Val::I64(value) => Bits::Bits64(value),
            Val::F64(bits) => Bits::Bits64(bits.cast_signed()),
            Val::V128(value) => Bits::Bits128(value.as_u128()),
            _ => return Err(format!("global {index} of the program holds a reference")),
        };
        values.push((index, value));
    }
    Ok(values)
}
