//! What there is to know about the machine and the binary interface (MPI-5.0 sections 9.1.2, 20.2 and
//! 20.3). All of these may be called before MPI starts and after it ended.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestAddr;

use crate::call::{Call, Ending, MpiView};
use crate::ctx::FortranBooleans;
use crate::host::info::{self, put};
use crate::table::host_functions;

host_functions! {
    /// The hardware that the rank may run on. Section 9.1.2.
    ending fn MPI_Get_hw_resource_info(hw_info: GuestAddr) = hardware;
    /// Sizes of the types whose width is up to the platform. Section 20.2.
    ending fn MPI_Abi_get_info(info: GuestAddr) = abi_info;
    /// What is known of Fortran's types. Section 20.3.
    ending fn MPI_Abi_get_fortran_info(info: GuestAddr) = fortran_info;
    /// Tells what Fortran's types are. Section 20.3.
    ending fn MPI_Abi_set_fortran_info(info: i32) = set_fortran_info;
    /// Fortran's true and false. Section 20.3.
    ending fn MPI_Abi_get_fortran_booleans(logical_size: i32, logical_true: GuestAddr, logical_false: GuestAddr, is_set: GuestAddr) = booleans;
    /// Tells what Fortran's true and false are. Section 20.3.
    ending fn MPI_Abi_set_fortran_booleans(logical_size: i32, logical_true: GuestAddr, logical_false: GuestAddr) = set_booleans;
}

async fn hardware<T: MpiView>(call: &mut Call<'_, T>, hw_info: GuestAddr) -> Ending {
    let mut resources = Info::new();
    // A rank moves between the cores of its node, so the node's memory is all it is bound to.
    let made = resources.set("mpi_shared_memory", "true");
    Ok(made.and_then(|()| put(call, "hw_info", hw_info, resources)))
}

async fn abi_info<T: MpiView>(call: &mut Call<'_, T>, info: GuestAddr) -> Ending {
    let mut sizes = Info::new();
    let sized = [("mpi_aint_size", "4"), ("mpi_count_size", "8"), ("mpi_offset_size", "8")];
    let made = sized.iter().try_for_each(|(key, bytes)| sizes.set(key, bytes));
    Ok(made.and_then(|()| put(call, "info", info, sizes)))
}

/// The keys of section 20.3 and what a Fortran compiler for wasm32 gives.
const FORTRAN: [(&str, &str); 9] = [
    ("mpi_logical_size", "4"),
    ("mpi_integer_size", "4"),
    ("mpi_real_size", "4"),
    ("mpi_double_precision_size", "8"),
    ("mpi_logical1_supported", "true"),
    ("mpi_integer8_supported", "true"),
    ("mpi_integer16_supported", "true"),
    ("mpi_real16_supported", "true"),
    ("mpi_complex32_supported", "true"),
];

async fn fortran_info<T: MpiView>(call: &mut Call<'_, T>, info: GuestAddr) -> Ending {
    let mut types = Info::new();
    let made = FORTRAN.iter().try_for_each(|(key, value)| types.set(key, value));
    Ok(made.and_then(|()| put(call, "info", info, types)))
}

async fn set_fortran_info<T: MpiView>(call: &mut Call<'_, T>, info: i32) -> Ending {
    Ok(check_fortran_info(call, info))
}

/// The sizes are compiled into the predefined datatypes, so only what they are is accepted.
fn check_fortran_info<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Result<()> {
    let given = info::info(call.mpi(), handle)?;
    for (key, value) in FORTRAN {
        if let Some(other) = given.value(key)?.filter(|other| *other != value) {
            let detail = format!("{key} is {value} in this implementation and cannot be {other}");
            return Err(MpiError::argument(ErrorClass::Abi, "info", detail));
        }
    }
    Ok(())
}

/// Bytes of a logical value.
fn logical_bytes(logical_size: i32) -> Result<usize> {
    match logical_size {
        1 | 2 | 4 | 8 | 16 => Ok(logical_size as usize),
        _ => {
            let detail = format!("{logical_size} is not 1, 2, 4, 8 or 16 bytes");
            Err(MpiError::argument(ErrorClass::Arg, "logical_size", detail))
        }
    }
}

async fn booleans<T: MpiView>(
    call: &mut Call<'_, T>,
    logical_size: i32,
    logical_true: GuestAddr,
    logical_false: GuestAddr,
    is_set: GuestAddr,
) -> Ending {
    Ok(write_booleans(call, logical_size, (logical_true, logical_false), is_set))
}

fn write_booleans<T: MpiView>(
    call: &mut Call<'_, T>,
    logical_size: i32,
    (logical_true, logical_false): (GuestAddr, GuestAddr),
    is_set: GuestAddr,
) -> Result<()> {
    let bytes = logical_bytes(logical_size)?;
    let known = call.mpi().fortran_booleans.filter(|known| known.bytes == bytes);
    if let Some(FortranBooleans { yes, no, .. }) = known {
        call.write("logical_true", logical_true, &yes[..bytes])?;
        call.write("logical_false", logical_false, &no[..bytes])?;
    }
    call.write_i32("is_set", is_set, known.is_some().into())
}

async fn set_booleans<T: MpiView>(
    call: &mut Call<'_, T>,
    logical_size: i32,
    logical_true: GuestAddr,
    logical_false: GuestAddr,
) -> Ending {
    Ok(read_booleans(call, logical_size, logical_true, logical_false))
}

fn read_booleans<T: MpiView>(
    call: &mut Call<'_, T>,
    logical_size: i32,
    logical_true: GuestAddr,
    logical_false: GuestAddr,
) -> Result<()> {
    let bytes = logical_bytes(logical_size)?;
    if call.mpi().fortran_booleans.is_some() {
        let detail = "Fortran's true and false are set already";
        return Err(MpiError::new(ErrorClass::Abi, detail));
    }
    let mut read = |argument, addr| -> Result<[u8; 16]> {
        let words = call.read_bytes(argument, addr, bytes)?;
        let mut value = [0; 16];
        value[..bytes].copy_from_slice(&words);
        Ok(value)
    };
    let (yes, no) = (read("logical_true", logical_true)?, read("logical_false", logical_false)?);
    call.mpi().fortran_booleans = Some(FortranBooleans { bytes, yes, no });
    Ok(())
}
