//! Files (MPI-5.0 chapter 14), below the directories that the rank was given.
//!
//! A file has its own duplicate of the communicator. `View` of the engine says which bytes a process sees.

mod access;
mod converted;
mod handler;
mod manage;
mod meeting;
mod merged;
mod open;
mod pointer;
mod transfer;
mod view;

use faasm_vm::GuestAddr;

use crate::table::host_functions;
use access::{ALL, AT, ORDERED, READ, REQUEST, SHARED, WRITE, at, at_begin, begin, end, here};
use handler::{call_errhandler, create_errhandler, get_errhandler, set_errhandler};
use manage::{
    get_amode, get_atomicity, get_group, get_info, get_size, preallocate, set_atomicity, set_info,
    set_size, sync,
};
use open::{close, delete, open};
use pointer::{get_byte_offset, get_position, get_position_shared, seek, seek_shared};
use view::{get_type_extent, get_type_extent_c, get_view, register, set_view};

host_functions! {
    /// Opens a file; all members call it. Section 14.2.1.
    call fn MPI_File_open(comm: i32, filename: GuestAddr, amode: i32, info: i32, fh: GuestAddr) = open;
    /// Closes a file. Section 14.2.2.
    call fn MPI_File_close(fh: GuestAddr) = close;
    /// Deletes a file. Section 14.2.3.
    call fn MPI_File_delete(filename: GuestAddr, info: i32) = delete;
    /// Changes the size. Section 14.2.4.
    call fn MPI_File_set_size(fh: i32, size: i64) = set_size;
    /// Reserves room. Section 14.2.5.
    call fn MPI_File_preallocate(fh: i32, size: i64) = preallocate;
    /// The size. Section 14.2.6.
    call fn MPI_File_get_size(fh: i32, size: GuestAddr) = get_size;
    /// The group of the communicator. Section 14.2.7.
    call fn MPI_File_get_group(fh: i32, group: GuestAddr) = get_group;
    /// The access mode. Section 14.2.7.
    call fn MPI_File_get_amode(fh: i32, amode: GuestAddr) = get_amode;
    /// Sets hints. Section 14.2.8.
    call fn MPI_File_set_info(fh: i32, info: i32) = set_info;
    /// A copy of the hints. Section 14.2.8.
    call fn MPI_File_get_info(fh: i32, info_used: GuestAddr) = get_info;
    /// Changes the view. Section 14.3.
    call fn MPI_File_set_view(fh: i32, disp: i64, etype: i32, filetype: i32, datarep: GuestAddr, info: i32) = set_view;
    /// The view. Section 14.3.
    call fn MPI_File_get_view(fh: i32, disp: GuestAddr, etype: GuestAddr, filetype: GuestAddr, datarep: GuestAddr) = get_view;
    /// Moves the individual pointer. Section 14.4.3.
    call fn MPI_File_seek(fh: i32, offset: i64, whence: i32) = seek;
    /// The individual pointer. Section 14.4.3.
    call fn MPI_File_get_position(fh: i32, offset: GuestAddr) = get_position;
    /// Offset in the file of an offset in the view. Section 14.4.3.
    call fn MPI_File_get_byte_offset(fh: i32, offset: i64, disp: GuestAddr) = get_byte_offset;
    /// Moves the shared pointer. Section 14.4.4.
    call fn MPI_File_seek_shared(fh: i32, offset: i64, whence: i32) = seek_shared;
    /// The shared pointer. Section 14.4.4.
    call fn MPI_File_get_position_shared(fh: i32, offset: GuestAddr) = get_position_shared;
    /// Extent of a type in the file. Section 14.5.
    call fn MPI_File_get_type_extent(fh: i32, datatype: i32, extent: GuestAddr) = get_type_extent;
    /// Extent of a type in the file. Section 14.5.
    call fn MPI_File_get_type_extent_c(fh: i32, datatype: i32, extent: GuestAddr) = get_type_extent_c;
    /// Defines a data representation. Section 14.5.3.
    call fn MPI_Register_datarep or MPI_Register_datarep_c(datarep: GuestAddr, read_conversion_fn: i32, write_conversion_fn: i32, dtype_file_extent_fn: i32, extra_state: GuestAddr) = register;
    /// Makes conflicting accesses atomic, or not. Section 14.6.1.
    call fn MPI_File_set_atomicity(fh: i32, flag: i32) = set_atomicity;
    /// Whether they are atomic. Section 14.6.1.
    call fn MPI_File_get_atomicity(fh: i32, flag: GuestAddr) = get_atomicity;
    /// Brings what was written to the device. Section 14.6.1.
    call fn MPI_File_sync(fh: i32) = sync;
    /// Makes an error handler of a function. Section 9.3.3.
    ending fn MPI_File_create_errhandler(file_errhandler_fn: i32, errhandler: GuestAddr) = create_errhandler;
    /// Attaches an error handler. Section 9.3.3.
    call fn MPI_File_set_errhandler(file: i32, errhandler: i32) = set_errhandler;
    /// The attached error handler. Section 9.3.3.
    call fn MPI_File_get_errhandler(file: i32, errhandler: GuestAddr) = get_errhandler;
    /// Calls the attached error handler. Section 9.5.
    ending fn MPI_File_call_errhandler(fh: i32, errorcode: i32) = call_errhandler;
    /// Reads at the individual pointer, with a request. Section 14.4.3.
    call fn MPI_File_iread(fh: i32, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = here::<_, { READ | REQUEST }>;
    /// Reads at the individual pointer, with a request. Section 14.4.3.
    call fn MPI_File_iread_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = here::<_, { READ | REQUEST }>;
    /// Reads at the individual pointer, all members, with a request. Section 14.4.3.
    call fn MPI_File_iread_all(fh: i32, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = here::<_, { READ | ALL | REQUEST }>;
    /// Reads at the individual pointer, all members, with a request. Section 14.4.3.
    call fn MPI_File_iread_all_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = here::<_, { READ | ALL | REQUEST }>;
    /// Reads at an explicit offset, with a request. Section 14.4.2.
    call fn MPI_File_iread_at(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = at::<_, { READ | REQUEST | AT }>;
    /// Reads at an explicit offset, with a request. Section 14.4.2.
    call fn MPI_File_iread_at_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = at::<_, { READ | REQUEST | AT }>;
    /// Reads at an explicit offset, all members, with a request. Section 14.4.2.
    call fn MPI_File_iread_at_all(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = at::<_, { READ | ALL | REQUEST | AT }>;
    /// Reads at an explicit offset, all members, with a request. Section 14.4.2.
    call fn MPI_File_iread_at_all_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = at::<_, { READ | ALL | REQUEST | AT }>;
    /// Reads at the shared pointer, with a request. Section 14.4.4.
    call fn MPI_File_iread_shared(fh: i32, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = here::<_, { READ | SHARED | REQUEST }>;
    /// Reads at the shared pointer, with a request. Section 14.4.4.
    call fn MPI_File_iread_shared_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = here::<_, { READ | SHARED | REQUEST }>;
    /// Writes at the individual pointer, with a request. Section 14.4.3.
    call fn MPI_File_iwrite(fh: i32, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = here::<_, { WRITE | REQUEST }>;
    /// Writes at the individual pointer, with a request. Section 14.4.3.
    call fn MPI_File_iwrite_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = here::<_, { WRITE | REQUEST }>;
    /// Writes at the individual pointer, all members, with a request. Section 14.4.3.
    call fn MPI_File_iwrite_all(fh: i32, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = here::<_, { WRITE | ALL | REQUEST }>;
    /// Writes at the individual pointer, all members, with a request. Section 14.4.3.
    call fn MPI_File_iwrite_all_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = here::<_, { WRITE | ALL | REQUEST }>;
    /// Writes at an explicit offset, with a request. Section 14.4.2.
    call fn MPI_File_iwrite_at(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = at::<_, { WRITE | REQUEST | AT }>;
    /// Writes at an explicit offset, with a request. Section 14.4.2.
    call fn MPI_File_iwrite_at_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = at::<_, { WRITE | REQUEST | AT }>;
    /// Writes at an explicit offset, all members, with a request. Section 14.4.2.
    call fn MPI_File_iwrite_at_all(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = at::<_, { WRITE | ALL | REQUEST | AT }>;
    /// Writes at an explicit offset, all members, with a request. Section 14.4.2.
    call fn MPI_File_iwrite_at_all_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = at::<_, { WRITE | ALL | REQUEST | AT }>;
    /// Writes at the shared pointer, with a request. Section 14.4.4.
    call fn MPI_File_iwrite_shared(fh: i32, buf: GuestAddr, count: i32, datatype: i32, request: GuestAddr) = here::<_, { WRITE | SHARED | REQUEST }>;
    /// Writes at the shared pointer, with a request. Section 14.4.4.
    call fn MPI_File_iwrite_shared_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, request: GuestAddr) = here::<_, { WRITE | SHARED | REQUEST }>;
    /// Reads at the individual pointer. Section 14.4.3.
    call fn MPI_File_read(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { READ }>;
    /// Reads at the individual pointer. Section 14.4.3.
    call fn MPI_File_read_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { READ }>;
    /// Reads at the individual pointer, all members. Section 14.4.3.
    call fn MPI_File_read_all(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { READ | ALL }>;
    /// Reads at the individual pointer, all members. Section 14.4.3.
    call fn MPI_File_read_all_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { READ | ALL }>;
    /// Reads at the individual pointer, all members, first half. Section 14.4.5.
    call fn MPI_File_read_all_begin(fh: i32, buf: GuestAddr, count: i32, datatype: i32) = begin::<_, { READ | ALL }>;
    /// Reads at the individual pointer, all members, first half. Section 14.4.5.
    call fn MPI_File_read_all_begin_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32) = begin::<_, { READ | ALL }>;
    /// Reads at the individual pointer, all members, second half. Section 14.4.5.
    call fn MPI_File_read_all_end(fh: i32, buf: GuestAddr, status: GuestAddr) = end::<_, { READ | ALL }>;
    /// Reads at an explicit offset. Section 14.4.2.
    call fn MPI_File_read_at(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = at::<_, { READ | AT }>;
    /// Reads at an explicit offset. Section 14.4.2.
    call fn MPI_File_read_at_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = at::<_, { READ | AT }>;
    /// Reads at an explicit offset, all members. Section 14.4.2.
    call fn MPI_File_read_at_all(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = at::<_, { READ | ALL | AT }>;
    /// Reads at an explicit offset, all members. Section 14.4.2.
    call fn MPI_File_read_at_all_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = at::<_, { READ | ALL | AT }>;
    /// Reads at an explicit offset, all members, first half. Section 14.4.5.
    call fn MPI_File_read_at_all_begin(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32) = at_begin::<_, { READ | ALL | AT }>;
    /// Reads at an explicit offset, all members, first half. Section 14.4.5.
    call fn MPI_File_read_at_all_begin_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32) = at_begin::<_, { READ | ALL | AT }>;
    /// Reads at an explicit offset, all members, second half. Section 14.4.5.
    call fn MPI_File_read_at_all_end(fh: i32, buf: GuestAddr, status: GuestAddr) = end::<_, { READ | ALL | AT }>;
    /// Reads at the shared pointer, in the order of the ranks. Section 14.4.4.
    call fn MPI_File_read_ordered(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { READ | ORDERED }>;
    /// Reads at the shared pointer, in the order of the ranks. Section 14.4.4.
    call fn MPI_File_read_ordered_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { READ | ORDERED }>;
    /// Reads at the shared pointer, in the order of the ranks, first half. Section 14.4.5.
    call fn MPI_File_read_ordered_begin(fh: i32, buf: GuestAddr, count: i32, datatype: i32) = begin::<_, { READ | ORDERED }>;
    /// Reads at the shared pointer, in the order of the ranks, first half. Section 14.4.5.
    call fn MPI_File_read_ordered_begin_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32) = begin::<_, { READ | ORDERED }>;
    /// Reads at the shared pointer, in the order of the ranks, second half. Section 14.4.5.
    call fn MPI_File_read_ordered_end(fh: i32, buf: GuestAddr, status: GuestAddr) = end::<_, { READ | ORDERED }>;
    /// Reads at the shared pointer. Section 14.4.4.
    call fn MPI_File_read_shared(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { READ | SHARED }>;
    /// Reads at the shared pointer. Section 14.4.4.
    call fn MPI_File_read_shared_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { READ | SHARED }>;
    /// Writes at the individual pointer. Section 14.4.3.
    call fn MPI_File_write(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { WRITE }>;
    /// Writes at the individual pointer. Section 14.4.3.
    call fn MPI_File_write_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { WRITE }>;
    /// Writes at the individual pointer, all members. Section 14.4.3.
    call fn MPI_File_write_all(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { WRITE | ALL }>;
    /// Writes at the individual pointer, all members. Section 14.4.3.
    call fn MPI_File_write_all_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { WRITE | ALL }>;
    /// Writes at the individual pointer, all members, first half. Section 14.4.5.
    call fn MPI_File_write_all_begin(fh: i32, buf: GuestAddr, count: i32, datatype: i32) = begin::<_, { WRITE | ALL }>;
    /// Writes at the individual pointer, all members, first half. Section 14.4.5.
    call fn MPI_File_write_all_begin_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32) = begin::<_, { WRITE | ALL }>;
    /// Writes at the individual pointer, all members, second half. Section 14.4.5.
    call fn MPI_File_write_all_end(fh: i32, buf: GuestAddr, status: GuestAddr) = end::<_, { WRITE | ALL }>;
    /// Writes at an explicit offset. Section 14.4.2.
    call fn MPI_File_write_at(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = at::<_, { WRITE | AT }>;
    /// Writes at an explicit offset. Section 14.4.2.
    call fn MPI_File_write_at_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = at::<_, { WRITE | AT }>;
    /// Writes at an explicit offset, all members. Section 14.4.2.
    call fn MPI_File_write_at_all(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = at::<_, { WRITE | ALL | AT }>;
    /// Writes at an explicit offset, all members. Section 14.4.2.
    call fn MPI_File_write_at_all_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = at::<_, { WRITE | ALL | AT }>;
    /// Writes at an explicit offset, all members, first half. Section 14.4.5.
    call fn MPI_File_write_at_all_begin(fh: i32, offset: i64, buf: GuestAddr, count: i32, datatype: i32) = at_begin::<_, { WRITE | ALL | AT }>;
    /// Writes at an explicit offset, all members, first half. Section 14.4.5.
    call fn MPI_File_write_at_all_begin_c(fh: i32, offset: i64, buf: GuestAddr, count: i64, datatype: i32) = at_begin::<_, { WRITE | ALL | AT }>;
    /// Writes at an explicit offset, all members, second half. Section 14.4.5.
    call fn MPI_File_write_at_all_end(fh: i32, buf: GuestAddr, status: GuestAddr) = end::<_, { WRITE | ALL | AT }>;
    /// Writes at the shared pointer, in the order of the ranks. Section 14.4.4.
    call fn MPI_File_write_ordered(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { WRITE | ORDERED }>;
    /// Writes at the shared pointer, in the order of the ranks. Section 14.4.4.
    call fn MPI_File_write_ordered_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { WRITE | ORDERED }>;
    /// Writes at the shared pointer, in the order of the ranks, first half. Section 14.4.5.
    call fn MPI_File_write_ordered_begin(fh: i32, buf: GuestAddr, count: i32, datatype: i32) = begin::<_, { WRITE | ORDERED }>;
    /// Writes at the shared pointer, in the order of the ranks, first half. Section 14.4.5.
    call fn MPI_File_write_ordered_begin_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32) = begin::<_, { WRITE | ORDERED }>;
    /// Writes at the shared pointer, in the order of the ranks, second half. Section 14.4.5.
    call fn MPI_File_write_ordered_end(fh: i32, buf: GuestAddr, status: GuestAddr) = end::<_, { WRITE | ORDERED }>;
    /// Writes at the shared pointer. Section 14.4.4.
    call fn MPI_File_write_shared(fh: i32, buf: GuestAddr, count: i32, datatype: i32, status: GuestAddr) = here::<_, { WRITE | SHARED }>;
    /// Writes at the shared pointer. Section 14.4.4.
    call fn MPI_File_write_shared_c(fh: i32, buf: GuestAddr, count: i64, datatype: i32, status: GuestAddr) = here::<_, { WRITE | SHARED }>;
}
