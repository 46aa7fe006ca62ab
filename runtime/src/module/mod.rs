//! Modules: programs checked, made ready for Faaslets and compiled, from a file or from memory.
//!
//! Loading reads a file once. What it hashes to is looked up in the cache of compiled code; only a
//! program that was never seen by this engine is compiled, on all cores. Trouble with the cache is
//! a warning, trouble with the program a [`ModuleError`].

mod beginning;
mod error;
mod format;
mod loader;
mod program;
mod progress;
mod store;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use faasm_vm::ContentHash;
use faasm_vm::rewrite::{ImportType, ModuleFacts};

pub(crate) use beginning::{Beginning, INITIALISERS, ProtoMaker, ProtoSource, Turn};
pub use error::ModuleError;
pub use format::FileFormat;
pub(crate) use loader::ModuleLoader;
pub use program::Program;
pub use progress::Progress;
pub(crate) use store::ProgramStore;

/// How a program is compiled.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Hash)]
pub(crate) enum Variant {
    /// As it is.
    #[default]
    Plain,
    /// So that its stack can be taken.
    Migratable,
    /// So that its atomic operations are those of another node, whose memory it has a copy of.
    Forwarding,
}

/// A program that is ready to run; clones share it.
#[derive(Clone, Debug)]
pub struct Module {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    content: ContentHash,
    code: wasmtime::Module,
    facts: ModuleFacts,
    compile_time: Option<Duration>,
    migratable: bool,
    beginning: Option<Beginning>,
}

impl Module {
    /// What it is called in messages: the file's name, or the name it was loaded under.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The hash of its original bytes.
    pub fn content_hash(&self) -> &ContentHash {
        &self.inner.content
    }

    /// What it imports, exports and holds.
    pub fn facts(&self) -> &ModuleFacts {
        &self.inner.facts
    }

    /// How long it took to compile; `None` when its code was in the cache.
    pub fn compile_time(&self) -> Option<Duration> {
        self.inner.compile_time
    }

    /// Checks that this is a program, which can be started as the ranks of a job.
    ///
    /// # Errors
    /// [`ModuleError::NotAProgram`] when it exports no function `_start`.
    pub fn check_program(&self) -> Result<(), ModuleError> {
        if self.facts().has_start() {
            return Ok(());
        }
        let library = self.facts().has_initialize();
        Err(ModuleError::NotAProgram { name: self.name().to_owned(), library })
    }

    /// Whether it may make windows of memory that ranks share.
    pub(crate) fn shares_memory(&self) -> bool {
        const NAMES: [&str; 4] = [
            "MPI_Win_allocate_shared",
            "MPI_Win_allocate_shared_c",
            "PMPI_Win_allocate_shared",
            "PMPI_Win_allocate_shared_c",
        ];
        self.facts().imports.iter().any(|import| NAMES.contains(&import.name.as_str()))
    }

    /// Whether this is the variant whose call stack can be taken.
    pub fn is_migratable(&self) -> bool {
        self.inner.migratable
    }

    /// The same program, called `name`.
    pub(crate) fn named(&self, name: &str) -> Self {
        if name == self.name() {
            return self.clone();
        }
        let Inner { content, code, facts, compile_time, migratable, .. } = &*self.inner;
        let (content, code, facts) = (*content, code.clone(), facts.clone());
        let (name, migratable) = (name.to_owned(), *migratable);
        let (compile_time, beginning) = (*compile_time, self.beginning());
        let inner = Inner { name, content, code, facts, compile_time, migratable, beginning };
        Self { inner: Arc::new(inner) }
    }

    /// How its instances begin, if it initialises itself before `_start`.
    pub(crate) fn beginning(&self) -> Option<Beginning> {
        self.inner.beginning.clone()
    }

    /// From now on what its instances begin with may come from other processes, if one makes it for all.
    pub(crate) fn share_proto(&self, source: Arc<dyn ProtoSource>) {
        if let Some(Beginning::Once(first)) = &self.inner.beginning {
            // The first source is as good.
            let _ = first.source.set(source);
        }
    }

    /// The compiled code.
    pub(crate) fn code(&self) -> &wasmtime::Module {
        &self.inner.code
    }
}

/// The imports of a module, as module and name, that `known` does not know; sorted, each once.
pub(crate) fn missing_imports(
    facts: &ModuleFacts,
    known: &dyn Fn(&str, &str) -> bool,
) -> Vec<(String, String)> {
    let imports = facts.imports.iter();
    let missing: BTreeSet<_> = imports
        // The memory that threads share is made for them.
        .filter(|import| !(facts.memory.shared && import.ty == ImportType::Memory))
        .filter(|import| !known(&import.module, &import.name))
        .map(|import| (import.module.clone(), import.name.clone()))
        .collect();
    missing.into_iter().collect()
}
