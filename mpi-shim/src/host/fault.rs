//! Going on when processes fail: the functions of ULFM (User-Level Failure Mitigation), which Open MPI and MPICH offer
//! under the same names in `mpi-ext.h`.
//!
//! In a job that is run with `--with-ft ulfm` the end of a process is an error for those who need it:
//! `MPIX_ERR_PROC_FAILED` for messages from or to it and for collectives of a communicator that it is in,
//! `MPIX_ERR_PROC_FAILED_PENDING` for receives from any source, which stay as they are until the failure is
//! acknowledged. `MPIX_Comm_revoke` ends everything under way on a communicator with `MPIX_ERR_REVOKED` at all
//! members; shrinking and agreeing go on, with whoever is left, and so do `MPI_Finalize`, `MPI_Comm_disconnect`,
//! `MPI_Win_free` and `MPI_File_close`, which give something up: they succeed, and what the call frees is free.
//!
//! # Unfinished features
//! In a job over several nodes no deadlock is looked for once a node is lost; `--timeout` ends such a job.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestAddr;

use crate::call::{Call, MpiView, check_pointer};
use crate::ctx::{Interrupted, MpiCtx};
use crate::fault::Agreed;
use crate::host::collective::barrier;
use crate::host::completion::wait_own;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Ends everything under way on a communicator, at all its members.
    call fn MPIX_Comm_revoke(comm: i32) = comm_revoke;
    /// Whether a communicator is revoked.
    call fn MPIX_Comm_is_revoked(comm: i32, flag: GuestAddr) = comm_is_revoked;
    /// Makes a communicator of the members that have not failed.
    call fn MPIX_Comm_shrink(comm: i32, newcomm: GuestAddr) = comm_shrink;
    /// As `MPIX_Comm_shrink` without waiting.
    call fn MPIX_Comm_ishrink(comm: i32, newcomm: GuestAddr, request: GuestAddr) = comm_ishrink;
    /// Agrees on the bits that are set in the flags of all members that have not failed.
    call fn MPIX_Comm_agree(comm: i32, flag: GuestAddr) = comm_agree;
    /// As `MPIX_Comm_agree` without waiting.
    call fn MPIX_Comm_iagree(comm: i32, flag: GuestAddr, request: GuestAddr) = comm_iagree;
    /// Acknowledges all failures that are known.
    call fn MPIX_Comm_failure_ack(comm: i32) = comm_failure_ack;
    /// The group of the failed members that are acknowledged.
    call fn MPIX_Comm_failure_get_acked(comm: i32, failedgrp: GuestAddr) = comm_failure_get_acked;
    /// The group of the failed members that are known.
    call fn MPIX_Comm_get_failed(comm: i32, failedgrp: GuestAddr) = comm_get_failed;
    /// Acknowledges the first failures of those that are known.
    call fn MPIX_Comm_ack_failed(comm: i32, num_to_ack: i32, num_acked: GuestAddr) = comm_ack_failed;
}

async fn comm_revoke<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<()> {
    let context = call.mpi().comm(comm)?.context;
    if !call.mpi().faults.is_tolerant {
        let detail = "this job ends when one of its processes fails, and a communicator cannot be revoked; run it \
                      with `faasm-run --with-ft ulfm`";
        return Err(MpiError::new(ErrorClass::UnsupportedOperation, detail));
    }
    call.mpi().revoke(context);
    Ok(())
}

async fn comm_is_revoked<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    flag: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    mpi.progress();
    let context = mpi.comm(comm)?.context;
    let is_revoked = mpi.faults.known.is_revoked(context);
    call.write_i32("flag", flag, i32::from(is_revoked))?;
    if !is_revoked {
        // Programs ask until it is.
        call.yield_if_due().await;
    }
    Ok(())
}

async fn comm_shrink<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    check_pointer("newcomm", newcomm, 1)?;
    let handle = propose(call, comm, 0, Agreed::Communicator(newcomm.get()))?;
    wait_own(call, handle).await.error.map_or(Ok(()), Err)
}

async fn comm_ishrink<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    newcomm: GuestAddr,
    request: GuestAddr,
) -> Result<()> {
    check_pointer("newcomm", newcomm, 1)?;
    // The request's place is tried before the others hear of anything.
    call.write_i32("request", request, crate::abi::MPI_REQUEST_NULL)?;
    let handle = propose(call, comm, 0, Agreed::Communicator(newcomm.get()))?;
    call.write_i32("request", request, handle)
}

async fn comm_agree<T: MpiView>(call: &mut Call<'_, T>, comm: i32, flag: GuestAddr) -> Result<()> {
    let own = call.read_i32("flag", flag)?.cast_unsigned();
    let handle = propose(call, comm, own, Agreed::Flag(flag.get()))?;
    wait_own(call, handle).await.error.map_or(Ok(()), Err)
}

async fn comm_iagree<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    flag: GuestAddr,
    request: GuestAddr,
) -> Result<()> {
    let own = call.read_i32("flag", flag)?.cast_unsigned();
    call.write_i32("request", request, crate::abi::MPI_REQUEST_NULL)?;
    let handle = propose(call, comm, own, Agreed::Flag(flag.get()))?;
    call.write_i32("request", request, handle)
}

/// Waits for the members of `comm`, or for those of them that have not failed: for calls that give something up together,
/// which must not fail for that.
pub(crate) async fn meet_the_living<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<()> {
    if !call.mpi().faults.is_tolerant {
        return barrier(call, comm).await;
    }
    let handle = match call.resume() {
        Some(Interrupted::Request(handle)) => handle,
        _ => propose(call, comm, 0, Agreed::Nothing)?,
    };
    wait_own(call, handle).await.error.map_or(Ok(()), Err)
}

/// Whether an operation has ended because of a failure, at some member at least.
pub(crate) fn is_of_failure<R>(ended: &Result<R>) -> bool {
    let class = ended.as_ref().err().map(|error| error.class);
    matches!(class, Some(ErrorClass::ProcFailed | ErrorClass::Revoked))
}

/// Takes part in an agreement, with all that this process has heard of until now.
fn propose<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    flag: u32,
    result: Agreed,
) -> Result<i32> {
    let mpi = call.mpi();
    mpi.comm(comm)?;
    mpi.progress();
    mpi.propose(comm, flag, result)
}

async fn comm_failure_ack<T: MpiView>(call: &mut Call<'_, T>, comm: i32) -> Result<()> {
    let failed = failed_members(call.mpi(), comm)?.len();
    call.mpi().comm_mut(comm)?.acked = failed;
    Ok(())
}

async fn comm_failure_get_acked<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    failedgrp: GuestAddr,
) -> Result<()> {
    let mut failed = failed_members(call.mpi(), comm)?;
    failed.truncate(call.mpi().comm(comm)?.acked);
    put_group(call, failed, failedgrp)
}

async fn comm_get_failed<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    failedgrp: GuestAddr,
) -> Result<()> {
    let failed = failed_members(call.mpi(), comm)?;
    put_group(call, failed, failedgrp)
}

async fn comm_ack_failed<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    num_to_ack: i32,
    num_acked: GuestAddr,
) -> Result<()> {
    let failed = failed_members(call.mpi(), comm)?.len();
    let Ok(wanted) = usize::try_from(num_to_ack) else {
        let detail = format!("{num_to_ack} is negative");
        return Err(MpiError::argument(ErrorClass::Arg, "num_to_ack", detail));
    };
    check_pointer("num_acked", num_acked, 1)?;
    let communicator = call.mpi().comm_mut(comm)?;
    communicator.acked = communicator.acked.max(wanted.min(failed));
    let acked = communicator.acked as i32;
    call.write_i32("num_acked", num_acked, acked)
}

/// The failed processes of the communicator, of both groups where it has two, in the order in which they became known.
fn failed_members<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32) -> Result<Vec<u32>> {
    mpi.progress();
    let members = mpi.comm(comm)?.everyone().clone();
    Ok(mpi.faults.known.failed_of(&members).collect())
}

fn put_group<T: MpiView>(call: &mut Call<'_, T>, failed: Vec<u32>, addr: GuestAddr) -> Result<()> {
    check_pointer("failedgrp", addr, 1)?;
    let handle = if failed.is_empty() {
        crate::abi::MPI_GROUP_EMPTY
    } else {
        let handle = call.mpi().groups.insert(Group::new(failed)?);
        handle.ok_or_else(|| {
            MpiError::new(ErrorClass::NoMem, "a million groups are alive; free some")
        })?
    };
    call.write_i32("failedgrp", addr, handle)
}
