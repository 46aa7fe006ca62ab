//! Attributes of windows, the predefined ones among them (MPI-5.0 sections 7.7.3 and 12.2.6).

use faasm_mpi_engine::attribute::Target;
use faasm_mpi_engine::error::Result;
use faasm_vm::GuestAddr;

use super::window;
use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, ending};
use crate::host::attribute::{self, Object};
use crate::table::host_functions;

host_functions! {
    /// Makes a key for attributes of windows. Section 7.7.3.
    ending fn MPI_Win_create_keyval(win_copy_attr_fn: i32, win_delete_attr_fn: i32, win_keyval: GuestAddr, extra_state: GuestAddr) = win_create_keyval;
    /// Gives a key up; attributes with it live on. Section 7.7.3.
    ending fn MPI_Win_free_keyval(win_keyval: GuestAddr) = win_free_keyval;
    /// Attaches an attribute. Section 7.7.3.
    ending fn MPI_Win_set_attr(win: i32, win_keyval: i32, attribute_val: GuestAddr) = win_set_attr;
    /// Looks an attribute up. Section 7.7.3.
    ending fn MPI_Win_get_attr(win: i32, win_keyval: i32, attribute_val: GuestAddr, flag: GuestAddr) = win_get_attr;
    /// Deletes an attribute. Section 7.7.3.
    ending fn MPI_Win_delete_attr(win: i32, win_keyval: i32) = win_delete_attr;
}

async fn win_create_keyval<T: MpiView>(
    call: &mut Call<'_, T>,
    copy: i32,
    delete: i32,
    keyval: GuestAddr,
    extra_state: GuestAddr,
) -> Ending {
    Ok(attribute::create_keyval(call, Target::Window, (copy, delete), keyval, extra_state))
}

async fn win_free_keyval<T: MpiView>(call: &mut Call<'_, T>, keyval: GuestAddr) -> Ending {
    Ok(attribute::free_keyval(call, Target::Window, keyval))
}

async fn win_set_attr<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    keyval: i32,
    value: GuestAddr,
) -> Ending {
    ending(attribute::set(call, Object::Window(win), keyval, value).await)
}

async fn win_get_attr<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    keyval: i32,
    value: GuestAddr,
    flag: GuestAddr,
) -> Ending {
    ending(get(call, win, keyval, value, flag).await)
}

async fn win_delete_attr<T: MpiView>(call: &mut Call<'_, T>, win: i32, keyval: i32) -> Ending {
    ending(attribute::delete(call, Object::Window(win), keyval).await)
}

async fn get<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    keyval: i32,
    value: GuestAddr,
    flag: GuestAddr,
) -> std::result::Result<(), Failure> {
    if !(abi::MPI_WIN_BASE..=abi::MPI_WIN_MODEL).contains(&keyval) {
        return attribute::get(call, Object::Window(win), keyval, value, flag).await;
    }
    call.require_running()?;
    let found = predefined(call, win, keyval).await?;
    call.write_i32("attribute_val", value, found)?;
    call.write_i32("flag", flag, 1)?;
    Ok(())
}

/// The base of the window, or where in the program's memory another predefined value lies.
async fn predefined<T: MpiView>(
    call: &mut Call<'_, T>,
    win: i32,
    keyval: i32,
) -> std::result::Result<i32, Failure> {
    let own = window(call.mpi(), win)?;
    let part = own.shared.member(own.rank).part;
    if keyval == abi::MPI_WIN_BASE {
        return Ok(part.base.cast_signed());
    }
    let values = [part.unit, part.size, own.flavor.cast_unsigned(), UNIFIED];
    let start = match own.values {
        Some(start) => start,
        None => {
            let start = call.allocate(4 * values.len() as u32).await??;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            call.write("attribute_val", GuestAddr::from(start), &bytes)?;
            remember(call, win, start)?;
            start
        }
    };
    // The keys follow each other in the order of the values.
    Ok(start.cast_signed() + 4 * (keyval - abi::MPI_WIN_DISP_UNIT))
}

/// The memory model of every window.
const UNIFIED: u32 = abi::MPI_WIN_UNIFIED as u32;

fn remember<T: MpiView>(call: &mut Call<'_, T>, win: i32, start: u32) -> Result<()> {
    window(call.mpi(), win)?.values = Some(start);
    Ok(())
}
