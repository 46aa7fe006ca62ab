//! Datatypes (MPI-5.0 sections 5.1, 7.8 and 19.1.5): making, committing, freeing, looking at them.
//!
//! The engine holds the type itself, and whether it is committed; a handle's entry adds the name
//! and the attributes. A type outlives its handle for as long as an operation or another type uses
//! it.

pub(super) mod array;
pub(super) mod contents;
pub(super) mod lookup;

use faasm_mpi_engine::datatype::{Datatype, Predefined};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, ending};
use crate::ctx::{DatatypeEntry, MpiCtx};
use crate::host::attribute::{self, Object};
use crate::port::MpiPort;
use crate::table::{Count, host_functions};

host_functions! {
    /// Copies one after the other. Section 5.1.2.
    call fn MPI_Type_contiguous or MPI_Type_contiguous_c(count: Count, oldtype: i32, newtype: GuestAddr) = contiguous;
    /// Equally spaced blocks, the stride in elements. Section 5.1.2.
    call fn MPI_Type_vector or MPI_Type_vector_c(count: Count, blocklength: Count, stride: Count, oldtype: i32, newtype: GuestAddr) = vector;
    /// Equally spaced blocks, the stride in bytes. Section 5.1.2.
    call fn MPI_Type_create_hvector or MPI_Type_create_hvector_c(count: Count, blocklength: Count, stride: Count, oldtype: i32, newtype: GuestAddr) = hvector;
    /// Blocks, the displacements in elements. Section 5.1.2.
    call fn MPI_Type_indexed or MPI_Type_indexed_c(count: Count, array_of_blocklengths: GuestAddr, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = indexed;
    /// Blocks, the displacements in bytes. Section 5.1.2.
    call fn MPI_Type_create_hindexed or MPI_Type_create_hindexed_c(count: Count, array_of_blocklengths: GuestAddr, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = hindexed;
    /// Blocks of one length, the displacements in elements. Section 5.1.2.
    call fn MPI_Type_create_indexed_block or MPI_Type_create_indexed_block_c(count: Count, blocklength: Count, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = indexed_block;
    /// Blocks of one length, the displacements in bytes. Section 5.1.2.
    call fn MPI_Type_create_hindexed_block or MPI_Type_create_hindexed_block_c(count: Count, blocklength: Count, array_of_displacements: GuestAddr, oldtype: i32, newtype: GuestAddr) = hindexed_block;
    /// Blocks of different types. Section 5.1.2.
    call fn MPI_Type_create_struct or MPI_Type_create_struct_c(count: Count, array_of_blocklengths: GuestAddr, array_of_displacements: GuestAddr, array_of_types: GuestAddr, newtype: GuestAddr) = structure;
    /// A type with other bounds. Section 5.1.7.
    call fn MPI_Type_create_resized or MPI_Type_create_resized_c(oldtype: i32, lb: Count, extent: Count, newtype: GuestAddr) = resized;
    /// A copy of a type, with the attributes that their copy callbacks let through. Section 5.1.10.
    ending fn MPI_Type_dup(oldtype: i32, newtype: GuestAddr) = dup;
    /// Makes a type fit for communication. Section 5.1.9.
    call fn MPI_Type_commit(datatype: GuestAddr) = commit;
    /// Gives a type up. Section 5.1.9.
    ending fn MPI_Type_free(datatype: GuestAddr) = free;
    /// Bytes of data. Section 5.1.5.
    call fn MPI_Type_size or MPI_Type_size_x or MPI_Type_size_c(datatype: i32, size: GuestAddr) = size_of, at_once;
    /// Lower bound and extent. Section 5.1.7.
    call fn MPI_Type_get_extent or MPI_Type_get_extent_x or MPI_Type_get_extent_c(datatype: i32, lb: GuestAddr, extent: GuestAddr) = extent_of;
    /// First data byte and span of the data. Section 5.1.8.
    call fn MPI_Type_get_true_extent or MPI_Type_get_true_extent_x or MPI_Type_get_true_extent_c(datatype: i32, true_lb: GuestAddr, true_extent: GuestAddr) = true_extent_of;
    /// Names a type. Section 7.8.
    call fn MPI_Type_set_name(datatype: i32, type_name: GuestAddr) = set_name;
    /// The name of a type. Section 7.8.
    call fn MPI_Type_get_name(datatype: i32, type_name: GuestAddr, resultlen: GuestAddr) = get_name;
}

/// Enters a new type into the table and gives the guest its handle. The type remembers whether the
/// called function took its counts as `MPI_Count`.
pub(crate) fn define<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: Datatype,
    newtype: GuestAddr,
) -> Result<i32> {
    let datatype = if call.large { datatype.made_with_large_counts() } else { datatype };
    let handle = insert(call.mpi(), datatype)?;
    call.write_i32("newtype", newtype, handle)?;
    Ok(handle)
}

fn insert<P: MpiPort>(mpi: &mut MpiCtx<P>, datatype: Datatype) -> Result<i32> {
    mpi.datatypes.insert(DatatypeEntry::new(datatype)).ok_or_else(|| {
        let detail = "a million datatypes are alive already; free some with MPI_Type_free";
        MpiError::new(ErrorClass::NoMem, detail)
    })
}

/// The type that a constructor builds on.
pub(crate) fn old_type<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Result<Datatype> {
    named("oldtype", call.mpi().any_datatype(handle))
}

/// Says which argument an error is about.
fn named<R>(argument: &'static str, result: Result<R>) -> Result<R> {
    result.map_err(|error| MpiError { argument: Some(argument), ..error })
}

/// Reads `count` numbers, as wide as the called function has them.
fn integers<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    count: i64,
) -> Result<Vec<i64>> {
    let count = MpiCtx::<T::Port>::count(count)? as usize;
    call.read_numbers(argument, addr, count)
}

const LENGTHS: &str = "array_of_blocklengths";
const DISPLACEMENTS: &str = "array_of_displacements";

async fn contiguous<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let old = old_type(call, oldtype)?;
    let new = Datatype::contiguous(count, &old)?;
    define(call, new, newtype).map(|_| ())
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
    let new = Datatype::vector(count, blocklength, stride, &old)?;
    define(call, new, newtype).map(|_| ())
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
    let new = Datatype::hvector(count, blocklength, stride, &old)?;
    define(call, new, newtype).map(|_| ())
}

async fn indexed<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    array_of_blocklengths: GuestAddr,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let lengths = integers(call, LENGTHS, array_of_blocklengths, count)?;
    let places = integers(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define(call, Datatype::indexed(&lengths, &places, &old)?, newtype).map(|_| ())
}

async fn hindexed<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    array_of_blocklengths: GuestAddr,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let lengths = integers(call, LENGTHS, array_of_blocklengths, count)?;
    let places = integers(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define(call, Datatype::hindexed(&lengths, &places, &old)?, newtype).map(|_| ())
}

async fn indexed_block<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    blocklength: i64,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let places = integers(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define(call, Datatype::indexed_block(blocklength, &places, &old)?, newtype).map(|_| ())
}

async fn hindexed_block<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i64,
    blocklength: i64,
    array_of_displacements: GuestAddr,
    oldtype: i32,
    newtype: GuestAddr,
) -> Result<()> {
    let places = integers(call, DISPLACEMENTS, array_of_displacements, count)?;
    let old = old_type(call, oldtype)?;
    define(call, Datatype::hindexed_block(blocklength, &places, &old)?, newtype).map(|_| ())
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
    let lengths = integers(call, LENGTHS, array_of_blocklengths, count)?;
    let places = integers(call, DISPLACEMENTS, array_of_displacements, count)?;
    let handles = call.read_i32s(TYPES, array_of_types, lengths.len())?;
    let mpi = call.mpi();
    let types: Result<Vec<_>> = handles.iter().map(|handle| mpi.any_datatype(*handle)).collect();
    let new = Datatype::structure(&lengths, &places, &named(TYPES, types)?)?;
    define(call, new, newtype).map(|_| ())
}

async fn resized<T: MpiView>(
    call: &mut Call<'_, T>,
    oldtype: i32,
    lb: i64,
    extent: i64,
    newtype: GuestAddr,
) -> Result<()> {
    let old = old_type(call, oldtype)?;
    define(call, Datatype::resized(&old, lb, extent)?, newtype).map(|_| ())
}

async fn dup<T: MpiView>(call: &mut Call<'_, T>, oldtype: i32, newtype: GuestAddr) -> Ending {
    ending(duplicate(call, oldtype, newtype).await)
}

async fn duplicate<T: MpiView>(
    call: &mut Call<'_, T>,
    oldtype: i32,
    newtype: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let new = Datatype::dup(&old_type(call, oldtype)?)?;
    let attributes = attribute::copy_all(call, Object::Datatype(oldtype)).await?;
    let handle = define(call, new, newtype)?;
    call.mpi().datatype_entry_mut(handle)?.attributes = attributes;
    Ok(())
}

async fn commit<T: MpiView>(call: &mut Call<'_, T>, datatype: GuestAddr) -> Result<()> {
    let handle = call.read_i32("datatype", datatype)?;
    call.mpi().any_datatype(handle)?.commit();
    Ok(())
}

async fn free<T: MpiView>(call: &mut Call<'_, T>, datatype: GuestAddr) -> Ending {
    ending(give_up(call, datatype).await)
}

async fn give_up<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let handle = call.read_i32("datatype", datatype)?;
    if let Some(predefined) = Predefined::from_handle(handle) {
        let detail = format!("{} is predefined and cannot be freed", predefined.name());
        return Err(MpiError::argument(ErrorClass::Type, "datatype", detail).into());
    }
    if call.mpi().any_datatype(handle)?.is_parametric() {
        let detail = "a type of MPI_Type_create_f90_* counts as predefined and cannot be freed";
        return Err(MpiError::argument(ErrorClass::Type, "datatype", detail).into());
    }
    attribute::delete_all(call, Object::Datatype(handle)).await?;
    call.mpi().datatypes.remove(handle);
    call.write_i32("datatype", datatype, abi::MPI_DATATYPE_NULL)?;
    Ok(())
}

async fn size_of<T: MpiView>(call: &mut Call<'_, T>, datatype: i32, size: GuestAddr) -> Result<()> {
    let bytes = call.mpi().any_datatype(datatype)?.size();
    call.write_number("size", size, bytes)
}

async fn extent_of<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    lb: GuestAddr,
    extent: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    call.write_number("lb", lb, datatype.lb())?;
    call.write_number("extent", extent, datatype.extent())
}

async fn true_extent_of<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    true_lb: GuestAddr,
    true_extent: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    call.write_number("true_lb", true_lb, datatype.true_lb())?;
    call.write_number("true_extent", true_extent, datatype.true_extent())
}

async fn set_name<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    type_name: GuestAddr,
) -> Result<()> {
    let name = call.read_string("type_name", type_name, NAME_BYTES_MAX)?;
    call.mpi().datatype_entry_mut(datatype)?.name = Some(name);
    Ok(())
}

/// Longest name that is accepted; the guest gets back what fits `MPI_MAX_OBJECT_NAME`.
const NAME_BYTES_MAX: usize = 4096;

async fn get_name<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    type_name: GuestAddr,
    resultlen: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    let predefined = mpi.any_datatype(datatype)?.predefined();
    let entry = match predefined {
        Some(_) => mpi.predefined_types.get(&datatype),
        None => mpi.datatypes.get(datatype),
    };
    let given = entry.and_then(|entry| entry.name.clone());
    let name = given.unwrap_or_else(|| predefined.map_or("", Predefined::name).to_owned());
    let room = abi::MPI_MAX_OBJECT_NAME as usize;
    let len = call.write_string("type_name", type_name, &name, room)?;
    call.write_i32("resultlen", resultlen, len as i32)
}
