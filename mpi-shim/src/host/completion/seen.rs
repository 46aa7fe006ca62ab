//! Looking at requests without completing them (MPI-5.0 section 3.7.6).

use faasm_vm::GuestAddr;

use super::{
    Outcome, any_done, element, handles, has_ended, is_complete, known, put_status, some_done,
};
use crate::abi::{self, Status};
use crate::call::{Call, MpiView};
use crate::ctx::MpiCtx;
use crate::host::generalized::inspect;
use crate::port::MpiPort;
use crate::request::{Operation, State};

/// The status a completion call would give now.
fn peek<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Option<Status> {
    if !has_ended(mpi, handle) {
        return None;
    }
    let Some(request) = mpi.requests.get_mut(handle) else { return Some(Status::EMPTY) };
    if let Operation::Collective(collective) = &mut request.operation {
        collective.is_seen = true;
    }
    Some(match &request.state {
        State::Complete(completion) => completion.status,
        _ => Status::EMPTY,
    })
}

pub(super) async fn request_get_status<T: MpiView>(
    call: &mut Call<'_, T>,
    request: i32,
    flag: GuestAddr,
    status: GuestAddr,
) -> Outcome {
    let mpi = call.mpi();
    if request != abi::MPI_REQUEST_NULL {
        known(mpi, request)?;
    }
    mpi.progress();
    inspect(call, &[request]).await?;
    let found = peek(call.mpi(), request);
    call.write_i32("flag", flag, i32::from(found.is_some()))?;
    match found {
        Some(found) => Ok(put_status(call, status, &found)?),
        None => {
            call.yield_if_due().await;
            Ok(())
        }
    }
}

pub(super) async fn request_get_status_all<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    requests: GuestAddr,
    flag: GuestAddr,
    statuses: GuestAddr,
) -> Outcome {
    let handles = handles(call, count, requests)?;
    call.mpi().progress();
    if handles.iter().all(|handle| is_complete(call.mpi(), *handle)) {
        inspect(call, &handles).await?;
    }
    let mpi = call.mpi();
    let found: Option<Vec<_>> = handles.iter().map(|handle| peek(mpi, *handle)).collect();
    call.write_i32("flag", flag, i32::from(found.is_some()))?;
    for (index, status) in found.iter().flatten().enumerate().filter(|_| !statuses.is_null()) {
        put_status(call, element(statuses, index, Status::SIZE_BYTES), status)?;
    }
    if found.is_none() {
        call.yield_if_due().await;
    }
    Ok(())
}

pub(super) async fn request_get_status_any<T: MpiView>(
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
    let position = found.flatten();
    let number = position.map_or(abi::MPI_UNDEFINED, |position| position as i32);
    call.write_i32("index", index, number)?;
    if found.is_none() {
        call.yield_if_due().await;
        return Ok(());
    }
    if let Some(position) = position {
        inspect(call, &[handles[position]]).await?;
    }
    let seen = position.and_then(|position| peek(call.mpi(), handles[position]));
    Ok(put_status(call, status, &seen.unwrap_or(Status::EMPTY))?)
}

pub(super) async fn request_get_status_some<T: MpiView>(
    call: &mut Call<'_, T>,
    incount: i32,
    requests: GuestAddr,
    outcount: GuestAddr,
    indices: GuestAddr,
    statuses: GuestAddr,
) -> Outcome {
    let handles = handles(call, incount, requests)?;
    call.mpi().progress();
    let Some(found) = some_done(call.mpi(), &handles) else {
        return Ok(call.write_i32("outcount", outcount, abi::MPI_UNDEFINED)?);
    };
    call.write_i32("outcount", outcount, found.len() as i32)?;
    let chosen: Vec<i32> = found.iter().map(|index| handles[*index]).collect();
    inspect(call, &chosen).await?;
    for (position, index) in found.iter().enumerate() {
        call.write_i32("array_of_indices", element(indices, position, 4), *index as i32)?;
        let status = peek(call.mpi(), handles[*index]).unwrap_or(Status::EMPTY);
        if !statuses.is_null() {
            put_status(call, element(statuses, position, Status::SIZE_BYTES), &status)?;
        }
    }
    if found.is_empty() {
        call.yield_if_due().await;
    }
    Ok(())
}
