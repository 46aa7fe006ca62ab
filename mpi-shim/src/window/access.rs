//! What ranks of other nodes ask about a window, as it travels.

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::datatype::{BasicKind, Predefined};
use faasm_mpi_engine::op::{Kernel, Op};
use faasm_mpi_engine::rma::{LockKind, Wanted};

/// An operation on pieces of a target's memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Access<'a> {
    /// Rank of the target in the window.
    pub(crate) target: u32,
    /// What becomes of the memory; `NoOp` leaves it.
    pub(crate) op: Op,
    /// The type of all elements, where the operator needs it.
    pub(crate) basic: Option<Predefined>,
    /// The answer brings what was there before.
    pub(crate) reads: bool,
    /// Addresses and lengths of the pieces.
    pub(crate) runs: Vec<(u64, u64)>,
    /// The origin's data, for the first bytes of the pieces.
    pub(crate) data: &'a [u8],
}

/// A question about a window.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Asked<'a> {
    /// Access to a target's memory.
    Access(Access<'a>),
    /// Replacing one element by another if it has a value.
    Swap {
        /// Rank of the target.
        target: u32,
        /// Address of the element.
        addr: u64,
        /// The value that it must have.
        expected: &'a [u8],
        /// The new value, of the same length.
        new: &'a [u8],
    },
    /// A lock for the member `origin`; the answer comes when it has it.
    Lock(u32, Wanted),
    /// The member `origin` gives a lock up.
    Unlock(u32, Wanted),
    /// `MPI_Win_post` of the first member for the second.
    Post(u32, u32),
    /// `MPI_Win_complete` of the first member at the second.
    Complete(u32, u32),
}

impl Asked<'_> {
    /// The question as it travels.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Access(Access { target, op, basic, reads, runs, data }) => {
                out.u8(ACCESS);
                out.u32(target);
                out.i32(op.handle());
                out.i32(basic.map_or(0, Predefined::handle));
                out.u8(reads.into());
                out.u32(runs.len() as u32);
                for (addr, len) in runs {
                    out.u64(addr);
                    out.u64(len);
                }
                out.raw(data);
            }
            Self::Swap { target, addr, expected, new } => {
                out.u8(SWAP);
                out.u32(target);
                out.u64(addr);
                out.bytes(expected);
                out.bytes(new);
            }
            Self::Lock(origin, wanted) => wanting(&mut out, LOCK, origin, wanted),
            Self::Unlock(origin, wanted) => wanting(&mut out, UNLOCK, origin, wanted),
            Self::Post(from, to) => between(&mut out, POST, from, to),
            Self::Complete(from, to) => between(&mut out, COMPLETE, from, to),
        }
        out.into_bytes()
    }
}

impl<'a> Asked<'a> {
    /// Reads a question that another node sent; `None` when it is malformed.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut from = Reader::new(bytes);
        Some(match from.u8()? {
            ACCESS => {
                let target = from.u32()?;
                let op = Op::from_handle(from.i32()?)?;
                let basic = Predefined::from_handle(from.i32()?);
                let reads = from.u8()? != 0;
                let count = from.u32()? as usize;
                let mut runs = Vec::with_capacity(count.min(bytes.len() / 16));
                for _ in 0..count {
                    runs.push((from.u64()?, from.u64()?));
                }
                let data = from.rest();
                Self::Access(Access { target, op, basic, reads, runs, data })
            }
            SWAP => {
                let (target, addr) = (from.u32()?, from.u64()?);
                let (expected, new) = (from.bytes()?, from.bytes()?);
                let fits = expected.len() == new.len() && expected.len() <= ELEMENT_BYTES_MAX;
                fits.then_some(Self::Swap { target, addr, expected, new })?
            }
            LOCK => Self::Lock(from.u32()?, wanted(&mut from)?),
            UNLOCK => Self::Unlock(from.u32()?, wanted(&mut from)?),
            POST => Self::Post(from.u32()?, from.u32()?),
            COMPLETE => Self::Complete(from.u32()?, from.u32()?),
            _ => return None,
        })
    }
}

/// Bytes of the largest element of a predefined type.
pub(super) const ELEMENT_BYTES_MAX: usize = 32;

const ACCESS: u8 = 0;
const SWAP: u8 = 1;
const LOCK: u8 = 2;
const UNLOCK: u8 = 3;
const POST: u8 = 4;
const COMPLETE: u8 = 5;

fn between(out: &mut Writer, code: u8, from: u32, to: u32) {
    out.u8(code);
    out.u32(from);
    out.u32(to);
}

fn wanting(out: &mut Writer, code: u8, origin: u32, wanted: Wanted) {
    out.u8(code);
    out.u32(origin);
    let (kind, target) = match wanted {
        Wanted::All => (0, 0),
        Wanted::One(target, LockKind::Shared) => (1, target),
        Wanted::One(target, LockKind::Exclusive) => (2, target),
    };
    out.u8(kind);
    out.u32(target);
}

fn wanted(from: &mut Reader<'_>) -> Option<Wanted> {
    Some(match (from.u8()?, from.u32()?) {
        (0, _) => Wanted::All,
        (1, target) => Wanted::One(target, LockKind::Shared),
        (2, target) => Wanted::One(target, LockKind::Exclusive),
        _ => return None,
    })
}

/// Applies the operator to packed elements, which the kernel wants as they lie in an array.
pub(crate) fn calculate(kind: BasicKind, kernel: Kernel, mine: &mut [u8], theirs: &[u8]) {
    if kind.size() == kind.extent() {
        return kernel(mine, theirs);
    }
    let (size, extent) = (kind.size(), kind.extent());
    let BasicKind::Pair(value, _) = kind else { return };
    let (value, index) = (value.size(), kind.pair_index_offset());
    let spread = |packed: &[u8]| {
        let mut array = vec![0; packed.len() / size * extent];
        for (element, packed) in array.chunks_exact_mut(extent).zip(packed.chunks_exact(size)) {
            element[..value].copy_from_slice(&packed[..value]);
            element[index..index + size - value].copy_from_slice(&packed[value..]);
        }
        array
    };
    let mut array = spread(mine);
    kernel(&mut array, &spread(theirs));
    for (element, packed) in array.chunks_exact(extent).zip(mine.chunks_exact_mut(size)) {
        packed[..value].copy_from_slice(&element[..value]);
        packed[value..].copy_from_slice(&element[index..index + size - value]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_arrive_as_they_were_asked_and_cut_ones_are_refused() {
        let access = Access {
            target: 3,
            op: Op::Sum,
            basic: Some(Predefined::Double),
            reads: true,
            runs: vec![(16, 8), (32, 8)],
            data: &[1; 16],
        };
        let questions = [
            Asked::Access(access),
            Asked::Swap { target: 1, addr: 99, expected: &[1, 2], new: &[3, 4] },
            Asked::Lock(2, Wanted::All),
            Asked::Unlock(1, Wanted::One(4, LockKind::Exclusive)),
            Asked::Post(1, 2),
            Asked::Complete(2, 1),
        ];
        for question in questions {
            let bytes = question.clone().into_bytes();
            assert_eq!(Asked::read(&bytes), Some(question.clone()));
            let head = bytes.len() - if matches!(question, Asked::Access(_)) { 16 } else { 0 };
            for cut in 0..head {
                assert_eq!(Asked::read(&bytes[..cut]), None, "{question:?} cut to {cut}");
            }
        }
        assert_eq!(Asked::read(&[9]), None);
    }
}
