//! MPI as imports of a WebAssembly module.
//!
//! A guest imports `mpi.MPI_Send` and its siblings. [`add_to_linker`] registers them all for a
//! store whose data implements [`MpiView`]; what a rank needs of its surroundings is the trait
//! [`port::MpiPort`]. Semantics that need neither wasm nor memory live in `faasm-mpi-engine`.
//! Modules, lower ones first: `abi` (numbers), `handle` (handle tables), `appointment` (collectives
//! that nobody waits for), `fate` (how a program ends in a call), `site` (where members meet), `world` (what ranks share), `fault` (failed ranks), `port`,
//! `gate` (stopping all ranks at once), `communicator`, `request`, `alloc`, `window` (what members of a window share), `tool` (what the
//! tool interface keeps), `ctx` (one rank's state), `progress` (messages), `call` (one host call), `waypoint` (waits that are not MPI's),
//! `table` (declarations), `host` (one file per chapter), `saved` (a rank as a value).

pub mod abi;
mod alloc;
mod appointment;
pub mod call;
mod communicator;
pub mod ctx;
mod fate;
pub mod fault;
mod file;
pub mod file_port;
pub mod gate;
mod handle;
pub mod host;
pub mod port;
mod progress;
pub mod registry;
mod request;
pub mod saved;
pub mod site;
pub mod spawn_port;
pub mod switch;
pub mod table;
mod tool;
pub mod waypoint;
mod window;
pub mod world;

pub use call::{MpiExit, MpiView};
pub use ctx::MpiCtx;

/// Every host function, chapter by chapter.
pub fn functions() -> impl Iterator<Item = &'static table::FunctionInfo> {
    host::CHAPTERS.iter().copied().flatten()
}

/// Registers the MPI functions that are `wanted`, in module `mpi`; it is asked for each function under its
/// own name and under that of the profiling interface. Nearly a thousand registrations would take
/// longer than everything else at the start of a job.
///
/// # Errors
/// When the linker holds one of the names already.
pub fn add_to_linker<T: MpiView>(
    linker: &mut wasmtime::Linker<T>,
    wanted: &dyn Fn(&str) -> bool,
) -> wasmtime::Result<()> {
    host::add_to_linker(&mut table::Imports { linker, wanted })
}

/// Whether `name`, with or without the `P` of the profiling interface, is a function of this crate.
pub fn is_offered(name: &str) -> bool {
    if let Some(of) = name.strip_prefix(table::AT_ONCE_PREFIX) {
        let is_function = functions().any(|function| function.at_once && function.name == of);
        return is_function || name == call::RAISE;
    }
    let is_twin = name.starts_with("PMPI_") || name.starts_with("PMPIX_");
    let name = if is_twin { &name[1..] } else { name };
    functions().any(|function| function.name == name)
}
