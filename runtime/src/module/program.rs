//! A program that was read and checked, but not compiled: what a coordinator hands to its nodes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use faasm_vm::ContentHash;
use faasm_vm::rewrite::ModuleFacts;

use super::{ModuleError, loader};

/// A program's bytes; clones share them.
#[derive(Clone, Debug)]
pub struct Program {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    content: ContentHash,
    bytes: Bytes,
    facts: ModuleFacts,
}

impl Program {
    /// Reads the program in the file `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is no WebAssembly program for this runtime.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ModuleError> {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Self::from_bytes(&name, loader::read(path, &name)?)
    }

    /// The program in `bytes`; `name` stands for it in messages.
    ///
    /// # Errors
    /// When the bytes are no WebAssembly program for this runtime.
    pub fn from_bytes(name: &str, bytes: impl Into<Bytes>) -> Result<Self, ModuleError> {
        let bytes = bytes.into();
        let facts = loader::inspect(name, &bytes)?;
        let library = facts.has_initialize();
        if !facts.has_start() {
            return Err(ModuleError::NotAProgram { name: name.to_owned(), library });
        }
        let content = ContentHash::of(&bytes);
        Ok(Self { inner: Arc::new(Inner { name: name.to_owned(), content, bytes, facts }) })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The hash of its bytes, under which nodes keep it.
    pub fn content_hash(&self) -> &ContentHash {
        &self.inner.content
    }

    /// What it imports, exports and holds.
    pub fn facts(&self) -> &ModuleFacts {
        &self.inner.facts
    }

    /// Whether it may spawn processes.
    pub(crate) fn spawns(&self) -> bool {
        const NAMES: [&str; 4] = [
            "MPI_Comm_spawn",
            "MPI_Comm_spawn_multiple",
            "PMPI_Comm_spawn",
            "PMPI_Comm_spawn_multiple",
        ];
        self.facts().imports.iter().any(|import| NAMES.contains(&import.name.as_str()))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.inner.bytes
    }
}
