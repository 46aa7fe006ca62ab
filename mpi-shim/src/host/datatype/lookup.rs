//! Types that are looked up by what they shall hold (MPI-5.0 sections 5.1.12 and 19.1.5).

use faasm_mpi_engine::datatype::{BasicKind, Datatype, Predefined};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::define;
use crate::abi;
use crate::call::{Call, MpiView};
use crate::table::host_functions;

host_functions! {
    /// The predefined type of a class and a size. Section 19.1.5.
    call fn MPI_Type_match_size(typeclass: i32, size: i32, datatype: GuestAddr) = match_size;
    /// Fortran's real type of a precision and range. Section 19.1.5.
    call fn MPI_Type_create_f90_real(p: i32, r: i32, newtype: GuestAddr) = f90_real;
    /// Fortran's complex type of a precision and range. Section 19.1.5.
    call fn MPI_Type_create_f90_complex(p: i32, r: i32, newtype: GuestAddr) = f90_complex;
    /// Fortran's integer type of a range. Section 19.1.5.
    call fn MPI_Type_create_f90_integer(r: i32, newtype: GuestAddr) = f90_integer;
    /// The predefined pair of a value and an index type. Section 6.9.4.
    call fn MPI_Type_get_value_index(value_type: i32, index_type: i32, pair_type: GuestAddr) = value_index;
}

async fn match_size<T: MpiView>(
    call: &mut Call<'_, T>,
    typeclass: i32,
    size: i32,
    datatype: GuestAddr,
) -> Result<()> {
    use Predefined as P;
    let candidates: &[P] = match typeclass {
        abi::MPI_TYPECLASS_INTEGER => {
            &[P::Integer1, P::Integer2, P::Integer4, P::Integer8, P::Integer16]
        }
        abi::MPI_TYPECLASS_REAL => &[P::Real2, P::Real4, P::Real8, P::Real16],
        abi::MPI_TYPECLASS_COMPLEX => &[P::Complex4, P::Complex8, P::Complex16, P::Complex32],
        abi::MPIX_TYPECLASS_LOGICAL => {
            &[P::Logical1, P::Logical2, P::Logical4, P::Logical8, P::Logical16]
        }
        _ => {
            let detail = format!("{typeclass} is no MPI_TYPECLASS constant");
            return Err(MpiError::argument(ErrorClass::Arg, "typeclass", detail));
        }
    };
    let matches = |candidate: &&P| i32::try_from(candidate.size()) == Ok(size);
    let Some(found) = candidates.iter().find(matches) else {
        let detail = format!("no type of this class has {size} bytes");
        return Err(MpiError::argument(ErrorClass::Arg, "size", detail));
    };
    call.write_i32("datatype", datatype, found.handle())
}

fn given(number: i32) -> Option<i64> {
    (number != abi::MPI_UNDEFINED).then_some(number.into())
}

async fn f90_real<T: MpiView>(
    call: &mut Call<'_, T>,
    p: i32,
    r: i32,
    newtype: GuestAddr,
) -> Result<()> {
    parametric(call, Datatype::f90_real(given(p), given(r))?, newtype)
}

async fn f90_complex<T: MpiView>(
    call: &mut Call<'_, T>,
    p: i32,
    r: i32,
    newtype: GuestAddr,
) -> Result<()> {
    parametric(call, Datatype::f90_complex(given(p), given(r))?, newtype)
}

async fn f90_integer<T: MpiView>(call: &mut Call<'_, T>, r: i32, newtype: GuestAddr) -> Result<()> {
    parametric(call, Datatype::f90_integer(r.into())?, newtype)
}

/// Gives the handle of a parametric type: the same one whenever the same is asked for.
fn parametric<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: Datatype,
    newtype: GuestAddr,
) -> Result<()> {
    let is_same = |other: &Datatype| match (other.contents(), datatype.contents()) {
        (Some(other), Some(wanted)) => {
            other.combiner == wanted.combiner && other.integers == wanted.integers
        }
        _ => false,
    };
    let found =
        call.mpi().datatypes.iter().find(|(_, entry)| is_same(&entry.datatype)).map(|(at, _)| at);
    match found {
        Some(handle) => call.write_i32("newtype", newtype, handle),
        None => define(call, datatype, newtype).map(|_| ()),
    }
}

async fn value_index<T: MpiView>(
    call: &mut Call<'_, T>,
    value_type: i32,
    index_type: i32,
    pair_type: GuestAddr,
) -> Result<()> {
    let value = super::named("value_type", call.mpi().any_datatype(value_type))?;
    let index = super::named("index_type", call.mpi().any_datatype(index_type))?;
    let pair = match (value.predefined(), index.predefined()) {
        (Some(value), Some(index)) => pair_of(value, index),
        _ => None,
    };
    let handle = pair.map_or(abi::MPI_DATATYPE_NULL, Predefined::handle);
    call.write_i32("pair_type", pair_type, handle)
}

/// The named pair of these two types, in C or in Fortran.
fn pair_of(value: Predefined, index: Predefined) -> Option<Predefined> {
    use Predefined as P;
    let pair = match (value, index) {
        (P::Float, P::Int) => P::FloatInt,
        (P::Double, P::Int) => P::DoubleInt,
        (P::Long, P::Int) => P::LongInt,
        (P::Int, P::Int) => P::TwoInt,
        (P::Short, P::Int) => P::ShortInt,
        (P::LongDouble, P::Int) => P::LongDoubleInt,
        (P::Real, P::Real) => P::TwoReal,
        (P::DoublePrecision, P::DoublePrecision) => P::TwoDoublePrecision,
        (P::Integer, P::Integer) => P::TwoInteger,
        _ => return None,
    };
    debug_assert!(matches!(pair.kind(), BasicKind::Pair(..)));
    Some(pair)
}
