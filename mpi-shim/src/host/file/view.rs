//! Views and data representations (MPI-5.0 sections 14.3 and 14.5).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::file::View;
use faasm_vm::GuestAddr;

use super::converted::{extents, resolve};
use super::meeting::{agree, settled};
use super::pointer::advance;
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::{DatatypeEntry, MpiCtx};
use crate::file::{Datarep, Representation, ViewType};
use crate::host::info;
use crate::port::MpiPort;

/// Most names that a rank may register.
const DATAREPS_MAX: usize = 1024;

fn unsupported(detail: String) -> MpiError {
    MpiError::argument(ErrorClass::UnsupportedDatarep, "datarep", detail)
}

fn representation<T: MpiView>(
    call: &mut Call<'_, T>,
    datarep: GuestAddr,
) -> Result<Representation> {
    let name = call.read_string("datarep", datarep, abi::MPI_MAX_DATAREP_STRING as usize)?;
    match name.as_str() {
        "external32" => Ok(Representation::External32),
        "native" | "internal" => Ok(Representation::Native(name)),
        _ => match call.mpi().files.datareps.get(&name) {
            Some(own) if own.converts() => Ok(Representation::Converted(name)),
            Some(_) => Ok(Representation::Native(name)),
            None => Err(unsupported(format!(
                "\"{name}\" is not native, internal, external32 or registered"
            ))),
        },
    }
}

struct NewView {
    view: View,
    etype: ViewType,
    filetype: ViewType,
    representation: Representation,
    info: faasm_mpi_engine::info::Info,
}

fn prepare<T: MpiView>(
    call: &mut Call<'_, T>,
    disp: i64,
    (etype, filetype): (i32, i32),
    datarep: GuestAddr,
    info: i32,
) -> Result<NewView> {
    let representation = representation(call, datarep)?;
    let mpi = call.mpi();
    let typed = |handle| mpi.datatype(handle).map(|datatype| ViewType { handle, datatype });
    let (etype, filetype) = (typed(etype)?, typed(filetype)?);
    let info = info::hints(mpi, info)?;
    let view = representation.view(disp, &etype, &filetype)?;
    Ok(NewView { view, etype, filetype, representation, info })
}

pub(super) async fn set_view<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    disp: i64,
    etype: i32,
    filetype: i32,
    datarep: GuestAddr,
    info: i32,
) -> Result<()> {
    let mut entry = call.mpi().file(fh)?.clone();
    let from = if disp != i64::from(abi::MPI_DISPLACEMENT_CURRENT) {
        Ok(disp)
    } else if entry.has(abi::MPI_MODE_SEQUENTIAL) {
        let known = resolve(call, fh, &mut entry).await;
        let position = known.and(advance(call, &entry, 0).await);
        position.map(|at| entry.view.byte_offset(at).unwrap_or_default().cast_signed())
    } else {
        let detail = "MPI_DISPLACEMENT_CURRENT is for files opened with MPI_MODE_SEQUENTIAL";
        Err(MpiError::argument(ErrorClass::Disp, "disp", detail))
    };
    let new = from.and_then(|disp| prepare(call, disp, (etype, filetype), datarep, info));
    let kind = |new: &NewView| match &new.representation {
        Representation::Native(_) => 0,
        Representation::External32 => 1,
        Representation::Converted(_) => 2,
    };
    let unit = |new: &NewView| match new.representation.is_known() {
        true => new.view.etype_bytes(),
        false => new.etype.datatype.size().unsigned_abs(),
    };
    let value = new.as_ref().map(|new| [unit(new), kind(new)]);
    let shared = entry.shared.clone();
    let value = value.map_err(Clone::clone);
    agree(call, entry.comm, "etype", value, move || *shared.pointer() = 0).await?;
    settled(call, &entry).await?;
    let new = new?;
    let entry = call.mpi().file(fh)?;
    (entry.view, entry.etype, entry.filetype) = (new.view, new.etype, new.filetype);
    entry.is_resolved = new.representation.is_known();
    (entry.representation, entry.position) = (new.representation, 0);
    if info != abi::MPI_INFO_NULL {
        entry.info = new.info;
    }
    Ok(())
}

/// A handle of the guest's own for a type of the view.
fn handle_of<P: MpiPort>(mpi: &mut MpiCtx<P>, of: ViewType) -> Result<i32> {
    if of.datatype.predefined().is_some() {
        return Ok(of.handle);
    }
    mpi.datatypes
        .insert(DatatypeEntry::new(of.datatype))
        .ok_or_else(|| MpiError::new(ErrorClass::NoMem, "a million datatypes are alive; free some"))
}

pub(super) async fn get_view<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    disp: GuestAddr,
    etype: GuestAddr,
    filetype: GuestAddr,
    datarep: GuestAddr,
) -> Result<()> {
    let entry = call.mpi().file(fh)?.clone();
    let room = abi::MPI_MAX_DATAREP_STRING as usize;
    call.write("disp", disp, &entry.view.displacement().to_le_bytes())?;
    call.write_string("datarep", datarep, entry.representation.name(), room)?;
    let unit = handle_of(call.mpi(), entry.etype)?;
    call.write_i32("etype", etype, unit)?;
    let tile = handle_of(call.mpi(), entry.filetype)?;
    call.write_i32("filetype", filetype, tile)
}

async fn file_extent<T: MpiView>(call: &mut Call<'_, T>, fh: i32, datatype: i32) -> Result<i64> {
    let entry = call.mpi().file(fh)?.clone();
    let datatype = call.mpi().datatype(datatype)?;
    if entry.representation.is_known() {
        return Ok(entry.representation.in_file(&datatype)?.extent());
    }
    Ok(extents(call, &entry, &[&datatype]).await?.form(&datatype)?.extent())
}

pub(super) async fn get_type_extent<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    datatype: i32,
    extent: GuestAddr,
) -> Result<()> {
    let bytes = file_extent(call, fh, datatype).await?;
    let bytes = i32::try_from(bytes).unwrap_or(abi::MPI_UNDEFINED);
    call.write_i32("extent", extent, bytes)
}

pub(super) async fn get_type_extent_c<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    datatype: i32,
    extent: GuestAddr,
) -> Result<()> {
    let bytes = file_extent(call, fh, datatype).await?;
    call.write("extent", extent, &bytes.to_le_bytes())
}

pub(super) async fn register<T: MpiView>(
    call: &mut Call<'_, T>,
    datarep: GuestAddr,
    read_conversion_fn: i32,
    write_conversion_fn: i32,
    dtype_file_extent_fn: i32,
    extra_state: GuestAddr,
) -> Result<()> {
    call.mpi().error_comm = abi::MPI_FILE_NULL;
    let name = call.read_string("datarep", datarep, abi::MPI_MAX_DATAREP_STRING as usize)?;
    let known = ["native", "internal", "external32"].contains(&name.as_str());
    if known || call.mpi().files.datareps.contains_key(&name) {
        let detail = format!("\"{name}\" is defined already");
        return Err(MpiError::argument(ErrorClass::DupDatarep, "datarep", detail));
    }
    if dtype_file_extent_fn == 0 {
        let detail = "the function pointer is null; give a function of the program";
        return Err(MpiError::argument(ErrorClass::Arg, "dtype_file_extent_fn", detail));
    }
    let own = Datarep {
        read: read_conversion_fn.cast_unsigned(),
        write: write_conversion_fn.cast_unsigned(),
        extent: dtype_file_extent_fn.cast_unsigned(),
        extra_state: (extra_state.get() as u32).cast_signed(),
        large: call.large,
    };
    let datareps = &mut call.mpi().files.datareps;
    if name.is_empty() || datareps.len() >= DATAREPS_MAX {
        let detail = format!("a name is empty, or {DATAREPS_MAX} are registered already");
        return Err(MpiError::argument(ErrorClass::Arg, "datarep", detail));
    }
    datareps.insert(name, own);
    call.mpi().expect_functions();
    Ok(())
}
