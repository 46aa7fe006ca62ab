//! Error handling (MPI-5.0 sections 9.3 to 9.5): handlers, classes, codes and strings.
//!
//! A handler of the program lives while the guest holds a reference to it, which it gets by making
//! it and by asking a communicator for it, and while a communicator uses it.

use faasm_mpi_engine::error::{ErrorClass, ErrorRegistry, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiExit, MpiView, ending};
use crate::ctx::{MpiCtx, OtherEntry, bad_handle};
use crate::host::attribute::refresh;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Class of an error code. Section 9.4.
    ending fn MPI_Error_class(errorcode: i32, errorclass: GuestAddr) = error_class;
    /// Text of an error code. Section 9.3.4.
    ending fn MPI_Error_string(errorcode: i32, string: GuestAddr, resultlen: GuestAddr) = error_string;
    /// Adds an error class. Section 9.5.
    ending fn MPI_Add_error_class(errorclass: GuestAddr) = add_error_class;
    /// Adds an error code to a class. Section 9.5.
    ending fn MPI_Add_error_code(errorclass: i32, errorcode: GuestAddr) = add_error_code;
    /// Sets the text of an added code. Section 9.5.
    ending fn MPI_Add_error_string(errorcode: i32, string: GuestAddr) = add_error_string;
    /// Removes an added class. Section 9.5.
    ending fn MPI_Remove_error_class(errorclass: i32) = remove_error_class;
    /// Removes an added code. Section 9.5.
    ending fn MPI_Remove_error_code(errorcode: i32) = remove_error_code;
    /// Removes the text of an added code. Section 9.5.
    ending fn MPI_Remove_error_string(errorcode: i32) = remove_error_string;
    /// Makes an error handler of a function. Section 9.3.1.
    ending fn MPI_Comm_create_errhandler(comm_errhandler_fn: i32, errhandler: GuestAddr) = create_errhandler;
    /// Attaches an error handler. Section 9.3.1.
    call fn MPI_Comm_set_errhandler(comm: i32, errhandler: i32) = set_errhandler;
    /// The attached error handler. Section 9.3.1.
    call fn MPI_Comm_get_errhandler(comm: i32, errhandler: GuestAddr) = get_errhandler;
    /// Calls the attached error handler. Section 9.5.
    ending fn MPI_Comm_call_errhandler(comm: i32, errorcode: i32) = call_errhandler;
    /// Gives an error handler up; communicators keep it. Section 9.3.4.
    ending fn MPI_Errhandler_free(errhandler: GuestAddr) = errhandler_free;
}

/// Counts a communicator that now uses `errhandler`.
pub(crate) fn attach<P: MpiPort>(mpi: &mut MpiCtx<P>, errhandler: i32) {
    if let Some(OtherEntry::Errhandler { users, .. }) = mpi.others.get_mut(errhandler) {
        *users += 1;
    }
}

/// Counts a communicator that no longer uses `errhandler`.
pub(crate) fn detach<P: MpiPort>(mpi: &mut MpiCtx<P>, errhandler: i32) {
    if let Some(OtherEntry::Errhandler { users, .. }) = mpi.others.get_mut(errhandler) {
        *users -= 1;
    }
    collect(mpi, errhandler);
}

/// Drops a handler that nobody holds.
fn collect<P: MpiPort>(mpi: &mut MpiCtx<P>, errhandler: i32) {
    let unused = OtherEntry::is_unused_errhandler;
    if mpi.others.get(errhandler).is_some_and(unused) {
        mpi.others.remove(errhandler);
    }
}

impl OtherEntry {
    const fn is_unused_errhandler(&self) -> bool {
        matches!(self, Self::Errhandler { users: 0, handles: 0, .. })
    }
}

const fn is_predefined(errhandler: i32) -> bool {
    matches!(errhandler, abi::MPI_ERRORS_ARE_FATAL | abi::MPI_ERRORS_ABORT | abi::MPI_ERRORS_RETURN)
}

/// Refuses what an object cannot use as its error handler.
pub(crate) fn check_attachable<P: MpiPort>(mpi: &mut MpiCtx<P>, errhandler: i32) -> Result<()> {
    if is_predefined(errhandler) { Ok(()) } else { references(mpi, errhandler).map(|_| ()) }
}

/// References that the guest holds to a handler of its own.
fn references<P: MpiPort>(mpi: &mut MpiCtx<P>, errhandler: i32) -> Result<&mut u32> {
    match mpi.others.get_mut(errhandler) {
        Some(OtherEntry::Errhandler { handles, .. }) if *handles > 0 => Ok(handles),
        _ => {
            let null = abi::MPI_ERRHANDLER_NULL;
            Err(bad_handle(ErrorClass::Errhandler, "errhandler", errhandler, null))
        }
    }
}

async fn error_class<T: MpiView>(
    call: &mut Call<'_, T>,
    errorcode: i32,
    errorclass: GuestAddr,
) -> Ending {
    let class = call.mpi().errors.class_of(errorcode);
    Ok(class.and_then(|class| call.write_i32("errorclass", errorclass, class)))
}

async fn error_string<T: MpiView>(
    call: &mut Call<'_, T>,
    errorcode: i32,
    string: GuestAddr,
    resultlen: GuestAddr,
) -> Ending {
    let room = abi::MPI_MAX_ERROR_STRING as usize;
    let text = call.mpi().errors.text(errorcode);
    let written = text.and_then(|text| call.write_string("string", string, &text, room));
    Ok(written.and_then(|len| call.write_i32("resultlen", resultlen, len as i32)))
}

async fn add_error_class<T: MpiView>(call: &mut Call<'_, T>, errorclass: GuestAddr) -> Ending {
    let class = call.mpi().errors.add_class();
    let written = class.and_then(|class| call.write_i32("errorclass", errorclass, class));
    Ok(written.and_then(|()| refresh(call)))
}

async fn add_error_code<T: MpiView>(
    call: &mut Call<'_, T>,
    errorclass: i32,
    errorcode: GuestAddr,
) -> Ending {
    let code = call.mpi().errors.add_code(errorclass);
    let written = code.and_then(|code| call.write_i32("errorcode", errorcode, code));
    Ok(written.and_then(|()| refresh(call)))
}

async fn add_error_string<T: MpiView>(
    call: &mut Call<'_, T>,
    errorcode: i32,
    string: GuestAddr,
) -> Ending {
    const STRING_BYTES_MAX: usize = 64 * 1024;
    let text = call.read_string("string", string, STRING_BYTES_MAX);
    Ok(text.and_then(|text| call.mpi().errors.add_string(errorcode, &text)))
}

async fn remove_error_class<T: MpiView>(call: &mut Call<'_, T>, errorclass: i32) -> Ending {
    Ok(removed(call, |errors| errors.remove_class(errorclass)))
}

async fn remove_error_code<T: MpiView>(call: &mut Call<'_, T>, errorcode: i32) -> Ending {
    Ok(removed(call, |errors| errors.remove_code(errorcode)))
}

async fn remove_error_string<T: MpiView>(call: &mut Call<'_, T>, errorcode: i32) -> Ending {
    Ok(removed(call, |errors| errors.remove_string(errorcode)))
}

/// Removes something that the program added, and brings `MPI_LASTUSEDCODE` up to date.
fn removed<T: MpiView>(
    call: &mut Call<'_, T>,
    remove: impl FnOnce(&mut ErrorRegistry) -> Result<()>,
) -> Result<()> {
    remove(&mut call.mpi().errors)?;
    refresh(call)
}

async fn create_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    function: i32,
    errhandler: GuestAddr,
) -> Ending {
    Ok(create(call, function, errhandler))
}

pub(crate) fn create<T: MpiView>(
    call: &mut Call<'_, T>,
    function: i32,
    errhandler: GuestAddr,
) -> Result<()> {
    if function == 0 {
        let detail = "the function pointer is null; give a function of the program";
        return Err(MpiError::argument(ErrorClass::Arg, "comm_errhandler_fn", detail));
    }
    let function = function.cast_unsigned();
    let entry = OtherEntry::Errhandler { function, users: 0, handles: 1 };
    let handle = call.mpi().others.insert(entry).ok_or_else(|| {
        MpiError::new(ErrorClass::NoMem, "a million error handlers are alive; free some")
    })?;
    call.write_i32("errhandler", errhandler, handle)
}

async fn set_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    errhandler: i32,
) -> Result<()> {
    let mpi = call.mpi();
    mpi.comm(comm)?;
    check_attachable(mpi, errhandler)?;
    attach(mpi, errhandler);
    let old = std::mem::replace(&mut mpi.comm_mut(comm)?.errhandler, errhandler);
    detach(mpi, old);
    Ok(())
}

async fn get_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    errhandler: GuestAddr,
) -> Result<()> {
    let attached = call.mpi().comm(comm)?.errhandler;
    give(call, attached, errhandler)
}

/// Gives the guest a reference to the handler that an object uses.
pub(crate) fn give<T: MpiView>(
    call: &mut Call<'_, T>,
    attached: i32,
    errhandler: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    if let Some(OtherEntry::Errhandler { handles, .. }) = mpi.others.get_mut(attached) {
        *handles += 1;
    }
    call.write_i32("errhandler", errhandler, attached)
}

async fn call_errhandler<T: MpiView>(call: &mut Call<'_, T>, comm: i32, errorcode: i32) -> Ending {
    ending(call_attached(call, comm, errorcode).await)
}

async fn call_attached<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    errorcode: i32,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    call.mpi().comm(comm)?;
    call_handler(call, comm, errorcode).await
}

/// Calls the error handler of a communicator or window, which is there.
pub(crate) async fn call_handler<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    errorcode: i32,
) -> std::result::Result<(), Failure> {
    let mpi = call.mpi();
    let (errhandler, object) = mpi.handled(handle);
    let (class, text) = (mpi.errors.class_of(errorcode)?, mpi.errors.text(errorcode)?);
    if errhandler == abi::MPI_ERRORS_RETURN {
        return Ok(());
    }
    if let Some(OtherEntry::Errhandler { function, .. }) = mpi.others.get(errhandler) {
        let function = *function;
        call.call_errhandler(function, handle, errorcode).await?;
        return Ok(());
    }
    let class = ErrorClass::from_code(class).unwrap_or(ErrorClass::Other);
    let error = MpiError::new(class, format!("the program raised error code {errorcode}: {text}"));
    let exit = MpiExit::Fatal { function: call.function, object, error };
    Err(Failure::End(exit.into()))
}

async fn errhandler_free<T: MpiView>(call: &mut Call<'_, T>, errhandler: GuestAddr) -> Ending {
    Ok(free(call, errhandler))
}

fn free<T: MpiView>(call: &mut Call<'_, T>, errhandler: GuestAddr) -> Result<()> {
    let handle = call.read_i32("errhandler", errhandler)?;
    let mpi = call.mpi();
    // MPI_Comm_get_errhandler may have given a predefined one, which the program then frees.
    if !is_predefined(handle) {
        *references(mpi, handle)? -= 1;
        collect(mpi, handle);
    }
    call.write_i32("errhandler", errhandler, abi::MPI_ERRHANDLER_NULL)
}
