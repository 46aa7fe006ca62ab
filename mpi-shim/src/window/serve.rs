//! A window at the node of its targets: what ranks of other nodes ask is done on the thread that brings it,
//! so that no target has to call anything.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::op::Op;
use faasm_mpi_engine::rma::Wanted;
use faasm_vm::{GuestAddr, GuestFault, GuestMemory};

use super::access::{Access, Asked, ELEMENT_BYTES_MAX, calculate};
use super::{Member, Shared, count, held};
use crate::world::{Effect, Question, Served, answer};

/// Most bytes that one question reaches.
const BYTES_MAX: u64 = 512 * 1024;

/// Locks of origins that ask for them from anywhere.
#[derive(Debug, Default)]
pub(super) struct Askers {
    /// Who waits, with the name of the question.
    waiting: Vec<(u32, u32, Wanted)>,
    /// Who has what.
    held: Vec<(u32, Wanted)>,
}

impl Served for Shared {
    fn serve<'a>(
        &self,
        question: Question<'_>,
        memory: &dyn Fn(u32) -> Option<&'a GuestMemory>,
    ) -> Option<Vec<Effect>> {
        let Question { from, name, bytes } = question;
        let is_sender = |member: u32| self.world_rank(member) == Some(from);
        let told = |data| Effect::Answer { rank: from, name, data };
        Some(match Asked::read(bytes)? {
            Asked::Access(access) => {
                self.members.get(access.target as usize)?;
                if access.runs.iter().map(|(_, len)| *len).try_fold(0, u64::checked_add)?
                    > BYTES_MAX
                {
                    return None;
                }
                vec![told(answer(self.access(&access, memory)))]
            }
            Asked::Swap { target, addr, expected, new } => {
                self.members.get(target as usize)?;
                vec![told(answer(self.swap(target, addr, (expected, new), memory)))]
            }
            Asked::Lock(origin, wanted) => {
                let is_new = is_sender(origin) && self.is_target(wanted);
                let has = self.lock_for(is_new.then_some(origin)?, name, wanted)?;
                if has { vec![told(answer(Ok(Vec::new())))] } else { Vec::new() }
            }
            Asked::Unlock(origin, wanted) => {
                let mut effects = self.unlock_for(is_sender(origin).then_some(origin)?, wanted)?;
                effects.push(told(answer(Ok(Vec::new()))));
                effects
            }
            Asked::Post(poster, to) => {
                let member = self.members.get(is_sender(poster).then_some(to)? as usize)?;
                count(&mut member.posts(), poster);
                vec![Effect::Wake(self.world_rank(to)?), told(answer(Ok(Vec::new())))]
            }
            Asked::Complete(origin, to) => {
                let member = self.members.get(is_sender(origin).then_some(to)? as usize)?;
                count(&mut member.completions(), origin);
                vec![Effect::Wake(self.world_rank(to)?), told(answer(Ok(Vec::new())))]
            }
        })
    }
}

impl Shared {
    /// World rank of a member.
    pub(crate) fn world_rank(&self, member: u32) -> Option<u32> {
        self.group.world_rank(member as usize)
    }

    /// The locks that were held when the window was saved; false when they contradict each other.
    pub(crate) fn put_locks_back(&self, holders: &[(u32, Wanted)]) -> bool {
        let mut askers = held(&self.askers);
        holders.iter().all(|(origin, wanted)| {
            if self.is_spread {
                askers.held.push((*origin, *wanted));
            }
            self.locks().acquire(*origin, *wanted)
        })
    }

    fn is_target(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::All => true,
            Wanted::One(target, _) => (target as usize) < self.members.len(),
        }
    }

    /// Whether `origin` has the lock now; `None` when it may not ask.
    fn lock_for(&self, origin: u32, name: u32, wanted: Wanted) -> Option<bool> {
        let mut askers = held(&self.askers);
        let waits = askers.waiting.iter().any(|(other, ..)| *other == origin);
        let has = askers.held.contains(&(origin, wanted));
        if waits || has {
            return None;
        }
        let is_free = self.locks().acquire(origin, wanted);
        if is_free {
            askers.held.push((origin, wanted));
        } else {
            askers.waiting.push((origin, name, wanted));
        }
        Some(is_free)
    }

    /// Gives the lock of `origin` to those who wait; `None` when it has none such.
    fn unlock_for(&self, origin: u32, wanted: Wanted) -> Option<Vec<Effect>> {
        let mut askers = held(&self.askers);
        let index = askers.held.iter().position(|held| *held == (origin, wanted))?;
        askers.held.swap_remove(index);
        let granted = self.locks().release(origin, wanted);
        let mut effects = Vec::with_capacity(granted.len() + 1);
        for origin in granted {
            let index = askers.waiting.iter().position(|(other, ..)| *other == origin)?;
            let (origin, name, wanted) = askers.waiting.swap_remove(index);
            askers.held.push((origin, wanted));
            let rank = self.world_rank(origin)?;
            effects.push(Effect::Answer { rank, name, data: answer(Ok(Vec::new())) });
        }
        Some(effects)
    }

    fn memory_of<'a>(
        &self,
        target: u32,
        memory: &dyn Fn(u32) -> Option<&'a GuestMemory>,
    ) -> Result<&'a GuestMemory> {
        self.world_rank(target).and_then(memory).ok_or_else(|| {
            let detail = format!("rank {target} of the window has ended");
            MpiError::argument(ErrorClass::Rank, "target_rank", detail)
        })
    }

    /// Checks that the target has these bytes in the window.
    fn check_range(&self, member: &Member, addr: u64, len: u64) -> Result<()> {
        let part = member.part;
        let end = addr.saturating_add(len);
        let is_inside = if self.is_dynamic {
            i64::try_from(end).is_ok_and(|end| member.is_attached(addr.cast_signed(), end))
        } else {
            let (start, size) = (u64::from(part.base), u64::from(part.size));
            addr >= start && end <= start + size
        };
        if is_inside {
            return Ok(());
        }
        let detail = format!(
            "the target has not all bytes from {addr:#x} to {end:#x} in the window; a dynamic window needs \
             MPI_Win_attach there, and addresses of MPI_Get_address"
        );
        Err(MpiError::argument(ErrorClass::RmaRange, "target_disp", detail))
    }

    fn access<'a>(
        &self,
        access: &Access<'_>,
        memory: &dyn Fn(u32) -> Option<&'a GuestMemory>,
    ) -> Result<Vec<u8>> {
        let Access { target, op, basic, reads, ref runs, data } = *access;
        let (member, memory) = (self.member(target), self.memory_of(target, memory)?);
        for (addr, len) in runs {
            self.check_range(member, *addr, *len)?;
        }
        let _alone = member.atomic();
        let before = if reads { gather(memory, runs, u64::MAX)? } else { Vec::new() };
        match op {
            Op::NoOp => {}
            Op::Replace => scatter(memory, runs, data)?,
            _ => {
                let kernel = basic.and_then(|basic| Some((basic.kind(), op.kernel(basic)?)));
                let (kind, kernel) = kernel.ok_or_else(|| {
                    let detail = format!("{} is not defined on the type", op.name());
                    MpiError::argument(ErrorClass::Op, "op", detail)
                })?;
                let mut mine = gather(memory, runs, data.len() as u64)?;
                if mine.len() != data.len() || !data.len().is_multiple_of(kind.size()) {
                    let detail = "the data is not a whole number of elements";
                    return Err(MpiError::argument(ErrorClass::Type, "target_datatype", detail));
                }
                calculate(kind, kernel, &mut mine, data);
                scatter(memory, runs, &mine)?;
            }
        }
        Ok(before)
    }

    fn swap<'a>(
        &self,
        target: u32,
        addr: u64,
        (expected, new): (&[u8], &[u8]),
        memory: &dyn Fn(u32) -> Option<&'a GuestMemory>,
    ) -> Result<Vec<u8>> {
        let (member, memory) = (self.member(target), self.memory_of(target, memory)?);
        self.check_range(member, addr, new.len() as u64)?;
        let mut found = [0; ELEMENT_BYTES_MAX];
        let found = &mut found[..expected.len()];
        let _alone = member.atomic();
        memory.read(GuestAddr::new(addr), found).map_err(gone)?;
        if found == expected {
            memory.write(GuestAddr::new(addr), new).map_err(gone)?;
        }
        Ok(found.to_vec())
    }
}

fn gone(fault: GuestFault) -> MpiError {
    MpiError::argument(ErrorClass::RmaRange, "target_disp", fault.to_string())
}

/// The first `most` bytes of the pieces.
fn gather(memory: &GuestMemory, runs: &[(u64, u64)], most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (addr, len) in runs {
        let (start, len) = (bytes.len(), (*len).min(most - bytes.len() as u64));
        bytes.resize(start + len as usize, 0);
        memory.read(GuestAddr::new(*addr), &mut bytes[start..]).map_err(gone)?;
    }
    Ok(bytes)
}

/// Writes `data` to the first bytes of the pieces.
fn scatter(memory: &GuestMemory, runs: &[(u64, u64)], mut data: &[u8]) -> Result<()> {
    for (addr, len) in runs {
        let (piece, rest) = data.split_at(data.len().min(*len as usize));
        memory.write(GuestAddr::new(*addr), piece).map_err(gone)?;
        data = rest;
    }
    Ok(())
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
