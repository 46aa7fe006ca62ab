//! Calling a reduction's operator that is a function of the program (MPI-5.0 section 6.9.5).

use faasm_mpi_engine::datatype::{Datatype, pack_window, unpack_window};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::{Call, Failure, MpiView, ending};
use crate::ctx::{Bytes, DatatypeEntry, MpiCtx};
use crate::port::MpiPort;
use crate::request::UserOperator;

/// Bytes that the length and the datatype of an operator's call take, kept 16-byte aligned.
pub(crate) const ARGUMENTS_BYTES: u32 = 16;

/// Calls `function(invec, inoutvec, &len, &datatype)`, with the last two in the [`ARGUMENTS_BYTES`] at
/// `scratch`.
///
/// # Errors
/// A trap of the function; `MPI_ERR_COUNT` when it takes a C `int` and `len` is none.
pub(crate) async fn call_operator<T: MpiView>(
    call: &mut Call<'_, T>,
    user: UserOperator,
    (invec, inoutvec): (i32, i32),
    len: i64,
    scratch: u32,
) -> std::result::Result<(), Failure> {
    let (len_at, datatype_at) = (scratch, scratch + 8);
    let bytes = match (user.large, i32::try_from(len)) {
        (true, _) => len.to_le_bytes().to_vec(),
        (false, Ok(len)) => len.to_le_bytes().to_vec(),
        (false, Err(_)) => {
            let detail = format!(
                "{len} elements are more than the operator's int holds; make the operator with \
                 MPI_Op_create_c"
            );
            return Err(MpiError::argument(ErrorClass::Count, "count", detail).into());
        }
    };
    call.write("len", GuestAddr::from(len_at), &bytes)?;
    call.write_i32("datatype", GuestAddr::from(datatype_at), user.datatype)?;
    let args = [invec, inoutvec, len_at.cast_signed(), datatype_at.cast_signed()];
    call.call_guest(user.function, &args).await?;
    Ok(())
}

/// The operator with a handle of its datatype that is valid: the program may have given its own one up since it started
/// the reduction. To be given to [`take_back`] after the operator's calls.
pub(crate) fn lend<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    user: UserOperator,
    datatype: &Datatype,
) -> Result<UserOperator> {
    if mpi.any_datatype(user.datatype).is_ok_and(|named| named.is_same(datatype)) {
        return Ok(user);
    }
    let handle = mpi.datatypes.insert(DatatypeEntry::new(datatype.clone())).ok_or_else(|| {
        let detail = "a million datatypes are alive already; free some with MPI_Type_free";
        MpiError::new(ErrorClass::NoMem, detail)
    })?;
    Ok(UserOperator { datatype: handle, ..user })
}

/// Ends what [`lend`] began for `user`.
pub(crate) fn take_back<P: MpiPort>(mpi: &mut MpiCtx<P>, user: UserOperator, lent: UserOperator) {
    if lent.datatype != user.datatype {
        mpi.datatypes.remove(lent.datatype);
    }
}

/// The program's operator, and where its operands go in this member's memory.
pub(crate) struct Operator {
    user: UserOperator,
    datatype: Option<Datatype>,
    /// Guest memory for the operands: where, and for how many bytes each.
    room: Option<(u32, u32)>,
}

impl Operator {
    /// The operator of a member that lays operands out as this type says.
    pub(crate) const fn new(user: UserOperator, datatype: Option<Datatype>) -> Self {
        Self { user, datatype, room: None }
    }

    /// Puts both operands into this member's memory as its datatype lays them out, calls the C
    /// function `(void *invec, void *inoutvec, int *len, MPI_Datatype *datatype)`, and puts the
    /// result into `accumulator`.
    ///
    /// # Errors
    /// The outer error ends the program: a trap in the function, or no memory for the operands. Other nodes wait for
    /// this one, so the call cannot merely fail then.
    pub(crate) async fn apply<T: MpiView>(
        &mut self,
        call: &mut Call<'_, T>,
        accumulator: &mut [u8],
        operand: &[u8],
        count: u64,
    ) -> wasmtime::Result<Result<()>> {
        let Some(datatype) = self.datatype.clone() else {
            let detail = "the reduction has no datatype";
            return Ok(Err(MpiError::new(ErrorClass::Intern, detail)));
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let (low, high) = datatype.span(count).unwrap_or((0, 0));
        let Some(each) = u32::try_from(high.abs_diff(low)).ok().and_then(|bytes| {
            bytes.checked_next_multiple_of(16).filter(|bytes| *bytes < u32::MAX / 2 - 16)
        }) else {
            return Err(wasmtime::Error::msg("the operands do not fit the program's memory"));
        };
        let start = self.reserve(call, each).await?;
        let first = start + ARGUMENTS_BYTES;
        // The address of an operand is where its element 0 begins, which may be before its data.
        let at = |start: u32| (i64::from(start) - low) as u32;
        let (invec, inoutvec) = (at(first), at(first + each));
        let moved = with_memory(call, |memory| {
            unpack_window(memory, u64::from(invec), count, &datatype, 0, accumulator)?;
            unpack_window(memory, u64::from(inoutvec), count, &datatype, 0, operand)
        });
        if let Err(fault) = moved {
            return Ok(Err(fault));
        }
        let user = match lend(call.mpi(), self.user, &datatype) {
            Ok(user) => user,
            Err(error) => return Ok(Err(error)),
        };
        let operands = (invec.cast_signed(), inoutvec.cast_signed());
        let called = ending(call_operator(call, user, operands, count, start).await)?;
        take_back(call.mpi(), self.user, user);
        if let Err(error) = called {
            return Ok(Err(error));
        }
        Ok(with_memory(call, |memory| {
            pack_window(memory, u64::from(inoutvec), count, &datatype, 0, accumulator)
        }))
    }

    /// Gives the memory of the operands back.
    ///
    /// # Errors
    /// A trap of the program's `free`.
    pub(crate) async fn end<T: MpiView>(self, call: &mut Call<'_, T>) -> wasmtime::Result<()> {
        if let Some((start, _)) = self.room {
            call.free(start).await?;
        }
        Ok(())
    }

    /// Makes room for two operands of `each` bytes.
    async fn reserve<T: MpiView>(
        &mut self,
        call: &mut Call<'_, T>,
        each: u32,
    ) -> wasmtime::Result<u32> {
        if let Some((start, room)) = self.room {
            if room >= each {
                return Ok(start);
            }
            self.room = None;
            call.free(start).await?;
        }
        let allocated = call.allocate(2 * each + ARGUMENTS_BYTES).await?;
        let start = allocated.map_err(wasmtime::Error::from)?;
        self.room = Some((start, each));
        Ok(start)
    }
}

fn with_memory<T: MpiView>(
    call: &mut Call<'_, T>,
    run: impl FnOnce(&Bytes<'_>) -> std::result::Result<(), faasm_mpi_engine::datatype::Fault>,
) -> Result<()> {
    let memory = call.mpi().memory()?;
    run(&Bytes(memory)).map_err(MpiError::from)
}
