//! The list of host functions, declared once, and their registration.

use faasm_vm::GuestAddr;
use wasmtime::{Caller, Linker};

use crate::host;
use crate::port::OmpView;

/// The module that guests import the functions from.
pub const MODULE: &str = "omp";

/// One host function.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: &'static str,
    /// Its type in C.
    pub prototype: &'static str,
    /// Whether it may leave the fiber.
    pub waits: bool,
}

/// Every function.
pub const FUNCTIONS: [FunctionInfo; 3] = [
    FunctionInfo { name: "team_size", prototype: "int(int wanted, int busy)", waits: false },
    FunctionInfo {
        name: "wait",
        prototype: "int(int construct, int *word, int expected)",
        waits: true,
    },
    FunctionInfo {
        name: "fault",
        prototype: "void(int construct, const char *cause, int length)",
        waits: false,
    },
];

/// Whether `name` is a function of this crate.
pub fn is_offered(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

/// Registers the functions.
///
/// # Errors
/// When the linker holds one of the names already.
pub fn add_to_linker<T: OmpView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "team_size",
        |mut caller: Caller<'_, T>, wanted: i32, busy: i32| {
            host::team_size(caller.data_mut(), wanted, busy)
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "wait",
        |caller: Caller<'_, T>, (construct, word, expected): (i32, i32, i32)| {
            Box::new(host::wait(caller, construct, GuestAddr::from(word), expected))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fault",
        |mut caller: Caller<'_, T>, construct: i32, cause: i32, length: i32| {
            host::fault(caller.data_mut(), construct, GuestAddr::from(cause), length)
        },
    )?;
    Ok(())
}
