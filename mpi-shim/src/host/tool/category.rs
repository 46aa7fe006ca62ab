//! Categories of variables and event types (MPI-5.0 section 15.3.9). They never change.

use faasm_vm::GuestAddr;

use super::{Answer, control, entry, event, give, name, performance, put_i32, put_text, state};
use crate::abi;
use crate::ctx::MpiCtx;
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Number of categories. Section 15.3.9.
    tool fn MPI_T_category_get_num(num_cat: GuestAddr) = get_num;
    /// What a category is. Section 15.3.9.
    tool fn MPI_T_category_get_info(cat_index: i32, name: GuestAddr, name_len: GuestAddr, desc: GuestAddr, desc_len: GuestAddr, num_cvars: GuestAddr, num_pvars: GuestAddr, num_categories: GuestAddr) = get_info;
    /// Number of event types in a category. Section 15.3.9.
    tool fn MPI_T_category_get_num_events(cat_index: i32, num_events: GuestAddr) = get_num_events;
    /// The category of a name. Section 15.3.9.
    tool fn MPI_T_category_get_index(name: GuestAddr, cat_index: GuestAddr) = get_index;
    /// Its control variables. Section 15.3.9.
    tool fn MPI_T_category_get_cvars(cat_index: i32, len: i32, indices: GuestAddr) = get_cvars;
    /// Its performance variables. Section 15.3.9.
    tool fn MPI_T_category_get_pvars(cat_index: i32, len: i32, indices: GuestAddr) = get_pvars;
    /// Its event types. Section 15.3.9.
    tool fn MPI_T_category_get_events(cat_index: i32, len: i32, indices: GuestAddr) = get_events;
    /// Categories inside it. Section 15.3.9.
    tool fn MPI_T_category_get_categories(cat_index: i32, len: i32, indices: GuestAddr) = get_categories;
    /// Whether categories have changed. Section 15.3.9.
    tool fn MPI_T_category_changed(update_number: GuestAddr) = changed;
}

struct Category {
    name: &'static str,
    about: &'static str,
}

/// The first category holds every variable.
const CATEGORIES: &[Category] = &[
    Category { name: "messages", about: "point-to-point messages of this rank" },
    Category { name: "communicators", about: "communicators of this rank" },
];

/// The variables of a category: those of the first one, or none.
fn of_first(index: i32, all: impl Iterator<Item = i32>) -> impl Iterator<Item = i32> {
    all.filter(move |_| index == 0)
}

/// The event types of a category: those that are about one communicator's messages, or the others.
fn events_of(index: i32) -> impl Iterator<Item = i32> {
    event::indices(index == 0)
}

fn get_num<P: MpiPort>(mpi: &mut MpiCtx<P>, num_cat: GuestAddr) -> Answer {
    state(mpi)?;
    give(mpi, num_cat, CATEGORIES.len() as i32)
}

fn get_info<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cat_index: i32,
    name: GuestAddr,
    name_len: GuestAddr,
    desc: GuestAddr,
    desc_len: GuestAddr,
    num_cvars: GuestAddr,
    num_pvars: GuestAddr,
    num_categories: GuestAddr,
) -> Answer {
    state(mpi)?;
    let category = entry(CATEGORIES, cat_index)?;
    put_text(mpi, category.name, name, name_len)?;
    put_text(mpi, category.about, desc, desc_len)?;
    put_i32(mpi, num_cvars, of_first(cat_index, control::indices()).count() as i32)?;
    put_i32(mpi, num_pvars, of_first(cat_index, performance::indices()).count() as i32)?;
    put_i32(mpi, num_categories, 0)
}

fn get_num_events<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cat_index: i32,
    num_events: GuestAddr,
) -> Answer {
    state(mpi)?;
    entry(CATEGORIES, cat_index)?;
    give(mpi, num_events, events_of(cat_index).count() as i32)
}

fn get_index<P: MpiPort>(mpi: &mut MpiCtx<P>, wanted: GuestAddr, cat_index: GuestAddr) -> Answer {
    state(mpi)?;
    let wanted = name(mpi, wanted)?;
    let found = CATEGORIES.iter().position(|category| category.name == wanted);
    give(mpi, cat_index, found.ok_or(abi::MPI_T_ERR_INVALID_NAME)? as i32)
}

/// Writes as many of the indices as there is room for.
fn list<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    (cat_index, len): (i32, i32),
    at: GuestAddr,
    indices: impl Iterator<Item = i32>,
) -> Answer {
    state(mpi)?;
    entry(CATEGORIES, cat_index)?;
    let room = usize::try_from(len).map_err(|_| abi::MPI_T_ERR_INVALID)?;
    for (place, index) in indices.take(room).enumerate() {
        let at = at.checked_add(4 * place as u64).ok_or(abi::MPI_T_ERR_INVALID)?;
        give(mpi, at, index)?;
    }
    Ok(())
}

fn get_cvars<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cat_index: i32,
    len: i32,
    indices: GuestAddr,
) -> Answer {
    list(mpi, (cat_index, len), indices, of_first(cat_index, control::indices()))
}

fn get_pvars<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cat_index: i32,
    len: i32,
    indices: GuestAddr,
) -> Answer {
    list(mpi, (cat_index, len), indices, of_first(cat_index, performance::indices()))
}

fn get_events<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cat_index: i32,
    len: i32,
    indices: GuestAddr,
) -> Answer {
    list(mpi, (cat_index, len), indices, events_of(cat_index))
}

fn get_categories<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    cat_index: i32,
    len: i32,
    indices: GuestAddr,
) -> Answer {
    list(mpi, (cat_index, len), indices, std::iter::empty())
}

fn changed<P: MpiPort>(mpi: &mut MpiCtx<P>, update_number: GuestAddr) -> Answer {
    state(mpi)?;
    give(mpi, update_number, 0)
}
