//! Performance variables (MPI-5.0 section 15.3.7): lengths of a rank's queues, and what it has sent.

use std::collections::BTreeMap;

use faasm_mpi_engine::datatype::Predefined;
use faasm_vm::GuestAddr;

use super::{Answer, entry, give, name, put, put_i32, put_text, read, state};
use crate::abi;
use crate::ctx::MpiCtx;
use crate::port::MpiPort;
use crate::table::host_functions;
use crate::tool::{Watch, What};

host_functions! {
    /// Number of performance variables. Section 15.3.7.
    tool fn MPI_T_pvar_get_num(num_pvar: GuestAddr) = get_num;
    /// What a performance variable is. Section 15.3.7.
    tool fn MPI_T_pvar_get_info(pvar_index: i32, name: GuestAddr, name_len: GuestAddr, verbosity: GuestAddr, var_class: GuestAddr, datatype: GuestAddr, enumtype: GuestAddr, desc: GuestAddr, desc_len: GuestAddr, bind: GuestAddr, readonly: GuestAddr, continuous: GuestAddr, atomic: GuestAddr) = get_info;
    /// The variable of a name and class. Section 15.3.7.
    tool fn MPI_T_pvar_get_index(name: GuestAddr, var_class: i32, pvar_index: GuestAddr) = get_index;
    /// Begins a session, in which handles live. Section 15.3.7.
    tool fn MPI_T_pvar_session_create(session: GuestAddr) = session_create;
    /// Ends a session with its handles. Section 15.3.7.
    tool fn MPI_T_pvar_session_free(session: GuestAddr) = session_free;
    /// A handle for a variable. Section 15.3.7.
    tool fn MPI_T_pvar_handle_alloc(session: i32, pvar_index: i32, obj_handle: GuestAddr, handle: GuestAddr, count: GuestAddr) = handle_alloc;
    /// Gives a handle up. Section 15.3.7.
    tool fn MPI_T_pvar_handle_free(session: i32, handle: GuestAddr) = handle_free;
    /// Starts counting. Section 15.3.7.
    tool fn MPI_T_pvar_start(session: i32, handle: i32) = start;
    /// Stops counting. Section 15.3.7.
    tool fn MPI_T_pvar_stop(session: i32, handle: i32) = stop;
    /// The value. Section 15.3.7.
    tool fn MPI_T_pvar_read(session: i32, handle: i32, buf: GuestAddr) = value_of;
    /// Sets a counter. Section 15.3.7.
    tool fn MPI_T_pvar_write(session: i32, handle: i32, buf: GuestAddr) = write;
    /// Sets a counter to its start. Section 15.3.7.
    tool fn MPI_T_pvar_reset(session: i32, handle: i32) = reset;
    /// Reads atomically and resets; no variable can. Section 15.3.7.
    tool fn MPI_T_pvar_readreset(session: i32, handle: i32, buf: GuestAddr) = readreset;
}

/// A performance variable of the type `MPI_UNSIGNED_LONG_LONG`.
struct Variable {
    name: &'static str,
    about: &'static str,
    what: What,
}

const VARIABLES: &[Variable] = &[
    Variable {
        name: "posted_receives",
        about: "receives that wait for their message",
        what: What::Posted,
    },
    Variable {
        name: "unexpected_messages",
        about: "messages that have arrived and that no receive has matched",
        what: What::Unexpected,
    },
    Variable { name: "requests", about: "requests that are not freed", what: What::Requests },
    Variable {
        name: "sent_messages",
        about: "point-to-point messages sent",
        what: What::SentMessages,
    },
    Variable {
        name: "sent_bytes",
        about: "bytes in point-to-point messages sent",
        what: What::SentBytes,
    },
];

/// The value of a variable now.
fn now<P: MpiPort>(what: What, mpi: &MpiCtx<P>) -> u64 {
    match what {
        What::Posted => mpi.matching.posted_len() as u64,
        What::Unexpected => mpi.matching.unexpected_len() as u64,
        What::Requests => mpi.requests.len() as u64,
        What::SentMessages => mpi.sent_messages,
        What::SentBytes => mpi.sent_bytes,
    }
}

/// Indices of all performance variables.
pub(super) fn indices() -> impl Iterator<Item = i32> {
    0..VARIABLES.len() as i32
}

fn get_num<P: MpiPort>(mpi: &mut MpiCtx<P>, num_pvar: GuestAddr) -> Answer {
    state(mpi)?;
    give(mpi, num_pvar, VARIABLES.len() as i32)
}

fn get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    pvar_index: i32,
    name: GuestAddr,
    name_len: GuestAddr,
    verbosity: GuestAddr,
    var_class: GuestAddr,
    datatype: GuestAddr,
    enumtype: GuestAddr,
    desc: GuestAddr,
    desc_len: GuestAddr,
    bind: GuestAddr,
    readonly: GuestAddr,
    continuous: GuestAddr,
    atomic: GuestAddr,
) -> Answer {
    state(mpi)?;
    let variable = entry(VARIABLES, pvar_index)?;
    let level = i32::from(variable.what.is_level());
    put_text(mpi, variable.name, name, name_len)?;
    put_text(mpi, variable.about, desc, desc_len)?;
    put_i32(mpi, verbosity, abi::MPI_T_VERBOSITY_USER_BASIC)?;
    put_i32(mpi, var_class, variable.what.class())?;
    put_i32(mpi, datatype, Predefined::UnsignedLongLong.handle())?;
    put_i32(mpi, enumtype, abi::MPI_T_ENUM_NULL)?;
    put_i32(mpi, bind, abi::MPI_T_BIND_NO_OBJECT)?;
    put_i32(mpi, readonly, level)?;
    put_i32(mpi, continuous, level)?;
    put_i32(mpi, atomic, 0)
}

fn get_index<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    wanted: GuestAddr,
    var_class: i32,
    pvar_index: GuestAddr,
) -> Answer {
    state(mpi)?;
    let wanted = name(mpi, wanted)?;
    let is_it = |variable: &Variable| variable.name == wanted && variable.what.class() == var_class;
    let found = VARIABLES.iter().position(is_it);
    give(mpi, pvar_index, found.ok_or(abi::MPI_T_ERR_INVALID_NAME)? as i32)
}

fn session_create<P: MpiPort>(mpi: &mut MpiCtx<P>, session: GuestAddr) -> Answer {
    state(mpi)?;
    let number = mpi.tool.number()?;
    give(mpi, session, number)?;
    mpi.tool.sessions.insert(number, BTreeMap::new());
    Ok(())
}

fn session_free<P: MpiPort>(mpi: &mut MpiCtx<P>, session: GuestAddr) -> Answer {
    state(mpi)?;
    let number = read(mpi, session)?;
    mpi.tool.sessions.remove(&number).ok_or(abi::MPI_T_ERR_INVALID_SESSION)?;
    give(mpi, session, abi::MPI_T_PVAR_SESSION_NULL)
}

fn handle_alloc<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    session: i32,
    pvar_index: i32,
    _obj_handle: GuestAddr,
    handle: GuestAddr,
    count: GuestAddr,
) -> Answer {
    state(mpi)?;
    let what = entry(VARIABLES, pvar_index)?.what;
    if !mpi.tool.sessions.contains_key(&session) {
        return Err(abi::MPI_T_ERR_INVALID_SESSION);
    }
    let number = mpi.tool.number()?;
    give(mpi, handle, number)?;
    give(mpi, count, 1)?;
    let watch = Watch { what, counted: 0, since: None };
    mpi.tool.sessions.entry(session).or_default().insert(number, watch);
    Ok(())
}

fn handle_free<P: MpiPort>(mpi: &mut MpiCtx<P>, session: i32, handle: GuestAddr) -> Answer {
    state(mpi)?;
    let number = read(mpi, handle)?;
    let handles = mpi.tool.sessions.get_mut(&session).ok_or(abi::MPI_T_ERR_INVALID_SESSION)?;
    handles.remove(&number).ok_or(abi::MPI_T_ERR_INVALID_HANDLE)?;
    give(mpi, handle, abi::MPI_T_PVAR_HANDLE_NULL)
}

/// The handle of a session, and the value of its variable now.
fn watch<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    session: i32,
    handle: i32,
) -> Result<(&mut Watch, u64), i32> {
    let handles = state(mpi)?.sessions.get(&session).ok_or(abi::MPI_T_ERR_INVALID_SESSION)?;
    let what = handles.get(&handle).ok_or(abi::MPI_T_ERR_INVALID_HANDLE)?.what;
    let now = now(what, mpi);
    let found = mpi.tool.sessions.get_mut(&session).and_then(|all| all.get_mut(&handle));
    found.map(|watch| (watch, now)).ok_or(abi::MPI_T_ERR_INVALID_HANDLE)
}

/// Does something with one handle, or with all handles of a session for which it is possible.
fn each<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    (session, handle): (i32, i32),
    mut act: impl FnMut(&mut Watch, u64) -> Answer,
) -> Answer {
    if handle != abi::MPI_T_PVAR_ALL_HANDLES {
        let (watch, now) = watch(mpi, session, handle)?;
        return act(watch, now);
    }
    let all = state(mpi)?.sessions.get(&session).ok_or(abi::MPI_T_ERR_INVALID_SESSION)?;
    for handle in all.keys().copied().collect::<Vec<_>>() {
        let (watch, now) = watch(mpi, session, handle)?;
        if !watch.what.is_level() {
            act(watch, now)?;
        }
    }
    Ok(())
}

fn start<P: MpiPort>(mpi: &mut MpiCtx<P>, session: i32, handle: i32) -> Answer {
    each(mpi, (session, handle), |watch, now| {
        if watch.what.is_level() {
            return Err(abi::MPI_T_ERR_PVAR_NO_STARTSTOP);
        }
        watch.since.get_or_insert(now);
        Ok(())
    })
}

fn stop<P: MpiPort>(mpi: &mut MpiCtx<P>, session: i32, handle: i32) -> Answer {
    each(mpi, (session, handle), |watch, now| {
        if watch.what.is_level() {
            return Err(abi::MPI_T_ERR_PVAR_NO_STARTSTOP);
        }
        watch.counted = watch.value(now);
        watch.since = None;
        Ok(())
    })
}

fn value_of<P: MpiPort>(mpi: &mut MpiCtx<P>, session: i32, handle: i32, buf: GuestAddr) -> Answer {
    let (watch, now) = watch(mpi, session, handle)?;
    let value = watch.value(now);
    if buf.is_null() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    put(mpi, buf, &value.to_le_bytes())
}

fn write<P: MpiPort>(mpi: &mut MpiCtx<P>, session: i32, handle: i32, buf: GuestAddr) -> Answer {
    state(mpi)?;
    let mut bytes = [0; 8];
    let memory = mpi.memory().map_err(|_| abi::MPI_T_ERR_INVALID)?;
    if buf.is_null() || memory.read(buf, &mut bytes).is_err() {
        return Err(abi::MPI_T_ERR_INVALID);
    }
    set(mpi, (session, handle), u64::from_le_bytes(bytes))
}

fn reset<P: MpiPort>(mpi: &mut MpiCtx<P>, session: i32, handle: i32) -> Answer {
    set(mpi, (session, handle), 0)
}

fn set<P: MpiPort>(mpi: &mut MpiCtx<P>, at: (i32, i32), value: u64) -> Answer {
    each(mpi, at, |watch, now| {
        if watch.what.is_level() {
            return Err(abi::MPI_T_ERR_PVAR_NO_WRITE);
        }
        watch.set(value, now);
        Ok(())
    })
}

fn readreset<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    session: i32,
    handle: i32,
    _buf: GuestAddr,
) -> Answer {
    watch(mpi, session, handle)?;
    Err(abi::MPI_T_ERR_PVAR_NO_ATOMIC)
}
