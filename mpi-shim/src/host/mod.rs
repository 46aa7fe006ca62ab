//! The MPI functions, one file per chapter of the standard.

mod collective;
mod completion;
mod environment;
mod point_to_point;

use crate::call::MpiView;
use crate::table::FunctionInfo;

/// The functions of every chapter.
pub const CHAPTERS: &[&[FunctionInfo]] = &[
    collective::FUNCTIONS,
    completion::FUNCTIONS,
    environment::FUNCTIONS,
    point_to_point::FUNCTIONS,
];

pub(crate) fn add_to_linker<T: MpiView>(linker: &mut wasmtime::Linker<T>) -> wasmtime::Result<()> {
    collective::add_to_linker(linker)?;
    completion::add_to_linker(linker)?;
    environment::add_to_linker(linker)?;
    point_to_point::add_to_linker(linker)?;
    Ok(())
}
