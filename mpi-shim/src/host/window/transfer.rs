//! Puts and gets (MPI-5.0 sections 12.3.1, 12.3.2 and 12.3.5), and what all operations share.

use faasm_mpi_engine::collective::{Members, Operand, typed_copy};
use faasm_mpi_engine::datatype::{Datatype, Fault, Predefined};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::op::Op;
use faasm_vm::{GuestAddr, GuestMemory};

use super::far::{self, FarAccess};
use super::passive::{self, needs_no_flush};
use super::{window, wrong_synchronization};
use crate::abi;
use crate::call::{Call, Made, MpiView};
use crate::ctx::{MpiCtx, OtherEntry, engine_fault};
use crate::host::point_to_point::insert_complete;
use crate::port::MpiPort;
use crate::request::Buffer;
use crate::table::{Count, host_functions};
use crate::window::{Member, Shared};

host_functions! {
    /// Writes to a target's memory. Section 12.3.1.
    call fn MPI_Put or MPI_Put_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, win: i32) = put, at_once put_at_once;
    /// Reads a target's memory. Section 12.3.2.
    call fn MPI_Get or MPI_Get_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, win: i32) = get, at_once get_at_once;
    /// Writes to a target's memory, with a request. Section 12.3.5.
    call fn MPI_Rput or MPI_Rput_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, win: i32, request: GuestAddr) = rput, at_once;
    /// Reads a target's memory, with a request. Section 12.3.5.
    call fn MPI_Rget or MPI_Rget_c(origin_addr: GuestAddr, origin_count: Count, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: Count, target_datatype: i32, win: i32, request: GuestAddr) = rget, at_once;
}

/// Address, number and type of elements at the origin, as the program gives them.
pub(super) type Local = (GuestAddr, i64, i32);

/// Rank, displacement, number and type of elements at the target, as the program gives them.
pub(super) type Remote = (i32, i32, i64, i32);

/// Which member of [`Ends`] the origin is.
pub(super) const ORIGIN: usize = 0;
/// Which member of [`Ends`] the target is.
pub(super) const TARGET: usize = 1;

/// The memories of the two ends of an operation.
#[derive(Debug)]
pub(super) struct Ends<'a>([&'a GuestMemory; 2]);

impl Members for Ends<'_> {
    #[inline]
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> std::result::Result<(), Fault> {
        self.0[member].read(GuestAddr::new(addr), out).map_err(engine_fault)
    }

    #[inline]
    fn write(&self, member: usize, addr: u64, data: &[u8]) -> std::result::Result<(), Fault> {
        self.0[member].write(GuestAddr::new(addr), data).map_err(engine_fault)
    }

    fn copy(
        &self,
        from: (usize, u64),
        to: (usize, u64),
        len: u64,
    ) -> std::result::Result<(), Fault> {
        let (source, target) = (self.0[from.0], self.0[to.0]);
        let (from, to) = (GuestAddr::new(from.1), GuestAddr::new(to.1));
        target.copy_from(to, source, from, len).map_err(engine_fault)
    }
}

/// The buffer of one of the two ends.
pub(super) const fn operand(member: usize, buffer: &Buffer) -> Operand<'_> {
    Operand { member, addr: buffer.addr, count: buffer.count, datatype: &buffer.datatype }
}

/// The checked target of an operation.
#[derive(Debug)]
pub(super) struct Reached {
    /// Its rank in the window.
    pub(super) rank: u32,
    /// Where its memory is touched.
    pub(super) buffer: Buffer,
}

impl Reached {
    /// The memories of both ends.
    pub(super) fn ends<'a, P: MpiPort>(
        &self,
        mpi: &'a MpiCtx<P>,
        shared: &Shared,
    ) -> Result<Ends<'a>> {
        let world_rank = shared.group.world_rank(self.rank as usize);
        let memory = world_rank.and_then(|rank| mpi.port.memory(rank)).ok_or_else(|| {
            let detail = format!("rank {} of the window has ended", self.rank);
            MpiError::argument(ErrorClass::Rank, "target_rank", detail)
        })?;
        Ok(Ends([mpi.memory()?, memory]))
    }
}

/// Checks a buffer of the origin.
pub(super) fn local<P: MpiPort>(
    mpi: &MpiCtx<P>,
    (name, counted): (&'static str, &'static str),
    (addr, count, datatype): Local,
) -> Result<Buffer> {
    if count < 0 {
        let detail = format!("{count} is negative");
        return Err(MpiError::argument(ErrorClass::Count, counted, detail));
    }
    let datatype = mpi.datatype(datatype)?;
    // MPI_BOTTOM is for types with absolute displacements; nothing of C lies at address 0 itself.
    if addr.is_null() && count > 0 && matches!(datatype, Datatype::Predefined(_)) {
        let detail = "the buffer is a null pointer; give the address of the data";
        return Err(MpiError::argument(ErrorClass::Buffer, name, detail));
    }
    Ok(Buffer { addr: addr.get(), count, datatype })
}

/// Checks the target of an operation: the epoch, and that it touches only memory of the window. `None`
/// for `MPI_PROC_NULL`. With `is_passive` the target has to be locked.
pub(super) fn reach<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    win: i32,
    (rank, disp, count, datatype): Remote,
    is_passive: bool,
) -> Result<Option<Reached>> {
    window(mpi, win)?;
    if count < 0 {
        let detail = format!("{count} is negative");
        return Err(MpiError::argument(ErrorClass::Count, "target_count", detail));
    }
    let datatype = mpi.datatype(datatype)?;
    let own = window(mpi, win)?;
    let Some(rank) = passive::target(own, rank)? else { return Ok(None) };
    let is_open = if is_passive { own.has_locked(rank) } else { own.enter(rank) };
    if !is_open {
        let needed = if is_passive { "MPI_Win_lock" } else { "MPI_Win_fence, _start or _lock" };
        let detail = format!("no epoch for target {rank} is open; begin one with {needed}");
        return Err(wrong_synchronization(&detail));
    }
    let shared = own.shared.clone();
    let addr = if shared.is_dynamic && shared.is_spread && far::is_far(mpi, win, rank)? {
        // The target's node knows what is attached.
        u64::from(disp.cast_unsigned())
    } else if shared.is_dynamic {
        attached(shared.member(rank), disp, (count, &datatype))?
    } else {
        within(shared.member(rank), disp, (count, &datatype))?
    };
    Ok(Some(Reached { rank, buffer: Buffer { addr, count, datatype } }))
}

/// The address that `disp` stands for, whose elements must lie in the target's part of the window.
fn within(target: &Member, disp: i32, (count, datatype): (i64, &Datatype)) -> Result<u64> {
    if disp < 0 {
        let detail = format!("{disp} is negative");
        return Err(MpiError::argument(ErrorClass::Disp, "target_disp", detail));
    }
    let start = i64::from(disp) * i64::from(target.part.unit);
    if let Some((low, high)) = datatype.span(count) {
        let (low, high) = (start.saturating_add(low), start.saturating_add(high));
        if low < 0 || high > i64::from(target.part.size) {
            let detail = format!(
                "bytes {low} to {high} are not inside the {} bytes that the target has in the window",
                target.part.size
            );
            return Err(MpiError::argument(ErrorClass::RmaRange, "target_disp", detail));
        }
    }
    Ok(u64::from(target.part.base) + start.cast_unsigned())
}

/// The address `disp` in a dynamic window, whose elements must be attached.
fn attached(target: &Member, disp: i32, (count, datatype): (i64, &Datatype)) -> Result<u64> {
    let addr = disp.cast_unsigned();
    if let Some((low, high)) = datatype.span(count) {
        let start = i64::from(addr);
        let (low, high) = (start.saturating_add(low), start.saturating_add(high));
        if !target.is_attached(low, high) {
            let detail = format!(
                "the target has not attached all bytes from {low:#x} to {high:#x}; call \
                 MPI_Win_attach there, and give addresses of MPI_Get_address"
            );
            return Err(MpiError::argument(ErrorClass::RmaRange, "target_disp", detail));
        }
    }
    Ok(u64::from(addr))
}

/// Refuses more data than the receiving side has room for.
pub(super) fn check_room(from: &Buffer, to: &Buffer) -> Result<()> {
    let (sent, room) = (from.bytes()?, to.bytes()?);
    if sent > room {
        let detail = format!("{sent} bytes are more than the {room} of the receiving side");
        return Err(MpiError::new(ErrorClass::Truncate, detail));
    }
    Ok(())
}

/// Which way data goes.
#[derive(Copy, Clone, Debug)]
enum Direction {
    Put,
    Get,
}

fn transfer<T: MpiView>(
    call: &mut Call<'_, T>,
    direction: Direction,
    origin: Local,
    target: Remote,
    (win, is_passive): (i32, bool),
) -> Result<Option<FarAccess>> {
    let mpi = call.mpi();
    if at_once(mpi, direction, origin, target, (win, is_passive), false).is_some() {
        return Ok(None);
    }
    window(mpi, win)?;
    let origin = local(mpi, ("origin_addr", "origin_count"), origin)?;
    let Some(reached) = reach(mpi, win, target, is_passive)? else { return Ok(None) };
    if far::is_far(mpi, win, reached.rank)? {
        return elsewhere(direction, origin, reached, win).map(Some);
    }
    let shared = window(mpi, win)?.shared.clone();
    let ends = reached.ends(mpi, &shared)?;
    let (near, far) = (operand(ORIGIN, &origin), operand(TARGET, &reached.buffer));
    let (from, to) = match direction {
        Direction::Put => {
            check_room(&origin, &reached.buffer)?;
            (near, far)
        }
        Direction::Get => {
            check_room(&reached.buffer, &origin)?;
            (far, near)
        }
    };
    typed_copy(&ends, from, to).map_err(MpiError::from)?;
    Ok(None)
}

/// The usual case: as many elements of the same predefined type at both ends, adjacent, in a window whose memory
/// is on this node. `None` when anything is otherwise, or wrong; then nothing has been done. A flush may be left out
/// where the rank `stays` on its node.
#[inline]
fn at_once<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    direction: Direction,
    (addr, count, datatype): Local,
    (rank, disp, target_count, target_datatype): Remote,
    (win, is_passive): (i32, bool),
    stays: bool,
) -> Option<Made> {
    if (count, datatype) != (target_count, target_datatype) || addr.is_null() {
        return None;
    }
    let len = Predefined::run_bytes(datatype, count)?;
    let Some(OtherEntry::Window(own)) = mpi.others.get_mut(win) else { return None };
    let rank = u32::try_from(rank).ok()?;
    let part = own.shared.members.get(rank as usize)?.part;
    let start = u64::try_from(disp).ok()? * u64::from(part.unit);
    let is_inside = start.checked_add(len)? <= u64::from(part.size);
    let is_usual = !own.shared.is_dynamic && !own.shared.is_spread;
    let is_locked = own.has_locked(rank);
    if !(is_inside && is_usual && (is_locked || !is_passive && own.enter(rank))) {
        return None;
    }
    let is_settled = stays && is_locked && needs_no_flush(own, &mpi.port);
    let world_rank = own.shared.group.world_rank(rank as usize)?;
    let (near, far) = (mpi.memory().ok()?, mpi.port.memory(world_rank)?);
    let there = GuestAddr::new(u64::from(part.base) + start);
    match direction {
        Direction::Put => far.copy_from(there, near, addr, len),
        Direction::Get => near.copy_from(addr, far, there, len),
    }
    .ok()?;
    Some(if is_settled { Made::Settled } else { Made::Plainly })
}

/// The same for a target on another node.
fn elsewhere(
    direction: Direction,
    near: Buffer,
    Reached { rank: target, buffer: there }: Reached,
    win: i32,
) -> Result<FarAccess> {
    let (op, origin, result) = match direction {
        Direction::Put => {
            check_room(&near, &there)?;
            (Op::Replace, Some(near), None)
        }
        Direction::Get => {
            check_room(&there, &near)?;
            (Op::NoOp, None, Some(near))
        }
    };
    Ok(FarAccess { win, target, there, op, basic: None, origin, result })
}

/// Does what is left of an operation whose target is on another node.
#[inline]
pub(super) async fn perform<T: MpiView>(
    call: &mut Call<'_, T>,
    far: Option<FarAccess>,
    completes: bool,
) -> Result<()> {
    match far {
        None => Ok(()),
        Some(far) => {
            call.later().await;
            Box::pin(far::perform(call, &far, completes)).await
        }
    }
}

/// Gives the guest the request of an operation, which is complete.
pub(super) fn put_request<T: MpiView>(call: &mut Call<'_, T>, request: GuestAddr) -> Result<()> {
    let handle = insert_complete(call.mpi(), abi::MPI_COMM_SELF)?;
    call.write_i32("request", request, handle)
}

macro_rules! transfers {
    ($($direction:ident: $name:ident $request_name:ident $usual_name:ident;)*) => {$(
        fn $usual_name<T: MpiView>(call: &mut Call<'_, T>, origin_addr: GuestAddr, origin_count: i64, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: i64, target_datatype: i32, win: i32) -> Option<Result<Made>> {
            let stays = call.caller.data().door().is_none();
            let origin = (origin_addr, origin_count, origin_datatype);
            let target = (target_rank, target_disp, target_count, target_datatype);
            at_once(call.mpi(), Direction::$direction, origin, target, (win, false), stays).map(Ok)
        }

        async fn $name<T: MpiView>(call: &mut Call<'_, T>, origin_addr: GuestAddr, origin_count: i64, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: i64, target_datatype: i32, win: i32) -> Result<()> {
            let origin = (origin_addr, origin_count, origin_datatype);
            let target = (target_rank, target_disp, target_count, target_datatype);
            let far = transfer(call, Direction::$direction, origin, target, (win, false))?;
            perform(call, far, false).await
        }

        async fn $request_name<T: MpiView>(call: &mut Call<'_, T>, origin_addr: GuestAddr, origin_count: i64, origin_datatype: i32, target_rank: i32, target_disp: i32, target_count: i64, target_datatype: i32, win: i32, request: GuestAddr) -> Result<()> {
            let origin = (origin_addr, origin_count, origin_datatype);
            let target = (target_rank, target_disp, target_count, target_datatype);
            let far = transfer(call, Direction::$direction, origin, target, (win, true))?;
            perform(call, far, true).await?;
            put_request(call, request)
        }
    )*};
}

transfers! {
    Put: put rput put_at_once;
    Get: get rget get_at_once;
}
