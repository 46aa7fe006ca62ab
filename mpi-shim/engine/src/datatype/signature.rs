//! The sequence of basic types in one element, for `MPI_Get_elements` and for operators.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::predefined::{BasicKind, Predefined};

/// Basic types of one element in type-map order, with repetitions folded.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    bytes: u64,
    elements: u64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Any number of one predefined type.
    Basic(Predefined),
    Repeat(Arc<Signature>),
    Parts(Arc<[Signature]>),
}

impl Signature {
    /// One element of a predefined type; a pair counts as two basic elements.
    pub(crate) const fn basic(datatype: Predefined) -> Self {
        let elements = if matches!(datatype.kind(), BasicKind::Pair(..)) { 2 } else { 1 };
        Self { bytes: datatype.size() as u64, elements, shape: Shape::Basic(datatype) }
    }

    /// `count` times this signature. The caller has checked that the bytes fit.
    pub(crate) fn repeat(self, count: u64) -> Self {
        let (bytes, elements) = (self.bytes * count, self.elements * count);
        let shape = match self.shape {
            _ if count == 1 => self.shape,
            Shape::Basic(datatype) => Shape::Basic(datatype),
            Shape::Repeat(child) => Shape::Repeat(child),
            Shape::Parts(_) => Shape::Repeat(Arc::new(self)),
        };
        Self { bytes, elements, shape }
    }

    /// The signatures one after the other.
    pub(crate) fn sequence(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for part in parts.into_iter().filter(|part| part.bytes > 0) {
            match kept.last_mut() {
                Some(last)
                    if last.sole_basic().is_some() && last.sole_basic() == part.sole_basic() =>
                {
                    last.bytes += part.bytes;
                    last.elements += part.elements;
                }
                _ => kept.push(part),
            }
        }
        match kept.len() {
            0 => Self { bytes: 0, ..Self::basic(Predefined::Byte) }.repeat(0),
            1 => kept.swap_remove(0),
            _ => Self {
                bytes: kept.iter().map(|part| part.bytes).sum(),
                elements: kept.iter().map(|part| part.elements).sum(),
                shape: Shape::Parts(kept.into()),
            },
        }
    }

    /// The predefined type when the whole signature consists of it.
    pub(crate) fn sole_basic(&self) -> Option<Predefined> {
        match self.shape {
            Shape::Basic(datatype) if self.bytes > 0 => Some(datatype),
            _ => None,
        }
    }

    /// Calls `f` with each predefined type of one element and how many of it follow each other.
    pub(crate) fn visit(&self, f: &mut impl FnMut(Predefined, u64)) {
        match &self.shape {
            Shape::Basic(datatype) => f(*datatype, self.bytes / datatype.size() as u64),
            Shape::Repeat(child) => {
                for _ in 0..self.bytes / child.bytes {
                    child.visit(f);
                }
            }
            Shape::Parts(parts) => parts.iter().for_each(|part| part.visit(f)),
        }
    }

    /// Basic elements in the first `bytes` of the packed data, which may repeat the signature;
    /// `None` when the last one is incomplete.
    pub(crate) fn elements_in(&self, bytes: u64) -> Option<u64> {
        if self.bytes == 0 {
            return (bytes == 0).then_some(0);
        }
        let whole = (bytes / self.bytes).checked_mul(self.elements)?;
        whole.checked_add(self.elements_in_part(bytes % self.bytes)?)
    }

    /// Bytes of packed data that hold this many basic elements, the reverse of
    /// [`Signature::elements_in`]; `None` when there are no such bytes or too many.
    pub(crate) fn bytes_of(&self, elements: u64) -> Option<u64> {
        if self.elements == 0 {
            return (elements == 0).then_some(0);
        }
        let whole = (elements / self.elements).checked_mul(self.bytes)?;
        whole.checked_add(self.bytes_of_part(elements % self.elements)?)
    }

    fn bytes_of_part(&self, elements: u64) -> Option<u64> {
        match &self.shape {
            Shape::Basic(datatype) => Some(basic_bytes_of(*datatype, elements)),
            Shape::Repeat(child) => child.bytes_of(elements),
            Shape::Parts(parts) => {
                let (mut rest, mut bytes) = (elements, 0);
                for part in parts.iter() {
                    if rest < part.elements {
                        return Some(bytes + part.bytes_of_part(rest)?);
                    }
                    rest -= part.elements;
                    bytes += part.bytes;
                }
                (rest == 0).then_some(bytes)
            }
        }
    }

    fn elements_in_part(&self, bytes: u64) -> Option<u64> {
        match &self.shape {
            Shape::Basic(datatype) => basic_elements_in(*datatype, bytes),
            Shape::Repeat(child) => child.elements_in(bytes),
            Shape::Parts(parts) => {
                let (mut rest, mut elements) = (bytes, 0);
                for part in parts.iter() {
                    if rest < part.bytes {
                        return Some(elements + part.elements_in_part(rest)?);
                    }
                    rest -= part.bytes;
                    elements += part.elements;
                }
                (rest == 0).then_some(elements)
            }
        }
    }
}

/// Bytes of fewer elements than a whole signature has, so that they fit.
const fn basic_bytes_of(datatype: Predefined, elements: u64) -> u64 {
    match datatype.kind() {
        BasicKind::Pair(value, _) => {
            elements / 2 * datatype.size() as u64 + elements % 2 * value.size() as u64
        }
        _ => elements * datatype.size() as u64,
    }
}

fn basic_elements_in(datatype: Predefined, bytes: u64) -> Option<u64> {
    let size = datatype.size() as u64;
    let (whole, rest) = (bytes / size, bytes % size);
    match datatype.kind() {
        BasicKind::Pair(value, _) if rest == value.size() as u64 => Some(2 * whole + 1),
        BasicKind::Pair(..) if rest == 0 => Some(2 * whole),
        _ if rest == 0 => Some(whole),
        _ => None,
    }
}
