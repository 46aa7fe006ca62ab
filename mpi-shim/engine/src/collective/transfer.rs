//! Typed copies between two members, the step all data movement is made of.

use alloc::format;
use alloc::vec;

use super::contribution::Operand;
use super::members::{MemberFault, MemberMemory, Members};
use crate::datatype::{Fault, address, pack_window, unpack_window};
use crate::error::{ErrorClass, MpiError};

/// Copies as many bytes as both sides hold. Contiguous data moves in one copy, data with gaps on
/// one side in one copy a run, and only data with gaps on both sides goes through a small buffer.
///
/// # Errors
/// The member and the access that lies outside its memory.
pub fn typed_copy<M: Members>(
    members: &M,
    from: Operand<'_>,
    to: Operand<'_>,
) -> Result<(), MemberFault> {
    copy_bytes(members, from, to, data_bytes(from)?.min(data_bytes(to)?))
}

/// Copies this many data bytes, which both operands hold.
fn copy_bytes<M: Members>(
    members: &M,
    from: Operand<'_>,
    to: Operand<'_>,
    bytes: u64,
) -> Result<(), MemberFault> {
    if bytes == 0 {
        return Ok(());
    }
    match (from.datatype.run_offset(from.count), to.datatype.run_offset(to.count)) {
        (Some(source), Some(target)) => {
            let source = (from.member, address(from.addr, source));
            let target = (to.member, address(to.addr, target));
            members.copy(source, target, bytes).map_err(|_| blame(members, source, target, bytes))
        }
        (Some(source), None) => {
            scatter(members, (from.member, address(from.addr, source)), to, bytes)
        }
        (None, Some(target)) => gather(members, from, (to.member, address(to.addr, target)), bytes),
        (None, None) => convert(members, from, to, bytes),
    }
}

/// Copies what a member sent into where another expects it.
///
/// # Errors
/// `Err(Err(fault))` for an invalid buffer; `Err(Ok(error))` for the receiver when the amounts
/// differ: `MPI_ERR_TRUNCATE` when too much was sent (what fits is delivered), `MPI_ERR_COUNT` when
/// too little.
pub(super) fn deliver<M: Members>(
    members: &M,
    from: Operand<'_>,
    to: Operand<'_>,
) -> Result<(), Result<MpiError, MemberFault>> {
    let (sent, expected) = (data_bytes(from).map_err(Err)?, data_bytes(to).map_err(Err)?);
    copy_bytes(members, from, to, sent.min(expected)).map_err(Err)?;
    if sent == expected {
        return Ok(());
    }
    let class = if sent > expected { ErrorClass::Truncate } else { ErrorClass::Count };
    let detail = format!(
        "rank {} sent {sent} bytes where rank {} expects {expected}",
        from.member, to.member
    );
    Err(Ok(MpiError::new(class, detail)))
}

/// Exchanges the contents of two operands of equal size.
pub(super) fn swap<M: Members>(
    members: &M,
    a: Operand<'_>,
    b: Operand<'_>,
) -> Result<(), MemberFault> {
    let bytes = data_bytes(a)?.min(data_bytes(b)?);
    let len = CHUNK_BYTES.min(bytes);
    let (mut from_a, mut from_b) = (vec![0; len as usize], vec![0; len as usize]);
    let mut start = 0;
    while start < bytes {
        let len = (bytes - start).min(CHUNK_BYTES) as usize;
        read_window(members, a, start, &mut from_a[..len])?;
        read_window(members, b, start, &mut from_b[..len])?;
        write_window(members, a, start, &from_b[..len])?;
        write_window(members, b, start, &from_a[..len])?;
        start += len as u64;
    }
    Ok(())
}

/// Data bytes of an operand.
pub(super) fn data_bytes(operand: Operand<'_>) -> Result<u64, MemberFault> {
    crate::datatype::total_bytes(operand.addr, operand.count, operand.datatype)
        .map_err(|fault| MemberFault { member: operand.member, fault })
}

/// Bytes from one run into many.
fn scatter<M: Members>(
    members: &M,
    (source, mut at): (usize, u64),
    to: Operand<'_>,
    bytes: u64,
) -> Result<(), MemberFault> {
    let mut failed = None;
    let visited = to.datatype.visit(to.addr, to.count, 0..bytes, &mut |addr, len| {
        let (start, target) = ((source, at), (to.member, addr));
        at += len;
        members.copy(start, target, len).inspect_err(|_| {
            failed = Some(blame(members, start, target, len));
        })
    });
    visited.map_err(|fault| failed.unwrap_or(MemberFault { member: to.member, fault }))
}

/// Bytes from many runs into one.
fn gather<M: Members>(
    members: &M,
    from: Operand<'_>,
    (target, mut at): (usize, u64),
    bytes: u64,
) -> Result<(), MemberFault> {
    let mut failed = None;
    let visited = from.datatype.visit(from.addr, from.count, 0..bytes, &mut |addr, len| {
        let (start, end) = ((from.member, addr), (target, at));
        at += len;
        members.copy(start, end, len).inspect_err(|_| {
            failed = Some(blame(members, start, end, len));
        })
    });
    visited.map_err(|fault| failed.unwrap_or(MemberFault { member: from.member, fault }))
}

fn convert<M: Members>(
    members: &M,
    from: Operand<'_>,
    to: Operand<'_>,
    bytes: u64,
) -> Result<(), MemberFault> {
    let mut buffer = vec![0; CHUNK_BYTES.min(bytes) as usize];
    let mut start = 0;
    while start < bytes {
        let len = (bytes - start).min(CHUNK_BYTES) as usize;
        read_window(members, from, start, &mut buffer[..len])?;
        write_window(members, to, start, &buffer[..len])?;
        start += len as u64;
    }
    Ok(())
}

fn read_window<M: Members>(
    members: &M,
    from: Operand<'_>,
    start: u64,
    out: &mut [u8],
) -> Result<(), MemberFault> {
    let memory = MemberMemory { members, member: from.member };
    pack_window(&memory, from.addr, from.count, from.datatype, start, out)
        .map_err(|fault| MemberFault { member: from.member, fault })
}

fn write_window<M: Members>(
    members: &M,
    to: Operand<'_>,
    start: u64,
    data: &[u8],
) -> Result<(), MemberFault> {
    let memory = MemberMemory { members, member: to.member };
    unpack_window(&memory, to.addr, to.count, to.datatype, start, data)
        .map_err(|fault| MemberFault { member: to.member, fault })
}

/// Finds out which end of a failed copy is outside its memory.
pub(super) fn blame<M: Members>(
    members: &M,
    from: (usize, u64),
    to: (usize, u64),
    len: u64,
) -> MemberFault {
    let mut byte = [0];
    let readable = |(member, addr): (usize, u64), byte: &mut [u8]| {
        let last: Result<u64, Fault> = addr.checked_add(len - 1).ok_or(Fault { addr, len });
        members.read(member, addr, byte).and(last).and_then(|at| members.read(member, at, byte))
    };
    let (member, addr) = if readable(from, &mut byte).is_err() { from } else { to };
    MemberFault { member, fault: Fault { addr, len } }
}

/// Bytes that pass through a buffer at a time.
const CHUNK_BYTES: u64 = 64 << 10;
