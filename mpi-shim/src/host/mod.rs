//! The MPI functions, one file per chapter of the standard.
#![allow(clippy::too_many_arguments, reason = "the standard decides what a function takes")]

mod attribute;
mod buffer;
mod callback;
pub(crate) mod collective;
mod communicator;
mod completion;
mod datatype;
mod dynamic;
mod environment;
mod error;
mod fault;
mod file;
mod generalized;
mod graph;
mod group;
mod info;
mod intercomm;
mod op;
mod pack;
mod partitioned;
mod platform;
mod point_to_point;
mod probe;
mod session;
mod status;
mod tool;
mod topology;
mod window;

use crate::call::{MpiView, RAISE, raise};
use crate::table::{FunctionInfo, Imports};

/// The functions of every chapter.
pub const CHAPTERS: &[&[FunctionInfo]] = &[
    attribute::FUNCTIONS,
    buffer::FUNCTIONS,
    collective::FUNCTIONS,
    collective::neighbor::FUNCTIONS,
    collective::nonblocking::FUNCTIONS,
    communicator::FUNCTIONS,
    completion::FUNCTIONS,
    datatype::FUNCTIONS,
    datatype::array::FUNCTIONS,
    datatype::contents::FUNCTIONS,
    datatype::lookup::FUNCTIONS,
    dynamic::FUNCTIONS,
    environment::FUNCTIONS,
    error::FUNCTIONS,
    fault::FUNCTIONS,
    file::FUNCTIONS,
    generalized::FUNCTIONS,
    graph::FUNCTIONS,
    group::FUNCTIONS,
    info::FUNCTIONS,
    intercomm::FUNCTIONS,
    op::FUNCTIONS,
    pack::FUNCTIONS,
    pack::external::FUNCTIONS,
    partitioned::FUNCTIONS,
    platform::FUNCTIONS,
    point_to_point::FUNCTIONS,
    probe::FUNCTIONS,
    session::FUNCTIONS,
    status::FUNCTIONS,
    tool::FUNCTIONS,
    tool::category::FUNCTIONS,
    tool::control::FUNCTIONS,
    tool::event::FUNCTIONS,
    tool::performance::FUNCTIONS,
    topology::FUNCTIONS,
    window::FUNCTIONS,
    window::accumulate::FUNCTIONS,
    window::cache::FUNCTIONS,
    window::passive::FUNCTIONS,
    window::shared::FUNCTIONS,
    window::synchronize::FUNCTIONS,
    window::transfer::FUNCTIONS,
];

pub(crate) fn add_to_linker<T: MpiView>(linker: &mut Imports<'_, T>) -> wasmtime::Result<()> {
    linker.func_wrap_async("mpi", RAISE, |caller, (): ()| Box::new(raise(caller)))?;
    attribute::add_to_linker(linker)?;
    buffer::add_to_linker(linker)?;
    collective::add_to_linker(linker)?;
    collective::neighbor::add_to_linker(linker)?;
    collective::nonblocking::add_to_linker(linker)?;
    communicator::add_to_linker(linker)?;
    completion::add_to_linker(linker)?;
    datatype::add_to_linker(linker)?;
    datatype::array::add_to_linker(linker)?;
    datatype::contents::add_to_linker(linker)?;
    datatype::lookup::add_to_linker(linker)?;
    dynamic::add_to_linker(linker)?;
    environment::add_to_linker(linker)?;
    error::add_to_linker(linker)?;
    fault::add_to_linker(linker)?;
    file::add_to_linker(linker)?;
    generalized::add_to_linker(linker)?;
    graph::add_to_linker(linker)?;
    group::add_to_linker(linker)?;
    info::add_to_linker(linker)?;
    intercomm::add_to_linker(linker)?;
    op::add_to_linker(linker)?;
    pack::add_to_linker(linker)?;
    pack::external::add_to_linker(linker)?;
    partitioned::add_to_linker(linker)?;
    platform::add_to_linker(linker)?;
    point_to_point::add_to_linker(linker)?;
    probe::add_to_linker(linker)?;
    session::add_to_linker(linker)?;
    status::add_to_linker(linker)?;
    tool::add_to_linker(linker)?;
    tool::category::add_to_linker(linker)?;
    tool::control::add_to_linker(linker)?;
    tool::event::add_to_linker(linker)?;
    tool::performance::add_to_linker(linker)?;
    topology::add_to_linker(linker)?;
    window::add_to_linker(linker)?;
    window::accumulate::add_to_linker(linker)?;
    window::cache::add_to_linker(linker)?;
    window::passive::add_to_linker(linker)?;
    window::shared::add_to_linker(linker)?;
    window::synchronize::add_to_linker(linker)?;
    window::transfer::add_to_linker(linker)?;
    Ok(())
}
