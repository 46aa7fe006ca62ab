//! How a call ends that does not return a result.

use faasm_mpi_engine::error::{MpiError, Result};

/// Why MPI ends the program.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MpiExit {
    /// `MPI_Abort` was called.
    #[error("MPI_Abort({comm}, {code}) was called")]
    Abort {
        /// The error code it was given.
        code: i32,
        /// Name of the communicator.
        comm: String,
    },
    /// An error met `MPI_ERRORS_ARE_FATAL` or `MPI_ERRORS_ABORT`.
    #[error(
        "{function} on {object} failed: {error}. The error handler there is \
             MPI_ERRORS_ARE_FATAL; correct the call, or set MPI_ERRORS_RETURN to handle it in the program"
    )]
    Fatal {
        /// The function.
        function: &'static str,
        /// Kind and name of the communicator or window.
        object: String,
        /// What was wrong.
        error: MpiError,
    },
}

/// Why a function that calls back into the program stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An MPI error, for the communicator's error handler.
    Mpi(MpiError),
    /// The end of the program: a trap in its callback.
    End(wasmtime::Error),
}

impl From<MpiError> for Failure {
    fn from(error: MpiError) -> Self {
        Self::Mpi(error)
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::End(error)
    }
}

/// What a host function of the kind `ending` returns.
pub(crate) type Ending = wasmtime::Result<Result<()>>;

/// Sorts a function's failure for [`Call::finish`].
pub(crate) fn ending(result: std::result::Result<(), Failure>) -> Ending {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(Failure::Mpi(error)) => Ok(Err(error)),
        Err(Failure::End(error)) => Err(error),
    }
}
