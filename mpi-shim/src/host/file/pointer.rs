//! File pointers (MPI-5.0 sections 14.4.2 to 14.4.4).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::meeting::agree;
use crate::abi;
use crate::call::{Call, MpiView};
use crate::file::FileEntry;

/// Refuses what needs state that members share, where they run on several nodes.
pub(super) fn check_one_node<T: MpiView>(call: &mut Call<'_, T>, fh: i32) -> Result<()> {
    let comm = call.mpi().file(fh)?.comm;
    let is_spread = call.mpi().comm(comm)?.site.elsewhere().is_some();
    call.mpi().error_comm = fh;
    if is_spread {
        let detail = "shared file pointers and atomic mode need all members of the file on one node; \
                      use explicit offsets, or open the file on a communicator of one node \
                      (MPI_Comm_split_type)";
        return Err(MpiError::argument(ErrorClass::UnsupportedOperation, "fh", detail));
    }
    Ok(())
}

/// Refuses explicit offsets and individual pointers of a sequential file.
pub(super) fn check_random_access(entry: &FileEntry) -> Result<()> {
    if entry.has(abi::MPI_MODE_SEQUENTIAL) {
        let detail = "a file opened with MPI_MODE_SEQUENTIAL has only its shared pointer";
        return Err(MpiError::argument(ErrorClass::UnsupportedOperation, "fh", detail));
    }
    Ok(())
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
    let entry = call.mpi().file(fh)?;
    check_random_access(entry)?;
    entry.position = target(entry, entry.position, offset, whence)?;
    Ok(())
}

pub(super) async fn seek_shared<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: i64,
    whence: i32,
) -> Result<()> {
    check_one_node(call, fh)?;
    let entry = call.mpi().file(fh)?.clone();
    let given = [offset.cast_unsigned(), u64::from(whence.cast_unsigned())];
    agree(call, entry.comm, "offset", Ok(given), || ()).await?;
    // Nobody moves the pointer before all know where it leads.
    let at = target(&entry, *entry.shared.pointer(), offset, whence);
    let moved = at.clone().unwrap_or_default();
    let told = at.map(|_| [0; 2]);
    let shared = entry.shared.clone();
    agree(call, entry.comm, "offset", told, move || *shared.pointer() = moved).await
}

pub(super) async fn get_position<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: GuestAddr,
) -> Result<()> {
    let entry = call.mpi().file(fh)?;
    check_random_access(entry)?;
    let at = entry.etypes(entry.position);
    call.write("offset", offset, &at.to_le_bytes())
}

pub(super) async fn get_position_shared<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: GuestAddr,
) -> Result<()> {
    check_one_node(call, fh)?;
    let entry = call.mpi().file(fh)?;
    let at = entry.etypes(*entry.shared.pointer());
    call.write("offset", offset, &at.to_le_bytes())
}

pub(super) async fn get_byte_offset<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    offset: i64,
    disp: GuestAddr,
) -> Result<()> {
    let entry = call.mpi().file(fh)?;
    check_random_access(entry)?;
    let position = entry.stream("offset", offset)?;
    let at = entry.view.byte_offset(position).ok_or_else(|| {
        let detail = format!("{offset} is no offset in a file");
        MpiError::argument(ErrorClass::Arg, "offset", detail)
    })?;
    call.write("disp", disp, &at.to_le_bytes())
}
