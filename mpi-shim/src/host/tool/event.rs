//! Events (MPI-5.0 section 15.3.8). The standard leaves it to the implementation which event types
//! there are; here there are none, and no sources, so every index and handle is invalid.

use faasm_vm::GuestAddr;

use super::{Answer, give, name, state};
use crate::abi;
use crate::ctx::MpiCtx;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Number of sources. Section 15.3.8.
    tool fn MPI_T_source_get_num(num_sources: GuestAddr) = none;
    /// What a source is. Section 15.3.8.
    tool fn MPI_T_source_get_info(source_index: i32, name: GuestAddr, name_len: GuestAddr, desc: GuestAddr, desc_len: GuestAddr, ordering: GuestAddr, ticks_per_second: GuestAddr, max_ticks: GuestAddr, info: GuestAddr) = source_get_info;
    /// The time of a source. Section 15.3.8.
    tool fn MPI_T_source_get_timestamp(source_index: i32, timestamp: GuestAddr) = of_index;
    /// Number of event types. Section 15.3.8.
    tool fn MPI_T_event_get_num(num_events: GuestAddr) = none;
    /// What an event type is. Section 15.3.8.
    tool fn MPI_T_event_get_info(event_index: i32, name: GuestAddr, name_len: GuestAddr, verbosity: GuestAddr, array_of_datatypes: GuestAddr, array_of_displacements: GuestAddr, num_elements: GuestAddr, enumtype: GuestAddr, info: GuestAddr, desc: GuestAddr, desc_len: GuestAddr, bind: GuestAddr) = event_get_info;
    /// The event type of a name. Section 15.3.8.
    tool fn MPI_T_event_get_index(name: GuestAddr, event_index: GuestAddr) = event_get_index;
    /// Registers for an event type. Section 15.3.8.
    tool fn MPI_T_event_handle_alloc(event_index: i32, obj_handle: GuestAddr, info: i32, event_registration: GuestAddr) = handle_alloc;
    /// Changes the hints of a registration. Section 15.3.8.
    tool fn MPI_T_event_handle_set_info(event_registration: i32, info: i32) = of_numbers;
    /// The hints of a registration. Section 15.3.8.
    tool fn MPI_T_event_handle_get_info(event_registration: i32, info_used: GuestAddr) = of_handle;
    /// Gives a registration up. Section 15.3.8.
    tool fn MPI_T_event_handle_free(event_registration: i32, user_data: GuestAddr, free_cb_function: i32) = handle_free;
    /// Sets what is called when an event happens. Section 15.3.8.
    tool fn MPI_T_event_register_callback(event_registration: i32, cb_safety: i32, info: i32, user_data: GuestAddr, event_cb_function: i32) = register_callback;
    /// Changes the hints of a callback. Section 15.3.8.
    tool fn MPI_T_event_callback_set_info(event_registration: i32, cb_safety: i32, info: i32) = callback_set_info;
    /// The hints of a callback. Section 15.3.8.
    tool fn MPI_T_event_callback_get_info(event_registration: i32, cb_safety: i32, info_used: GuestAddr) = callback_get_info;
    /// Sets what is called when events are dropped. Section 15.3.8.
    tool fn MPI_T_event_set_dropped_handler(event_registration: i32, dropped_cb_function: i32) = of_numbers;
    /// One element of an event. Section 15.3.8.
    tool fn MPI_T_event_read(event_instance: i32, element_index: i32, buffer: GuestAddr) = callback_get_info;
    /// All elements of an event. Section 15.3.8.
    tool fn MPI_T_event_copy(event_instance: i32, buffer: GuestAddr) = of_handle;
    /// The time of an event. Section 15.3.8.
    tool fn MPI_T_event_get_timestamp(event_instance: i32, event_timestamp: GuestAddr) = of_handle;
    /// The source of an event. Section 15.3.8.
    tool fn MPI_T_event_get_source(event_instance: i32, source_index: GuestAddr) = of_handle;
}

fn none<P: MpiPort>(mpi: &mut MpiCtx<P>, number: GuestAddr) -> Answer {
    state(mpi)?;
    give(mpi, number, 0)
}

/// The answer about an index: there is nothing that it could mean.
fn no_index<P: MpiPort>(mpi: &mut MpiCtx<P>) -> Answer {
    state(mpi)?;
    Err(abi::MPI_T_ERR_INVALID_INDEX)
}

/// The answer about a handle: nothing gives one.
fn no_handle<P: MpiPort>(mpi: &mut MpiCtx<P>) -> Answer {
    state(mpi)?;
    Err(abi::MPI_T_ERR_INVALID_HANDLE)
}

fn of_index<P: MpiPort>(mpi: &mut MpiCtx<P>, _index: i32, _out: GuestAddr) -> Answer {
    no_index(mpi)
}

fn of_handle<P: MpiPort>(mpi: &mut MpiCtx<P>, _handle: i32, _out: GuestAddr) -> Answer {
    no_handle(mpi)
}

fn of_numbers<P: MpiPort>(mpi: &mut MpiCtx<P>, _handle: i32, _other: i32) -> Answer {
    no_handle(mpi)
}

fn source_get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _source_index: i32,
    _name: GuestAddr,
    _name_len: GuestAddr,
    _desc: GuestAddr,
    _desc_len: GuestAddr,
    _ordering: GuestAddr,
    _ticks_per_second: GuestAddr,
    _max_ticks: GuestAddr,
    _info: GuestAddr,
) -> Answer {
    no_index(mpi)
}

fn event_get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _event_index: i32,
    _name: GuestAddr,
    _name_len: GuestAddr,
    _verbosity: GuestAddr,
    _array_of_datatypes: GuestAddr,
    _array_of_displacements: GuestAddr,
    _num_elements: GuestAddr,
    _enumtype: GuestAddr,
    _info: GuestAddr,
    _desc: GuestAddr,
    _desc_len: GuestAddr,
    _bind: GuestAddr,
) -> Answer {
    no_index(mpi)
}

fn event_get_index<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    wanted: GuestAddr,
    _index: GuestAddr,
) -> Answer {
    state(mpi)?;
    name(mpi, wanted)?;
    Err(abi::MPI_T_ERR_INVALID_NAME)
}

fn handle_alloc<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _event_index: i32,
    _obj_handle: GuestAddr,
    _info: i32,
    _event_registration: GuestAddr,
) -> Answer {
    no_index(mpi)
}

fn handle_free<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _event_registration: i32,
    _user_data: GuestAddr,
    _free_cb_function: i32,
) -> Answer {
    no_handle(mpi)
}

fn register_callback<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _event_registration: i32,
    _cb_safety: i32,
    _info: i32,
    _user_data: GuestAddr,
    _event_cb_function: i32,
) -> Answer {
    no_handle(mpi)
}

fn callback_set_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _event_registration: i32,
    _cb_safety: i32,
    _info: i32,
) -> Answer {
    no_handle(mpi)
}

fn callback_get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    _handle: i32,
    _number: i32,
    _out: GuestAddr,
) -> Answer {
    no_handle(mpi)
}
