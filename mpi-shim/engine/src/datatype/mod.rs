//! Datatypes: predefined and derived, their layout, and moving typed data (MPI-5.0 chapter 5).
//!
//! A [`Datatype`] is an immutable value that is cheap to clone. Counts and displacements are `i64`
//! throughout; every product and sum is checked when a type is made, so that walking it cannot
//! overflow. The walk itself is lazy: `MPI_Type_vector` of a billion blocks takes a few words.

mod bounds;
mod construct;
mod darray;
mod external;
mod layout;
mod parametric;
mod predefined;
mod rebuild;
mod signature;
#[cfg(test)]
mod tests;
mod transfer;
mod window;

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

pub use construct::{Combiner, Contents, Order};
pub use darray::{DISTRIBUTE_DFLT_DARG, DistributedArray, Distribution};
pub use external::{external_bytes, external_form, file_form, pack_external, unpack_external};
pub use predefined::{BasicKind, Predefined, Scalar};
pub use transfer::{Fault, Memory, pack, pack_window, probe, unpack, unpack_window};
pub(crate) use transfer::{address, total_bytes};

use bounds::Bounds;
use layout::{Layout, Visit};
use signature::Signature;

/// A datatype.
///
/// Constructors are in `construct.rs`. Queries: size and bounds, [`Datatype::contents`],
/// [`Datatype::is_contiguous`], [`Datatype::span`], [`Datatype::elements_in`].
#[derive(Clone, Debug)]
pub enum Datatype {
    /// A type the standard defines.
    Predefined(Predefined),
    /// A type the program made.
    Derived(Arc<Derived>),
}

/// A derived datatype: how it was made and what follows from it.
#[derive(Debug)]
pub struct Derived {
    contents: Contents,
    layout: Layout,
    signature: Signature,
    bounds: Bounds,
    /// Lower and upper bound, which every walk needs.
    nominal: (i64, i64),
    committed: AtomicBool,
}

impl From<Predefined> for Datatype {
    fn from(predefined: Predefined) -> Self {
        Self::Predefined(predefined)
    }
}

impl Datatype {
    /// Bytes of data in one element (`MPI_Type_size`).
    #[inline]
    pub fn size(&self) -> i64 {
        match self {
            Self::Predefined(predefined) => predefined.size() as i64,
            Self::Derived(derived) => derived.layout.size() as i64,
        }
    }

    /// Lower bound (`MPI_Type_get_extent`).
    pub fn lb(&self) -> i64 {
        match self {
            Self::Predefined(_) => 0,
            Self::Derived(derived) => derived.nominal.0,
        }
    }

    /// Distance between consecutive elements (`MPI_Type_get_extent`).
    #[inline]
    pub fn extent(&self) -> i64 {
        match self {
            Self::Predefined(predefined) => predefined.extent() as i64,
            Self::Derived(derived) => derived.nominal.1 - derived.nominal.0,
        }
    }

    /// Offset of the first data byte (`MPI_Type_get_true_extent`).
    pub fn true_lb(&self) -> i64 {
        self.bounds().data.map_or(0, |(low, _)| low)
    }

    /// Distance from the first data byte to the end of the last one.
    pub fn true_extent(&self) -> i64 {
        self.bounds().data.map_or(0, |(low, high)| high - low)
    }

    /// Strictest alignment of the basic types in bytes.
    pub fn alignment(&self) -> i64 {
        self.bounds().alignment
    }

    /// The predefined type this is, if it is one.
    #[inline]
    pub fn predefined(&self) -> Option<Predefined> {
        match self {
            Self::Predefined(predefined) => Some(*predefined),
            Self::Derived(_) => None,
        }
    }

    /// The one predefined type that all of this type consists of, if there is one.
    pub fn sole_basic(&self) -> Option<Predefined> {
        match self {
            Self::Predefined(predefined) => Some(*predefined),
            Self::Derived(derived) => derived.signature.sole_basic(),
        }
    }

    /// Whether any number of elements is one run of bytes at the buffer address.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        match self {
            Self::Predefined(predefined) => predefined.size() == predefined.extent(),
            Self::Derived(derived) => derived.layout.is_run() && self.size() == self.extent(),
        }
    }

    /// Whether the type may be used in communication (`MPI_Type_commit` was called).
    #[inline]
    pub fn is_committed(&self) -> bool {
        match self {
            Self::Predefined(_) => true,
            Self::Derived(derived) => derived.committed.load(Ordering::Relaxed),
        }
    }

    /// Allows the type in communication (`MPI_Type_commit`).
    pub fn commit(&self) {
        if let Self::Derived(derived) = self {
            derived.committed.store(true, Ordering::Relaxed);
        }
    }

    /// How the type was made (`MPI_Type_get_envelope`, `MPI_Type_get_contents`); `None` for a
    /// predefined type, whose combiner is `MPI_COMBINER_NAMED`.
    pub fn contents(&self) -> Option<&Contents> {
        match self {
            Self::Predefined(_) => None,
            Self::Derived(derived) => Some(&derived.contents),
        }
    }

    /// The same new type, made by a constructor with `MPI_Count` arguments. A type that is used
    /// already stays as it is.
    #[must_use]
    pub fn made_with_large_counts(mut self) -> Self {
        if let Self::Derived(derived) = &mut self
            && let Some(derived) = Arc::get_mut(derived)
        {
            derived.contents.large = true;
        }
        self
    }

    /// Whether it is one of Fortran's parametric types, which count as predefined.
    pub fn is_parametric(&self) -> bool {
        self.contents().is_some_and(|made| made.combiner.is_parametric())
    }

    /// Whether both are the same object.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Predefined(a), Self::Predefined(b)) => a == b,
            (Self::Derived(a), Self::Derived(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Data bytes of `count` elements; `None` when the number overflows. A negative count has none.
    #[inline]
    pub fn bytes(&self, count: i64) -> Option<u64> {
        u64::try_from(count).unwrap_or(0).checked_mul(self.size() as u64)
    }

    /// Complete elements in `bytes` of packed data (`MPI_Get_count`); `None` when the last one is
    /// incomplete or the type has no data and `bytes` is not 0.
    pub fn count_in(&self, bytes: u64) -> Option<u64> {
        match self.size() as u64 {
            0 => (bytes == 0).then_some(0),
            size => bytes.is_multiple_of(size).then(|| bytes / size),
        }
    }

    /// Basic elements in `bytes` of packed data (`MPI_Get_elements`); `None` when the last one is
    /// incomplete. A pair counts as two.
    pub fn elements_in(&self, bytes: u64) -> Option<u64> {
        match self {
            Self::Predefined(predefined) => Signature::basic(*predefined).elements_in(bytes),
            Self::Derived(derived) => derived.signature.elements_in(bytes),
        }
    }

    /// Bytes of packed data that hold this many basic elements (`MPI_Status_set_elements`), the
    /// reverse of [`Datatype::elements_in`]; `None` when there are no such bytes.
    pub fn bytes_of_elements(&self, elements: u64) -> Option<u64> {
        match self {
            Self::Predefined(predefined) => Signature::basic(*predefined).bytes_of(elements),
            Self::Derived(derived) => derived.signature.bytes_of(elements),
        }
    }

    /// Lowest and highest (exclusive) offset that `count` elements touch, saturating; `None` when
    /// they touch nothing.
    pub fn span(&self, count: i64) -> Option<(i64, i64)> {
        let (low, high) = self.bounds().data.filter(|_| count > 0)?;
        let last = self.extent().saturating_mul(count - 1);
        Some((low.saturating_add(last.min(0)), high.saturating_add(last.max(0))))
    }

    /// Offset of the data of `count` elements from the buffer address when it is one run.
    #[inline]
    pub(crate) fn run_offset(&self, count: i64) -> Option<i64> {
        if self.is_contiguous() {
            return Some(0);
        }
        match self {
            Self::Predefined(_) if count != 1 => None,
            Self::Predefined(predefined) => predefined_layout(*predefined).single_run(),
            Self::Derived(_) if count != 1 => None,
            Self::Derived(derived) => derived.layout.single_run(),
        }
    }

    /// Address of the data of `count` elements at `addr` when it is one run of bytes.
    #[inline]
    pub fn run_address(&self, addr: u64, count: i64) -> Option<u64> {
        self.run_offset(count).map(|offset| address(addr, offset))
    }

    /// Calls `f(address, len)` for each run of `count` elements at `addr` inside a window of packed
    /// positions.
    pub fn visit(
        &self,
        addr: u64,
        count: i64,
        window: Range<u64>,
        f: &mut impl FnMut(u64, u64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut at = |offset, len| f(address(addr, offset), len);
        self.visit_rows(addr, count, window, &mut at)
    }

    /// As [`Datatype::visit`], with offsets from `addr`, and adjacent equal runs together.
    pub(crate) fn visit_rows(
        &self,
        addr: u64,
        count: i64,
        window: Range<u64>,
        f: &mut impl Visit<Fault>,
    ) -> Result<(), Fault> {
        debug_assert!(self.bytes(count).is_some_and(|bytes| window.end <= bytes));
        if window.is_empty() {
            return Ok(());
        }
        if self.is_contiguous() {
            return f.run(window.start as i64, window.end - window.start);
        }
        let (low, high) = self.span(count).unwrap_or((0, 0));
        if low == i64::MIN || high == i64::MAX {
            return Err(Fault { addr, len: u64::MAX });
        }
        let extent = self.extent();
        match self {
            Self::Predefined(p) => predefined_layout(*p).visit_copies(extent, 0, window, f),
            Self::Derived(derived) => derived.layout.visit_copies(extent, 0, window, f),
        }
    }

    fn layout(&self) -> Layout {
        match self {
            Self::Predefined(predefined) => predefined_layout(*predefined),
            Self::Derived(derived) => derived.layout.clone(),
        }
    }

    pub(crate) fn signature(&self) -> Signature {
        match self {
            Self::Predefined(predefined) => Signature::basic(*predefined),
            Self::Derived(derived) => derived.signature.clone(),
        }
    }

    fn bounds(&self) -> Bounds {
        match self {
            Self::Predefined(predefined) => predefined_bounds(*predefined),
            Self::Derived(derived) => derived.bounds,
        }
    }
}

const fn predefined_layout(predefined: Predefined) -> Layout {
    let size = predefined.size() as u64;
    match predefined.kind() {
        BasicKind::Pair(value, _) => {
            Layout::gap(size, value.size() as u64, predefined.kind().pair_index_offset() as u64)
        }
        _ => Layout::run(size),
    }
}

const fn predefined_bounds(predefined: Predefined) -> Bounds {
    let kind = predefined.kind();
    let data = match kind {
        BasicKind::Pair(_, index) => kind.pair_index_offset() + index.size(),
        _ => kind.size(),
    };
    Bounds::basic(data as i64, kind.alignment() as i64)
}
