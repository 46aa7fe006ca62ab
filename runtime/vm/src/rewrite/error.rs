//! Why a file cannot become a Faaslet.

/// A module that the load-time pass refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// The bytes are something else altogether.
    #[error(
        "it is not a WebAssembly module: it does not start with the bytes \\0asm; compile the \
         program with faasm-cc"
    )]
    NotWasm,
    /// The module is in the text format.
    #[error(
        "it is WebAssembly text, and only binary modules are run; convert it first, for example \
         with `wat2wasm prog.wat -o prog.wasm`"
    )]
    Text,
    /// The binary is of the component model.
    #[error(
        "it is a WebAssembly component, and only core modules are run; compile the program with \
         faasm-cc, or for the target wasm32-wasip1"
    )]
    Component,
    /// The binary is of a later version of WebAssembly.
    #[error("it is of WebAssembly version {version}, and only version 1 is known")]
    Version {
        /// The version in its header.
        version: u16,
    },
    /// A relocatable object file, which the linker has not seen yet.
    #[error(
        "it is an object file, not a program; link it with `faasm-cc -o prog.wasm` and the other \
         objects of the program"
    )]
    ObjectFile,
    /// A dynamic library.
    #[error(
        "it is a dynamic library (made with -shared or -pie), and only whole programs are run; \
         link it statically with faasm-cc"
    )]
    DynamicLibrary,
    /// The binary does not follow the format.
    #[error(
        "it is damaged at byte {offset:#x}: {what}; compile it again, or copy it again if it came \
         from elsewhere"
    )]
    Malformed {
        /// What is wrong.
        what: String,
        /// Where in the file.
        offset: usize,
    },
    /// A memory or table has 64-bit addresses.
    #[error("its {item} has 64-bit addresses (memory64), which is not served; compile for wasm32")]
    SixtyFourBit {
        /// `memory` or `table`.
        item: &'static str,
    },
    /// The threads' memory is larger than 32-bit addresses reach, less one page.
    #[error(
        "its memory, which threads share, starts with {pages} pages of 64 KiB, and at most 65535 are \
         served; link it with a smaller --initial-memory"
    )]
    SharedTooLarge {
        /// Pages that it starts with.
        pages: u64,
    },
    /// Every thread's instance would copy the data in anew.
    #[error(
        "its memory is shared between threads and its data would be copied in again for each of \
         them; link all of the program with --shared-memory, as faasm-cc -pthread does"
    )]
    ActiveData,
    /// The memory has pages of another size.
    #[error(
        "its memory has pages of 2^{page_size_log2} bytes, and only pages of 64 KiB are served"
    )]
    PageSize {
        /// Logarithm of the page size.
        page_size_log2: u32,
    },
    /// The module has more than one memory.
    #[error("it has {count} memories, and a Faaslet has exactly one; link it with one memory")]
    Memories {
        /// How many memories it imports and defines.
        count: u32,
    },
    /// The module has no memory.
    #[error("it has no memory, so it cannot be a program; compile it with faasm-cc")]
    NoMemory,
    /// The module exports something of its own under one of our names.
    #[error(
        "it exports {name:?} as something else than this runtime does; names that start with \
         `faasm.` are reserved, so rename the export"
    )]
    ReservedName {
        /// The name.
        name: String,
    },
}

impl From<wasmparser::Error> for RewriteError {
    fn from(cause: wasmparser::Error) -> Self {
        Self::Malformed { what: cause.message().to_owned(), offset: cause.offset() }
    }
}
