//! Control variables (MPI-5.0 section 15.3.6): the bounds of the message protocols. They are part
//! of the protocols and cannot be changed.

use faasm_mpi_engine::datatype::Predefined;
use faasm_vm::GuestAddr;

use super::{Answer, entry, give, name, put, put_i32, put_text, read, state};
use crate::abi;
use crate::ctx::MpiCtx;
use crate::port::{MpiPort, SMALL_BYTES_MAX};
use crate::progress::EAGER_BYTES_MAX;
use crate::table::host_functions;

host_functions! {
    /// Number of control variables. Section 15.3.6.
    tool fn MPI_T_cvar_get_num(num_cvar: GuestAddr) = get_num;
    /// What a control variable is. Section 15.3.6.
    tool fn MPI_T_cvar_get_info(cvar_index: i32, name: GuestAddr, name_len: GuestAddr, verbosity: GuestAddr, datatype: GuestAddr, enumtype: GuestAddr, desc: GuestAddr, desc_len: GuestAddr, bind: GuestAddr, scope: GuestAddr) = get_info;
    /// The variable of a name. Section 15.3.6.
    tool fn MPI_T_cvar_get_index(name: GuestAddr, cvar_index: GuestAddr) = get_index;
    /// A handle for reading a variable. Section 15.3.6.
    tool fn MPI_T_cvar_handle_alloc(cvar_index: i32, obj_handle: GuestAddr, handle: GuestAddr, count: GuestAddr) = handle_alloc;
    /// Gives a handle up. Section 15.3.6.
    tool fn MPI_T_cvar_handle_free(handle: GuestAddr) = handle_free;
    /// The value of a variable. Section 15.3.6.
    tool fn MPI_T_cvar_read(handle: i32, buf: GuestAddr) = value_of;
    /// Refuses to change a variable. Section 15.3.6.
    tool fn MPI_T_cvar_write(handle: i32, buf: GuestAddr) = write;
}

/// A control variable of the type `MPI_UNSIGNED_LONG_LONG`.
struct Variable {
    name: &'static str,
    about: &'static str,
    value: u64,
}

const VARIABLES: &[Variable] = &[
    Variable {
        name: "eager_bytes_max",
        about: "longest message between ranks of one node that is copied when it is sent",
        value: EAGER_BYTES_MAX,
    },
    Variable {
        name: "small_bytes_max",
        about: "longest message that travels in one cache line",
        value: SMALL_BYTES_MAX as u64,
    },
];

/// Indices of all control variables.
pub(super) fn indices() -> impl Iterator<Item = i32> {
    0..VARIABLES.len() as i32
}

fn get_num<P: MpiPort>(mpi: &mut MpiCtx<P>, num_cvar: GuestAddr) -> Answer {
    state(mpi)?;
    give(mpi, num_cvar, VARIABLES.len() as i32)
}

fn get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cvar_index: i32,
    name: GuestAddr,
    name_len: GuestAddr,
    verbosity: GuestAddr,
    datatype: GuestAddr,
    enumtype: GuestAddr,
    desc: GuestAddr,
    desc_len: GuestAddr,
    bind: GuestAddr,
    scope: GuestAddr,
) -> Answer {
    state(mpi)?;
    let variable = entry(VARIABLES, cvar_index)?;
    put_text(mpi, variable.name, name, name_len)?;
    put_text(mpi, variable.about, desc, desc_len)?;
    put_i32(mpi, verbosity, abi::MPI_T_VERBOSITY_TUNER_BASIC)?;
    put_i32(mpi, datatype, Predefined::UnsignedLongLong.handle())?;
    put_i32(mpi, enumtype, abi::MPI_T_ENUM_NULL)?;
    put_i32(mpi, bind, abi::MPI_T_BIND_NO_OBJECT)?;
    put_i32(mpi, scope, abi::MPI_T_SCOPE_CONSTANT)
}

fn get_index<P: MpiPort>(mpi: &mut MpiCtx<P>, wanted: GuestAddr, cvar_index: GuestAddr) -> Answer {
    state(mpi)?;
    let wanted = name(mpi, wanted)?;
    let found = VARIABLES.iter().position(|variable| variable.name == wanted);
    give(mpi, cvar_index, found.ok_or(abi::MPI_T_ERR_INVALID_NAME)? as i32)
}

fn handle_alloc<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cvar_index: i32,
    _obj_handle: GuestAddr,
    handle: GuestAddr,
    count: GuestAddr,
) -> Answer {
    state(mpi)?;
    entry(VARIABLES, cvar_index)?;
    let number = mpi.tool.number()?;
    give(mpi, handle, number)?;
    give(mpi, count, 1)?;
    mpi.tool.controls.insert(number, cvar_index as usize);
    Ok(())
}

fn handle_free<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: GuestAddr) -> Answer {
    state(mpi)?;
    let number = read(mpi, handle)?;
    mpi.tool.controls.remove(&number).ok_or(abi::MPI_T_ERR_INVALID_HANDLE)?;
    give(mpi, handle, abi::MPI_T_CVAR_HANDLE_NULL)
}

fn value_of<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32, buf: GuestAddr) -> Answer {
    let tool = state(mpi)?;
    let index = *tool.controls.get(&handle).ok_or(abi::MPI_T_ERR_INVALID_HANDLE)?;
    if buf.is_null() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    put(mpi, buf, &VARIABLES[index].value.to_le_bytes())
}

fn write<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32, _buf: GuestAddr) -> Answer {
    match state(mpi)?.controls.contains_key(&handle) {
        true => Err(abi::MPI_T_ERR_CVAR_SET_NEVER),
        false => Err(abi::MPI_T_ERR_INVALID_HANDLE),
    }
}
