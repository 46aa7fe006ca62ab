//! The members of a file's communicator agreeing on something.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

use crate::call::{Call, MpiView};
use crate::file::FileEntry;
use crate::host::communicator::{Maker, exchange};

/// Meets the members of `comm`; the error handler that counts stays as it is.
pub(super) async fn exchange_in<T: MpiView, O: Send + 'static>(
    call: &mut Call<'_, T>,
    comm: i32,
    input: Result<[u64; 2]>,
    combine: impl Fn(&mut Maker<'_>, Vec<[u64; 2]>) -> Result<Vec<O>> + Send + Sync,
) -> Result<O> {
    let handler = call.mpi().error_comm;
    let output = Box::pin(exchange(call, comm, input, combine)).await;
    call.mpi().error_comm = handler;
    output
}

/// Meets the members of `comm`, who must all give the same `value` for `argument`. `once` is done before
/// any goes on, on each node.
pub(super) async fn agree<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    argument: &'static str,
    value: Result<[u64; 2]>,
    once: impl Fn() + Send + Sync,
) -> Result<()> {
    exchange_in(call, comm, value, |_, values: Vec<[u64; 2]>| {
        let first = values.first().copied().unwrap_or_default();
        if let Some(other) = values.iter().position(|value| *value != first) {
            let detail = format!("ranks 0 and {other} gave different values");
            return Err(MpiError::argument(ErrorClass::NotSame, argument, detail));
        }
        once();
        Ok(vec![(); values.len()])
    })
    .await
}

/// Waits until every node has done what the members agreed on last: another node could otherwise be asked for the
/// shared pointer before that has moved there.
pub(super) async fn settled<T: MpiView>(call: &mut Call<'_, T>, entry: &FileEntry) -> Result<()> {
    match entry.keeper {
        Some(_) => agree(call, entry.comm, "fh", Ok([0; 2]), || ()).await,
        None => Ok(()),
    }
}
