//! Data representations with functions of the program (MPI-5.0 section 14.5.3).
//!
//! Such a function gets the data items of an access, one after the other as they are in the file, in memory that is allocated for
//! them, and moves them from or to the buffer. The extents of predefined types are asked for when an access or a
//! position needs them; a view is therefore *resolved* then, and not when it is set.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use faasm_mpi_engine::datatype::{Datatype, Predefined, file_form};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::file::{Items, Stretch, View, basics};
use faasm_vm::GuestAddr;
use wasmtime::Val;

use super::access::WRITE;
use super::merged::Wanted;
use super::transfer::{read_stream, write_stream};
use crate::call::{Call, MpiView};
use crate::ctx::MpiCtx;
use crate::file::{Datarep, FileEntry, Representation};
use crate::port::MpiPort;

/// Bytes of the file that a function is given at a time, if no item is larger.
const ITEMS_BYTES: u64 = 1 << 20;

/// Bytes that predefined types take in a file, by their handles.
#[derive(Clone, Debug, Default)]
pub(super) struct Extents(BTreeMap<i32, u64>);

impl Extents {
    fn of(&self, basic: Predefined) -> u64 {
        self.0.get(&basic.handle()).copied().unwrap_or(basic.size() as u64)
    }

    /// The items of an array.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when they would lie beyond any file.
    pub(super) fn items(&self, datatype: &Datatype, count: i64) -> Result<Items> {
        Items::new(datatype, count, |basic| self.of(basic)).ok_or_else(|| {
            let detail = "the data would lie beyond any file";
            MpiError::argument(ErrorClass::Arg, "count", detail)
        })
    }

    /// The type as it lies in the file.
    pub(super) fn form(&self, datatype: &Datatype) -> Result<Datatype> {
        file_form(datatype, &|basic| self.of(basic))
    }
}

/// What the program has registered for the file's representation, if it has functions.
fn datarep<P: MpiPort>(mpi: &MpiCtx<P>, entry: &FileEntry) -> Option<Datarep> {
    match &entry.representation {
        Representation::Converted(name) => mpi.files.datareps.get(name).copied(),
        Representation::Native(_) | Representation::External32 => None,
    }
}

/// The extents in this file of all predefined types that these types are made of; none where they are as in memory.
///
/// # Errors
/// `MPI_ERR_CONVERSION` when the program's function fails.
pub(super) async fn extents<T: MpiView>(
    call: &mut Call<'_, T>,
    entry: &FileEntry,
    datatypes: &[&Datatype],
) -> Result<Extents> {
    let mut extents = Extents::default();
    let Some(datarep) = datarep(call.mpi(), entry) else { return Ok(extents) };
    for basic in datatypes.iter().flat_map(|datatype| basics(datatype)) {
        if let Entry::Vacant(place) = extents.0.entry(basic.handle()) {
            place.insert(extent_of(call, datarep, basic).await?);
        }
    }
    Ok(extents)
}

/// Calls `dtype_file_extent_fn(datatype, &extent, extra_state)`.
async fn extent_of<T: MpiView>(
    call: &mut Call<'_, T>,
    datarep: Datarep,
    basic: Predefined,
) -> Result<u64> {
    let allocated = call.allocate(16).await;
    let at = call.or_end(allocated).await?;
    let args = [basic.handle(), at.cast_signed(), datarep.extra_state].map(Val::I32);
    let name = "dtype_file_extent_fn";
    let succeeded = convert(call, datarep.extent, &args, name).await;
    let extent = call.read_i32("extent", GuestAddr::from(at))?;
    free(call, at).await;
    succeeded?;
    u64::try_from(extent).map_err(|_| {
        let detail = format!("it gave an extent of {extent} bytes for {}", basic.name());
        MpiError::argument(ErrorClass::Conversion, name, detail)
    })
}

/// Calls a function of the program that returns an error code.
async fn convert<T: MpiView>(
    call: &mut Call<'_, T>,
    function: u32,
    args: &[Val],
    name: &'static str,
) -> Result<()> {
    let error_comm = call.mpi().error_comm;
    let called = call.call_function(function, args).await;
    let code = call.or_end(called.map(Ok)).await?;
    call.mpi().error_comm = error_comm;
    match code {
        None | Some(0) => Ok(()),
        Some(code) => {
            let detail = format!("it returned the error code {code}");
            Err(MpiError::argument(ErrorClass::Conversion, name, detail))
        }
    }
}

async fn free<T: MpiView>(call: &mut Call<'_, T>, at: u32) {
    let freed = call.free(at).await;
    // Memory of its own is always given back.
    let _ = call.or_end(freed.map(Ok)).await;
}

/// Finds where the data of the file's view lies, if its representation has extents that nobody has asked for yet.
///
/// # Errors
/// `MPI_ERR_CONVERSION` when the program's function fails; as `MPI_File_set_view` for types that cannot be in
/// a view with these extents.
pub(super) async fn resolve<T: MpiView>(
    call: &mut Call<'_, T>,
    fh: i32,
    entry: &mut FileEntry,
) -> Result<()> {
    if entry.is_resolved {
        return Ok(());
    }
    let (etype, filetype) = (entry.etype.datatype.clone(), entry.filetype.datatype.clone());
    let extents = extents(call, entry, &[&etype, &filetype]).await?;
    let (unit, tile) = (extents.form(&etype)?, extents.form(&filetype)?);
    let displacement = entry.view.displacement().cast_signed();
    entry.view = View::new(displacement, &unit, &tile)?;
    entry.is_resolved = true;
    let kept = call.mpi().file(fh)?;
    (kept.view, kept.is_resolved) = (entry.view.clone(), true);
    Ok(())
}

/// The function for this direction, if the data is to be converted; without one it is moved as it is in memory.
///
/// # Errors
/// `MPI_ERR_CONVERSION` when there is none and items have another size in the file.
pub(super) fn function<P: MpiPort>(
    mpi: &MpiCtx<P>,
    entry: &FileEntry,
    flags: u32,
    items: &Items,
) -> Result<Option<Datarep>> {
    let Some(datarep) = datarep(mpi, entry) else { return Ok(None) };
    let function = if flags & WRITE != 0 { datarep.write } else { datarep.read };
    if function != 0 {
        return Ok(Some(datarep));
    }
    if items.are_native() {
        return Ok(None);
    }
    let detail = "its representation has no function for this direction, and items of another size than in \
                  memory";
    Err(MpiError::argument(ErrorClass::Conversion, "fh", detail))
}

/// An access whose data a function of the program converts.
#[derive(Debug)]
pub(super) struct Conversion<'a> {
    pub(super) entry: &'a FileEntry,
    pub(super) datarep: Datarep,
    pub(super) items: &'a Items,
    pub(super) wanted: &'a Wanted,
    /// The program's handle of the datatype.
    pub(super) datatype: i32,
}

impl Conversion<'_> {
    /// Converts the data and writes it; gives its bytes in memory.
    ///
    /// # Errors
    /// `MPI_ERR_CONVERSION` when the program's function fails, and those of the file.
    pub(super) async fn write<T: MpiView>(&self, call: &mut Call<'_, T>) -> Result<u64> {
        let mut data = Vec::new();
        let mut done = Stretch::default();
        loop {
            let part = self.next(done.items, self.wanted.bytes - done.file_bytes);
            if part.items == 0 {
                break;
            }
            let converted = self.call(call, self.datarep.write, (done.items, part), None).await?;
            data.extend_from_slice(&converted);
            add(&mut done, part);
        }
        let _alone = self.entry.is_atomic.then(|| self.entry.shared.alone());
        write_stream(self.entry, self.wanted.position, &data)?;
        Ok(done.native_bytes)
    }

    /// Reads what is there and converts it; gives its bytes in memory.
    ///
    /// # Errors
    /// As [`Conversion::write`].
    pub(super) async fn read<T: MpiView>(&self, call: &mut Call<'_, T>) -> Result<u64> {
        let data = self.read_all()?;
        let mut done = Stretch::default();
        loop {
            let rest = &data[done.file_bytes as usize..];
            let part = self.next(done.items, rest.len() as u64);
            if part.items == 0 {
                return Ok(done.native_bytes);
            }
            let given = &rest[..part.file_bytes as usize];
            self.call(call, self.datarep.read, (done.items, part), Some(given)).await?;
            add(&mut done, part);
        }
    }

    fn read_all(&self) -> Result<Vec<u8>> {
        let Wanted { position, bytes, .. } = *self.wanted;
        let _alone = self.entry.is_atomic.then(|| self.entry.shared.alone());
        // A count far beyond the end of the file must not become an allocation.
        let size = self.entry.file.size()?;
        let there = self.entry.view.bytes_in(size).saturating_sub(position).min(bytes);
        let len = usize::try_from(there).map_err(|_| too_large())?;
        let mut data = vec![0; len];
        let got = read_stream(self.entry, position, &mut data)?;
        data.truncate(got as usize);
        Ok(data)
    }

    /// The items from `start` on that the function is given together.
    fn next(&self, start: u64, file_bytes: u64) -> Stretch {
        let room = file_bytes.min(ITEMS_BYTES.max(self.items.largest()));
        let items_max = if self.datarep.large { i64::MAX as u64 } else { i32::MAX as u64 };
        self.items.fitting(start, room, items_max)
    }

    /// Calls `function(userbuf, datatype, count, filebuf, position, extra_state)` with `given` in the file's buffer; gives what
    /// is there afterwards.
    async fn call<T: MpiView>(
        &self,
        call: &mut Call<'_, T>,
        function: u32,
        (start, part): (u64, Stretch),
        given: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let bytes = u32::try_from(part.file_bytes).map_err(|_| too_large())?;
        let allocated = call.allocate(bytes).await;
        let at = call.or_end(allocated).await?;
        let filebuf = GuestAddr::from(at);
        if let Some(given) = given {
            call.write("filebuf", filebuf, given)?;
        }
        let count = part.items.cast_signed();
        let args = [
            Val::I32((self.wanted.buffer.addr as u32).cast_signed()),
            Val::I32(self.datatype),
            if self.datarep.large { Val::I64(count) } else { Val::I32(count as i32) },
            Val::I32(at.cast_signed()),
            Val::I64(start.cast_signed()),
            Val::I32(self.datarep.extra_state),
        ];
        let name = if given.is_some() { "read_conversion_fn" } else { "write_conversion_fn" };
        let succeeded = convert(call, function, &args, name).await;
        let after = call.read_bytes("filebuf", filebuf, bytes as usize);
        free(call, at).await;
        succeeded.and(after)
    }
}

const fn add(done: &mut Stretch, part: Stretch) {
    done.items += part.items;
    done.native_bytes += part.native_bytes;
    done.file_bytes += part.file_bytes;
}

fn too_large() -> MpiError {
    MpiError::argument(ErrorClass::Count, "count", "the data does not fit the program's memory")
}
