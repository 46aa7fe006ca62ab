//! Sizes, modes, hints and consistency of open files (MPI-5.0 sections 14.2 and 14.6).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::meeting::agree;
use crate::abi;
use crate::call::{Call, MpiView};
use crate::file_port::GuestFile;
use crate::host::{group, info};

/// Refuses to change a file that was opened for reading.
fn changeable<T: MpiView>(call: &mut Call<'_, T>, fh: i32) -> Result<()> {
    if call.mpi().file(fh)?.has(abi::MPI_MODE_RDONLY) {
        let detail = "the file was opened with MPI_MODE_RDONLY";
        return Err(MpiError::argument(ErrorClass::ReadOnly, "fh", detail));
    }
    Ok(())
}

/// Has the first member change the file's size, before any goes on.
async fn resize<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    size: i64,
    change: impl Fn(&dyn GuestFile, u64) -> Result<()> + Send,
) -> Result<()> {
    let comm = call.mpi().file(fh)?.comm;
    let bytes = u64::try_from(size)
        .map_err(|_| MpiError::argument(ErrorClass::Arg, "size", format!("{size} is negative")));
    let input = changeable(call, fh).and(bytes);
    let value = input.clone().map(|bytes| [bytes, 0]);
    agree(call, comm, "size", value, || ()).await?;
    let is_first = call.mpi().comm(comm)?.rank == 0;
    let file = call.mpi().file(fh)?.file.clone();
    let changed = if is_first { change(&*file, input?) } else { Ok(()) };
    agree(call, comm, "size", changed.map(|()| [0; 2]), || ()).await
}

pub(super) async fn set_size<T: MpiView>(call: &mut Call<'_, T>, fh: i32, size: i64) -> Result<()> {
    resize(call, fh, size, |file, bytes| file.set_size(bytes)).await
}

pub(super) async fn preallocate<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    size: i64,
) -> Result<()> {
    resize(call, fh, size, |file, bytes| file.preallocate(bytes)).await
}

pub(super) async fn get_size<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    size: GuestAddr,
) -> Result<()> {
    let bytes = call.mpi().file(fh)?.file.size()?;
    call.write("size", size, &bytes.to_le_bytes())
}

pub(super) async fn get_group<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    group: GuestAddr,
) -> Result<()> {
    let comm = call.mpi().file(fh)?.comm;
    let members = call.mpi().comm(comm)?.group.clone();
    call.mpi().error_comm = fh;
    group::put(call, "group", group, members)
}

pub(super) async fn get_amode<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    amode: GuestAddr,
) -> Result<()> {
    let value = call.mpi().file(fh)?.amode;
    call.write_i32("amode", amode, value)
}

pub(super) async fn set_info<T: MpiView>(call: &mut Call<'_, T>, fh: i32, info: i32) -> Result<()> {
    call.mpi().file(fh)?;
    let hints = info::hints(call.mpi(), info)?;
    call.mpi().file(fh)?.info = hints;
    Ok(())
}

pub(super) async fn get_info<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    info_used: GuestAddr,
) -> Result<()> {
    let hints = call.mpi().file(fh)?.info.clone();
    info::put(call, "info_used", info_used, hints)
}

pub(super) async fn set_atomicity<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    flag: i32,
) -> Result<()> {
    let comm = call.mpi().file(fh)?.comm;
    agree(call, comm, "flag", Ok([u64::from(flag != 0), 0]), || ()).await?;
    call.mpi().file(fh)?.is_atomic = flag != 0;
    Ok(())
}

pub(super) async fn get_atomicity<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    flag: GuestAddr,
) -> Result<()> {
    let value = call.mpi().file(fh)?.is_atomic;
    call.write_i32("flag", flag, value.into())
}

pub(super) async fn sync<T: MpiView>(call: &mut Call<'_, T>, fh: i32) -> Result<()> {
    let entry = call.mpi().file(fh)?;
    let (comm, file) = (entry.comm, entry.file.clone());
    agree(call, comm, "fh", file.sync().map(|()| [0; 2]), || ()).await
}
