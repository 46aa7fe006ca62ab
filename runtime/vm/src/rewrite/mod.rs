//! The load-time pass: makes a module's state reachable from the host, and says what the module is.
//!
//! Every mutable global, every table and the memory are exported under reserved names, so that a
//! Faaslet's state can be read and restored. Of a module with one thread only the export section is rebuilt; all other sections
//! are copied byte by byte and stay in order. DWARF addresses count from the start of the code
//! section, and function names go by index, so backtraces survive.
//!
//! ```text
//! faasm.memory.0      the linear memory
//! faasm.table.<i>     table i        (indices count imported items first, as wasm does)
//! faasm.global.<i>    mutable global i
//! ```
//!
//! A memory that is shared between threads is made a plain one besides (see `threads`); where it is a copy of another
//! node's, atomic operations become calls (see `atomics`).
//!
//! The pass is idempotent: a rewritten module is left as it is. It refuses what a Faaslet cannot
//! be, with the remedy in the message; type checking is left to the compiler.

mod atomics;
mod data;
mod error;
mod exports;
mod facts;
mod polling;
mod scan;
mod sections;
mod threads;

pub use atomics::{ATOMICS_IMPORTS, ATOMICS_VERSION, forward_atomics};
pub use data::{DATA_VERSION, WithoutData, without_data};
pub use error::RewriteError;
pub use facts::{
    Export, ExternalKind, FunctionType, Import, ImportType, MemoryFacts, ModuleFacts, ValueType,
};
pub use threads::{ADDED_IMPORTS, SHARED_PAGES_MAX, THREAD_MODULE};

/// Version of this pass; part of the key of compiled code, raised whenever its output changes.
pub const REWRITE_VERSION: u32 = 2;

/// Name under which a rewritten threaded module exports the lowest address of the thread's stack.
pub const STACK_LIMIT_EXPORT: &str = "faasm.stack_limit";

/// Name under which a rewritten module exports its linear memory.
pub const MEMORY_EXPORT: &str = "faasm.memory.0";

/// Name under which a rewritten module exports table `index`.
pub fn table_export(index: u32) -> String {
    format!("faasm.table.{index}")
}

/// Name under which a rewritten module exports mutable global `index`.
pub fn global_export(index: u32) -> String {
    format!("faasm.global.{index}")
}

/// Which mutable global a rewritten module exports under `name`, if it is one.
pub fn global_index(name: &str) -> Option<u32> {
    name.strip_prefix("faasm.global.")?.parse().ok()
}

/// A module after the pass.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The module to compile.
    pub bytes: Vec<u8>,
    /// What the original is.
    pub facts: ModuleFacts,
}

/// Says what the module in `bytes` is without changing it; does not look at its code.
///
/// # Errors
/// When `bytes` is not a module that a Faaslet can run.
pub fn inspect(bytes: &[u8]) -> Result<ModuleFacts, RewriteError> {
    scan::scan(bytes).map(|scan| scan.facts)
}

/// Exports the state of the module in `bytes` under the reserved names.
///
/// # Errors
/// When `bytes` is not a module that a Faaslet can run, or when it uses a reserved name itself.
pub fn rewrite(bytes: &[u8]) -> Result<Rewritten, RewriteError> {
    let scan = scan::scan(bytes)?;
    if scan.facts.memory.shared {
        let plain = threads::unshare(bytes, &scan)?;
        let bytes = exports::add_state_exports(&plain, &scan::scan(&plain)?)?;
        return Ok(Rewritten { bytes, facts: scan.facts });
    }
    let bytes = exports::add_state_exports(bytes, &scan)?;
    Ok(Rewritten { bytes, facts: scan.facts })
}
