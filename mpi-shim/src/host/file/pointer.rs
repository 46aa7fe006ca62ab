//! File pointers (MPI-5.0 sections 14.4.2 to 14.4.4).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::converted::resolve;
use super::meeting::{agree, settled};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::file::{Asked, FileEntry};
use crate::host::window::far::inquire;

/// Moves the shared pointer on by `bytes`; gives where it was.
pub(super) async fn advance<T: MpiView>(
    call: &mut Call<'_, T>,
    entry: &FileEntry,
    bytes: u64,
) -> Result<u64> {
    let Some(keeper) = entry.keeper else { return Ok(entry.shared.advance(bytes)) };
    let answer = inquire(call, (keeper, entry.context), &Asked::Advance(bytes).bytes()).await?;
    let before = answer.try_into().map(u64::from_le_bytes);
    before.map_err(|_| MpiError::new(ErrorClass::Intern, "another node's answer is malformed"))
}

/// Waits for this rank's turn in atomic mode, where members run on several nodes.
pub(super) async fn enter<T: MpiView>(call: &mut Call<'_, T>, entry: &FileEntry) -> Result<()> {
    let Some(keeper) = entry.keeper.filter(|_| entry.is_atomic) else { return Ok(()) };
    inquire(call, (keeper, entry.context), &Asked::Enter.bytes()).await.map(|_| ())
}

/// Gives the turn on.
pub(super) async fn leave<T: MpiView>(call: &mut Call<'_, T>, entry: &FileEntry) -> Result<()> {
    let Some(keeper) = entry.keeper.filter(|_| entry.is_atomic) else { return Ok(()) };
    inquire(call, (keeper, entry.context), &Asked::Leave.bytes()).await.map(|_| ())
}

/// Refuses explicit offsets and individual pointers of a sequential file.
pub(super) fn check_random_access(entry: &FileEntry) -> Result<()> {
    if entry.has(abi::MPI_MODE_SEQUENTIAL) {
        let detail = "a file opened with MPI_MODE_SEQUENTIAL has only its shared pointer";
        return Err(MpiError::argument(ErrorClass::UnsupportedOperation, "fh", detail));
    }
    Ok(())
}

/// The file with a view that tells where its data lies.
pub(super) async fn resolved<T: MpiView>(call: &mut Call<'_, T>, fh: i32) -> Result<FileEntry> {
    let mut entry = call.mpi().file(fh)?.clone();
    resolve(call, fh, &mut entry).await?;
    Ok(entry)
}

/// The position that a seek leads to.
fn target(entry: &FileEntry, current: u64, offset: i64, whence: i32) -> Result<u64> {
    let base = match whence {
        abi::MPI_SEEK_SET => 0,
        abi::MPI_SEEK_CUR => entry.etypes(current),
        abi::MPI_SEEK_END => {
            let bytes = entry.view.bytes_in(entry.file.size()?);
            bytes.div_ceil(entry.view.etype_bytes()).cast_signed()
        }
        _ => {
            let detail = format!("{whence} is not one of the MPI_SEEK constants");
            return Err(MpiError::argument(ErrorClass::Arg, "whence", detail));
        }
    };
    entry.stream("offset", base.saturating_add(offset))
}

pub(super) async fn seek<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: i64,
    whence: i32,
) -> Result<()> {
    let entry = resolved(call, fh).await?;
    check_random_access(&entry)?;
    let position = target(&entry, entry.position, offset, whence)?;
    call.mpi().file(fh)?.position = position;
    Ok(())
}

pub(super) async fn seek_shared<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: i64,
    whence: i32,
) -> Result<()> {
    let mut entry = call.mpi().file(fh)?.clone();
    let known = resolve(call, fh, &mut entry).await;
    let given = [offset.cast_unsigned(), u64::from(whence.cast_unsigned())];
    agree(call, entry.comm, "offset", Ok(given), || ()).await?;
    // Nobody moves the pointer before all know where it leads.
    let current = advance(call, &entry, 0).await;
    let current = known.and(current);
    let at = current.and_then(|current| target(&entry, current, offset, whence));
    let moved = at.clone().unwrap_or_default();
    let told = at.map(|_| [0; 2]);
    let shared = entry.shared.clone();
    agree(call, entry.comm, "offset", told, move || *shared.pointer() = moved).await?;
    settled(call, &entry).await
}

pub(super) async fn get_position<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: GuestAddr,
) -> Result<()> {
    let entry = resolved(call, fh).await?;
    check_random_access(&entry)?;
    let at = entry.etypes(entry.position);
    call.write("offset", offset, &at.to_le_bytes())
}

pub(super) async fn get_position_shared<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: GuestAddr,
) -> Result<()> {
    let entry = resolved(call, fh).await?;
    let at = entry.etypes(advance(call, &entry, 0).await?);
    call.write("offset", offset, &at.to_le_bytes())
}

pub(super) async fn get_byte_offset<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: i64,
    disp: GuestAddr,
) -> Result<()> {
    let entry = resolved(call, fh).await?;
    check_random_access(&entry)?;
    let position = entry.stream("offset", offset)?;
    let at = entry.view.byte_offset(position).ok_or_else(|| {
        let detail = format!("{offset} is no offset in a file");
        MpiError::argument(ErrorClass::Arg, "offset", detail)
    })?;
    call.write("disp", disp, &at.to_le_bytes())
}
