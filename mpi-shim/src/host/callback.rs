//! Functions of the program that return an MPI error code, as those of attributes and generalized requests do.

use std::num::NonZeroI32;

use faasm_mpi_engine::error::{ErrorClass, MpiError};

use crate::abi;
use crate::call::{Call, Failure, MpiView};

/// Calls `function` of the guest and turns the error code that it returns into an error; `what` names it there.
pub(super) async fn call_back<T: MpiView>(
    call: &mut Call<'_, T>,
    what: impl FnOnce() -> String + Send,
    function: u32,
    args: &[i32],
) -> Result<(), Failure> {
    let error_comm = call.mpi().error_comm;
    let code = call.call_guest(function, args).await?.unwrap_or(abi::MPI_SUCCESS);
    // The function may have called MPI for other objects.
    call.mpi().error_comm = error_comm;
    if code == abi::MPI_SUCCESS {
        return Ok(());
    }
    let class = call.mpi().errors.class_of(code).ok().and_then(ErrorClass::from_code);
    let known = call.mpi().errors.class_of(code).is_ok();
    let detail = format!("{} returned error code {code}", what());
    let error = MpiError::new(class.unwrap_or(ErrorClass::Other), detail);
    let user_code = NonZeroI32::new(code).filter(|_| known);
    Err(MpiError { user_code, ..error }.into())
}
