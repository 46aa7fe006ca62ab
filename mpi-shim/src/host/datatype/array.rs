//! Parts of arrays (MPI-5.0 sections 5.1.3 and 5.1.4).

use faasm_mpi_engine::datatype::{Datatype, DistributedArray, Distribution, Order};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::{define, integers, old_type};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::table::host_functions;

host_functions! {
    /// A box inside an array. Section 5.1.3.
    call fn MPI_Type_create_subarray or MPI_Type_create_subarray_c(ndims: i32, array_of_sizes: GuestAddr, array_of_subsizes: GuestAddr, array_of_starts: GuestAddr, order: i32, oldtype: i32, newtype: GuestAddr) = subarray;
    /// A process's share of a distributed array. Section 5.1.4.
    call fn MPI_Type_create_darray or MPI_Type_create_darray_c(size: i32, rank: i32, ndims: i32, array_of_gsizes: GuestAddr, array_of_distribs: GuestAddr, array_of_dargs: GuestAddr, array_of_psizes: GuestAddr, order: i32, oldtype: i32, newtype: GuestAddr) = darray;
}

/// Most dimensions of an array.
const DIMS_MAX: i32 = 64;

/// The order of an array's dimensions.
fn order(number: i32) -> Result<Order> {
    match number {
        abi::MPI_ORDER_C => Ok(Order::C),
        abi::MPI_ORDER_FORTRAN => Ok(Order::Fortran),
        _ => {
            let detail = format!("{number} is neither MPI_ORDER_C nor MPI_ORDER_FORTRAN");
            Err(MpiError::argument(ErrorClass::Arg, "order", detail))
        }
    }
}

/// Refuses what cannot be a number of dimensions.
fn check_dims(ndims: i32) -> Result<()> {
    if (1..=DIMS_MAX).contains(&ndims) {
        return Ok(());
    }
    let detail = format!("{ndims} is not between 1 and {DIMS_MAX}");
    Err(MpiError::argument(ErrorClass::Arg, "ndims", detail))
}

async fn subarray<T: MpiView>(
    call: &mut Call<'_, T>,
    ndims: i32,
    array_of_sizes: GuestAddr,
    array_of_subsizes: GuestAddr,
    array_of_starts: GuestAddr,
    in_order: i32,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    check_dims(ndims)?;
    let sizes = integers(call, "array_of_sizes", array_of_sizes, ndims.into())?;
    let subsizes = integers(call, "array_of_subsizes", array_of_subsizes, ndims.into())?;
    let starts = integers(call, "array_of_starts", array_of_starts, ndims.into())?;
    let order = order(in_order)?;
    let old = old_type(call, oldtype)?;
    define(call, Datatype::subarray(&sizes, &subsizes, &starts, order, &old)?, newtype).map(|_| ())
}

/// Reads C integers, whether or not the called function has large counts.
fn plain<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    ndims: i32,
) -> Result<Vec<i64>> {
    let numbers = call.read_i32s(argument, addr, ndims as usize)?;
    Ok(numbers.into_iter().map(i64::from).collect())
}

/// The arguments of a distributed array but its global sizes.
struct Grid {
    distributions: Vec<Distribution>,
    arguments: Vec<i64>,
    extents: Vec<i64>,
    order: Order,
}

impl Grid {
    /// Reads the three arrays of `ndims` entries.
    fn read<T: MpiView>(
        call: &mut Call<'_, T>,
        ndims: i32,
        (distribs, dargs, psizes): (GuestAddr, GuestAddr, GuestAddr),
        in_order: i32,
    ) -> Result<Self> {
        let numbers = plain(call, "array_of_distribs", distribs, ndims)?;
        let known = |number: &i64| {
            Distribution::from_number(*number).ok_or_else(|| {
                let detail = format!("{number} is no MPI_DISTRIBUTE constant");
                MpiError::argument(ErrorClass::Arg, "array_of_distribs", detail)
            })
        };
        Ok(Self {
            distributions: numbers.iter().map(known).collect::<Result<_>>()?,
            arguments: plain(call, "array_of_dargs", dargs, ndims)?,
            extents: plain(call, "array_of_psizes", psizes, ndims)?,
            order: order(in_order)?,
        })
    }

    /// The type of `rank`'s share of an array of these `sizes`.
    fn datatype(
        &self,
        (processes, rank): (i32, i32),
        sizes: &[i64],
        old: &Datatype,
    ) -> Result<Datatype> {
        let array = DistributedArray {
            processes: processes.into(),
            rank: rank.into(),
            sizes,
            distributions: &self.distributions,
            arguments: &self.arguments,
            grid: &self.extents,
            order: self.order,
        };
        Datatype::darray(&array, old)
    }
}

async fn darray<T: MpiView>(
    call: &mut Call<'_, T>,
    size: i32,
    rank: i32,
    ndims: i32,
    array_of_gsizes: GuestAddr,
    array_of_distribs: GuestAddr,
    array_of_dargs: GuestAddr,
    array_of_psizes: GuestAddr,
    in_order: i32,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    check_dims(ndims)?;
    let sizes = integers(call, "array_of_gsizes", array_of_gsizes, ndims.into())?;
    let arrays = (array_of_distribs, array_of_dargs, array_of_psizes);
    let grid = Grid::read(call, ndims, arrays, in_order)?;
    let old = old_type(call, oldtype)?;
    define(call, grid.datatype((size, rank), &sizes, &old)?, newtype).map(|_| ())
}
