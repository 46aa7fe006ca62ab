//! Making windows (MPI-5.0 section 12.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use faasm_mpi_engine::attribute::Attributes;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestAddr;

use super::shared;
use crate::abi;
use crate::call::{Call, Failure, MpiView};
use crate::ctx::{MpiCtx, OtherEntry};
use crate::host::communicator::{Made, Maker, exchange, install_unseen};
use crate::host::{collective, info};
use crate::port::MpiPort;
use crate::window::{Fence, Part, Segments, Shared, Window};

/// Where a member's memory comes from, as the program says.
#[derive(Copy, Clone, Debug)]
pub(super) enum Flavor {
    /// The program has it.
    Create { base: GuestAddr, size: i32, unit: i32 },
    /// From the program's heap.
    Allocate { size: i32, unit: i32, baseptr: GuestAddr },
    /// From the program's heap, on pages that all members share.
    Shared { size: i32, unit: i32, baseptr: GuestAddr },
    /// Attached later.
    Dynamic,
}

/// A member's memory and hints, once they are known to be right.
pub(super) struct Prepared {
    pub(super) part: Part,
    pub(super) allocated: Option<u32>,
    pub(super) segments: Option<Segments>,
    pub(super) hints: Info,
}

pub(super) fn checked_size(size: i32) -> Result<u32> {
    u32::try_from(size).map_err(|_| {
        let detail = format!("{size} is negative");
        MpiError::argument(ErrorClass::Size, "size", detail)
    })
}

pub(super) fn checked_unit(unit: i32) -> Result<u32> {
    u32::try_from(unit).ok().filter(|unit| *unit > 0).ok_or_else(|| {
        let detail = format!("{unit} is not a number of bytes greater than 0");
        MpiError::argument(ErrorClass::Disp, "disp_unit", detail)
    })
}

/// Whether the program has `len` bytes at `base`.
pub(super) fn check_memory<P: MpiPort>(mpi: &MpiCtx<P>, base: GuestAddr, len: u32) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    let wrong = |detail: String| MpiError::argument(ErrorClass::Base, "base", detail);
    if base.is_null() {
        return Err(wrong("the pointer is null; give the address of the memory".to_owned()));
    }
    mpi.memory()?.check(base, u64::from(len)).map_err(|fault| wrong(fault.to_string()))
}

/// Checks a member's own arguments and gets its memory. The outer error ends the program.
async fn prepare<T: MpiView>(
    call: &mut Call<'_, T>,
    flavor: Flavor,
    hints: i32,
) -> wasmtime::Result<Result<Prepared>> {
    let checked = info::hints(call.mpi(), hints).and_then(|hints| {
        let part = match flavor {
            Flavor::Dynamic => Part { base: 0, size: 0, unit: 1 },
            Flavor::Create { base, size, unit } => {
                let (size, unit) = (checked_size(size)?, checked_unit(unit)?);
                check_memory(call.mpi(), base, size)?;
                Part { base: base.get() as u32, size, unit }
            }
            Flavor::Allocate { size, unit, .. } | Flavor::Shared { size, unit, .. } => {
                Part { base: 0, size: checked_size(size)?, unit: checked_unit(unit)? }
            }
        };
        Ok(Prepared { part, allocated: None, segments: None, hints })
    });
    let mut prepared = match checked {
        Ok(prepared) => prepared,
        Err(error) => return Ok(Err(error)),
    };
    if matches!(flavor, Flavor::Allocate { .. }) {
        match call.allocate(prepared.part.size).await? {
            Ok(base) => {
                prepared.part.base = base;
                prepared.allocated = Some(base);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(prepared))
}

/// Makes a window with the other members of `comm`.
pub(super) async fn create<T: MpiView>(
    call: &mut Call<'_, T>,
    flavor: Flavor,
    hints: i32,
    comm: i32,
    win: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let communicator = call.mpi().intracomm(comm)?;
    let is_spread = communicator.site.elsewhere().is_some();
    let group = communicator.group.clone();
    // A member whose arguments are wrong still meets the others, so that the call fails everywhere.
    let prepared = match flavor {
        Flavor::Shared { size, unit, .. } => {
            shared::prepare(call, (size, unit), hints, comm).await??
        }
        _ => prepare(call, flavor, hints).await?,
    };
    call.mpi().error_comm = comm;
    let own = |part: Part| [part.base, part.size, part.unit];
    let input = prepared.as_ref().map(|prepared| own(prepared.part)).map_err(Clone::clone);
    let combine = |maker: &mut Maker<'_>, parts: Vec<[u32; 3]>| {
        let part = |[base, size, unit]: &[u32; 3]| Part { base: *base, size: *size, unit: *unit };
        let parts: Vec<Part> = parts.iter().map(part).collect();
        let made = maker.make(group.clone())?;
        let shared = Shared::new(group.clone(), &parts, matches!(flavor, Flavor::Dynamic));
        let shared = Arc::new(if is_spread { shared.spread() } else { shared });
        Ok((0..parts.len() as u32).map(|rank| (made.at(rank), shared.clone())).collect())
    };
    let mut made: Result<(Made, Arc<Shared>)> = exchange(call, comm, input, combine).await;
    if let (Ok((new, shared)), true) = (&made, is_spread) {
        // Nobody asks for the window before each node has it.
        let context = new.context;
        call.mpi().port.world().publish(context, shared.clone());
        if let Err(error) = collective::barrier(call, comm).await {
            call.mpi().port.world().withdraw(context);
            made = Err(error);
        }
        call.mpi().error_comm = comm;
    }
    let prepared = prepared?;
    match made.and_then(|(made, shared)| enter(call, (comm, made), shared, &prepared, flavor)) {
        Ok(handle) => {
            if let Flavor::Allocate { baseptr, .. } | Flavor::Shared { baseptr, .. } = flavor {
                call.write_i32("baseptr", baseptr, prepared.part.base.cast_signed())?;
            }
            call.write_i32("win", win, handle)?;
            Ok(())
        }
        Err(error) => {
            shared::withdraw(call, prepared.segments.as_ref())?;
            if let Some(block) = prepared.allocated {
                call.free(block).await?;
            }
            Err(error.into())
        }
    }
}

/// Enters the window and its communicator into the rank's tables.
fn enter<T: MpiView>(
    call: &mut Call<'_, T>,
    (parent, made): (i32, Made),
    shared: Arc<Shared>,
    prepared: &Prepared,
    flavor: Flavor,
) -> Result<i32> {
    let mpi = call.mpi();
    let communicator = made.communicator(mpi, parent)?;
    let (context, rank) = (communicator.context, communicator.rank);
    let comm = install_unseen(mpi, communicator)?;
    mpi.error_comm = parent;
    let window = Window {
        shared,
        comm,
        context,
        rank,
        flavor: match flavor {
            Flavor::Create { .. } => abi::MPI_WIN_FLAVOR_CREATE,
            Flavor::Allocate { .. } => abi::MPI_WIN_FLAVOR_ALLOCATE,
            Flavor::Shared { .. } => abi::MPI_WIN_FLAVOR_SHARED,
            Flavor::Dynamic => abi::MPI_WIN_FLAVOR_DYNAMIC,
        },
        allocated: prepared.allocated,
        segments: prepared.segments.clone(),
        values: None,
        fence: Fence::Closed,
        started: None,
        posted: None,
        locks: BTreeMap::new(),
        has_locked_all: false,
        flushes: 0,
        // Other than a communicator's, the handler is not that of the parent.
        errhandler: abi::MPI_ERRORS_ARE_FATAL,
        attributes: Attributes::default(),
        name: String::new(),
        info: prepared.hints.clone(),
    };
    window.bind(mpi.port.world());
    mpi.others
        .insert(OtherEntry::Window(Box::new(window)))
        .ok_or_else(|| MpiError::new(ErrorClass::NoMem, "a million windows are alive; free some"))
}
