//! One rank as a value, without the content of its memory.

use serde::{Deserialize, Serialize};

use crate::host::wasi::FileTableState;

/// The bits of a number of the guest, in a global or in a frame of its stack.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Bits {
    /// An `i32` or `f32`.
    Bits32(i32),
    /// An `i64` or `f64`.
    Bits64(i64),
    /// A `v128`.
    Bits128(u128),
}

/// What a rank is besides its memory, when its call stack has been taken.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct RankImage {
    /// Size of the memory in bytes.
    pub(crate) memory_bytes: u64,
    /// The mutable globals, by index.
    pub(crate) globals: Vec<(u32, Bits)>,
    /// The frames of the stack, innermost first.
    pub(crate) frames: Vec<Bits>,
    /// The MPI state.
    pub(crate) mpi: Vec<u8>,
    /// The open files.
    pub(crate) files: FileTableState,
}
