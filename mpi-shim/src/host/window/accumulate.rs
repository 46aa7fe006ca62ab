//! Operations that combine with the target's memory (MPI-5.0 sections 12.3.3 to 12.3.5).
//!
//! They are atomic towards each other: each holds the target's lock from its first byte to its last, so
//! that they are also in order.

use faasm_mpi_engine::collective::{MemberMemory, Members, typed_copy};
use faasm_mpi_engine::datatype::{BasicKind, Predefined, pack_window, unpack_window};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::op::{Kernel, Op};
use faasm_vm::GuestAddr;

use super::far::{self, FarAccess};
use super::transfer::{
    Ends, Local, ORIGIN, Reached, Remote, TARGET, check_room, local, operand, perform, put_request,
    reach,
};
use super::window;
use crate::call::{Call, MpiView};
use crate::ctx::{MpiCtx, Operator};
use crate::port::MpiPort;
use crate::request::Buffer;
use crate::table::{Count, host_functions};
use crate::window::calculate;

host_functions! {
    /// Combines with a target's memory. Section 12.3.4.
    call fn MPI_Accumulate or MPI_Accumulate_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, op: i32, win: i32) = accumulate, at_once;
    /// Combines with a target's memory, with a request. Section 12.3.5.
    call fn MPI_Raccumulate or MPI_Raccumulate_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, op: i32, win: i32, request: GuestAddr) = raccumulate;
    /// Reads a target's memory and combines with it. Section 12.3.4.
    call fn MPI_Get_accumulate or MPI_Get_accumulate_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, result_addr: GuestAddr, result_count: Count, result_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, op: i32, win: i32) = get_accumulate, at_once;
    /// Reads a target's memory and combines with it, with a request. Section 12.3.5.
    call fn MPI_Rget_accumulate or MPI_Rget_accumulate_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, result_addr: GuestAddr, result_count: Count, result_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, op: i32, win: i32, request: GuestAddr) = rget_accumulate;
    /// Reads one element of a target and combines with it. Section 12.3.4.
    call fn MPI_Fetch_and_op(origin_addr: GuestAddr, result_addr: GuestAddr, datatype: i32, target_rank: i32, target_disp: i32, op: i32, win: i32) = fetch_and_op, at_once;
    /// Reads one element of a target and replaces it if it has a value. Section 12.3.4.
    call fn MPI_Compare_and_swap(origin_addr: GuestAddr, compare_addr: GuestAddr, result_addr: GuestAddr, datatype: i32, target_rank: i32, target_disp: i32, win: i32) = compare_and_swap, at_once;
}

/// Bytes combined at a time; whole elements of every predefined type fit.
const CHUNK_BYTES: u64 = 64 * 1024;

/// One call's arguments: the origin, the buffer for what was there before, target, operator, window.
struct Arguments {
    origin: Local,
    result: Option<Local>,
    target: Remote,
    op: i32,
    win: i32,
    is_passive: bool,
}

fn run<T: MpiView>(call: &mut Call<'_, T>, arguments: &Arguments) -> Result<Option<FarAccess>> {
    let mpi = call.mpi();
    window(mpi, arguments.win)?;
    let Operator::Predefined(op) = mpi.op(arguments.op)? else {
        let detail = "only the standard's own operators combine with the memory of others";
        return Err(MpiError::argument(ErrorClass::Op, "op", detail));
    };
    // Nothing is read at the origin then, whose other arguments need not be right.
    let origin = match op {
        Op::NoOp => None,
        _ => Some(local(mpi, ("origin_addr", "origin_count"), arguments.origin)?),
    };
    let result = arguments.result;
    let result = result.map(|result| local(mpi, ("result_addr", "result_count"), result));
    let result = result.transpose()?;
    let reached = reach(mpi, arguments.win, arguments.target, arguments.is_passive)?;
    let Some(reached) = reached else { return Ok(None) };
    combine(mpi, arguments.win, reached, (origin, result), op)
}

fn combine<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    win: i32,
    reached: Reached,
    (origin, result): (Option<Buffer>, Option<Buffer>),
    op: Op,
) -> Result<Option<FarAccess>> {
    let target = &reached.buffer;
    let kernel = match (op, &origin) {
        (Op::NoOp | Op::Replace, _) | (_, None) => None,
        (_, Some(origin)) => Some(kernel(op, origin, target)?),
    };
    if let Some(origin) = &origin {
        check_room(origin, target)?;
    }
    if let Some(result) = &result {
        check_room(target, result)?;
    }
    if far::is_far(mpi, win, reached.rank)? {
        let basic = kernel.map(|(basic, _)| basic);
        let Reached { rank: target, buffer: there } = reached;
        return Ok(Some(FarAccess { win, target, there, op, basic, origin, result }));
    }
    let shared = window(mpi, win)?.shared.clone();
    let ends = reached.ends(mpi, &shared)?;
    let _alone = shared.member(reached.rank).atomic();
    if let Some(result) = &result {
        typed_copy(&ends, operand(TARGET, target), operand(ORIGIN, result))?;
    }
    match (&origin, kernel) {
        (None, _) => {}
        (Some(origin), None) => {
            typed_copy(&ends, operand(ORIGIN, origin), operand(TARGET, target))?;
        }
        (Some(origin), Some((basic, kernel))) => apply(&ends, (origin, target), basic, kernel)?,
    }
    Ok(None)
}

/// The one basic type of both sides, and the code of the operator for it.
fn kernel(op: Op, origin: &Buffer, target: &Buffer) -> Result<(Predefined, Kernel)> {
    let mixed = |name| {
        let detail = format!("{} needs one predefined type all through", op.name());
        MpiError::argument(ErrorClass::Type, name, detail)
    };
    let basic =
        |buffer: &Buffer| buffer.datatype.operand().or_else(|| buffer.datatype.sole_basic());
    let near = basic(origin).ok_or_else(|| mixed("origin_datatype"))?;
    let far = basic(target).ok_or_else(|| mixed("target_datatype"))?;
    if near.kind() != far.kind() {
        return Err(mixed("target_datatype"));
    }
    let kernel = op.kernel(far).ok_or_else(|| {
        let detail = format!("{} is not defined on {}", op.name(), far.name());
        MpiError::argument(ErrorClass::Op, "op", detail)
    })?;
    Ok((far, kernel))
}

/// `target[i] = target[i] op origin[i]`, element by element of the basic type.
fn apply(
    ends: &Ends<'_>,
    (origin, target): (&Buffer, &Buffer),
    basic: Predefined,
    kernel: Kernel,
) -> Result<()> {
    let size = basic.size() as u64;
    let total = origin.bytes()?;
    let chunk_bytes = total.min(CHUNK_BYTES / size * size);
    let (mut mine, mut theirs) = (vec![0; chunk_bytes as usize], vec![0; chunk_bytes as usize]);
    let near = MemberMemory { members: ends, member: ORIGIN };
    let far = MemberMemory { members: ends, member: TARGET };
    let mut done = 0;
    while done < total {
        let len = chunk_bytes.min(total - done) as usize;
        let (mine, theirs) = (&mut mine[..len], &mut theirs[..len]);
        let Buffer { addr, count, datatype } = origin;
        pack_window(&near, *addr, *count, datatype, done, theirs)?;
        let Buffer { addr, count, datatype } = target;
        pack_window(&far, *addr, *count, datatype, done, mine)?;
        calculate(basic.kind(), kernel, mine, theirs);
        unpack_window(&far, *addr, *count, datatype, done, mine)?;
        done += len as u64;
    }
    Ok(())
}

async fn accumulate<T: MpiView>(
    call: &mut Call<'_, T>,
    origin_addr: GuestAddr,
    origin_count: i64,
    origin_datatype: i32,
    target_rank: i32,
    target_disp: i32,
    target_count: i64,
    target_datatype: i32,
    op: i32,
    win: i32,
) -> Result<()> {
    let origin = (origin_addr, origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    let far = run(call, &Arguments { origin, result: None, target, op, win, is_passive: false })?;
    perform(call, far, false).await
}

async fn raccumulate<T: MpiView>(
    call: &mut Call<'_, T>,
    origin_addr: GuestAddr,
    origin_count: i64,
    origin_datatype: i32,
    target_rank: i32,
    target_disp: i32,
    target_count: i64,
    target_datatype: i32,
    op: i32,
    win: i32,
    request: GuestAddr,
) -> Result<()> {
    let origin = (origin_addr, origin_count, origin_datatype);
    let target = (target_rank, target_disp, target_count, target_datatype);
    let far = run(call, &Arguments { origin, result: None, target, op, win, is_passive: true })?;
    perform(call, far, true).await?;
    put_request(call, request)
}

async fn get_accumulate<T: MpiView>(
    call: &mut Call<'_, T>,
    origin_addr: GuestAddr,
    origin_count: i64,
    origin_datatype: i32,
    result_addr: GuestAddr,
    result_count: i64,
    result_datatype: i32,
    target_rank: i32,
    target_disp: i32,
    target_count: i64,
    target_datatype: i32,
    op: i32,
    win: i32,
) -> Result<()> {
    let origin = (origin_addr, origin_count, origin_datatype);
    let result = Some((result_addr, result_count, result_datatype));
    let target = (target_rank, target_disp, target_count, target_datatype);
    let far = run(call, &Arguments { origin, result, target, op, win, is_passive: false })?;
    perform(call, far, false).await
}

async fn rget_accumulate<T: MpiView>(
    call: &mut Call<'_, T>,
    origin_addr: GuestAddr,
    origin_count: i64,
    origin_datatype: i32,
    result_addr: GuestAddr,
    result_count: i64,
    result_datatype: i32,
    target_rank: i32,
    target_disp: i32,
    target_count: i64,
    target_datatype: i32,
    op: i32,
    win: i32,
    request: GuestAddr,
) -> Result<()> {
    let origin = (origin_addr, origin_count, origin_datatype);
    let result = Some((result_addr, result_count, result_datatype));
    let target = (target_rank, target_disp, target_count, target_datatype);
    let far = run(call, &Arguments { origin, result, target, op, win, is_passive: true })?;
    perform(call, far, true).await?;
    put_request(call, request)
}

async fn fetch_and_op<T: MpiView>(
    call: &mut Call<'_, T>,
    origin_addr: GuestAddr,
    result_addr: GuestAddr,
    datatype: i32,
    target_rank: i32,
    target_disp: i32,
    op: i32,
    win: i32,
) -> Result<()> {
    window(call.mpi(), win)?;
    single(call.mpi(), datatype)?;
    let (origin, result) = ((origin_addr, 1, datatype), Some((result_addr, 1, datatype)));
    let target = (target_rank, target_disp, 1, datatype);
    let far = run(call, &Arguments { origin, result, target, op, win, is_passive: false })?;
    perform(call, far, false).await
}

/// The predefined type of an operation on one element.
fn single<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> Result<Predefined> {
    mpi.datatype(handle)?.predefined().ok_or_else(|| {
        let detail = "an operation on one element needs a predefined type";
        MpiError::argument(ErrorClass::Type, "datatype", detail)
    })
}

async fn compare_and_swap<T: MpiView>(
    call: &mut Call<'_, T>,
    origin_addr: GuestAddr,
    compare_addr: GuestAddr,
    result_addr: GuestAddr,
    datatype: i32,
    target_rank: i32,
    target_disp: i32,
    win: i32,
) -> Result<()> {
    let mpi = call.mpi();
    window(mpi, win)?;
    let basic = single(mpi, datatype)?;
    if !matches!(basic.kind(), BasicKind::Integer(_) | BasicKind::Logical(_) | BasicKind::Byte) {
        let detail = format!("{} is no integer, logical or byte type", basic.name());
        return Err(MpiError::argument(ErrorClass::Type, "datatype", detail));
    }
    let at = |name, addr| local(mpi, (name, "count"), (addr, 1, datatype)).map(|at| at.addr);
    let origin = at("origin_addr", origin_addr)?;
    let compare = at("compare_addr", compare_addr)?;
    let result = at("result_addr", result_addr)?;
    let target = (target_rank, target_disp, 1, datatype);
    let Some(reached) = reach(mpi, win, target, false)? else { return Ok(()) };
    if far::is_far(mpi, win, reached.rank)? {
        let there = (win, reached.rank, reached.buffer.addr);
        call.later().await;
        return Box::pin(far::swap(call, there, basic, (origin, compare, result))).await;
    }
    let shared = window(mpi, win)?.shared.clone();
    let ends = reached.ends(mpi, &shared)?;
    let mut values = [[0; 16]; 3];
    let [new, expected, found] = &mut values;
    let (new, expected) = (&mut new[..basic.size()], &mut expected[..basic.size()]);
    let found = &mut found[..basic.size()];
    let fault = |fault: faasm_mpi_engine::datatype::Fault| MpiError::from(fault);
    ends.read(ORIGIN, origin, new).map_err(fault)?;
    ends.read(ORIGIN, compare, expected).map_err(fault)?;
    let _alone = shared.member(reached.rank).atomic();
    ends.read(TARGET, reached.buffer.addr, found).map_err(fault)?;
    if found == expected {
        ends.write(TARGET, reached.buffer.addr, new).map_err(fault)?;
    }
    ends.write(ORIGIN, result, found).map_err(fault)
}
