//! Datatype constructors and the record each leaves for `MPI_Type_get_contents`
//! (MPI-5.0 sections 5.1.2 to 5.1.13).

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

use super::bounds::Bounds;
use super::layout::Layout;
use super::signature::Signature;
use super::{Datatype, Derived};
use crate::error::{ErrorClass, MpiError, Result};

/// Which constructor made a type; the discriminant is the ABI's `MPI_COMBINER_*`.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "each is the constant MPI_COMBINER_ followed by its name")]
pub enum Combiner {
    Named = 101,
    Dup = 102,
    Contiguous = 103,
    Vector = 104,
    Hvector = 105,
    Indexed = 106,
    Hindexed = 107,
    IndexedBlock = 108,
    HindexedBlock = 109,
    Struct = 110,
    Subarray = 111,
    Darray = 112,
    F90Real = 113,
    F90Complex = 114,
    F90Integer = 115,
    Resized = 116,
    ValueIndex = 117,
}

impl Combiner {
    /// Whether it makes one of Fortran's parametric types.
    pub(crate) const fn is_parametric(self) -> bool {
        matches!(self, Self::F90Real | Self::F90Complex | Self::F90Integer)
    }
}

/// Order of the dimensions of a subarray; the discriminant is the ABI's `MPI_ORDER_*`.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
#[repr(i32)]
pub enum Order {
    /// The last dimension varies fastest.
    C = 12,
    /// The first dimension varies fastest.
    Fortran = 15,
}

/// The arguments of the constructor, laid out as `MPI_Type_get_contents` returns them.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The constructor.
    pub combiner: Combiner,
    /// Array of integers.
    pub integers: Vec<i64>,
    /// Array of addresses.
    pub addresses: Vec<i64>,
    /// Array of datatypes.
    pub datatypes: Vec<Datatype>,
    /// Whether the constructor took its counts as `MPI_Count`.
    pub large: bool,
}

impl Contents {
    /// Integers, addresses and large counts as `MPI_Type_get_contents_c` returns them.
    pub fn with_large_counts(&self) -> (Vec<i64>, Vec<i64>, Vec<i64>) {
        if !self.large {
            return (self.integers.clone(), self.addresses.clone(), Vec::new());
        }
        let all = &self.integers;
        match self.combiner {
            // The number of dimensions, three arrays of counts, the order.
            Combiner::Subarray => {
                let dims = 3 * all[0] as usize;
                (vec![all[0], all[dims + 1]], Vec::new(), all[1..=dims].to_vec())
            }
            // Processes, rank and dimensions; the global sizes; three arrays of ints, the order.
            Combiner::Darray => {
                let end = 3 + all[2] as usize;
                let integers = all[..3].iter().chain(&all[end..]).copied().collect();
                (integers, Vec::new(), all[3..end].to_vec())
            }
            _ => {
                let large = all.iter().chain(&self.addresses).copied().collect();
                (Vec::new(), Vec::new(), large)
            }
        }
    }
}

/// `count` elements of `old` placed at `offset`.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) offset: i64,
    pub(super) layout: Layout,
    pub(super) signature: Signature,
    pub(super) bounds: Bounds,
}

impl Datatype {
    /// `MPI_Type_contiguous`.
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` for a negative or too large count.
    pub fn contiguous(count: i64, old: &Self) -> Result<Self> {
        non_negative("count", count)?;
        let block = block(0, count, old)?;
        finish(Combiner::Contiguous, vec![count], vec![], vec![old.clone()], block)
    }

    /// `MPI_Type_vector`; the stride counts elements of `old`.
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` or `MPI_ERR_ARG` for a negative argument or one that is too large.
    pub fn vector(count: i64, blocklength: i64, stride: i64, old: &Self) -> Result<Self> {
        let bytes = stride.checked_mul(old.extent()).ok_or_else(|| too_large("stride"))?;
        let block = strided(count, blocklength, bytes, old)?;
        let integers = vec![count, blocklength, stride];
        finish(Combiner::Vector, integers, vec![], vec![old.clone()], block)
    }

    /// `MPI_Type_create_hvector`; the stride counts bytes.
    ///
    /// # Errors
    /// As [`Datatype::vector`].
    pub fn hvector(count: i64, blocklength: i64, stride: i64, old: &Self) -> Result<Self> {
        let block = strided(count, blocklength, stride, old)?;
        let integers = vec![count, blocklength];
        finish(Combiner::Hvector, integers, vec![stride], vec![old.clone()], block)
    }

    /// `MPI_Type_indexed`; displacements count elements of `old`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a negative block length or arrays of different lengths.
    pub fn indexed(blocklengths: &[i64], displacements: &[i64], old: &Self) -> Result<Self> {
        same_length(blocklengths, displacements)?;
        let bytes = in_bytes(displacements, old)?;
        let block = blocks(blocklengths.iter().copied().zip(bytes), |_| old)?;
        let integers = counted(&[blocklengths, displacements]);
        finish(Combiner::Indexed, integers, vec![], vec![old.clone()], block)
    }

    /// `MPI_Type_create_hindexed`; displacements count bytes.
    ///
    /// # Errors
    /// As [`Datatype::indexed`].
    pub fn hindexed(blocklengths: &[i64], displacements: &[i64], old: &Self) -> Result<Self> {
        same_length(blocklengths, displacements)?;
        let pairs = blocklengths.iter().copied().zip(displacements.iter().copied());
        let block = blocks(pairs, |_| old)?;
        let integers = counted(&[blocklengths]);
        finish(Combiner::Hindexed, integers, displacements.to_vec(), vec![old.clone()], block)
    }

    /// `MPI_Type_create_indexed_block`; displacements count elements of `old`.
    ///
    /// # Errors
    /// As [`Datatype::indexed`].
    pub fn indexed_block(blocklength: i64, displacements: &[i64], old: &Self) -> Result<Self> {
        non_negative("blocklength", blocklength)?;
        let bytes = in_bytes(displacements, old)?;
        let block = blocks(bytes.into_iter().map(|at| (blocklength, at)), |_| old)?;
        let mut integers = vec![displacements.len() as i64, blocklength];
        integers.extend_from_slice(displacements);
        finish(Combiner::IndexedBlock, integers, vec![], vec![old.clone()], block)
    }

    /// `MPI_Type_create_hindexed_block`; displacements count bytes.
    ///
    /// # Errors
    /// As [`Datatype::indexed`].
    pub fn hindexed_block(blocklength: i64, displacements: &[i64], old: &Self) -> Result<Self> {
        non_negative("blocklength", blocklength)?;
        let block = blocks(displacements.iter().map(|&at| (blocklength, at)), |_| old)?;
        let integers = vec![displacements.len() as i64, blocklength];
        finish(Combiner::HindexedBlock, integers, displacements.to_vec(), vec![old.clone()], block)
    }

    /// `MPI_Type_create_struct`; displacements count bytes.
    ///
    /// # Errors
    /// As [`Datatype::indexed`].
    pub fn structure(blocklengths: &[i64], displacements: &[i64], types: &[Self]) -> Result<Self> {
        same_length(blocklengths, displacements)?;
        if types.len() != blocklengths.len() {
            return Err(argument("array_of_types", "its length differs from count"));
        }
        let pairs = blocklengths.iter().copied().zip(displacements.iter().copied());
        let block = blocks(pairs, |index| &types[index])?;
        let integers = counted(&[blocklengths]);
        finish(Combiner::Struct, integers, displacements.to_vec(), types.to_vec(), block)
    }

    /// `MPI_Type_create_resized`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when the upper bound overflows.
    pub fn resized(old: &Self, lb: i64, extent: i64) -> Result<Self> {
        let ub = lb.checked_add(extent).ok_or_else(|| too_large("extent"))?;
        let bounds = Bounds { markers: Some((lb, ub)), ..old.bounds() };
        let block = Block { offset: 0, layout: old.layout(), signature: old.signature(), bounds };
        finish(Combiner::Resized, vec![], vec![lb, extent], vec![old.clone()], block)
    }

    /// `MPI_Type_dup`; the copy is committed if `old` is.
    ///
    /// # Errors
    /// None at present.
    pub fn dup(old: &Self) -> Result<Self> {
        let block = Block {
            offset: 0,
            layout: old.layout(),
            signature: old.signature(),
            bounds: old.bounds(),
        };
        let copy = finish(Combiner::Dup, vec![], vec![], vec![old.clone()], block)?;
        if old.is_committed() {
            copy.commit();
        }
        Ok(copy)
    }

    /// `MPI_Type_create_subarray`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when a part does not lie inside its array.
    pub fn subarray(
        sizes: &[i64],
        subsizes: &[i64],
        starts: &[i64],
        order: Order,
        old: &Self,
    ) -> Result<Self> {
        check_subarray(sizes, subsizes, starts)?;
        let mut integers = counted(&[sizes, subsizes, starts]);
        integers.push(order as i64);
        let dims = 0..sizes.len();
        let block = match order {
            Order::C => subarray_block(dims.rev(), sizes, subsizes, starts, old)?,
            Order::Fortran => subarray_block(dims, sizes, subsizes, starts, old)?,
        };
        finish(Combiner::Subarray, integers, vec![], vec![old.clone()], block)
    }
}

/// Grows the block one dimension at a time, the fastest-varying first.
fn subarray_block(
    dims: impl Iterator<Item = usize>,
    sizes: &[i64],
    subsizes: &[i64],
    starts: &[i64],
    old: &Datatype,
) -> Result<Block> {
    let overflow = || too_large("array_of_sizes");
    let mut stride = old.extent();
    let mut offset = 0_i64;
    let mut block = block(0, 1, old)?;
    for dim in dims {
        block = repeat(block, subsizes[dim], stride).ok_or_else(overflow)?;
        let start = starts[dim].checked_mul(stride).ok_or_else(overflow)?;
        offset = offset.checked_add(start).ok_or_else(overflow)?;
        stride = stride.checked_mul(sizes[dim]).ok_or_else(overflow)?;
    }
    let mut bounds = block.bounds.shift(offset).ok_or_else(overflow)?;
    bounds.markers = Some((0, stride));
    Ok(Block { offset, bounds, ..block })
}

fn check_subarray(sizes: &[i64], subsizes: &[i64], starts: &[i64]) -> Result<()> {
    if sizes.is_empty() || subsizes.len() != sizes.len() || starts.len() != sizes.len() {
        return Err(argument("ndims", "it must be positive and the length of all arrays"));
    }
    for (dim, &size) in sizes.iter().enumerate() {
        if size < 1 {
            return Err(argument("array_of_sizes", format!("{size} in dimension {dim}")));
        }
        if subsizes[dim] < 1 || subsizes[dim] > size {
            let detail = format!("{} of {size} in dimension {dim}", subsizes[dim]);
            return Err(argument("array_of_subsizes", detail));
        }
        if starts[dim] < 0 || starts[dim] > size - subsizes[dim] {
            let detail = format!("{} in dimension {dim} leaves the array", starts[dim]);
            return Err(argument("array_of_starts", detail));
        }
    }
    Ok(())
}

/// `count` adjacent elements of `old` at `offset`.
pub(super) fn block(offset: i64, count: i64, old: &Datatype) -> Result<Block> {
    let one =
        Block { offset: 0, layout: old.layout(), signature: old.signature(), bounds: old.bounds() };
    let block = repeat(one, count, old.extent()).ok_or_else(|| too_large("count"))?;
    let bounds = block.bounds.shift(offset).ok_or_else(|| too_large("displacement"))?;
    Ok(Block { offset, bounds, ..block })
}

fn strided(count: i64, blocklength: i64, stride: i64, old: &Datatype) -> Result<Block> {
    non_negative("count", count)?;
    non_negative("blocklength", blocklength)?;
    repeat(block(0, blocklength, old)?, count, stride).ok_or_else(|| too_large("count"))
}

/// Copies of a block at offset 0; `None` when sizes or addresses overflow.
pub(super) fn repeat(block: Block, count: i64, stride: i64) -> Option<Block> {
    let copies = u64::try_from(count).ok()?;
    let size = block.layout.size().checked_mul(copies)?;
    i64::try_from(size).ok()?;
    Some(Block {
        offset: 0,
        bounds: block.bounds.repeat(count, stride)?,
        layout: block.layout.repeat(copies, stride),
        signature: block.signature.repeat(copies),
    })
}

/// Blocks of (length, byte displacement), one after the other in type-map order.
fn blocks<'a>(
    pairs: impl Iterator<Item = (i64, i64)>,
    old: impl Fn(usize) -> &'a Datatype,
) -> Result<Block> {
    let mut parts = Vec::new();
    let mut bounds = Bounds::EMPTY;
    let mut size = 0_i64;
    for (index, (length, offset)) in pairs.enumerate() {
        if length < 0 {
            let detail = format!("{length} at index {index} is negative");
            return Err(argument("array_of_blocklengths", detail));
        }
        if length == 0 {
            continue;
        }
        let part = block(offset, length, old(index))?;
        bounds = bounds.union(part.bounds);
        size = size
            .checked_add_unsigned(part.layout.size())
            .ok_or_else(|| too_large("array_of_blocklengths"))?;
        parts.push(part);
    }
    let signature = Signature::sequence(parts.iter().map(|part| part.signature.clone()));
    let layout = Layout::sequence(parts.into_iter().map(|part| (part.offset, part.layout)));
    Ok(Block { offset: 0, layout, signature, bounds })
}

pub(super) fn finish(
    combiner: Combiner,
    integers: Vec<i64>,
    addresses: Vec<i64>,
    datatypes: Vec<Datatype>,
    block: Block,
) -> Result<Datatype> {
    let width = |(low, high): (i64, i64)| high.checked_sub(low);
    let nominal = block.bounds.nominal().filter(|&range| width(range).is_some());
    let nominal = nominal.ok_or_else(|| too_large("displacement"))?;
    Ok(Datatype::Derived(Arc::new(Derived {
        contents: Contents { combiner, integers, addresses, datatypes, large: false },
        layout: Layout::sequence([(block.offset, block.layout)]),
        signature: block.signature,
        bounds: block.bounds,
        nominal,
        committed: AtomicBool::new(false),
    })))
}

fn in_bytes(displacements: &[i64], old: &Datatype) -> Result<Vec<i64>> {
    let extent = old.extent();
    let scaled = displacements.iter().map(|at| at.checked_mul(extent));
    scaled.collect::<Option<_>>().ok_or_else(|| too_large("array_of_displacements"))
}

/// The number of entries followed by all entries of all arrays.
pub(super) fn counted(arrays: &[&[i64]]) -> Vec<i64> {
    let mut integers = vec![arrays[0].len() as i64];
    for array in arrays {
        integers.extend_from_slice(array);
    }
    integers
}

fn non_negative(name: &'static str, value: i64) -> Result<()> {
    if value >= 0 {
        return Ok(());
    }
    let class = if name == "count" { ErrorClass::Count } else { ErrorClass::Arg };
    Err(MpiError::argument(class, name, format!("{value} is negative")))
}

fn same_length(blocklengths: &[i64], displacements: &[i64]) -> Result<()> {
    if blocklengths.len() == displacements.len() {
        return Ok(());
    }
    Err(argument("array_of_displacements", "its length differs from count"))
}

pub(super) fn too_large(name: &'static str) -> MpiError {
    argument(name, "the datatype would span more than the address space")
}

pub(super) fn argument(name: &'static str, detail: impl Into<String>) -> MpiError {
    MpiError::argument(ErrorClass::Arg, name, detail)
}
