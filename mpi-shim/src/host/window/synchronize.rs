//! Active targets: fences, and post, start, complete and wait (MPI-5.0 sections 12.5.1 and 12.5.2).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::{far, meet, wait_for, window, wrong_synchronization};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::MpiCtx;
use crate::host::group;
use crate::port::{MpiPort, Pending};
use crate::table::host_functions;
use crate::window::{Asked, Fence, Window, are_all_in, count, take};

host_functions! {
    /// Ends an epoch and begins the next one; all members call it. Section 12.5.1.
    call fn MPI_Win_fence(assert: i32, win: i32) = win_fence;
    /// Lets a group of origins reach this rank's memory. Section 12.5.2.
    call fn MPI_Win_post(group: i32, assert: i32, win: i32) = win_post;
    /// Waits until a group of targets lets this rank reach their memory. Section 12.5.2.
    call fn MPI_Win_start(group: i32, assert: i32, win: i32) = win_start;
    /// Ends the epoch of `MPI_Win_start`. Section 12.5.2.
    call fn MPI_Win_complete(win: i32) = win_complete;
    /// Waits until all origins of `MPI_Win_post` are done. Section 12.5.2.
    call fn MPI_Win_wait(win: i32) = win_wait;
    /// Whether all origins of `MPI_Win_post` are done. Section 12.5.2.
    call fn MPI_Win_test(win: i32, flag: GuestAddr) = win_test;
}

/// Refuses assertions that the function does not know.
pub(super) fn check_assert(assert: i32, known: i32) -> Result<()> {
    if assert & !known != 0 {
        let detail = format!("{assert:#x} holds assertions that do not belong here");
        return Err(MpiError::argument(ErrorClass::Assert, "assert", detail));
    }
    Ok(())
}

async fn win_fence<T: MpiView>(call: &mut Call<'_, T>, assert: i32, win: i32) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let known = abi::MPI_MODE_NOSTORE
        | abi::MPI_MODE_NOPUT
        | abi::MPI_MODE_NOPRECEDE
        | abi::MPI_MODE_NOSUCCEED;
    check_assert(assert, known)?;
    if own.is_in_epoch() {
        let detail =
            "an epoch of MPI_Win_lock, MPI_Win_start or MPI_Win_post is open; end it first";
        return Err(wrong_synchronization(detail));
    }
    // The others come also when an operation of this rank has failed.
    let settled = far::settle(call, win, None).await;
    meet(call, win).await?;
    let is_last = assert & abi::MPI_MODE_NOSUCCEED != 0;
    window(call.mpi(), win)?.fence = if is_last { Fence::Closed } else { Fence::Open };
    settled
}

/// Ranks in the window of the members of a group, who must all be in it.
fn ranks<P: MpiPort>(mpi: &mut MpiCtx<P>, win: i32, handle: i32) -> Result<Vec<u32>> {
    let members = group::group(mpi, handle)?;
    let window = window(mpi, win)?;
    let rank = |world| window.shared.group.rank_of(world).map(|rank| rank as u32);
    members.iter().map(rank).collect::<Option<Vec<u32>>>().ok_or_else(|| {
        let detail = "a member of the group is not in the window";
        MpiError::argument(ErrorClass::Group, "group", detail)
    })
}

/// Leaves the epoch of a fence that has not been used, which is none then.
pub(super) fn leave_fence(own: &mut Window) -> Result<()> {
    if own.fence == Fence::Used {
        let detail = "the epoch of MPI_Win_fence is in use; end it with MPI_Win_fence first";
        return Err(wrong_synchronization(detail));
    }
    own.fence = Fence::Closed;
    Ok(())
}

async fn win_post<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    assert: i32,
    win: i32,
) -> Result<()> {
    let mpi = call.mpi();
    window(mpi, win)?;
    let known = abi::MPI_MODE_NOCHECK | abi::MPI_MODE_NOSTORE | abi::MPI_MODE_NOPUT;
    check_assert(assert, known)?;
    let origins = ranks(mpi, win, handle)?;
    let own = window(mpi, win)?;
    if own.posted.is_some() {
        let detail = "the epoch of the last MPI_Win_post is open; end it with MPI_Win_wait";
        return Err(wrong_synchronization(detail));
    }
    leave_fence(own)?;
    own.posted = Some(origins.clone());
    let (shared, rank) = (own.shared.clone(), own.rank);
    for origin in origins {
        if far::is_far(mpi, win, origin)? {
            far::tell(mpi, win, origin, Asked::Post(rank, origin))?;
            continue;
        }
        count(&mut shared.member(origin).posts(), rank);
        wake(mpi, &shared.group, origin);
    }
    Ok(())
}

/// Wakes the member with this rank.
pub(super) fn wake<P: MpiPort>(
    mpi: &MpiCtx<P>,
    group: &faasm_mpi_engine::group::Group,
    member: u32,
) {
    if let Some(rank) = group.world_rank(member as usize) {
        mpi.port.wake(rank);
    }
}

async fn win_start<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    assert: i32,
    win: i32,
) -> Result<()> {
    let mpi = call.mpi();
    window(mpi, win)?;
    check_assert(assert, abi::MPI_MODE_NOCHECK)?;
    let targets = ranks(mpi, win, handle)?;
    let own = window(mpi, win)?;
    if own.started.is_some() || own.is_in_passive_epoch() {
        let detail = "an epoch of MPI_Win_start or MPI_Win_lock is open; end it first";
        return Err(wrong_synchronization(detail));
    }
    leave_fence(own)?;
    let (shared, rank, context) = (own.shared.clone(), own.rank, own.context);
    let mine = shared.member(rank);
    let peer = targets.first().map(|target| target.cast_signed());
    let pending = Pending { function: call.function, peer, tag: None, context };
    let is_done = || are_all_in(&mine.posts(), &targets);
    wait_for(call, &pending, &shared.group, &is_done).await?;
    take(&mut mine.posts(), &targets);
    window(call.mpi(), win)?.started = Some(targets);
    Ok(())
}

async fn win_complete<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    let mpi = call.mpi();
    let own = window(mpi, win)?;
    let Some(targets) = own.started.take() else {
        return Err(wrong_synchronization("no epoch of MPI_Win_start is open"));
    };
    let (shared, rank) = (own.shared.clone(), own.rank);
    let settled = far::settle(call, win, None).await;
    let mpi = call.mpi();
    for target in targets {
        if far::is_far(mpi, win, target)? {
            far::tell(mpi, win, target, Asked::Complete(rank, target))?;
            continue;
        }
        count(&mut shared.member(target).completions(), rank);
        wake(mpi, &shared.group, target);
    }
    settled
}

/// The origins that this rank waits for.
fn posted(own: &Window) -> Result<Vec<u32>> {
    let none = || wrong_synchronization("no epoch of MPI_Win_post is open");
    own.posted.clone().ok_or_else(none)
}

async fn win_wait<T: MpiView>(call: &mut Call<'_, T>, win: i32) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let origins = posted(own)?;
    let (shared, rank, context) = (own.shared.clone(), own.rank, own.context);
    let mine = shared.member(rank);
    let peer = origins.first().map(|origin| origin.cast_signed());
    let pending = Pending { function: call.function, peer, tag: None, context };
    let is_done = || are_all_in(&mine.completions(), &origins);
    let ended = wait_for(call, &pending, &shared.group, &is_done).await;
    if ended.is_ok() {
        take(&mut mine.completions(), &origins);
    }
    // An epoch that can never end well is over as well, so that the window can be given up.
    window(call.mpi(), win)?.posted = None;
    ended
}

async fn win_test<T: MpiView>(call: &mut Call<'_, T>, win: i32, flag: GuestAddr) -> Result<()> {
    let own = window(call.mpi(), win)?;
    let origins = posted(own)?;
    let (shared, rank, context) = (own.shared.clone(), own.rank, own.context);
    call.mpi().progress();
    let is_done = are_all_in(&shared.member(rank).completions(), &origins);
    if !is_done && let Err(error) = call.mpi().check_group(context, &shared.group) {
        window(call.mpi(), win)?.posted = None;
        return Err(error);
    }
    call.write_i32("flag", flag, i32::from(is_done))?;
    if is_done {
        take(&mut shared.member(rank).completions(), &origins);
        window(call.mpi(), win)?.posted = None;
    } else {
        call.yield_if_due().await;
    }
    Ok(())
}
