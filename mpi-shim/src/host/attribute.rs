//! Attribute caching (MPI-5.0 section 7.7): keyvals, attributes and their callbacks.
//!
//! Callbacks run in the calling rank, in the order the engine gives. A callback may call MPI, so
//! nothing borrowed from the rank's state is held across one.

use faasm_mpi_engine::attribute::{Attributes, Callback, Keyval, Target};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, ending};
use crate::ctx::MpiCtx;
use crate::host::callback::call_back;
use crate::host::window::window;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Makes a key for attributes of communicators. Section 7.7.2.
    ending fn MPI_Comm_create_keyval(comm_copy_attr_fn: i32, comm_delete_attr_fn: i32, comm_keyval: GuestAddr, extra_state: GuestAddr) = comm_create_keyval;
    /// Gives a key up; attributes with it live on. Section 7.7.2.
    ending fn MPI_Comm_free_keyval(comm_keyval: GuestAddr) = comm_free_keyval;
    /// Attaches an attribute. Section 7.7.2.
    ending fn MPI_Comm_set_attr(comm: i32, comm_keyval: i32, attribute_val: GuestAddr) = comm_set_attr;
    /// Looks an attribute up. Section 7.7.2.
    ending fn MPI_Comm_get_attr(comm: i32, comm_keyval: i32, attribute_val: GuestAddr, flag: GuestAddr) = comm_get_attr;
    /// Deletes an attribute. Section 7.7.2.
    ending fn MPI_Comm_delete_attr(comm: i32, comm_keyval: i32) = comm_delete_attr;
    /// Makes a key for attributes of datatypes. Section 7.7.4.
    ending fn MPI_Type_create_keyval(type_copy_attr_fn: i32, type_delete_attr_fn: i32, type_keyval: GuestAddr, extra_state: GuestAddr) = type_create_keyval;
    /// Gives a key up; attributes with it live on. Section 7.7.4.
    ending fn MPI_Type_free_keyval(type_keyval: GuestAddr) = type_free_keyval;
    /// Attaches an attribute. Section 7.7.4.
    ending fn MPI_Type_set_attr(datatype: i32, type_keyval: i32, attribute_val: GuestAddr) = type_set_attr;
    /// Looks an attribute up. Section 7.7.4.
    ending fn MPI_Type_get_attr(datatype: i32, type_keyval: i32, attribute_val: GuestAddr, flag: GuestAddr) = type_get_attr;
    /// Deletes an attribute. Section 7.7.4.
    ending fn MPI_Type_delete_attr(datatype: i32, type_keyval: i32) = type_delete_attr;
}

/// Something that carries attributes, by the guest's handle.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Object {
    /// A communicator.
    Communicator(i32),
    /// A datatype.
    Datatype(i32),
    /// A window.
    Window(i32),
}

impl Object {
    const fn target(self) -> Target {
        match self {
            Self::Communicator(_) => Target::Communicator,
            Self::Datatype(_) => Target::Datatype,
            Self::Window(_) => Target::Window,
        }
    }

    const fn handle(self) -> i32 {
        match self {
            Self::Communicator(handle) | Self::Datatype(handle) | Self::Window(handle) => handle,
        }
    }

    fn attributes<P: MpiPort>(self, mpi: &mut MpiCtx<P>) -> Result<&mut Attributes> {
        match self {
            Self::Communicator(comm) => Ok(&mut mpi.comm_mut(comm)?.attributes),
            Self::Datatype(datatype) => Ok(&mut mpi.datatype_entry_mut(datatype)?.attributes),
            Self::Window(win) => Ok(&mut window(mpi, win)?.attributes),
        }
    }
}

/// Copies the attributes of an object that is being duplicated, as its copy callbacks say.
///
/// # Errors
/// A copy callback failed: nothing is copied then.
pub(crate) async fn copy_all<T: MpiView>(
    call: &mut Call<'_, T>,
    from: Object,
) -> std::result::Result<Attributes, Failure> {
    let mut copies = Attributes::new();
    let originals: Vec<_> = from.attributes(call.mpi())?.copy_order().collect();
    for (key, value) in originals {
        match copy_one(call, from, key, value).await {
            Ok(None) => {}
            Ok(Some(copy)) => {
                copies.set(key, copy);
                call.mpi().keyvals.attach(key);
            }
            Err(failure) => {
                discard(call.mpi(), &copies);
                return Err(failure);
            }
        }
    }
    Ok(copies)
}

/// Gives attributes up that never came to belong to an object.
pub(crate) fn discard<P: MpiPort>(mpi: &mut MpiCtx<P>, copies: &Attributes) {
    for (key, _) in copies.copy_order() {
        mpi.keyvals.detach(key);
    }
}

/// Deletes every attribute of an object that is being freed, newest first.
///
/// # Errors
/// A delete callback failed: its attribute and older ones are kept.
pub(crate) async fn delete_all<T: MpiView>(
    call: &mut Call<'_, T>,
    object: Object,
) -> std::result::Result<(), Failure> {
    loop {
        let newest = object.attributes(call.mpi())?.delete_order().next();
        let Some((key, value)) = newest else { return Ok(()) };
        delete_one(call, object, key, value).await?;
    }
}

/// Runs an attribute's copy callback; `None` when it is not to be copied.
async fn copy_one<T: MpiView>(
    call: &mut Call<'_, T>,
    from: Object,
    key: i32,
    value: u64,
) -> std::result::Result<Option<u64>, Failure> {
    let Some(keyval) = call.mpi().keyvals.of_attribute(key) else { return Ok(None) };
    let function = match keyval.copy {
        Callback::Null => return Ok(None),
        Callback::Dup => return Ok(Some(value)),
        Callback::Guest(function) => function,
    };
    let scratch = call.allocate(8).await??;
    let (copy, flag) = (scratch.cast_signed(), scratch.cast_signed() + 4);
    call.write("scratch", GuestAddr::from(scratch), &[0; 8])?;
    let args = [from.handle(), key, word(keyval.extra_state), word(value), copy, flag];
    let result = call_back(call, || named("copy", key), function, &args).await;
    let outputs = call.read_i32s("scratch", GuestAddr::from(scratch), 2)?;
    call.free(scratch).await?;
    result?;
    Ok((outputs[1] != 0).then_some(u64::from(outputs[0].cast_unsigned())))
}

/// Runs an attribute's delete callback and removes it.
async fn delete_one<T: MpiView>(
    call: &mut Call<'_, T>,
    object: Object,
    key: i32,
    value: u64,
) -> std::result::Result<(), Failure> {
    run_delete(call, object, key, value).await?;
    let mpi = call.mpi();
    if object.attributes(mpi)?.remove(key).is_some() {
        mpi.keyvals.detach(key);
    }
    Ok(())
}

async fn run_delete<T: MpiView>(
    call: &mut Call<'_, T>,
    object: Object,
    key: i32,
    value: u64,
) -> std::result::Result<(), Failure> {
    let Some(keyval) = call.mpi().keyvals.of_attribute(key) else { return Ok(()) };
    let Callback::Guest(function) = keyval.delete else { return Ok(()) };
    let args = [object.handle(), key, word(value), word(keyval.extra_state)];
    call_back(call, || named("delete", key), function, &args).await
}

/// What a callback is called in messages.
fn named(kind: &str, key: i32) -> String {
    format!("the {kind} callback of keyval {key}")
}

/// A value of the guest, which has 32-bit addresses.
const fn word(value: u64) -> i32 {
    value as i32
}

/// `0` is the null function and `-1` the dup function; any other number is one of the guest's.
const fn function(index: i32) -> Callback {
    match index {
        0 => Callback::Null,
        DUP_FN => Callback::Dup,
        index => Callback::Guest(index.cast_unsigned()),
    }
}

/// `MPI_COMM_DUP_FN` and its relatives.
const DUP_FN: i32 = -1;

pub(super) fn create_keyval<T: MpiView>(
    call: &mut Call<'_, T>,
    target: Target,
    (copy, delete): (i32, i32),
    keyval: GuestAddr,
    extra_state: GuestAddr,
) -> Result<()> {
    if delete == DUP_FN {
        let detail = "a dup function cannot be a delete callback; give MPI_COMM_NULL_DELETE_FN";
        return Err(MpiError::argument(ErrorClass::Arg, "delete_attr_fn", detail));
    }
    let (copy, delete) = (function(copy), function(delete));
    let new = Keyval { target, copy, delete, extra_state: extra_state.get() };
    let key = call.mpi().keyvals.create(new)?;
    call.write_i32("keyval", keyval, key)
}

pub(super) fn free_keyval<T: MpiView>(
    call: &mut Call<'_, T>,
    target: Target,
    keyval: GuestAddr,
) -> Result<()> {
    let key = call.read_i32("keyval", keyval)?;
    refuse_predefined(key)?;
    call.mpi().keyvals.free(key, target)?;
    call.write_i32("keyval", keyval, abi::MPI_KEYVAL_INVALID)
}

fn refuse_predefined(key: i32) -> Result<()> {
    if is_predefined(key) {
        let detail = format!("{key} is a predefined key, which programs can only read");
        return Err(MpiError::argument(ErrorClass::Keyval, "keyval", detail));
    }
    Ok(())
}

fn is_predefined(key: i32) -> bool {
    let of_windows = abi::MPI_WIN_BASE..=abi::MPI_WIN_MODEL;
    (abi::MPI_TAG_UB..=abi::MPI_UNIVERSE_SIZE).contains(&key) || of_windows.contains(&key)
}

pub(super) async fn set<T: MpiView>(
    call: &mut Call<'_, T>,
    object: Object,
    key: i32,
    value: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let mpi = call.mpi();
    let old = object.attributes(mpi)?.value(key);
    refuse_predefined(key)?;
    mpi.keyvals.keyval(key, object.target())?;
    if let Some(old) = old {
        run_delete(call, object, key, old).await?;
    }
    let mpi = call.mpi();
    if object.attributes(mpi)?.set(key, value.get()).is_none() {
        mpi.keyvals.attach(key);
    }
    Ok(())
}

pub(super) async fn get<T: MpiView>(
    call: &mut Call<'_, T>,
    object: Object,
    key: i32,
    value: GuestAddr,
    flag: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let mpi = call.mpi();
    let mut found = object.attributes(mpi)?.value(key).map(word);
    let of_communicators = abi::MPI_TAG_UB..=abi::MPI_UNIVERSE_SIZE;
    if object.target() == Target::Communicator && of_communicators.contains(&key) {
        found = Some(predefined(call, key).await?);
    } else {
        mpi.keyvals.keyval(key, object.target())?;
    }
    if let Some(found) = found {
        call.write_i32("attribute_val", value, found)?;
    }
    call.write_i32("flag", flag, i32::from(found.is_some()))?;
    Ok(())
}

pub(super) async fn delete<T: MpiView>(
    call: &mut Call<'_, T>,
    object: Object,
    key: i32,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let mpi = call.mpi();
    let value = object.attributes(mpi)?.value(key);
    refuse_predefined(key)?;
    mpi.keyvals.keyval(key, object.target())?;
    let Some(value) = value else {
        let detail = format!("the object has no attribute with keyval {key}; set it first");
        return Err(MpiError::argument(ErrorClass::Keyval, "keyval", detail).into());
    };
    delete_one(call, object, key, value).await
}

/// Address of a predefined attribute's value in the guest, as current as this call.
async fn predefined<T: MpiView>(
    call: &mut Call<'_, T>,
    key: i32,
) -> std::result::Result<i32, Failure> {
    let start = match call.mpi().predefined_attributes {
        Some(start) => start,
        None => {
            let start = call.allocate(4 * PREDEFINED_COUNT).await??;
            call.mpi().predefined_attributes = Some(start);
            start
        }
    };
    refresh(call)?;
    Ok(start.cast_signed() + 4 * (key - abi::MPI_TAG_UB))
}

/// Number of predefined attributes, whose keys are consecutive from `MPI_TAG_UB` on.
const PREDEFINED_COUNT: u32 = 7;

/// Brings the values of the predefined attributes up to date where the guest has asked for them.
pub(crate) fn refresh<T: MpiView>(call: &mut Call<'_, T>) -> Result<()> {
    let mpi = call.mpi();
    let Some(start) = mpi.predefined_attributes else { return Ok(()) };
    let world = mpi.port.world();
    let values: [i32; PREDEFINED_COUNT as usize] = [
        i32::MAX,
        // Every process can do input and output, none is a host.
        abi::MPI_ANY_SOURCE,
        abi::MPI_PROC_NULL,
        1,
        world.app_number(mpi.port.rank()).cast_signed(),
        mpi.errors.last_used_code(),
        world.size().cast_signed(),
    ];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    call.write("attribute_val", GuestAddr::from(start), &bytes)
}

async fn comm_create_keyval<T: MpiView>(
    call: &mut Call<'_, T>,
    copy: i32,
    delete: i32,
    keyval: GuestAddr,
    extra_state: GuestAddr,
) -> Ending {
    Ok(create_keyval(call, Target::Communicator, (copy, delete), keyval, extra_state))
}

async fn comm_free_keyval<T: MpiView>(call: &mut Call<'_, T>, keyval: GuestAddr) -> Ending {
    Ok(free_keyval(call, Target::Communicator, keyval))
}

async fn comm_set_attr<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    keyval: i32,
    value: GuestAddr,
) -> Ending {
    ending(set(call, Object::Communicator(comm), keyval, value).await)
}

async fn comm_get_attr<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    keyval: i32,
    value: GuestAddr,
    flag: GuestAddr,
) -> Ending {
    ending(get(call, Object::Communicator(comm), keyval, value, flag).await)
}

async fn comm_delete_attr<T: MpiView>(call: &mut Call<'_, T>, comm: i32, keyval: i32) -> Ending {
    ending(delete(call, Object::Communicator(comm), keyval).await)
}

async fn type_create_keyval<T: MpiView>(
    call: &mut Call<'_, T>,
    copy: i32,
    delete: i32,
    keyval: GuestAddr,
    extra_state: GuestAddr,
) -> Ending {
    Ok(create_keyval(call, Target::Datatype, (copy, delete), keyval, extra_state))
}

async fn type_free_keyval<T: MpiView>(call: &mut Call<'_, T>, keyval: GuestAddr) -> Ending {
    Ok(free_keyval(call, Target::Datatype, keyval))
}

async fn type_set_attr<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    keyval: i32,
    value: GuestAddr,
) -> Ending {
    ending(set(call, Object::Datatype(datatype), keyval, value).await)
}

async fn type_get_attr<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    keyval: i32,
    value: GuestAddr,
    flag: GuestAddr,
) -> Ending {
    ending(get(call, Object::Datatype(datatype), keyval, value, flag).await)
}

async fn type_delete_attr<T: MpiView>(
    call: &mut Call<'_, T>,
    datatype: i32,
    keyval: i32,
) -> Ending {
    ending(delete(call, Object::Datatype(datatype), keyval).await)
}
