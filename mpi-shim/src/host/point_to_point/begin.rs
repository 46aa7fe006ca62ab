//! Requests are entered into the table, and their operations begin.

use faasm_mpi_engine::datatype::Predefined;
use faasm_mpi_engine::error::{MpiError, Result};

use crate::abi;
use crate::ctx::MpiCtx;
use crate::port::MpiPort;
use crate::request::{Buffer, Completion, Operation, Request, SendMode, State, too_many};

/// An active request with its other fields empty.
pub(in crate::host) const fn request(operation: Operation, buffer: Buffer, comm: i32) -> Request {
    Request {
        operation,
        buffer,
        tag: 0,
        comm,
        context: 0,
        peer: 0,
        state: State::Active,
        persistent: false,
        freed: false,
        cancelling: false,
        also: None,
    }
}

/// Enters a request into the table and starts it.
pub(super) fn start<P: MpiPort>(mpi: &mut MpiCtx<P>, request: Request) -> Result<i32> {
    let handle = insert(mpi, request)?;
    match begin(mpi, handle) {
        Ok(()) => Ok(handle),
        Err(error) => {
            mpi.requests.remove(handle);
            Err(error)
        }
    }
}

pub(in crate::host) fn insert<P: MpiPort>(mpi: &mut MpiCtx<P>, request: Request) -> Result<i32> {
    mpi.requests.insert(request).ok_or_else(too_many)
}

/// Starts the operation of a request that is in the table.
pub(super) fn begin<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<()> {
    if mpi.faults.is_active() {
        return begin_carefully(mpi, handle);
    }
    begin_safely(mpi, handle)?;
    // A failure that was heard of meanwhile did not find the operation under way.
    if mpi.faults.is_active() {
        mpi.settle(handle);
    }
    Ok(())
}

/// As [`begin`] when processes have failed or communicators are revoked: what can never end ends at once.
#[cold]
fn begin_carefully<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<()> {
    let Some(request) = mpi.requests.get(handle) else { return Ok(()) };
    let is_receive = matches!(request.operation, Operation::Receive { .. });
    if let Err(error) = mpi.faults.known.check_context(request.context) {
        mpi.complete(handle, Completion { status: abi::Status::EMPTY, error: Some(error) });
        return Ok(());
    }
    if !is_receive {
        mpi.settle(handle);
        let is_over = mpi.requests.get(handle).is_none_or(Request::is_done);
        return if is_over { Ok(()) } else { begin_safely(mpi, handle) };
    }
    // What was sent before the failure is received.
    begin_safely(mpi, handle)?;
    mpi.settle(handle);
    Ok(())
}

fn begin_safely<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<()> {
    let Some(request) = mpi.requests.get(handle) else { return Ok(()) };
    match request.operation {
        Operation::Receive { .. } => mpi.start_receive(handle),
        Operation::Collective(_)
        | Operation::Generalized(_)
        | Operation::Partitioned(_)
        | Operation::Agreement(_) => {}
        Operation::Send { .. } => {
            let request = request.clone();
            let eager_bytes_max = mpi.eager_bytes_max(request.peer);
            if mpi.start_send(&request, handle, eager_bytes_max)? {
                mpi.complete(handle, Completion::SENT);
            }
        }
    }
    Ok(())
}

/// A request for something that is complete already.
pub(crate) fn insert_complete<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32) -> Result<i32> {
    let operation = Operation::Send { mode: SendMode::Buffered, dest: abi::MPI_PROC_NULL };
    let buffer = Buffer { addr: 0, count: 0, datatype: Predefined::Byte.into() };
    let mut new = request(operation, buffer, comm);
    new.state = State::Complete(Completion::SENT);
    insert(mpi, new)
}

/// A request of an operation that has failed.
pub(crate) fn insert_failed<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    comm: i32,
    error: MpiError,
) -> Result<i32> {
    let handle = insert_complete(mpi, comm)?;
    if let Some(request) = mpi.requests.get_mut(handle) {
        let error = Some(error);
        request.state = State::Complete(Completion { status: abi::Status::EMPTY, error });
    }
    Ok(handle)
}
