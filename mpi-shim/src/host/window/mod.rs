//! One-sided communication (MPI-5.0 chapter 12).
//!
//! The ranks of a node reach each other's memory, so that an operation is complete, at its origin and at
//! its target, when its call returns; what is left for synchronisation is to wait. All windows have the
//! unified memory model. Accumulate calls hold a lock of the target's while they work on its memory.
//! Fences meet at a communicator of the window's own.
//!
//! Targets on other nodes are in `far`.

pub(super) mod accumulate;
pub(super) mod cache;
mod construct;
pub(super) mod far;
pub(super) mod passive;
pub(super) mod shared;
pub(super) mod synchronize;
pub(super) mod transfer;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, ending};
use crate::ctx::{MpiCtx, OtherEntry, bad_handle};
use crate::host::attribute::{self, Object};
use crate::host::fault::meet_the_living;
use crate::host::{collective, error, group, info};
use crate::port::{MpiPort, Pending};
use crate::table::host_functions;
use crate::window::{Fence, REGIONS_MAX, Window};

use construct::{Flavor, create};

host_functions! {
    /// A window of memory that the program has. Section 12.2.1.
    ending fn MPI_Win_create or MPI_Win_create_c(base: GuestAddr, size: i32, disp_unit: i32, info: i32, comm: i32, win: GuestAddr) = win_create;
    /// A window of new memory. Section 12.2.2.
    ending fn MPI_Win_allocate or MPI_Win_allocate_c(size: i32, disp_unit: i32, info: i32, comm: i32, baseptr: GuestAddr, win: GuestAddr) = win_allocate;
    /// A window whose memory is attached later. Section 12.2.4.
    ending fn MPI_Win_create_dynamic(info: i32, comm: i32, win: GuestAddr) = win_create_dynamic;
    /// Attaches memory to a dynamic window. Section 12.2.4.
    call fn MPI_Win_attach(win: i32, base: GuestAddr, size: i32) = win_attach;
    /// Detaches memory from a dynamic window. Section 12.2.4.
    call fn MPI_Win_detach(win: i32, base: GuestAddr) = win_detach;
    /// Frees a window; all members call it. Section 12.2.5.
    ending fn MPI_Win_free(win: GuestAddr) = win_free;
    /// The members. Section 12.2.6.
    call fn MPI_Win_get_group(win: i32, group: GuestAddr) = win_get_group;
    /// Replaces the hints. Section 12.2.7.
    call fn MPI_Win_set_info(win: i32, info: i32) = win_set_info;
    /// A copy of the hints. Section 12.2.7.
    call fn MPI_Win_get_info(win: i32, info_used: GuestAddr) = win_get_info;
    /// Sets the name. Section 7.8.
    call fn MPI_Win_set_name(win: i32, win_name: GuestAddr) = win_set_name;
    /// The name. Section 7.8.
    call fn MPI_Win_get_name(win: i32, win_name: GuestAddr, resultlen: GuestAddr) = win_get_name;
    /// Makes an error handler of a function. Section 9.3.2.
    ending fn MPI_Win_create_errhandler(win_errhandler_fn: i32, errhandler: GuestAddr) = win_create_errhandler;
    /// Attaches an error handler. Section 9.3.2.
    call fn MPI_Win_set_errhandler(win: i32, errhandler: i32) = win_set_errhandler;
    /// The attached error handler. Section 9.3.2.
    call fn MPI_Win_get_errhandler(win: i32, errhandler: GuestAddr) = win_get_errhandler;
    /// Calls the attached error handler. Section 9.5.
    ending fn MPI_Win_call_errhandler(win: i32, errorcode: i32) = win_call_errhandler;
}

/// The window behind `handle`, whose error handler counts from now on.
///
/// # Errors
/// `MPI_ERR_WIN` when it is null, freed or not a window.
pub(crate) fn window<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<&mut Window> {
    match mpi.others.get_mut(handle) {
        Some(OtherEntry::Window(window)) => {
            mpi.error_comm = handle;
            Ok(window)
        }
        _ => Err(bad_handle(ErrorClass::Win, "win", handle, abi::MPI_WIN_NULL)),
    }
}

fn wrong_synchronization(detail: &str) -> MpiError {
    MpiError::new(ErrorClass::RmaSync, detail)
}

/// Waits for all members at the window's own communicator.
async fn meet<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    let comm = window(call.mpi(), win)?.comm;
    let met = collective::barrier(call, comm).await;
    call.mpi().error_comm = win;
    met
}

/// Waits until `is_done`, which may need any member of the window.
async fn wait_for<T: MpiView>(
    call: &mut Call<'_, T>,
    pending: &Pending,
    members: &Group,
    is_done: &(dyn Fn() -> bool + Send + Sync),
) -> Result<()> {
    let ready = |mpi: &mut MpiCtx<T::Port>| match is_done() {
        true => Some(Ok(())),
        false => mpi.check_group(pending.context, members).err().map(Err),
    };
    call.wait(pending, is_done, ready).await
}

async fn win_create<T: MpiView>(
    call: &mut Call<'_, T>,
    base: GuestAddr,
    size: i32,
    disp_unit: i32,
    hints: i32,
    comm: i32,
    win: GuestAddr,
) -> Ending {
    let flavor = Flavor::Create { base, size, unit: disp_unit };
    ending(create(call, flavor, hints, comm, win).await)
}

async fn win_allocate<T: MpiView>(
    call: &mut Call<'_, T>,
    size: i32,
    disp_unit: i32,
    hints: i32,
    comm: i32,
    baseptr: GuestAddr,
    win: GuestAddr,
) -> Ending {
    let flavor = Flavor::Allocate { size, unit: disp_unit, baseptr };
    ending(create(call, flavor, hints, comm, win).await)
}

async fn win_create_dynamic<T: MpiView>(
    call: &mut Call<'_, T>,
    hints: i32,
    comm: i32,
    win: GuestAddr,
) -> Ending {
    ending(create(call, Flavor::Dynamic, hints, comm, win).await)
}

/// The window behind `win`, which must be a dynamic one.
fn dynamic<P: MpiPort>(mpi: &mut MpiCtx<P>, win: i32) -> Result<Window> {
    let window = window(mpi, win)?;
    if window.flavor != abi::MPI_WIN_FLAVOR_DYNAMIC {
        let detail = "memory is attached only to a window of MPI_Win_create_dynamic";
        return Err(MpiError::argument(ErrorClass::RmaFlavor, "win", detail));
    }
    Ok(window.clone())
}

async fn win_attach<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    base: GuestAddr,
    size: i32,
) -> Result<()> {
    let mpi = call.mpi();
    let window = dynamic(mpi, win)?;
    let len = construct::checked_size(size)?;
    construct::check_memory(mpi, base, len)?;
    let refused = |detail: &str| MpiError::argument(ErrorClass::RmaAttach, "base", detail);
    let mut regions = window.shared.member(window.rank).regions();
    let (start, end) = (base.get(), base.get() + u64::from(len));
    let before = regions.range(..end.max(start + 1)).next_back();
    if before.is_some_and(|(at, len)| at + len > start || *at == start) {
        return Err(refused("part of the memory is attached already; detach it first"));
    }
    if regions.len() >= REGIONS_MAX {
        let detail = format!("{REGIONS_MAX} regions are attached already; detach some");
        return Err(refused(&detail));
    }
    regions.insert(start, u64::from(len));
    Ok(())
}

async fn win_detach<T: MpiView>(call: &mut Call<'_, T>, win: i32, base: GuestAddr) -> Result<()> {
    let window = dynamic(call.mpi(), win)?;
    let removed = window.shared.member(window.rank).regions().remove(&base.get());
    removed.map(|_| ()).ok_or_else(|| {
        let detail = format!("no region attached to the window begins at {:#x}", base.get());
        MpiError::argument(ErrorClass::Base, "base", detail)
    })
}

async fn win_free<T: MpiView>(call: &mut Call<'_, T>, win: GuestAddr) -> Ending {
    ending(free(call, win).await)
}

async fn free<T: MpiView>(
    call: &mut Call<'_, T>,
    win: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let handle = call.read_i32("win", win)?;
    let own = window(call.mpi(), handle)?;
    let (in_epoch, comm) = (own.is_in_epoch() || own.fence == Fence::Used, own.comm);
    let (context, members) = (own.context, own.shared.group.clone());
    // An epoch in which a failed member is missed is given up with the window.
    if in_epoch && call.mpi().check_group(context, &members).is_ok() {
        let detail = "an epoch of the window is open; end it before MPI_Win_free";
        return Err(wrong_synchronization(detail).into());
    }
    attribute::delete_all(call, Object::Window(handle)).await?;
    let finished = far::finish(call, handle).await;
    // So is what was under way to one.
    if call.mpi().check_group(context, &members).is_ok() {
        finished?;
    }
    let met = meet_the_living(call, comm).await;
    let mpi = call.mpi();
    mpi.error_comm = handle;
    met?;
    let own = window(mpi, handle)?.clone();
    if own.shared.is_spread {
        mpi.port.world().withdraw(own.context);
    }
    mpi.port.world().unbind(own.context);
    mpi.others.remove(handle);
    mpi.error_comm = abi::MPI_COMM_SELF;
    error::detach(mpi, own.errhandler);
    if let Some(comm) = mpi.comms.remove(own.comm) {
        error::detach(mpi, comm.errhandler);
    }
    shared::withdraw(call, own.segments.as_ref())?;
    for block in [own.allocated, own.values].into_iter().flatten() {
        call.free(block).await?;
    }
    call.write_i32("win", win, abi::MPI_WIN_NULL)?;
    Ok(())
}

async fn win_get_group<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    newgroup: GuestAddr,
) -> Result<()> {
    let members = window(call.mpi(), win)?.shared.group.clone();
    group::put(call, "group", newgroup, members)
}

async fn win_set_info<T: MpiView>(call: &mut Call<'_, T>, win: i32, hints: i32) -> Result<()> {
    let mpi = call.mpi();
    window(mpi, win)?;
    let hints = info::info(mpi, hints)?;
    window(mpi, win)?.info = hints;
    Ok(())
}

async fn win_get_info<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    info_used: GuestAddr,
) -> Result<()> {
    let hints = window(call.mpi(), win)?.info.clone();
    info::put(call, "info_used", info_used, hints)
}

async fn win_set_name<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    win_name: GuestAddr,
) -> Result<()> {
    const NAME_BYTES_MAX: usize = 64 * 1024;
    window(call.mpi(), win)?;
    let mut name = call.read_string("win_name", win_name, NAME_BYTES_MAX)?;
    // The standard cuts longer names.
    let mut len = name.len().min(abi::MPI_MAX_OBJECT_NAME as usize - 1);
    while !name.is_char_boundary(len) {
        len -= 1;
    }
    name.truncate(len);
    window(call.mpi(), win)?.name = name;
    Ok(())
}

async fn win_get_name<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    win_name: GuestAddr,
    resultlen: GuestAddr,
) -> Result<()> {
    let name = match win {
        abi::MPI_WIN_NULL => "MPI_WIN_NULL".to_owned(),
        _ => window(call.mpi(), win)?.name.clone(),
    };
    let len = call.write_string("win_name", win_name, &name, abi::MPI_MAX_OBJECT_NAME as usize)?;
    call.write_i32("resultlen", resultlen, len as i32)
}

async fn win_create_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    function: i32,
    errhandler: GuestAddr,
) -> Ending {
    Ok(error::create(call, function, errhandler))
}

async fn win_set_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    errhandler: i32,
) -> Result<()> {
    let mpi = call.mpi();
    window(mpi, win)?;
    error::check_attachable(mpi, errhandler)?;
    error::attach(mpi, errhandler);
    let old = std::mem::replace(&mut window(mpi, win)?.errhandler, errhandler);
    error::detach(mpi, old);
    Ok(())
}

async fn win_get_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    errhandler: GuestAddr,
) -> Result<()> {
    let attached = window(call.mpi(), win)?.errhandler;
    error::give(call, attached, errhandler)
}

async fn win_call_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    errorcode: i32,
) -> Ending {
    ending(call_attached(call, win, errorcode).await)
}

async fn call_attached<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    errorcode: i32,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    window(call.mpi(), win)?;
    error::call_handler(call, win, errorcode).await
}
