//! Completion of requests (MPI-5.0 section 3.7.3 to 3.8.4): wait, test, free, cancel.

mod seen;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi::{self, Status};
use crate::call::{Call, Failure, MpiView};
use crate::ctx::{Interrupted, MpiCtx, bad_handle};
use crate::host::generalized::{self, settle};
use crate::port::{MpiPort, Pending};
use crate::request::{Completion, Operation, State};
use crate::table::host_functions;
use seen::{
    request_get_status, request_get_status_all, request_get_status_any, request_get_status_some,
};

host_functions! {
    /// Waits for one request. Section 3.7.3.
    calling fn MPI_Wait(request: GuestAddr, status: GuestAddr) = wait, at_once wait_at_once;
    /// Waits for all of several requests. Section 3.7.5.
    calling fn MPI_Waitall(count: i32, requests: GuestAddr, statuses: GuestAddr) = waitall, at_once;
    /// Waits for any of several requests. Section 3.7.5.
    calling fn MPI_Waitany(count: i32, requests: GuestAddr, index: GuestAddr, status: GuestAddr) = waitany, at_once;
    /// Waits for some of several requests. Section 3.7.5.
    calling fn MPI_Waitsome(incount: i32, requests: GuestAddr, outcount: GuestAddr, indices: GuestAddr, statuses: GuestAddr) = waitsome, at_once;
    /// Tests one request. Section 3.7.3.
    calling fn MPI_Test(request: GuestAddr, flag: GuestAddr, status: GuestAddr) = test, at_once;
    /// Tests whether all of several requests are complete. Section 3.7.5.
    calling fn MPI_Testall(count: i32, requests: GuestAddr, flag: GuestAddr, statuses: GuestAddr) = testall, at_once;
    /// Tests whether any of several requests is complete. Section 3.7.5.
    calling fn MPI_Testany(count: i32, requests: GuestAddr, index: GuestAddr, flag: GuestAddr, status: GuestAddr) = testany, at_once;
    /// Tests which of several requests are complete. Section 3.7.5.
    calling fn MPI_Testsome(incount: i32, requests: GuestAddr, outcount: GuestAddr, indices: GuestAddr, statuses: GuestAddr) = testsome, at_once;
    /// Gives a request up; its operation goes on. Section 3.7.3.
    calling fn MPI_Request_free(request: GuestAddr) = request_free;
    /// Looks at a request without completing it. Section 3.7.6.
    calling fn MPI_Request_get_status(request: i32, flag: GuestAddr, status: GuestAddr) = request_get_status;
    /// Looks at several requests without completing them. Section 3.7.6.
    calling fn MPI_Request_get_status_all(count: i32, requests: GuestAddr, flag: GuestAddr, statuses: GuestAddr) = request_get_status_all;
    /// Looks for any complete request without completing it. Section 3.7.6.
    calling fn MPI_Request_get_status_any(count: i32, requests: GuestAddr, index: GuestAddr, flag: GuestAddr, status: GuestAddr) = request_get_status_any;
    /// Looks for the complete requests without completing them. Section 3.7.6.
    calling fn MPI_Request_get_status_some(incount: i32, requests: GuestAddr, outcount: GuestAddr, indices: GuestAddr, statuses: GuestAddr) = request_get_status_some;
    /// Asks to cancel an operation. Section 3.8.4.
    calling fn MPI_Cancel(request: GuestAddr) = cancel;
}

/// What functions that may call back into the program return.
type Outcome = std::result::Result<(), Failure>;

/// Writes a status unless the guest ignores it; `MPI_ERROR` stays as it was.
#[inline]
pub(crate) fn put_status<T: MpiView>(
    call: &mut Call<'_, T>,
    addr: GuestAddr,
    status: &Status,
) -> Result<()> {
    if addr.is_null() {
        return Ok(());
    }
    let bytes = status.to_bytes();
    let after = Status::ERROR_OFFSET_BYTES + 4;
    call.write("status", addr, &bytes[..Status::ERROR_OFFSET_BYTES])?;
    call.write("status", GuestAddr::new(addr.get() + after as u64), &bytes[after..])
}

/// Waits for a request that is in the table, and takes it out or makes it inactive.
pub(crate) async fn wait_one<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Completion {
    if let Some(completion) = take(call.mpi(), handle) {
        return completion;
    }
    let pending = pending_of(call, handle);
    call.wait(&pending, &|| false, |mpi| take(mpi, handle)).await
}

/// As [`wait_one`] for a request that the program does not know.
pub(crate) async fn wait_own<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Completion {
    call.note(Interrupted::Request(handle));
    let completion = wait_one(call, handle).await;
    call.mpi().interrupted = None;
    completion
}

/// As [`wait_own`] for two; neither is taken before both have ended.
pub(crate) async fn wait_both<T: MpiView>(
    call: &mut Call<'_, T>,
    (first, second): (i32, i32),
) -> (Completion, Completion) {
    call.note(Interrupted::Pair(first, second));
    for handle in [first, second] {
        if !is_complete(call.mpi(), handle) {
            let pending = pending_of(call, handle);
            call.wait(&pending, &|| false, |mpi| is_complete(mpi, handle).then_some(())).await;
        }
    }
    call.mpi().interrupted = None;
    (wait_one(call, first).await, wait_one(call, second).await)
}

fn pending_of<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Pending {
    let function = call.function;
    match call.mpi().requests.get(handle) {
        Some(request) => {
            let peer = match &request.operation {
                Operation::Send { dest, .. } => *dest,
                Operation::Receive { source } => *source,
                Operation::Collective(collective) => {
                    let (function, context) = (collective.function, request.context);
                    call.mpi().attend(handle);
                    return Pending { function, peer: None, tag: None, context };
                }
                Operation::Partitioned(partitioned) => partitioned.peer,
                Operation::Generalized(_) | Operation::Agreement(_) => {
                    return Pending { function, peer: None, tag: None, context: request.context };
                }
            };
            let (tag, context) = (Some(request.tag), request.context);
            Pending { function, peer: Some(peer), tag, context }
        }
        None => Pending { function, peer: None, tag: None, context: 0 },
    }
}

/// Takes the result of a request that is done. A handle that names nothing is an empty result.
fn take<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Option<Completion> {
    let empty = Completion { status: Status::EMPTY, error: None };
    let Some(request) = mpi.requests.get_mut(handle) else { return Some(empty) };
    if !request.is_done() {
        let comm = request.comm;
        // Such a request stays as it is.
        let error = mpi.why_pending(handle)?;
        mpi.error_comm = comm;
        return Some(Completion { error: Some(error), ..empty });
    }
    if let Some(also) = request.also {
        let sent = take(mpi, also)?;
        let request = mpi.requests.get_mut(handle)?;
        request.also = None;
        if let (State::Complete(completion), Some(error)) = (&mut request.state, sent.error) {
            completion.error.get_or_insert(error);
        }
        return take(mpi, handle);
    }
    mpi.error_comm = request.comm;
    if request.persistent {
        return Some(match std::mem::replace(&mut request.state, State::Inactive) {
            State::Complete(completion) => completion,
            _ => empty,
        });
    }
    match mpi.requests.remove(handle)?.state {
        State::Complete(completion) => Some(completion),
        _ => Some(empty),
    }
}

/// Requests of the guest's array, checked: each is null or alive.
fn handles<T: MpiView>(call: &mut Call<'_, T>, count: i32, addr: GuestAddr) -> Result<Vec<i32>> {
    let count = MpiCtx::<T::Port>::count(count)? as usize;
    let handles = call.read_i32s("array_of_requests", addr, count)?;
    let mpi = call.mpi();
    for handle in &handles {
        if *handle != abi::MPI_REQUEST_NULL {
            known(mpi, *handle)?;
        }
    }
    Ok(handles)
}

/// The guest's request, checked: it is null or alive.
#[inline]
fn handle<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr) -> Result<i32> {
    let handle = call.read_i32("request", addr)?;
    if handle != abi::MPI_REQUEST_NULL {
        known(call.mpi(), handle)?;
    }
    Ok(handle)
}

fn known<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<()> {
    match mpi.requests.get(handle) {
        Some(request) => {
            mpi.error_comm = request.comm;
            Ok(())
        }
        None => Err(bad_handle(ErrorClass::Request, "request", handle, abi::MPI_REQUEST_NULL)),
    }
}

/// Whether the handle names a request that a completion call can complete: not null, not inactive.
fn is_active<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> bool {
    mpi.requests.get(handle).is_some_and(|request| !matches!(request.state, State::Inactive))
}

/// Whether a completion call has something to say about the request: it has ended, or may never end.
fn is_complete<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> bool {
    has_ended(mpi, handle) || mpi.why_pending(handle).is_some()
}

fn has_ended<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> bool {
    mpi.requests.get(handle).is_none_or(|request| {
        request.is_done() && request.also.is_none_or(|also| has_ended(mpi, also))
    })
}

/// Whether a request cannot end well because a process has failed or a communicator is revoked, so that others may
/// not end at all.
fn has_fault<P: MpiPort>(mpi: &MpiCtx<P>, handles: &[i32]) -> bool {
    let failed = |handle: &i32| match mpi.requests.get(*handle).map(|request| &request.state) {
        Some(State::Complete(Completion { error: Some(error), .. })) => {
            matches!(error.class, ErrorClass::ProcFailed | ErrorClass::Revoked)
        }
        _ => mpi.why_pending(*handle).is_some(),
    };
    mpi.faults.is_active() && handles.iter().any(failed)
}

/// Sets the guest's handle to null when its request is gone.
fn put_handle<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr, handle: i32) -> Result<()> {
    if call.mpi().requests.get(handle).is_some() {
        return Ok(());
    }
    call.write_i32("request", addr, abi::MPI_REQUEST_NULL)
}

const fn element(array: GuestAddr, index: usize, bytes: usize) -> GuestAddr {
    GuestAddr::new(array.get() + (index * bytes) as u64)
}

async fn wait<T: MpiView>(
    call: &mut Call<'_, T>,
    request: GuestAddr,
    status: GuestAddr,
) -> Outcome {
    let handle = handle(call, request)?;
    if call.mpi().generalized > 0 {
        let pending = pending_of(call, handle);
        call.wait(&pending, &|| false, |mpi| is_complete(mpi, handle).then_some(())).await;
        settle(call, &[handle]).await?;
    }
    let completion = wait_one(call, handle).await;
    put_handle(call, request, handle)?;
    put_status(call, status, &completion.status)?;
    completion.error.map_or(Ok(()), |error| Err(error.into()))
}

/// The usual case: no function of the program has to be asked.
fn wait_at_once<T: MpiView>(
    call: &mut Call<'_, T>,
    request: GuestAddr,
    status: GuestAddr,
) -> Option<Result<()>> {
    if call.mpi().generalized > 0 || !call.mpi().has_luck() {
        return None;
    }
    let handle = handle(call, request).ok()?;
    let mpi = call.mpi();
    let completion = loop {
        if let Some(completion) = take(mpi, handle) {
            break completion;
        }
        mpi.progress();
        match take(mpi, handle) {
            None if mpi.watches_well() => {}
            taken => break taken?,
        }
    };
    mpi.misses = 0;
    let told = put_handle(call, request, handle);
    let told = told.and_then(|()| put_status(call, status, &completion.status));
    Some(told.and(completion.error.map_or(Ok(()), Err)))
}

async fn test<T: MpiView>(
    call: &mut Call<'_, T>,
    request: GuestAddr,
    flag: GuestAddr,
    status: GuestAddr,
) -> Outcome {
    let handle = handle(call, request)?;
    call.mpi().progress();
    settle(call, &[handle]).await?;
    let done = take(call.mpi(), handle);
    call.write_i32("flag", flag, i32::from(done.is_some()))?;
    let Some(completion) = done else {
        call.yield_if_due().await;
        return Ok(());
    };
    put_handle(call, request, handle)?;
    put_status(call, status, &completion.status)?;
    completion.error.map_or(Ok(()), |error| Err(error.into()))
}

async fn waitall<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    requests: GuestAddr,
    statuses: GuestAddr,
) -> Outcome {
    let handles = handles(call, count, requests)?;
    for handle in &handles {
        if is_complete(call.mpi(), *handle) {
            continue;
        }
        let pending = pending_of(call, *handle);
        let handle = *handle;
        let is_hopeless = call
            .wait(&pending, &|| false, |mpi| match is_complete(mpi, handle) {
                true => Some(false),
                false => has_fault(mpi, &handles).then_some(true),
            })
            .await;
        if is_hopeless {
            break;
        }
    }
    complete_all(call, &handles, requests, statuses).await
}

/// Takes the results of requests that are all done.
async fn complete_all<T: MpiView>(
    call: &mut Call<'_, T>,
    handles: &[i32],
    requests: GuestAddr,
    statuses: GuestAddr,
) -> Outcome {
    settle(call, handles).await?;
    let mut results = Vec::new();
    for (index, handle) in handles.iter().enumerate() {
        let completion = take(call.mpi(), *handle).unwrap_or_else(unfinished);
        if *handle != abi::MPI_REQUEST_NULL {
            put_handle(call, element(requests, index, 4), *handle)?;
        }
        if !statuses.is_null() || completion.error.is_some() {
            results.push(completion);
        }
    }
    Ok(put_results(call, results, statuses)?)
}

/// What is said of a request that still goes on when others have failed.
fn unfinished() -> Completion {
    let detail = "another request has failed, and this one goes on";
    let error = Some(MpiError::new(ErrorClass::Pending, detail));
    Completion { status: Status::EMPTY, error }
}

/// Writes several statuses; with any error also their `MPI_ERROR`, and fails with `MPI_ERR_IN_STATUS`.
fn put_results<T: MpiView>(
    call: &mut Call<'_, T>,
    results: Vec<Completion>,
    statuses: GuestAddr,
) -> Result<()> {
    let failed = results.iter().filter_map(|result| result.error.as_ref()).next().cloned();
    if !statuses.is_null() {
        for (index, result) in results.iter().enumerate() {
            let at = element(statuses, index, Status::SIZE_BYTES);
            put_status(call, at, &result.status)?;
            if failed.is_some() {
                let error = result.error.as_ref().map_or(0, MpiError::code);
                let at = GuestAddr::new(at.get() + Status::ERROR_OFFSET_BYTES as u64);
                call.write_i32("array_of_statuses", at, error)?;
            }
        }
    }
    let in_status = |error| MpiError { class: ErrorClass::InStatus, user_code: None, ..error };
    failed.map_or(Ok(()), |error| Err(in_status(error)))
}

async fn testall<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    requests: GuestAddr,
    flag: GuestAddr,
    statuses: GuestAddr,
) -> Outcome {
    let handles = handles(call, count, requests)?;
    let mpi = call.mpi();
    mpi.progress();
    let done = handles.iter().all(|handle| is_complete(mpi, *handle)) || has_fault(mpi, &handles);
    call.write_i32("flag", flag, i32::from(done))?;
    if done {
        return complete_all(call, &handles, requests, statuses).await;
    }
    call.yield_if_due().await;
    Ok(())
}

/// The first active request that is done; `Some(None)` when no request is active.
fn any_done<P: MpiPort>(mpi: &MpiCtx<P>, handles: &[i32]) -> Option<Option<usize>> {
    let mut active = false;
    for (index, handle) in handles.iter().enumerate() {
        if is_active(mpi, *handle) {
            if is_complete(mpi, *handle) {
                return Some(Some(index));
            }
            active = true;
        }
    }
    (!active).then_some(None)
}

/// Completes request `index` of the array, or reports that none is active.
async fn complete_any<T: MpiView>(
    call: &mut Call<'_, T>,
    handles: &[i32],
    found: Option<usize>,
    requests: GuestAddr,
    (index_addr, status): (GuestAddr, GuestAddr),
) -> Outcome {
    let Some(index) = found else {
        call.write_i32("index", index_addr, abi::MPI_UNDEFINED)?;
        return Ok(put_status(call, status, &Status::EMPTY)?);
    };
    call.write_i32("index", index_addr, index as i32)?;
    let handle = handles[index];
    settle(call, &[handle]).await?;
    let completion =
        take(call.mpi(), handle).unwrap_or(Completion { status: Status::EMPTY, error: None });
    put_handle(call, element(requests, index, 4), handle)?;
    put_status(call, status, &completion.status)?;
    completion.error.map_or(Ok(()), |error| Err(error.into()))
}

async fn waitany<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    requests: GuestAddr,
    index: GuestAddr,
    status: GuestAddr,
) -> Outcome {
    let handles = handles(call, count, requests)?;
    let pending = first_pending(call, &handles);
    let found = call.wait(&pending, &|| false, |mpi| any_done(mpi, &handles)).await;
    complete_any(call, &handles, found, requests, (index, status)).await
}

fn first_pending<T: MpiView>(call: &mut Call<'_, T>, handles: &[i32]) -> Pending {
    let mpi = call.mpi();
    let first = handles.iter().copied().find(|handle| !is_complete(mpi, *handle));
    pending_of(call, first.unwrap_or(abi::MPI_REQUEST_NULL))
}

async fn testany<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    requests: GuestAddr,
    index: GuestAddr,
    flag: GuestAddr,
    status: GuestAddr,
) -> Outcome {
    let handles = handles(call, count, requests)?;
    call.mpi().progress();
    let found = any_done(call.mpi(), &handles);
    call.write_i32("flag", flag, i32::from(found.is_some()))?;
    match found {
        Some(found) => complete_any(call, &handles, found, requests, (index, status)).await,
        None => {
            call.write_i32("index", index, abi::MPI_UNDEFINED)?;
            call.yield_if_due().await;
            Ok(())
        }
    }
}

/// All active requests that are done; `None` when no request is active.
fn some_done<P: MpiPort>(mpi: &MpiCtx<P>, handles: &[i32]) -> Option<Vec<usize>> {
    let active = |index: &usize| is_active(mpi, handles[*index]);
    let mut found = (0..handles.len()).filter(active).peekable();
    found.peek()?;
    Some(found.filter(|index| is_complete(mpi, handles[*index])).collect())
}

/// Completes the requests at `found`, or reports that none is active.
async fn complete_some<T: MpiView>(
    call: &mut Call<'_, T>,
    handles: &[i32],
    found: Option<Vec<usize>>,
    requests: GuestAddr,
    (outcount, indices, statuses): (GuestAddr, GuestAddr, GuestAddr),
) -> Outcome {
    let Some(found) = found else {
        return Ok(call.write_i32("outcount", outcount, abi::MPI_UNDEFINED)?);
    };
    call.write_i32("outcount", outcount, found.len() as i32)?;
    let chosen: Vec<i32> = found.iter().map(|index| handles[*index]).collect();
    settle(call, &chosen).await?;
    let mut results = Vec::with_capacity(found.len());
    for (position, index) in found.into_iter().enumerate() {
        call.write_i32("array_of_indices", element(indices, position, 4), index as i32)?;
        let completion = take(call.mpi(), handles[index])
            .unwrap_or(Completion { status: Status::EMPTY, error: None });
        put_handle(call, element(requests, index, 4), handles[index])?;
        results.push(completion);
    }
    Ok(put_results(call, results, statuses)?)
}

async fn waitsome<T: MpiView>(
    call: &mut Call<'_, T>,
    incount: i32,
    requests: GuestAddr,
    outcount: GuestAddr,
    indices: GuestAddr,
    statuses: GuestAddr,
) -> Outcome {
    let handles = handles(call, incount, requests)?;
    let pending = first_pending(call, &handles);
    let ready = |mpi: &mut MpiCtx<T::Port>| match some_done(mpi, &handles) {
        Some(found) if found.is_empty() => None,
        found => Some(found),
    };
    let found = call.wait(&pending, &|| false, ready).await;
    complete_some(call, &handles, found, requests, (outcount, indices, statuses)).await
}

async fn testsome<T: MpiView>(
    call: &mut Call<'_, T>,
    incount: i32,
    requests: GuestAddr,
    outcount: GuestAddr,
    indices: GuestAddr,
    statuses: GuestAddr,
) -> Outcome {
    let handles = handles(call, incount, requests)?;
    call.mpi().progress();
    let found = some_done(call.mpi(), &handles);
    let fruitless = found.as_ref().is_some_and(Vec::is_empty);
    complete_some(call, &handles, found, requests, (outcount, indices, statuses)).await?;
    if fruitless {
        call.yield_if_due().await;
    }
    Ok(())
}

async fn request_free<T: MpiView>(call: &mut Call<'_, T>, request: GuestAddr) -> Outcome {
    let handle = call.read_i32("request", request)?;
    let mpi = call.mpi();
    known(mpi, handle)?;
    let is_active = is_active(mpi, handle);
    if is_collective(mpi, handle) && is_active && !is_seen(mpi, handle) {
        return Err(not_for_collectives("freed while it is active").into());
    }
    let is_partitioned = is_partitioned(mpi, handle);
    if is_partitioned && is_active {
        return Err(not_partitioned("freed while it is active").into());
    }
    call.write_i32("request", request, abi::MPI_REQUEST_NULL)?;
    if !generalized::give_up(call, handle).await? {
        let mpi = call.mpi();
        match mpi.requests.get_mut(handle) {
            // It still takes its sender's introduction, which no other receive must get.
            Some(entry) if mpi.partitioned.contains(&handle) => entry.freed = true,
            _ => give_up(mpi, handle),
        }
    }
    Ok(())
}

fn is_collective<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> bool {
    let operation = mpi.requests.get(handle).map(|request| &request.operation);
    matches!(operation, Some(Operation::Collective(_) | Operation::Agreement(_)))
}

fn is_partitioned<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> bool {
    let operation = mpi.requests.get(handle).map(|request| &request.operation);
    matches!(operation, Some(Operation::Partitioned(_)))
}

/// Whether the program knows that a non-blocking collective is over without having completed its request.
fn is_seen<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> bool {
    let request = mpi.requests.get(handle).filter(|request| !request.persistent);
    let operation = request.map(|request| &request.operation);
    matches!(operation, Some(Operation::Collective(collective)) if collective.is_seen)
}

/// Section 4.2: the peer relies on every partition.
fn not_partitioned(what: &str) -> MpiError {
    let detail = format!("a partitioned request cannot be {what}; complete it with MPI_Wait first");
    MpiError::argument(ErrorClass::Request, "request", detail)
}

/// Sections 6.12 and 6.13: other members rely on every member's part.
fn not_for_collectives(what: &str) -> MpiError {
    let detail = format!(
        "the request of a collective operation cannot be {what}; complete it with MPI_Wait first"
    );
    MpiError::argument(ErrorClass::Request, "request", detail)
}

/// Lets a request vanish as soon as it is done.
fn give_up<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) {
    let Some(request) = mpi.requests.get_mut(handle) else { return };
    request.freed = true;
    let (done, also) = (request.is_done(), request.also);
    if done {
        mpi.requests.remove(handle);
    }
    if let Some(also) = also {
        give_up(mpi, also);
    }
}

async fn cancel<T: MpiView>(call: &mut Call<'_, T>, request: GuestAddr) -> Outcome {
    let handle = call.read_i32("request", request)?;
    let mpi = call.mpi();
    known(mpi, handle)?;
    if is_collective(mpi, handle) {
        return Err(not_for_collectives("cancelled").into());
    }
    if is_partitioned(mpi, handle) {
        return Err(not_partitioned("cancelled").into());
    }
    if generalized::cancel(call, handle).await? {
        return Ok(());
    }
    let mpi = call.mpi();
    mpi.progress();
    let Some(entry) = mpi.requests.get_mut(handle) else { return Ok(()) };
    if entry.is_done() || std::mem::replace(&mut entry.cancelling, true) {
        return Ok(());
    }
    match entry.operation {
        Operation::Send { .. } => mpi.cancel_send(handle),
        Operation::Receive { .. } => {
            if mpi.matching.cancel(handle.cast_unsigned()) {
                let status = Status { cancelled: true, ..Status::EMPTY };
                mpi.complete(handle, Completion { status, error: None });
            }
        }
        Operation::Collective(_)
        | Operation::Generalized(_)
        | Operation::Partitioned(_)
        | Operation::Agreement(_) => {}
    }
    Ok(())
}
