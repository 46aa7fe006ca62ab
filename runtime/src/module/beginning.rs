//! How the instances of a program begin that initialises itself before `_start`.

use std::fmt;
use std::sync::{Arc, OnceLock};

use faasm_vm::proto::ZYGOTE_EXPORT;
use faasm_vm::rewrite::{ExternalKind, ModuleFacts, without_data};
use faasm_vm::{MemorySnapshot, Proto};
use tokio::sync::{OnceCell, oneshot};

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
    /// Other processes that run the program.
    pub(super) source: OnceLock<Arc<dyn ProtoSource>>,
}

/// Other processes that run a program, of which one makes what the instances of all begin with.
pub(crate) trait ProtoSource: fmt::Debug + Send + Sync {
    /// Asks whose turn it is.
    fn ask(&self) -> oneshot::Receiver<Turn>;
}

/// How the first rank of a process comes by its program's proto.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Here it is.
    Take(Proto),
    /// It makes it.
    Make(ProtoMaker),
}

/// The duty to say what has come of making a proto; that it came to nothing if it is dropped.
pub(crate) struct ProtoMaker(Option<Tell>);

type Tell = Box<dyn FnOnce(Option<&Proto>) + Send>;

impl ProtoMaker {
    /// `tell` is called with what was made, or without anything.
    pub(crate) fn new(tell: impl FnOnce(Option<&Proto>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Nobody else wants it.
    pub(crate) const fn alone() -> Self {
        Self(None)
    }

    /// It is made.
    pub(crate) fn made(mut self, proto: &Proto) {
        if let Some(tell) = self.0.take() {
            tell(Some(proto));
        }
    }
}

impl Drop for ProtoMaker {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(None);
        }
    }
}

impl fmt::Debug for ProtoMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProtoMaker").finish_non_exhaustive()
    }
}

impl FirstLife {
    /// Whether this process makes the proto, or has got it from another one.
    pub(crate) async fn turn(&self) -> Turn {
        let alone = || Turn::Make(ProtoMaker::alone());
        let Some(source) = self.source.get() else { return alone() };
        // Where nobody answers any more, nobody else needs it either.
        source.ask().await.unwrap_or_else(|_| alone())
    }
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
        let data = MemorySnapshot::of_segments(facts.memory.min_pages, &variant.segments);
        let data = data.map_err(image)?;
        let mutable_globals = facts.mutable_globals.clone();
        let first =
            FirstLife { data, mutable_globals, proto: OnceCell::new(), source: OnceLock::new() };
        Ok(Some(Self::Once(Arc::new(first))))
    }
}
