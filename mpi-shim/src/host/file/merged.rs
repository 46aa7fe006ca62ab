//! Collective accesses of the members of one node in two phases: the members tell each other which bytes
//! they want, and then each moves a stretch of the file, for whomever its bytes are.

use std::sync::Arc;

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::file::{Piece, Plan, stretches};
use faasm_vm::{GuestAddr, GuestMemory};

use super::access::WRITE;
use super::meeting::agree;
use crate::call::{Call, MpiView};
use crate::file::{FileEntry, Representation};
use crate::host::communicator::{Maker, Wire, exchange};
use crate::port::MpiPort;
use crate::request::Buffer;

/// Most pieces of one member that are merged.
const PIECES_MAX: usize = 1 << 16;
/// Bytes that are moved by one access of the file.
const STRETCH_BYTES_MAX: u64 = 4 << 20;

/// What a member wants to move.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Position in the view's stream.
    pub(super) position: u64,
    pub(super) buffer: Buffer,
    /// Bytes in the file.
    pub(super) bytes: u64,
}

/// A member's pieces, `[file, memory, len]` each; none where they cannot be merged.
struct Pieces(Option<Vec<[u64; 3]>>);

impl Wire for Pieces {
    fn write(&self, out: &mut Writer) {
        out.u8(self.0.is_some().into());
        self.0.iter().flatten().flatten().for_each(|word| out.u64(*word));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let is_some = from.u8()? != 0;
        let mut pieces = Vec::new();
        while is_some && !from.rest().is_empty() {
            pieces.push([from.u64()?, from.u64()?, from.u64()?]);
        }
        Some(Self(is_some.then_some(pieces)))
    }
}

/// Moves all members' data together where that pays; gives the bytes of this member's memory.
///
/// # Errors
/// This member's own, or another's.
pub(super) async fn access<T: MpiView>(
    call: &mut Call<'_, T>,
    entry: &FileEntry,
    flags: u32,
    wanted: &Result<Wanted>,
) -> Result<Option<u64>> {
    let writes = flags & WRITE != 0;
    let input = wanted.as_ref().map_err(Clone::clone).and_then(|wanted| {
        let there = if writes { wanted.bytes } else { available(entry, wanted)? };
        Ok((pieces(entry, wanted, there), there))
    });
    let moved = input.as_ref().map_or(0, |(_, there)| *there);
    let handler = call.mpi().error_comm;
    let combine = |_: &mut Maker<'_>, members: Vec<Pieces>| {
        let count = members.len();
        let lists: Option<Vec<_>> = members.into_iter().map(|pieces| pieces.0).collect();
        let plan = lists.and_then(|lists| Plan::new(&lists)).map(Arc::new);
        Ok(vec![plan; count])
    };
    let input = input.map(|(pieces, _)| Pieces(pieces));
    let plan = Box::pin(exchange(call, entry.comm, input, combine)).await;
    call.mpi().error_comm = handler;
    let Some(plan) = plan? else { return Ok(None) };
    let done = carry_out(call, entry, &plan, writes);
    // Nobody's buffer is free, nor is its data there, before all have done their part.
    agree(call, entry.comm, "fh", done.map(|()| [0; 2]), || ()).await?;
    Ok(Some(moved))
}

/// Bytes that can be read.
fn available(entry: &FileEntry, wanted: &Wanted) -> Result<u64> {
    let there = entry.view.bytes_in(entry.file.size()?).saturating_sub(wanted.position);
    Ok(wanted.bytes.min(there))
}

/// The pieces of the first `bytes`; `None` when they are too many or are not in the file as in memory.
fn pieces(entry: &FileEntry, wanted: &Wanted, bytes: u64) -> Option<Vec<[u64; 3]>> {
    let is_usual = matches!(entry.representation, Representation::Native(_)) && !entry.is_atomic;
    // Nobody reaches the memory of ranks of other nodes.
    if !is_usual || entry.keeper.is_some() {
        return None;
    }
    let Buffer { addr, count, datatype } = &wanted.buffer;
    let mut memory = Vec::new();
    let collected = datatype.visit(*addr, *count, 0..bytes, &mut |addr, len| {
        memory.push((addr, len));
        if memory.len() > PIECES_MAX {
            return Err(faasm_mpi_engine::datatype::Fault { addr, len });
        }
        Ok(())
    });
    collected.ok()?;
    let mut memory = memory.into_iter();
    let (mut pieces, mut near) = (Vec::new(), (0, 0));
    let all_seen = entry.view.runs(wanted.position, bytes, &mut |mut file, mut left| {
        while left > 0 {
            if near.1 == 0 {
                let Some(next) = memory.next() else { return false };
                near = next;
            }
            let len = left.min(near.1);
            pieces.push([file, near.0, len]);
            near = (near.0 + len, near.1 - len);
            (file, left) = (file + len, left - len);
        }
        pieces.len() <= PIECES_MAX
    });
    all_seen.filter(|()| pieces.len() <= PIECES_MAX)?;
    Some(pieces)
}

/// Moves this member's share of the file.
fn carry_out<T: MpiView>(
    call: &mut Call<'_, T>,
    entry: &FileEntry,
    plan: &Plan,
    writes: bool,
) -> Result<()> {
    let mpi = call.mpi();
    let handler = mpi.error_comm;
    let (group, rank) = mpi.comm(entry.comm).map(|comm| (comm.group.clone(), comm.rank))?;
    mpi.error_comm = handler;
    let memory = |piece: &Piece| -> Result<&GuestMemory> {
        let rank = group.world_rank(piece.member as usize);
        rank.and_then(|rank| mpi.port.memory(rank)).ok_or_else(|| {
            let detail = format!("rank {} of the file's communicator has ended", piece.member);
            MpiError::new(ErrorClass::Other, detail)
        })
    };
    let share = plan.share(rank, group.len() as u32);
    let mut bytes = Vec::new();
    for stretch in stretches(share, STRETCH_BYTES_MAX) {
        let pieces = &share[stretch];
        let total: u64 = pieces.iter().map(|piece| piece.len).sum();
        bytes.resize(usize::try_from(total).map_err(|_| too_long())?, 0);
        if !writes {
            let got = entry.file.read_at(pieces[0].file, &mut bytes)?;
            bytes[got..].fill(0);
        }
        let mut rest = bytes.as_mut_slice();
        for piece in pieces {
            let (part, behind) = rest.split_at_mut(piece.len as usize);
            let at = GuestAddr::new(piece.memory);
            let memory = memory(piece)?;
            let copied = if writes { memory.read(at, part) } else { memory.write(at, part) };
            copied.map_err(crate::ctx::fault("buf"))?;
            rest = behind;
        }
        if writes {
            entry.file.write_at(pieces[0].file, &bytes)?;
        }
    }
    Ok(())
}

fn too_long() -> MpiError {
    MpiError::argument(ErrorClass::Count, "count", "the data does not fit an address space")
}
