//! The tool information interface (MPI-5.0 section 15.3): control and performance variables, and events.
//!
//! Its functions may be called before `MPI_Init` and after `MPI_Finalize`, return their error code
//! and never call an error handler.

pub(super) mod category;
pub(super) mod control;
pub(super) mod event;
pub(super) mod performance;

use faasm_vm::GuestAddr;

use crate::abi;
use crate::ctx::MpiCtx;
use crate::port::MpiPort;
use crate::table::host_functions;
use crate::tool::ToolState;

host_functions! {
    /// Makes the interface usable; calls are counted. Section 15.3.4.
    tool fn MPI_T_init_thread(required: i32, provided: GuestAddr) = init_thread;
    /// Ends one use of the interface. Section 15.3.4.
    tool fn MPI_T_finalize() = finalize;
    /// The items of an enumeration; no variable has one. Section 15.3.5.
    tool fn MPI_T_enum_get_info(enumtype: i32, num: GuestAddr, name: GuestAddr, name_len: GuestAddr) = enum_get_info;
    /// One item of an enumeration. Section 15.3.5.
    tool fn MPI_T_enum_get_item(enumtype: i32, indx: i32, value: GuestAddr, name: GuestAddr, name_len: GuestAddr) = enum_get_item;
}

/// What a function of the interface gives back: its error code where it fails.
pub(super) type Answer = Result<(), i32>;

/// The state, once the interface was initialised.
fn state<P: MpiPort>(mpi: &mut MpiCtx<P>) -> Result<&mut ToolState, i32> {
    match mpi.tool.uses {
        0 => Err(abi::MPI_T_ERR_NOT_INITIALIZED),
        _ => Ok(&mut mpi.tool),
    }
}

/// Reads a number; a null address is not one.
fn read<P: MpiPort>(mpi: &MpiCtx<P>, addr: GuestAddr) -> Result<i32, i32> {
    let mut bytes = [0; 4];
    let memory = mpi.memory().map_err(|_| abi::MPI_T_ERR_INVALID)?;
    if addr.is_null() || memory.read(addr, &mut bytes).is_err() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    Ok(i32::from_le_bytes(bytes))
}

/// Writes bytes, unless the caller does not want to know.
fn put<P: MpiPort>(mpi: &MpiCtx<P>, addr: GuestAddr, bytes: &[u8]) -> Answer {
    if addr.is_null() {
        return Ok(());
    }
    let memory = mpi.memory().map_err(|_| abi::MPI_T_ERR_INVALID)?;
    memory.write(addr, bytes).map_err(|_| abi::MPI_T_ERR_INVALID)
}

/// Writes a number, unless the caller does not want to know.
fn put_i32<P: MpiPort>(mpi: &MpiCtx<P>, addr: GuestAddr, value: i32) -> Answer {
    put(mpi, addr, &value.to_le_bytes())
}

/// Writes a number that the caller has to give room for.
fn give<P: MpiPort>(mpi: &MpiCtx<P>, addr: GuestAddr, value: i32) -> Answer {
    if addr.is_null() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    put_i32(mpi, addr, value)
}

/// Gives a text as section 15.3.3 says: cut to the length that `len_at` holds, and the length of
/// all of it with its end in `len_at`.
fn put_text<P: MpiPort>(mpi: &MpiCtx<P>, text: &str, at: GuestAddr, len_at: GuestAddr) -> Answer {
    if len_at.is_null() {
        return Ok(());
    }
    let room = usize::try_from(read(mpi, len_at)?).unwrap_or(0);
    if room > 0 && !at.is_null() {
        let mut bytes = text.as_bytes()[..text.len().min(room - 1)].to_vec();
        bytes.push(0);
        put(mpi, at, &bytes)?;
    }
    put_i32(mpi, len_at, text.len() as i32 + 1)
}

/// Reads a name to look for.
fn name<P: MpiPort>(mpi: &MpiCtx<P>, addr: GuestAddr) -> Result<String, i32> {
    let memory = mpi.memory().map_err(|_| abi::MPI_T_ERR_INVALID)?;
    let room = memory.len().saturating_sub(addr.get()).min(NAME_BYTES_MAX);
    if addr.is_null() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    let bytes = memory.read_vec(addr, room).map_err(|_| abi::MPI_T_ERR_INVALID)?;
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(abi::MPI_T_ERR_INVALID_NAME)?;
    String::from_utf8(bytes[..end].to_vec()).map_err(|_| abi::MPI_T_ERR_INVALID_NAME)
}

/// Longest name that is looked for.
const NAME_BYTES_MAX: u64 = 256;

/// The entry of a table that a program's index means.
fn entry<E>(table: &'static [E], index: i32) -> Result<&'static E, i32> {
    let index = usize::try_from(index).map_err(|_| abi::MPI_T_ERR_INVALID_INDEX)?;
    table.get(index).ok_or(abi::MPI_T_ERR_INVALID_INDEX)
}

fn init_thread<P: MpiPort>(mpi: &mut MpiCtx<P>, required: i32, provided: GuestAddr) -> Answer {
    if !(abi::MPI_THREAD_SINGLE..=abi::MPI_THREAD_MULTIPLE).contains(&required) {
        return Err(abi::MPI_T_ERR_CANNOT_INIT);
    }
    give(mpi, provided, abi::MPI_THREAD_SINGLE)?;
    mpi.tool.uses = mpi.tool.uses.checked_add(1).ok_or(abi::MPI_T_ERR_CANNOT_INIT)?;
    Ok(())
}

fn finalize<P: MpiPort>(mpi: &mut MpiCtx<P>) -> Answer {
    let tool = state(mpi)?;
    tool.uses -= 1;
    if tool.uses == 0 {
        *tool = ToolState { last: tool.last, ..ToolState::default() };
    }
    Ok(())
}

fn enum_get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _enumtype: i32,
    _num: GuestAddr,
    _name: GuestAddr,
    _name_len: GuestAddr,
) -> Answer {
    state(mpi)?;
    Err(abi::MPI_T_ERR_INVALID_HANDLE)
}

fn enum_get_item<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _enumtype: i32,
    _indx: i32,
    _value: GuestAddr,
    _name: GuestAddr,
    _name_len: GuestAddr,
) -> Answer {
    state(mpi)?;
    Err(abi::MPI_T_ERR_INVALID_HANDLE)
}
