//! Cartesian topologies and `MPI_Dims_create` (MPI-5.0 chapter 8).
//!
//! Graph topologies and the neighbors in every topology are in [`crate::graph`].

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError, Result};

/// A Cartesian grid of processes in row-major order: the last dimension varies fastest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cartesian {
    dims: Vec<i32>,
    periods: Vec<bool>,
}

impl Cartesian {
    /// The grid of `MPI_Cart_create` in a communicator of `size` processes; it may be smaller.
    ///
    /// # Errors
    /// `MPI_ERR_DIMS` when an entry is not positive, `MPI_ERR_TOPOLOGY` when the grid is larger
    /// than the communicator.
    pub fn new(dims: &[i32], periods: &[bool], size: usize) -> Result<Self> {
        if periods.len() != dims.len() {
            let detail = format!("{} periods for {} dimensions", periods.len(), dims.len());
            return Err(MpiError::argument(ErrorClass::Arg, "periods", detail));
        }
        if let Some(index) = dims.iter().position(|&dim| dim < 1) {
            let detail = format!("{} in dimension {index} is not positive", dims[index]);
            return Err(MpiError::argument(ErrorClass::Dims, "dims", detail));
        }
        let product = dims.iter().try_fold(1_usize, |product, &dim| {
            product.checked_mul(dim as usize).filter(|&product| product <= size)
        });
        if product.is_none() {
            let detail = format!("the grid {dims:?} needs more than {size} processes");
            return Err(MpiError::argument(ErrorClass::Topology, "dims", detail));
        }
        Ok(Self { dims: dims.to_vec(), periods: periods.to_vec() })
    }

    /// Extent of each dimension.
    pub fn dims(&self) -> &[i32] {
        &self.dims
    }

    /// Whether each dimension wraps around.
    pub fn periods(&self) -> &[bool] {
        &self.periods
    }

    /// Number of processes in the grid; 1 without dimensions.
    pub fn size(&self) -> usize {
        self.dims.iter().map(|&dim| dim as usize).product()
    }

    /// `MPI_Cart_rank`; a coordinate outside a periodic dimension wraps around.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when one is outside a dimension that is not periodic, or the number of
    /// coordinates is wrong.
    pub fn rank(&self, coords: &[i32]) -> Result<usize> {
        if coords.len() != self.dims.len() {
            let detail = format!("{} for {} dimensions", coords.len(), self.dims.len());
            return Err(MpiError::argument(ErrorClass::Arg, "coords", detail));
        }
        let mut rank = 0;
        for (index, (&coord, &dim)) in coords.iter().zip(&self.dims).enumerate() {
            if !self.periods[index] && !(0..dim).contains(&coord) {
                let detail = format!("{coord} is outside dimension {index}, which has {dim}");
                return Err(MpiError::argument(ErrorClass::Arg, "coords", detail));
            }
            rank = rank * dim as usize + coord.rem_euclid(dim) as usize;
        }
        Ok(rank)
    }

    /// `MPI_Cart_coords`.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when the rank is not in the grid.
    pub fn coords(&self, rank: i32) -> Result<Vec<i32>> {
        let valid = usize::try_from(rank).ok().filter(|&rank| rank < self.size());
        let Some(mut rest) = valid else {
            let detail = format!("{rank} is not a rank of a grid of {}", self.size());
            return Err(MpiError::argument(ErrorClass::Rank, "rank", detail));
        };
        let mut coords = vec![0; self.dims.len()];
        for (coord, &dim) in coords.iter_mut().zip(&self.dims).rev() {
            *coord = (rest % dim as usize) as i32;
            rest /= dim as usize;
        }
        Ok(coords)
    }

    /// Source and destination of `MPI_Cart_shift` at `rank`; `None` is `MPI_PROC_NULL`.
    ///
    /// # Errors
    /// `MPI_ERR_DIMS` for a direction that does not exist, `MPI_ERR_RANK` for a rank outside.
    pub fn shift(
        &self,
        rank: i32,
        direction: i32,
        displacement: i32,
    ) -> Result<(Option<usize>, Option<usize>)> {
        let axis = usize::try_from(direction).ok().filter(|&axis| axis < self.dims.len());
        let Some(axis) = axis else {
            let detail = format!("{direction} is not one of {} dimensions", self.dims.len());
            return Err(MpiError::argument(ErrorClass::Dims, "direction", detail));
        };
        let coords = self.coords(rank)?;
        let distance = i64::from(displacement);
        Ok((self.neighbor(&coords, axis, -distance), self.neighbor(&coords, axis, distance)))
    }

    /// The subgrid that `rank` is in when only the dimensions in `remain` are kept, with the colour
    /// and key of the split that makes its communicator (`MPI_Cart_sub`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for the wrong number of flags, `MPI_ERR_RANK` for a rank outside.
    pub fn sub(&self, rank: i32, remain: &[bool]) -> Result<(Self, usize, usize)> {
        if remain.len() != self.dims.len() {
            let detail = format!("{} for {} dimensions", remain.len(), self.dims.len());
            return Err(MpiError::argument(ErrorClass::Arg, "remain_dims", detail));
        }
        let coords = self.coords(rank)?;
        let (mut color, mut key) = (0, 0);
        let mut kept = Self { dims: Vec::new(), periods: Vec::new() };
        for (axis, &keep) in remain.iter().enumerate() {
            let (dim, coord) = (self.dims[axis] as usize, coords[axis] as usize);
            if keep {
                key = key * dim + coord;
                kept.dims.push(self.dims[axis]);
                kept.periods.push(self.periods[axis]);
            } else {
                color = color * dim + coord;
            }
        }
        Ok((kept, color, key))
    }

    /// `MPI_Cart_map`: the rank this process should have; `None` is `MPI_UNDEFINED`.
    pub fn map(&self, rank: usize) -> Option<usize> {
        (rank < self.size()).then_some(rank)
    }

    fn neighbor(&self, coords: &[i32], axis: usize, distance: i64) -> Option<usize> {
        let dim = i64::from(self.dims[axis]);
        let moved = i64::from(coords[axis]) + distance;
        if !self.periods[axis] && !(0..dim).contains(&moved) {
            return None;
        }
        let mut target = coords.to_vec();
        target[axis] = moved.rem_euclid(dim) as i32;
        self.rank(&target).ok()
    }
}

/// `MPI_Dims_create`: fills the zeros in `dims` so that the product is `nodes`, as evenly as
/// divisibility allows and in non-increasing order.
///
/// # Errors
/// `MPI_ERR_DIMS` when an entry is negative or the given entries do not divide `nodes`,
/// `MPI_ERR_ARG` when `nodes` is not positive.
pub fn dims_create(nodes: i32, dims: &mut [i32]) -> Result<()> {
    if nodes < 1 {
        let detail = format!("{nodes} is not positive");
        return Err(MpiError::argument(ErrorClass::Arg, "nnodes", detail));
    }
    let mut rest = nodes;
    for (index, &dim) in dims.iter().enumerate().filter(|(_, dim)| **dim != 0) {
        if dim < 0 || rest % dim != 0 {
            let detail = format!("{dim} in dimension {index} does not divide {nodes} processes");
            return Err(MpiError::argument(ErrorClass::Dims, "dims", detail));
        }
        rest /= dim;
    }
    let free = dims.iter().filter(|&&dim| dim == 0).count();
    if free == 0 {
        if rest != 1 {
            let detail = format!("{dims:?} has a product other than {nodes}");
            return Err(MpiError::argument(ErrorClass::Dims, "dims", detail));
        }
        return Ok(());
    }
    let mut factors = balanced(rest, free).into_iter();
    for dim in dims.iter_mut().filter(|dim| **dim == 0) {
        *dim = factors.next().expect("one factor for each free dimension");
    }
    Ok(())
}

/// The factorisation into `parts` factors whose largest is smallest, then whose second largest is,
/// and so on; non-increasing.
fn balanced(product: i32, parts: usize) -> Vec<i32> {
    let divisors: Vec<i32> = divisors(product);
    let mut factors = Vec::with_capacity(parts);
    let found = factor(product, parts, product, &divisors, &mut factors);
    assert!(found, "the number itself and ones are always a factorisation");
    factors
}

/// Appends the first factorisation in order of the largest factor; the first found is the best,
/// because factors are tried from the smallest and each rest is factored in the same order.
fn factor(product: i32, parts: usize, max: i32, divisors: &[i32], out: &mut Vec<i32>) -> bool {
    if parts == 1 {
        if product <= max {
            out.push(product);
        }
        return product <= max;
    }
    let fits = |divisor: i32| i64::from(product) <= power(divisor, parts);
    for &largest in divisors.iter().filter(|&&d| d <= max && product % d == 0 && fits(d)) {
        out.push(largest);
        if factor(product / largest, parts - 1, largest, divisors, out) {
            return true;
        }
        out.pop();
    }
    false
}

/// `base^exponent`, saturating.
fn power(base: i32, exponent: usize) -> i64 {
    i64::from(base).saturating_pow(u32::try_from(exponent).unwrap_or(u32::MAX))
}

/// All divisors, ascending.
fn divisors(number: i32) -> Vec<i32> {
    let roots = (1..).take_while(|&d| i64::from(d) * i64::from(d) <= i64::from(number));
    let small: Vec<i32> = roots.filter(|&d| number % d == 0).collect();
    let large = small.iter().rev().map(|&d| number / d).filter(|d| !small.contains(d));
    small.iter().copied().chain(large).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(nodes: i32, dims: &[i32]) -> Result<Vec<i32>> {
        let mut dims = dims.to_vec();
        dims_create(nodes, &mut dims).map(|()| dims)
    }

    /// The first four are the examples of the standard.
    #[test]
    fn dims_as_mpich_and_open_mpi_choose_them() {
        let cases: &[(i32, &[i32], &[i32])] = &[
            (6, &[0, 0], &[3, 2]),
            (7, &[0, 0], &[7, 1]),
            (6, &[0, 3, 0], &[2, 3, 1]),
            (1, &[0, 0, 0], &[1, 1, 1]),
            (64, &[0, 0], &[8, 8]),
            (64, &[0, 0, 0], &[4, 4, 4]),
            (12, &[0, 0, 0], &[3, 2, 2]),
            (24, &[0, 0, 0], &[4, 3, 2]),
            (72, &[0, 0], &[9, 8]),
            (120, &[0, 0, 0], &[6, 5, 4]),
            (16, &[0, 0, 0, 0], &[2, 2, 2, 2]),
            (10_000, &[0, 0], &[100, 100]),
            (97, &[0, 0, 0], &[97, 1, 1]),
            (12, &[4, 0], &[4, 3]),
            (12, &[4, 3], &[4, 3]),
        ];
        for (nodes, given, expected) in cases {
            assert_eq!(created(*nodes, given).as_deref(), Ok(*expected), "{nodes} {given:?}");
        }
        assert_eq!(created(7, &[0, 3, 0]).unwrap_err().class, ErrorClass::Dims);
        assert_eq!(created(12, &[4, 2]).unwrap_err().class, ErrorClass::Dims);
        assert_eq!(created(12, &[-1, 0]).unwrap_err().class, ErrorClass::Dims);
        assert_eq!(created(0, &[0]).unwrap_err().class, ErrorClass::Arg);
    }

    /// Oracle: all factorisations by brute force.
    #[test]
    fn the_largest_factor_is_as_small_as_possible() {
        for nodes in 1..=200 {
            let dims = created(nodes, &[0, 0, 0]).unwrap();
            assert_eq!(dims.iter().product::<i32>(), nodes);
            assert!(dims.is_sorted_by(|a, b| a >= b));
            let all = (1..=nodes).flat_map(|a| (1..=a).map(move |b| (a, b)));
            let smallest = all
                .filter(|(a, b)| nodes % (a * b) == 0 && nodes / (a * b) <= *b)
                .map(|(a, b)| [a, b, nodes / (a * b)])
                .min();
            assert_eq!(dims, smallest.unwrap(), "{nodes}");
        }
    }

    #[test]
    fn ranks_and_coordinates_are_inverse() {
        let grid = Cartesian::new(&[3, 4, 2], &[true, false, true], 30).unwrap();
        assert_eq!(grid.size(), 24);
        for rank in 0..24 {
            assert_eq!(grid.rank(&grid.coords(rank).unwrap()), Ok(rank as usize));
        }
        assert_eq!(grid.coords(23), Ok(vec![2, 3, 1]));
        assert_eq!(grid.rank(&[-1, 0, 5]), grid.rank(&[2, 0, 1]));
        assert_eq!(grid.rank(&[0, 4, 0]).unwrap_err().class, ErrorClass::Arg);
        assert_eq!(grid.coords(24).unwrap_err().class, ErrorClass::Rank);
        assert_eq!((grid.map(23), grid.map(24)), (Some(23), None));
    }

    #[test]
    fn shifts_wrap_or_end() {
        let grid = Cartesian::new(&[3, 4], &[true, false], 12).unwrap();
        assert_eq!(grid.shift(0, 0, 1), Ok((Some(8), Some(4))));
        assert_eq!(grid.shift(0, 1, 1), Ok((None, Some(1))));
        assert_eq!(grid.shift(3, 1, 1), Ok((Some(2), None)));
        assert_eq!(grid.shift(5, 1, -1), Ok((Some(6), Some(4))));
        assert_eq!(grid.shift(5, 0, 0), Ok((Some(5), Some(5))));
        assert_eq!(grid.shift(0, 0, i32::MIN), Ok((Some(8), Some(4))), "2^31 is 2 modulo 3");
        assert_eq!(grid.shift(0, 2, 1).unwrap_err().class, ErrorClass::Dims);
    }

    #[test]
    fn subgrids_partition_the_grid() {
        let grid = Cartesian::new(&[2, 3, 4], &[true, false, true], 24).unwrap();
        let mut seen = vec![];
        for rank in 0..24 {
            let (sub, color, key) = grid.sub(rank, &[false, true, true]).unwrap();
            assert_eq!((sub.dims(), sub.periods()), (&[3, 4][..], &[false, true][..]));
            assert_eq!(sub.coords(key as i32).unwrap(), grid.coords(rank).unwrap()[1..]);
            seen.push((color, key));
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 24);
        let (sub, ..) = grid.sub(5, &[false; 3]).unwrap();
        assert_eq!((sub.size(), sub.dims().len()), (1, 0));
    }

    #[test]
    fn bad_grids() {
        let class = |dims: &[i32], size| {
            Cartesian::new(dims, &vec![false; dims.len()], size).unwrap_err().class
        };
        assert_eq!(class(&[2, 0], 9), ErrorClass::Dims);
        assert_eq!(class(&[2, 5], 9), ErrorClass::Topology);
        assert_eq!(class(&[i32::MAX; 4], 9), ErrorClass::Topology);
    }
}
