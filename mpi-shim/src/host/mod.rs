//! The MPI functions, one file per chapter of the standard.

mod buffer;
mod collective;
mod completion;
mod datatype;
mod environment;
mod op;
mod pack;
mod point_to_point;
mod status;

use crate::call::MpiView;
use crate::table::FunctionInfo;

/// The functions of every chapter.
pub const CHAPTERS: &[&[FunctionInfo]] = &[
    buffer::FUNCTIONS,
    collective::FUNCTIONS,
    completion::FUNCTIONS,
    datatype::FUNCTIONS,
    environment::FUNCTIONS,
    op::FUNCTIONS,
    pack::FUNCTIONS,
    point_to_point::FUNCTIONS,
    status::FUNCTIONS,
];

pub(crate) fn add_to_linker<T: MpiView>(linker: &mut wasmtime::Linker<T>) -> wasmtime::Result<()> {
    buffer::add_to_linker(linker)?;
    collective::add_to_linker(linker)?;
    completion::add_to_linker(linker)?;
    datatype::add_to_linker(linker)?;
    environment::add_to_linker(linker)?;
    op::add_to_linker(linker)?;
    pack::add_to_linker(linker)?;
    point_to_point::add_to_linker(linker)?;
    status::add_to_linker(linker)?;
    Ok(())
}
