//! The MPI environment (MPI-5.0 chapters 9 and 11): start, end, clock, names.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiExit, MpiView, ending};
use crate::ctx::{MpiCtx, Phase};
use crate::host::attribute::{Object, delete_all};
use crate::host::fault::meet_the_living;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Starts MPI. Section 11.2.1.
    ending fn MPI_Init(argc: GuestAddr, argv: GuestAddr) = init;
    /// Starts MPI with a thread level. Section 11.6.
    ending fn MPI_Init_thread(argc: GuestAddr, argv: GuestAddr, required: i32, provided: GuestAddr) = init_thread;
    /// The thread level in force. Section 11.6.2.
    call fn MPI_Query_thread(provided: GuestAddr) = query_thread;
    /// Whether the calling thread is the main thread. Section 11.6.2.
    call fn MPI_Is_thread_main(flag: GuestAddr) = is_thread_main;
    /// Whether MPI_Init has been called. Section 11.4.1.
    ending fn MPI_Initialized(flag: GuestAddr) = initialized;
    /// Ends MPI. Section 11.4.
    ending fn MPI_Finalize() = finalize;
    /// Whether MPI_Finalize has been called. Section 11.4.1.
    ending fn MPI_Finalized(flag: GuestAddr) = finalized;
    /// Ends the job. Section 9.7.
    ending fn MPI_Abort(comm: i32, errorcode: i32) = abort;
    /// Version of the ABI. Section 20.2.
    ending fn MPI_Abi_get_version(abi_major: GuestAddr, abi_minor: GuestAddr) = abi_get_version;
    /// Version of the standard. Section 9.1.1.
    ending fn MPI_Get_version(version: GuestAddr, subversion: GuestAddr) = get_version;
    /// Version of this library. Section 9.1.1.
    ending fn MPI_Get_library_version(version: GuestAddr, resultlen: GuestAddr) = get_library_version;
    /// Name of the node. Section 9.1.2.
    call fn MPI_Get_processor_name(name: GuestAddr, resultlen: GuestAddr) = get_processor_name;
    /// Seconds on a clock shared by all ranks. Section 9.6.
    real fn MPI_Wtime() = wtime;
    /// Resolution of that clock. Section 9.6.
    real fn MPI_Wtick() = wtick;
    /// Controls profiling; levels other than the standard's mean nothing here. Section 15.2.4.
    ending fn MPI_Pcontrol(level: i32, arguments: GuestAddr) = pcontrol;
    /// Allocates memory. Section 9.2.
    ending fn MPI_Alloc_mem(size: i32, info: i32, baseptr: GuestAddr) = alloc_mem;
    /// Frees memory. Section 9.2.
    ending fn MPI_Free_mem(base: GuestAddr) = free_mem;
    /// Absolute address of a location. Section 5.1.5.
    call fn MPI_Get_address(location: GuestAddr, address: GuestAddr) = get_address;
    /// Sum of an address and a displacement. Section 5.1.5.
    aint fn MPI_Aint_add(base: i32, disp: i32) = aint_add;
    /// Difference of two addresses. Section 5.1.5.
    aint fn MPI_Aint_diff(addr1: i32, addr2: i32) = aint_diff;
}

/// The version of the standard whose functions and constants these are.
const VERSION: (i32, i32) = (5, 0);

async fn init<T: MpiView>(call: &mut Call<'_, T>, _argc: GuestAddr, _argv: GuestAddr) -> Ending {
    Ok(begin(call.mpi(), abi::MPI_THREAD_SINGLE))
}

async fn init_thread<T: MpiView>(
    call: &mut Call<'_, T>,
    _argc: GuestAddr,
    _argv: GuestAddr,
    required: i32,
    provided: GuestAddr,
) -> Ending {
    let levels = [abi::MPI_THREAD_SINGLE, abi::MPI_THREAD_FUNNELED, abi::MPI_THREAD_SERIALIZED];
    if !levels.contains(&required) && required != abi::MPI_THREAD_MULTIPLE {
        let detail = format!("{required} is not a thread level");
        return Ok(Err(MpiError::argument(ErrorClass::Arg, "required", detail)));
    }
    // Threads of a rank pass its state on from call to call, so the level asked for always holds.
    Ok(begin(call.mpi(), required).and_then(|()| call.write_i32("provided", provided, required)))
}

fn begin<P: MpiPort>(mpi: &mut MpiCtx<P>, level: i32) -> Result<()> {
    let reason = match mpi.phase {
        Phase::Before => {
            mpi.phase = Phase::Running;
            mpi.thread_level = level;
            mpi.port.set_initialized(true);
            return Ok(());
        }
        Phase::Running => "MPI_Init was called twice",
        Phase::After => "MPI cannot be started again after MPI_Finalize",
    };
    Err(MpiError::new(ErrorClass::Other, reason))
}

async fn query_thread<T: MpiView>(call: &mut Call<'_, T>, provided: GuestAddr) -> Result<()> {
    let level = call.mpi().thread_level;
    call.write_i32("provided", provided, level)
}

async fn is_thread_main<T: MpiView>(call: &mut Call<'_, T>, flag: GuestAddr) -> Result<()> {
    let is_main = call.is_main_thread();
    call.write_i32("flag", flag, i32::from(is_main))
}

async fn initialized<T: MpiView>(call: &mut Call<'_, T>, flag: GuestAddr) -> Ending {
    let flagged = call.mpi().phase != Phase::Before;
    Ok(call.write_i32("flag", flag, i32::from(flagged)))
}

async fn finalized<T: MpiView>(call: &mut Call<'_, T>, flag: GuestAddr) -> Ending {
    let flagged = call.mpi().phase == Phase::After;
    Ok(call.write_i32("flag", flag, i32::from(flagged)))
}

async fn finalize<T: MpiView>(call: &mut Call<'_, T>) -> Ending {
    ending(end(call).await)
}

async fn end<T: MpiView>(call: &mut Call<'_, T>) -> std::result::Result<(), Failure> {
    call.require_running()?;
    // Attributes of MPI_COMM_SELF are deleted first, which runs their callbacks (section 11.4.2).
    delete_all(call, Object::Communicator(abi::MPI_COMM_SELF)).await?;
    // All processes are at the end, or those of them that have not failed.
    meet_the_living(call, abi::MPI_COMM_WORLD).await?;
    let mpi = call.mpi();
    mpi.phase = Phase::After;
    let is_open = mpi.sessions > 0;
    mpi.port.set_initialized(is_open);
    Ok(())
}

async fn abort<T: MpiView>(call: &mut Call<'_, T>, comm: i32, errorcode: i32) -> Ending {
    let comm = match call.mpi().comm(comm) {
        Ok(communicator) if !communicator.name.is_empty() => communicator.name.clone(),
        _ => format!("{comm:#x}"),
    };
    Err(MpiExit::Abort { code: errorcode, comm }.into())
}

async fn abi_get_version<T: MpiView>(
    call: &mut Call<'_, T>,
    abi_major: GuestAddr,
    abi_minor: GuestAddr,
) -> Ending {
    Ok(call
        .write_i32("abi_major", abi_major, abi::MPI_ABI_VERSION)
        .and_then(|()| call.write_i32("abi_minor", abi_minor, abi::MPI_ABI_SUBVERSION)))
}

async fn get_version<T: MpiView>(
    call: &mut Call<'_, T>,
    version: GuestAddr,
    subversion: GuestAddr,
) -> Ending {
    Ok(call
        .write_i32("version", version, VERSION.0)
        .and_then(|()| call.write_i32("subversion", subversion, VERSION.1)))
}

async fn get_library_version<T: MpiView>(
    call: &mut Call<'_, T>,
    version: GuestAddr,
    resultlen: GuestAddr,
) -> Ending {
    let text = concat!("faasm ", env!("CARGO_PKG_VERSION"), " (MPI 5.0 ABI, WebAssembly Faaslets)");
    let room = abi::MPI_MAX_LIBRARY_VERSION_STRING as usize;
    Ok(call
        .write_string("version", version, text, room)
        .and_then(|len| call.write_i32("resultlen", resultlen, len as i32)))
}

async fn get_processor_name<T: MpiView>(
    call: &mut Call<'_, T>,
    name: GuestAddr,
    resultlen: GuestAddr,
) -> Result<()> {
    let text = call.mpi().port.processor_name().to_owned();
    let len = call.write_string("name", name, &text, abi::MPI_MAX_PROCESSOR_NAME as usize)?;
    call.write_i32("resultlen", resultlen, len as i32)
}

fn wtime<P: MpiPort>(mpi: &mut MpiCtx<P>) -> f64 {
    mpi.wtime()
}

const fn wtick<P: MpiPort>(_mpi: &mut MpiCtx<P>) -> f64 {
    1e-9
}

async fn pcontrol<T: MpiView>(
    _call: &mut Call<'_, T>,
    _level: i32,
    _arguments: GuestAddr,
) -> Ending {
    Ok(Ok(()))
}

async fn alloc_mem<T: MpiView>(
    call: &mut Call<'_, T>,
    size: i32,
    _info: i32,
    baseptr: GuestAddr,
) -> Ending {
    if size < 0 {
        let detail = format!("{size} bytes cannot be allocated");
        return Ok(Err(MpiError::argument(ErrorClass::Arg, "size", detail)));
    }
    let allocated = call.allocate(size.cast_unsigned()).await?;
    Ok(allocated.and_then(|addr| call.write_i32("baseptr", baseptr, addr.cast_signed())))
}

async fn free_mem<T: MpiView>(call: &mut Call<'_, T>, base: GuestAddr) -> Ending {
    let freed = match u32::try_from(base.get()) {
        Ok(addr) => call.free(addr).await?,
        Err(_) => false,
    };
    Ok(if freed {
        Ok(())
    } else {
        let detail = format!("{:#x} was not allocated by MPI_Alloc_mem", base.get());
        Err(MpiError::argument(ErrorClass::Base, "base", detail))
    })
}

async fn get_address<T: MpiView>(
    call: &mut Call<'_, T>,
    location: GuestAddr,
    address: GuestAddr,
) -> Result<()> {
    call.write("address", address, &location.get().to_le_bytes()[..4])
}

const fn aint_add<P: MpiPort>(_mpi: &mut MpiCtx<P>, base: i32, disp: i32) -> i32 {
    base.wrapping_add(disp)
}

const fn aint_diff<P: MpiPort>(_mpi: &mut MpiCtx<P>, addr1: i32, addr2: i32) -> i32 {
    addr1.wrapping_sub(addr2)
}
