//! How the instances of a program begin that initialises itself before `_start`.

use std::sync::Arc;

use faasm_vm::proto::ZYGOTE_EXPORT;
use faasm_vm::rewrite::{ExternalKind, ModuleFacts, without_data};
use faasm_vm::{MemorySnapshot, Proto, SnapshotBuilder};
use tokio::sync::OnceCell;

use super::ModuleError;

/// Names of the functions that initialise a program, in the order in which they are called.
pub(crate) const INITIALISERS: [&str; 2] = ["_initialize", ZYGOTE_EXPORT];

/// How the ranks of a program with initialisers begin.
#[derive(Clone, Debug)]
pub(crate) enum Beginning {
    /// Each runs them.
    Each,
    /// One runs them for all.
    Once(Arc<FirstLife>),
}

/// What the first rank begins with, and what came of it.
#[derive(Debug)]
pub(crate) struct FirstLife {
    /// What an instance's memory holds before anything ran.
    pub(crate) data: MemorySnapshot,
    /// Indices of the globals that its code may change.
    pub(crate) mutable_globals: Vec<u32>,
    /// What the others begin with.
    pub(crate) proto: OnceCell<Proto>,
}

impl Beginning {
    /// How instances of the module `name` begin; `None` if it has no initialisers.
    ///
    /// # Errors
    /// When its data does not fit its memory, or there is no room for them.
    pub(super) fn of(
        name: &str,
        bytes: &[u8],
        facts: &ModuleFacts,
    ) -> Result<Option<Self>, ModuleError> {
        let initialises = facts.exports.iter().any(|export| {
            export.kind == ExternalKind::Function && INITIALISERS.contains(&&*export.name)
        });
        if !initialises {
            return Ok(None);
        }
        if facts.memory.shared {
            return Ok(Some(Self::Each));
        }
        let refused = |cause| ModuleError::Refused { name: name.to_owned(), cause };
        let Some(variant) = without_data(bytes).map_err(refused)? else {
            tracing::info!(
                program = name,
                "each rank initialises itself: instances cannot begin alike"
            );
            return Ok(Some(Self::Each));
        };
        let image = |cause| ModuleError::Data { name: name.to_owned(), cause };
        let mut builder = SnapshotBuilder::new(facts.memory.min_pages << 16).map_err(image)?;
        for (at, bytes) in &variant.segments {
            builder.write(*at, bytes).map_err(image)?;
        }
        let data = builder.finish().map_err(image)?;
        let mutable_globals = facts.mutable_globals.clone();
        let first = FirstLife { data, mutable_globals, proto: OnceCell::new() };
        Ok(Some(Self::Once(Arc::new(first))))
    }
}
