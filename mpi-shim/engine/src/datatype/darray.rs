//! `MPI_Type_create_darray`: one process's share of an array distributed over a grid of processes
//! (MPI-5.0 section 5.1.4).
//!
//! Each dimension is distributed by itself, in blocks or cyclically; the type grows one dimension
//! at a time, the fastest-varying first, as a subarray does.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::Datatype;
use super::construct::{
    Block, Combiner, Order, argument, block, counted, finish, repeat, too_large,
};
use super::layout::Layout;
use super::signature::Signature;
use crate::error::Result;

/// How a dimension is distributed; the discriminant is the ABI's `MPI_DISTRIBUTE_*`.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
#[repr(i32)]
pub enum Distribution {
    /// Not distributed.
    None = 16,
    /// One block for each process.
    Block = 17,
    /// Blocks dealt out in turn.
    Cyclic = 18,
}

impl Distribution {
    /// The distribution with this number.
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            16 => Some(Self::None),
            17 => Some(Self::Block),
            18 => Some(Self::Cyclic),
            _ => None,
        }
    }
}

/// `MPI_DISTRIBUTE_DFLT_DARG`: the distribution chooses its block length.
pub const DISTRIBUTE_DFLT_DARG: i64 = 19;

/// The distributed array, as the arguments of the constructor give it.
#[derive(Copy, Clone, Debug)]
pub struct DistributedArray<'a> {
    /// Number of processes.
    pub processes: i64,
    /// The process whose share is meant.
    pub rank: i64,
    /// Elements of the whole array in each dimension.
    pub sizes: &'a [i64],
    /// How each dimension is distributed.
    pub distributions: &'a [Distribution],
    /// Block length in each dimension, or [`DISTRIBUTE_DFLT_DARG`].
    pub arguments: &'a [i64],
    /// Processes in each dimension of the grid, whose last dimension varies fastest.
    pub grid: &'a [i64],
    /// Order of the array's dimensions in memory.
    pub order: Order,
}

/// What a process holds of one dimension.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
struct Share {
    /// Its first element.
    start: i64,
    /// Whole blocks.
    cycles: i64,
    /// Elements of a whole block.
    length: i64,
    /// Elements from the start of one block to that of the next.
    period: i64,
    /// Elements of a last, shorter block.
    rest: i64,
}

impl Datatype {
    /// `MPI_Type_create_darray`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when the arguments contradict each other, or the grid does not have as many
    /// places as there are processes.
    pub fn darray(array: &DistributedArray<'_>, old: &Self) -> Result<Self> {
        check(array)?;
        let coordinates = coordinates(array);
        let dims = 0..array.sizes.len();
        let dims: Vec<usize> = match array.order {
            Order::C => dims.rev().collect(),
            Order::Fortran => dims.collect(),
        };
        let overflow = || too_large("array_of_gsizes");
        let mut stride = old.extent();
        let mut offset = 0_i64;
        let mut grown = block(0, 1, old)?;
        for dim in dims {
            let share = share(array, dim, coordinates[dim])?;
            grown = spread(grown, share, stride).ok_or_else(overflow)?;
            let start = share.start.checked_mul(stride).ok_or_else(overflow)?;
            offset = offset.checked_add(start).ok_or_else(overflow)?;
            stride = stride.checked_mul(array.sizes[dim]).ok_or_else(overflow)?;
        }
        let mut bounds = grown.bounds.shift(offset).ok_or_else(overflow)?;
        bounds.markers = Some((0, stride));
        let whole = Block { offset, bounds, ..grown };
        finish(Combiner::Darray, integers(array), vec![], vec![old.clone()], whole)
    }
}

fn integers(array: &DistributedArray<'_>) -> Vec<i64> {
    let distributions: Vec<i64> = array.distributions.iter().map(|how| *how as i64).collect();
    let mut integers = vec![array.processes, array.rank];
    integers.extend(counted(&[array.sizes, &distributions, array.arguments, array.grid]));
    integers.push(array.order as i64);
    integers
}

/// The process's place in the grid, which is in row-major order whatever the order of the array.
fn coordinates(array: &DistributedArray<'_>) -> Vec<i64> {
    let mut rest = array.rank;
    let mut places = vec![0; array.grid.len()];
    for (place, extent) in places.iter_mut().zip(array.grid).rev() {
        *place = rest % extent;
        rest /= extent;
    }
    places
}

fn share(array: &DistributedArray<'_>, dim: usize, at: i64) -> Result<Share> {
    let (size, processes) = (array.sizes[dim], array.grid[dim]);
    let given = Some(array.arguments[dim]).filter(|given| *given != DISTRIBUTE_DFLT_DARG);
    let wrong = |detail| Err(argument("array_of_dargs", format!("{detail} in dimension {dim}")));
    if given.is_some_and(|length| length < 1) {
        return wrong("a block length must be positive");
    }
    let one_block = |start: i64, length: i64| Share {
        start: start.min(size),
        cycles: 1,
        length: length.min(size - start.min(size)),
        period: 0,
        rest: 0,
    };
    match array.distributions[dim] {
        Distribution::None => Ok(one_block(0, size)),
        Distribution::Block => {
            let length = given.unwrap_or((size - 1) / processes + 1);
            if length.checked_mul(processes).is_some_and(|all| all < size) {
                return wrong("blocks of this length do not hold the whole array");
            }
            Ok(one_block(length.saturating_mul(at), length))
        }
        Distribution::Cyclic => {
            let length = given.unwrap_or(1).min(size);
            let start = length.saturating_mul(at).min(size);
            let period = length.saturating_mul(processes);
            let (cycles, left) = ((size - start) / period, (size - start) % period);
            let whole = i64::from(left >= length);
            let rest = if whole == 1 { 0 } else { left };
            Ok(Share { start, cycles: cycles + whole, length, period, rest })
        }
    }
}

/// The process's elements of one dimension, each a copy of `one`; `None` when something overflows.
fn spread(one: Block, share: Share, stride: i64) -> Option<Block> {
    let period = share.period.checked_mul(stride)?;
    let rest = repeat(one.clone(), share.rest, stride)?;
    let blocks = repeat(repeat(one, share.length, stride)?, share.cycles, period)?;
    if share.rest == 0 {
        return Some(blocks);
    }
    let at = share.cycles.checked_mul(period)?;
    let size = blocks.layout.size().checked_add(rest.layout.size())?;
    i64::try_from(size).ok()?;
    Some(Block {
        offset: 0,
        bounds: blocks.bounds.union(rest.bounds.shift(at)?),
        signature: Signature::sequence([blocks.signature, rest.signature]),
        layout: Layout::sequence([(0, blocks.layout), (at, rest.layout)]),
    })
}

fn check(array: &DistributedArray<'_>) -> Result<()> {
    let dims = array.sizes.len();
    let lengths = [array.distributions.len(), array.arguments.len(), array.grid.len()];
    if dims == 0 || lengths.iter().any(|length| *length != dims) {
        return Err(argument("ndims", "it must be positive and the length of all arrays"));
    }
    if array.processes < 1 || !(0..array.processes).contains(&array.rank) {
        let detail = format!("rank {} of {} processes", array.rank, array.processes);
        return Err(argument("rank", detail));
    }
    for dim in 0..dims {
        if array.sizes[dim] < 1 {
            let detail = format!("{} in dimension {dim}", array.sizes[dim]);
            return Err(argument("array_of_gsizes", detail));
        }
        if array.grid[dim] < 1 {
            let detail = format!("{} in dimension {dim}", array.grid[dim]);
            return Err(argument("array_of_psizes", detail));
        }
        if array.distributions[dim] == Distribution::None && array.grid[dim] != 1 {
            let detail = format!("dimension {dim} is not distributed, so it must be 1 there");
            return Err(argument("array_of_psizes", detail));
        }
    }
    let places = array.grid.iter().try_fold(1_i64, |all, &extent| all.checked_mul(extent));
    if places != Some(array.processes) {
        let detail = format!("their product is not the {} processes", array.processes);
        return Err(argument("array_of_psizes", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datatype::Predefined;

    /// Elements of the whole array that `rank` holds, by the definition of section 5.1.4.
    fn oracle(array: &DistributedArray<'_>) -> Vec<i64> {
        let dims = array.sizes.len();
        let total: i64 = array.sizes.iter().product();
        let place = coordinates(array);
        let owns = |dim: usize, index: i64| {
            let (size, grid) = (array.sizes[dim], array.grid[dim]);
            let given = array.arguments[dim];
            let default = given == DISTRIBUTE_DFLT_DARG;
            match array.distributions[dim] {
                Distribution::None => true,
                Distribution::Block => {
                    let length = if default { (size + grid - 1) / grid } else { given };
                    index / length == place[dim]
                }
                Distribution::Cyclic => {
                    let length = if default { 1 } else { given };
                    index / length % grid == place[dim]
                }
            }
        };
        let index_in = |element: i64, dim: usize| {
            let faster: Vec<usize> = match array.order {
                Order::C => (dim + 1..dims).collect(),
                Order::Fortran => (0..dim).collect(),
            };
            let below: i64 = faster.iter().map(|dim| array.sizes[*dim]).product();
            element / below % array.sizes[dim]
        };
        let held = |element: &i64| (0..dims).all(|dim| owns(dim, index_in(*element, dim)));
        (0..total).filter(held).collect()
    }

    /// Elements that the type touches, in its order.
    fn touched(datatype: &Datatype) -> Vec<i64> {
        let mut found = Vec::new();
        let bytes = datatype.bytes(1).unwrap();
        let mut add = |at: u64, len: u64| {
            found.extend((at / 4..(at + len) / 4).map(|element| element as i64));
            Ok(())
        };
        datatype.visit(0, 1, 0..bytes, &mut add).unwrap();
        found
    }

    #[test]
    fn shares_are_those_of_the_definition_and_cover_the_array_once() {
        use Distribution::{Block, Cyclic, None};
        const DFLT: i64 = DISTRIBUTE_DFLT_DARG;
        let old = Datatype::from(Predefined::Int);
        type Case = (&'static [i64], &'static [Distribution], &'static [i64], &'static [i64]);
        let cases: &[Case] = &[
            (&[10], &[Block], &[DFLT], &[3]),
            (&[10], &[Block], &[7], &[3]),
            (&[10], &[Cyclic], &[DFLT], &[3]),
            (&[10], &[Cyclic], &[4], &[3]),
            (&[2], &[Cyclic], &[DFLT], &[5]),
            (&[7, 5], &[Block, Cyclic], &[DFLT, 2], &[2, 2]),
            (&[7, 5], &[None, Cyclic], &[DFLT, DFLT], &[1, 3]),
            (&[4, 6, 5], &[Cyclic, Block, Cyclic], &[DFLT, 3, 2], &[2, 2, 3]),
            (&[3, 9], &[Cyclic, Cyclic], &[50, 4], &[2, 2]),
        ];
        for &(sizes, distributions, arguments, grid) in cases {
            for order in [Order::C, Order::Fortran] {
                let processes = grid.iter().product();
                let mut all = Vec::new();
                for rank in 0..processes {
                    let array = DistributedArray {
                        processes,
                        rank,
                        sizes,
                        distributions,
                        arguments,
                        grid,
                        order,
                    };
                    let datatype = Datatype::darray(&array, &old).unwrap();
                    let mine = touched(&datatype);
                    assert_eq!(mine, oracle(&array), "{array:?}");
                    let total: i64 = sizes.iter().product();
                    assert_eq!((datatype.lb(), datatype.extent()), (0, 4 * total), "{array:?}");
                    all.extend(mine);
                }
                all.sort_unstable();
                assert_eq!(all, (0..sizes.iter().product()).collect::<Vec<i64>>());
            }
        }
    }

    #[test]
    fn contradictions_are_refused_with_the_argument() {
        let old = Datatype::from(Predefined::Int);
        let good = DistributedArray {
            processes: 4,
            rank: 1,
            sizes: &[8],
            distributions: &[Distribution::Block],
            arguments: &[DISTRIBUTE_DFLT_DARG],
            grid: &[4],
            order: Order::C,
        };
        assert!(Datatype::darray(&good, &old).is_ok());
        let wrong = [
            (DistributedArray { rank: 4, ..good }, "rank"),
            (DistributedArray { grid: &[3], ..good }, "array_of_psizes"),
            (DistributedArray { grid: &[0], ..good }, "array_of_psizes"),
            (DistributedArray { sizes: &[0], ..good }, "array_of_gsizes"),
            (DistributedArray { arguments: &[1], ..good }, "array_of_dargs"),
            (DistributedArray { arguments: &[0], ..good }, "array_of_dargs"),
            (DistributedArray { sizes: &[], ..good }, "ndims"),
            (DistributedArray { distributions: &[Distribution::None], ..good }, "array_of_psizes"),
        ];
        for (array, expected) in wrong {
            let error = Datatype::darray(&array, &old).unwrap_err();
            assert_eq!(error.argument, Some(expected), "{array:?}");
        }
    }
}
