//! How a datatype was made (MPI-5.0 section 5.1.13).
//!
//! The functions for large counts take more arguments than their twins, and tell which of the two
//! constructors was called.

use faasm_mpi_engine::datatype::Datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::insert;
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::MpiCtx;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// How a type was made, and how much there is to say about it. Section 5.1.13.
    call fn MPI_Type_get_envelope(datatype: i32, num_integers: GuestAddr, num_addresses: GuestAddr, num_datatypes: GuestAddr, combiner: GuestAddr) = envelope;
    /// How a type was made, and how much there is to say about it. Section 5.1.13.
    call fn MPI_Type_get_envelope_c(datatype: i32, num_integers: GuestAddr, num_addresses: GuestAddr, num_large_counts: GuestAddr, num_datatypes: GuestAddr, combiner: GuestAddr) = envelope_c;
    /// The arguments of the constructor. Section 5.1.13.
    call fn MPI_Type_get_contents(datatype: i32, max_integers: i32, max_addresses: i32, max_datatypes: i32, array_of_integers: GuestAddr, array_of_addresses: GuestAddr, array_of_datatypes: GuestAddr) = contents;
    /// The arguments of the constructor. Section 5.1.13.
    call fn MPI_Type_get_contents_c(datatype: i32, max_integers: i64, max_addresses: i64, max_large_counts: i64, max_datatypes: i64, array_of_integers: GuestAddr, array_of_addresses: GuestAddr, array_of_large_counts: GuestAddr, array_of_datatypes: GuestAddr) = contents_c;
}

async fn envelope<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    num_integers: GuestAddr,
    num_addresses: GuestAddr,
    num_datatypes: GuestAddr,
    combiner: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    let (integers, addresses, datatypes, made) = match datatype.contents() {
        Some(made) => {
            (made.integers.len(), made.addresses.len(), made.datatypes.len(), made.combiner as i32)
        }
        None => (0, 0, 0, abi::MPI_COMBINER_NAMED),
    };
    call.write_i32("num_integers", num_integers, integers as i32)?;
    call.write_i32("num_addresses", num_addresses, addresses as i32)?;
    call.write_i32("num_datatypes", num_datatypes, datatypes as i32)?;
    call.write_i32("combiner", combiner, made)
}

async fn envelope_c<T: MpiView>(
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
    write_count(call, "num_integers", num_integers, lens[0])?;
    write_count(call, "num_addresses", num_addresses, lens[1])?;
    write_count(call, "num_large_counts", num_large_counts, lens[2])?;
    write_count(call, "num_datatypes", num_datatypes, lens[3])?;
    call.write_i32("combiner", combiner, made)
}

fn write_count<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    value: usize,
) -> Result<()> {
    call.write(argument, addr, &(value as u64).to_le_bytes())
}

async fn contents<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    max_integers: i32,
    max_addresses: i32,
    max_datatypes: i32,
    array_of_integers: GuestAddr,
    array_of_addresses: GuestAddr,
    array_of_datatypes: GuestAddr,
) -> Result<()> {
    let datatype = call.mpi().any_datatype(datatype)?;
    let Some(made) = datatype.contents() else {
        let detail = "a predefined datatype has no contents; ask MPI_Type_get_envelope first";
        return Err(MpiError::argument(ErrorClass::Type, "datatype", detail));
    };
    check_room("max_integers", max_integers.into(), made.integers.len())?;
    check_room("max_addresses", max_addresses.into(), made.addresses.len())?;
    check_room("max_datatypes", max_datatypes.into(), made.datatypes.len())?;
    call.write("array_of_integers", array_of_integers, &words(&made.integers))?;
    call.write("array_of_addresses", array_of_addresses, &words(&made.addresses))?;
    let mpi = call.mpi();
    let handles: Result<Vec<i64>> =
        made.datatypes.iter().map(|part| part_handle(mpi, part).map(i64::from)).collect();
    call.write("array_of_datatypes", array_of_datatypes, &words(&handles?))
}

async fn contents_c<T: MpiView>(
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

fn check_room(argument: &'static str, room: i64, needed: usize) -> Result<()> {
    if usize::try_from(room).is_ok_and(|room| room >= needed) {
        return Ok(());
    }
    let detail = format!("{room} is less than the {needed} that the envelope reports");
    Err(MpiError::argument(ErrorClass::Arg, argument, detail))
}

/// The values as C integers or addresses, which they came from.
fn words(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| (*value as i32).to_le_bytes()).collect()
}

/// A handle of a type that another one is made of; the guest has to free it unless predefined.
fn part_handle<P: MpiPort>(mpi: &mut MpiCtx<P>, part: &Datatype) -> Result<i32> {
    match part.predefined() {
        Some(predefined) => Ok(predefined.handle()),
        None => insert(mpi, part.clone()),
    }
}
