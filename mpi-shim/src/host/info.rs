//! Info objects (MPI-5.0 chapter 10). All of these may be called before MPI starts and after it ended.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, MpiView};
use crate::ctx::{MpiCtx, OtherEntry, bad_handle};
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Makes an empty info object. Section 10.
    ending fn MPI_Info_create(info: GuestAddr) = info_create;
    /// Sets a key. Section 10.
    ending fn MPI_Info_set(info: i32, key: GuestAddr, value: GuestAddr) = info_set;
    /// The value of a key, cut to a length. Section 10.
    ending fn MPI_Info_get(info: i32, key: GuestAddr, valuelen: i32, value: GuestAddr, flag: GuestAddr) = info_get;
    /// The value of a key and the length it needs. Section 10.
    ending fn MPI_Info_get_string(info: i32, key: GuestAddr, buflen: GuestAddr, value: GuestAddr, flag: GuestAddr) = info_get_string;
    /// Length of the value of a key. Section 10.
    ending fn MPI_Info_get_valuelen(info: i32, key: GuestAddr, valuelen: GuestAddr, flag: GuestAddr) = info_get_valuelen;
    /// Number of keys. Section 10.
    ending fn MPI_Info_get_nkeys(info: i32, nkeys: GuestAddr) = info_get_nkeys;
    /// The key at a position. Section 10.
    ending fn MPI_Info_get_nthkey(info: i32, n: i32, key: GuestAddr) = info_get_nthkey;
    /// Removes a key. Section 10.
    ending fn MPI_Info_delete(info: i32, key: GuestAddr) = info_delete;
    /// Makes a copy. Section 10.
    ending fn MPI_Info_dup(info: i32, newinfo: GuestAddr) = info_dup;
    /// What `MPI_INFO_ENV` says, before MPI is initialised. Section 10.
    ending fn MPI_Info_create_env(argc: i32, argv: GuestAddr, info: GuestAddr) = info_create_env;
    /// Frees an info object. Section 10.
    ending fn MPI_Info_free(info: GuestAddr) = info_free;
}

/// Longest string read from the guest; longer keys and values are refused by the engine anyway.
const STRING_BYTES_MAX: usize = 64 * 1024;

/// The info object behind `handle`.
///
/// # Errors
/// `MPI_ERR_INFO` when it is null, freed or not an info object.
pub(crate) fn info<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> Result<Info> {
    if handle == abi::MPI_INFO_ENV {
        return environment(mpi);
    }
    match mpi.others.get(handle) {
        Some(OtherEntry::Info(info)) => Ok(info.clone()),
        _ => Err(bad_handle(ErrorClass::Info, "info", handle, abi::MPI_INFO_NULL)),
    }
}

/// As [`info`], where `MPI_INFO_NULL` means no hints.
///
/// # Errors
/// `MPI_ERR_INFO` when it is freed or not an info object.
pub(crate) fn hints<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> Result<Info> {
    if handle == abi::MPI_INFO_NULL { Ok(Info::new()) } else { info(mpi, handle) }
}

/// Enters a new info object and gives its handle to the guest.
pub(crate) fn put<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    info: Info,
) -> Result<()> {
    let handle = call.mpi().others.insert(OtherEntry::Info(info)).ok_or_else(|| {
        MpiError::new(ErrorClass::NoMem, "a million info objects are alive; free some")
    })?;
    call.write_i32(argument, addr, handle)
}

/// `MPI_INFO_ENV`: what is known of how the job was started. Section 11.2.3.
fn environment<P: MpiPort>(mpi: &MpiCtx<P>) -> Result<Info> {
    let mut info = Info::new();
    info.set("maxprocs", &mpi.comm_world.size().to_string())?;
    info.set("host", mpi.port.processor_name())?;
    info.set("arch", "wasm32")?;
    info.set(
        "thread_level",
        match mpi.thread_level {
            abi::MPI_THREAD_FUNNELED => "MPI_THREAD_FUNNELED",
            abi::MPI_THREAD_SERIALIZED => "MPI_THREAD_SERIALIZED",
            abi::MPI_THREAD_MULTIPLE => "MPI_THREAD_MULTIPLE",
            _ => "MPI_THREAD_SINGLE",
        },
    )?;
    Ok(info)
}

/// The info object behind `handle`, to change it.
fn info_mut<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<&mut Info> {
    if handle == abi::MPI_INFO_ENV {
        let detail = "MPI_INFO_ENV can only be read; change a copy made by MPI_Info_dup";
        return Err(MpiError::argument(ErrorClass::Info, "info", detail));
    }
    match mpi.others.get_mut(handle) {
        Some(OtherEntry::Info(info)) => Ok(info),
        _ => Err(bad_handle(ErrorClass::Info, "info", handle, abi::MPI_INFO_NULL)),
    }
}

/// Looks a key up.
fn value<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    key: GuestAddr,
) -> Result<Option<String>> {
    let info = info(call.mpi(), handle)?;
    let key = call.read_string("key", key, STRING_BYTES_MAX)?;
    info.value(&key).map(|value| value.map(str::to_owned))
}

async fn info_create<T: MpiView>(call: &mut Call<'_, T>, info: GuestAddr) -> Ending {
    Ok(put(call, "info", info, Info::new()))
}

async fn info_create_env<T: MpiView>(
    call: &mut Call<'_, T>,
    _argc: i32,
    _argv: GuestAddr,
    info: GuestAddr,
) -> Ending {
    // Only the launcher knows how the program was started, so its arguments say nothing more.
    let made = environment(call.mpi());
    Ok(made.and_then(|made| put(call, "info", info, made)))
}

async fn info_set<T: MpiView>(
    call: &mut Call<'_, T>,
    info: i32,
    key: GuestAddr,
    value: GuestAddr,
) -> Ending {
    Ok(set(call, info, key, value))
}

fn set<T: MpiView>(
    call: &mut Call<'_, T>,
    info: i32,
    key: GuestAddr,
    value: GuestAddr,
) -> Result<()> {
    info_mut(call.mpi(), info)?;
    let key = call.read_string("key", key, STRING_BYTES_MAX)?;
    let value = call.read_string("value", value, STRING_BYTES_MAX)?;
    info_mut(call.mpi(), info)?.set(&key, &value)
}

async fn info_get<T: MpiView>(
    call: &mut Call<'_, T>,
    info: i32,
    key: GuestAddr,
    valuelen: i32,
    value: GuestAddr,
    flag: GuestAddr,
) -> Ending {
    Ok(get(call, info, key, valuelen, value, flag))
}

fn get<T: MpiView>(
    call: &mut Call<'_, T>,
    info: i32,
    key: GuestAddr,
    valuelen: i32,
    text: GuestAddr,
    flag: GuestAddr,
) -> Result<()> {
    let found = value(call, info, key)?;
    let Ok(len_max) = usize::try_from(valuelen) else {
        let detail = format!("{valuelen} is negative");
        return Err(MpiError::argument(ErrorClass::Arg, "valuelen", detail));
    };
    if let Some(found) = &found {
        call.write_string("value", text, found, len_max + 1)?;
    }
    call.write_i32("flag", flag, i32::from(found.is_some()))
}

async fn info_get_string<T: MpiView>(
    call: &mut Call<'_, T>,
    info: i32,
    key: GuestAddr,
    buflen: GuestAddr,
    value: GuestAddr,
    flag: GuestAddr,
) -> Ending {
    Ok(get_string(call, info, key, buflen, value, flag))
}

fn get_string<T: MpiView>(
    call: &mut Call<'_, T>,
    info: i32,
    key: GuestAddr,
    buflen: GuestAddr,
    text: GuestAddr,
    flag: GuestAddr,
) -> Result<()> {
    let found = value(call, info, key)?;
    if let Some(found) = &found {
        let room = call.read_i32("buflen", buflen)?;
        if room > 0 {
            call.write_string("value", text, found, room as usize)?;
        }
        call.write_i32("buflen", buflen, found.len() as i32 + 1)?;
    }
    call.write_i32("flag", flag, i32::from(found.is_some()))
}

async fn info_get_valuelen<T: MpiView>(
    call: &mut Call<'_, T>,
    info: i32,
    key: GuestAddr,
    valuelen: GuestAddr,
    flag: GuestAddr,
) -> Ending {
    Ok(value(call, info, key).and_then(|found| {
        if let Some(found) = &found {
            call.write_i32("valuelen", valuelen, found.len() as i32)?;
        }
        call.write_i32("flag", flag, i32::from(found.is_some()))
    }))
}

async fn info_get_nkeys<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    nkeys: GuestAddr,
) -> Ending {
    let found = info(call.mpi(), handle);
    Ok(found.and_then(|found| call.write_i32("nkeys", nkeys, found.len() as i32)))
}

async fn info_get_nthkey<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    n: i32,
    key: GuestAddr,
) -> Ending {
    Ok(info(call.mpi(), handle).and_then(|found| {
        let room = abi::MPI_MAX_INFO_KEY as usize;
        call.write_string("key", key, found.key(n)?, room).map(|_| ())
    }))
}

async fn info_delete<T: MpiView>(call: &mut Call<'_, T>, info: i32, key: GuestAddr) -> Ending {
    Ok(remove(call, info, key))
}

fn remove<T: MpiView>(call: &mut Call<'_, T>, info: i32, key: GuestAddr) -> Result<()> {
    info_mut(call.mpi(), info)?;
    let key = call.read_string("key", key, STRING_BYTES_MAX)?;
    info_mut(call.mpi(), info)?.delete(&key)
}

async fn info_dup<T: MpiView>(call: &mut Call<'_, T>, handle: i32, newinfo: GuestAddr) -> Ending {
    let found = info(call.mpi(), handle);
    Ok(found.and_then(|copy| put(call, "newinfo", newinfo, copy)))
}

async fn info_free<T: MpiView>(call: &mut Call<'_, T>, info: GuestAddr) -> Ending {
    Ok(free(call, info))
}

fn free<T: MpiView>(call: &mut Call<'_, T>, info: GuestAddr) -> Result<()> {
    let handle = call.read_i32("info", info)?;
    info_mut(call.mpi(), handle)?;
    call.mpi().others.remove(handle);
    call.write_i32("info", info, abi::MPI_INFO_NULL)
}
