//! The blocks that go from one node to another, or from one to all, as a stream of bytes.
//!
//! ```text
//! length of each block: u64 | block | block | ...
//! ```

use alloc::format;
use alloc::vec::Vec;

use super::block::{Block, Call};
use super::wire::{Writer, malformed};
use crate::collective::contribution::Operand;
use crate::collective::members::{Failures, MemberFault, MemberMemory, Members};
use crate::collective::transfer::data_bytes;
use crate::datatype::{pack_window, unpack_window};
use crate::error::{ErrorClass, MpiError, Result};

/// A stream that this node sends.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    blocks: Vec<Option<Operand<'a>>>,
    header: Vec<u8>,
    /// Where each block ends in the stream.
    ends: Vec<u64>,
    position: u64,
    /// The block at the position.
    index: usize,
}

/// A stream that this node receives.
#[derive(Debug)]
pub(super) struct Incoming {
    blocks: Vec<Block>,
    header: Vec<u8>,
    ends: Vec<u64>,
    position: u64,
    index: usize,
}

impl<'a> Outgoing<'a> {
    /// The stream of these blocks.
    pub(super) fn new(call: &Call<'a>, blocks: &[Block]) -> Result<Self> {
        let operands: Vec<_> = blocks.iter().map(|block| call.source(*block)).collect();
        let mut header = Writer::new();
        let mut ends = Vec::with_capacity(operands.len());
        let mut end = 8 * operands.len() as u64;
        for operand in &operands {
            let len = match operand {
                Some(operand) => data_bytes(*operand).map_err(MpiError::from)?,
                None => 0,
            };
            header.u64(len);
            end = end.checked_add(len).ok_or_else(malformed)?;
            ends.push(end);
        }
        Ok(Self { blocks: operands, header: header.into_bytes(), ends, position: 0, index: 0 })
    }

    /// All bytes.
    pub(super) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.position >= self.total()
    }

    /// Whether `place` bytes of block `index`, and all blocks before it, have been read.
    pub(super) fn is_past(&self, (index, place): (usize, u64)) -> bool {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(self.total()),
            None => self.header.len() as u64,
        };
        let end = self.ends.get(index).copied().unwrap_or(self.total());
        self.position >= start.saturating_add(place).min(end)
    }

    /// Appends the next bytes of the stream, at most `len`.
    pub(super) fn read<M: Members>(
        &mut self,
        len: u64,
        members: &M,
        out: &mut Writer,
    ) -> Result<()> {
        let mut room = len.min(self.total() - self.position);
        let header = self.header.len() as u64;
        if self.position < header && room > 0 {
            let start = self.position as usize;
            let part = room.min(header - self.position);
            out.raw(&self.header[start..start + part as usize]);
            self.position += part;
            room -= part;
        }
        while room > 0 {
            let end = self.ends[self.index];
            let part = room.min(end - self.position);
            if part == 0 {
                self.index += 1;
                continue;
            }
            let start = if self.index == 0 { header } else { self.ends[self.index - 1] };
            if let Some(block) = self.blocks[self.index] {
                let memory = MemberMemory { members, member: block.member };
                let target = out.room(part as usize);
                let window = self.position - start;
                pack_window(&memory, block.addr, block.count, block.datatype, window, target)
                    .map_err(|fault| MemberFault { member: block.member, fault })?;
            }
            self.position += part;
            room -= part;
        }
        Ok(())
    }
}

impl Incoming {
    /// The stream of these blocks.
    pub(super) fn new(blocks: Vec<Block>) -> Self {
        Self { blocks, header: Vec::new(), ends: Vec::new(), position: 0, index: 0 }
    }

    /// All bytes, once the lengths of the blocks have come.
    pub(super) fn total(&self) -> Option<u64> {
        match self.blocks.is_empty() {
            true => Some(0),
            false => self.ends.last().copied(),
        }
    }

    /// Bytes of the lengths, which come first.
    pub(super) const fn header_bytes(&self) -> u64 {
        8 * self.blocks.len() as u64
    }

    pub(super) fn is_finished(&self) -> bool {
        self.total() == Some(self.position)
    }

    /// Takes the lengths, or what there is of them, from the next bytes of the stream; gives the rest.
    pub(super) fn begin<'d>(
        &mut self,
        call: &Call<'_>,
        data: &'d [u8],
        failures: &mut Failures,
    ) -> Result<&'d [u8]> {
        let header = self.header_bytes();
        if self.position >= header {
            return Ok(data);
        }
        let part = data.len().min((header - self.position) as usize);
        let (first, rest) = data.split_at(part);
        self.header.extend_from_slice(first);
        self.position += part as u64;
        if self.position == header {
            self.compare(call, failures)?;
        }
        Ok(rest)
    }

    /// Block and place in it that `len` bytes after the lengths reach.
    pub(super) fn reach(&self, len: usize) -> (usize, u64) {
        let end = self.position.saturating_add(len as u64);
        let index = self.ends.partition_point(|other| *other < end);
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        (index, end - before.copied().unwrap_or(self.header_bytes()).min(end))
    }

    /// Delivers the next bytes of the stream, after its lengths, to the members of this node.
    pub(super) fn feed<M: Members>(
        &mut self,
        call: &Call<'_>,
        mut data: &[u8],
        members: &M,
    ) -> Result<()> {
        let header = self.header_bytes();
        while !data.is_empty() {
            let end = *self.ends.get(self.index).ok_or_else(malformed)?;
            let part = (end - self.position).min(data.len() as u64) as usize;
            if part == 0 {
                self.index += 1;
                continue;
            }
            let start = if self.index == 0 { header } else { self.ends[self.index - 1] };
            let (first, rest) = data.split_at(part);
            let (from, to) = self.blocks[self.index];
            for receiver in call.receivers(to) {
                let Some(target) = call.target(from, *receiver) else { continue };
                let room = data_bytes(target).map_err(MpiError::from)?;
                // An exchange in place of blocks of different sizes does not happen.
                if !call.in_place || end - start == room {
                    write_window(members, target, self.position - start, first, room)?;
                }
            }
            self.position += part as u64;
            data = rest;
        }
        Ok(())
    }

    /// The lengths are known: receivers that expect others have failed.
    fn compare(&mut self, call: &Call<'_>, failures: &mut Failures) -> Result<()> {
        let mut end = self.header_bytes();
        let (lengths, _) = self.header.as_chunks::<8>();
        for ((from, to), len) in self.blocks.iter().zip(lengths) {
            let len = u64::from_le_bytes(*len);
            end =
                end.checked_add(len).filter(|end| *end <= i64::MAX as u64).ok_or_else(malformed)?;
            self.ends.push(end);
            for receiver in call.receivers(*to) {
                let Some(target) = call.target(*from, *receiver) else { continue };
                if let Some(error) = difference(call, *from, len, target)? {
                    failures.push(*receiver as usize, error);
                }
            }
        }
        self.header = Vec::new();
        Ok(())
    }
}

/// The error of a receiver that expects another amount than was sent.
fn difference(call: &Call<'_>, from: u32, sent: u64, to: Operand<'_>) -> Result<Option<MpiError>> {
    let expected = data_bytes(to).map_err(MpiError::from)?;
    if sent == expected {
        return Ok(None);
    }
    let class = if sent > expected { ErrorClass::Truncate } else { ErrorClass::Count };
    let detail = if call.in_place {
        let (low, high, ours, theirs) = match (from as usize) < to.member {
            true => (from as usize, to.member, sent, expected),
            false => (to.member, from as usize, expected, sent),
        };
        format!("rank {low} exchanges {ours} bytes in place with rank {high}, which has {theirs}")
    } else {
        format!("rank {from} sent {sent} bytes where rank {} expects {expected}", to.member)
    };
    Ok(Some(MpiError::new(class, detail)))
}

/// Writes what fits into `room` bytes of data that begins at position `start` of the block.
fn write_window<M: Members>(
    members: &M,
    target: Operand<'_>,
    start: u64,
    data: &[u8],
    room: u64,
) -> Result<()> {
    let room = room.saturating_sub(start);
    let data = &data[..data.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
    if data.is_empty() {
        return Ok(());
    }
    let memory = MemberMemory { members, member: target.member };
    unpack_window(&memory, target.addr, target.count, target.datatype, start, data)
        .map_err(|fault| MemberFault { member: target.member, fault }.into())
}
