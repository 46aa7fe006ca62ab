//! Generalized requests (MPI-5.0 section 13.2): operations of the program itself.
//!
//! The program tells when one is over. Its query function fills the status in when a call completes or
//! looks at the request, and its free function ends the request.

use faasm_mpi_engine::datatype::Predefined;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi::{self, Status};
use crate::call::{Call, Failure, MpiView};
use crate::ctx::{MpiCtx, bad_handle};
use crate::host::callback::call_back;
use crate::host::point_to_point::{insert, request};
use crate::port::MpiPort;
use crate::request::{Buffer, Completion, Generalized, Operation, State};
use crate::table::host_functions;

host_functions! {
    /// Starts an operation of the program. Section 13.2.
    call fn MPI_Grequest_start(query_fn: i32, free_fn: i32, cancel_fn: i32, extra_state: i32, request: GuestAddr) = start;
    /// Tells that such an operation is over. Section 13.2.
    calling fn MPI_Grequest_complete(request: i32) = complete;
}

async fn start<T: MpiView>(
    call: &mut Call<'_, T>,
    query_fn: i32,
    free_fn: i32,
    cancel_fn: i32,
    extra_state: i32,
    addr: GuestAddr,
) -> Result<()> {
    let (query, free) = (function("query_fn", query_fn)?, function("free_fn", free_fn)?);
    let cancel = function("cancel_fn", cancel_fn)?;
    let operation =
        Operation::Generalized(Generalized { query, free, cancel, extra_state, is_over: false });
    let buffer = Buffer { addr: 0, count: 0, datatype: Predefined::Byte.into() };
    let handle = insert(call.mpi(), request(operation, buffer, abi::MPI_COMM_SELF))?;
    call.write_i32("request", addr, handle).inspect_err(|_| {
        call.mpi().requests.remove(handle);
    })?;
    call.mpi().generalized += 1;
    Ok(())
}

/// The program's function with this index.
fn function(argument: &'static str, index: i32) -> Result<u32> {
    if index == 0 {
        let detail = "the function pointer is null; give a function of the program";
        return Err(MpiError::argument(ErrorClass::Arg, argument, detail));
    }
    Ok(index.cast_unsigned())
}

async fn complete<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
) -> std::result::Result<(), Failure> {
    let mpi = call.mpi();
    let Some(request) = mpi.requests.get(handle) else {
        let null = abi::MPI_REQUEST_NULL;
        return Err(bad_handle(ErrorClass::Request, "request", handle, null).into());
    };
    let (Operation::Generalized(generalized), State::Active) = (&request.operation, &request.state)
    else {
        let detail = "it is not a generalized request that is under way; give one of \
                      MPI_Grequest_start, and each only once";
        return Err(MpiError::argument(ErrorClass::Request, "request", detail).into());
    };
    let (generalized, is_freed) = (*generalized, request.freed);
    mpi.complete(handle, Completion { status: Status::EMPTY, error: None });
    if is_freed {
        return release(call, generalized).await;
    }
    // A thread of the program may wait for it.
    let rank = mpi.port.rank();
    mpi.port.wake(rank);
    Ok(())
}

/// The generalized request behind `handle`, and whether it is complete.
fn generalized<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> Option<(Generalized, bool)> {
    let request = mpi.requests.get(handle)?;
    let Operation::Generalized(generalized) = request.operation else { return None };
    Some((generalized, matches!(request.state, State::Complete(_))))
}

/// Before the results of these requests are taken: lets the program fill in those of its own that
/// are complete, and ends them.
///
/// # Errors
/// A trap in the program's functions.
pub(super) async fn settle<T: MpiView>(
    call: &mut Call<'_, T>,
    handles: &[i32],
) -> std::result::Result<(), Failure> {
    if call.mpi().generalized > 0 {
        Box::pin(ask_all(call, handles, true)).await?;
    }
    Ok(())
}

/// As [`settle`] for a call that only looks at requests.
///
/// # Errors
/// A trap in the program's functions.
pub(super) async fn inspect<T: MpiView>(
    call: &mut Call<'_, T>,
    handles: &[i32],
) -> std::result::Result<(), Failure> {
    if call.mpi().generalized > 0 {
        Box::pin(ask_all(call, handles, false)).await?;
    }
    Ok(())
}

async fn ask_all<T: MpiView>(
    call: &mut Call<'_, T>,
    handles: &[i32],
    is_end: bool,
) -> std::result::Result<(), Failure> {
    for handle in handles {
        let Some((entry, true)) = generalized(call.mpi(), *handle) else { continue };
        if entry.is_over {
            continue;
        }
        let error_comm = call.mpi().error_comm;
        let mut completion = query(call, entry).await?;
        if is_end {
            mark_over(call.mpi(), *handle);
            match release(call, entry).await {
                Err(Failure::Mpi(error)) => _ = completion.error.get_or_insert(error),
                other => other?,
            }
        }
        let mpi = call.mpi();
        mpi.error_comm = error_comm;
        if let Some(request) = mpi.requests.get_mut(*handle) {
            request.state = State::Complete(completion);
        }
    }
    Ok(())
}

/// The free function runs once, even where the request is twice in an array.
fn mark_over<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) {
    if let Some(request) = mpi.requests.get_mut(handle)
        && let Operation::Generalized(generalized) = &mut request.operation
    {
        generalized.is_over = true;
    }
}

/// Has the program fill in the status.
async fn query<T: MpiView>(
    call: &mut Call<'_, T>,
    generalized: Generalized,
) -> std::result::Result<Completion, Failure> {
    let scratch = call.allocate(Status::SIZE_BYTES as u32).await??;
    let at = GuestAddr::from(scratch);
    call.write("scratch", at, &Status::EMPTY.to_bytes())?;
    let args = [generalized.extra_state, scratch.cast_signed()];
    let answer = call_back(call, || named("query"), generalized.query, &args).await;
    let bytes = call.read_bytes("scratch", at, Status::SIZE_BYTES)?;
    call.free(scratch).await?;
    let status = bytes.first_chunk().map_or(Status::EMPTY, Status::from_bytes);
    match answer {
        Ok(()) => Ok(Completion { status, error: None }),
        Err(Failure::Mpi(error)) => Ok(Completion { status, error: Some(error) }),
        Err(end) => Err(end),
    }
}

/// Ends a request: runs its free function.
async fn release<T: MpiView>(
    call: &mut Call<'_, T>,
    generalized: Generalized,
) -> std::result::Result<(), Failure> {
    call.mpi().generalized -= 1;
    call_back(call, || named("free"), generalized.free, &[generalized.extra_state]).await
}

/// Gives a generalized request up; `false` if the request is of another kind.
///
/// # Errors
/// Those of its free function.
pub(super) async fn give_up<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
) -> std::result::Result<bool, Failure> {
    let Some((entry, is_complete)) = generalized(call.mpi(), handle) else { return Ok(false) };
    if is_complete {
        call.mpi().requests.remove(handle);
        Box::pin(release(call, entry)).await?;
    } else if let Some(request) = call.mpi().requests.get_mut(handle) {
        request.freed = true;
    }
    Ok(true)
}

/// Asks the program to cancel a generalized request; `false` if the request is of another kind.
///
/// # Errors
/// Those of its cancel function.
pub(super) async fn cancel<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
) -> std::result::Result<bool, Failure> {
    let Some((entry, is_complete)) = generalized(call.mpi(), handle) else { return Ok(false) };
    let args = [entry.extra_state, i32::from(is_complete)];
    Box::pin(call_back(call, || named("cancel"), entry.cancel, &args)).await?;
    Ok(true)
}

/// What a function of the program is called in messages.
fn named(kind: &str) -> String {
    format!("the {kind} function of a generalized request")
}
