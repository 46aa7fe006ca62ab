//! Compiling many files of a library, on all cores.

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::Toolchain;
use crate::{error::Result, process::run_quietly};

/// One file to compile, and the object that comes of it.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) source: PathBuf,
    pub(crate) object: PathBuf,
    /// What clang gets before the source.
    pub(crate) options: Vec<String>,
}

/// Compiles `units`, the next one as soon as a core is free; `library` is named where one fails.
///
/// # Errors
/// Reports the first unit that does not compile.
pub(crate) fn compile(toolchain: &Toolchain, units: &[&Unit], library: &str) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = compile_one(toolchain, unit, library) {
                next.store(units.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(|poison| poison.into_inner()).get_or_insert(error);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (1..cores.min(units.len())).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let failure = failure.into_inner().unwrap_or_else(|poison| poison.into_inner());
    failure.map_or(Ok(()), Err)
}

fn compile_one(toolchain: &Toolchain, unit: &Unit, library: &str) -> Result<()> {
    let mut clang = toolchain.clang();
    clang.args(&unit.options).arg("-c").arg(&unit.source).arg("-o").arg(&unit.object);
    let what = format!("compiling {} of {library}", unit.source.display());
    run_quietly(&mut clang, &what).map(drop)
}
