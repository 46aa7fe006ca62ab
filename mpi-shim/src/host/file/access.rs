//! Reading and writing (MPI-5.0 section 14.4), in all their forms.
//!
//! Members of a blocking collective access on one node merge their pieces (`merged`). Elsewhere members need
//! not wait for each other, except for the order of the ranks; each moves its own data. Requests are
//! complete when the call returns.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::file::Items;
use faasm_vm::GuestAddr;

use super::converted::{self, Conversion};
use super::meeting::{exchange_in, settled};
use super::merged::{self, Wanted};
use super::pointer::{advance, check_random_access, enter, leave};
use super::transfer::{file_bytes, read, write};
use crate::abi::{self, Status};
use crate::call::{Call, MpiView};
use crate::file::{FileEntry, Split};
use crate::host::completion::put_status;
use crate::host::point_to_point::insert_complete;
use crate::request::{Buffer, Completion, State};

/// Moves data from the file to memory.
pub(super) const READ: u32 = 0;
/// Moves data from memory to the file.
pub(super) const WRITE: u32 = 1;
/// All members call it.
pub(super) const ALL: u32 = 2;
/// At the shared pointer.
pub(super) const SHARED: u32 = 4;
/// At the shared pointer, in the order of the ranks.
pub(super) const ORDERED: u32 = 8;
/// Gives a request.
pub(super) const REQUEST: u32 = 16;
/// At an explicit offset.
pub(super) const AT: u32 = 32;

/// With an explicit offset; `out` is a status or a request.
pub(super) async fn at<T: MpiView, const FLAGS: u32>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: i64,
    buf: GuestAddr,
    count: impl Into<i64> + Send,
    datatype: i32,
    out: GuestAddr,
) -> Result<()> {
    let data = (buf, count.into(), datatype);
    let status = Box::pin(access(call, fh, FLAGS, offset, data)).await?;
    finish(call, FLAGS, out, status)
}

/// At a file pointer; `out` is a status or a request.
pub(super) async fn here<T: MpiView, const FLAGS: u32>(
    call: &mut Call<'_, T>,
    fh: i32,
    buf: GuestAddr,
    count: impl Into<i64> + Send,
    datatype: i32,
    out: GuestAddr,
) -> Result<()> {
    let data = (buf, count.into(), datatype);
    let status = Box::pin(access(call, fh, FLAGS, 0, data)).await?;
    finish(call, FLAGS, out, status)
}

/// First half of a split collective with an explicit offset.
pub(super) async fn at_begin<T: MpiView, const FLAGS: u32>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: i64,
    buf: GuestAddr,
    count: impl Into<i64> + Send,
    datatype: i32,
) -> Result<()> {
    if call.mpi().file(fh)?.split.is_some() {
        let detail = "a split collective is under way on this file; end it first";
        return Err(MpiError::argument(ErrorClass::Other, "fh", detail));
    }
    let data = (buf, count.into(), datatype);
    let status = Box::pin(access(call, fh, FLAGS, offset, data)).await?;
    call.mpi().file(fh)?.split = Some(Split { flags: FLAGS, status });
    Ok(())
}

/// First half of a split collective at a file pointer.
pub(super) async fn begin<T: MpiView, const FLAGS: u32>(
    call: &mut Call<'_, T>,
    fh: i32,
    buf: GuestAddr,
    count: impl Into<i64> + Send,
    datatype: i32,
) -> Result<()> {
    at_begin::<T, FLAGS>(call, fh, 0, buf, count, datatype).await
}

/// Second half of a split collective.
pub(super) async fn end<T: MpiView, const FLAGS: u32>(
    call: &mut Call<'_, T>,
    fh: i32,
    _buf: GuestAddr,
    status: GuestAddr,
) -> Result<()> {
    let entry = call.mpi().file(fh)?;
    match entry.split.take() {
        Some(split) if split.flags == FLAGS => put_status(call, status, &split.status),
        other => {
            entry.split = other;
            let detail = "no split collective of this kind was begun on the file";
            Err(MpiError::argument(ErrorClass::Other, "fh", detail))
        }
    }
}

/// Hands a status or a complete request to the guest.
fn finish<T: MpiView>(
    call: &mut Call<'_, T>,
    flags: u32,
    out: GuestAddr,
    status: Status,
) -> Result<()> {
    if flags & REQUEST == 0 {
        return put_status(call, out, &status);
    }
    let mpi = call.mpi();
    let handle = insert_complete(mpi, abi::MPI_COMM_WORLD)?;
    if let Some(request) = mpi.requests.get_mut(handle) {
        request.state = State::Complete(Completion { status, error: None });
    }
    call.write_i32("request", out, handle)
}

/// Checks the arguments; gives the buffer.
fn check<T: MpiView>(
    call: &mut Call<'_, T>,
    entry: &FileEntry,
    flags: u32,
    (buf, count, datatype): (GuestAddr, i64, i32),
) -> Result<Buffer> {
    let wrong = |class, detail: &str| Err(MpiError::argument(class, "fh", detail));
    if flags & WRITE != 0 && entry.has(abi::MPI_MODE_RDONLY) {
        return wrong(ErrorClass::ReadOnly, "the file was opened with MPI_MODE_RDONLY");
    }
    if flags & WRITE == 0 && entry.has(abi::MPI_MODE_WRONLY) {
        return wrong(ErrorClass::Access, "the file was opened with MPI_MODE_WRONLY");
    }
    if count < 0 {
        let detail = format!("{count} is negative");
        return Err(MpiError::argument(ErrorClass::Count, "count", detail));
    }
    Ok(Buffer { addr: buf.get(), count, datatype: call.mpi().datatype(datatype)? })
}

/// What is to be moved, and how much of the file that is.
struct Checked {
    buffer: Buffer,
    /// Bytes in the file.
    bytes: u64,
    /// The data items, where the program's functions may convert them.
    items: Option<Items>,
}

/// Checks everything that can be wrong before data moves; asks the program how large its data is in the file if it has to.
async fn measure<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    entry: &mut FileEntry,
    flags: u32,
    data: (GuestAddr, i64, i32),
) -> Result<Checked> {
    let buffer = check(call, entry, flags, data)?;
    let (mut items, unit);
    let bytes = if entry.representation.is_known() {
        (items, unit) = (None, entry.view.etype_bytes());
        file_bytes(&entry.representation, &buffer)?
    } else {
        converted::resolve(call, fh, entry).await?;
        let extents = converted::extents(call, entry, &[&buffer.datatype]).await?;
        let all = extents.items(&buffer.datatype, buffer.count)?;
        let bytes = all.file_bytes();
        (items, unit) = (Some(all), entry.view.etype_bytes());
        bytes
    };
    if !bytes.is_multiple_of(unit) {
        let detail = format!("{bytes} bytes are not a multiple of the view's etype of {unit}");
        return Err(MpiError::argument(ErrorClass::Io, "count", detail));
    }
    if let Some(all) = &items
        && converted::function(call.mpi(), entry, flags, all)?.is_none()
    {
        items = None;
    }
    Ok(Checked { buffer, bytes, items })
}

async fn access<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    flags: u32,
    offset: i64,
    data: (GuestAddr, i64, i32),
) -> Result<Status> {
    let mut entry = call.mpi().file(fh)?.clone();
    if flags & (SHARED | ORDERED) == 0 {
        check_random_access(&entry)?;
    }
    let checked = measure(call, fh, &mut entry, flags, data).await;
    let entry = entry;
    let position = if flags & ORDERED != 0 {
        Ok(ordered(call, &entry, checked.as_ref().map(|checked| checked.bytes)).await?)
    } else if flags & SHARED != 0 {
        let bytes = checked.as_ref().map_err(Clone::clone)?.bytes;
        Ok(advance(call, &entry, bytes).await?)
    } else if flags & AT != 0 {
        entry.stream("offset", offset)
    } else {
        Ok(entry.position)
    };
    let mut items = None;
    let checked = position.and_then(|position| {
        let Checked { buffer, bytes, items: found } = checked?;
        items = found;
        Ok(Wanted { position, buffer, bytes })
    });
    let meets = flags & ALL != 0 && flags & REQUEST == 0 && entry.meets;
    let merged = if meets { merged::access(call, &entry, flags, &checked).await? } else { None };
    let Wanted { position, buffer, bytes } = checked?;
    if flags & (SHARED | ORDERED | AT) == 0 {
        // The standard moves the pointer by what was asked for, also at the end of the file.
        call.mpi().file(fh)?.position = position.saturating_add(bytes);
    }
    let moved = match merged {
        Some(moved) => moved,
        None => {
            enter(call, &entry).await?;
            let wanted = Wanted { position, buffer, bytes };
            let moved = match &items {
                Some(items) => {
                    let of = (&entry, items, data.2);
                    Box::pin(transfer_converted(call, flags, of, &wanted)).await
                }
                None => transfer(call, &entry, flags, &wanted),
            };
            leave(call, &entry).await.and(moved)?
        }
    };
    Ok(Status { source: 0, tag: 0, count_bytes: moved.cast_signed(), ..Status::EMPTY })
}

/// Moves this member's own data.
fn transfer<T: MpiView>(
    call: &mut Call<'_, T>,
    entry: &FileEntry,
    flags: u32,
    wanted: &Wanted,
) -> Result<u64> {
    let Wanted { position, buffer, bytes } = wanted;
    let memory = call.mpi().memory()?;
    let _alone = entry.is_atomic.then(|| entry.shared.alone());
    if flags & WRITE != 0 {
        write(memory, entry, *position, buffer, *bytes)
    } else {
        read(memory, entry, *position, buffer, *bytes)
    }
}

/// Moves this member's own data through the program's functions.
async fn transfer_converted<T: MpiView>(
    call: &mut Call<'_, T>,
    flags: u32,
    (entry, items, datatype): (&FileEntry, &Items, i32),
    wanted: &Wanted,
) -> Result<u64> {
    let Some(datarep) = converted::function(call.mpi(), entry, flags, items)? else {
        return transfer(call, entry, flags, wanted);
    };
    let conversion = Conversion { entry, datarep, items, wanted, datatype };
    match flags & WRITE {
        0 => conversion.read(call).await,
        _ => conversion.write(call).await,
    }
}

/// Where this member's data begins: behind that of the lower ranks.
async fn ordered<T: MpiView>(
    call: &mut Call<'_, T>,
    entry: &FileEntry,
    bytes: std::result::Result<u64, &MpiError>,
) -> Result<u64> {
    let (shared, is_spread) = (entry.shared.clone(), entry.keeper.is_some());
    // The first member, on whose node the pointer is, looks at it when nobody moves it any more.
    settled(call, entry).await?;
    let start = *shared.pointer();
    let input = bytes.map(|bytes| [bytes, start]).map_err(Clone::clone);
    let at = exchange_in(call, entry.comm, input, move |_, members: Vec<[u64; 2]>| {
        let mut pointer = shared.pointer();
        if let (Some(first), true) = (members.first(), is_spread) {
            *pointer = first[1];
        }
        Ok(members
            .into_iter()
            .map(|[bytes, _]| {
                let at = *pointer;
                *pointer = at.saturating_add(bytes);
                at
            })
            .collect())
    })
    .await?;
    settled(call, entry).await?;
    Ok(at)
}
