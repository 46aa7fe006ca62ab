//! Why a module has no migratable variant.

/// A module that the pass refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwindError {
    /// The bytes are not a valid module.
    #[error("the module is not valid WebAssembly: {0}")]
    Malformed(String),
    /// A function uses instructions that the pass does not know.
    #[error(
        "its function {function} uses {what}, and a program that does cannot be moved or \
         checkpointed; {remedy}, or run it without --migratable"
    )]
    Unsupported {
        /// Index of the function.
        function: u32,
        /// What it uses.
        what: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A function is nested too deeply.
    #[error(
        "its function {function} nests more than {max} blocks, and the pass that makes a program \
         movable goes no deeper; split the function, or run the program without --migratable"
    )]
    Depth {
        /// Index of the function.
        function: u32,
        /// The bound.
        max: usize,
    },
    /// It has been through the pass.
    #[error("it is a migratable module already: it imports {0:?}")]
    Twice(&'static str),
    /// No thread could be started for the pass.
    #[error("no thread could be started to make the program movable: {0}")]
    Thread(std::io::Error),
}

impl From<wasmparser::BinaryReaderError> for UnwindError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<wasm_encoder::reencode::Error> for UnwindError {
    fn from(error: wasm_encoder::reencode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}
