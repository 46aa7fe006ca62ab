//! Sessions (MPI-5.0 section 11.3): MPI without `MPI_Init`, and beside it.
//!
//! While a session is open all functions can be called but those that need `MPI_COMM_WORLD` or
//! `MPI_COMM_SELF`. Process sets: `mpi://WORLD`, `mpi://SELF`, and `mpix://SHARED` for the processes of
//! this one's node.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, check_pointer};
use crate::communicator::{Communicator, Session};
use crate::ctx::{MpiCtx, OtherEntry, Phase, bad_handle};
use crate::host::buffer;
use crate::host::communicator::{gather_context, install};
use crate::host::intercomm::hash;
use crate::host::point_to_point::insert_complete;
use crate::host::{error, group, info};
use crate::port::MpiPort;
use crate::table::{Count, host_functions};

host_functions! {
    /// Opens a session. Section 11.3.1.
    ending fn MPI_Session_init(info: i32, errhandler: i32, session: GuestAddr) = session_init;
    /// Closes a session. Section 11.3.1.
    call fn MPI_Session_finalize(session: GuestAddr) = session_finalize;
    /// Number of process sets. Section 11.3.2.
    call fn MPI_Session_get_num_psets(session: i32, info: i32, npset_names: GuestAddr) = get_num_psets;
    /// Name of a process set. Section 11.3.2.
    call fn MPI_Session_get_nth_pset(session: i32, info: i32, n: i32, pset_len: GuestAddr, pset_name: GuestAddr) = get_nth_pset;
    /// Hints of a session. Section 11.3.2.
    call fn MPI_Session_get_info(session: i32, info_used: GuestAddr) = get_info;
    /// What is known of a process set. Section 11.3.2.
    call fn MPI_Session_get_pset_info(session: i32, pset_name: GuestAddr, info: GuestAddr) = get_pset_info;
    /// Makes an error handler for sessions. Section 9.3.4.
    ending fn MPI_Session_create_errhandler(session_errhandler_fn: i32, errhandler: GuestAddr) = create_errhandler;
    /// Attaches an error handler. Section 9.3.4.
    call fn MPI_Session_set_errhandler(session: i32, errhandler: i32) = set_errhandler;
    /// The attached error handler. Section 9.3.4.
    call fn MPI_Session_get_errhandler(session: i32, errhandler: GuestAddr) = get_errhandler;
    /// Calls the attached error handler. Section 9.5.
    calling fn MPI_Session_call_errhandler(session: i32, errorcode: i32) = call_errhandler;
    /// Provides the buffer of a session. Section 3.6.
    call fn MPI_Session_attach_buffer or MPI_Session_attach_buffer_c(session: i32, buffer: GuestAddr, size: Count) = attach_buffer;
    /// Takes the buffer of a session back. Section 3.6.
    call fn MPI_Session_detach_buffer or MPI_Session_detach_buffer_c(session: i32, buffer_addr: GuestAddr, size: GuestAddr) = detach_buffer;
    /// Waits until the buffer of a session is empty. Section 3.6.
    call fn MPI_Session_flush_buffer(session: i32) = flush_buffer;
    /// Starts to wait until the buffer of a session is empty. Section 3.6.
    call fn MPI_Session_iflush_buffer(session: i32, request: GuestAddr) = iflush_buffer;
    /// The group of a process set. Section 11.3.2.
    call fn MPI_Group_from_session_pset(session: i32, pset_name: GuestAddr, newgroup: GuestAddr) = group_from_pset;
    /// Makes a communicator of a group, without a parent. Section 7.4.2.
    call fn MPI_Comm_create_from_group(group: i32, stringtag: GuestAddr, info: i32, errhandler: i32, newcomm: GuestAddr) = create_from_group;
}

/// Names of the process sets.
const PSETS: [&str; 3] = ["mpi://WORLD", "mpi://SELF", "mpix://SHARED"];

/// The session behind `handle`, whose error handler counts from now on.
fn session<P: MpiPort>(mpi: &mut MpiCtx<P>, handle: i32) -> Result<&mut Session> {
    match mpi.others.get_mut(handle) {
        Some(OtherEntry::Session(session)) => {
            mpi.error_comm = handle;
            Ok(session)
        }
        _ => Err(bad_handle(ErrorClass::Session, "session", handle, abi::MPI_SESSION_NULL)),
    }
}

async fn session_init<T: MpiView>(
    call: &mut Call<'_, T>,
    hints: i32,
    errhandler: i32,
    addr: GuestAddr,
) -> Ending {
    Ok(open(call, hints, errhandler, addr))
}

fn open<T: MpiView>(
    call: &mut Call<'_, T>,
    hints: i32,
    errhandler: i32,
    addr: GuestAddr,
) -> Result<()> {
    let is_threaded = call.is_threaded();
    let mpi = call.mpi();
    error::check_attachable(mpi, errhandler)?;
    mpi.error_comm = errhandler;
    let hints = info::hints(mpi, hints)?;
    let levels = [
        "MPI_THREAD_SINGLE",
        "MPI_THREAD_FUNNELED",
        "MPI_THREAD_SERIALIZED",
        "MPI_THREAD_MULTIPLE",
    ];
    let usual = if is_threaded { levels[3] } else { levels[0] };
    let wanted = hints.value("thread_level")?.unwrap_or(usual);
    let Some(thread_level) = levels.into_iter().find(|level| *level == wanted) else {
        let detail = format!("thread_level is {wanted}, which is no thread level");
        return Err(MpiError::argument(ErrorClass::InfoValue, "info", detail));
    };
    let new = Session { errhandler, attached: None, thread_level };
    let entry = OtherEntry::Session(Box::new(new));
    let handle = mpi.others.insert(entry).ok_or_else(|| {
        MpiError::new(ErrorClass::NoMem, "a million sessions are open; close some")
    })?;
    call.write_i32("session", addr, handle).inspect_err(|_| {
        call.mpi().others.remove(handle);
    })?;
    let mpi = call.mpi();
    error::attach(mpi, errhandler);
    mpi.sessions += 1;
    mpi.port.set_initialized(true);
    Ok(())
}

async fn session_finalize<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr) -> Result<()> {
    let handle = call.read_i32("session", addr)?;
    let errhandler = session(call.mpi(), handle)?.errhandler;
    let is_left = |comm: &Communicator| comm.session == handle;
    if call.mpi().comms.iter().any(|(_, comm)| is_left(comm)) {
        let detail = "a communicator of the session is left; free or disconnect it first";
        return Err(MpiError::argument(ErrorClass::Session, "session", detail));
    }
    call.write_i32("session", addr, abi::MPI_SESSION_NULL)?;
    let mpi = call.mpi();
    mpi.others.remove(handle);
    mpi.group_sessions.retain(|_, of| *of != handle);
    error::detach(mpi, errhandler);
    mpi.sessions -= 1;
    if mpi.sessions == 0 && mpi.phase != Phase::Running {
        mpi.port.set_initialized(false);
    }
    Ok(())
}

async fn get_num_psets<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    hints: i32,
    npset_names: GuestAddr,
) -> Result<()> {
    session(call.mpi(), handle)?;
    info::hints(call.mpi(), hints)?;
    call.write_i32("npset_names", npset_names, PSETS.len() as i32)
}

async fn get_nth_pset<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    hints: i32,
    n: i32,
    pset_len: GuestAddr,
    pset_name: GuestAddr,
) -> Result<()> {
    session(call.mpi(), handle)?;
    info::hints(call.mpi(), hints)?;
    let Some(name) = usize::try_from(n).ok().and_then(|n| PSETS.get(n)) else {
        let detail = format!("{n} is not the number of a process set; there are {}", PSETS.len());
        return Err(MpiError::argument(ErrorClass::Arg, "n", detail));
    };
    let room = call.read_i32s("pset_len", pset_len, 1)?[0];
    let room = usize::try_from(room).map_err(|_| {
        MpiError::argument(ErrorClass::Arg, "pset_len", format!("{room} is negative"))
    })?;
    if room > 0 {
        call.write_string("pset_name", pset_name, name, room)?;
    }
    call.write_i32("pset_len", pset_len, name.len() as i32 + 1)
}

async fn get_info<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    info_used: GuestAddr,
) -> Result<()> {
    let thread_level = session(call.mpi(), handle)?.thread_level;
    let mut used = Info::new();
    used.set("thread_level", thread_level)?;
    info::put(call, "info_used", info_used, used)
}

async fn get_pset_info<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    pset_name: GuestAddr,
    addr: GuestAddr,
) -> Result<()> {
    session(call.mpi(), handle)?;
    let members = pset(call, pset_name)?;
    let mut known = Info::new();
    known.set("mpi_size", &members.len().to_string())?;
    info::put(call, "info", addr, known)
}

/// The members of the process set with this name.
fn pset<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr) -> Result<Group> {
    let name = call.read_string("pset_name", addr, abi::MPI_MAX_PSET_NAME_LEN as usize)?;
    let mpi = call.mpi();
    // The scheme and the name are compared without regard to case.
    let number = PSETS.iter().position(|pset| pset.eq_ignore_ascii_case(&name));
    match number {
        Some(0) => Ok(mpi.comm_world.group.clone()),
        Some(1) => Ok(mpi.comm_self.group.clone()),
        Some(_) => {
            let world = mpi.port.world();
            let near = mpi.comm_world.group.iter().filter(|rank| world.is_local(*rank));
            Group::new(near.collect())
        }
        None => {
            let detail = format!("there is no process set {name}; there are {}", PSETS.join(", "));
            Err(MpiError::argument(ErrorClass::Arg, "pset_name", detail))
        }
    }
}

async fn create_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    function: i32,
    errhandler: GuestAddr,
) -> Ending {
    Ok(error::create(call, function, errhandler))
}

async fn set_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    errhandler: i32,
) -> Result<()> {
    let mpi = call.mpi();
    session(mpi, handle)?;
    error::check_attachable(mpi, errhandler)?;
    error::attach(mpi, errhandler);
    let old = std::mem::replace(&mut session(mpi, handle)?.errhandler, errhandler);
    error::detach(mpi, old);
    Ok(())
}

async fn get_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    errhandler: GuestAddr,
) -> Result<()> {
    let attached = session(call.mpi(), handle)?.errhandler;
    error::give(call, attached, errhandler)
}

async fn call_errhandler<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    errorcode: i32,
) -> std::result::Result<(), Failure> {
    session(call.mpi(), handle)?;
    error::call_handler(call, handle, errorcode).await
}

async fn attach_buffer<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    addr: GuestAddr,
    size: i64,
) -> Result<()> {
    let mpi = call.mpi();
    session(mpi, handle)?;
    let new = buffer::described(mpi, addr, size)?;
    buffer::put(&mut session(mpi, handle)?.attached, new)
}

async fn detach_buffer<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    buffer_addr: GuestAddr,
    size: GuestAddr,
) -> Result<()> {
    let attached = session(call.mpi(), handle)?.attached;
    buffer::give(call, attached, (buffer_addr, size))?;
    session(call.mpi(), handle)?.attached = None;
    Ok(())
}

async fn flush_buffer<T: MpiView>(call: &mut Call<'_, T>, handle: i32) -> Result<()> {
    session(call.mpi(), handle).map(|_| ())
}

async fn iflush_buffer<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    request: GuestAddr,
) -> Result<()> {
    session(call.mpi(), handle)?;
    let new = insert_complete(call.mpi(), handle)?;
    call.write_i32("request", request, new)
}

async fn group_from_pset<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    pset_name: GuestAddr,
    newgroup: GuestAddr,
) -> Result<()> {
    session(call.mpi(), handle)?;
    let members = pset(call, pset_name)?;
    group::put(call, "newgroup", newgroup, members)?;
    let made = call.read_i32("newgroup", newgroup)?;
    call.mpi().group_sessions.insert(made, handle);
    Ok(())
}

async fn create_from_group<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    stringtag: GuestAddr,
    hints: i32,
    errhandler: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    error::check_attachable(mpi, errhandler)?;
    mpi.error_comm = errhandler;
    check_pointer("newcomm", newcomm, 1)?;
    let mpi = call.mpi();
    let members = group::group(mpi, handle)?;
    let hints = info::hints(mpi, hints)?;
    let tag = call.read_string("stringtag", stringtag, abi::MPI_MAX_STRINGTAG_LEN as usize)?;
    if members.is_empty() {
        return call.write_i32("newcomm", newcomm, abi::MPI_COMM_NULL);
    }
    let mpi = call.mpi();
    let own = mpi.port.rank();
    let Some(rank) = members.rank_of(own).map(|rank| rank as u32) else {
        let detail = "the calling process is not in the group";
        return Err(MpiError::argument(ErrorClass::Group, "group", detail));
    };
    let session = session_of(mpi, handle);
    let ranks: Vec<u32> = members.iter().collect();
    let (high, low) = hash(&tag);
    let context = gather_context(call, (high, low, &ranks), rank).await?;
    let mpi = call.mpi();
    let site = mpi.port.world().gather_site(context, &ranks);
    let mut new = Communicator::new(context, members, rank, site, errhandler);
    (new.info, new.session) = (hints, session);
    let made = install(mpi, new)?;
    call.write_i32("newcomm", newcomm, made)
}

/// The session that a group comes from, if that is known: that of its process set, or else the only
/// one that is open in a program without `MPI_Init`. 0 for none.
fn session_of<P: MpiPort>(mpi: &MpiCtx<P>, group: i32) -> i32 {
    if let Some(session) = mpi.group_sessions.get(&group) {
        return *session;
    }
    let is_session = |entry: &OtherEntry| matches!(entry, OtherEntry::Session(_));
    let only = mpi.sessions == 1 && mpi.phase != Phase::Running;
    let open = mpi.others.iter().find(|(_, entry)| is_session(entry));
    open.filter(|_| only).map_or(0, |(handle, _)| handle)
}
