//! Targets on other nodes: operations become questions that the target's node answers by itself.
//!
//! The origin's data leaves with the question; what comes back is put into its place when it arrives. Calls
//! that complete operations wait for the answers. Questions to one node stay in their order, and so do
//! accumulate calls. Locks are all kept by the node of the window's first member.

use faasm_mpi_engine::datatype::{Predefined, pack_window};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::op::Op;
use faasm_mpi_engine::rma::Wanted;
use faasm_vm::GuestAddr;

use super::window;
use crate::call::{Call, MpiView};
use crate::ctx::{Bytes, Interrupted, MpiCtx};
use crate::port::{Message, MpiPort, Payload, Pending};
use crate::request::Buffer;
use crate::window::{Access, Asked, FarOp, Window};
use crate::world::told;

/// Bytes of a target that one question reaches: more when they are one piece, for each piece is named.
const RUN_BYTES_MAX: u64 = 256 * 1024;
const PIECES_BYTES_MAX: u64 = 32 * 1024;

/// An operation on a target of another node, whose arguments are right.
#[derive(Debug)]
pub(super) struct FarAccess {
    pub(super) win: i32,
    pub(super) target: u32,
    /// Where the target's memory is touched.
    pub(super) there: Buffer,
    pub(super) op: Op,
    pub(super) basic: Option<Predefined>,
    pub(super) origin: Option<Buffer>,
    pub(super) result: Option<Buffer>,
}

/// Whether the member `target` runs on another node.
pub(super) fn is_far<P: MpiPort>(mpi: &mut MpiCtx<P>, win: i32, target: u32) -> Result<bool> {
    let own = window(mpi, win)?;
    if !own.shared.is_spread {
        return Ok(false);
    }
    let rank = own.shared.world_rank(target);
    Ok(rank.is_some_and(|rank| !mpi.port.world().is_local(rank)))
}

/// Starts the operation; with `completes` it waits for its end.
pub(super) async fn perform<T: MpiView>(
    call: &mut Call<'_, T>,
    access: &FarAccess,
    completes: bool,
) -> Result<()> {
    let FarAccess { win, target, there, basic, origin, result, .. } = access;
    let sent = origin.as_ref().map_or(Ok(0), Buffer::bytes)?;
    let total = if result.is_some() { there.bytes()? } else { sent };
    let unit = basic.map_or(1, |basic| basic.size() as u64);
    let most = if there.run().is_some() { RUN_BYTES_MAX } else { PIECES_BYTES_MAX } / unit * unit;
    let mut done = 0;
    while done < total {
        have_room(call, *win).await?;
        let len = most.min(total - done);
        let mpi = call.mpi();
        let question = question(mpi, access, (done, len), sent)?;
        let result = result.clone().map(|result| (result, done));
        ask(mpi, *win, *target, (question, Some(*target)), result)?;
        done += len;
    }
    if completes { settle(call, *win, Some(*target)).await } else { Ok(()) }
}

/// The question for bytes `done..done + len` of the target, of which the origin has data up to `sent`.
fn question<P: MpiPort>(
    mpi: &MpiCtx<P>,
    access: &FarAccess,
    (done, len): (u64, u64),
    sent: u64,
) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    if let Some(origin) = access.origin.as_ref().filter(|_| sent > done) {
        data.resize(len.min(sent - done) as usize, 0);
        let memory = Bytes(mpi.memory()?);
        pack_window(&memory, origin.addr, origin.count, &origin.datatype, done, &mut data)?;
    }
    let mut runs = Vec::new();
    let Buffer { addr, count, datatype } = &access.there;
    datatype.visit(*addr, *count, done..done + len, &mut |addr, len| {
        runs.push((addr, len));
        Ok(())
    })?;
    let FarAccess { target, op, basic, .. } = *access;
    let reads = access.result.is_some();
    Ok(Asked::Access(Access { target, op, basic, reads, runs, data: &data }).into_bytes())
}

/// Sends a question to the node of `member`. It counts as an operation on `target`, where there is one.
fn ask<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    win: i32,
    member: u32,
    (question, target): (Vec<u8>, Option<u32>),
    result: Option<(Buffer, u64)>,
) -> Result<()> {
    let own = window(mpi, win)?;
    let (context, rank) = (own.context, own.shared.world_rank(member));
    let rank = rank.ok_or_else(|| MpiError::new(ErrorClass::Intern, "a member without a rank"))?;
    mpi.check_reach(rank)?;
    let name = mpi.port.ask_object(rank, context, &question);
    let bytes = question.len() as u64;
    mpi.far_ops.insert(name, FarOp { context, peer: rank, target, result, bytes });
    Ok(())
}

/// Replaces an element of `target` if it has the value at `compare`.
pub(super) async fn swap<T: MpiView>(
    call: &mut Call<'_, T>,
    (win, target, addr): (i32, u32, u64),
    basic: Predefined,
    (origin, compare, result): (u64, u64, u64),
) -> Result<()> {
    have_room(call, win).await?;
    let mpi = call.mpi();
    let (mut new, mut expected) = (vec![0; basic.size()], vec![0; basic.size()]);
    let memory = mpi.memory()?;
    let read = |addr, out: &mut [u8]| memory.read(GuestAddr::new(addr), out);
    read(origin, &mut new).map_err(crate::ctx::fault("origin_addr"))?;
    read(compare, &mut expected).map_err(crate::ctx::fault("compare_addr"))?;
    let asked = Asked::Swap { target, addr, expected: &expected, new: &new }.into_bytes();
    let result = Buffer { addr: result, count: 1, datatype: basic.into() };
    ask(mpi, win, target, (asked, Some(target)), Some((result, 0)))
}

/// Tells the node of `member` something that needs no answer but that it was done.
pub(super) fn tell<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    win: i32,
    member: u32,
    asked: Asked<'_>,
) -> Result<()> {
    ask(mpi, win, member, (asked.into_bytes(), None), None)
}

fn pending<T: MpiView>(call: &mut Call<'_, T>, win: i32, target: Option<u32>) -> Result<Pending> {
    let context = window(call.mpi(), win)?.context;
    let peer = target.map(u32::cast_signed);
    Ok(Pending { function: call.function, peer, tag: None, context })
}

async fn have_room<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    if call.mpi().far_ops.is_full() {
        let pending = pending(call, win, None)?;
        call.commit();
        call.wait(&pending, &|| false, |mpi| (!mpi.far_ops.is_full()).then_some(())).await;
    }
    Ok(())
}

/// Whether no operation can be under way or have failed unreported. A window that was on several nodes may go on on one,
/// with an error that is still to be reported.
#[inline]
pub(super) fn is_settled<P: MpiPort>(mpi: &MpiCtx<P>, is_spread: bool) -> bool {
    !is_spread && mpi.far_ops.errors().is_empty()
}

/// Waits until all operations on `target`, or on all targets, are complete.
///
/// # Errors
/// The first that a target's node has reported.
pub(super) async fn settle<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    target: Option<u32>,
) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let (context, is_spread) = (own.context, own.shared.is_spread);
    if is_settled(call.mpi(), is_spread) {
        return Ok(());
    }
    call.later().await;
    if call.mpi().far_ops.reaches(context, target) {
        let pending = pending(call, win, target)?;
        call.commit();
        let is_over = |mpi: &mut MpiCtx<T::Port>| !mpi.far_ops.reaches(context, target);
        Box::pin(call.wait(&pending, &|| false, |mpi| is_over(mpi).then_some(()))).await;
    }
    call.mpi().error_comm = win;
    call.mpi().far_ops.take_error(context).map_or(Ok(()), Err)
}

/// Waits until nothing about the window is under way.
pub(super) async fn finish<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    settle(call, win, None).await?;
    let context = window(call.mpi(), win)?.context;
    let pending = pending(call, win, None)?;
    call.commit();
    let is_over = |mpi: &mut MpiCtx<T::Port>| !mpi.far_ops.concerns(context);
    Box::pin(call.wait(&pending, &|| false, |mpi| is_over(mpi).then_some(()))).await;
    Ok(())
}

/// Waits for a lock of a window on several nodes. Whoever is stopped meanwhile stays among those who wait there.
pub(super) async fn lock<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    wanted: Wanted,
) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let (context, rank) = (own.context, own.rank);
    let keeper = keeper(own)?;
    let members = own.shared.group.clone();
    let name = match call.resume() {
        Some(Interrupted::FarLock(name)) => name,
        _ => {
            let question = Asked::Lock(rank, wanted).into_bytes();
            call.mpi().check_reach(keeper)?;
            call.mpi().port.ask_object(keeper, context, &question)
        }
    };
    call.note(Interrupted::FarLock(name));
    let answer = Box::pin(await_answer(call, (keeper, context), name, Some(&members))).await;
    call.mpi().interrupted = None;
    answer.map(|_| ())
}

/// World rank of the member whose node keeps the locks.
fn keeper(own: &Window) -> Result<u32> {
    let none = || MpiError::new(ErrorClass::Intern, "a window without members");
    own.shared.world_rank(0).ok_or_else(none)
}

/// Gives a lock of a window on several nodes up.
pub(super) fn unlock<P: MpiPort>(mpi: &mut MpiCtx<P>, win: i32, held: Wanted) -> Result<()> {
    let rank = window(mpi, win)?.rank;
    tell(mpi, win, 0, Asked::Unlock(rank, held))
}

/// Asks the node of the rank `peer` about the object with this context, and waits for the answer.
pub(crate) async fn inquire<T: MpiView>(
    call: &mut Call<'_, T>,
    (peer, context): (u32, u32),
    question: &[u8],
) -> Result<Vec<u8>> {
    call.mpi().check_reach(peer)?;
    let name = call.mpi().port.ask_object(peer, context, question);
    call.commit();
    Box::pin(await_answer(call, (peer, context), name, None)).await
}

/// Waits for the answer of this name, which may depend on all of these `members`.
async fn await_answer<T: MpiView>(
    call: &mut Call<'_, T>,
    (peer, context): (u32, u32),
    name: u32,
    members: Option<&Group>,
) -> Result<Vec<u8>> {
    let pending = Pending { function: call.function, peer: None, tag: None, context };
    call.wait(&pending, &|| false, |mpi| {
        let Some(index) = mpi.answers.iter().position(|answer| answer.header.request == name)
        else {
            let reach = mpi.check_reach(peer).err();
            let hopeless = reach.or_else(|| mpi.check_group(context, members?).err());
            return hopeless.map(Err);
        };
        let Message { payload, .. } = mpi.answers.swap_remove(index);
        let Payload::Shared(bytes) = payload else { return Some(Err(malformed())) };
        Some(told(&bytes).unwrap_or_else(|| Err(malformed())).map(<[u8]>::to_vec))
    })
    .await
}

fn malformed() -> MpiError {
    let detail = "another node's answer cannot be understood; do all nodes run the same version?";
    MpiError::new(ErrorClass::Intern, detail)
}
