//! Opening, closing and deleting files (MPI-5.0 section 14.2).

use std::sync::Arc;

use faasm_mpi_engine::datatype::{Datatype, Predefined};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::file::View;
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestAddr;

use super::meeting::{agree, exchange_in};
use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::OtherEntry;
use crate::file::{FileEntry, Representation, Shared, ViewType};
use crate::file_port::{FileAccess, GuestFile};
use crate::host::communicator::{Made, duplicate, install_unseen};
use crate::host::fault::{is_of_failure, meet_the_living};
use crate::host::{error, info};
use crate::port::MpiPort;

/// Longest file name in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Modes of which a file has exactly one.
const ACCESS: i32 = abi::MPI_MODE_RDONLY | abi::MPI_MODE_WRONLY | abi::MPI_MODE_RDWR;
const MODES: i32 = ACCESS
    | abi::MPI_MODE_APPEND
    | abi::MPI_MODE_CREATE
    | abi::MPI_MODE_DELETE_ON_CLOSE
    | abi::MPI_MODE_EXCL
    | abi::MPI_MODE_SEQUENTIAL
    | abi::MPI_MODE_UNIQUE_OPEN;

fn check_amode(amode: i32) -> Result<()> {
    let why = if amode & !MODES != 0 {
        "has bits that are no access mode"
    } else if (amode & ACCESS).count_ones() != 1 {
        "needs exactly one of MPI_MODE_RDONLY, MPI_MODE_RDWR and MPI_MODE_WRONLY"
    } else if amode & abi::MPI_MODE_RDONLY != 0
        && amode & (abi::MPI_MODE_CREATE | abi::MPI_MODE_EXCL) != 0
    {
        "asks to create a file that is only read"
    } else if amode & abi::MPI_MODE_RDWR != 0 && amode & abi::MPI_MODE_SEQUENTIAL != 0 {
        "joins MPI_MODE_SEQUENTIAL and MPI_MODE_RDWR"
    } else {
        return Ok(());
    };
    Err(MpiError::argument(ErrorClass::Amode, "amode", format!("{amode} {why}")))
}

/// The file name, without the kind of file system that some programs put before it.
fn read_path<T: MpiView>(call: &mut Call<'_, T>, filename: GuestAddr) -> Result<String> {
    let path = call.read_string("filename", filename, PATH_BYTES_MAX)?;
    if path.is_empty() {
        return Err(MpiError::argument(ErrorClass::BadFile, "filename", "the name is empty"));
    }
    let plain = ["ufs:", "nfs:"].iter().find_map(|prefix| path.strip_prefix(prefix));
    Ok(plain.map_or_else(|| path.clone(), str::to_owned))
}

pub(super) async fn open<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    filename: GuestAddr,
    amode: i32,
    info: i32,
    fh: GuestAddr,
) -> Result<()> {
    call.mpi().intracomm(comm)?;
    let opened = open_all(call, comm, filename, amode, info).await;
    call.mpi().error_comm = abi::MPI_FILE_NULL;
    let entry = OtherEntry::File(Box::new(opened?));
    let handle = call.mpi().others.insert(entry).ok_or_else(|| {
        MpiError::new(ErrorClass::NoMem, "a million objects are alive; free some")
    })?;
    let errhandler = call.mpi().files.errhandler;
    error::attach(call.mpi(), errhandler);
    call.write_i32("fh", fh, handle)
}

async fn open_all<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    filename: GuestAddr,
    amode: i32,
    info: i32,
) -> Result<FileEntry> {
    let rank = call.mpi().comm(comm)?.rank;
    let hints = info::hints(call.mpi(), info);
    let input = check_amode(amode).and(hints.as_ref().map(|_| ()).map_err(Clone::clone));
    let path = input.and_then(|()| read_path(call, filename));
    let value = path.as_ref().map(|_| [u64::from(amode.cast_unsigned()), 0]);
    agree(call, comm, "amode", value.map_err(Clone::clone), || ()).await?;
    let (path, hints) = (path?, hints?);
    // The first member creates; the others find the file.
    let first = if rank == 0 { open_host(call, &path, amode).map(Some) } else { Ok(None) };
    let told = first.as_ref().map(|_| [0; 2]).map_err(Clone::clone);
    agree(call, comm, "filename", told, || ()).await?;
    let file = match first? {
        Some(file) => Ok(file),
        None => open_host(call, &path, amode & !(abi::MPI_MODE_CREATE | abi::MPI_MODE_EXCL)),
    };
    let told = file.as_ref().map_err(Clone::clone).and_then(|file| Ok([file.size()?, 0]));
    let parent = call.mpi().comm(comm)?.group.clone();
    let appends = amode & abi::MPI_MODE_APPEND != 0;
    let (made, position, shared) = exchange_in(call, comm, told, |maker, sizes: Vec<[u64; 2]>| {
        // One size for all: the first to go on may already write.
        let position = sizes.first().filter(|_| appends).map_or(0, |size| size[0]);
        let shared = Arc::new(Shared::at(position));
        let made = duplicate(maker, &parent)?;
        Ok(made.into_iter().map(|made| (made, position, shared.clone())).collect())
    })
    .await?;
    if call.mpi().comm(comm)?.site.elsewhere().is_some() {
        // Nobody asks for the shared pointer before each node has the file.
        call.mpi().port.world().publish(made.context, shared.clone());
        let agreed = agree(call, comm, "fh", Ok([0; 2]), || ()).await;
        if agreed.is_err() {
            call.mpi().port.world().withdraw(made.context);
        }
        agreed?;
    }
    assemble(call, comm, (file?, path, amode, hints), made, (position, shared))
}

fn assemble<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    (file, path, amode, info): (Arc<dyn GuestFile>, String, i32, Info),
    made: Made,
    (position, shared): (u64, Arc<Shared>),
) -> Result<FileEntry> {
    let byte = Datatype::from(Predefined::Byte);
    let mpi = call.mpi();
    let new = made.communicator(mpi, comm)?;
    let (context, is_spread) = (new.context, new.site.elsewhere().is_some());
    let keeper = new.group.world_rank(0).filter(|_| is_spread);
    let comm = install_unseen(mpi, new)?;
    let view_type = ViewType { handle: abi::MPI_BYTE, datatype: byte.clone() };
    Ok(FileEntry {
        file,
        path,
        amode,
        comm,
        info,
        errhandler: mpi.files.errhandler,
        view: View::new(0, &byte, &byte)?,
        etype: view_type.clone(),
        filetype: view_type,
        representation: Representation::Native("native".to_owned()),
        is_resolved: true,
        position,
        is_atomic: false,
        split: None,
        shared,
        context,
        keeper,
        meets: !is_spread,
    })
}

fn open_host<T: MpiView>(
    call: &mut Call<'_, T>,
    path: &str,
    amode: i32,
) -> Result<Arc<dyn GuestFile>> {
    let has = |mode| amode & mode != 0;
    let access = FileAccess {
        reads: !has(abi::MPI_MODE_WRONLY),
        writes: !has(abi::MPI_MODE_RDONLY),
        creates: has(abi::MPI_MODE_CREATE),
        is_exclusive: has(abi::MPI_MODE_EXCL) && has(abi::MPI_MODE_CREATE),
    };
    call.caller.data().files().open(path, access)
}

pub(super) async fn close<T: MpiView>(call: &mut Call<'_, T>, fh: GuestAddr) -> Result<()> {
    let handle = call.read_i32("fh", fh)?;
    let entry = call.mpi().file(handle)?;
    let (comm, path) = (entry.comm, entry.path.clone());
    let pending = entry.split.is_some();
    let deletes = entry.has(abi::MPI_MODE_DELETE_ON_CLOSE);
    let ready = if pending {
        let detail = "a split collective is under way; end it first";
        Err(MpiError::argument(ErrorClass::Other, "fh", detail))
    } else {
        Ok([0; 2])
    };
    let mut closed = finish(call, comm, ready).await;
    if closed.is_ok() && deletes {
        closed = delete_together(call, comm, &path).await;
    }
    let mpi = call.mpi();
    mpi.error_comm = handle;
    closed?;
    mpi.error_comm = abi::MPI_FILE_NULL;
    if let Some(OtherEntry::File(entry)) = mpi.others.remove(handle) {
        if entry.keeper.is_some() {
            mpi.port.world().withdraw(entry.context);
        }
        error::detach(mpi, entry.errhandler);
    }
    if let Some(freed) = mpi.comms.remove(comm) {
        error::detach(mpi, freed.errhandler);
    }
    call.write_i32("fh", fh, abi::MPI_FILE_NULL)
}

/// Waits until nobody uses the file any more. Members that have failed are not missed.
async fn finish<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    ready: Result<[u64; 2]>,
) -> Result<()> {
    let agreed = agree(call, comm, "fh", ready, || ()).await;
    if !call.mpi().faults.is_tolerant || (agreed.is_err() && !is_of_failure(&agreed)) {
        return agreed;
    }
    meet_the_living(call, comm).await
}

/// The first member deletes the file, of those that have not failed.
async fn delete_together<T: MpiView>(call: &mut Call<'_, T>, comm: i32, path: &str) -> Result<()> {
    let members = call.mpi().comm(comm)?.group.clone();
    let mpi = call.mpi();
    let first = members.iter().find(|rank| !mpi.faults.known.has_failed(*rank));
    let deletes = first == Some(mpi.port.rank());
    let deleted = if deletes { call.caller.data().files().delete(path) } else { Ok(()) };
    let told = deleted.clone().map(|()| [0; 2]);
    let agreed = agree(call, comm, "fh", told, || ()).await;
    if is_of_failure(&agreed) { deleted } else { agreed }
}

pub(super) async fn delete<T: MpiView>(
    call: &mut Call<'_, T>,
    filename: GuestAddr,
    info: i32,
) -> Result<()> {
    call.mpi().error_comm = abi::MPI_FILE_NULL;
    info::hints(call.mpi(), info)?;
    let path = read_path(call, filename)?;
    call.caller.data().files().delete(&path)
}
