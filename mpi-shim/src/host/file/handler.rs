//! Error handlers of files (MPI-5.0 sections 9.3.3 and 14.7).

use faasm_mpi_engine::error::Result;
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, ending};
use crate::ctx::MpiCtx;
use crate::host::error;
use crate::port::MpiPort;

/// The handler of a file, or of `MPI_FILE_NULL`, to change it.
fn attached<P: MpiPort>(mpi: &mut MpiCtx<P>, file: i32) -> Result<&mut i32> {
    if file == abi::MPI_FILE_NULL {
        mpi.error_comm = file;
        return Ok(&mut mpi.files.errhandler);
    }
    mpi.file(file).map(|entry| &mut entry.errhandler)
}

pub(super) async fn create_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    function: i32,
    errhandler: GuestAddr,
) -> Ending {
    Ok(error::create(call, function, errhandler))
}

pub(super) async fn set_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    file: i32,
    errhandler: i32,
) -> Result<()> {
    let mpi = call.mpi();
    attached(mpi, file)?;
    error::check_attachable(mpi, errhandler)?;
    error::attach(mpi, errhandler);
    let old = std::mem::replace(attached(mpi, file)?, errhandler);
    error::detach(mpi, old);
    Ok(())
}

pub(super) async fn get_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    file: i32,
    errhandler: GuestAddr,
) -> Result<()> {
    let handler = *attached(call.mpi(), file)?;
    error::give(call, handler, errhandler)
}

pub(super) async fn call_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    errorcode: i32,
) -> Ending {
    ending(call_attached(call, fh, errorcode).await)
}

async fn call_attached<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    errorcode: i32,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    attached(call.mpi(), fh)?;
    error::call_handler(call, fh, errorcode).await
}
