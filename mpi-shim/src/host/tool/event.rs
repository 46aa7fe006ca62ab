//! Events (MPI-5.0 section 15.3.8): messages and communicators of this rank, from one source, which tells them in their
//! order. `call/event.rs` has when callbacks are called.

use std::num::NonZeroI32;

use faasm_mpi_engine::error::{ErrorClass, MpiError};
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestAddr;

use super::{Answer, entry, give, name, put, put_i32, put_text, read, state};
use crate::abi;
use crate::call::{Call, Ending, MpiView};
use crate::ctx::{MpiCtx, OtherEntry};
use crate::host::info;
use crate::port::MpiPort;
use crate::progress::TICKS_PER_SECOND;
use crate::table::host_functions;
use crate::tool::{Callback, EventType, Happened, LEVELS, Registration};

host_functions! {
    /// Number of sources. Section 15.3.8.
    tool fn MPI_T_source_get_num(num_sources: GuestAddr) = source_get_num;
    /// What a source is. Section 15.3.8.
    tool fn MPI_T_source_get_info(source_index: i32, name: GuestAddr, name_len: GuestAddr, desc: GuestAddr, desc_len: GuestAddr, ordering: GuestAddr, ticks_per_second: GuestAddr, max_ticks: GuestAddr, info: GuestAddr) = source_get_info;
    /// The time of a source. Section 15.3.8.
    tool fn MPI_T_source_get_timestamp(source_index: i32, timestamp: GuestAddr) = source_get_timestamp;
    /// Number of event types. Section 15.3.8.
    tool fn MPI_T_event_get_num(num_events: GuestAddr) = event_get_num;
    /// What an event type is. Section 15.3.8.
    tool fn MPI_T_event_get_info(event_index: i32, name: GuestAddr, name_len: GuestAddr, verbosity: GuestAddr, array_of_datatypes: GuestAddr, array_of_displacements: GuestAddr, num_elements: GuestAddr, enumtype: GuestAddr, info: GuestAddr, desc: GuestAddr, desc_len: GuestAddr, bind: GuestAddr) = event_get_info;
    /// The event type of a name. Section 15.3.8.
    tool fn MPI_T_event_get_index(name: GuestAddr, event_index: GuestAddr) = event_get_index;
    /// Registers for an event type. Section 15.3.8.
    tool fn MPI_T_event_handle_alloc(event_index: i32, obj_handle: GuestAddr, info: i32, event_registration: GuestAddr) = handle_alloc;
    /// Changes the hints of a registration; none is known. Section 15.3.8.
    tool fn MPI_T_event_handle_set_info(event_registration: i32, info: i32) = handle_set_info;
    /// The hints of a registration. Section 15.3.8.
    tool fn MPI_T_event_handle_get_info(event_registration: i32, info_used: GuestAddr) = handle_get_info;
    /// Gives a registration up. Section 15.3.8.
    ending fn MPI_T_event_handle_free(event_registration: i32, user_data: GuestAddr, free_cb_function: i32) = handle_free;
    /// Sets what is called when an event happens. Section 15.3.8.
    tool fn MPI_T_event_register_callback(event_registration: i32, cb_safety: i32, info: i32, user_data: GuestAddr, event_cb_function: i32) = register_callback;
    /// Changes the hints of a callback; none is known. Section 15.3.8.
    tool fn MPI_T_event_callback_set_info(event_registration: i32, cb_safety: i32, info: i32) = callback_set_info;
    /// The hints of a callback. Section 15.3.8.
    tool fn MPI_T_event_callback_get_info(event_registration: i32, cb_safety: i32, info_used: GuestAddr) = callback_get_info;
    /// Sets what is called when events are dropped. Section 15.3.8.
    tool fn MPI_T_event_set_dropped_handler(event_registration: i32, dropped_cb_function: i32) = set_dropped_handler;
    /// One element of an event. Section 15.3.8.
    tool fn MPI_T_event_read(event_instance: i32, element_index: i32, buffer: GuestAddr) = event_read;
    /// All elements of an event. Section 15.3.8.
    tool fn MPI_T_event_copy(event_instance: i32, buffer: GuestAddr) = event_copy;
    /// The time of an event. Section 15.3.8.
    tool fn MPI_T_event_get_timestamp(event_instance: i32, event_timestamp: GuestAddr) = event_get_timestamp;
    /// The source of an event. Section 15.3.8.
    tool fn MPI_T_event_get_source(event_instance: i32, source_index: GuestAddr) = event_get_source;
}

/// The one source.
const SOURCE: &str = "process";
const ABOUT_SOURCE: &str = "what happens to the messages and communicators of this process";

/// Indices of the event types that are about one communicator, or about none.
pub(super) fn indices(is_bound: bool) -> impl Iterator<Item = i32> {
    let has = move |one: &EventType| (one.bind() != abi::MPI_T_BIND_NO_OBJECT) == is_bound;
    (0..).zip(EventType::ALL).filter(move |(_, one)| has(one)).map(|(index, _)| index)
}

fn source_get_num<P: MpiPort>(mpi: &mut MpiCtx<P>, number: GuestAddr) -> Answer {
    state(mpi)?;
    give(mpi, number, 1)
}

fn check_source<P: MpiPort>(mpi: &mut MpiCtx<P>, index: i32) -> Answer {
    state(mpi)?;
    if index == 0 { Ok(()) } else { Err(abi::MPI_T_ERR_INVALID_INDEX) }
}

fn source_get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    source_index: i32,
    name: GuestAddr,
    name_len: GuestAddr,
    desc: GuestAddr,
    desc_len: GuestAddr,
    ordering: GuestAddr,
    ticks_per_second: GuestAddr,
    max_ticks: GuestAddr,
    info: GuestAddr,
) -> Answer {
    check_source(mpi, source_index)?;
    put_text(mpi, SOURCE, name, name_len)?;
    put_text(mpi, ABOUT_SOURCE, desc, desc_len)?;
    put_i32(mpi, ordering, abi::MPI_T_SOURCE_ORDERED)?;
    put(mpi, ticks_per_second, &TICKS_PER_SECOND.to_le_bytes())?;
    put(mpi, max_ticks, &i64::MAX.to_le_bytes())?;
    put_info(mpi, info)
}

fn source_get_timestamp<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    source_index: i32,
    timestamp: GuestAddr,
) -> Answer {
    check_source(mpi, source_index)?;
    give_i64(mpi, timestamp, mpi.ticks())
}

/// Gives the program an info object without hints, unless it does not want one.
fn put_info<P: MpiPort>(mpi: &mut MpiCtx<P>, addr: GuestAddr) -> Answer {
    if addr.is_null() {
        return Ok(());
    }
    let handle = mpi.others.insert(OtherEntry::Info(Info::default()));
    put_i32(mpi, addr, handle.ok_or(abi::MPI_T_ERR_MEMORY)?)
}

fn give_i64<P: MpiPort>(mpi: &MpiCtx<P>, addr: GuestAddr, value: i64) -> Answer {
    give_bytes(mpi, addr, &value.to_le_bytes())
}

fn give_bytes<P: MpiPort>(mpi: &MpiCtx<P>, addr: GuestAddr, bytes: &[u8]) -> Answer {
    if addr.is_null() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    put(mpi, addr, bytes)
}

fn check_info<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> Answer {
    info::hints(mpi, handle).map(|_| ()).map_err(|_| abi::MPI_T_ERR_INVALID)
}

fn event_get_num<P: MpiPort>(mpi: &mut MpiCtx<P>, num_events: GuestAddr) -> Answer {
    state(mpi)?;
    give(mpi, num_events, EventType::ALL.len() as i32)
}

fn event_get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    event_index: i32,
    name: GuestAddr,
    name_len: GuestAddr,
    verbosity: GuestAddr,
    array_of_datatypes: GuestAddr,
    array_of_displacements: GuestAddr,
    num_elements: GuestAddr,
    enumtype: GuestAddr,
    info: GuestAddr,
    desc: GuestAddr,
    desc_len: GuestAddr,
    bind: GuestAddr,
) -> Answer {
    state(mpi)?;
    let what = *entry(&EventType::ALL, event_index)?;
    put_text(mpi, what.name(), name, name_len)?;
    put_text(mpi, what.about(), desc, desc_len)?;
    put_i32(mpi, verbosity, abi::MPI_T_VERBOSITY_USER_DETAIL)?;
    put_i32(mpi, enumtype, abi::MPI_T_ENUM_NULL)?;
    put_i32(mpi, bind, what.bind())?;
    if !num_elements.is_null() {
        let room = usize::try_from(read(mpi, num_elements)?).unwrap_or(0);
        for (index, (datatype, at)) in what.elements().iter().take(room).enumerate() {
            let place = |array: GuestAddr| match array.is_null() {
                true => array,
                false => GuestAddr::new(array.get() + 4 * index as u64),
            };
            put_i32(mpi, place(array_of_datatypes), datatype.handle())?;
            put_i32(mpi, place(array_of_displacements), *at as i32)?;
        }
        put_i32(mpi, num_elements, what.elements().len() as i32)?;
    }
    put_info(mpi, info)
}

fn event_get_index<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    wanted: GuestAddr,
    event_index: GuestAddr,
) -> Answer {
    state(mpi)?;
    let wanted = name(mpi, wanted)?;
    let found = EventType::ALL.iter().position(|one| one.name() == wanted);
    give(mpi, event_index, found.ok_or(abi::MPI_T_ERR_INVALID_NAME)? as i32)
}

fn handle_alloc<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    event_index: i32,
    obj_handle: GuestAddr,
    info: i32,
    event_registration: GuestAddr,
) -> Answer {
    state(mpi)?;
    let what = *entry(&EventType::ALL, event_index)?;
    check_info(mpi, info)?;
    let context = match what.bind() {
        abi::MPI_T_BIND_MPI_COMM => {
            let comm = read(mpi, obj_handle)?;
            let error_comm = mpi.error_comm;
            let found = mpi.comm(comm).map(|comm| comm.context);
            mpi.error_comm = error_comm;
            Some(found.map_err(|_| abi::MPI_T_ERR_INVALID_HANDLE)?)
        }
        _ => None,
    };
    let number = mpi.tool.number()?;
    give(mpi, event_registration, number)?;
    mpi.tool.events.register(number, what, context);
    mpi.expect_functions();
    Ok(())
}

fn registration<P: MpiPort>(mpi: &mut MpiCtx<P>, number: i32) -> Result<&mut Registration, i32> {
    state(mpi)?.events.registration(number).ok_or(abi::MPI_T_ERR_INVALID_HANDLE)
}

fn handle_set_info<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32, info: i32) -> Answer {
    registration(mpi, handle)?;
    check_info(mpi, info)
}

fn handle_get_info<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32, info_used: GuestAddr) -> Answer {
    registration(mpi, handle)?;
    if info_used.is_null() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    put_info(mpi, info_used)
}

/// Calls `free_cb_function(registration, safety, user_data)`, if there is one, when nothing else is called for the
/// registration any more.
async fn handle_free<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    user_data: GuestAddr,
    free_cb_function: i32,
) -> Ending {
    // Errors of this interface go to the caller.
    call.mpi().error_comm = abi::MPI_ERRORS_RETURN;
    if let Err(code) = registration(call.mpi(), handle) {
        let error = MpiError::new(ErrorClass::Other, "it is not a registration for events");
        return Ok(Err(MpiError { user_code: NonZeroI32::new(code), ..error }));
    }
    call.mpi().tool.events.remove(handle);
    if free_cb_function != 0 {
        let args = [handle, LEVELS[0], (user_data.get() as u32).cast_signed()];
        call.call_guest(free_cb_function.cast_unsigned(), &args).await?;
    }
    Ok(Ok(()))
}

/// The place of a level of safety among those that there are.
fn level(safety: i32) -> Result<usize, i32> {
    LEVELS.iter().position(|level| *level == safety).ok_or(abi::MPI_T_ERR_INVALID)
}

fn register_callback<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    handle: i32,
    cb_safety: i32,
    info: i32,
    user_data: GuestAddr,
    event_cb_function: i32,
) -> Answer {
    registration(mpi, handle)?;
    let level = level(cb_safety)?;
    check_info(mpi, info)?;
    let user_data = (user_data.get() as u32).cast_signed();
    let callback = Callback { function: event_cb_function.cast_unsigned(), user_data };
    registration(mpi, handle)?.callbacks[level] = (event_cb_function != 0).then_some(callback);
    Ok(())
}

fn check_callback<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32, cb_safety: i32) -> Answer {
    let own = registration(mpi, handle)?;
    match own.callbacks[level(cb_safety)?] {
        Some(_) => Ok(()),
        None => Err(abi::MPI_T_ERR_INVALID),
    }
}

fn callback_set_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    handle: i32,
    cb_safety: i32,
    info: i32,
) -> Answer {
    check_callback(mpi, handle, cb_safety)?;
    check_info(mpi, info)
}

fn callback_get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    handle: i32,
    cb_safety: i32,
    info_used: GuestAddr,
) -> Answer {
    check_callback(mpi, handle, cb_safety)?;
    handle_get_info(mpi, handle, info_used)
}

fn set_dropped_handler<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32, function: i32) -> Answer {
    registration(mpi, handle)?.dropped = function.cast_unsigned();
    Ok(())
}

/// The event that the running callback is told.
fn instance<P: MpiPort>(mpi: &mut MpiCtx<P>, number: i32) -> Result<Happened, i32> {
    state(mpi)?.events.instance(number).copied().ok_or(abi::MPI_T_ERR_INVALID_HANDLE)
}

/// The bytes of an element.
fn element(happened: &Happened, index: usize) -> Vec<u8> {
    let size = happened.what.elements()[index].0.size();
    happened.elements[index].to_le_bytes()[..size].to_vec()
}

fn event_read<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    event_instance: i32,
    element_index: i32,
    buffer: GuestAddr,
) -> Answer {
    let happened = instance(mpi, event_instance)?;
    let index = usize::try_from(element_index).map_err(|_| abi::MPI_T_ERR_INVALID_INDEX)?;
    if index >= happened.what.elements().len() {
        return Err(abi::MPI_T_ERR_INVALID_INDEX);
    }
    give_bytes(mpi, buffer, &element(&happened, index))
}

fn event_copy<P: MpiPort>(mpi: &mut MpiCtx<P>, event_instance: i32, buffer: GuestAddr) -> Answer {
    let happened = instance(mpi, event_instance)?;
    if buffer.is_null() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    for (index, (_, at)) in happened.what.elements().iter().enumerate() {
        give_bytes(mpi, GuestAddr::new(buffer.get() + at), &element(&happened, index))?;
    }
    Ok(())
}

fn event_get_timestamp<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    event_instance: i32,
    event_timestamp: GuestAddr,
) -> Answer {
    let happened = instance(mpi, event_instance)?;
    give_i64(mpi, event_timestamp, happened.timestamp)
}

fn event_get_source<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    event_instance: i32,
    source_index: GuestAddr,
) -> Answer {
    instance(mpi, event_instance)?;
    give(mpi, source_index, 0)
}
