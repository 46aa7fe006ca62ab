//! Windows of memory that all members reach directly (MPI-5.0 section 12.2.3).
//!
//! The members' segments lie one behind the other in one region of pages, which every member has in its
//! own memory, at a place that its allocator gave: a load of one sees the store of another.

use std::sync::Arc;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::info::Info;
use faasm_vm::{GuestAddr, SharedRegion};

use super::construct::{Flavor, Prepared, checked_size, checked_unit, create};
use super::{passive, window};
use crate::abi;
use crate::call::{Call, Ending, MpiView, ending};
use crate::host::communicator::{Maker, exchange};
use crate::host::info;
use crate::table::host_functions;
use crate::window::{Part, Segments, Window};

host_functions! {
    /// A window of new memory that the members share. Section 12.2.3.
    ending fn MPI_Win_allocate_shared or MPI_Win_allocate_shared_c(size: i32, disp_unit: i32, info: i32, comm: i32, baseptr: GuestAddr, win: GuestAddr) = win_allocate_shared;
    /// Where a member's part of the window lies in this process's memory. Section 12.2.3.
    call fn MPI_Win_shared_query or MPI_Win_shared_query_c(win: i32, rank: i32, size: GuestAddr, disp_unit: GuestAddr, baseptr: GuestAddr) = win_shared_query;
}

async fn win_allocate_shared<T: MpiView>(
    call: &mut Call<'_, T>,
    size: i32,
    disp_unit: i32,
    hints: i32,
    comm: i32,
    baseptr: GuestAddr,
    win: GuestAddr,
) -> Ending {
    let flavor = Flavor::Shared { size, unit: disp_unit, baseptr };
    ending(create(call, flavor, hints, comm, win).await)
}

/// Whether the segments may lie apart, each on pages of its own.
fn may_lie_apart(hints: &Info) -> bool {
    matches!(hints.value("alloc_shared_noncontig"), Ok(Some("true")))
}

/// Finds out with the other members where all segments lie, and has their pages put into this rank's
/// memory. The outer error ends the program, the next one is every member's, the inner one is this
/// member's, which the others have to be told of.
pub(super) async fn prepare<T: MpiView>(
    call: &mut Call<'_, T>,
    (size, unit): (i32, i32),
    hints: i32,
    comm: i32,
) -> wasmtime::Result<Result<Result<Prepared>>> {
    let met = agree_on_layout(call, (size, unit), hints, comm).await;
    let (segments, region, rank, hints) = match met {
        Ok(met) => met,
        Err(error) => return Ok(Err(error)),
    };
    let mut part = Part { base: 0, size: size.cast_unsigned(), unit: unit.cast_unsigned() };
    let Some(region) = region else {
        let segments = Some(segments);
        return Ok(Ok(Ok(Prepared { part, allocated: None, segments, hints })));
    };
    let (block, start) = match place(call, &region).await? {
        Ok(place) => place,
        Err(error) => return Ok(Ok(Err(error))),
    };
    part.base = start + segments.layout.offset(rank);
    let segments = Some(Segments { start, ..segments });
    Ok(Ok(Ok(Prepared { part, allocated: Some(block), segments, hints })))
}

/// What the members agree on: the segments, wherever they begin, and the pages, if any; with it this member's rank and hints.
type Agreed = (Segments, Option<Arc<SharedRegion>>, u32, Info);

async fn agree_on_layout<T: MpiView>(
    call: &mut Call<'_, T>,
    (size, unit): (i32, i32),
    hints: i32,
    comm: i32,
) -> Result<Agreed> {
    let communicator = call.mpi().comm(comm)?;
    let rank = communicator.rank;
    if communicator.site.elsewhere().is_some() {
        let detail = "the communicator's members run on several nodes, which have no memory in common; \
                      use one that MPI_Comm_split_type with MPI_COMM_TYPE_SHARED gives";
        return Err(MpiError::argument(ErrorClass::RmaShared, "comm", detail));
    }
    let hints = info::hints(call.mpi(), hints);
    let input = hints.as_ref().map_err(Clone::clone).and_then(|hints| {
        checked_unit(unit)?;
        Ok([checked_size(size)?, u32::from(may_lie_apart(hints)), 0])
    });
    let combine = |_: &mut Maker<'_>, members: Vec<[u32; 3]>| {
        let is_apart = members.iter().all(|[_, apart, _]| *apart != 0);
        let sizes = members.iter().map(|[size, ..]| *size);
        let layout = Arc::new(Segments::layout(sizes, is_apart).ok_or_else(too_much)?);
        let region = match layout.bytes() {
            0 => None,
            bytes => Some(Arc::new(SharedRegion::new(bytes.into()).map_err(|cause| {
                let detail = format!("{bytes} bytes of shared memory cannot be had: {cause}");
                MpiError::argument(ErrorClass::NoMem, "size", detail)
            })?)),
        };
        Ok(vec![(Segments { start: 0, layout, is_apart }, region); members.len()])
    };
    let (segments, region) = exchange(call, comm, input, combine).await?;
    Ok((segments, region, rank, hints?))
}

fn too_much() -> MpiError {
    let detail = "all members' sizes together are more than a memory of 4 GiB can hold";
    MpiError::argument(ErrorClass::NoMem, "size", detail)
}

/// Puts the region's pages into this rank's memory; gives the block that was allocated for them and
/// where they begin.
async fn place<T: MpiView>(
    call: &mut Call<'_, T>,
    region: &SharedRegion,
) -> wasmtime::Result<Result<(u32, u32)>> {
    let alignment = SharedRegion::alignment() as u32;
    // Less than one page is lost before the first whole one.
    let Some(bytes) = u32::try_from(region.bytes()).ok().and_then(|b| b.checked_add(alignment - 1))
    else {
        return Ok(Err(too_much()));
    };
    let block = match call.allocate(bytes).await? {
        Ok(block) => block,
        Err(error) => return Ok(Err(error)),
    };
    let start = block.next_multiple_of(alignment);
    let memory = call.mpi().memory();
    let mapped = memory.and_then(|memory| {
        memory
            .map_shared(GuestAddr::from(start), region)
            .map_err(|cause| MpiError::argument(ErrorClass::NoMem, "size", cause.to_string()))
    });
    if let Err(error) = mapped {
        call.free(block).await?;
        return Ok(Err(error));
    }
    Ok(Ok((block, start)))
}

/// Takes the shared pages of a window out of this rank's memory.
pub(super) fn withdraw<T: MpiView>(
    call: &mut Call<'_, T>,
    segments: Option<&Segments>,
) -> Result<()> {
    let Some(segments) = segments.filter(|segments| segments.layout.bytes() > 0) else {
        return Ok(());
    };
    let taken = call.mpi().memory()?.unmap_shared(GuestAddr::from(segments.start));
    taken.map(|_| ()).map_err(|cause| {
        let detail = format!("the kernel does not take the shared pages back: {cause}");
        MpiError::new(ErrorClass::Other, detail)
    })
}

async fn win_shared_query<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    rank: i32,
    size: GuestAddr,
    disp_unit: GuestAddr,
    baseptr: GuestAddr,
) -> Result<()> {
    let own = window(call.mpi(), win)?;
    if own.flavor == abi::MPI_WIN_FLAVOR_DYNAMIC {
        let detail = "a window of MPI_Win_create_dynamic has no memory that could be asked for";
        return Err(MpiError::argument(ErrorClass::RmaFlavor, "win", detail));
    }
    let target = match passive::target(own, rank)? {
        Some(target) => target,
        None => first_with_memory(own),
    };
    let Part { size: bytes, unit, base } = reachable(own, target);
    call.write_i32("size", size, bytes.cast_signed())?;
    call.write_i32("disp_unit", disp_unit, unit.cast_signed())?;
    call.write_i32("baseptr", baseptr, base.cast_signed())
}

/// The lowest rank that brought memory; 0 where none did.
fn first_with_memory(own: &Window) -> u32 {
    let mut members = own.shared.members.iter();
    members.position(|member| member.part.size > 0).unwrap_or(0) as u32
}

/// The part of `target` as this rank reaches it: nothing where it has no way to it.
fn reachable(own: &Window, target: u32) -> Part {
    let part = own.shared.member(target).part;
    match &own.segments {
        Some(segments) => Part { base: segments.start + segments.layout.offset(target), ..part },
        None if target == own.rank => part,
        None => Part { base: 0, size: 0, ..part },
    }
}
