//! The constructors and queries with `MPI_Count` arguments (MPI-5.0 section 2.5.8).
//!
//! They build the same types as their twins; only `MPI_Type_get_envelope_c` and
//! `MPI_Type_get_contents_c` tell which of the two was called.

use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::array::{Grid, check_dims, order};
use super::{DISPLACEMENTS, LENGTHS, check_room, define, named, old_type, part_handle, words};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::table::host_functions;

host_functions! {
    /// Copies one after the other. Section 5.1.2.
    call fn MPI_Type_contiguous_c(count: i64, oldtype: i32, newtype: GuestAddr) = contiguous;
    /// Equally spaced blocks, the stride in elements. Section 5.1.2.
    call fn MPI_Type_vector_c(count: i64, blocklength: i64, stride: i64, oldtype: i32, newtype: GuestAddr) = vector;
    /// Equally spaced blocks, the stride in bytes. Section 5.1.2.
    call fn MPI_Type_create_hvector_c(count: i64, blocklength: i64, stride: i64, oldtype: i32, newtype: GuestAddr) = hvector;
    /// Blocks, the displacements in elements. Section 5.1.2.
    call fn MPI_Type_indexed_c(count: i64, array_of_blocklengths: GuestAddr, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = indexed;
    /// Blocks, the displacements in bytes. Section 5.1.2.
    call fn MPI_Type_create_hindexed_c(count: i64, array_of_blocklengths: GuestAddr, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = hindexed;
    /// Blocks of one length, the displacements in elements. Section 5.1.2.
    call fn MPI_Type_create_indexed_block_c(count: i64, blocklength: i64, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = indexed_block;
    /// Blocks of one length, the displacements in bytes. Section 5.1.2.
    call fn MPI_Type_create_hindexed_block_c(count: i64, blocklength: i64, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = hindexed_block;
    /// Blocks of different types. Section 5.1.2.
    call fn MPI_Type_create_struct_c(count: i64, array_of_blocklengths: GuestAddr, array_of_displacements: GuestAddr, array_of_types: GuestAddr, newtype: GuestAddr) = structure;
    /// A type with other bounds. Section 5.1.7.
    call fn MPI_Type_create_resized_c(oldtype: i32, lb: i64, extent: i64, newtype: GuestAddr) = resized;
    /// A box inside an array. Section 5.1.3.
    call fn MPI_Type_create_subarray_c(ndims: i32, array_of_sizes: GuestAddr, array_of_subsizes: GuestAddr, array_of_starts: GuestAddr, order: i32, oldtype: i32, newtype: GuestAddr) = subarray;
    /// A process's share of a distributed array. Section 5.1.4.
    call fn MPI_Type_create_darray_c(size: i32, rank: i32, ndims: i32, array_of_gsizes: GuestAddr, array_of_distribs: GuestAddr, array_of_dargs: GuestAddr, array_of_psizes: GuestAddr, order: i32, oldtype: i32, newtype: GuestAddr) = darray;
    /// Bytes of data. Section 5.1.5.
    call fn MPI_Type_size_c(datatype: i32, size: GuestAddr) = size_of;
    /// Lower bound and extent. Section 5.1.7.
    call fn MPI_Type_get_extent_c(datatype: i32, lb: GuestAddr, extent: GuestAddr) = extent_of;
    /// First data byte and span of the data. Section 5.1.8.
    call fn MPI_Type_get_true_extent_c(datatype: i32, true_lb: GuestAddr, true_extent: GuestAddr) = true_extent_of;
    /// How a type was made, and how much there is to say about it. Section 5.1.13.
    call fn MPI_Type_get_envelope_c(datatype: i32, num_integers: GuestAddr, num_addresses: GuestAddr, num_large_counts: GuestAddr, num_datatypes: GuestAddr, combiner: GuestAddr) = envelope;
    /// The arguments of the constructor. Section 5.1.13.
    call fn MPI_Type_get_contents_c(datatype: i32, max_integers: i64, max_addresses: i64, max_large_counts: i64, max_datatypes: i64, array_of_integers: GuestAddr, array_of_addresses: GuestAddr, array_of_large_counts: GuestAddr, array_of_datatypes: GuestAddr) = contents;
}

/// Enters a type that was made with large counts.
fn define_large<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: Datatype,
    newtype: GuestAddr,
) -> Result<()> {
    define(call, datatype.made_with_large_counts(), newtype).map(|_| ())
}

/// Reads `count` numbers of the type `MPI_Count`.
fn counts<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    count: i64,
) -> Result<Vec<i64>> {
    let room = call.mpi().memory()?.len() / 8;
    match usize::try_from(count) {
        Ok(len) if len as u64 <= room => call.read_i64s(argument, addr, len),
        _ => {
            let detail = format!("an array of {count} entries does not fit the program's memory");
            Err(MpiError::argument(ErrorClass::Count, "count", detail))
        }
    }
}

async fn contiguous<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::contiguous(count, &old)?, newtype)
}

async fn vector<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    blocklength: i64,
    stride: i64,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::vector(count, blocklength, stride, &old)?, newtype)
}

async fn hvector<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    blocklength: i64,
    stride: i64,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::hvector(count, blocklength, stride, &old)?, newtype)
}

async fn indexed<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    array_of_blocklengths: GuestAddr,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let lengths = counts(call, LENGTHS, array_of_blocklengths, count)?;
    let places = counts(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::indexed(&lengths, &places, &old)?, newtype)
}

async fn hindexed<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    array_of_blocklengths: GuestAddr,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let lengths = counts(call, LENGTHS, array_of_blocklengths, count)?;
    let places = counts(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::hindexed(&lengths, &places, &old)?, newtype)
}

async fn indexed_block<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    blocklength: i64,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let places = counts(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::indexed_block(blocklength, &places, &old)?, newtype)
}

async fn hindexed_block<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    blocklength: i64,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let places = counts(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::hindexed_block(blocklength, &places, &old)?, newtype)
}

async fn structure<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    array_of_blocklengths: GuestAddr,
    array_of_displacements: GuestAddr,
    array_of_types: GuestAddr,
    newtype: GuestAddr,
) -> Result<()> {
    const TYPES: &str = "array_of_types";
    let lengths = counts(call, LENGTHS, array_of_blocklengths, count)?;
    let places = counts(call, DISPLACEMENTS, array_of_displacements, count)?;
    let handles = call.read_i32s(TYPES, array_of_types, lengths.len())?;
    let mpi = call.mpi();
    let types: Result<Vec<_>> = handles.iter().map(|handle| mpi.any_datatype(*handle)).collect();
    let new = Datatype::structure(&lengths, &places, &named(TYPES, types)?)?;
    define_large(call, new, newtype)
}

async fn resized<T: MpiView>(
    call: &mut Call<'_, T>,
    oldtype: i32,
    lb: i64,
    extent: i64,
    newtype: GuestAddr,
) -> Result<()> {
    let old = old_type(call, oldtype)?;
    define_large(call, Datatype::resized(&old, lb, extent)?, newtype)
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
    let sizes = counts(call, "array_of_sizes", array_of_sizes, ndims.into())?;
    let subsizes = counts(call, "array_of_subsizes", array_of_subsizes, ndims.into())?;
    let starts = counts(call, "array_of_starts", array_of_starts, ndims.into())?;
    let old = old_type(call, oldtype)?;
    let new = Datatype::subarray(&sizes, &subsizes, &starts, order(in_order)?, &old)?;
    define_large(call, new, newtype)
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
    let sizes = counts(call, "array_of_gsizes", array_of_gsizes, ndims.into())?;
    let arrays = (array_of_distribs, array_of_dargs, array_of_psizes);
    let grid = Grid::read(call, ndims, arrays, in_order)?;
    let old = old_type(call, oldtype)?;
    define_large(call, grid.datatype((size, rank), &sizes, &old)?, newtype)
}

fn write_count<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    value: i64,
) -> Result<()> {
    call.write(argument, addr, &value.to_le_bytes())
}

async fn size_of<T: MpiView>(call: &mut Call<'_, T>, datatype: i32, size: GuestAddr) -> Result<()> {
    let bytes = call.mpi().any_datatype(datatype)?.size();
    write_count(call, "size", size, bytes)
}

async fn extent_of<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    lb: GuestAddr,
    extent: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    write_count(call, "lb", lb, datatype.lb())?;
    write_count(call, "extent", extent, datatype.extent())
}

async fn true_extent_of<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    true_lb: GuestAddr,
    true_extent: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    write_count(call, "true_lb", true_lb, datatype.true_lb())?;
    write_count(call, "true_extent", true_extent, datatype.true_extent())
}

async fn envelope<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    num_integers: GuestAddr,
    num_addresses: GuestAddr,
    num_large_counts: GuestAddr,
    num_datatypes: GuestAddr,
    combiner: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    let (lens, made) = match datatype.contents() {
        Some(made) => {
            let (integers, addresses, large) = made.with_large_counts();
            let lens = [integers.len(), addresses.len(), large.len(), made.datatypes.len()];
            (lens, made.combiner as i32)
        }
        None => ([0; 4], abi::MPI_COMBINER_NAMED),
    };
    write_count(call, "num_integers", num_integers, lens[0] as i64)?;
    write_count(call, "num_addresses", num_addresses, lens[1] as i64)?;
    write_count(call, "num_large_counts", num_large_counts, lens[2] as i64)?;
    write_count(call, "num_datatypes", num_datatypes, lens[3] as i64)?;
    call.write_i32("combiner", combiner, made)
}

async fn contents<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    max_integers: i64,
    max_addresses: i64,
    max_large_counts: i64,
    max_datatypes: i64,
    array_of_integers: GuestAddr,
    array_of_addresses: GuestAddr,
    array_of_large_counts: GuestAddr,
    array_of_datatypes: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    let Some(made) = datatype.contents() else {
        let detail = "a predefined datatype has no contents; ask MPI_Type_get_envelope_c first";
        return Err(MpiError::argument(ErrorClass::Type, "datatype", detail));
    };
    let (integers, addresses, large) = made.with_large_counts();
    check_room("max_integers", max_integers, integers.len())?;
    check_room("max_addresses", max_addresses, addresses.len())?;
    check_room("max_large_counts", max_large_counts, large.len())?;
    check_room("max_datatypes", max_datatypes, made.datatypes.len())?;
    call.write("array_of_integers", array_of_integers, &words(&integers))?;
    call.write("array_of_addresses", array_of_addresses, &words(&addresses))?;
    let bytes: Vec<u8> = large.iter().flat_map(|value| value.to_le_bytes()).collect();
    call.write("array_of_large_counts", array_of_large_counts, &bytes)?;
    let mpi = call.mpi();
    let handles: Result<Vec<i64>> =
        made.datatypes.iter().map(|part| part_handle(mpi, part).map(i64::from)).collect();
    call.write("array_of_datatypes", array_of_datatypes, &words(&handles?))
}
