//! Reduction operators (MPI-5.0 sections 6.9.1, 6.9.5 and 6.9.7).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::op::Op;
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{ARGUMENTS_BYTES, Call, Ending, Failure, MpiView, call_operator, ending};
use crate::ctx::{MpiCtx, OpEntry, Operator, bad_handle, fault};
use crate::port::MpiPort;
use crate::request::{Buffer, UserOperator};
use crate::table::{Count, host_functions};

host_functions! {
    /// Makes an operator of a function of the program. Section 6.9.5.
    call fn MPI_Op_create or MPI_Op_create_c(user_fn: i32, commute: i32, op: GuestAddr) = create;
    /// Gives an operator up. Section 6.9.5.
    call fn MPI_Op_free(op: GuestAddr) = free;
    /// Whether operands may be exchanged. Section 6.9.6.
    call fn MPI_Op_commutative(op: i32, commute: GuestAddr) = commutative;
    /// Combines two local buffers. Section 6.9.7.
    ending fn MPI_Reduce_local or MPI_Reduce_local_c(inbuf: GuestAddr, inoutbuf: GuestAddr, count: Count, datatype: i32, op: i32) = reduce_local;
}

/// Bytes combined at a time; whole elements of every predefined type fit.
const CHUNK_BYTES: u64 = 64 * 1024;

async fn create<T: MpiView>(
    call: &mut Call<'_, T>,
    user_fn: i32,
    commute: i32,
    op: GuestAddr,
) -> Result<()> {
    if user_fn == 0 {
        let detail = "the function pointer is null; give a function";
        return Err(MpiError::argument(ErrorClass::Arg, "user_fn", detail));
    }
    let entry = OpEntry::User {
        function: user_fn.cast_unsigned(),
        commutes: commute != 0,
        large: call.large,
    };
    let handle = call.mpi().ops.insert(entry).ok_or_else(|| {
        let detail = "a million operators are alive already; free some with MPI_Op_free";
        MpiError::new(ErrorClass::NoMem, detail)
    })?;
    call.write_i32("op", op, handle)
}

async fn free<T: MpiView>(call: &mut Call<'_, T>, op: GuestAddr) -> Result<()> {
    let handle = call.read_i32("op", op)?;
    if let Some(predefined) = Op::from_handle(handle) {
        let detail = format!("{} is predefined and cannot be freed", predefined.name());
        return Err(MpiError::argument(ErrorClass::Op, "op", detail));
    }
    match call.mpi().ops.remove(handle) {
        Some(_) => call.write_i32("op", op, abi::MPI_OP_NULL),
        None => Err(bad_handle(ErrorClass::Op, "op", handle, abi::MPI_OP_NULL)),
    }
}

async fn commutative<T: MpiView>(
    call: &mut Call<'_, T>,
    op: i32,
    commute: GuestAddr,
) -> Result<()> {
    let commutes = match call.mpi().op(op)? {
        Operator::Predefined(op) => op.is_commutative(),
        Operator::User { commutes, .. } => commutes,
    };
    call.write_i32("commute", commute, i32::from(commutes))
}

async fn reduce_local<T: MpiView>(
    call: &mut Call<'_, T>,
    inbuf: GuestAddr,
    inoutbuf: GuestAddr,
    count: i64,
    datatype: i32,
    op: i32,
) -> Ending {
    ending(reduce(call, (inbuf, inoutbuf), count, datatype, op).await)
}

async fn reduce<T: MpiView>(
    call: &mut Call<'_, T>,
    (inbuf, inoutbuf): (GuestAddr, GuestAddr),
    count: i64,
    datatype: i32,
    op: i32,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let mpi = call.mpi();
    let elements = MpiCtx::<T::Port>::count(count)?;
    let inout = Buffer { addr: inoutbuf.get(), count: elements, datatype: mpi.datatype(datatype)? };
    let operator = mpi.op(op)?;
    let has_data = elements > 0 && inout.datatype.size() > 0;
    check_buffers(inbuf, inoutbuf, has_data)?;
    match operator {
        Operator::Predefined(op) => combine(mpi, op, inbuf.get(), &inout)?,
        Operator::User { .. } if count == 0 => {}
        Operator::User { function, large, .. } => {
            let user = UserOperator { function, datatype, large };
            call_user(call, user, (inbuf, inoutbuf), count).await?;
        }
    }
    Ok(())
}

fn check_buffers(inbuf: GuestAddr, inoutbuf: GuestAddr, has_data: bool) -> Result<()> {
    let in_place = abi::MPI_IN_PLACE.cast_unsigned();
    for (name, buffer) in [("inbuf", inbuf), ("inoutbuf", inoutbuf)] {
        if buffer.get() == u64::from(in_place) {
            let detail = "MPI_IN_PLACE means nothing here; pass the address of the data";
            return Err(MpiError::argument(ErrorClass::Buffer, name, detail));
        }
        if buffer.is_null() && has_data {
            return Err(MpiError::argument(ErrorClass::Buffer, name, "it is a null pointer"));
        }
    }
    if inbuf == inoutbuf && has_data {
        let detail = "it is inbuf as well; the operands must be apart";
        return Err(MpiError::argument(ErrorClass::Buffer, "inoutbuf", detail));
    }
    Ok(())
}

/// `inout[i] = input[i] op inout[i]` in the guest's memory, for a predefined operator.
fn combine<P: MpiPort>(mpi: &MpiCtx<P>, op: Op, input: u64, inout: &Buffer) -> Result<()> {
    let (predefined, kernel) = op.reduction(&inout.datatype)?;
    let memory = mpi.memory()?;
    let extent = predefined.extent() as u64;
    let total = (inout.count as u64).checked_mul(extent).ok_or_else(|| {
        let detail = format!("{} elements do not fit the program's memory", inout.count);
        MpiError::argument(ErrorClass::Count, "count", detail)
    })?;
    // Before anything is written: a wrong count must not destroy what lies behind the buffer.
    memory.check(GuestAddr::new(input), total).map_err(fault("inbuf"))?;
    memory.check(GuestAddr::new(inout.addr), total).map_err(fault("inoutbuf"))?;
    let chunk_bytes = CHUNK_BYTES / extent * extent;
    let mut buffers = vec![0; 2 * total.min(chunk_bytes) as usize];
    let (mine, theirs) = buffers.split_at_mut(total.min(chunk_bytes) as usize);
    let mut done = 0;
    while done < total {
        let len = (total - done).min(chunk_bytes);
        let (mine, theirs) = (&mut mine[..len as usize], &mut theirs[..len as usize]);
        let at = GuestAddr::new(inout.addr + done);
        memory.read(GuestAddr::new(input + done), theirs).map_err(fault("inbuf"))?;
        memory.read(at, mine).map_err(fault("inoutbuf"))?;
        kernel(mine, theirs);
        memory.write(at, mine).map_err(fault("inoutbuf"))?;
        done += len;
    }
    Ok(())
}

/// Calls an operator of the program in memory that is allocated for its last two arguments.
///
/// # Errors
/// A trap of the function; `MPI_ERR_NO_MEM` when the arguments have no room.
async fn call_user<T: MpiView>(
    call: &mut Call<'_, T>,
    user: UserOperator,
    (invec, inoutvec): (GuestAddr, GuestAddr),
    len: i64,
) -> std::result::Result<(), Failure> {
    let scratch = call.allocate(ARGUMENTS_BYTES).await??;
    let word = |addr: GuestAddr| (addr.get() as u32).cast_signed();
    call_operator(call, user, (word(invec), word(inoutvec)), len, scratch).await?;
    call.free(scratch).await?;
    Ok(())
}
