//! Passive targets: locks and flushes (MPI-5.0 sections 12.5.3 and 12.5.4).

use std::sync::atomic::Ordering;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::rma::{LockKind, Wanted};

use super::synchronize::{check_assert, leave_fence, wake};
use super::{far, wait_for, window, wrong_synchronization};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::{Interrupted, OtherEntry};
use crate::port::{MpiPort, Pending};
use crate::table::host_functions;
use crate::window::Window;

host_functions! {
    /// Locks one target. Section 12.5.3.
    call fn MPI_Win_lock(lock_type: i32, rank: i32, assert: i32, win: i32) = win_lock;
    /// Locks all targets, shared. Section 12.5.3.
    call fn MPI_Win_lock_all(assert: i32, win: i32) = win_lock_all;
    /// Unlocks one target. Section 12.5.3.
    call fn MPI_Win_unlock(rank: i32, win: i32) = win_unlock;
    /// Unlocks all targets. Section 12.5.3.
    call fn MPI_Win_unlock_all(win: i32) = win_unlock_all;
    /// Completes all operations on one target. Section 12.5.4.
    call fn MPI_Win_flush(rank: i32, win: i32) = win_flush, at_once flush_at_once;
    /// Completes all operations. Section 12.5.4.
    call fn MPI_Win_flush_all(win: i32) = win_flush_all, at_once;
    /// Completes all operations on one target at this rank. Section 12.5.4.
    call fn MPI_Win_flush_local(rank: i32, win: i32) = win_flush, at_once flush_at_once;
    /// Completes all operations at this rank. Section 12.5.4.
    call fn MPI_Win_flush_local_all(win: i32) = win_flush_all, at_once;
    /// Lets this rank see what others have written, and others what it has. Section 12.5.4.
    call fn MPI_Win_sync(win: i32) = win_sync;
}

/// Flushes after which other fibers get their turn.
const FLUSHES_BEFORE_YIELD: u32 = 32;
/// The same where no other rank wants to run; a multiple of it.
const FLUSHES_BEFORE_YIELD_ALONE: u32 = 32 * FLUSHES_BEFORE_YIELD;

/// The target with `rank`; `None` for `MPI_PROC_NULL`.
pub(super) fn target(own: &Window, rank: i32) -> Result<Option<u32>> {
    if rank == abi::MPI_PROC_NULL {
        return Ok(None);
    }
    let size = own.shared.members.len();
    match u32::try_from(rank) {
        Ok(target) if (target as usize) < size => Ok(Some(target)),
        _ => {
            let detail = format!("{rank} is not one of the {size} ranks of the window");
            Err(MpiError::argument(ErrorClass::Rank, "rank", detail))
        }
    }
}

async fn win_lock<T: MpiView>(
    call: &mut Call<'_, T>,
    lock_type: i32,
    rank: i32,
    assert: i32,
    win: i32,
) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let kind = match lock_type {
        abi::MPI_LOCK_SHARED => LockKind::Shared,
        abi::MPI_LOCK_EXCLUSIVE => LockKind::Exclusive,
        _ => {
            let detail = format!("{lock_type} is neither MPI_LOCK_SHARED nor MPI_LOCK_EXCLUSIVE");
            return Err(MpiError::argument(ErrorClass::Locktype, "lock_type", detail));
        }
    };
    check_assert(assert, abi::MPI_MODE_NOCHECK)?;
    let Some(target) = target(own, rank)? else { return Ok(()) };
    if own.has_locked(target) || own.started.is_some() {
        let detail =
            "the target is locked by this rank already, or MPI_Win_start has begun an epoch";
        return Err(wrong_synchronization(detail));
    }
    leave_fence(own)?;
    acquire(call, win, Wanted::One(target, kind)).await?;
    window(call.mpi(), win)?.locks.insert(target, kind);
    Ok(())
}

async fn win_lock_all<T: MpiView>(call: &mut Call<'_, T>, assert: i32, win: i32) -> Result<()> {
    let own = window(call.mpi(), win)?;
    check_assert(assert, abi::MPI_MODE_NOCHECK)?;
    if own.is_in_passive_epoch() || own.started.is_some() {
        let detail = "this rank has locked a target already, or MPI_Win_start has begun an epoch";
        return Err(wrong_synchronization(detail));
    }
    leave_fence(own)?;
    acquire(call, win, Wanted::All).await?;
    window(call.mpi(), win)?.has_locked_all = true;
    Ok(())
}

/// Waits until this rank has the lock.
async fn acquire<T: MpiView>(call: &mut Call<'_, T>, win: i32, wanted: Wanted) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let (shared, rank, context) = (own.shared.clone(), own.rank, own.context);
    if shared.is_spread {
        return far::lock(call, win, wanted).await;
    }
    let granted = &shared.member(rank).granted;
    if call.resume() != Some(Interrupted::Lock) {
        granted.store(false, Ordering::Relaxed);
        if shared.locks().acquire(rank, wanted) {
            return Ok(());
        }
    }
    let peer = match wanted {
        Wanted::One(target, _) => Some(target.cast_signed()),
        Wanted::All => None,
    };
    let pending = Pending { function: call.function, peer, tag: None, context };
    let is_done = || granted.load(Ordering::SeqCst);
    call.note(Interrupted::Lock);
    let granted = wait_for(call, &pending, &shared.group, &is_done).await;
    call.mpi().interrupted = None;
    granted
}

/// Gives the lock up and wakes those who have theirs now.
fn release<T: MpiView>(call: &mut Call<'_, T>, win: i32, held: Wanted) -> Result<()> {
    let mpi = call.mpi();
    let own = window(mpi, win)?;
    let (shared, rank) = (own.shared.clone(), own.rank);
    if shared.is_spread {
        return far::unlock(mpi, win, held);
    }
    let granted = shared.locks().release(rank, held);
    for origin in granted {
        shared.member(origin).granted.store(true, Ordering::SeqCst);
        wake(mpi, &shared.group, origin);
    }
    Ok(())
}

async fn win_unlock<T: MpiView>(call: &mut Call<'_, T>, rank: i32, win: i32) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let Some(target) = target(own, rank)? else { return Ok(()) };
    let Some(kind) = own.locks.remove(&target) else {
        let detail = format!("this rank has not locked target {rank} with MPI_Win_lock");
        return Err(wrong_synchronization(&detail));
    };
    let settled = far::settle(call, win, Some(target)).await;
    release(call, win, Wanted::One(target, kind)).and(settled)?;
    call.commit();
    // Programs poll by locking again and again.
    call.yield_if_due().await;
    Ok(())
}

async fn win_unlock_all<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    let own = window(call.mpi(), win)?;
    if !std::mem::take(&mut own.has_locked_all) {
        return Err(wrong_synchronization("this rank has not called MPI_Win_lock_all"));
    }
    let settled = far::settle(call, win, None).await;
    release(call, win, Wanted::All).and(settled)?;
    call.commit();
    call.yield_if_due().await;
    Ok(())
}

async fn win_flush<T: MpiView>(call: &mut Call<'_, T>, rank: i32, win: i32) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let Some(target) = target(own, rank)? else { return Ok(()) };
    if !own.has_locked(target) {
        let detail = format!("target {rank} is not locked; call MPI_Win_lock or MPI_Win_lock_all");
        return Err(wrong_synchronization(&detail));
    }
    let is_spread = own.shared.is_spread;
    if !far::is_settled(call.mpi(), is_spread) {
        far::settle(call, win, Some(target)).await?;
    }
    give_way(call, win).await
}

/// Whether the next flush of a locked target may be left out: nothing is under way, and it is nobody else's turn. It
/// counts as made then.
#[inline]
pub(super) fn needs_no_flush(own: &mut Window, port: &impl MpiPort) -> bool {
    let flushes = own.flushes.wrapping_add(1);
    let is_due = flushes.is_multiple_of(FLUSHES_BEFORE_YIELD)
        && (flushes.is_multiple_of(FLUSHES_BEFORE_YIELD_ALONE) || !port.is_alone());
    let is_usual = !own.shared.is_spread && !is_due;
    if is_usual {
        own.flushes = flushes;
    }
    is_usual
}

/// The usual case: nothing is under way, and it is nobody else's turn.
fn flush_at_once<T: MpiView>(call: &mut Call<'_, T>, rank: i32, win: i32) -> Option<Result<()>> {
    let mpi = call.mpi();
    let Some(OtherEntry::Window(own)) = mpi.others.get_mut(win) else { return None };
    let target = target(own, rank).ok()??;
    let is_usual = mpi.far_ops.errors().is_empty() && own.has_locked(target);
    (is_usual && needs_no_flush(own, &mpi.port)).then_some(Ok(()))
}

/// Operations on this node are complete when their calls return; but programs poll with flushes between.
async fn give_way<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let flushes = own.flushes.wrapping_add(1);
    let is_due = flushes.is_multiple_of(FLUSHES_BEFORE_YIELD);
    if is_due {
        call.later().await;
    }
    // Counted first: a call that is left where it yields finds its turn given.
    window(call.mpi(), win)?.flushes = flushes;
    if is_due {
        call.yield_now().await;
    }
    Ok(())
}

async fn win_flush_all<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    if !window(call.mpi(), win)?.is_in_passive_epoch() {
        let detail = "no target is locked; call MPI_Win_lock or MPI_Win_lock_all";
        return Err(wrong_synchronization(detail));
    }
    far::settle(call, win, None).await?;
    give_way(call, win).await
}

async fn win_sync<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    window(call.mpi(), win)?;
    std::sync::atomic::fence(Ordering::SeqCst);
    call.yield_if_due().await;
    Ok(())
}
